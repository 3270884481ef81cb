"""Scorers on the pairs of a corpus that people graded, beside the ceiling: one rater against the others."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from relevance.agreement import agreement
from relevance.corpus import Labels
from relevance.metrics import Interval, auc_by_weight, difference_interval, ndcg_by_query
from scenarios.config.market_kinds import CorpusMarket
from scenarios.config.scenario import Scenario
from scenarios.errors import ScenarioError
from scenarios.markets.corpus.corpus_market import CorpusOfOnesOwn
from scenarios.markets.corpus.offers import Raters
from scenarios.markets.kind import Progress
from scenarios.markets.prepared import Prepared
from scenarios.markets.scoring import pair_scores
from simulator.arrays import BoolArray, FloatArray, IntArray

POSITIVE = 2
"""The least grade of a relevant pair."""


class ScorerRow(NamedTuple):
    """A scorer on pairs of Q queries; intervals are 95% bootstraps over them."""

    scorer: str
    ndcg_10: Interval
    auc: Interval


class RaterRow(NamedTuple):
    """A rater beside the others."""

    rater: str
    pairs: int
    auc: Interval
    """Of the rater's grade, against whether the mean of the others' is nearer to a relevant pair's."""
    kappa: Interval
    """Quadratically weighted, with the others' mean, rounded; a half counts as the higher grade."""


def needs_corpus(scenario: Scenario) -> None:
    """Refuse a scenario whose market is no corpus, before the work.

    Raises:
        ScenarioError: it is none.
    """
    if not isinstance(scenario.market, CorpusMarket):
        raise ScenarioError(
            f"is {scenario.market.kind}",
            file=scenario.place,
            field="market.kind",
            remedy="this needs a corpus (market: {kind: corpus, folder: FOLDER})",
        )


def corpus_of(prepared: Prepared) -> CorpusOfOnesOwn:
    """The corpus of a market.

    Raises:
        ScenarioError: the market is of another kind.
    """
    needs_corpus(prepared.scenario)
    assert isinstance(prepared.source, CorpusOfOnesOwn)
    return prepared.source


def graded_by_people(prepared: Prepared) -> Labels:
    """The pairs of a market's queries that people graded, sorted by query, then ad.

    Raises:
        ScenarioError: the market is no corpus.
    """
    pairs = corpus_of(prepared).pairs
    grade = pairs.grade.astype(np.int64)
    return Labels(pairs.query, pairs.ad, grade, np.zeros_like(grade)).take(pairs.by_person)


def evaluate_scorers(
    prepared: Prepared,
    scorers: Sequence[str],
    *,
    cache: Path | None = None,
    progress: Progress | None = None,
    n_resamples: int = 1000,
    seed: int = 0,
) -> list[ScorerRow]:
    """NDCG@10 and AUC of scorers on the pairs that people graded.

    The mean NDCG is over queries that have a relevant ad, the AUC is pooled: grades 2 and 3 against 0 and 1.

    Raises:
        ScenarioError: the market is no corpus.
        CheckpointError, PluginError, ScorerError, StoreError: see `scenarios.relevance_of`.
    """
    labels, rows = graded_by_people(prepared), []
    for scorer in scorers:
        score = pair_scores(prepared, scorer, labels.query, labels.ad, cache=cache, progress=progress).score
        rng = np.random.default_rng(seed)
        query, ndcg = ndcg_by_query(labels.query, labels.grade, score)
        rows.append(
            ScorerRow(
                scorer,
                difference_interval(query, partial(_mean, ndcg), rng=rng, n_resamples=n_resamples),
                _auc(labels.query, labels.grade >= POSITIVE, score, rng, n_resamples),
            )
        )
    return rows


def rater_ceiling(prepared: Prepared, *, n_resamples: int = 1000, seed: int = 0) -> list[RaterRow]:
    """Each rater against the mean of the others, on pairs that all have graded; empty without several raters.

    Raises:
        CorpusError: the raters' file does not fit the corpus.
        ScenarioError: the market is no corpus.
    """
    source = corpus_of(prepared)
    assert isinstance(prepared.scenario.market, CorpusMarket)
    raters = Raters.read(Path(prepared.scenario.market.folder), source.corpus)
    if raters is None or len(raters.names) < 2:
        return []
    query, grades = _by_pair(raters, graded_by_people(prepared), source.corpus.n_ads)
    rows = []
    for place, name in enumerate(raters.names):
        own, others = grades[:, place], np.delete(grades, place, axis=1).mean(axis=1)
        rounded = np.floor(others + 0.5).astype(np.int64)
        rng = np.random.default_rng(seed)
        rows.append(
            RaterRow(
                name,
                query.size,
                _auc(query, rounded >= POSITIVE, own.astype(np.float64), rng, n_resamples),
                agreement(query, own, rounded, rng=rng, n_resamples=n_resamples).kappa,
            )
        )
    return rows


def _by_pair(raters: Raters, labels: Labels, n_ads: int) -> tuple[IntArray, IntArray]:
    """Queries I[P] and grades I[P, R] of the labelled pairs that every rater has graded."""
    key, wanted = raters.query * n_ads + raters.ad, labels.query * n_ads + labels.ad
    grades = np.full((wanted.size, len(raters.names)), -1)
    place = np.minimum(np.searchsorted(wanted, key), wanted.size - 1)
    known = wanted[place] == key
    grades[place[known], raters.rater[known]] = raters.grade[known]
    kept = (grades >= 0).all(axis=1)
    return labels.query[kept], grades[kept]


def _auc(
    query: IntArray, positive: BoolArray, score: FloatArray, rng: np.random.Generator, n_resamples: int
) -> Interval:
    return difference_interval(query, auc_by_weight(positive, score), rng=rng, n_resamples=n_resamples)


def _mean(values: FloatArray, weight: FloatArray) -> float:
    return float((values * weight).sum() / weight.sum()) if weight.sum() else float("nan")
