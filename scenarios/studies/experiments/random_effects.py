"""The interval of a mean over worlds, days and trainings: a random-effects model for a balanced design.

A replicate is (world w, training t, day d) with W worlds, T trainings and D days of each world:

    y[w, t, d] = mean + world[w] + training[t] + both[w, t] + day[w, d] + rest[w, t, d]

Days are nested in worlds, since each has draws of its own. Trainings are crossed with worlds and with days:
one training is used in all of them. All effects are random, so the mean speaks of worlds, trainings and days
that could have been others. Its variance is

    var world / W + var training / T + var both / WT + var day / WD + var rest / WTD,

which the means over the days of each (world, training) estimate alone. So the interval needs no more than a
table of units by trainings, where a unit is a world, or a day where there is one world.

Sources: Searle, Casella and McCulloch 1992, "Variance Components", chapters 3 and 4 (mean squares and
components); Satterthwaite 1946, "An approximate distribution of estimates of variance components".
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from scipy import stats

from simulator.arrays import FloatArray

LEAST_TRAININGS = 3
"""With two trainings the interval holds the truth too rarely: down to 89% at a nominal 95%."""


class Mean(NamedTuple):
    """A mean with its interval; NaN where one unit or none has a value."""

    value: float
    low: float
    high: float
    standard_error: float
    df: float
    """Degrees of freedom of the standard error; by Satterthwaite's formula where trainings take part."""


class Components(NamedTuple):
    """Variances of the effects, by the moments of the analysis of variance; negative ones are cut at 0.

    NaN where a design cannot tell one: `both` holds the rest too if there is one day, `day` the rest if there
    is one training.
    """

    world: float
    training: float
    both: float
    day: float
    rest: float


def units_of(values: FloatArray) -> FloatArray:
    """The table F[U, T] of units by trainings of replicates F[W, T, D]; a NaN is a missing value.

    Units without a value in some training are left out.
    """
    if values.shape[0] == 1:
        table = values[0].T
    else:
        known = ~np.isnan(values)
        with np.errstate(invalid="ignore"):
            table = np.where(known, values, 0.0).sum(axis=2) / known.sum(axis=2)
    return np.asarray(table[~np.isnan(table).any(axis=1)])


def mean_interval(table: FloatArray, confidence: float = 0.95) -> Mean:
    """Mean of a table F[U, T] with its interval.

    With one training it is Student's interval over the units, which is exact whatever the variances of worlds
    and days are. With several, the variance is (MS units + extra) / UT, where extra = max(0, MS trainings -
    MS rest), and its degrees of freedom are Satterthwaite's, but at least those of the smaller number of
    levels. They are too many where few trainings differ much, so the interval is never narrower than
    Student's over the units with no extra, nor than Student's over the trainings with the extra alone.
    `python -m benchmarks.coverage` says what that achieves.
    """
    n_units, n_trainings = table.shape
    value = float(table.mean()) if table.size else math.nan
    if n_units < 2:
        return Mean(value, *(math.nan,) * 4)
    cells, df = table.size, float(n_units - 1)
    of_units = n_trainings * float(table.mean(axis=1).var(ddof=1))
    variance = of_units / cells
    half = half_width(variance, df, confidence)
    if n_trainings > 1:
        df_trainings, df_rest = n_trainings - 1, (n_units - 1) * (n_trainings - 1)
        of_trainings = n_units * float(table.mean(axis=0).var(ddof=1))
        of_rest = float((_residuals(table) ** 2).sum()) / df_rest
        if (extra := of_trainings - of_rest) > 0:
            squares = of_units**2 / df + of_trainings**2 / df_trainings + of_rest**2 / df_rest
            variance = (of_units + extra) / cells
            df = max((of_units + extra) ** 2 / squares, min(df, df_trainings))
            half = max(
                half,
                half_width(variance, df, confidence),
                half_width(extra / cells, df_trainings, confidence),
            )
    return Mean(value, value - half, value + half, math.sqrt(variance), df)


def prediction_interval(table: FloatArray, confidence: float = 0.9) -> tuple[float, float]:
    """Where the mean over the days of one more unit with one more training lies, of a table F[U, T].

    A new value varies by unit, training and both, and the mean is known up to its own error. With the mean
    squares of units, trainings and rest the variance of their difference is

        (1 + 1/U) var unit + (1 + 1/T) var training + (1 + 1/UT) var rest,

    where negative components are cut at 0. Its degrees of freedom are Satterthwaite's, but at least those of
    the smaller number of levels. With one training it is Student's prediction interval, which is exact, for a
    new unit under the same training. NaN for fewer than two units.

    Source: Searle, Casella and McCulloch 1992, chapter 4; Satterthwaite 1946.
    """
    n_units, n_trainings = table.shape
    if n_units < 2:
        return math.nan, math.nan
    value, df_units = float(table.mean()), n_units - 1
    of_units = n_trainings * float(table.mean(axis=1).var(ddof=1))
    parts = [((1 + 1 / n_units) / n_trainings * of_units, df_units)]
    least = df_units
    if n_trainings > 1:
        df_trainings = n_trainings - 1
        df_rest = df_units * df_trainings
        of_trainings = n_units * float(table.mean(axis=0).var(ddof=1))
        of_rest = float((_residuals(table) ** 2).sum()) / df_rest
        unit = _cut(of_units - of_rest, n_trainings)
        training = _cut(of_trainings - of_rest, n_units)
        parts = [
            ((1 + 1 / n_units) * unit, df_units),
            ((1 + 1 / n_trainings) * training, df_trainings),
            ((1 + 1 / table.size) * of_rest, df_rest),
        ]
        least = min(df_units, df_trainings)
    variance = sum(part for part, _ in parts)
    squares = sum(part**2 / df for part, df in parts)
    df = max(variance**2 / squares, least) if squares else least
    half = half_width(variance, df, confidence)
    return value - half, value + half


def half_width(variance: float, df: float, confidence: float = 0.95) -> float:
    """Of Student's interval for a mean whose variance was estimated with so many degrees of freedom."""
    return float(stats.t.ppf(0.5 + confidence / 2.0, df)) * math.sqrt(variance)


def components(values: FloatArray) -> Components:
    """The variances of replicates F[W, T, D] without missing values; 0 for what there is one of."""
    worlds, trainings, days = values.shape
    of_world = values.mean(axis=(1, 2))
    of_training = values.mean(axis=(0, 2))
    of_both = values.mean(axis=2)
    of_day = values.mean(axis=1)
    both = of_both - of_world[:, None] - of_training + values.mean()
    rest = values - of_both[:, :, None] - (of_day - of_world[:, None])[:, None, :]
    ms_rest = _mean_square(rest, worlds * (trainings - 1) * (days - 1))
    ms_day = _mean_square(of_day - of_world[:, None], worlds * (days - 1), trainings)
    ms_both = _mean_square(both, (worlds - 1) * (trainings - 1), days)
    ms_training = _mean_square(of_training - values.mean(), trainings - 1, worlds * days)
    ms_world = _mean_square(of_world - values.mean(), worlds - 1, trainings * days)
    below_both = ms_both if worlds > 1 else ms_rest
    below_world = ms_both + ms_day - ms_rest
    return Components(
        world=_cut(ms_world - below_world, trainings * days) if worlds > 1 else 0.0,
        training=_cut(ms_training - below_both, worlds * days) if trainings > 1 else 0.0,
        both=_cut(ms_both - ms_rest, days),
        day=_cut(ms_day - ms_rest, trainings),
        rest=ms_rest,
    )


def _mean_square(effects: FloatArray, df: int, times: int = 1) -> float:
    """Of effects that each stand for so many replicates; 0 without a degree of freedom."""
    return times * float((effects**2).sum()) / df if df else 0.0


def _cut(difference: float, times: int) -> float:
    return max(0.0, difference) / times


def _residuals(table: FloatArray) -> FloatArray:
    """What neither units nor trainings explain of a table F[U, T]."""
    return np.asarray(table - table.mean(axis=1, keepdims=True) - table.mean(axis=0) + table.mean())
