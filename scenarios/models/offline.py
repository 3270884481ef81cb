"""Scorers offline: graded pairs of a scenario's world, their scores and metrics, and a scorer's worst errors.

It measures the same as `relbid evaluate`, but on some queries of the scenario's own world.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import polars as pl

from relevance.cached import CachedScorer, ScoreTable
from relevance.corpus import SPLITS, Labels as Labels
from relevance.evaluation import ScorerEvaluation as ScorerEvaluation, evaluate_scorers
from relevance.metrics import Reliability as Reliability, branch_gap, reliability
from relevance.oracle import GRADE_GAIN
from relevance.pretrained import pretrained_of
from relevance.ranges import check_within
from scenarios.config.load import override
from scenarios.config.scenario import Scenario
from scenarios.errors import UserError
from scenarios.markets.checkpoints import (
    SHIPPED,
    SHIPPED_CHECKPOINT,
    Doubt as Doubt,
    checkpoint_folder,
    doubts,
    fold_of,
    keywords_of,
    trained_on,
)
from scenarios.markets.corpus.corpus_market import CorpusOfOnesOwn
from scenarios.markets.kind import Progress
from scenarios.markets.plug_ins import is_own
from scenarios.markets.prepared import Prepared
from scenarios.markets.scoring import pair_scores
from scenarios.models.judged import graded_by_people
from simulator.arrays import FloatArray
from simulator.world import graded_pairs

PairSet = Literal["graded", "held_out", "meeting"]
"""Which pairs: `graded` has equally many of each grade, as in training and `relbid evaluate`; so has
`held_out`, for the products of the fold that the scenario's checkpoint had no labels of; `meeting` are the
pairs of the market's auctions, whatever their grades."""

PAIR_SETS: tuple[PairSet, ...] = get_args(PairSet)
_SAMPLE_KEY = 211


@dataclass(frozen=True, slots=True)
class OfflineScores:
    """One scorer on P pairs: `score` F[P], `positive` F[P], its P(grade 2 or 3), and P(grade) F[P, 4] if any.

    For a scorer without P(grade), its score is taken as P(positive).
    """

    scorer: str
    score: FloatArray
    positive: FloatArray
    grade_probabilities: FloatArray | None


def offline_scorers(scenario: Scenario) -> tuple[str, ...]:
    """Scorers to compare; the scenario's own checkpoint comes first.

    `hcmrm` is a checkpoint folder that the scenario names, `shipped` the package's. Then bm25, oracle, and
    public models and the user's own ("module:attr") of the scenario.
    """
    first = SHIPPED if (scenario.hcmrm.checkpoint or SHIPPED) == SHIPPED else "hcmrm"
    swept = scenario.sweep.scorers if scenario.sweep is not None else ()
    own = (
        name for name in (scenario.scorer, *scenario.compare, *swept) if is_own(name) or pretrained_of(name)
    )
    return tuple(dict.fromkeys((first, SHIPPED, "bm25", "oracle", *own)))


def offline_pairs(prepared: Prepared, pairs: PairSet, n_queries: int | None = None) -> Labels:
    """Graded pairs of a world, sorted by query, then ad.

    Args:
        n_queries: take all pairs of so many queries. The draw is fixed, and a larger sample contains a
            smaller one. None takes all queries.

    Raises:
        CheckpointError: there are no pairs of `held_out`, since all products had labels in its training.
        ScenarioError: the market is a table, which has no texts and no frames.
        UserError: there are no such pairs.
    """
    if n_queries is not None:
        check_within("n_queries", n_queries, 1, 1e12, whole=True)
    if isinstance(prepared.source, CorpusOfOnesOwn):
        labels, seed = _of_corpus(prepared, pairs), 0
    else:
        labels, seed = _of_world(prepared, pairs), prepared.world.config.seed
    if not len(labels):
        raise UserError(
            f"the {'corpus' if prepared.source.world is None else 'world'} has no such pairs in its split "
            f"'{prepared.scenario.split}' (held_out is a part of 'test')",
            file=prepared.scenario.place,
        )
    queries = np.unique(labels.query)
    if n_queries is None or n_queries >= queries.size:
        return labels
    rng = np.random.default_rng((seed, _SAMPLE_KEY))
    return labels.take(np.isin(labels.query, rng.permutation(queries)[:n_queries]))


def _of_corpus(prepared: Prepared, pairs: PairSet) -> Labels:
    """The pairs of a corpus that people graded; `meeting`: those of the auctions, with a judge's grades, too.

    Raises:
        UserError: `held_out` is asked for, and is of the embedded world.
    """
    if pairs == "held_out":
        raise UserError(
            "a corpus has no pairs of products that are held out",
            file=prepared.scenario.place,
            remedy="choose others",
        )
    if pairs == "graded":
        return graded_by_people(prepared)
    return _meeting(prepared)


def _meeting(prepared: Prepared) -> Labels:
    """The pairs of the auctions, sorted by query, then ad, in the split of the scenario."""
    query, column = np.nonzero(prepared.candidate >= 0)
    ad = prepared.candidate[query, column]
    order = np.lexsort((ad, query))
    query, ad = query[order], ad[order]
    grade = prepared.source.grade(query, ad).astype(np.int64)
    return Labels(query, ad, grade, np.full(query.size, SPLITS.index(prepared.scenario.split)))


def _of_world(prepared: Prepared, pairs: PairSet) -> Labels:
    world, split = prepared.world, prepared.scenario.split
    folder = checkpoint_folder(prepared.scenario)
    if pairs == "held_out":
        return graded_pairs(world, split, fold=fold_of(folder)).of("held_out")
    if pairs == "graded":
        return graded_pairs(world, split, fold=trained_on(folder).fold).of(split)
    return _meeting(prepared)


def offline_doubts(scenario: Scenario, scorers: Iterable[str], pairs: PairSet) -> list[Doubt]:
    """Why figures of scorers on a scenario's pairs may not be what they seem: those with a checkpoint."""
    if scenario.market.kind != "world":  # a record of a training names worlds alone
        return []
    own, seeds = checkpoint_folder(scenario), [scenario.world.seed]
    held_out = trained_on(own).fold if pairs == "held_out" else None
    folders = {"hcmrm": own, SHIPPED: SHIPPED_CHECKPOINT}
    wanted = dict.fromkeys(folders[name] for name in scorers if name in folders)
    return [doubt for folder in wanted for doubt in doubts(folder, seeds, scenario.world, held_out)]


def offline_scores(
    prepared: Prepared,
    labels: Labels,
    scorer: str,
    *,
    cache: Path | None = None,
    progress: Progress | None = None,
) -> OfflineScores:
    """Score pairs with a name of `offline_scorers`; kept on disk as all scores are.

    Raises:
        CheckpointError, PluginError, ScorerError, StoreError: see `scenarios.relevance_of`.
    """
    name = scorer
    if scorer == SHIPPED:
        scenario = override(prepared.scenario, {"hcmrm.checkpoint": scorer})
        prepared, name = replace(prepared, scenario=scenario), "hcmrm"
    table = pair_scores(prepared, name, labels.query, labels.ad, cache=cache, progress=progress)
    probabilities = table.grade_probabilities
    positive = table.score if probabilities is None else probabilities[:, 2:].sum(axis=1)
    return OfflineScores(scorer, table.score, np.clip(positive, 0.0, 1.0), probabilities)


def evaluate_offline(
    labels: Labels, scores: Mapping[str, OfflineScores], *, n_resamples: int = 200, seed: int = 0
) -> list[ScorerEvaluation]:
    """Metrics of each scorer, and the first one's lead with a paired 95% bootstrap interval over queries."""
    scorers = {
        name: CachedScorer(ScoreTable(labels.query, labels.ad, one.score)) for name, one in scores.items()
    }
    return evaluate_scorers(labels, scorers, rng=np.random.default_rng(seed), n_resamples=n_resamples)


def reliability_of(labels: Labels, scores: OfflineScores, n_bins: int = 10) -> Reliability:
    """The scorer's P(positive), or else its score, against the share of positive pairs."""
    return reliability(labels.grade >= 2, scores.positive, n_bins, labels.query)


def gap_of(labels: Labels, scores: OfflineScores, tail: float = 0.1) -> float:
    """How far the scores of positive and negative pairs are apart, see `relevance.metrics.branch_gap`."""
    return branch_gap(labels.grade, scores.score, tail)


def worst_errors(
    prepared: Prepared, labels: Labels, scores: OfflineScores, kind: Literal["over", "under"], n: int = 12
) -> pl.DataFrame:
    """The pairs with a scorer's largest errors, the worst first; every query and every ad at most once.

    Args:
        kind: "over": negative pairs (grades 0, 1) whose score is highest above what their grade is worth;
            "under": positive ones (2, 3) whose score is lowest below it.

    Returns:
        query (its text), ad, title, ocr, asr, keywords (null without a checkpoint), grade, score, positive,
        p0 .. p3 (null without P(grade)), and error, the score minus the worth of the true grade.
    """
    check_within("n", n, 1, 1e9, whole=True)
    error = scores.score - np.asarray(GRADE_GAIN)[labels.grade]
    wrong = (labels.grade < 2) & (error > 0) if kind == "over" else (labels.grade >= 2) & (error < 0)
    order = np.flatnonzero(wrong)
    order = order[np.argsort(-np.abs(error[order]), kind="stable")]
    chosen: list[int] = []
    queries: set[int] = set()
    seen: set[int] = set()
    for row in order.tolist():
        if len(chosen) == n:
            break
        query, ad = int(labels.query[row]), int(labels.ad[row])
        if query not in queries and ad not in seen:
            queries.add(query)
            seen.add(ad)
            chosen.append(row)
    corpus = prepared.corpus
    ads = labels.ad[chosen].tolist()
    p = scores.grade_probabilities
    return pl.DataFrame(
        {
            "query": [corpus.query_text[query] for query in labels.query[chosen].tolist()],
            "ad": ads,
            "title": [corpus.ad_title[ad] for ad in ads],
            "ocr": [corpus.ad_ocr[ad] for ad in ads],
            "asr": [corpus.ad_asr[ad] for ad in ads],
            "keywords": keywords_of(prepared.scenario, corpus, ads),
            "grade": labels.grade[chosen].tolist(),
            "score": scores.score[chosen].tolist(),
            "positive": scores.positive[chosen].tolist(),
            **{f"p{g}": [None] * len(ads) if p is None else p[chosen, g].tolist() for g in range(4)},
            "error": error[chosen].tolist(),
        },
        schema={
            "query": pl.String, "ad": pl.Int64, "title": pl.String, "ocr": pl.String, "asr": pl.String,
            "keywords": pl.String, "grade": pl.Int64, "score": pl.Float64, "positive": pl.Float64,
            **{f"p{g}": pl.Float64 for g in range(4)}, "error": pl.Float64,
        },
    )  # fmt: skip
