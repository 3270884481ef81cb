"""Station 3, scoring: the relevance of every pair of a query and an ad that can meet.

Relevance depends on neither bids nor budgets: a scorer is asked once per pair, and auctions look it up.
"""

from collections.abc import Callable

import numpy as np

from relevance.protocol import RelevanceScorer, score_pairs
from simulator.arrays import FloatArray, IntArray


def score_candidates(
    scorer: RelevanceScorer,
    candidate: IntArray,
    *,
    name: str = "scorer",
    chunk: int = 4096,
    progress: Callable[[int, int], None] | None = None,
) -> FloatArray:
    """Score the candidates I[U, K] of queries 0 .. U-1 -> F[U, K] in [0, 1]; padding gets 0.

    The scorer sees flat pairs, at most `chunk` at a time; `progress(done, total)` counts pairs. Raises
    relevance.ScorerError, which calls the scorer by `name`, if it returns anything but relevances.
    """
    query, column = np.nonzero(candidate >= 0)
    ad = candidate[query, column]
    relevance = np.zeros(candidate.shape, dtype=np.float64)
    for start in range(0, query.size, chunk):
        part = slice(start, start + chunk)
        relevance[query[part], column[part]] = score_pairs(scorer, query[part], ad[part], name)
        if progress is not None:
            progress(min(start + chunk, query.size), query.size)
    return relevance


def look_up(table: FloatArray, query: IntArray) -> FloatArray:
    """The rows of a per-query table F[U, K] for a micro-batch of queries I[Q] -> F[Q, K]."""
    return table.take(query, axis=0)
