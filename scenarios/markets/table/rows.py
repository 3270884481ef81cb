"""Reads a Parquet or JSON-lines file as it is, and finds the place in it of what is wrong."""

from __future__ import annotations

import codecs
import io
import json
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from relevance.files import check_file, no_text, parsed_json
from scenarios.config.problems import is_number
from scenarios.errors import TableError, did_you_mean, in_words, quoted, shown
from scenarios.markets.table.columns import RELEVANCE_COLUMN, WANTED, Column, is_relevance
from scenarios.storage.parquet import ParquetError, parquet_columns, read_parquet
from scenarios.storage.tables import LINES, PARQUET


def column_names(path: Path) -> list[str]:
    """Names of a file's columns.

    Raises:
        TableError: the file cannot be read.
    """
    return read_file(path, {})[1] if is_lines(path) else _parquet_schema(path)


def read_file(path: Path, columns: Mapping[str, Column]) -> tuple[pl.DataFrame, list[str]]:
    """The rows of a file, with the types that it gives them, and the names of all its columns.

    From a Parquet file, only `columns` and relevance columns are read.

    Raises:
        TableError: the file cannot be read; the message says where.
    """
    if is_lines(path):
        return _read_lines(path, columns)
    try:
        names = _parquet_schema(path)
        if twice := [name for name, times in Counter(names).items() if times > 1]:
            reason = f"has the column {quoted(twice[0])} twice"
            raise TableError(reason, file=path, remedy="remove one")
        ours = [name for name in names if name in columns or is_relevance(name)]
        return read_parquet(path, ours), names
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, ParquetError, OSError) as error:
        raise _unreadable(path, error) from None


def _read_lines(path: Path, columns: Mapping[str, Column]) -> tuple[pl.DataFrame, list[str]]:
    """JSON lines by Polars; where it cannot, by Python, which says why or knows better."""
    with path.open("rb") as file:
        if what := no_text(head := file.read(8)):
            raise TableError(what, file=path)
    source: io.BytesIO | Path = path
    try:
        if head.startswith(codecs.BOM_UTF8):
            source = io.BytesIO(path.read_bytes()[3:])
        frame = pl.read_ndjson(source, infer_schema_length=None)
        # Polars takes the first of two values, another reader the last; and beside a text, all for texts.
        doubtful = _maybe_twice(path, frame.columns) or _maybe_no_texts(frame, columns)
        if doubtful and (found := first_bad_line(path, columns)):
            raise TableError(f"{path}{found}")
        return frame, frame.columns
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError):
        if found := first_bad_line(path, columns):
            raise TableError(f"{path}{found}") from None
    with path.open(encoding="utf-8-sig") as file:
        rows = [json.loads(line) for line in file if line.strip()]
    if not rows:
        of_what = "candidate of each query" if "query_id" in columns else "advertiser with a budget"
        raise TableError("has no rows", file=path, remedy=f"write one for each {of_what}")
    names = list(dict.fromkeys(name for row in rows for name in row))
    known = {name: columns.get(name) or (RELEVANCE_COLUMN if is_relevance(name) else None) for name in names}
    return pl.DataFrame(
        {
            name: [None if (value := row.get(name)) is None else _AS[column.kind](value) for row in rows]
            for name, column in known.items()
            if column is not None
        }
    ), names


def _maybe_twice(path: Path, names: Sequence[str]) -> bool:
    """Whether a line names a column twice, or holds its name as a text. This is faster than Python's JSON."""
    lines = pl.scan_csv(
        path, has_header=False, separator="\x01", quote_char=None, schema={"line": pl.String},
        truncate_ragged_lines=True,
    )  # fmt: skip
    counts = [
        pl.col("line").str.count_matches(json.dumps(name, ensure_ascii=False), literal=True).max().alias(name)
        for name in names
    ]
    # A name that is written with escapes may be that of another column.
    escaped = pl.col("line").str.contains(r'\\u00[0-7][^"]*"\s*:').max().cast(pl.Int64).alias("\0") * 2
    return any((most or 0) > 1 for most in lines.select(*counts, escaped).collect(engine="streaming").row(0))


def _maybe_no_texts(frame: pl.DataFrame, columns: Mapping[str, Column]) -> bool:
    """Whether texts may have been lists, or ids true, false or no whole numbers, before Polars read them."""
    no_ids = r"^(true|false|[\[{].*[\]}]|-?\d+\.\d+([eE].*)?)$"
    patterns = {"id": no_ids, "text": r"^[\[{].*[\]}]$"}
    ours = [name for name, dtype in frame.schema.items() if dtype == pl.String and name in columns]
    found = [
        pl.col(name).str.contains(patterns[columns[name].kind]).any()
        for name in ours
        if columns[name].kind in patterns
    ]
    return any(frame.select(found).row(0)) if found else False


_AS: Mapping[str, Callable[[Any], Any]] = {
    "id": str,
    "text": str,
    "number": float,
    "whole": float,
    "flag": int,
}
"""Values of a kind as values of one type."""


def is_lines(path: Path) -> bool:
    """Whether a file is named as JSON lines rather than Parquet.

    Raises:
        TableError: it is neither, is empty, or is not there.
    """
    try:
        size = path.stat().st_size
    except OSError:
        files = (file for file in path.parent.glob("*") if file.suffix in (*LINES, *PARQUET))
        siblings = (file.name for file in files if file.exists())  # no link that leads nowhere
        remedy = did_you_mean(path.name, siblings) or "; relbid replay --example FILE writes one to look at"
        raise TableError(f"no such file{remedy}", file=shown(path)) from None
    if path.is_dir():
        raise TableError("is a folder", file=path, remedy="name one Parquet or JSON-lines file")
    check_kind(path)
    check_file(path, TableError)
    if size == 0:
        raise TableError(
            "is empty", file=path, remedy="write one row for each candidate of each query, or each budget"
        )
    return path.suffix.lower() in LINES


def check_kind(path: Path) -> None:
    """Refuse a file that is named as neither Parquet nor JSON lines.

    Raises:
        TableError: it is.
    """
    kind = path.suffix.lower()
    if kind not in (*LINES, *PARQUET):
        reader = {".csv": "csv", ".xlsx": "excel", ".xls": "excel", ".ods": "ods"}.get(kind)
        convert = f"; polars.read_{reader}(...).write_parquet(...) converts it" if reader else ""
        remedy = f"a table is Parquet (.parquet) or JSON lines (.jsonl){convert}"
        raise TableError(f"unknown file type '{path.suffix}'", file=path, remedy=remedy)


def first_bad_line(path: Path, columns: Mapping[str, Column]) -> str | None:
    """Describe the first line that is no row, or holds a value of a wrong kind, as `, line 3: not valid ...`.

    This is slow, so it is for files that polars refused without naming the line, or whose column of numbers
    polars read as texts because one of them is a text.
    """
    with path.open("rb") as file:
        for number, raw in enumerate(file, start=1):
            if number == 1:
                raw = raw.removeprefix(codecs.BOM_UTF8)
            if raw.strip() and (trouble := _line_trouble(raw, columns)):
                return f", line {number:,}{trouble}"
    return None


def place(path: Path, row: int) -> str:
    """`row 3`, or in JSON lines `line 4`, where blank lines count too."""
    if path.suffix.lower() not in LINES:
        return f"row {row:,}"
    with path.open("rb") as file:
        numbers = (number for number, raw in enumerate(file, start=1) if raw.strip())
        return f"line {next((number for seen, number in enumerate(numbers, start=1) if seen == row), row):,}"


def show(value: object) -> str:
    """A value in a message, short."""
    if isinstance(value, bytes | pl.Series):
        value = "binary data" if isinstance(value, bytes) else value.to_list()
    text = json.dumps(value, ensure_ascii=False, default=str)
    if isinstance(value, float) and float(f"{value:g}") == value:  # not where rounding hides what is wrong
        text = f"{value:g}"
    return text if len(text) <= 60 else text[:57] + "..."


def joined(path: Path, texts: Sequence[str]) -> str:
    """One message of problems that begin with `: ` or `, row 3 ...`."""
    lines = [f"{path}{text}" for text in texts]
    return lines[0] if len(lines) == 1 else "\n  ".join([f"{path}: {len(lines)} problems", *lines])


def _parquet_schema(path: Path) -> list[str]:
    try:
        return parquet_columns(path)
    except (ParquetError, OSError) as error:
        raise _unreadable(path, error) from None


def _unreadable(path: Path, error: BaseException) -> TableError:
    reason = " ".join(str(error).split())[:160]
    kind = "JSON lines" if path.suffix.lower() in LINES else "a Parquet file"
    return TableError(f"not {kind}, or damaged ({reason})", file=path, remedy="write it again")


def _line_trouble(raw: bytes, columns: Mapping[str, Column]) -> str | None:
    try:
        # how deep it is, how long its numbers are, and that each key is there once
        parsed_json(text := raw.decode("utf-8").rstrip(), once=True)
        row = json.loads(text, parse_constant=_no_constant)
    except UnicodeDecodeError as error:
        return f": not UTF-8 (byte 0x{raw[error.start]:02x}); save it with UTF-8 encoding"
    except ValueError as error:
        reason = in_words(error).removeprefix("no JSON: ")
        if " twice" in reason:
            return f": {reason}"
        return f": not valid JSON ({reason}); write one object per line"
    if not isinstance(row, dict):
        return f': needs an object such as {{"query_id": 1, ...}}, got {show(row)}'
    for name, value in row.items():
        column = columns.get(name) or (RELEVANCE_COLUMN if is_relevance(name) else None)
        if column is not None and value is not None and not _is_of(column, value):
            got = json.dumps(value) if isinstance(value, float) and column.kind != "number" else show(value)
            quoted = "; remove the quotes" if isinstance(value, str) and is_number(value) else ""
            return f", column {name}: needs {WANTED[column.kind]}, got {got}{quoted}"
    return None


def _no_constant(text: str) -> float:
    raise ValueError(f"{text} is no JSON number: leave the value out, or mend what computes it")


def _is_of(column: Column, value: object) -> bool:
    if column.kind == "text":
        return isinstance(value, str)
    if column.kind == "flag":
        return isinstance(value, int)
    if isinstance(value, bool):
        return False
    if column.kind == "id":
        return isinstance(value, str | int)
    return isinstance(value, int | float) and abs(value) <= sys.float_info.max
