"""Files and folders that are written whole or not at all, and locks that keep a second command away.

A file or folder is filled under a temporary name beside its place and renamed when it is complete. So a
reader never sees half of it, even if the writer is killed. While a command works on a place it holds a lock.
The operating system releases the lock when the process ends, however it ends, so nothing has to be removed by
hand.
"""

from __future__ import annotations

import contextlib
import functools
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from filelock import lock_descriptor

from scenarios.errors import StoreError, shown

TEMPORARY = ".writing-"
LOCK = ".lock"
LOCKS = ".locks"
POLL_S = 0.005
"""Seconds between two attempts to take a lock that another process holds."""


OTHER_FOLDER = "choose another folder with --out"


def check_writable(root: Path, remedy: str = OTHER_FOLDER) -> None:
    """Fail before the work is done rather than after it; leaves nothing behind.

    Raises:
        StoreError: results cannot be written under `root`.
    """
    missing = [folder for folder in (root, *root.parents) if not folder.exists()]
    with writing(root, remedy):
        try:
            for attempt in range(3):
                try:
                    root.mkdir(parents=True, exist_ok=True)
                    with _temporary_folder(root) as part:
                        (part / "try").write_bytes(b"x" * 4096)
                    break
                except FileNotFoundError:  # another command, which had made the folder, has removed it again
                    if attempt == 2:
                        raise
            if os.path.lexists(root / LOCK):
                _opened_lock(root / LOCK).close()
        finally:
            for folder in missing:
                with contextlib.suppress(OSError):  # another process has begun to fill it
                    folder.rmdir()


def check_replaceable(path: Path, remedy: str = "name another file", *, folder: bool = False) -> None:
    """Refuse to take the place of a device, a pipe or a socket: renaming a file over it would remove it.

    Args:
        folder: whether a folder may be there. A file cannot take its place.

    Raises:
        StoreError: `path` is one of them.
    """
    with writing(path, remedy):
        there = path.exists()
    if there and not path.is_file() and not (folder and path.is_dir()):
        what = "a folder, not a file" if path.is_dir() else "a device or a pipe"
        raise StoreError(f"is {what}", file=path, remedy=remedy)


def check_file_place(path: Path, remedy: str = "name another file") -> None:
    """Refuse before the work a place where no file can be written, see `check_replaceable`.

    Raises:
        StoreError: `path` is a folder or a device, or cannot be written.
    """
    check_replaceable(path, remedy)
    check_writable(path.parent, remedy)


def check_free(folder: Path, option: str = "--out") -> None:
    """Refuse a place where there is something already, or where no folder can be made.

    Args:
        option: which names the folder.

    Raises:
        StoreError: `folder` is a file, holds anything, or cannot be written.
    """
    check_writable(folder.parent)
    with writing(folder, OTHER_FOLDER), contextlib.suppress(FileNotFoundError):
        folder.lstat()  # a name can be too long
    # A link that leads nowhere, or round in a circle, is something, too.
    if os.path.lexists(folder) and (not folder.is_dir() or any(folder.iterdir())):
        raise StoreError(f"{folder}: is there already; remove it, or choose another place with {option}")


@contextlib.contextmanager
def staging(root: Path) -> Iterator[Path]:
    """A temporary folder under `root`, for files that `write_result` will move; removed when the block ends.

    Raises:
        StoreError: it cannot be made.
    """
    with contextlib.ExitStack() as held:
        with writing(root):
            root.mkdir(parents=True, exist_ok=True)
            folder = held.enter_context(_temporary_folder(root))
        yield folder


@contextlib.contextmanager
def gone_if_it_failed(folder: Path, worth: str) -> Iterator[None]:
    """Remove a new folder after a failure, unless it holds what the same command continues from.

    Args:
        worth: a pattern of the files that are worth keeping, such as `*.safetensors`.
    """
    new = not folder.exists()
    try:
        yield
    except BaseException:
        if new and not any(folder.glob(worth)):
            shutil.rmtree(folder, ignore_errors=True)
        raise


@contextlib.contextmanager
def whole_folder(folder: Path) -> Iterator[Path]:
    """A temporary folder to fill; it takes the place of `folder` when the block ends without an error.

    Raises:
        StoreError: it cannot be written; what was there before stays.
    """
    root = folder.parent
    check_replaceable(folder, "name another folder", folder=True)
    with writing(folder), _made(root):
        remove_stale(root)
        with _temporary_folder(root) as part:
            yield part
            for path in part.iterdir():
                flush_to_disk(path)
            _put_in_place(part, folder)


@contextlib.contextmanager
def _made(folder: Path) -> Iterator[None]:
    """Make a folder and those above it; what is new is removed after a failure, unless it holds something."""
    new = [one for one in (folder, *folder.parents) if not one.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield
    except BaseException:
        for one in new:
            with contextlib.suppress(OSError):
                one.rmdir()
        raise


def write_whole_file(path: Path, text: str, *, flush: bool = True) -> None:
    """Write a text file, whole or not at all.

    Args:
        flush: False leaves it to the operating system when the bytes reach the disk. A killed writer still
            leaves the whole file or none. A crash of the machine may leave a damaged one.

    Raises:
        StoreError: it cannot be written.
    """
    with whole_path(path, flush=flush) as part:
        part.write_text(text, encoding="utf-8")


@contextlib.contextmanager
def whole_path(path: Path, *, flush: bool = True, remedy: str = "name another file") -> Iterator[Path]:
    """A temporary path to write to; it takes the place of `path` when the block ends without an error.

    Args:
        flush: see `write_whole_file`.
        remedy: what messages advise.

    Raises:
        StoreError: it cannot be written; what was there before stays.
    """
    check_replaceable(path, remedy)
    with writing(path, remedy), _made(path.parent):
        _remove_stale_once(path.parent)
        with _temporary_folder(path.parent) as folder:
            part = folder / path.name
            yield part
            if flush:
                flush_to_disk(part)
            part.replace(path)


def newest_first(root: Path | str, pattern: str) -> list[Path]:
    """The folders under `root` whose files match a pattern such as `*/points.parquet`; no hidden ones."""
    found = [path.parent for path in Path(root).glob(pattern) if not path.parent.name.startswith(".")]
    return sorted(found, key=lambda folder: folder.stat().st_mtime, reverse=True)


def reason_of(error: OSError) -> str:
    """The reason that the operating system gives, in one line. NumPy and Polars word some of them anew."""
    text = " ".join((error.strerror or str(error)).split())
    full = "requested and" in text or "os error 28" in text  # NumPy's half-written array; Polars
    return "No space left on device" if full else text


@contextlib.contextmanager
def alone(place: Path, command: str = "command") -> Iterator[None]:
    """Keep a second command off a folder or file that this one works on.

    Args:
        place: the folder or file; it need not exist.
        command: the name of this command, e.g. "sweep". The message to a second command names it.

    Raises:
        StoreError: another command works on it, or the lock cannot be written.
    """
    place = place.resolve() if place.name in ("", "..") else place
    path = place.parent / LOCKS / place.name
    with writing(place.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
    with writing(path):  # it may be another user's
        lock = _opened_lock(path)
    with lock:
        # Windows locks the first byte, and then no other process can read it. The text begins after it.
        if not _locked(lock.fileno()):
            lock.seek(1)
            who = lock.read().decode(errors="replace") or command
            raise StoreError(
                f"{place}: another relbid {who} is at work on it; "
                "wait for it, stop it, or choose another --out"
            )
        with contextlib.suppress(OSError):  # on a full disk the message does not name the process
            lock.truncate(0)
            os.write(lock.fileno(), f"\n{command} (process {os.getpid()})".encode())
        yield


def _put_in_place(temporary: Path, folder: Path) -> None:
    """Rename into place; one writer at a time, so that two runs of one scenario do not collide."""
    with _opened_lock(folder.parent / LOCK) as lock:
        _locked(lock.fileno(), wait=True)
        if folder.exists():
            with _temporary_folder(folder.parent) as old:
                folder.rename(old / "old")
                temporary.rename(folder)
        else:
            temporary.rename(folder)
        flush_to_disk(folder.parent)


def _opened_lock(path: Path) -> BinaryIO:
    """Open the file of a lock, which is made if it is not there. To open a pipe would never end.

    Raises:
        OSError, StoreError: it cannot be written, or is no file.
    """
    check_replaceable(path, "remove it, it is the file of a lock")
    return path.open("a+b")


def remove_stale(root: Path) -> None:
    """Remove what killed writers have left in a folder.

    A lock says whether a writer lives, and not the time: clocks jump, and some writers take hours.
    """
    for path in root.glob(f"{TEMPORARY}{'?' * 8}*"):  # as `tempfile` names them
        with contextlib.suppress(OSError):
            if path.suffix == LOCK:
                with path.open("r+b") as lock:
                    if not _locked(lock.fileno()):
                        continue
                    shutil.rmtree(path.with_suffix(""), ignore_errors=True)
                path.unlink()
            elif path.is_dir() and not path.with_name(path.name + LOCK).exists():
                shutil.rmtree(path)


_remove_stale_once = functools.cache(remove_stale)
"""Once a folder and process: some files are written many times, into folders of the user's."""


@contextlib.contextmanager
def _temporary_folder(root: Path) -> Iterator[Path]:
    """A folder for a writer, and beside it a file that the writer keeps locked. Both go when the block ends.

    The lock is there before the folder and is removed after it. So a folder without one has no living writer.
    """
    lock, handle = _own_lock(root)
    part = lock.with_suffix("")
    try:
        part.mkdir()
        yield part
    finally:
        shutil.rmtree(part, ignore_errors=True)
        os.close(handle)
        lock.unlink(missing_ok=True)


def _own_lock(root: Path) -> tuple[Path, int]:
    """A new lock file of this process, and its open handle."""
    while True:
        handle, name = tempfile.mkstemp(dir=root, prefix=TEMPORARY, suffix=LOCK)
        # `remove_stale` of another process may have taken the file before it was locked.
        if _locked(handle) and Path(name).exists():
            return Path(name), handle
        os.close(handle)


def _locked(handle: int, *, wait: bool = False) -> bool:
    """Take the lock of an open file; False if another process has it. `wait`: until it is free."""
    try:
        return lock_descriptor(handle, blocking=wait, poll_interval=POLL_S)
    except OSError:  # a file system without locks: all one can do is continue
        return True


def flush_to_disk(path: Path) -> None:
    """Make sure that a crash of the machine after a rename does not show a name without its bytes."""
    if os.name == "nt" and path.is_dir():  # Windows opens no folders
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextlib.contextmanager
def writing(place: Path, remedy: str = OTHER_FOLDER) -> Iterator[None]:
    """Turn an error of the operating system into a StoreError with a remedy."""
    try:
        yield
    except OSError as error:
        reason = reason_of(error)
        if isinstance(error, FileExistsError | IsADirectoryError):  # where one of the other kind belongs
            reason = "is a folder" if isinstance(error, IsADirectoryError) else "is a file"
            if Path(there := str(error.filename or place)).is_symlink() and not Path(there).exists():
                reason = "is a link that leads nowhere"
            if error.filename not in (None, str(place)):
                reason, remedy = f"{shown(error.filename)} {reason}", f"remove that, or {remedy}"
        raise StoreError(f"cannot be written ({reason})", file=place, remedy=remedy) from error
