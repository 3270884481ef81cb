"""Numbers for the axes of a sweep: points spread over a box, and the steps of a range.

Latin hypercube: McKay, Beckman and Conover 1979, "A comparison of three methods for selecting values of input
variables". Sobol: Owen's scrambled (t, m, s)-nets, as in scipy.stats.qmc.
"""

from __future__ import annotations

import math

import numpy as np

from simulator.arrays import FloatArray


def unit_points(method: str, dimensions: int, n: int, seed: int) -> FloatArray:
    """Points F[n, dimensions] of the unit cube by `latin_hypercube` or `sobol` (n a power of 2)."""
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
