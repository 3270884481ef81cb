"""What `relbid sweep` prints."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import JsonValue
from rich import box
from rich.table import Table

from scenarios.reporting.terminal import NAMES, Section
from scenarios.studies.sweeps.analysis import Sensitivity, front, sensitivity
from scenarios.studies.sweeps.estimate import Estimate
from scenarios.studies.sweeps.folder import Status, SweepResult
from scenarios.studies.sweeps.sweep import Sweep, in_words, is_ordered, searched_values
from scenarios.studies.sweeps.sweep_file import GENERATION
from simulator.measures.market_metrics import is_share

MOST_ROWS = 20


def status_text(status: Status) -> str:
    """`2.4/s, 3 min left, 1 failed`."""
    parts = []
    if status.rate_per_s:
        parts.append(f"{status.rate_per_s:.2g}/s")
    if status.left_s is not None:
        parts.append(f"{duration(status.left_s)} left")
    if status.failed:
        parts.append(f"{status.failed} failed")
    return ", ".join(parts)


def duration(seconds: float) -> str:
    """`45 s`, `3 min`, `2.5 h`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def points_text(sweep: Sweep) -> str:
    """The points of a sweep, or what a search moves through, one a line."""
    lines = [f"{point.index}: {in_words(point.settings)}" for point in sweep.points]
    if sweep.file.searches:
        size = sweep.file.generation or GENERATION
        lines = [f"{field}: {_values(values)}" for field, values in searched_values(sweep.file).items()]
        lines.append(f"{sweep.file.method} asks for {size} points at a time")
    if len(lines) > MOST_ROWS:
        lines = [*lines[: MOST_ROWS // 2], "...", *lines[-MOST_ROWS // 2 :]]
    return "\n".join(lines)


def estimate_text(found: Estimate, workers: int) -> str:
    """What a sweep asks for, and how long that takes."""
    seeds = f"{found.seeds} seed{'s' if found.seeds > 1 else ''}"
    done = f", {found.done} of them done" if found.done else ""
    return (
        f"{found.points:,} points x {seeds} = {found.jobs:,} simulations{done}\n"
        f"About {duration(found.left_s(workers))} with {workers} processes at {found.job_s:.2g} s each,\n"
        f"after scoring {found.worlds} world{'s' if found.worlds > 1 else ''} "
        f"with {', '.join(found.models)} where that is not done yet"
    )


def _values(values: Sequence[JsonValue]) -> str:
    if is_ordered(values) and len(values) > 8:
        return f"{len(values):,} values from {json.dumps(values[0])} to {json.dumps(values[-1])}"
    return ", ".join(value if isinstance(value, str) else json.dumps(value) for value in values)


def sweep_tables(result: SweepResult) -> list[Section]:
    """The Pareto front, and which field moves what."""
    sweep = result.sweep
    fields = [field for field in sweep.fields if field in result.points.columns]
    points = front(result)
    names = [short(metric) for metric in sweep.file.directions]
    columns = [column for name in names for column in (name, "+-")]
    table = _table("point", *fields, *columns, numbers=len(columns))
    for row in points.head(MOST_ROWS).iter_rows(named=True):
        table.add_row(str(row["point"]), *(cell(row[field]) for field in fields), *figures(sweep, row))
    count = f"{len(result.points)} points, {len(sweep.seeds)} seed{'s' if len(sweep.seeds) > 1 else ''} each"
    if bounds := sweep.file.bounds:
        count += f", {result.points['feasible'].sum()} of them with {', '.join(map(str, bounds))}"
    more = f"; {len(points) - MOST_ROWS} more in points.parquet" if len(points) > MOST_ROWS else ""
    note = f"_rpm: per 1000 queries; irrel.: share of shown ads of grade 0; +-: standard error{more}"
    sections = [Section(f"{sweep.name}: Pareto front of {count}", table, note)]
    strengths = _table("field", *names, numbers=len(names))
    found = sensitivity(result)
    for field in dict.fromkeys(one.field for one in found):
        strengths.add_row(field, *(strength(one) for one in found if one.field == field))
    note = (
        "with a sign: Spearman's rank correlation over the points; without one, for values that have no\n"
        "order: the correlation ratio of the ranks"
    )
    sections.append(Section("Which field moves what", strengths, note))
    return sections


def cell(value: float | str) -> str:
    """A field's value."""
    return NAMES.get(value, value) if isinstance(value, str) else f"{value:g}"


def figures(sweep: Sweep, row: Mapping[str, Any]) -> list[str]:
    """The objectives of a point, each with its standard error, if it has one."""
    cells = []
    for metric in sweep.file.directions:
        cells.append(amount(metric, row[metric]))
        cells.append(amount(metric, row[f"{metric}_se"]) if row["seeds"] > 1 else "")
    return cells


def amount(metric: str, value: float) -> str:
    """A metric, shares in per cent."""
    if is_share(metric):
        return f"{100 * value:.2f}%"
    return f"{value:.4g}" if abs(value) < 1 else f"{value:,.2f}"


def long(metric: str) -> str:
    """A metric as the title of an axis."""
    named = {"revenue_rpm": "revenue per 1000 queries", "irrelevant_share": "share of irrelevant ads"}
    return named.get(metric, metric) + (", %" if is_share(metric) else "")


def short(metric: str) -> str:
    """A metric as the heading of a column."""
    return {"irrelevant_share": "irrel."}.get(metric, metric)


def strength(one: Sensitivity) -> str:
    """With a sign where the field has an order; `-` where there is nothing to say."""
    if math.isnan(one.strength):
        return "-"
    return f"{one.strength:+.2f}" if one.ordered else f"{one.strength:.2f}"


def _table(*headings: str, numbers: int) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for place, heading in enumerate(headings):
        right = place >= len(headings) - numbers
        table.add_column(heading, justify="right" if right else "left", no_wrap=right, overflow="fold")
    return table
