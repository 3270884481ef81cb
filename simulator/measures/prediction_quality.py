"""How good the click prediction was, from the ads shown: order, calibration, relevance."""

from typing import NamedTuple, Self

import numpy as np

from simulator.arrays import FloatArray, IntArray
from simulator.log import Impressions

BINS_AN_OCTAVE = 128
OCTAVES = 14
N_BINS = OCTAVES * BINS_AN_OCTAVE + 1
"""Bins of pCTR, less than 1% wide: from 2^-14 to 1, with all below in the first."""
BINS_A_GROUP = BINS_AN_OCTAVE // 2
"""Groups of calibration: from 2^-k to 1.5 x 2^-k, and from there to 2^(1 - k)."""
PARTS = float.fromhex("0x1p28")
"""Sums of pCTR are counted in parts of this size, so that they are whole numbers."""


class PredictionCounts(NamedTuple):
    """Ads shown, by their pCTR; whole numbers, so that it does not matter how a log is cut."""

    shown: IntArray  # [N_BINS, S, not clicked or clicked, grade]
    predicted: IntArray  # [N_BINS, S] sum of pCTR, in 1 / PARTS

    @classmethod
    def none(cls, n_slots: int) -> Self:
        """Before any ad."""
        return cls(
            np.zeros((N_BINS, n_slots, 2, 4), dtype=np.int64), np.zeros((N_BINS, n_slots), dtype=np.int64)
        )

    def add(self, part: Impressions) -> None:
        """Count ads shown."""
        place = _bin(part.pctr) * self.predicted.shape[1] + part.slot
        parts = np.rint(part.pctr * PARTS)
        self.predicted.ravel()[:] += np.bincount(place, parts, self.predicted.size).astype(np.int64)
        place = (place * 2 + part.clicked) * 4 + part.grade
        self.shown.ravel()[:] += np.bincount(place, minlength=self.shown.size)

    def click_order(self) -> tuple[float, float]:
        """Pairs of an ad that was clicked and one that was not, in the same slot: in order of pCTR, and all.

        A tie is half in order.
        """
        return _in_order(self.shown[:, :, 1].sum(axis=2), self.shown[:, :, 0].sum(axis=2))

    def relevance_order(self) -> tuple[float, float]:
        """Pairs of an ad of true grade 2 or 3 and one of grade 0 or 1: in order of pCTR, and all."""
        by_grade = self.shown.sum(axis=(1, 2))
        return _in_order(by_grade[:, 2:].sum(axis=1), by_grade[:, :2].sum(axis=1))

    def expected_clicks(self, examination: FloatArray) -> FloatArray:
        """Clicks that pCTR and examination F[S] make one expect, F[N_BINS]."""
        return self.predicted @ examination / PARTS

    def calibration_gap(self, examination: FloatArray) -> float:
        """Sum of |expected clicks - clicks| over groups of ads with nearly the same pCTR."""
        clicks = self.shown[:, :, 1].sum(axis=(1, 2))
        start = np.arange(0, N_BINS, BINS_A_GROUP)
        return float(np.abs(np.add.reduceat(self.expected_clicks(examination) - clicks, start)).sum())


def _bin(pctr: FloatArray) -> IntArray:
    """The bin I[R] of each pCTR F[R]: its exponent and first digits, as the bits of a double have them."""
    bits = 52 - (BINS_AN_OCTAVE.bit_length() - 1)
    lowest = (1023 - OCTAVES) * BINS_AN_OCTAVE
    place: IntArray = np.clip((np.ascontiguousarray(pctr).view(np.int64) >> bits) - lowest, 0, N_BINS - 1)
    return place


def _in_order(better: IntArray, worse: IntArray) -> tuple[float, float]:
    """Pairs of a better and a worse one of the same column that stand in order, and all; I[N_BINS, ...]."""
    below = np.cumsum(worse, axis=0) - worse
    pairs = (better.sum(axis=0) * worse.sum(axis=0)).sum()
    return float((better * (below + 0.5 * worse)).sum()), float(pairs)
