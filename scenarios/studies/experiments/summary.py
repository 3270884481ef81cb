"""Summaries of replicates: each arm against the baseline, and each split design against the truth."""

from __future__ import annotations

import math
from dataclasses import asdict

import numpy as np
import polars as pl

from scenarios.studies.experiments import statistics
from scenarios.studies.experiments.experiment import SPLITS, Plan
from simulator.arrays import FloatArray


def summarise(plan: Plan, replicates: pl.DataFrame, pilot: int | None = None) -> pl.DataFrame:
    """One row per design, arm other than the baseline, and metric: means, difference and relative change.

    Args:
        pilot: number of seeds that decided how many there are; see `statistics.seeds_for_half_width`.
    """
    experiment, rows = plan.experiment, []
    for design in experiment.designs:
        for arm in plan.others:
            for metric in experiment.metrics:
                a, b = (_column(replicates, design, name, metric) for name in (experiment.baseline, arm))
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
                    }
                )
    return pl.DataFrame(rows, infer_schema_length=None)


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
                split, true = (
                    _column(replicates, name, arm, metric)
                    - _column(replicates, name, experiment.baseline, metric)
                    for name in (design, "common")
                )
                scale = abs(_mean(_column(replicates, "common", experiment.baseline, metric))) or math.nan
                error, low, high = statistics.t_interval(split - true, experiment.confidence)
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


def _column(replicates: pl.DataFrame, design: str, arm: str, metric: str) -> FloatArray:
    """A metric F[n] by seed, in the order of the seeds."""
    rows = replicates.filter((pl.col("design") == design) & (pl.col("arm") == arm))
    return rows[metric].to_numpy().astype(np.float64)


def _mean(values: FloatArray) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if known.size else math.nan
