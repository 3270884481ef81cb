"""What a sweep is, as words and tables for its page. Pure."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

import polars as pl

from app.language import t_plain as t
from app.wording import MISSING, duration, metric_name, rule_name, scorer_name
from scenarios import METRICS, SCORERS, Status, SweepResult, behind, is_share, t_quantile
from scenarios.reporting.sweep_tables import fields_of

FURTHER = ("advertiser_surplus_rpm", "user_utility_rpm", "ctr", "mean_price")
"""Metrics beside the objectives that are shown where a sweep has them."""


def amount(metric: str, value: float | None) -> str:
    """A metric as a reader sees it."""
    if value is None or not math.isfinite(value):
        return MISSING
    return f"{100 * value:.2f}%" if is_share(metric) else f"{value:,.2f}"


def headline(metric: str) -> str:
    """A metric's name with a capital letter."""
    name = metric_name(metric)
    return name[:1].upper() + name[1:]


def axis_title(metric: str) -> str:
    """A metric's name with its unit."""
    name = headline(metric)
    if is_share(metric):
        return f"{name} (%)"
    money = metric in METRICS and METRICS[metric].unit == "money"
    return t("sweeps.in_currency", name=name) if money else name


def short_field(field: str) -> str:
    """`fusion.within.relevance` -> `within.relevance`: enough to know it by."""
    return field.partition(".")[2] if field.startswith("fusion.") else field


def value_text(value: object) -> str:
    """A field's value: numbers without dust, blocks as `gate, threshold 0.3`, scorers by their names."""
    if isinstance(value, bool) or value is None:
        return json.dumps(value)
    if isinstance(value, int | float):
        return f"{value:g}"
    if isinstance(value, str):
        try:
            parsed = json.loads(value)
        except ValueError:
            return scorer_name(value) if value in SCORERS else value
        return value if isinstance(parsed, str) else value_text(parsed)
    if isinstance(value, list):
        return t("words.comma").join(map(value_text, value))
    if isinstance(value, Mapping):
        kind = {key: str(part) for key, part in value.items() if key in ("rule", "kind")}
        names = [rule_name(name) if key == "rule" else name.replace("_", " ") for key, name in kind.items()]
        rest = [f"{key} {value_text(part)}" for key, part in value.items() if key not in kind]
        return t("words.comma").join([*names, *rest])
    return str(value)


def point_text(result: SweepResult, row: Mapping[str, Any]) -> str:
    """A point's swept fields and their values."""
    return t("words.semicolon").join(
        f"{short_field(field)} {value_text(row[field])}" for field in fields_of(result)
    )


def further_of(result: SweepResult) -> list[str]:
    """Metrics of FURTHER that a sweep has and that are no objective of it."""
    known = result.points.columns
    return [metric for metric in FURTHER if metric in known and metric not in result.sweep.file.directions]


def all_metrics(result: SweepResult) -> list[str]:
    """Every number of the table of points that varies, the objectives aside."""
    said = {"point", "seeds", "feasible", "pareto", *fields_of(result), *result.sweep.file.directions}
    said |= {f"{metric}_se" for metric in result.sweep.file.directions}
    return [
        name
        for name, kind in result.points.schema.items()
        if name not in said and kind.is_numeric() and result.points[name].n_unique() > 1
    ]


def points_table(result: SweepResult, points: pl.DataFrame) -> pl.DataFrame:
    """Points as a reader sees them, the best first: fields, objectives, how far behind it, further metrics.

    What is behind the best is the mean of differences on the same days, with its standard error; ≈ marks one
    that Student's 95% interval does not tell from zero.
    """
    columns: list[pl.Expr | pl.Series] = [pl.col("point").alias(t("sweeps.column_point"))]
    columns += [
        # Not by Polars' threads, which know of no reader and so of no language.
        pl.Series(short_field(field), [value_text(value) for value in points[field]], dtype=pl.String)
        if points[field].dtype == pl.String
        else pl.col(field).alias(short_field(field))
        for field in fields_of(result)
    ]
    for metric in result.sweep.file.directions:
        columns.append(_shown(metric))
        if len(points) > 1 and points["seeds"].max() > 1:  # type: ignore[operator]
            columns.append(_behind(result, points, metric))
    columns += [_shown(metric) for metric in further_of(result)]
    columns.append(pl.col("pareto").alias(t("sweeps.column_front")))
    if not points["feasible"].all():
        columns.append(pl.col("feasible").alias(t("sweeps.column_feasible")))
    return points.select(columns)


def _behind(result: SweepResult, points: pl.DataFrame, metric: str) -> pl.Series:
    first = points["point"][0]
    found = {row["point"]: row for row in behind(result, first, metric).iter_rows(named=True)}
    scale = 100.0 if is_share(metric) else 1.0
    texts = []
    for point in points["point"]:
        row = found.get(point)
        if point == first or row is None or row["se"] is None:
            texts.append("")
            continue
        difference, half = row["difference"], t_quantile(0.95, row["days"]) * row["se"]
        unclear = " ≈" if abs(difference) <= half else ""
        texts.append(f"{scale * difference:+.2f} ± {scale * row['se']:.2f}{unclear}")
    return pl.Series(t("sweeps.behind", metric=metric_name(metric).lower()), texts, dtype=pl.String)


def _shown(metric: str) -> pl.Expr:
    scale = 100.0 if is_share(metric) else 1.0
    return (
        (scale * pl.col(metric)).round(2).alias(f"{metric_name(metric)}{' (%)' if is_share(metric) else ''}")
    )


def seeds_table(result: SweepResult, point: int) -> pl.DataFrame:
    """One row per seed of a point: what each day alone has brought."""
    rows = result.replicates.filter(pl.col("point") == point).sort("seed")
    metrics = [*result.sweep.file.directions, *further_of(result)]
    return rows.select(pl.col("seed").alias(t("sweeps.column_seed")), *map(_shown, metrics))


def figures_in(result: SweepResult, table: pl.DataFrame) -> list[str]:
    """The columns of a table of points that hold metrics, and not the values of fields."""
    fields = set(map(short_field, fields_of(result)))
    return [name for name, kind in table.schema.items() if kind.is_float() and name not in fields]


def state_text(status: Status | None, *, running: bool) -> str:
    """How far a sweep is, in one sentence."""
    if status is None:
        return t("sweeps.state_preparing" if running else "sweeps.state_nothing")
    counted = t("sweeps.counted", done=status.done, total=status.total)
    if status.failed:
        counted = t("sweeps.counted_failed", counted=counted, failed=status.failed)
    if running:
        return t("sweeps.state_running", counted=counted)
    if status.done + status.failed >= status.total:
        return t("sweeps.state_finished", counted=counted, time=duration(status.elapsed_s))
    return t("sweeps.state_half", counted=counted)


def estimate_text(estimate: Mapping[str, Any]) -> str:
    """What `relbid sweep --dry-run --progress FILE` leaves as `found.estimate`, in words."""
    counted = t(
        "sweeps.estimate_count",
        n=estimate["seeds"],
        points=f"{estimate['points']:,}",
        total=f"{estimate['points'] * estimate['seeds']:,}",
    )
    if estimate["done"]:
        counted = t("sweeps.estimate_done", counted=counted, done=f"{estimate['done']:,}")
    return t(
        "sweeps.estimate",
        n=estimate["worlds"],
        counted=counted,
        models=", ".join(map(scorer_name, estimate["models"])),
        time=duration(estimate["left_s"]),
        workers=estimate["workers"],
        each=f"{estimate['job_s']:.2g}",
    )
