"""Intervals for paired replicates, what they could have detected, and how many seeds a wanted width takes.

Both arms of a pair meet the same world and the same day, so plain statistics of the paired differences hold.

Sources: for the mean, Student's t and `random_effects`; for a relative change, a ratio of means, Fieller
1954, "Some problems in interval estimation", and the delta method's standard error (Deng, Knoblich and Lu
2018, "Applying the delta method in metric analytics"); power of the t test by the noncentral t; Stein 1945,
"A two-sample test for a linear hypothesis whose power is independent of the variance", for an interval of a
width that is fixed beforehand.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import numpy as np
from scipy import optimize, stats

from relevance.ranges import check_within
from scenarios.studies.experiments.random_effects import Mean, half_width, mean_interval, units_of
from simulator.arrays import FloatArray

POWER = 0.8
"""Power of the test at which an effect is called detectable."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean over replicates with its interval; NaN where too few replicates have a value."""

    value: float
    t_low: float
    t_high: float
    standard_error: float
    df: float  # degrees of freedom of the standard error
    detectable: float  # least true value that a test at this confidence finds with probability POWER


@dataclass(frozen=True, slots=True)
class Comparison:
    """An arm held against the baseline over n units: worlds, or days where there is one world."""

    n: int
    difference: Estimate  # arm - baseline
    change: Estimate  # the same over the baseline's mean


def compare(
    baseline: FloatArray, arm: FloatArray, *, confidence: float = 0.95, pilot: int | None = None
) -> Comparison:
    """Compare two arms whose entries are pairs; pairs with a NaN are left out.

    The change is a ratio of means. With one training its interval is Fieller's, so it misses zero exactly
    where the difference's does: the delta method's misses too often where the baseline varies much between
    replicates. With several trainings it is the delta method's: the random-effects interval of the
    linearised values.

    Args:
        baseline: F[n] by day, or F[W, T, D] by world, training and day.
        arm: the same.
        pilot: the number of days was chosen by `seeds_for_half_width` from the first `pilot` of them; the
            intervals are then Stein's.
    """
    _check_confidence(confidence)
    if baseline.shape != arm.shape or baseline.ndim not in (1, 3):
        shapes = f"{list(baseline.shape)} and {list(arm.shape)}"
        raise ValueError(f"baseline and arm must both be [n] or [W, T, D], are {shapes}")
    if pilot is not None:
        check_within("pilot", pilot, 1, baseline.shape[-1], whole=True)
    pairs = np.stack([np.asarray(one, dtype=np.float64) for one in (baseline, arm)])
    if pairs.ndim == 2:
        pairs = pairs[:, None, None, :]
    pairs = np.where(np.isnan(pairs).any(axis=0), np.nan, pairs)
    first = None if pilot is None else int((~np.isnan(pairs[0, 0, 0, :pilot])).sum())
    baseline, arm = map(units_of, pairs)
    difference = arm - baseline
    of_difference = mean_interval(difference, confidence)
    change = Mean(*(math.nan,) * 5)
    if baseline.size and float(baseline.mean()):
        residuals, value = linearised_change(baseline, arm)
        change = _about(value, mean_interval(residuals, confidence))
        if baseline.shape[1] == 1:
            low, high = fieller_interval(difference[:, 0], baseline[:, 0], confidence)
            change = change._replace(low=low, high=high)
    if first is not None:
        residuals = linearised_change(baseline[:first, 0], arm[:first, 0])[0]
        of_difference = _stein(of_difference, difference[:first, 0], len(baseline), confidence)
        change = _stein(change, residuals, len(baseline), confidence)
    return Comparison(len(baseline), _estimate(of_difference, confidence), _estimate(change, confidence))


def _about(value: float, residual: Mean) -> Mean:
    """The interval of a value, from that of its residual."""
    return residual._replace(value=value, low=value + residual.low, high=value + residual.high)


def _stein(mean: Mean, pilot: FloatArray, n: int, confidence: float) -> Mean:
    """Stein's interval of a mean of n values, whose spread is that of the pilot F[first] alone."""
    if pilot.size < 2:
        return mean
    half = half_width(float(pilot.var(ddof=1)) / n, pilot.size - 1, confidence)
    return mean._replace(low=mean.value - half, high=mean.value + half)


def _estimate(mean: Mean, confidence: float) -> Estimate:
    return Estimate(*mean, detectable=detectable(mean.standard_error, mean.df, confidence))


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


def agree(
    first: tuple[float, float, float], second: tuple[float, float, float], confidence: float = 0.95
) -> bool | None:
    """Whether two independent estimates differ by no more than chance: Welch's t test; None: not known.

    Args:
        first: value, standard error and degrees of freedom.
        second: the same.
    """
    apart = abs(first[0] - second[0])
    variances, dfs = np.array([first[1], second[1]]) ** 2, np.array([first[2], second[2]])
    if not np.isfinite([apart, *variances]).all():
        return None
    if not variances.any():
        return apart == 0
    df = variances.sum() ** 2 / (variances**2 / dfs).sum()
    return bool(apart <= half_width(float(variances.sum()), float(df), confidence))


def _check_confidence(confidence: float) -> None:
    check_within("confidence", confidence, 1e-6, 1 - 1e-9)


def t_interval(values: FloatArray, confidence: float = 0.95) -> tuple[float, float, float]:
    """Mean, low and high of Student's interval of F[n]; NaN bounds for fewer than two values."""
    _check_confidence(confidence)
    if values.ndim != 1:
        raise ValueError(f"values must be an array [n], has the shape {list(values.shape)}")
    return mean_interval(np.asarray(values, dtype=np.float64)[:, None], confidence)[:3]


def t_quantile(confidence: float, n: float) -> float:
    """Half-width of a two-sided interval from n values, in standard errors; NaN for fewer than two."""
    _check_confidence(confidence)
    return float(stats.t.ppf(0.5 + confidence / 2.0, n - 1))


def power(effect: float, df: float, confidence: float = 0.95) -> float:
    """Probability that the two-sided t test finds an effect given in standard errors of its estimate."""
    critical = stats.t.ppf(0.5 + confidence / 2.0, df)
    # The far tail, on the wrong side, is too small to be computed for a large effect.
    wrong_side = np.nan_to_num(stats.nct.cdf(-critical, df, effect))
    return float(stats.nct.sf(critical, df, effect) + wrong_side)


def detectable(standard_error: float, df: float, confidence: float = 0.95, wanted: float = POWER) -> float:
    """Least effect that replicates with this standard error find with probability `wanted`."""
    return (
        math.nan
        if math.isnan(standard_error)
        else _detectable_errors(df, confidence, wanted) * standard_error
    )


@functools.cache
def _detectable_errors(df: float, confidence: float, wanted: float) -> float:
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
