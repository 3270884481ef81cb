"""How far a judge agrees with people, beside how far people agree with one another."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from relevance.agreement import Agreement, agreement
from scenarios.corpora.judge import JudgedPairs
from scenarios.markets.corpus.offers import Raters
from simulator.arrays import IntArray


def agreements(result: JudgedPairs, folder: Path, seed: int = 0) -> dict[tuple[str, str], Agreement]:
    """The judge against the labels and against each rater, and the raters against one another."""

    def against(query: IntArray, first: IntArray, second: IntArray) -> Agreement:
        return agreement(query, first, second, rng=np.random.default_rng(seed))

    rows, found = result.labelled, dict[tuple[str, str], Agreement]()
    if not rows.size:
        return found
    query = result.query[rows]
    found["labels", "judge"] = against(query, result.grade, result.judged.grade[rows])
    raters = Raters.read(folder, result.data.corpus, result.data.labels)
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
