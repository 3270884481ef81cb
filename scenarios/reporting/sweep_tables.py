"""What `relbid sweep` prints."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import JsonValue

from scenarios.reporting.terminal import Section, section
from scenarios.reporting.words import amount, scorer_name
from scenarios.studies.sweeps.analysis import front, sensitivity
from scenarios.studies.sweeps.folder import SweepResult
from scenarios.studies.sweeps.sweep import Sweep, in_words, is_ordered, searched_values
from scenarios.studies.sweeps.sweep_file import GENERATION

MOST_ROWS = 20


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


def _values(values: Sequence[JsonValue]) -> str:
    if is_ordered(values) and len(values) > 8:
        return f"{len(values):,} values from {json.dumps(values[0])} to {json.dumps(values[-1])}"
    return ", ".join(value if isinstance(value, str) else json.dumps(value) for value in values)


def sweep_tables(result: SweepResult) -> list[Section]:
    """The Pareto front, and which field moves what."""
    sweep, fields, points = result.sweep, fields_of(result), front(result)
    names = [{"irrelevant_share": "irrel."}.get(metric, metric) for metric in sweep.file.directions]
    count = f"{len(result.points)} points, {len(sweep.seeds)} seed{'s' if len(sweep.seeds) > 1 else ''} each"
    if bounds := sweep.file.bounds:
        count += f", {result.points['feasible'].sum()} of them with {', '.join(map(str, bounds))}"
    more = f"; {len(points) - MOST_ROWS} more in points.parquet" if len(points) > MOST_ROWS else ""
    return [
        section(
            f"{sweep.name}: Pareto front of {count}",
            ["point", *fields, *(column for name in names for column in (name, "+-"))],
            [row_of(result, row) for row in points.head(MOST_ROWS).iter_rows(named=True)],
            "_rpm: per 1000 queries; irrel.: share of shown ads of grade 0; +-: standard error over days,\n"
            f"which are the same for all points: of a difference between two it is smaller{more}",
            left=1 + len(fields),
        ),
        section(
            "Which field moves what",
            ["field", *names],
            strengths(result),
            "with a sign: Spearman's rank correlation over the points; without one, for values that have no\n"
            "order: the correlation ratio of the ranks",
        ),
    ]


def fields_of(result: SweepResult) -> list[str]:
    """The swept fields that a sweep's table of points holds."""
    return [field for field in result.sweep.fields if field in result.points.columns]


def row_of(result: SweepResult, row: Mapping[str, Any]) -> list[str]:
    """A point: its number, its fields, and each objective with its standard error (empty for one seed)."""
    cells = [str(row["point"])]
    for field in fields_of(result):
        value = row[field]
        cells.append(scorer_name(value) if isinstance(value, str) else f"{value:g}")
    for metric in result.sweep.file.directions:
        cells.append(amount(metric, row[metric]))
        cells.append(amount(metric, row[f"{metric}_se"]) if row["seeds"] > 1 else "")
    return cells


def strengths(result: SweepResult) -> list[list[str]]:
    """A row for each swept field: how strongly it goes with each objective; `-` where that is unknown."""
    rows: dict[str, list[str]] = {}
    for one in sensitivity(result):
        text = "-" if math.isnan(one.strength) else f"{one.strength:{'+' if one.ordered else ''}.2f}"
        rows.setdefault(one.field, [one.field]).append(text)
    return list(rows.values())
