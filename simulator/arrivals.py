"""Station 1, arrivals: when queries come and which ones.

A day of searches is a Poisson process with a rate that changes by the hour.
"""

import numpy as np
from numpy.typing import ArrayLike

from simulator.arrays import FloatArray, IntArray

# Relative traffic of the 24 hours of a day: the night's trough, the midday plateau, the evening's peak.
DAY_SHAPE = (0.45, 0.30, 0.22, 0.18, 0.18, 0.25, 0.45, 0.75, 1.00, 1.15, 1.20, 1.25,
             1.30, 1.25, 1.20, 1.20, 1.20, 1.25, 1.35, 1.55, 1.70, 1.65, 1.30, 0.85)  # fmt: skip


def arrival_times(
    count: int, rate_per_s: ArrayLike, horizon_s: float, rng: np.random.Generator
) -> FloatArray:
    """Times in [0, horizon_s) of `count` arrivals of a Poisson process, ascending, F[count] in seconds.

    Given their number, arrivals are the order statistics of independent draws. `rate_per_s` F[H] holds for H
    equal parts of the horizon; only its shape matters. Raises ValueError for a negative or all-zero rate.
    """
    rate = np.asarray(rate_per_s, dtype=np.float64)
    if rate.ndim != 1 or rate.size == 0 or bool((rate < 0).any()) or not rate.sum() > 0:
        raise ValueError("rate_per_s must be a list of non-negative rates, at least one of them positive")
    share = np.concatenate([[0.0], np.cumsum(rate)]) / rate.sum()
    edges = np.linspace(0.0, horizon_s, rate.size + 1)
    times = np.interp(np.sort(rng.random(count)), share, edges)
    return np.minimum(times, np.nextafter(horizon_s, 0.0))  # rounding must not put one on the horizon itself


def query_of(u: FloatArray, popularity: FloatArray) -> IntArray:
    """Which query each arrival is: uniforms F[Q] and traffic shares F[U] (sum 1) -> I[Q]."""
    cumulative = np.cumsum(popularity)
    drawn = np.searchsorted(cumulative / cumulative[-1], u, side="right")
    return np.minimum(drawn, popularity.size - 1).astype(np.int64)
