"""Files and folders that are written whole or not at all, and locks that keep a second command away.

A file or folder is filled under a temporary name beside its place and renamed when complete, so a reader
never sees half of it, whenever the writer is killed. While a command is at work on a place it holds a lock,
which the operating system takes from it when it ends, however it ends: nothing is left to be removed by hand.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from scenarios.errors import StoreError

TEMPORARY = ".writing-"
LOCKS = ".locks"
YOUNG_S = 60.0
"""A temporary folder that is younger is left alone even where nobody holds its lock: its writer may be about
to take it."""


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


@contextlib.contextmanager
def _naming(root: Path) -> Iterator[None]:
    """Turn what the operating system says into a message with a remedy."""
    try:
        yield
    except OSError as error:
        raise StoreError(
            f"{root}: cannot be written ({reason_of(error)}); choose another folder with --out"
        ) from error
