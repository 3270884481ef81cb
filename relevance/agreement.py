"""How far those who grade pairs agree: weighted kappa, with intervals over queries."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from relevance.arrays import FloatArray, IntArray
from relevance.metrics import Interval, difference_interval
from relevance.ranges import check_columns, check_within

N_GRADES = 4


def confusion(first: IntArray, second: IntArray, weight: FloatArray | None = None) -> FloatArray:
    """How often pairs I[P] got each two grades, F[4, 4], the first grader's by row.

    Args:
        weight: F[P] of the pairs; None: 1 each.

    Raises:
        ValueError: an argument is of another kind, or a grade is none of 0..3.
    """
    check_columns(first=first, second=second, **({} if weight is None else {"weight": weight}))
    if weight is not None:
        check_within("weight", weight, 0, 1e300)
    for name, grade in {"first": first, "second": second}.items():
        check_within(name, grade, 0, N_GRADES - 1, whole=len(grade) > 0)
    counted = np.bincount(first * N_GRADES + second, weights=weight, minlength=N_GRADES**2)
    return counted.reshape(N_GRADES, N_GRADES).astype(np.float64)


def weighted_kappa(confused: FloatArray) -> float:
    """Cohen's kappa with quadratic weights, of a table F[4, 4]; NaN where both always give one grade.

    Cohen 1968, "Weighted kappa: nominal scale agreement with provision for scaled disagreement". It is 1
    where all agree, and 0 where they do as often as by chance.
    """
    if confused.shape != (N_GRADES, N_GRADES):
        raise ValueError(f"confused must be a table [4, 4], has the shape {list(confused.shape)}")
    check_within("confused", confused, 0, 1e300)
    grade = np.arange(N_GRADES)
    apart = (grade[:, None] - grade[None, :]) ** 2
    total = confused.sum()
    by_chance = float((apart * np.outer(confused.sum(axis=1), confused.sum(axis=0))).sum())
    return 1.0 - float((apart * confused).sum()) * float(total) / by_chance if by_chance else float("nan")


@dataclass(frozen=True, slots=True)
class Agreement:
    """How far two graders of P pairs agree, with 95% bootstrap intervals over queries.

    Attributes:
        kappa: see `weighted_kappa`.
        equal: the share of pairs to which both gave the same grade.
        counts: F[4, 4], see `confusion`.
    """

    kappa: Interval
    equal: Interval
    counts: FloatArray


def agreement(
    query: IntArray,
    first: IntArray,
    second: IntArray,
    *,
    rng: np.random.Generator,
    n_resamples: int = 1000,
) -> Agreement:
    """How far two graders of pairs I[P] agree."""

    def interval(statistic: Callable[[FloatArray], float]) -> Interval:
        def resampled(weight: FloatArray) -> float:
            return statistic(confusion(first, second, weight))

        return difference_interval(query, resampled, rng=rng, n_resamples=n_resamples)

    def equal(confused: FloatArray) -> float:
        return float(np.trace(confused) / max(confused.sum(), 1.0))

    return Agreement(interval(weighted_kappa), interval(equal), confusion(first, second))
