"""Fit the platform's click model on a log of its own market.

A log does not tell whether an ad got no click because nobody saw it or because nobody liked it. The model
says P(click) = examination[slot] x P(click | examined), where the second factor is a logistic function of the
pair's features. Both factors together maximise the likelihood of the clicks, the same that the regression EM
of Wang, Golbandi, Bendersky, Metzler and Najork 2018, "Position bias estimation for unbiased learning to rank
in personal search", maximises. A quasi-Newton method does it in a few steps; with rare clicks, EM takes
hundreds. Slots and ads can be told apart because ads change places.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl
from scipy.optimize import minimize

from relevance.extras import require
from scenarios.config.scenario import Scenario
from scenarios.config.settings import dump_model
from scenarios.errors import ScenarioError
from scenarios.markets.click_model import CtrFile, Figures, PairFeatures, pair_features
from scenarios.markets.kind import Progress
from scenarios.markets.loading import load_scenario
from scenarios.markets.prepared import Prepared
from scenarios.markets.scoring import relevance_of
from scenarios.markets.simulation import prepare, simulate
from scenarios.runs.results import read_result
from scenarios.storage.whole import write_whole_file
from simulator.arrays import BoolArray, FloatArray, IntArray
from simulator.pctr import FittedCtr, logit, refine

HELD_OUT = 5
"""Every fifth query is held out for the figures."""
MIN_CLICKS = 200
"""With fewer clicks than this, the coefficients are mostly noise."""
N_GROUPS = 20
_RIDGE = 1e-7  # decides if there are no data, such as for a kind of match that was never shown
_LEAST_LOG_EXAMINATION = -10.0


def scenario_of(
    path: Path, overrides: Sequence[str] = (), *, seed: int | None = None, scorer: str | None = None
) -> Scenario:
    """The scenario of a file, or of a result folder.

    Raises:
        ScenarioError: it cannot be read or is not valid; it names a fitted click model already; or it belongs
            to a result, which cannot be changed.
    """
    file = path
    if path.is_dir():
        file = path / "scenario.yaml"
        if overrides or seed is not None or scorer is not None:
            raise ScenarioError(f"{path}: a stored log cannot be changed; name its scenario.yaml instead")
    scenario = load_scenario(file, overrides, seed=seed, scorer=scorer)
    if scenario.pctr.model is not None:
        raise ScenarioError(
            f"{file}, pctr.model: the log must show the platform's own prediction; --set pctr.model=null"
        )
    return scenario


def log_of(path: Path) -> pl.DataFrame | None:
    """The log of a result folder; None for a scenario file.

    Raises:
        StoreError: the folder is incomplete.
    """
    return read_result(path).log() if path.is_dir() else None


def fit_ctr(
    scenario: Scenario,
    log: pl.DataFrame | None = None,
    *,
    cache: Path | None = None,
    progress: Progress | None = None,
) -> CtrFile:
    """Fit the click model of a scenario's platform.

    The features are the prediction itself, the kind of keyword match and, unless the scenario's scorer is
    `none` or `oracle`, its relevance.

    Args:
        log: of a run of the scenario, one row per impression; None runs its market.
        cache: the results folder, under which frames and scores are kept.

    Raises:
        ScenarioError: there are too few clicks.
        CheckpointError, PluginError, ScorerError, StoreError: see `scenarios.relevance_of`.
    """
    prepared = prepare(scenario, cache=cache, progress=progress)
    relevance = relevance_of(prepared, scenario.scorer, cache=cache, progress=progress)
    if log is None:
        log = simulate(prepared, relevance, progress=progress).log.impressions()
    known = scenario.scorer not in ("none", "oracle")  # no platform knows the truth
    features = pair_features(prepared.found, relevance.table if known else None)
    return _fit(prepared, log, features, scenario.scorer if known else None)


def write_ctr_file(path: Path, fitted: CtrFile) -> None:
    """Write a file for `pctr.model`, whole or not at all.

    Raises:
        StoreError: it cannot be written.
    """
    write_whole_file(path, dump_model(fitted))


def _fit(prepared: Prepared, log: pl.DataFrame, features: PairFeatures, scorer: str | None) -> CtrFile:
    scenario = prepared.scenario
    query, ad, slot = (log[name].to_numpy().astype(np.int64) for name in ("query", "ad", "slot"))
    clicked = log["clicked"].to_numpy()
    held_out = log["query_index"].to_numpy() % HELD_OUT == HELD_OUT - 1
    if (n_clicks := int(clicked[~held_out].sum())) < MIN_CLICKS:
        raise ScenarioError(
            f"{scenario.name}, traffic.n_queries: {n_clicks} clicks to fit on, {MIN_CLICKS} are needed; "
            "let more queries come"
        )
    column = np.argmax(prepared.candidate[query] == ad[:, None], axis=1)
    relevance, match = features.relevance[query, column], features.match[query, column]
    predicted = log["pctr"].to_numpy()
    design = np.column_stack(
        [np.ones(slot.size), logit(predicted), relevance, match == 1, match == 2]  # exact match is the base
    ).astype(np.float64)
    assumed = np.asarray(scenario.users.examination)
    weight, examination = fit_clicks(design[~held_out], slot[~held_out], clicked[~held_out], assumed)
    intercept, own, of_relevance, phrase, broad = (round(float(w), 9) for w in weight)
    coefficients = FittedCtr(intercept, own, of_relevance, (0.0, phrase, broad))
    refined = refine(coefficients, predicted, relevance, match)
    return CtrFile(
        kind="pctr",
        schema=1,
        scenario=scenario.name,
        scorer=scorer,
        coefficients=coefficients,
        examination=tuple(round(float(e), 6) for e in examination),
        impressions=int((~held_out).sum()),
        clicks=n_clicks,
        before=figures((assumed[slot] * predicted)[held_out], clicked[held_out]),
        after=figures((examination[slot] * refined)[held_out], clicked[held_out]),
    )


def fit_clicks(
    design: FloatArray, slot: IntArray, clicked: BoolArray, assumed: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Weights F[D] and examination F[S] of P(click) = examination[slot] / (1 + exp(-design @ weights)).

    The R impressions have features F[R, D], slots I[R] and clicks B[R]. A log shows the product of the two
    factors only. So the first slot, and slots that were never filled, keep their examination of `assumed`
    F[S]; the others are fitted, up to 1.
    """
    d = design.shape[1]

    def loss(theta: FloatArray) -> tuple[float, FloatArray]:
        weight, examination = theta[:d], np.append(assumed[0], np.exp(theta[d:]))
        attraction = 1.0 / (1.0 + np.exp(-(design @ weight)))
        p = examination[slot] * attraction
        p = np.clip(p, 1e-12, 1.0 - 1e-12)
        log_likelihood = np.where(clicked, np.log(p), np.log1p(-p)).mean()
        # Derivative by log p: 1 with a click, -p / (1 - p) without.
        pull = np.where(clicked, 1.0, -p / (1.0 - p)) / p.size
        by_weight = design.T @ (pull * (1.0 - attraction))
        by_slot = np.bincount(slot, weights=pull, minlength=assumed.size)[1:]
        penalty = 0.5 * _RIDGE * float(weight @ weight)
        return penalty - float(log_likelihood), np.concatenate([_RIDGE * weight - by_weight, -by_slot])

    least = _LEAST_LOG_EXAMINATION
    start = np.append(np.zeros(d), np.log(np.maximum(assumed[1:], np.exp(least))))
    start[1] = 1.0
    bounds = [(None, None)] * d + [(least, 0.0)] * (assumed.size - 1)
    found = minimize(
        loss, start, jac=True, method="L-BFGS-B", bounds=bounds, options={"ftol": 1e-12, "gtol": 1e-8}
    )
    return found.x[:d], np.append(assumed[0], np.exp(found.x[d:]))


def figures(p_click: FloatArray, clicked: BoolArray) -> Figures:
    """Quality of click probabilities F[R] for clicks B[R]; AUC is 0.5 if all or none were clicked."""
    require("sklearn", extra="world", needed_by="relbid fit-pctr")
    from sklearn.metrics import log_loss, roc_auc_score

    p = np.clip(p_click, 1e-12, 1.0 - 1e-12)
    groups = np.array_split(np.argsort(p, kind="stable"), N_GROUPS)
    gaps = [abs(p[group].mean() - clicked[group].mean()) for group in groups if group.size]
    both = 0 < clicked.sum() < clicked.size
    return Figures(
        log_loss=round(float(log_loss(clicked, p, labels=[False, True])), 9),
        calibration_error=round(float(np.mean(gaps)), 9),
        predicted_to_clicked=round(float(p.sum() / max(int(clicked.sum()), 1)), 9),
        auc=round(float(roc_auc_score(clicked, p)), 9) if both else 0.5,
    )
