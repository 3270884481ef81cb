"""Tables that users give: .parquet, .jsonl or .csv, with errors that name file, row and column."""

from __future__ import annotations

import csv
import itertools
import json
import math
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import polars as pl
from numpy.typing import NDArray

from relevance.corpus import CorpusError
from relevance.files import check_file, no_text, parsed_json, text_trouble
from scenarios.errors import cut, did_you_mean, in_words, listed, misspelt, misspelt_column, quoted
from scenarios.storage.parquet import ParquetError, parquet_batches, parquet_columns, read_parquet

SUFFIXES = (".parquet", ".jsonl", ".csv")
LINES, PARQUET = (".jsonl", ".ndjson"), (".parquet", ".pq")
MOST_CELL = 2**31 - 1
"""Characters of a cell of a CSV file; Python's own bound, 131,072, is less than a long description has."""
TWICE = "_duplicated_"
"""What marks the second column of a name, as Polars calls it."""
V = TypeVar("V")


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of one file. `rows`: their numbers in the file, counted from 0; None: the table has all rows."""

    path: Path
    frame: pl.DataFrame
    rows: Sequence[int] | None = None

    @staticmethod
    def find(folder: Path, stem: str, empty: Sequence[str] = ()) -> Table:
        """The table of this name, whatever its format.

        Args:
            empty: columns of the empty table that replaces a missing one, and one that is without rows;
                none: a missing one is an error.

        Raises:
            CorpusError: there is none, there are several, or it cannot be read.
        """
        # What is there counts, not what can be read: a link that leads nowhere is no table left out.
        found = [path for suffix in SUFFIXES if os.path.lexists(path := folder / f"{stem}{suffix}")]
        if len(found) > 1:
            names = " and ".join(path.name for path in found)
            raise CorpusError(f"has {names}", file=folder, remedy="keep the one that counts")
        if found and ((table := Table.read(found[0])).frame.height or not empty):
            return table
        if empty:
            path = found[0] if found else folder / stem
            return Table(path, pl.DataFrame(schema=dict.fromkeys(empty, pl.String)))
        names = ", ".join(f"{stem}{suffix}" for suffix in SUFFIXES)
        raise CorpusError(f"{folder}: has no table of {stem}; it needs one of {names}")

    @staticmethod
    def read(path: Path, separator: str = ",", columns: Sequence[str] | None = None) -> Table:
        """Read a file: .parquet, .jsonl, anything else as text with separators."""
        check_file(path, CorpusError)
        if path.suffix.lower() in LINES:
            return _of_objects(path, list(_objects(path)))
        if path.suffix.lower() not in PARQUET:
            names, rows = _cells(path, separator)
            return _of_cells(path, names, list(rows))
        try:
            return Table(path, read_parquet(path, columns))
        except (OSError, ParquetError, pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
            raise CorpusError(f"cannot be read ({in_words(error)})", file=path) from error

    @staticmethod
    def batches(path: Path, columns: Sequence[str], size: int) -> Iterator[Table]:
        """The rows of a file, so many at a time, with at least these columns.

        Raises:
            CorpusError: see `read`.
        """
        check_file(path, CorpusError)
        if path.suffix.lower() in LINES:
            objects = _objects(path)
            needed: Sequence[str] = ()  # the first rows must have the columns, later ones may leave them out
            while batch := list(itertools.islice(objects, size)):
                table = _of_objects(path, batch, needed)
                needed = columns
                for column in columns:
                    _check_column(path, column, table.frame.columns)
                yield table
        elif path.suffix.lower() not in PARQUET:
            names, rows = _cells(path, ",")
            for column in columns:
                _check_column(path, column, names)
            while some := list(itertools.islice(rows, size)):
                yield _of_cells(path, names, some)
        else:
            done = 0
            try:
                names = parquet_columns(path)
                for column in columns:
                    _check_column(path, column, names)
                for frame in parquet_batches(path, columns, size):
                    yield Table(path, frame, range(done, done + frame.height))
                    done += frame.height
            except (OSError, ParquetError, pl.exceptions.PolarsError) as error:
                raise CorpusError(f"cannot be read ({in_words(error)})", file=path) from error

    def error(self, row: int, column: str, what: str) -> CorpusError:
        """The error that a cell is at fault; `row` counts from 0 in the frame."""
        return CorpusError(cut(f"{self.path}, row {self.row(row)}, column '{column}': {what}"))

    def row(self, row: int) -> int:
        """The number of a row in the file, counted from 1 without the header."""
        return (row if self.rows is None else self.rows[row]) + 1

    def filter(self, condition: pl.Expr) -> Table:
        kept = self.frame.with_row_index("row in file").filter(condition)
        rows = [self.row(row) - 1 for row in kept["row in file"].to_list()]
        return Table(self.path, kept.drop("row in file"), rows)

    def has(self, column: str) -> bool:
        return column in self.frame.columns

    def check_spelling(self, known: Iterable[str]) -> None:
        """Refuse a column that is written almost as one of those known that may be left out, and is."""
        if found := misspelt(self.frame.columns, known):
            reason, remedy = misspelt_column(found)
            raise CorpusError(reason, file=self.path, remedy=remedy)

    def column(self, name: str) -> list[Any]:
        _check_column(self.path, name, self.frame.columns)
        return self.frame[name].to_list()

    def texts(self, name: str, *, needed: bool = True) -> list[str]:
        """A column of texts. If it is not needed, a missing text is empty."""
        if not needed and not self.has(name):
            return [""] * self.frame.height
        values = self.column(name)
        for row, value in enumerate(values):
            if needed and (value is None or (isinstance(value, str) and not value.strip())):
                raise self.error(row, name, "is empty")
            if value is not None and (isinstance(value, bool) or not isinstance(value, str | int)):
                raise self.error(row, name, f"must be a text, is {in_a_cell(value)}")
            if isinstance(value, str) and (trouble := text_trouble(value)):
                raise self.error(row, name, trouble)
        return ["" if value is None else str(value) for value in values]

    def codes(self, name: str, codes: Mapping[str, V], wanted: str = "") -> list[V]:
        """A column of names, replaced by their codes; `wanted` says for messages which names there are."""
        values = self.column(name)
        for row, value in enumerate(values):
            if str("" if value is None else value) not in codes:
                hint = did_you_mean(str(value), codes) if re.search(r"[^\d.-]", str(value)) else ""
                what = wanted or f"one of {', '.join(filter(None, codes))}"
                raise self.error(row, name, f"must be {what}, is {in_a_cell(value)}{hint}")
        return [codes[str("" if value is None else value)] for value in values]

    def numbers(
        self, name: str, least: float, most: float, *, empty: float | None = None
    ) -> NDArray[np.float64]:
        """A column of numbers from `least` to `most`, F[R].

        Args:
            empty: stands for a missing number; None: none may be missing.
        """
        numbers = np.empty(self.frame.height)
        for row, value in enumerate(self.column(name)):
            if (value is None or value == "") and empty is not None:
                numbers[row] = empty
                continue
            try:
                found = math.nan if isinstance(value, bool | bytes) else float(value)
            except (TypeError, ValueError, OverflowError):
                found = math.nan
            if not least <= found <= most:
                raise self.error(
                    row, name, f"must be a number from {least:g} to {most:g}, is {in_a_cell(value)}"
                )
            numbers[row] = found
        return numbers

    def ids(self, name: str = "id") -> list[str]:
        """A column of different names, of which there is at least one."""
        if not self.frame.height:
            if self.frame.columns:  # a file of another kind may be a single line
                _check_column(self.path, name, self.frame.columns)
            what = "has no rows" if self.rows is None else "has none of the rows that are asked for"
            raise CorpusError(what, file=self.path)
        ids, seen = self.texts(name), dict[str, int]()
        for row, value in enumerate(ids):
            if value in seen:
                raise self.error(row, name, f"{quoted(value)} is in row {self.row(seen[value])} already")
            seen[value] = row
        return ids


def in_a_cell(value: object) -> str:
    """What a cell of a table holds, in words."""
    if value is None:
        return "empty"
    if isinstance(value, bool | int | float):
        return quoted(str(value).lower())[1:-1]
    if isinstance(value, str):
        return quoted(value)
    if isinstance(value, bytes):
        return "binary data"
    shown = json.dumps(value, default=str)
    return shown if len(shown) <= 60 else f"{shown[:57]}..."


def _check_column(path: Path, name: str, names: Sequence[str]) -> None:
    """Refuse a table that lacks a column, or has it twice."""
    if name not in names:
        own = dict.fromkeys(re.sub(rf"{TWICE}\d+$", "", one) for one in names)
        hint = did_you_mean(name, own) or (f"; it has {listed(map(quoted, own), 15)}" if own else "")
        if (
            len(names) == 1
            and re.search(r"[,;|\t]|^sep=", names[0])
            and path.suffix.lower() not in PARQUET + LINES
        ):
            sign = "tabs" if "," in names[0] else "commas"
            hint = f"; its first line is {quoted(names[0])}: put {sign} between the cells"
        raise CorpusError(f"{path}: has no column '{name}'{hint}")
    if f"{name}{TWICE}0" in names or names.count(name) > 1:
        raise CorpusError(f"{path}: has the column '{name}' twice; remove one")


def _objects(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """The lines of a file of JSON objects that are not blank, each with its number, from 0."""
    for number, line in enumerate(text_lines(path)):
        if not line.strip():
            continue
        try:
            yield number, parsed_json(line.rstrip(), dict, once=True)
        except ValueError as error:
            raise CorpusError(f"{path}, row {number + 1}: not a JSON object ({in_words(error)})") from error


def _of_objects(path: Path, rows: Sequence[tuple[int, dict[str, Any]]], needed: Sequence[str] = ()) -> Table:
    """A table whose columns are those of all rows, and those that are needed."""
    columns = dict.fromkeys([*needed, *(name for _, row in rows for name in row)])
    frame = pl.DataFrame(
        {name: pl.Series(name, [row.get(name) for _, row in rows], dtype=pl.Object) for name in columns}
    )
    return Table(path, frame, [number for number, _ in rows] if rows else None)


def _of_cells(path: Path, names: Sequence[str], rows: Sequence[tuple[int, list[str | None]]]) -> Table:
    columns: Iterable[Sequence[str | None]] = [()] * len(names)
    if rows:
        columns = zip(*(cells for _, cells in rows), strict=True)
    frame = pl.DataFrame(
        [pl.Series(name, column, dtype=pl.String) for name, column in zip(names, columns, strict=True)]
    )
    return Table(path, frame, [number for number, _ in rows] if rows else None)


def _cells(path: Path, separator: str) -> tuple[list[str], Iterator[tuple[int, list[str | None]]]]:
    """The columns of a text with separators, and its rows, each with its number from 0. Empty cells are None.

    Raises:
        CorpusError: it is empty, or not UTF-8; while the rows are read: one has more cells than there are
            columns, or a quote is never closed. Names the line.
    """
    records = _records(path, separator)
    header = next((cells for _, cells in records if any(cells)), None)
    if header is None:
        raise CorpusError("is empty; its first line names the columns", file=path)
    if re.fullmatch(r"sep=.?", header[0]):
        remedy = f"remove that line, and put {'a tab' if separator == chr(9) else 'commas'} between the cells"
        raise CorpusError(f"its first line, {quoted(header[0])}, names no column", file=path, remedy=remedy)
    if re.match(r"\s*(\{|\[\s*(\{|$))", header[0]):
        raise CorpusError("holds JSON", file=path, remedy="write one object a line, and name it .jsonl")
    if "\0" in "".join(header):
        raise CorpusError("not UTF-8; save it with UTF-8 encoding", file=path, line=1)
    names, times = list[str](), Counter[str]()
    for name in header:
        names.append(f"{name}{TWICE}{times[name] - 1}" if times[name] else name)
        times[name] += 1

    def rows() -> Iterator[tuple[int, list[str | None]]]:
        for number, (line, cells) in enumerate(records):
            if not any(cells):
                continue
            if any(cells[len(names) :]):
                sign = "a tab" if separator == "\t" else f"'{separator}'"
                remedy = f"put a cell that holds {sign} in quotes"
                if len(names) == 1:  # another sign stands between the cells, or a title stands above them
                    first = f"the first line must name all columns, with {sign} between them"
                    remedy = f"{first}; it is {quoted(names[0])}"
                raise CorpusError(
                    f"has {len(cells)} cells, but there are {len(names)} columns",
                    file=path, line=line, remedy=remedy,
                )  # fmt: skip
            blank = [None] * (len(names) - len(cells))
            yield number, [*(cell or None for cell in cells[: len(names)]), *blank]

    return names, rows()


def _records(path: Path, separator: str) -> Iterator[tuple[int, list[str]]]:
    """The records of a text with separators, the blank ones too, each with the line in which it begins."""
    csv.field_size_limit(MOST_CELL)
    ended = False

    def lines() -> Iterator[str]:
        nonlocal ended
        for line in text_lines(path):
            if "\r" in line[:-2]:  # as of old spreadsheets
                yield from filter(None, re.split("(?<=\r)(?!\n)", line))
            else:
                yield line
        ended = True
        yield ""

    reader, begins = csv.reader(lines(), delimiter=separator), 1
    try:
        for cells in reader:
            if ended and cells:  # the end of the file lies inside a cell
                raise CorpusError("a quote opens a cell here and is never closed", file=path, line=begins)
            if not ended:
                yield begins, cells
            begins = reader.line_num + 1
    except csv.Error as error:
        raise CorpusError(f"cannot be read ({in_words(error)})", file=path, line=begins) from error


def text_lines(path: Path) -> Iterator[str]:
    """The lines of a text file, with their ends.

    Raises:
        CorpusError: it is no file, or a line is not UTF-8; names it.
    """
    check_file(path, CorpusError)
    with path.open("rb") as file:
        for number, raw in enumerate(file, start=1):
            if number == 1 and (what := no_text(raw)):
                raise CorpusError(what, file=path)
            try:
                yield raw.decode("utf-8-sig" if number == 1 else "utf-8")
            except UnicodeDecodeError as error:
                raise CorpusError(
                    f"{path}, line {number}: not UTF-8 (byte 0x{raw[error.start]:02x}); "
                    "save it with UTF-8 encoding"
                ) from None
