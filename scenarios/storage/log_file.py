"""A log on disk: Parquet in row groups, written during a run, so that memory holds one at a time."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

import polars as pl
from polars import selectors as cs

from scenarios.errors import StoreError
from simulator.log import ROWS_OF_A_PART

if TYPE_CHECKING:
    from pyarrow.parquet import ParquetWriter


class LogFile:
    """Frames of equal columns as row groups of one file, which is whole when the block ends.

    Raises:
        StoreError: the file cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._writer: ParquetWriter | None = None

    @property
    def begun(self) -> bool:
        """Whether there is a file: the first frame says what its columns are."""
        return self._writer is not None

    def write(self, frame: pl.DataFrame) -> None:
        """Add rows; more than a row group are cut into several."""
        table = frame.to_arrow(compat_level=pl.CompatLevel.oldest())
        try:
            if self._writer is None:
                self._writer = _open(self._path, frame, table.schema)
            self._writer.write_table(table, row_group_size=ROWS_OF_A_PART)
        except OSError as error:
            raise self._failed(error) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        if self._writer is None:
            return
        try:
            self._writer.close()
        except OSError as failure:
            if error is None:
                raise self._failed(failure) from failure

    def _failed(self, error: OSError) -> StoreError:
        return StoreError(
            f"{self._path.parent.parent}: cannot be written ({error.strerror or error}); "
            "choose another folder with --out"
        )


def _open(path: Path, frame: pl.DataFrame, schema: object) -> ParquetWriter:
    """Numbers that repeat as a dictionary, those that ascend by their steps, the rest as it is."""
    from pyarrow.parquet import ParquetWriter

    ascending = [name for name in ("query_index",) if name in frame.columns]
    repeated = frame.select(~(cs.float() | cs.boolean())).columns
    return ParquetWriter(
        path,
        schema,
        compression="zstd",
        compression_level=3,
        use_dictionary=[name for name in repeated if name not in ascending],
        column_encoding=dict.fromkeys(ascending, "DELTA_BINARY_PACKED"),
    )
