"""What `relbid why` prints."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from scenarios.markets.prepared import Prepared
from scenarios.markets.simulation import is_share
from scenarios.reporting.experiment_tables import metric_words
from scenarios.reporting.terminal import Section, section
from scenarios.studies.difference import Division, division_rows

_HEADINGS = ("part", "95% over days", "share", "A", "B")


def why_table(prepared: Prepared, division: Division, names: tuple[str, str], n: int) -> Section:
    """The n largest parts of a difference.

    Args:
        names: of the two rankings.
    """
    share = is_share(division.metric)
    title = (
        f"{metric_words(division.metric)}, {names[1]} against {names[0]}: "
        f"{_number(division.before, share)} to {_number(division.after, share)}, "
        f"{_signed(division.difference, share)}"
        f"{_span(division.low, division.high, share)}, by {division.grouping}"
    )
    rows = [_row(row, share, clear=division.clear) for row in division_rows(prepared, division, n)]
    headings = [division.grouping, *_HEADINGS, *(["traffic"] if division.grouping == "query" else [])]
    if division.grouping != "query":
        rows = [row[:-1] for row in rows]
    return section(title, headings, rows, _note(division, len(rows)))


def _note(division: Division, shown: int) -> str:
    left = len(division.parts) - shown
    about = f"parts sum to the difference; A and B: what each adds to the figure; {left} more"
    if not division.clear:
        return f"{about}\nno clear difference over {division.n_days} days, so no shares of it"
    if division.warns:
        return f"{about}\nWARNING: the first alone makes more than a fifth of the difference"
    return about


def _row(row: Mapping[str, Any], share: bool, *, clear: bool) -> tuple[str, ...]:
    return (
        row["name"],
        _signed(row["part"], share),
        _span(row["low"], row["high"], share).strip(),
        f"{100 * row['share']:.1f}%" if clear else "-",
        _number(row["before"], share),
        _number(row["after"], share),
        f"{100 * row['traffic']:.2f}%",
    )


def _number(value: float, share: bool) -> str:
    if not math.isfinite(value):
        return "-"
    return f"{100 * value:.3f}%" if share else f"{value:.3f}"


def _signed(value: float, share: bool) -> str:
    return ("+" if value > 0 else "") + _number(value, share)


def _span(low: float, high: float, share: bool) -> str:
    if not math.isfinite(low):
        return ""
    return f" [{_signed(low, share)}, {_signed(high, share)}]"
