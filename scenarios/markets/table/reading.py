"""Reads and checks a table of auctions: one row per query event and candidate ad (see `columns`).

Every error names file, row (in JSON lines the line), column, what was found, and the remedy.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from scenarios.errors import TableError, did_you_mean, misspelt, misspelt_column
from scenarios.markets.table.columns import (
    BUDGET_COLUMNS,
    COLUMNS,
    RELEVANCE,
    RELEVANCE_COLUMN,
    WANTED,
    Column,
    is_relevance,
)
from scenarios.markets.table.rows import column_names, first_bad_line, joined, place, read_file, show
from scenarios.storage.tables import LINES

MAX_CANDIDATES = 1000
"""Most ads of one query event."""

# Of what a cast would make other numbers than the ones that are meant.
_CONVERT: Mapping[Any, str] = {
    pl.Datetime: 'dt.epoch("s")', pl.Date: 'dt.epoch("s")', pl.Duration: "dt.total_seconds()",
    pl.List: "list.first()", pl.Array: "arr.first()",
}  # fmt: skip
_POLARS = {"id": pl.String, "text": pl.String, "number": pl.Float64, "whole": pl.Int64, "flag": pl.Boolean}


@dataclass(frozen=True, slots=True)
class Table:
    """A table that was read: the known columns, each of its kind, and `row`, counted from 1 in the file."""

    path: Path
    frame: pl.DataFrame
    ignored: tuple[str, ...]
    """Columns of the file that mean nothing here."""

    @property
    def relevance(self) -> tuple[str, ...]:
        """Names of the relevance columns, without their prefix."""
        return tuple(name.removeprefix(RELEVANCE) for name in self.frame.columns if is_relevance(name))

    def __contains__(self, column: str) -> bool:
        return column in self.frame.columns


def read_auctions(path: Path | str) -> Table:
    """Read and check a table of auctions.

    Raises:
        TableError: the file cannot be read, or holds what no auction can.
    """
    table = _read(Path(path), COLUMNS)
    _refuse(table, _auction_faults(table))
    return table


def read_budgets(path: Path | str) -> Table:
    """Read and check a table of advertisers: `advertiser_id` and `budget` (currency per day).

    Raises:
        TableError: see `read_auctions`.
    """
    table = _read(Path(path), BUDGET_COLUMNS)
    again = pl.col("advertiser_id").is_first_distinct().not_()
    _refuse(table, [_Fault("advertiser_id", again, "{advertiser_id} is there twice; keep one row of each")])
    return table


def scorers_of(path: Path | str) -> tuple[str, ...]:
    """Scorers that the auctions of a file can be ranked by: relevance columns, and "oracle" if it has grades.

    Raises:
        TableError: the file cannot be read.
    """
    names = column_names(Path(path))
    found = [name.removeprefix(RELEVANCE) for name in names if is_relevance(name)]
    return (*found, "oracle") if "grade" in names and "oracle" not in found else tuple(found)


# Reading: check types, then values, then rows against each other


def _read(path: Path, columns: Sequence[Column]) -> Table:
    found, names = read_file(path, {column.name: column for column in columns})
    known = [column for column in columns if column.name in names]
    if columns is COLUMNS:
        known += [RELEVANCE_COLUMN._replace(name=name) for name in names if is_relevance(name)]
    if columns is COLUMNS and f"{RELEVANCE}none" in names:
        reason = f"has a column {RELEVANCE}none, and the scorer none ranks without relevance"
        raise TableError(reason, file=path, remedy="rename the column")
    ours = [column.name for column in known]
    ignored = tuple(name for name in names if name not in ours)
    missing = [column.name for column in columns if column.required and column.name not in ours]
    if missing:
        raise TableError(joined(path, [_missing(name, ours, ignored) for name in missing]))
    _check_spelling(path, names, columns)
    if found.is_empty():
        of_what = "candidate of each query" if columns is COLUMNS else "advertiser with a budget"
        raise TableError("has no rows", file=path, remedy=f"write one for each {of_what}")
    wrong = [column for column in known if not _may_hold(found.schema[column.name], column)]
    if wrong:
        raise TableError(joined(path, [_wrong_type(path, found[column.name], column) for column in wrong]))
    as_text = [pl.col(column.name).cast(pl.String) for column in known if column.kind in ("id", "text")]
    frame = found.select(ours).with_columns(as_text).with_row_index("row", offset=1)
    table = Table(path, frame, ignored)
    _refuse(table, [fault for column in known for fault in _value_faults(column, frame.schema[column.name])])
    return Table(
        path,
        frame.with_columns(pl.col(column.name).cast(_POLARS[column.kind]) for column in known),
        ignored,
    )


def _check_spelling(path: Path, names: Sequence[str], columns: Sequence[Column]) -> None:
    """Refuse a column that is written almost as one that may be left out, and is."""
    found = misspelt(names, [column.name for column in columns])
    for name in () if found or columns is not COLUMNS else names:
        head = re.match(r"([^\W_]+)([\W_]+(?=.)|$)", name)
        if head and not is_relevance(name) and misspelt([head[1] + head[2]], [RELEVANCE]):
            found = name, f"{RELEVANCE}{name[head.end() :] or 'model'}"
    if found:
        reason, remedy = misspelt_column(found)
        raise TableError(reason, file=path, remedy=remedy)


def _may_hold(dtype: pl.DataType, column: Column) -> bool:
    """Whether values of a column can be of this type; each value is checked later."""
    if dtype == pl.Null:
        return True
    if column.kind in ("id", "text"):
        texts = dtype == pl.String or isinstance(dtype, pl.Categorical | pl.Enum)
        return texts or (column.kind == "id" and dtype.is_integer())
    return dtype == pl.Boolean or dtype.is_integer() if column.kind == "flag" else dtype.is_numeric()


def _missing(name: str, ours: Sequence[str], ignored: Sequence[str]) -> str:
    if near := did_you_mean(name, ignored):
        return f": has no column {name}{near} Then rename it"
    names = [*ours, *ignored]
    if not names:
        return f": has no column {name}; add it"
    return f": has no column {name}; add it (there are {', '.join(names[:15])}{', ...' * (len(names) > 15)})"


def _wrong_type(path: Path, values: pl.Series, column: Column) -> str:
    if path.suffix.lower() in LINES and (found := first_bad_line(path, {column.name: column})):
        return found
    row = int(values.is_not_null().arg_max() or 0)
    example = f", {place(path, row + 1)}: {show(values[row])}" if len(values.drop_nulls()) else ""
    kind = values.dtype.base_type()
    convert = "." + _CONVERT.get(kind, f"cast(polars.{_POLARS[column.kind].__name__})")
    if isinstance(values.dtype, pl.Struct):
        convert = f'.struct.field("{values.dtype.fields[0].name}")' if values.dtype.fields else ""
    elif kind == pl.String and column.kind == "flag":  # which no cast makes
        convert = ' == "true"'
    elif values.dtype.is_float() and column.kind == "flag":  # NaN would be true
        convert = ".fill_nan(None).cast(polars.Boolean)"
    return (
        f", column {column.name}: needs {WANTED[column.kind]} in each row, found {kind}{example}; "
        f'convert it with polars.col("{column.name}"){convert}'
    )


# Faults: an expression that is true in bad rows, and a message about the first of them


class _Fault(NamedTuple):
    column: str
    where: pl.Expr
    message: str
    """What is wrong and how to mend it; {names} of columns are filled in from the row."""


def _value_faults(column: Column, dtype: pl.DataType) -> Iterator[_Fault]:
    name, value = column.name, pl.col(column.name)
    if not column.nullable:
        yield _Fault(name, value.is_null(), f"is empty; it needs {WANTED[column.kind]}")
    if column.kind == "id" and dtype == pl.String:
        yield _Fault(name, value == "", f"is an empty text; it needs {WANTED['id']}")
    if not dtype.is_numeric():
        return
    finite = pl.lit(True)
    if dtype.is_float():
        finite = value.is_finite()
        remedy = (
            "write null where there is none" if column.nullable else "drop the row or mend what computes it"
        )
        yield _Fault(name, value.is_nan(), f"is NaN; {remedy}")
        yield _Fault(name, value.is_infinite(), "is infinite; mend what computes it")
    if column.kind == "whole" and not dtype.is_integer():
        yield _Fault(name, finite & (value != value.round()), f"needs a whole number, got {{{name}}}")
    if column.kind == "flag":
        yield _Fault(name, ~value.is_in([0, 1]), f"must be {WANTED['flag']}, got {{{name}}}")
    elif math.isfinite(column.most):
        span = f"must be from {column.least:g} to {column.most:g}, got {{{name}}}"
        below, above = finite & (value < column.least), finite & (value > column.most)
        yield _Fault(name, below, span + ("; positions count from 1" if name == "position" else ""))
        yield _Fault(name, above, span + ("; divide milliseconds by 1000" if name == "time_s" else ""))


def _auction_faults(table: Table) -> Iterator[_Fault]:
    """What is wrong between the columns of a row or the rows of an event."""
    event = "query event {query_id}"

    def repeated(*names: str) -> pl.Expr:
        return pl.struct("query_id", *names).is_first_distinct().not_()

    yield _Fault("ad_id", repeated("ad_id"), f"ad {{ad_id}} is twice in {event}; keep one row of it")
    yield _Fault(
        "advertiser_id",
        repeated("advertiser_id") & ~repeated("ad_id"),
        f"advertiser {{advertiser_id}} has two ads in {event}, and a page shows one; keep the row with the "
        "highest bid * pctr",
    )
    yield _Fault(
        "advertiser_id",
        pl.col("advertiser_id") != pl.col("advertiser_id").first().over("ad_id"),
        "ad {ad_id} belongs to another advertiser in an earlier row, here to {advertiser_id}; give it one "
        "owner, or another ad_id",
    )
    crowded = pl.len().over("query_id") > MAX_CANDIDATES
    yield _Fault("query_id", crowded, f"{event} has more than {MAX_CANDIDATES:,} candidates; keep its best")
    if "time_s" in table:
        moved = pl.col("time_s") != pl.col("time_s").first().over("query_id")
        yield _Fault(
            "time_s", moved, f"{event} has another time in an earlier row, here {{time_s}}; give it one"
        )
    if "query" in table:
        other = pl.col("query") != pl.col("query").first().over("query_id")
        yield _Fault(
            "query", other, f"{event} has another query in an earlier row, here {{query}}; give it one"
        )
    outcomes = [name for name in ("clicked", "price") if name in table]
    if "position" not in table:
        for name in outcomes:
            yield _Fault(name, pl.col("row") > 0, "means nothing without the column position; add that")
        return
    shown = pl.col("position").is_not_null()
    taken = f"position {{position}} is taken twice in {event}; a slot shows one ad"
    yield _Fault("position", shown & repeated("position"), taken)
    for name in outcomes:
        yield _Fault(name, shown & pl.col(name).is_null(), "is empty though the ad was shown; fill it in")
    if "clicked" in table:
        unseen = ~shown & pl.col("clicked")
        yield _Fault("clicked", unseen, "is true though the ad was not shown; add its position")


def _refuse(table: Table, faults: Iterator[_Fault] | Sequence[_Fault]) -> None:
    """Raise one TableError for all faults that are found, each with its first row."""
    faults = list(faults)
    frame, path = table.frame, table.path
    marks = [fault.where.fill_null(False).alias(str(number)) for number, fault in enumerate(faults)]
    counts = frame.select(mark.sum() for mark in marks).row(0) if marks else ()
    texts: list[tuple[int, str]] = []
    for fault, mark, count in zip(faults, marks, counts, strict=True):
        if count:
            first = frame.row(int(frame.select(mark.arg_max()).item()), named=True)
            message = fault.message.format_map({name: show(value) for name, value in first.items()})
            more = f" (so too {count - 1:,} other rows)" if count > 1 else ""
            where = f", {place(path, first['row'])}, column {fault.column}: "
            texts.append((first["row"], f"{where}{message}{more}"))
    if texts:
        raise TableError(joined(path, [text for _, text in sorted(texts)]))
