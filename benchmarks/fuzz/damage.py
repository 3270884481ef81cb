"""Damage to files: whole ones that are cut, swapped, recoded or replaced, and tables with wrong cells."""

from __future__ import annotations

import io
import itertools
import json
import os
import random
import zipfile
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from benchmarks.fuzz.cases import Case
from benchmarks.fuzz.values import DEEP, DIGITS

if TYPE_CHECKING:
    from benchmarks.fuzz.workplace import Workplace

Change = Callable[[Path], None]
Row = dict[str, Any]
Rows = Callable[[list[Row]], list[Row]]

# None leads out of the folder of the cases: a command that does wrong must harm nothing but that.
PATHS: Mapping[str, str] = {
    "missing": "no/such/place/here.yaml",
    "directory": "odd/folder.parquet",
    "a file as folder": "tiny.yaml/inside",
    "link to nothing": "odd/dangling.yaml",
    "link to itself": "odd/loop.yaml",
    "pipe": "odd/pipe.jsonl",
    "long": "y" * 5000,
    "long name": "z" * 300 + ".parquet",
    "not UTF-8": "caf\udce9.yaml",
    "present folder": ".",
    "of another kind": "picture.png",
}


def odd_paths(folder: Path) -> None:
    """Make what the names in PATHS stand for."""
    odd = folder / "odd"
    odd.mkdir()
    (odd / "folder.parquet").mkdir()
    (odd / "dangling.yaml").symlink_to("nowhere")
    (odd / "loop.yaml").symlink_to("loop.yaml")
    os.mkfifo(odd / "pipe.jsonl")


def of_file(place: Workplace, name: str, names: list[str]) -> Iterator[tuple[str, Change]]:
    """What can be wrong with a whole file."""
    raw = (place.template / name).read_bytes()
    rng = random.Random(name)

    def contents(content: bytes) -> Change:
        return lambda folder: _bytes(folder / name, content)

    for part in (0.0, 0.1, 0.5, 0.9, 0.99):
        yield "truncated", contents(raw[: int(part * len(raw))])
    for _ in range(8):
        at = rng.randrange(max(len(raw), 1))
        yield "a byte changed", contents(raw[:at] + bytes([rng.randrange(256)]) + raw[at + 1 :])
    header = raw[:8] + bytes(rng.randrange(256) for _ in range(56)) + raw[64:]
    yield "header changed", contents(header)
    yield "more behind", contents(raw + b"\0" * 100)
    yield "twice", contents(raw + raw)
    for other in rng.sample([one for one in names if one != name], 5):
        yield "swapped", contents((place.template / other).read_bytes())
    yield "zeros", contents(b"\0" * 1000)
    yield "deep", contents(b"[" * DEEP)
    yield "deep", contents(b'{"a": ' * DEEP + b"1" + b"}" * DEEP)
    yield "list", contents(b"[]")
    yield "number", contents(b"7")
    yield "null", contents(b"null")
    yield "text", contents(b'"text"')
    yield "empty object", contents(b"{}")
    yield "digits", contents(DIGITS.encode())
    yield "bomb", contents(_bomb(name))
    for coding in ("utf-16", "utf-32", "latin-1"):
        text = raw.decode("utf-8", "replace").replace("a", "\u00e9", 1)
        yield "other encoding", contents(text.encode(coding, "replace"))
    yield "missing", lambda folder: (folder / name).unlink()
    yield "directory", lambda folder: _swapped(folder / name, lambda path: path.mkdir())
    yield "link to itself", lambda folder: _swapped(folder / name, lambda path: path.symlink_to(path.name))
    yield "link to nothing", lambda folder: _swapped(folder / name, lambda path: path.symlink_to("nowhere"))
    yield "device", lambda folder: _swapped(folder / name, lambda path: path.symlink_to("/dev/zero"))
    yield "pipe", lambda folder: _swapped(folder / name, os.mkfifo)
    yield "no permission", lambda folder: (folder / name).chmod(0)
    if name.endswith(".npy"):
        yield from _arrays(name)
    if name.endswith(".npz"):
        yield from _archives(place, name)
    if name.endswith(".safetensors"):
        yield from _tensors(name)


def _bytes(path: Path, content: bytes) -> None:
    path.write_bytes(content)


def _swapped(path: Path, make: Callable[[Path], Any]) -> None:
    path.unlink()
    make(path)


def _bomb(name: str) -> bytes:
    """A small file that asks for far more memory than it has bytes."""
    if name.endswith((".zip", ".npz", ".pth")):
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
            inner = {".zip": "1.json", ".npz": "query.npy", ".pth": "archive/data.pkl"}[Path(name).suffix]
            archive.writestr(inner, b"[" + b"0," * 20_000_000 + b"0]")
        return file.getvalue()
    if name.endswith(".npy"):
        return _npy_header({"descr": "|u1", "fortran_order": False, "shape": (10**9, 3, 48, 48, 3)})
    if name.endswith(".safetensors"):
        return (2**40).to_bytes(8, "little") + b"{}"
    if name.endswith(".png"):
        return _png(60_000, 60_000)
    laughs = "l0: &l0 [x, x, x, x, x, x, x, x, x]\n"
    return (
        laughs + "".join(f"l{i}: &l{i} [{', '.join([f'*l{i - 1}'] * 9)}]\n" for i in range(1, 9))
    ).encode()


def _png(width: int, height: int) -> bytes:
    import struct
    import zlib

    def chunk(kind: bytes, content: bytes) -> bytes:
        return (
            struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b"\0" * 100))
        + chunk(b"IEND", b"")
    )


def _npy_header(header: dict[str, Any]) -> bytes:
    text = repr(header).encode().ljust(117) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text


def _arrays(name: str) -> Iterator[tuple[str, Change]]:
    def saved(array: Any) -> Change:
        return lambda folder: np.save(folder / name, array)

    yield "wrong dtype", saved(np.zeros((24, 3, 48, 48, 3), dtype=np.float64))
    yield "wrong dtype", saved(np.array(["x"] * 24))
    yield "wrong dtype", lambda folder: np.save(folder / name, np.array([{}]), allow_pickle=True)
    yield "wrong shape", saved(np.zeros((24, 3, 48, 48), dtype=np.uint8))
    yield "wrong shape", saved(np.zeros((24, 3, 0, 48, 3), dtype=np.uint8))
    yield "wrong shape", saved(np.zeros((5, 3, 48, 48, 3), dtype=np.uint8))
    yield "wrong shape", saved(np.zeros((24, 3, 17, 31, 3), dtype=np.uint8))
    yield "wrong shape", saved(np.zeros((0, 3, 48, 48, 3), dtype=np.uint8))
    yield "wrong shape", saved(np.zeros((), dtype=np.uint8))


def _archives(place: Workplace, name: str) -> Iterator[tuple[str, Change]]:
    with np.load(place.template / name) as arrays:
        whole = {key: arrays[key] for key in arrays.files}

    def saved(**changed: Any) -> Change:
        def change(folder: Path) -> None:
            parts = {key: value for key, value in {**whole, **changed}.items() if value is not None}
            np.savez(folder / name, **parts)

        return change

    for key, values in whole.items():
        floats = values.astype(np.float64)
        yield "missing", saved(**{key: None})
        yield "wrong dtype", saved(**{key: floats + 0.5})
        yield "wrong dtype", saved(**{key: values.astype(str)})
        yield "wrong dtype", saved(**{key: values.astype(complex)})
        yield "nan", saved(**{key: np.where(np.arange(values.size) == 0, np.nan, floats)})
        yield "infinity", saved(**{key: np.where(np.arange(values.size) == 0, np.inf, floats)})
        yield "negative", saved(**{key: np.where(np.arange(values.size) == 0, -1, values)})
        yield "huge", saved(**{key: np.where(np.arange(values.size) == 0, 9 + 2**40, values)})
        yield "zero", saved(**{key: np.zeros_like(values)})
        yield "empty", saved(**{key: values[:0]})
        yield "wrong shape", saved(**{key: values.reshape(-1, 1)})
        yield "wrong shape", saved(**{key: values[:1]})
    yield "empty", saved(**{key: values[:0] for key, values in whole.items()})
    yield "one row", saved(**{key: values[:1] for key, values in whole.items()})
    yield "duplicated ids", saved(**{key: np.concatenate([values, values]) for key, values in whole.items()})


def _tensors(name: str) -> Iterator[tuple[str, Change]]:
    def changed(what: str) -> Change:
        def change(folder: Path) -> None:
            import torch
            from safetensors import safe_open
            from safetensors.torch import load_file, save_file

            with safe_open(folder / name, "pt") as file:
                header = file.metadata() or {}
            tensors = load_file(folder / name)
            first = next(key for key, value in tensors.items() if value.is_floating_point() and value.numel())
            value = tensors[first]
            if what == "missing":
                del tensors[first]
            elif what == "more":
                tensors["more"] = value.clone()
            elif what == "shape":
                tensors[first] = value.flatten()[: max(value.numel() // 2, 1)].clone()
            elif what == "kind":
                tensors[first] = torch.zeros(value.shape, dtype=torch.int64)
            elif what == "header":
                header = {"state": "[7]", "schema": "99"}
            elif what == "no header":
                header = {}
            else:
                largest = torch.finfo(value.dtype).max
                number = largest if what == "largest" else float(what)
                tensors[first] = torch.full_like(value, number)
            save_file(tensors, folder / name, metadata=header)

        return change

    for what, kind in (
        ("missing", "missing"), ("more", "more behind"), ("shape", "wrong shape"), ("kind", "wrong dtype"),
        ("nan", "nan"), ("inf", "infinity"), ("largest", "huge"), ("header", "header changed"),
        ("no header", "header changed"),
    ):  # fmt: skip
        yield kind, changed(what)


# Tables

MOST = 12
"""Columns of one table that are tried, its first ones: a table of metrics has a hundred of a kind."""
CELLS: Mapping[str, tuple[Any, ...]] = {
    "wrong type": ("many", True, 3.5),
    "nan": (float("nan"),),
    "infinity": (float("inf"), float("-inf")),
    "negative": (-1, -0.5),
    "zero": (0, 0.0),
    "huge": (1e300, 2**62, 9),
    "empty": ("", " "),
    "nested": ([[[1]]], {"a": {"b": 1}}),
    "other encoding": ("\0", "caf\u00e9\u202e", "a\nb", "\ud800"),
    "null": (None,),
    "5,000 digits": (DIGITS,),
    "hexadecimal": ("0x1F",),
}


def of_tables(place: Workplace) -> Iterator[Case]:
    """Every column of every table: missing, of another type, and a first cell that is wrong."""
    from benchmarks.fuzz.universe import _file_names, reader_of

    for name in place.files():
        rows = _rows(place.template / name)
        if rows is None:
            continue
        argv = reader_of(place, name)
        assert argv is not None, name

        def case(
            column: str, kind: str, changed: Rows, name: str = name, argv: Any = argv, rows: Any = rows
        ) -> Case:
            change = _table(name, lambda: changed(rows))
            return Case("columns of tables", f"{name}: {column}", kind, argv, change, _file_names(name))

        for column in itertools.islice(rows[0], MOST):
            yield case(column, "missing", partial(_renamed, column, None))
            yield case(column, "renamed", partial(_renamed, column, f"{column}x"))
            for kind, values in CELLS.items():
                for value in values:
                    yield case(column, kind, partial(_filled, column, value, 1))
                    yield case(column, f"{kind} everywhere", partial(_filled, column, value, None))
            yield case(column, "duplicated ids", partial(_filled, column, rows[0][column], None))
        yield case("all", "empty", lambda rows: [])
        yield case("all", "duplicated ids", lambda rows: rows + rows)
        yield case("all", "one row", lambda rows: rows[:1])


def _renamed(column: str, to: str | None, rows: list[Row]) -> list[Row]:
    return [
        {(to if key == column else key): value for key, value in row.items() if to or key != column}
        for row in rows
    ]


def _filled(column: str, value: Any, n: int | None, rows: list[Row]) -> list[Row]:
    return [{**row, column: value} if n is None or i < n else row for i, row in enumerate(rows)]


def _rows(path: Path) -> list[dict[str, Any]] | None:
    if path.suffix == ".parquet":
        return pl.read_parquet(path).to_dicts()
    if path.suffix == ".jsonl":
        return [json.loads(line) for line in path.read_text().splitlines()]
    if path.suffix == ".csv":
        separator = "\t" if "wands" in path.parts else ","
        return pl.read_csv(path, separator=separator, infer_schema=False).to_dicts()
    return None


def _table(name: str, make: Callable[[], list[Row]]) -> Change:
    def change(folder: Path) -> None:
        path, rows = folder / name, make()
        if path.suffix == ".jsonl":
            text = "".join(json.dumps(row) + "\n" for row in rows)
            path.write_text(text, encoding="utf-8", errors="surrogatepass")
            return
        columns: dict[str, Any] = {}
        for column in rows[0] if rows else ():
            values = [row.get(column) for row in rows]
            values = [v.encode("utf-8", "replace").decode() if isinstance(v, str) else v for v in values]
            columns[column] = _series(column, values)
        frame = pl.DataFrame(columns)
        if path.suffix == ".parquet":
            frame.write_parquet(path)
            return
        text = [name if name is not None else "" for name in frame.columns]
        separator = "\t" if "wands" in path.parts else ","
        cells = [text, *([("" if cell is None else str(cell)) for cell in row] for row in frame.iter_rows())]
        import csv

        with path.open("w", encoding="utf-8", newline="") as file:
            csv.writer(file, delimiter=separator).writerows(cells)

    return change


def _series(name: str, values: list[Any]) -> Any:
    """A column of whatever type holds its values; texts where they are of several."""
    try:
        return pl.Series(name, values, strict=True)
    except (TypeError, OverflowError, pl.exceptions.PolarsError):
        return pl.Series(name, [None if one is None else str(one) for one in values])


__all__ = ["PATHS", "odd_paths", "of_file", "of_tables"]
