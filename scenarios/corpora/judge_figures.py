"""How well a judge's scorers rank labelled pairs, and how far the judge agrees with people."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from relevance.judging import Agreement, agreement
from relevance.metrics import Interval, auc_by_weight, difference_interval, ndcg_by_query
from scenarios.corpora.judge import JudgedPairs
from scenarios.markets.corpus.offers import Raters
from simulator.arrays import FloatArray, IntArray


@dataclass(frozen=True, slots=True)
class Ranking:
    """How well something ranks labelled pairs: AUC of grades 2 and 3, and NDCG@10, over queries."""

    auc: Interval
    ndcg_10: Interval


def rankings(result: JudgedPairs, names: Sequence[str], seed: int = 0) -> dict[str, Ranking]:
    """Each scorer's ranking of the labelled pairs, and that of the mean where there are several."""
    if result.scores is None:
        return {}
    found = dict(zip(names, result.scores, strict=True))
    if result.mean is not None and len(found) > 1:
        found["mean"] = result.mean
    query = result.query[result.labelled]
    return {name: ranking(query, result.grade, score[result.labelled], seed) for name, score in found.items()}


def ranking(query: IntArray, grade: IntArray, score: FloatArray, seed: int = 0) -> Ranking:
    """Figures of scores [P] against grades [P], with 95% bootstrap intervals over queries."""
    asked, ndcg = ndcg_by_query(query, grade, score)

    def mean(weight: FloatArray) -> float:
        return float(np.average(ndcg, weights=weight))

    return Ranking(
        difference_interval(query, auc_by_weight(grade >= 2, score), rng=np.random.default_rng(seed)),
        difference_interval(asked, mean, rng=np.random.default_rng(seed)),
    )


def agreements(result: JudgedPairs, folder: Path, seed: int = 0) -> dict[tuple[str, str], Agreement]:
    """The judge against the labels and against each rater, and the raters against one another."""

    def against(query: IntArray, first: IntArray, second: IntArray) -> Agreement:
        return agreement(query, first, second, np.random.default_rng(seed))

    rows, found = result.labelled, dict[tuple[str, str], Agreement]()
    if not rows.size:
        return found
    query = result.query[rows]
    found["labels", "judge"] = against(query, result.grade, result.judged.grade[rows])
    raters = Raters.read(folder, result.data.corpus)
    if raters is None:
        return found
    columns = {
        name: np.array([-1 if one is None else one for one in column])
        for name, column in raters.columns(result.data.labels).items()
    }
    named = [(name.replace("_", " "), column) for name, column in columns.items()]
    for name, column in named:
        there = column >= 0
        found[name, "judge"] = against(query[there], column[there], result.judged.grade[rows][there])
    for i, (name, column) in enumerate(named):
        for other, column_of_other in named[i + 1 :]:
            both = (column >= 0) & (column_of_other >= 0)
            if both.any():
                found[name, other] = against(query[both], column[both], column_of_other[both])
    return found
