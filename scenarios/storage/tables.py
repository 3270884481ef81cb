"""Tables that users give: .parquet, .jsonl or .csv, with errors that name file, row and column."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import polars as pl
from numpy.typing import NDArray

from relevance.corpus import CorpusError
from relevance.files import check_file, parsed_json, text_trouble
from scenarios.errors import cut, did_you_mean, in_words, quoted
from scenarios.storage.parquet import ParquetError, read_parquet

SUFFIXES = (".parquet", ".jsonl", ".csv")
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
            empty: columns of the empty table that replaces a missing one; none: a missing one is an error.

        Raises:
            CorpusError: there is none, or it cannot be read.
        """
        for suffix in SUFFIXES:
            if (folder / f"{stem}{suffix}").is_file():
                return Table.read(folder / f"{stem}{suffix}")
        if empty:
            return Table(folder / stem, pl.DataFrame(schema=dict.fromkeys(empty, pl.String)))
        names = ", ".join(f"{stem}{suffix}" for suffix in SUFFIXES)
        raise CorpusError(f"{folder}: has no table of {stem}; it needs one of {names}")

    @staticmethod
    def read(path: Path, separator: str = ",", columns: Sequence[str] | None = None) -> Table:
        """Read a file: .parquet, .jsonl, anything else as text with separators."""
        check_file(path, CorpusError)
        try:
            if path.suffix == ".parquet":
                return Table(path, read_parquet(path, columns))
            if path.suffix == ".jsonl":
                return Table(path, _read_jsonl(path))
            return Table(path, pl.read_csv(path, separator=separator, infer_schema=False))
        except (OSError, ParquetError, pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
            if path.suffix != ".parquet":
                for _ in text_lines(path):  # says where it is not UTF-8
                    pass
            raise CorpusError(f"cannot be read ({in_words(error)})", file=path) from error

    def error(self, row: int, column: str, what: str) -> CorpusError:
        """The error that a cell is at fault; `row` counts from 0 in the frame."""
        return CorpusError(cut(f"{self.path}, row {self.row(row)}, column '{column}': {what}"))

    def row(self, row: int) -> int:
        """The number of a row in the file, counted from 1 without the header."""
        return (row if self.rows is None else self.rows[row]) + 1

    def filter(self, condition: pl.Expr) -> Table:
        kept = self.frame.with_row_index("row in file").filter(condition)
        return Table(self.path, kept.drop("row in file"), kept["row in file"].to_list())

    def has(self, column: str) -> bool:
        return column in self.frame.columns

    def column(self, name: str) -> list[Any]:
        if not self.has(name):
            hint = did_you_mean(name, self.frame.columns)
            raise CorpusError(f"{self.path}: has no column '{name}'{hint}")
        if f"{name}_duplicated_0" in self.frame.columns:  # as Polars calls the second one of a CSV file
            raise CorpusError(f"{self.path}: has the column '{name}' twice; remove one")
        return self.frame[name].to_list()

    def texts(self, name: str, *, needed: bool = True) -> list[str]:
        """A column of texts. If it is not needed, a missing text is empty."""
        if not needed and not self.has(name):
            return [""] * self.frame.height
        values = self.column(name)
        for row, value in enumerate(values):
            if needed and (value is None or value == ""):
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
                hint = did_you_mean(str(value), codes)
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
                found = math.nan if isinstance(value, bool) else float(value)
            except (TypeError, ValueError):
                found = math.nan
            if not least <= found <= most:
                raise self.error(
                    row, name, f"must be a number from {least:g} to {most:g}, is {in_a_cell(value)}"
                )
            numbers[row] = found
        return numbers

    def ids(self, name: str = "id") -> list[str]:
        """A column of different names."""
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
    shown = json.dumps(value, default=str)
    return shown if len(shown) <= 60 else f"{shown[:57]}..."


def _read_jsonl(path: Path) -> pl.DataFrame:
    """Line by line, so that an error names its line; the columns are those of all lines."""
    rows: list[dict[str, Any]] = []
    for number, line in enumerate(text_lines(path), start=1):
        try:
            rows.append(parsed_json(line, dict))
        except ValueError as error:
            raise CorpusError(f"{path}, row {number}: not a JSON object ({in_words(error)})") from error
    columns = dict.fromkeys(name for row in rows for name in row)
    return pl.DataFrame(
        {name: pl.Series(name, [row.get(name) for row in rows], dtype=pl.Object) for name in columns}
    )


def text_lines(path: Path) -> Iterator[str]:
    """The lines of a text file, with their ends.

    Raises:
        CorpusError: it is no file, or a line is not UTF-8; names it.
    """
    check_file(path, CorpusError)
    with path.open("rb") as file:
        for number, raw in enumerate(file, start=1):
            try:
                yield raw.decode("utf-8-sig" if number == 1 else "utf-8")
            except UnicodeDecodeError as error:
                raise CorpusError(
                    f"{path}, line {number}: not UTF-8 (byte 0x{raw[error.start]:02x}); "
                    "save it with UTF-8 encoding"
                ) from None
