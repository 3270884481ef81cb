"""Result folders, written whole or not at all.

    results/<name>-<hash>/
        scenario.yaml    the scenario with every default; `relbid run` on it gives the same bytes again
        metrics.json     the metrics of the scenario's own run
        points.parquet   one row per point of the comparison and the sweep
        log.parquet      one row per shown impression of the scenario's own run
A folder is filled under a temporary name beside its place and renamed when complete, so a reader never sees
half of it, whenever the writer is killed. While a command is at work on a folder it holds a lock, which the
operating system takes from it when it ends, however it ends: nothing is left to be removed by hand.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import math
import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from scenarios.errors import StoreError
from scenarios.load import dump_scenario, load_scenario
from scenarios.schema import Scenario

if TYPE_CHECKING:
    import polars as pl

TEMPORARY = ".writing-"
LOCKS = ".locks"
INCOMPLETE = ".incomplete"
"""What the names of folders end with that hold what a run had finished when it failed."""
YOUNG_S = 60.0
"""A temporary folder that is younger is left alone even where nobody holds its lock: its writer may be about
to take it."""


@dataclass(frozen=True, slots=True)
class StoredResult:
    """What a result folder holds; `log` is read on demand because it is long."""

    folder: Path
    scenario: Scenario
    metrics: dict[str, float]
    points: pl.DataFrame

    def log(self) -> pl.DataFrame:
        """One row per shown impression."""
        return _read_parquet(self.folder / "log.parquet")


def result_folder(root: Path, scenario: Scenario) -> Path:
    """Where the result of a scenario belongs: its name and a hash of all its settings."""
    digest = hashlib.blake2b(dump_scenario(scenario).encode(), digest_size=4).hexdigest()
    return root / f"{scenario.name}-{digest}"


def check_writable(root: Path) -> None:
    """Fail before the work is done rather than after it; leaves nothing behind.

    Raises:
        StoreError: results cannot be written under `root`.
    """
    missing = [folder for folder in (root, *root.parents) if not folder.exists()]
    with _naming(root):
        root.mkdir(parents=True, exist_ok=True)
        with _temporary_folder(root) as part:
            (part / "try").write_bytes(b"x" * 4096)
        for folder in missing:
            with contextlib.suppress(OSError):  # somebody else has begun to fill it
                folder.rmdir()


def check_free(folder: Path) -> None:
    """Refuse a place where something is already.

    Raises:
        StoreError: `folder` is a file, or holds anything.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise StoreError(f"{folder}: is there already; remove it, or choose another place with --out")


def write_result(
    root: Path,
    scenario: Scenario,
    metrics: Mapping[str, float],
    points: pl.DataFrame,
    log: pl.DataFrame | Path,
) -> Path:
    """Write a result folder and return it. An earlier result of the same scenario is replaced.

    Args:
        log: the log, or the file under `root` that holds it and is moved into the folder.

    Raises:
        StoreError: the folder cannot be written; nothing half-written stays behind.
    """
    from scenarios.parquet import write_parquet

    folder = result_folder(root, scenario)
    with whole_folder(folder) as part:
        (part / "scenario.yaml").write_text(dump_scenario(scenario), encoding="utf-8")
        numbers = {name: None if math.isnan(value) else value for name, value in metrics.items()}
        (part / "metrics.json").write_text(json.dumps(numbers, indent=2) + "\n", encoding="utf-8")
        write_parquet(points, part / "points.parquet")
        if isinstance(log, Path):
            log.rename(part / "log.parquet")
        else:
            from scenarios.log_file import LogFile  # imports polars

            with LogFile(part / "log.parquet") as file:
                file.write(log)
    return folder


@contextlib.contextmanager
def staging(root: Path) -> Iterator[Path]:
    """A temporary folder under `root`, for files that `write_result` will move; removed when the block ends.

    Raises:
        StoreError: it cannot be made.
    """
    with contextlib.ExitStack() as held:
        with _naming(root):
            root.mkdir(parents=True, exist_ok=True)
            folder = held.enter_context(_temporary_folder(root))
        yield folder


@contextlib.contextmanager
def whole_folder(folder: Path) -> Iterator[Path]:
    """A temporary folder to fill, which takes the place of `folder` when the block ends without an error.

    Raises:
        StoreError: it cannot be written; what was there before stays.
    """
    root = folder.parent
    with _naming(root):
        root.mkdir(parents=True, exist_ok=True)
        remove_stale(root)
        with _temporary_folder(root) as part:
            part.chmod(0o755)  # mkdtemp's 0700 would keep other users from reading results
            yield part
            for path in part.iterdir():
                flush_to_disk(path)
            _put_in_place(part, folder)


def write_whole_file(path: Path, text: str, *, flush: bool = True) -> None:
    """Write a text file, whole or not at all.

    Args:
        flush: False leaves it to the operating system when the bytes reach the disk. A killed writer still
            leaves all or nothing; a crash of the machine may leave a damaged file.

    Raises:
        StoreError: it cannot be written.
    """
    with whole_path(path, flush=flush) as part:
        part.write_text(text, encoding="utf-8")


@contextlib.contextmanager
def whole_path(path: Path, *, flush: bool = True, remedy: str = "name another file") -> Iterator[Path]:
    """A temporary path that takes the place of `path` when the block ends without an error.

    Args:
        flush: see `write_whole_file`.
        remedy: what messages advise.

    Raises:
        StoreError: it cannot be written; what was there before stays.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _temporary_folder(path.parent) as folder:
            part = folder / path.name
            yield part
            if flush:
                flush_to_disk(part)
            part.replace(path)
    except OSError as error:
        raise StoreError(f"{path}: cannot be written ({reason_of(error)}); {remedy}") from error


def reason_of(error: OSError) -> str:
    """What the operating system says, in one line; NumPy and Polars do not always pass it on as it is."""
    text = " ".join((error.strerror or str(error)).split())
    full = "requested and" in text or "os error 28" in text  # NumPy's half-written array; Polars
    return "No space left on device" if full else text


@contextlib.contextmanager
def alone(place: Path) -> Iterator[None]:
    """Keep a second command off a folder or file that this one is at work on.

    Raises:
        StoreError: another command is at work on it; or the lock cannot be written.
    """
    path = place.parent / LOCKS / place.name
    with _naming(place.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = path.open("a+")
    with lock:
        if not _locked(lock.fileno()):
            lock.seek(0)
            who = lock.read().strip()
            raise StoreError(
                f"{place}: another relbid command{f' (process {who})' * who.isdigit()} is at work on it; "
                "wait for it, stop it, or choose another --out"
            )
        with contextlib.suppress(OSError):  # on a full disk nobody is told the number
            os.truncate(lock.fileno(), 0)
            os.write(lock.fileno(), str(os.getpid()).encode())
        yield


def read_result(folder: Path | str) -> StoredResult:
    """Read a result folder.

    Raises:
        StoreError: it is missing or incomplete.
    """
    folder = Path(folder)
    if (folder / "incomplete.json").exists():
        raise StoreError(f"{folder}: is of a run that failed, and incomplete; run the scenario again")
    try:
        numbers = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
        metrics = {name: math.nan if value is None else float(value) for name, value in numbers.items()}
        points = _read_parquet(folder / "points.parquet")
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise StoreError(f"{folder}: not a result folder ({error}); run the scenario again") from None
    return StoredResult(folder, load_scenario(folder / "scenario.yaml"), metrics, points)


def list_results(root: Path | str) -> list[Path]:
    """Result folders under a root, newest first; what is incomplete is none."""
    found = [
        path.parent
        for path in Path(root).glob("*/points.parquet")
        if not path.parent.name.startswith(".") and path.parent.suffix != INCOMPLETE
    ]
    return sorted(found, key=lambda folder: folder.stat().st_mtime, reverse=True)


def _put_in_place(temporary: Path, folder: Path) -> None:
    """Rename into place; one writer at a time, so that two runs of one scenario do not collide."""
    with (folder.parent / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if folder.exists():
            old = Path(tempfile.mkdtemp(dir=folder.parent, prefix=TEMPORARY))
            folder.rename(old / "old")
            temporary.rename(folder)
            shutil.rmtree(old, ignore_errors=True)
        else:
            temporary.rename(folder)
        flush_to_disk(folder.parent)


def remove_stale(root: Path) -> None:
    """Remove what writers that were killed have left in a folder.

    Whether one was killed is said by its lock, not by the time: clocks jump, and some writers take hours.
    """
    for path in root.glob(f"{TEMPORARY}*"):
        with contextlib.suppress(OSError):
            if time.time() - path.stat().st_mtime < YOUNG_S:
                continue
            handle = os.open(path, os.O_RDONLY)
            try:
                if _locked(handle):
                    shutil.rmtree(path) if path.is_dir() else path.unlink()
            finally:
                os.close(handle)


@contextlib.contextmanager
def _temporary_folder(root: Path) -> Iterator[Path]:
    """A folder for a writer, with its lock; it goes with the block."""
    part = Path(tempfile.mkdtemp(dir=root, prefix=TEMPORARY))
    try:
        handle = os.open(part, os.O_RDONLY)
        try:
            _locked(handle)
            yield part
        finally:
            os.close(handle)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _locked(handle: int) -> bool:
    """Take the lock of an open file; False if somebody else has it."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks: all one can do is go on
        return True
    return True


def flush_to_disk(path: Path) -> None:
    """After a rename a crash of the machine must not show a name without its bytes."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _read_parquet(path: Path) -> pl.DataFrame:
    from scenarios.parquet import ParquetError, read_parquet

    try:
        return read_parquet(path)
    except (OSError, ParquetError) as error:
        raise StoreError(f"{path}: cannot be read ({error}); run the scenario again") from None


@contextlib.contextmanager
def _naming(root: Path) -> Iterator[None]:
    """Turn what the operating system says into a message with a remedy."""
    try:
        yield
    except OSError as error:
        raise StoreError(
            f"{root}: cannot be written ({reason_of(error)}); choose another folder with --out"
        ) from error
