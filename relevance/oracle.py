"""The scorer that knows the truth: the upper bound of what relevance can bring to a market."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from relevance.arrays import FloatArray, IntArray

GRADE_GAIN: tuple[float, float, float, float] = (0.0, 0.2, 0.6, 1.0)
"""Worth of the grades 0..3 in a ranking score. It rises with the grade, and no step inside a branch is wider
than the step between the branches (from 0.2 to 0.6). So positive and negative ads stay apart when a bid
multiplies the score. Chosen on the validation split, see docs/hcmrm.md."""


class OracleScorer:
    """Scores a pair with the gain of its true grade."""

    def __init__(self, grade: Callable[[IntArray, IntArray], NDArray[Any]]) -> None:
        """`grade(query, ad)` returns true grades 0..3 of pairs."""
        self._grade = grade

    def score(self, query: IntArray, ad: IntArray) -> FloatArray:
        """Gain of the true grade of each pair: [P], [P] -> [P] in [0, 1]."""
        gain: FloatArray = np.asarray(GRADE_GAIN)[self._grade(query, ad)]
        return gain
