"""Summaries of replicates: each arm against the baseline, and each split design against the truth."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import Literal

import numpy as np
import polars as pl

from scenarios.studies.experiments import statistics
from scenarios.studies.experiments.experiment import SPLITS, Plan
from scenarios.studies.experiments.query_effects import QueryEffects
from scenarios.studies.experiments.random_effects import (
    components,
    mean_interval,
    prediction_interval,
    units_of,
)
from simulator.arrays import FloatArray


def summarise(
    plan: Plan, replicates: pl.DataFrame, queries: QueryEffects, pilot: int | None = None
) -> pl.DataFrame:
    """One row per design, arm other than the baseline, and metric: means, difference and relative change.

    `share_world` and so on are the shares of worlds, trainings and days in the variance of one replicate's
    difference, see `random_effects.components`; `queries_` are the bounds over queries, and `predicted_`
    where the change lies in one more world with one more training, see `PREDICTED`.

    Args:
        pilot: number of days that decided how many there are; see `statistics.seeds_for_half_width`.
    """
    experiment, rows = plan.experiment, []
    for design in experiment.designs:
        for arm in plan.others:
            for metric in experiment.metrics:
                a, b = (
                    values_of(plan, replicates, design, one, metric) for one in (experiment.baseline, arm)
                )
                stein = experiment.until is not None and experiment.until.metric == metric
                found = statistics.compare(
                    a, b, confidence=experiment.confidence, pilot=pilot if stein else None
                )
                rows.append(
                    {
                        "design": design,
                        "arm": arm,
                        "metric": metric,
                        "replicates": found.n,
                        "baseline_mean": _mean(a),
                        "arm_mean": _mean(b),
                        **{f"difference_{key}": value for key, value in asdict(found.difference).items()},
                        **{f"change_{key}": value for key, value in asdict(found.change).items()},
                        **queries.interval(design, arm, metric, experiment.confidence),
                        **_shares(b - a),
                        **_predicted(a, b),
                    }
                )
    return pl.DataFrame(rows, infer_schema_length=None)


def _shares(difference: FloatArray) -> dict[str, float]:
    """Shares of the effects in the variance of one replicate; NaN where values are missing."""
    found = components(difference)._asdict()
    whole = sum(found.values())
    return {f"share_{name}": value / whole if whole else math.nan for name, value in found.items()}


PREDICTED = 0.9
"""Confidence of the prediction of a change."""


def _predicted(a: FloatArray, b: FloatArray) -> dict[str, float]:
    """Bounds of the relative change of days of one more world and training, of arms F[W, T, D]."""
    before, after = units_of(a), units_of(b)
    if before.shape != after.shape or not before.all():
        return {"predicted_low": math.nan, "predicted_high": math.nan}
    low, high = prediction_interval(after / before - 1.0, PREDICTED)
    return {"predicted_low": low, "predicted_high": high}


Verdict = Literal["reproduced", "direction only", "not reproduced"]


def verdict(published: float, interval: tuple[float, float], predicted: tuple[float, float]) -> Verdict:
    """What was found says of a published change.

    Args:
        published: a relative change, not 0.
        interval: that of the mean change. Where it holds 0 or lies on its other side, nothing is reproduced.
        predicted: where the change in one more world with one more training lies, by `PREDICTED`. Where it
            misses the published figure, only the direction is reproduced.
    """
    if not (interval[0] > 0 if published > 0 else interval[1] < 0):
        return "not reproduced"
    return "reproduced" if predicted[0] <= published <= predicted[1] else "direction only"


def top_queries(plan: Plan, queries: QueryEffects) -> pl.DataFrame:
    """One row per design, arm, metric and rank: a query, its world, and its share of the difference."""
    schema = {
        "design": pl.String,
        "arm": pl.String,
        "metric": pl.String,
        "rank": pl.Int64,
        "world": pl.Int64,
        "query": pl.String,
        "share": pl.Float64,
    }
    rows = [
        {"design": design, "arm": arm, **row}
        for design in plan.experiment.designs
        for arm in plan.others
        for row in queries.top(design, arm)
    ]
    return pl.DataFrame(rows, schema)


def query_levels(plan: Plan, queries: QueryEffects) -> pl.DataFrame:
    """One row per design, arm and metric: the interval of the arm's own figure over queries, low and high."""
    experiment, columns = plan.experiment, ("design", "arm", "metric", "low", "high")
    rows = [
        (design, arm, metric, *queries.level(design, arm, metric, experiment.confidence))
        for design in experiment.designs
        for arm in plan.arms
        for metric in queries.known
    ]
    types = [pl.String, pl.String, pl.String, pl.Float64, pl.Float64]
    return pl.DataFrame(rows, dict(zip(columns, types, strict=True)), orient="row")


def interference(plan: Plan, replicates: pl.DataFrame) -> pl.DataFrame:
    """How far the splits are from the truth: arm - baseline by the split, minus the same by `common`.

    Errors are relative to the baseline's true mean. Empty without a split.
    """
    experiment, rows = plan.experiment, []
    for design in experiment.designs:
        if design not in SPLITS:
            continue
        for arm in plan.others:
            for metric in experiment.metrics:
                of = {
                    (name, one): values_of(plan, replicates, name, one, metric)
                    for name in (design, "common")
                    for one in (arm, experiment.baseline)
                }
                split, true = (of[name, arm] - of[name, experiment.baseline] for name in (design, "common"))
                scale = abs(_mean(of["common", experiment.baseline])) or math.nan
                error, low, high = mean_interval(units_of(split - true), experiment.confidence)[:3]
                rows.append(
                    {
                        "design": design,
                        "arm": arm,
                        "metric": metric,
                        "truth": _mean(true),
                        "estimate": _mean(split),
                        "error": error,
                        "error_low": low,
                        "error_high": high,
                        "truth_change": _mean(true) / scale,
                        "estimate_change": _mean(split) / scale,
                        "error_change": error / scale,
                        "error_change_low": low / scale,
                        "error_change_high": high / scale,
                        "spread_of_one": float(np.std(split, ddof=1)) / scale,
                    }
                )
    return pl.DataFrame(rows, infer_schema_length=None)


def values_of(plan: Plan, replicates: pl.DataFrame, design: str, arm: str, metric: str) -> FloatArray:
    """A metric F[W, T, D] by world, training and day, in the order of the replicates."""
    rows = replicates.filter((pl.col("design") == design) & (pl.col("arm") == arm))
    values = rows[metric].to_numpy().astype(np.float64)
    return np.asarray(values.reshape(len(plan.worlds), plan.n_trainings, -1))


def _mean(values: FloatArray) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if known.size else math.nan
