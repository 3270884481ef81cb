"""Which swept field moves which metric, and which points are best under a bound."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import polars as pl
from scipy.stats import rankdata, spearmanr

from relevance.errors import did_you_mean
from relevance.ranges import check_within
from scenarios.config.scenario import Scenario
from scenarios.studies.sweeps.folder import SweepResult
from simulator.arrays import FloatArray


class Sensitivity(NamedTuple):
    """How strongly a swept field goes with a metric, over the points.

    For numbers, Spearman's rank correlation in [-1, 1]. For values without an order, the correlation ratio
    of the ranks in [0, 1]: the root of the share of their variance that lies between the values (its square
    is Kruskal and Wallis's H over n - 1). Both are NaN where field or metric do not vary.
    """

    field: str
    metric: str
    ordered: bool
    strength: float


def sensitivity(result: SweepResult, metrics: tuple[str, ...] = ()) -> list[Sensitivity]:
    """Every swept field against every metric, the sweep's objectives by default.

    The strongest fields of the first metric come first.
    """
    found = []
    for metric in metrics:
        _check_metric(result, metric)
    metrics = metrics or tuple(result.sweep.file.directions)
    for field in result.sweep.fields:
        values = result.points[field]
        ordered = values.dtype == pl.Float64
        for metric in metrics:
            target = result.points[metric].to_numpy()
            known = ~np.isnan(target)
            kept = values.to_numpy()[known]
            strength = (rank_correlation if ordered else rank_ratio)(kept, target[known])
            found.append(Sensitivity(field, metric, ordered, strength))
    order = {one.field: -abs(np.nan_to_num(one.strength)) for one in found if one.metric == metrics[0]}
    return sorted(found, key=lambda one: order[one.field])


def rank_correlation(values: FloatArray, target: FloatArray) -> float:
    """Spearman's rank correlation of numbers F[P] with a metric F[P]; NaN where either is constant."""
    if len(target) < 2 or np.ptp(values) == 0 or np.ptp(target) == 0:
        return float("nan")
    return float(spearmanr(values, target).statistic)


def rank_ratio(values: np.ndarray, target: FloatArray) -> float:
    """Correlation ratio of the ranks of a metric F[P] between groups [P]; NaN where either is constant."""
    if len(target) < 2 or len(set(values)) < 2 or np.ptp(target) == 0:
        return float("nan")
    ranks = rankdata(target)
    group = np.unique(values.astype(str), return_inverse=True)[1]
    means = np.bincount(group, ranks) / np.bincount(group)
    return float(np.sqrt(np.var(means[group]) / np.var(ranks)))


def best_points(result: SweepResult, max_irrelevant: float | None = None, n: int = 10) -> pl.DataFrame:
    """The n best points by the first objective.

    Only feasible ones: those that keep to the sweep's constraints, and to max_irrelevant as a further bound
    on the share of irrelevant ads.
    """
    check_within("n", n, 1, 1e9, whole=True)
    kept = result.points.filter("feasible")
    if max_irrelevant is not None:
        check_within("max_irrelevant", max_irrelevant, 0, 1)
        kept = kept.filter(pl.col("irrelevant_share") <= max_irrelevant)
    gain = result.sweep.file.maximise
    return kept.drop_nans(gain).sort(gain, "point", descending=[True, False]).head(n)


def front(result: SweepResult) -> pl.DataFrame:
    """The points of the Pareto front, from the least of what is to be minimised."""
    return result.points.filter("pareto").sort(result.sweep.file.minimise, "point")


def point_scenario(result: SweepResult, index: int, seed: int | None = None) -> Scenario:
    """The exact scenario of a point.

    Args:
        seed: one of the sweep's, the first of them by default.
    """
    check_within("index", index, 0, len(result.sweep.points) - 1, whole=True)
    scenario = result.sweep.points[index].scenario
    name = f"{result.sweep.name[:56]}-{index}"
    return scenario.model_copy(update={"name": name, "seed": result.sweep.seeds[0] if seed is None else seed})


def _check_metric(result: SweepResult, metric: str) -> None:
    if metric not in result.points.columns:
        close = did_you_mean(metric, result.points.columns)
        raise ValueError(f"metric must be a column of the points, got {metric}{close}")


def behind(result: SweepResult, reference: int, metric: str) -> pl.DataFrame:
    """How far each point is from a reference point in a metric, day by day.

    All points of a sweep have the same seeds, so the same queries and random draws: the error of a difference
    is that of the paired differences, and often far smaller than the points' own.

    Returns:
        One row per point with a day of the reference's: point; difference, the mean over their common days of
        the point minus the reference; se, its standard error (null for fewer than two days); days.
    """
    check_within("reference", reference, 0, len(result.sweep.points) - 1, whole=True)
    _check_metric(result, metric)
    days = result.replicates.select("point", "seed", pl.col(metric).alias("value")).drop_nans("value")
    own = days.filter(pl.col("point") == reference).select("seed", pl.col("value").alias("reference"))
    paired = days.join(own, on="seed").with_columns(difference=pl.col("value") - pl.col("reference"))
    return (
        paired.group_by("point", maintain_order=True)
        .agg(
            pl.col("difference").mean(),
            (pl.col("difference").std() / pl.len().sqrt()).alias("se"),
            pl.len().alias("days"),
        )
        .sort("point")
    )
