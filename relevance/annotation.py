"""Fewer labels and wrong labels: the part of a corpus's graded pairs that a training sees.

Pure functions that draw from the generator passed in. With the same seed, a smaller amount of labels is part
of a larger one, and a label that is wrong at a smaller share of noise is wrong in the same way at a larger
one.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from relevance.arrays import IntArray
from relevance.corpus import Labels
from relevance.ranges import check_within

CONFUSION: Mapping[int, Mapping[int, float]] = {
    0: {1: 0.90, 2: 0.08, 3: 0.02},
    1: {0: 0.80, 2: 0.18, 3: 0.02},
    2: {3: 0.80, 1: 0.18, 0: 0.02},
    3: {2: 0.90, 1: 0.08, 0: 0.02},
}
"""P(wrong grade | true grade) of a wrong label: mostly the neighbour in the same branch; another branch in
one of ten (grades 0 and 3) or one of five (1 and 2). Our choice, because annotators of graded relevance
disagree mostly by one grade."""


def whole_queries(labels: Labels, n_pairs: int, rng: np.random.Generator) -> Labels:
    """All pairs of some queries, drawn in a random order until the next query would exceed `n_pairs` pairs.

    At least one query is taken. Pairs keep their order.
    """
    check_within("n_pairs", n_pairs, 1, 1e12, whole=True)
    queries, of_pair, count = np.unique(labels.query, return_inverse=True, return_counts=True)
    order = rng.permutation(len(queries))
    fits = np.cumsum(count[order]) <= n_pairs
    fits[:1] = True
    chosen = np.zeros(len(queries), dtype=bool)
    chosen[order[fits]] = True
    return labels.take(chosen[of_pair])


def noisy_grades(grade: IntArray, share: float, rng: np.random.Generator) -> IntArray:
    """Grades of which a share is wrong, with the probabilities of CONFUSION.

    Exactly round(share x P) of the P grades are wrong. A grade that none of the P pairs has is never given
    (WANDS has no grade 1).

    Args:
        grade: [P], 0..3.
        share: in [0, 1].

    Raises:
        ValueError: all grades are equal, so that there is no wrong one to give.
    """
    check_within("share", share, 0, 1)
    check_within("grade", grade, 0, 3)
    p = len(grade)
    rank, uniform = rng.permutation(p), rng.random(p)
    known = np.unique(grade)
    wrong = rank < round(share * p)
    if wrong.any() and len(known) < 2:
        raise ValueError("all pairs have the same grade; there is no other one to take for it")
    said = grade.copy()
    for true in np.unique(grade[wrong]):
        others = [(other, weight) for other, weight in CONFUSION[int(true)].items() if other in known]
        bounds = np.cumsum([weight for _, weight in others])
        rows = np.flatnonzero(wrong & (grade == true))
        which = np.searchsorted(bounds / bounds[-1], uniform[rows], side="right")
        said[rows] = np.array([other for other, _ in others])[np.minimum(which, len(others) - 1)]
    return said


def exchanged_grades(grade: IntArray, share: float, rng: np.random.Generator) -> IntArray:
    """Grades of which a share is exchanged for the other one of its branch: 0 and 1, 2 and 3.

    A label's branch, positive or negative, stays true: this noise is one that a binary loss does not see.
    Exactly round(share x P) of the P grades are exchanged.

    Args:
        grade: [P], 0..3.
        share: in [0, 1].
    """
    check_within("share", share, 0, 1)
    check_within("grade", grade, 0, 3)
    wrong = rng.permutation(len(grade)) < round(share * len(grade))
    return np.where(wrong, grade ^ 1, grade)


def thinned_middle(labels: Labels, share: float, rng: np.random.Generator) -> Labels:
    """The labels with that share of those of grades 1 and 2, and all of grades 0 and 3.

    Clear cases are labelled cheaply, in doubtful ones raters disagree and labels are thrown away.
    """
    check_within("share", share, 0, 1)
    rank = np.full(len(labels), -1.0)
    for grade in (1, 2):
        rows = np.flatnonzero(labels.grade == grade)
        rank[rows] = (rng.permutation(len(rows)) + 0.5) / max(1, len(rows))
    return labels.take(rank < share)
