"""Parquet files of any origin, read by Arrow.

Polars' own reader believes the counts in a file: a damaged one may ask it for more memory than there is,
which ends the process without a word. Arrow's reader refuses such a file, and its arrays are checked before
Polars sees them.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from scenarios.errors import StoreError, in_words

if TYPE_CHECKING:
    import pyarrow.parquet as pq


FULL_BYTES = 1_000_000
"""Less than this is free on a full disk: what was half-written is not counted."""


class ParquetError(ValueError):
    """A file is no whole Parquet file; the message is one line."""


def read_parquet(path: Path, columns: Sequence[str] | None = None) -> pl.DataFrame:
    """The rows of a file; `columns`: only these.

    Raises:
        ParquetError: it is damaged, or of another kind.
        OSError: it is not there, or must not be read.
    """
    with _opened(path) as file:
        wanted = None if columns is None else list(columns)
        return _checked(file.read(columns=wanted, use_threads=False, use_pandas_metadata=False))


def read_stored(path: Path, again: str) -> pl.DataFrame:
    """The rows of a file in a result folder; `again` says how to make the folder anew.

    Raises:
        StoreError: it cannot be read.
    """
    try:
        return read_parquet(path)
    except (OSError, ParquetError) as error:
        raise StoreError(f"cannot be read ({in_words(error)})", file=path, remedy=again) from None


def parquet_columns(path: Path) -> list[str]:
    """Names of a file's columns.

    Raises:
        ParquetError, OSError: see `read_parquet`.
    """
    with _opened(path) as file:
        return list(file.schema_arrow.names)


def parquet_notes(path: Path) -> dict[str, str]:
    """Texts that stand beside a file's columns, by their names.

    Raises:
        ParquetError, OSError: see `read_parquet`.
    """
    with _opened(path) as file:
        found = file.metadata.metadata or {}
    return {name.decode(errors="replace"): text.decode(errors="replace") for name, text in found.items()}


def check_replaced(path: Path, columns: Sequence[str], remedy: str) -> None:
    """Refuse to write a table over a file that is no such table; an empty one is nobody's.

    Args:
        columns: which such a table has, among others.

    Raises:
        StoreError: names the file.
    """
    if path.suffix not in ("", ".parquet"):
        better = f"name it {path.with_suffix('.parquet')}"
        raise StoreError("the table is written as Parquet", file=path, field="--out", remedy=better)
    if path.is_file() and path.stat().st_size:
        try:
            names = parquet_columns(path)
        except (OSError, ParquetError):
            names = []
        if not set(columns) <= set(names):
            reason = f"is there, and is no table of {', '.join(columns)}"
            raise StoreError(reason, file=path, remedy=remedy)


def parquet_batches(path: Path, columns: Sequence[str], size: int) -> Iterator[pl.DataFrame]:
    """The rows of a file, so many at a time.

    Raises:
        ParquetError, OSError: see `read_parquet`.
    """
    import pyarrow as pa

    with _opened(path) as file:
        for batch in file.iter_batches(size, columns=list(columns), use_threads=False):
            yield _checked(pa.Table.from_batches([batch]))


def write_parquet(frame: pl.DataFrame, path: Path, notes: Mapping[str, str] | None = None) -> None:
    """Write a table.

    Args:
        notes: texts by their names that stand beside the columns, see `parquet_notes`.

    Raises:
        OSError: it cannot be written; Polars reports a full disk as an error of its own.
    """
    try:
        with path.open("wb") as file:  # Polars itself takes no name that is not UTF-8
            frame.write_parquet(file, metadata=None if notes is None else dict(notes))
    except pl.exceptions.PolarsError as error:
        raise unwritten(path, error) from error


def join_parquet(parts: Mapping[Path, int], path: Path, again: str) -> None:
    """Write one table of several with the same columns, of which one at a time is in memory.

    Args:
        parts: the number of rows of each file.
        again: how to make the parts anew.

    Raises:
        OSError: it cannot be written.
        StoreError: a part is damaged, or has other rows or columns.
    """
    import pyarrow.parquet as pq

    with path.open("wb") as file, contextlib.ExitStack() as held:
        writer: pq.ParquetWriter | None = None
        for part, n_rows in parts.items():
            table = read_stored(part, again).to_arrow()
            writer = writer or held.enter_context(pq.ParquetWriter(file, table.schema, compression="zstd"))
            if table.schema != writer.schema or table.num_rows != n_rows:
                raise StoreError("damaged: has other columns or rows", file=part, remedy=again)
            writer.write_table(table)


def unwritten(path: Path, error: pl.exceptions.PolarsError) -> OSError:
    """What the operating system has said, where Polars says that it could not write a file."""
    full = "os error 28" in str(error) or shutil.disk_usage(path.parent).free < FULL_BYTES
    return (
        OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        if full
        else OSError(errno.EIO, os.strerror(errno.EIO))  # Polars says it in words of its own
    )


def _checked(table: Any) -> pl.DataFrame:
    table.validate(full=True)
    frame = pl.from_arrow(table)
    assert isinstance(frame, pl.DataFrame)
    return frame


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[pq.ParquetFile]:
    import pyarrow as pa  # takes its time to import
    import pyarrow.parquet as pq

    if not path.is_file() and path.exists():
        raise ParquetError("is a folder, a device or a pipe, not a file")
    with path.open("rb") as raw:
        try:
            with pq.ParquetFile(raw) as file:
                yield file
        # What Arrow says of a damaged file is an OSError, too, but has no number of the operating system's.
        # The last ones are of its schema's metadata.
        except (
            *(pa.ArrowException, pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError),
            *(ValueError, LookupError, TypeError, OverflowError),
        ) as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise
            raise ParquetError(in_words(error)[:160]) from error
