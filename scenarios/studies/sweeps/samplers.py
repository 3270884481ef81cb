"""Which points a sweep tries: the full grid, or n points spread over the box of its fields.

Latin hypercube: McKay, Beckman and Conover 1979, "A comparison of three methods for selecting values of input
variables". Sobol: Owen's scrambled (t, m, s)-nets, as in scipy.stats.qmc.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Protocol, TypeVar

import numpy as np

from simulator.arrays import FloatArray

Value = TypeVar("Value", covariant=True)


class Axis(Protocol[Value]):
    """The values of one field."""

    def values(self) -> Sequence[Value]:
        """All of them, where they are finitely many."""

    def at(self, u: float) -> Value:
        """The value at the quantile u in [0, 1)."""


def grid(axes: Sequence[Axis[Value]]) -> list[tuple[Value, ...]]:
    """Every combination, the last axis changing fastest."""
    return list(itertools.product(*(axis.values() for axis in axes)))


def spread(axes: Sequence[Axis[Value]], method: str, n: int, seed: int) -> list[tuple[Value, ...]]:
    """N points by `latin_hypercube` or `sobol` (n a power of 2)."""
    return [
        tuple(axis.at(float(u)) for axis, u in zip(axes, row, strict=True))
        for row in unit_points(method, len(axes), n, seed)
    ]


def unit_points(method: str, dimensions: int, n: int, seed: int) -> FloatArray:
    """Points F[n, dimensions] of the unit cube."""
    from scipy.stats import qmc  # takes its time to import

    if method == "sobol":
        points = qmc.Sobol(dimensions, scramble=True, rng=seed).random_base2(n.bit_length() - 1)
    else:
        points = qmc.LatinHypercube(dimensions, rng=seed).random(n)
    cube: FloatArray = np.clip(points, 0.0, math.nextafter(1.0, 0.0))
    return cube


def steps(low: float, high: float, step: float) -> tuple[float, ...]:
    """low, low + step, ... up to high, with no dust of rounding."""
    n = math.floor((high - low) / step + 1e-9)
    return tuple(tidy(low + i * step) for i in range(n + 1))


def log_steps(low: float, high: float, count: int) -> tuple[float, ...]:
    """`count` values from low to high, each the same factor above the one before."""
    ratio = math.log(high / low)
    return tuple(tidy(low * math.exp(ratio * i / (count - 1))) for i in range(count))


def tidy(value: float) -> float:
    """Rounded to 12 significant digits."""
    return float(f"{value:.12g}")
