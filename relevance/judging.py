"""Grades 0..3 from scores, with confidences, fitted on human grades.

Each scorer's score becomes P(relevant), and their mean becomes P(grade >= 1), P(grade >= 2), P(grade >= 3) by
three more maps (`relevance.calibration`). The grade is the median of that distribution, so it has thresholds
on the mean. All maps are fitted by folds over queries: no query's grades come from its own labels. S scorers,
P pairs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from relevance.agreement import N_GRADES
from relevance.arrays import BoolArray, FloatArray, IntArray
from relevance.calibrated import FOLDS, fit_calibration, query_folds
from relevance.calibration import Calibration, fit_temperature
from relevance.ranges import check_columns, check_within


class Judged(NamedTuple):
    """Grades [P] of pairs 0..3, and how sure the judge is of each: F[P] in [0, 1]."""

    grade: IntArray
    confidence: FloatArray


@dataclass(frozen=True, slots=True)
class GradeMaps:
    """From scores of S scorers to grades. `at_least` [3]: P(grade >= 1, 2, 3) of the mean of P(relevant).

    A number stands for a map where the labels have no pair on one of its sides.
    """

    calibration: tuple[Calibration, ...]
    at_least: tuple[Calibration | float, ...]

    def mean(self, scores: FloatArray) -> FloatArray:
        """Mean P(relevant) [P] of scores [S, P]."""
        found = [calibration(one) for calibration, one in zip(self.calibration, scores, strict=True)]
        return np.asarray(np.mean(found, axis=0))

    def __call__(self, scores: FloatArray) -> Judged:
        """Grades of scores [S, P]."""
        mean = self.mean(scores)
        above = [one(mean) if callable(one) else np.full(mean.shape, one) for one in self.at_least]
        bounds = np.minimum.accumulate(np.stack([np.ones_like(mean), *above, np.zeros_like(mean)]), axis=0)
        grade = (bounds[1:N_GRADES] >= 0.5).sum(axis=0)
        probability = bounds[:-1] - bounds[1:]
        return Judged(grade, np.clip(probability[grade, np.arange(grade.size)], 0.0, 1.0))


def fit_grades(scores: FloatArray, grade: IntArray, name: str = "the judge") -> GradeMaps:
    """Maps fitted on labelled pairs: scores [S, P] in [0, 1], grade [P].

    Raises:
        ScorerError: all pairs are relevant (grades 2, 3), or none is.
    """
    if scores.ndim != 2 or scores.shape[1] != len(grade):
        raise ValueError(f"scores must be [S, {len(grade)}], one for each grade, are {list(scores.shape)}")
    check_within("grade", grade, 0, N_GRADES - 1)
    calibration = tuple(fit_calibration(one, grade >= 2, name=name) for one in scores)
    mean = GradeMaps(calibration, ()).mean(scores) if len(grade) else np.empty(0)
    return GradeMaps(calibration, tuple(_at_least(mean, grade >= one) for one in range(1, N_GRADES)))


def _at_least(mean: FloatArray, reached: BoolArray) -> Calibration | float:
    return float(reached[0]) if reached.all() or not reached.any() else fit_temperature(mean, reached)


def judge_by_folds(
    query: IntArray,
    scores: FloatArray,
    labelled: IntArray,
    grade: IntArray,
    n_queries: int,
    *,
    folds: int = FOLDS,
    name: str = "the judge",
) -> tuple[Judged, FloatArray]:
    """Grades of P pairs, each query's by maps that saw none of its labels, and the mean P(relevant) [P].

    Args:
        query: [P], the query of each pair.
        scores: [S, P].
        labelled: [L], the places of pairs that people have graded.
        grade: [L], their grades.

    Raises:
        ScorerError: see `fit_grades`; also where that is so without one of the folds.
    """
    check_columns(labelled=labelled, grade=grade)
    check_within("labelled", labelled, 0, len(query) - 1)
    check_within("folds", folds, 2, 1e6, whole=True)
    fold = query_folds(query[labelled], n_queries, folds)
    own = fold[query]
    judged = Judged(np.zeros(query.size, dtype=np.int64), np.zeros(query.size))
    mean = np.zeros(query.size)
    for number in np.unique(own):  # -1: queries without labels, whose maps may see all
        known = labelled[own[labelled] != number]
        maps = fit_grades(scores[:, known], grade[own[labelled] != number], name)
        rows = own == number
        judged.grade[rows], judged.confidence[rows] = maps(scores[:, rows])
        mean[rows] = maps.mean(scores[:, rows])
    return judged, mean
