"""Station 3, scoring: the relevance of every pair of a query and an ad that can meet.

Relevance depends on neither bids nor budgets, so a scorer is asked once per pair and every auction looks it
up.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from simulator.arrays import FloatArray, IntArray

if TYPE_CHECKING:
    from relevance.protocol import RelevanceScorer


def score_candidates(
    scorer: "RelevanceScorer",
    candidate: IntArray,
    *,
    chunk: int = 4096,
    progress: Callable[[int, int], None] | None = None,
) -> FloatArray:
    """Score the candidates I[U, K] of queries 0 .. U-1 with `scorer` -> F[U, K] in [0, 1]; padding gets 0.

    The scorer sees flat pairs, at most `chunk` at a time; `progress(done, total)` counts pairs. Raises
    ValueError if a score is missing, not a number or outside [0, 1].
    """
    query, column = np.nonzero(candidate >= 0)
    ad = candidate[query, column]
    relevance = np.zeros(candidate.shape, dtype=np.float64)
    for start in range(0, query.size, chunk):
        part = slice(start, start + chunk)
        score = np.asarray(scorer.score(query[part], ad[part]), dtype=np.float64)
        if score.shape != query[part].shape or not bool(((score >= 0) & (score <= 1)).all()):
            raise ValueError(
                "the scorer must return one number in [0, 1] per pair; relevance.check_scorer tells more"
            )
        relevance[query[part], column[part]] = score
        if progress is not None:
            progress(min(start + chunk, query.size), query.size)
    return relevance


def look_up(table: FloatArray, query: IntArray) -> FloatArray:
    """The rows of a per-query table F[U, K] for a micro-batch of queries I[Q] -> F[Q, K]."""
    return table[query]
