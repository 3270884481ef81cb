"""Intervals for paired replicates, what they could have detected, and how many seeds a wanted width takes.

A replicate is a seed; both arms of a pair meet the same one. Replicates are independent of each other, so
plain paired statistics hold.

Sources: Student's t for the mean; for a relative change, a ratio of means, Fieller 1954, "Some problems in
interval estimation", and the delta method's standard error (Deng, Knoblich and Lu 2018, "Applying the delta
method in metric analytics"); the percentile bootstrap with the expanded quantiles that make its width right
in small samples (Hesterberg 2015, "What teachers should know about the bootstrap", section 5.3); power of the
t test by the noncentral t; Stein 1945, "A two-sample test for a linear hypothesis whose power is independent
of the variance", for an interval of a width that is fixed beforehand.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy import optimize, stats

from simulator.arrays import FloatArray

RESAMPLES = 4999
MOST_AT_ONCE = 2_000_000  # values resampled, which bounds the memory
POWER = 0.8
"""Power of the test at which an effect is called detectable."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean over replicates with two intervals; NaN where too few replicates have a value."""

    value: float
    t_low: float
    t_high: float
    boot_low: float
    boot_high: float
    standard_error: float
    detectable: float  # least true value that a test at this confidence finds with probability POWER


@dataclass(frozen=True, slots=True)
class Comparison:
    """An arm held against the baseline over n replicates."""

    n: int
    difference: Estimate  # arm - baseline
    change: Estimate  # the same over the baseline's mean


def compare(
    baseline: FloatArray,
    arm: FloatArray,
    *,
    confidence: float = 0.95,
    seed: int | None = 0,
    pilot: int | None = None,
) -> Comparison:
    """Compare two arms F[n], F[n] whose entries are pairs; pairs with a NaN are left out.

    The change is a ratio of means. Its t interval is Fieller's, so it misses zero exactly where the
    difference's does: the delta method's misses too often where the baseline varies much between replicates.

    Args:
        seed: of the bootstrap; None leaves its intervals out (NaN).
        pilot: the number of seeds was chosen by `seeds_for_half_width` from the first `pilot` pairs; the t
            intervals are then Stein's.
    """
    whole = ~(np.isnan(baseline) | np.isnan(arm))
    baseline, arm = np.asarray(baseline)[whole], np.asarray(arm)[whole]
    first = None if pilot is None else int(whole[:pilot].sum())
    difference = arm - baseline
    mean = float(baseline.mean()) if baseline.size else 0.0

    def of_difference(a: FloatArray, b: FloatArray, axis: int = -1) -> FloatArray:
        return np.asarray((b - a).mean(axis=axis))

    def of_change(a: FloatArray, b: FloatArray, axis: int = -1) -> FloatArray:
        return np.asarray((b - a).mean(axis=axis) / np.abs(a.mean(axis=axis)))

    change = Estimate(*(math.nan,) * 7)
    if mean:
        residuals, value = linearised_change(baseline, arm)
        change = _estimate(residuals, value, (baseline, arm), of_change, confidence, seed, first)
        if first is None:
            low, high = fieller_interval(difference, baseline, confidence)
            change = replace(change, t_low=low, t_high=high)
    return Comparison(
        n=baseline.size,
        difference=_estimate(difference, 0.0, (baseline, arm), of_difference, confidence, seed, first),
        change=change,
    )


def linearised_change(baseline: FloatArray, arm: FloatArray) -> tuple[FloatArray, float]:
    """Residuals F[n] with mean 0 whose spread is that of the relative change, and the change itself.

    The change is relative to the size of the baseline's mean, so that its sign says where the arm lies even
    if the baseline is negative.
    """
    mean = float(np.mean(baseline))
    change = float(np.mean(arm - baseline)) / abs(mean)
    return (arm - baseline - change * math.copysign(1.0, mean) * baseline) / abs(mean), change


def fieller_interval(
    difference: FloatArray, baseline: FloatArray, confidence: float = 0.95
) -> tuple[float, float]:
    """Bounds of mean(difference) / |mean(baseline)|, paired F[n]: the ratios that a t test does not reject.

    Unbounded where the baseline's own mean is not told from zero; NaN for fewer than two pairs.
    """
    n = baseline.size
    if n < 2:
        return math.nan, math.nan
    scale = baseline * math.copysign(1.0, float(baseline.mean()))
    spread = np.cov(difference, scale) * t_quantile(confidence, n) ** 2 / n
    mean, by = float(difference.mean()), float(scale.mean())
    # (mean - ratio x by)^2 <= t^2 x variance of it, a quadratic in the ratio
    a, b, c = by**2 - spread[1, 1], mean * by - spread[0, 1], mean**2 - spread[0, 0]
    if a <= 0:
        return -math.inf, math.inf
    root = math.sqrt(max(b**2 - a * c, 0.0))
    return float(b - root) / float(a), float(b + root) / float(a)


def t_interval(
    values: FloatArray, confidence: float = 0.95, pilot: int | None = None
) -> tuple[float, float, float]:
    """Mean, low and high of Student's interval; NaN bounds for fewer than two values.

    With `pilot`, Stein's: the spread and its degrees of freedom are those of the first `pilot` values alone,
    since they decided how many values there are.
    """
    values = np.asarray(values, dtype=np.float64)
    used = values if pilot is None else values[:pilot]
    mean = float(values.mean()) if values.size else math.nan
    if used.size < 2:
        return mean, math.nan, math.nan
    half = t_quantile(confidence, used.size) * float(used.std(ddof=1)) / math.sqrt(values.size)
    return mean, mean - half, mean + half


def t_quantile(confidence: float, n: int) -> float:
    """Half-width of a two-sided interval from n values, in standard errors."""
    return float(stats.t.ppf(0.5 + confidence / 2.0, n - 1))


def bootstrap_interval(
    samples: tuple[FloatArray, ...], statistic: Any, confidence: float = 0.95, seed: int | None = 0
) -> tuple[float, float]:
    """Expanded percentile bootstrap of a statistic of paired samples F[n].

    The plain percentile interval of n = 20 misses 7% instead of 5%: resampling knows the spread with divisor
    n and takes normal for t quantiles. Taking the percentiles Phi(-sqrt(n / (n - 1)) t) corrects both.
    """
    n = samples[0].size
    if n < 2 or seed is None:
        return math.nan, math.nan
    tail = float(stats.norm.cdf(-math.sqrt(n / (n - 1.0)) * t_quantile(confidence, n)))
    with np.errstate(divide="ignore", invalid="ignore"):  # a ratio to what may be nothing
        found = stats.bootstrap(
            samples,
            statistic,
            paired=True,
            vectorized=True,
            n_resamples=RESAMPLES,
            batch=max(1, MOST_AT_ONCE // n),
            confidence_level=min(1.0 - 2.0 * tail, 1.0 - 1e-12),
            method="percentile",
            rng=np.random.default_rng(seed),
        )
    return float(found.confidence_interval.low), float(found.confidence_interval.high)


def power(effect: float, df: int, confidence: float = 0.95) -> float:
    """Probability that the two-sided t test finds an effect given in standard errors of its estimate."""
    critical = stats.t.ppf(0.5 + confidence / 2.0, df)
    # The far tail, on the wrong side, is too small to be computed for a large effect.
    wrong_side = np.nan_to_num(stats.nct.cdf(-critical, df, effect))
    return float(stats.nct.sf(critical, df, effect) + wrong_side)


def detectable(standard_error: float, n: int, confidence: float = 0.95, wanted: float = POWER) -> float:
    """Least effect that n replicates with this standard error find with probability `wanted`."""
    if n < 2 or math.isnan(standard_error):
        return math.nan
    return _detectable_errors(n - 1, confidence, wanted) * standard_error


@functools.cache
def _detectable_errors(df: int, confidence: float, wanted: float) -> float:
    """The same in standard errors."""
    most = t_quantile(confidence, df + 1) * 4.0 + 4.0
    return float(optimize.brentq(lambda effect: power(effect, df, confidence) - wanted, 0.0, most))


def seeds_for_half_width(pilot: FloatArray, half_width: float, confidence: float = 0.95) -> int:
    """Stein's number of replicates, from the spread of a pilot F[n]; at least the pilot's own.

    The mean of that many normal values, more or less t x (pilot's standard deviation) / sqrt(number), has at
    least the stated confidence and at most the wanted half-width: exactly, whatever the variance. Looking
    again and again until an interval is narrow enough has not, and looking until it misses zero finds
    something in any A/A experiment.
    """
    spread = float(np.std(pilot, ddof=1))
    wanted = (t_quantile(confidence, pilot.size) * spread / half_width) ** 2
    return max(pilot.size, math.ceil(wanted))


def _estimate(
    values: FloatArray,
    shift: float,
    samples: tuple[FloatArray, ...],
    statistic: Any,
    confidence: float,
    seed: int | None,
    pilot: int | None,
) -> Estimate:
    """`values` + `shift` estimate what `statistic` is of the samples."""
    mean, low, high = t_interval(values, confidence, pilot)
    error = float(np.std(values, ddof=1)) / math.sqrt(values.size) if values.size > 1 else math.nan
    return Estimate(
        mean + shift,
        low + shift,
        high + shift,
        *bootstrap_interval(samples, statistic, confidence, seed),
        standard_error=error,
        detectable=detectable(error, values.size, confidence),
    )
