"""All that a scenario asks for: its own run, its comparison and its sweep, on one market with equal draws."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import polars as pl

from relevance.errors import ScorerError
from scenarios.config.load import dump_scenario
from scenarios.config.scenario import Scenario
from scenarios.markets.kind import Progress
from scenarios.markets.prepared import Prepared, Relevance
from scenarios.markets.public_models import calibration_notes
from scenarios.markets.scoring import check_scorers, relevance_of
from scenarios.markets.simulation import prepare, simulate
from scenarios.markets.size import check_size
from scenarios.runs.points import points_of, simulate_points
from scenarios.runs.results import INCOMPLETE, result_folder, write_result
from scenarios.storage.log_file import LogFile
from scenarios.storage.parquet import write_parquet
from scenarios.storage.whole import alone, staging, whole_folder

OtherDays = Callable[[Prepared, Mapping[str, Relevance]], "pl.DataFrame | None"]
"""Compares the scorers of a prepared scenario over several days, by their relevances. None: no other days."""
SimulatePoints = Callable[
    [Prepared, Mapping[str, Relevance], Sequence[Scenario]], Sequence[Mapping[str, float]] | None
]
"""The metrics of scenarios on a prepared market; None: it does not simulate these."""


@dataclass(frozen=True, slots=True)
class RunResult:
    """What `relbid run` stores: the own run's metrics and log, and one row of `points` per simulated point.

    The log is a file where `run_scenario` was told to write one.
    """

    scenario: Scenario
    metrics: dict[str, float]
    points: pl.DataFrame
    log: pl.DataFrame | Path
    notes: tuple[str, ...] = ()
    """What the market says of itself, and what of it is modelled."""
    comparison: pl.DataFrame | None = None
    """Differences from the first scorer over several days, with intervals, where they were asked for."""


def run_to_folder(
    scenario: Scenario,
    out: Path,
    *,
    sweep: bool = True,
    progress: Progress | None = None,
    days: OtherDays | None = None,
    points: SimulatePoints | None = None,
) -> tuple[RunResult, Path]:
    """Run a scenario, with a lock on its result folder, and write that; returns the result and the folder.

    Where a scorer of one's own fails, what was finished is kept beside the folder's place, under a name that
    no reader of results takes for a complete one: `<name>-<hash>.incomplete/` (see `keep_incomplete`).

    Args:
        days: compares the scorers over several days.
        points: simulates the points of comparison and sweep.

    Raises:
        CheckpointError, PluginError, ScorerError, StoreError: see `scenarios.relevance_of`.
    """
    folder = result_folder(out, scenario)
    with alone(folder, "run"), staging(out) as part:
        result = run_scenario(
            scenario,
            cache=out,
            sweep=sweep,
            log_path=part / "log.parquet",
            progress=progress,
            keep=incomplete(folder),
            days=days,
            points=points,
        )
        write_result(out, scenario, result.metrics, result.points, result.log, result.comparison)
        shutil.rmtree(incomplete(folder), ignore_errors=True)
    return result, folder


def run_scenario(
    scenario: Scenario,
    *,
    cache: Path | None = None,
    sweep: bool = True,
    log_path: Path | None = None,
    progress: Progress | None = None,
    keep: Path | None = None,
    days: OtherDays | None = None,
    points: SimulatePoints | None = None,
) -> RunResult:
    """Run a scenario.

    Args:
        cache: the results folder, under which frames and scores are kept; None keeps nothing.
        sweep: False leaves the sweep out.
        log_path: a file for the own run's log, written part by part, so that memory does not grow with it.
        keep: a folder for what is finished where a scorer of one's own fails; None keeps nothing.
        days: compares the scorers over several days.
        points: simulates the points of comparison and sweep.

    Raises:
        CheckpointError, PluginError, ScorerError, StoreError: see `scenarios.relevance_of`.
    """
    scorers = [scenario.scorer, *scenario.compare]
    if sweep and scenario.sweep is not None:
        scorers += scenario.sweep.scorers
    check_scorers(scenario, scorers)
    for point in {one.value: one for one in points_of(scenario, sweep=sweep)}.values():
        check_size(point.of(scenario))
    prepared = prepare(scenario, cache=cache, progress=progress)
    relevances: dict[str, Relevance] = {}
    for scorer in dict.fromkeys(scorers):
        try:
            relevances[scorer] = relevance_of(prepared, scorer, cache=cache, progress=progress)
        except ScorerError as error:
            if keep is None:
                raise
            keep_incomplete(keep, prepared, relevances, scorer, error, sweep=sweep)
            raise ScorerError(f"{error}\n  what was finished until then is in {keep}/") from error

    named = prepared.source.named
    own_relevance = relevances[scenario.scorer]
    log: pl.DataFrame | Path
    if log_path is None:
        own = simulate(prepared, own_relevance)
        log = named(own.log)
    else:
        log = log_path
        with LogFile(log_path) as file:
            own = simulate(prepared, own_relevance, sink=lambda part: file.write(named(part)))
            if not file.begun:  # nothing was shown
                file.write(named(own.log))
    metrics = own.metrics
    del own  # its market is as large as the traffic, and the points have another
    table = simulate_points(
        prepared,
        relevances,
        sweep=sweep,
        own=metrics,
        simulate=None if points is None else lambda scenarios: points(prepared, relevances, scenarios),
        progress=progress,
    )
    comparison = None if days is None else days(prepared, relevances)
    notes = (*prepared.source.notes, *calibration_notes(prepared, scorers))
    return RunResult(scenario, metrics, table, log, notes, comparison)


def incomplete(folder: Path) -> Path:
    """Where what a run had finished is kept if it fails."""
    return folder.with_name(folder.name + INCOMPLETE)


def keep_incomplete(
    folder: Path,
    prepared: Prepared,
    relevances: Mapping[str, Relevance],
    scorer: str,
    error: ScorerError,
    *,
    sweep: bool = True,
) -> None:
    """Keep what a run had finished when a scorer failed.

        incomplete.json     which scorers are finished, which one failed, at what, and after how many pairs
        scenario.yaml       the scenario
        finished.parquet    the rows of points.parquet for the finished scorers, if any is
        scores.parquet      query, ad and score of the pairs that the scorer had finished, if any

    Raises:
        StoreError: it cannot be written.
    """
    query, column = np.nonzero(prepared.candidate >= 0)
    ad, score = prepared.candidate[query, column], error.done
    done = np.zeros(query.size, dtype=bool) if score is None else ~np.isnan(score)
    facts = {
        "incomplete": True,
        "finished": list(relevances),
        "failed": scorer,
        "error": str(error),
        "pairs_scored": int(done.sum()),
        "pairs": int(query.size),
    }
    with whole_folder(folder) as part:
        (part / "incomplete.json").write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
        (part / "scenario.yaml").write_text(dump_scenario(prepared.scenario), encoding="utf-8")
        if relevances:
            finished = replace(prepared, scenario=_only(prepared.scenario, relevances))
            write_parquet(simulate_points(finished, relevances, sweep=sweep), part / "finished.parquet")
        if score is not None and done.any():
            corpus = prepared.corpus
            ids = corpus.ad_ids()
            columns = {
                "query": [corpus.query_text[i] for i in query[done].tolist()],
                "ad": [ids[i] for i in ad[done].tolist()],
                "score": score[done],
            }
            write_parquet(pl.DataFrame(columns), part / "scores.parquet")


def _only(scenario: Scenario, scorers: Mapping[str, object]) -> Scenario:
    """A scenario with some of its scorers alone."""
    compare = tuple(name for name in scenario.compare if name in scorers)
    swept = scenario.sweep
    if swept is not None:
        names = tuple(name for name in swept.scorers if name in scorers)
        swept = swept.model_copy(update={"scorers": names}) if names else None
    own = scenario.scorer if scenario.scorer in scorers else next(iter(scorers))
    return scenario.model_copy(update={"scorer": own, "compare": compare, "sweep": swept})
