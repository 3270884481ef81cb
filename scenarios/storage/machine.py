"""What the machine is that this runs on."""

from __future__ import annotations

import contextlib
import os
import platform
import re
import signal
import threading
from collections.abc import Iterator
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

from scenarios.errors import UserError

SAFE_PATH, OURS = "PYTHONSAFEPATH", "relbid"
"""The environment variable that keeps Python from looking for its own modules where the user stands, and what
marks it as set here and not by the user."""


def cores() -> int:
    """How many processes, or threads, can work at once, where the user does not say how many."""
    import psutil

    allowed = getattr(psutil.Process(), "cpu_affinity", None)  # macOS binds no process to cores
    return len(allowed()) if allowed is not None else os.cpu_count() or 1


def threads() -> int:
    """With how many threads a model computes here: OMP_NUM_THREADS, where that is set, or one a core."""
    said = os.environ.get("OMP_NUM_THREADS", "")
    return max(int(said), 1) if re.fullmatch("[0-9]{1,4}", said) else cores()


@contextlib.contextmanager
def starting_processes() -> Iterator[None]:
    """Start processes in this block; the fork server that makes them is started before it.

    The server is deaf to Ctrl-C from its first moment, and takes no module of the user's for one of Python's.

    Raises:
        UserError: one cannot be started, or has ended at once.
    """
    from multiprocessing.forkserver import ensure_running

    try:
        with _deaf(), _safe_path():
            ensure_running()
        yield
    except (EOFError, BrokenProcessPool, BlockingIOError, ConnectionError) as error:
        reason = "a process cannot be started, or was killed"
        remedy = (
            "look for memory and processes of others, or take fewer --workers; the same command continues"
        )
        raise UserError(reason, remedy=remedy) from error


@contextlib.contextmanager
def _deaf() -> Iterator[None]:
    """Ignore Ctrl-C, as processes do that are started meanwhile; only the main thread ever gets it."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.SIG_DFL if before is None else before)


@contextlib.contextmanager
def _safe_path() -> Iterator[None]:
    if SAFE_PATH in os.environ:
        yield
        return
    os.environ[SAFE_PATH] = OURS
    try:
        yield
    finally:
        del os.environ[SAFE_PATH]


def forget_safe_path() -> None:
    """In a process of the fork server: what a plug-in starts there looks for modules where it always does."""
    if os.environ.get(SAFE_PATH) == OURS:
        del os.environ[SAFE_PATH]


def processor() -> str:
    """The processor's name, if the system has it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
