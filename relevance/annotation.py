"""Fewer labels and worse ones: what a training sees of the graded pairs of a corpus.

Pure functions; draws come from the generator passed in. Of one seed the queries of a smaller amount are among
those of a larger one, and labels that are wrong at a smaller share of noise are wrong at a larger one, too,
and in the same way.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from relevance.arrays import IntArray
from relevance.corpus import Labels

CONFUSION: Mapping[int, Mapping[int, float]] = {
    0: {1: 0.90, 2: 0.08, 3: 0.02},
    1: {0: 0.80, 2: 0.18, 3: 0.02},
    2: {3: 0.80, 1: 0.18, 0: 0.02},
    3: {2: 0.90, 1: 0.08, 0: 0.02},
}
"""What a wrong label says instead of the true grade: mostly the neighbour in the same branch, in one of ten
(grades 0 and 3) or of five (1 and 2) another branch. Our choice: where annotators of graded relevance
disagree, it is mostly by one grade."""


def whole_queries(labels: Labels, n_pairs: int, rng: np.random.Generator) -> Labels:
    """All pairs of some queries: as many queries, in a random order, as have `n_pairs` pairs together.

    Fewer pairs than asked for by less than the next query's, and at least one query. Pairs keep their order.
    """
    queries, of_pair, count = np.unique(labels.query, return_inverse=True, return_counts=True)
    order = rng.permutation(len(queries))
    fits = np.cumsum(count[order]) <= n_pairs
    fits[:1] = True
    chosen = np.zeros(len(queries), dtype=bool)
    chosen[order[fits]] = True
    return labels.take(chosen[of_pair])


def noisy_grades(grade: IntArray, share: float, rng: np.random.Generator) -> IntArray:
    """Grades of which a share is wrong, in the manner of CONFUSION.

    Exactly round(share x P) of the P grades are wrong. Grades that none of the P pairs has are never said
    either (WANDS knows no grade 1).

    Args:
        grade: [P], 0..3.
        share: in [0, 1].

    Raises:
        ValueError: all grades are equal, so that there is no wrong one to give.
    """
    p = len(grade)
    rank, luck = rng.permutation(p), rng.random(p)
    known = np.unique(grade)
    wrong = rank < round(share * p)
    if wrong.any() and len(known) < 2:
        raise ValueError("all pairs have the same grade; there is no other one to take for it")
    said = grade.copy()
    for true in np.unique(grade[wrong]):
        others = [(other, weight) for other, weight in CONFUSION[int(true)].items() if other in known]
        bounds = np.cumsum([weight for _, weight in others])
        rows = np.flatnonzero(wrong & (grade == true))
        which = np.searchsorted(bounds / bounds[-1], luck[rows], side="right")
        said[rows] = np.array([other for other, _ in others])[np.minimum(which, len(others) - 1)]
    return said
