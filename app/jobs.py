"""Long work of the dashboard: commands of `relbid`, each a process of its own that outlives the page.

A job is a folder `<results>/.jobs/<id>/`:

    job.json        what was started, when, and as which process
    progress.json   how far it is, written by the command (`--progress`)
    output.log, errors.log      what it printed
    *.yaml          files that it reads, if the page has made some
    cancelled       exists once somebody has asked it to stop

So a page that is opened later, or by somebody else, finds which jobs run and how the others ended.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

from relevance.files import read_json
from scenarios import CommandProgress, StoreError, read_progress, write_whole_file

FOLDER = ".jobs"
HERE = "{job}"
"""Stands in a command's arguments for the job's own folder."""

KEPT = 20
"""Jobs that have ended are remembered, the newest of them, until somebody dismisses them."""

PATIENCE_S = 20.0
"""How long a cancelled command may tidy up after SIGINT, and again after SIGTERM."""

SAME_S = 10.0
"""A process that began further from its job's start than this has reused the number; clocks drift by less."""

TAIL = 4000
_ID = re.compile(r"\d{8}-\d{6}-[0-9a-f]{6}")


@dataclass(frozen=True, slots=True)
class Job:
    """A command that was started."""

    folder: Path
    kind: str
    """run, prepare, sweep, estimate or experiment."""
    subject: str
    """What it works on, e.g. the folder of a sweep: nobody starts a second job on it."""
    command: tuple[str, ...]
    """As one would type it in a terminal."""
    pid: int
    """Of the process and its group."""
    started: float
    """Seconds since 1970."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a job is, or how it has ended."""

    state: str
    """running, stopping; done, failed, stopped; or died: its process ended without a message."""
    progress: CommandProgress
    message: str
    """Why it failed, in words."""

    @property
    def alive(self) -> bool:
        return self.state in ("running", "stopping")


def start(
    root: Path,
    kind: str,
    subject: str,
    arguments: Sequence[str],
    files: Mapping[str, str] | None = None,
) -> Job:
    """Start `relbid ARGUMENTS --progress ...`.

    Args:
        root: the results folder.
        arguments: HERE in them stands for the job's folder.
        files: name -> text of what the command reads, written to that folder.

    Raises:
        StoreError: its folder cannot be written.
    """
    _tidy(root)
    stamp = time.strftime("%Y%m%d-%H%M%S")
    folder = root / FOLDER / f"{stamp}-{secrets.token_hex(3)}"
    for name, text in (files or {}).items():
        write_whole_file(folder / name, text)
    given = [argument.replace(HERE, str(folder)) for argument in arguments]
    # -P: a folder of yours that is called scenarios must not be taken for the package.
    python = [sys.executable, "-P", "-m", "scenarios.cli"]
    command = [*python, *given, "--progress", str(folder / "progress.json")]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with (
            (folder / "output.log").open("wb") as output,
            (folder / "errors.log").open("wb") as errors,
        ):
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=errors,
                env={**os.environ, "NO_COLOR": "1", "COLUMNS": "132"},
                start_new_session=True,  # neither Ctrl-C at the dashboard's terminal nor its end reach it
            )
    except OSError as error:
        raise StoreError(
            f"{folder}: cannot be written ({error.strerror or error}); is the disk full?"
        ) from error
    started = psutil.Process(process.pid).create_time()
    threading.Thread(target=process.wait, daemon=True).start()  # or it would stay a zombie
    job = Job(folder, kind, subject, ("relbid", *given), process.pid, started)
    try:
        write_whole_file(folder / "job.json", json.dumps({**asdict(job), "folder": None}) + "\n")
    except BaseException:  # nobody would find it
        _signal(job, signal.SIGKILL)
        raise
    return job


def all_jobs(root: Path) -> list[Job]:
    """Jobs, newest first."""
    found = []
    for path in (root / FOLDER).glob("*/job.json"):
        if _ID.fullmatch(path.parent.name):
            with contextlib.suppress(ValueError, TypeError):
                data = read_json(path, dict, StoreError)
                data |= {"folder": path.parent, "command": tuple(data.get("command", ()))}
                job = Job(**data)
                if isinstance(job.pid, int) and 0 < job.pid < 2**31 and isinstance(job.started, float):
                    found.append(job)
    return sorted(found, key=lambda job: job.started, reverse=True)


def latest(root: Path, kind: str, subject: str | None = None) -> Job | None:
    """The newest job of a kind, on a subject if one is given."""
    jobs = (job for job in all_jobs(root) if job.kind == kind and subject in (None, job.subject))
    return next(jobs, None)


def outcome(job: Job) -> Outcome:
    """How a job is now."""
    alive = is_alive(job)  # before its file is read, or its last words could be missed
    progress = read_progress(job.folder / "progress.json") or CommandProgress(started=job.started)
    cancelled = (job.folder / "cancelled").exists()
    if alive:
        return Outcome("stopping" if cancelled else "running", progress, "")
    if progress.state == "running":
        return Outcome("stopped" if cancelled else "died", progress, complaints(job))
    return Outcome(progress.state, progress, progress.message)


def output(job: Job) -> str:
    """The end of what its command has printed as its result."""
    return _tail(job.folder / "output.log")


def complaints(job: Job) -> str:
    """The end of what its command has printed beside that."""
    return _tail(job.folder / "errors.log")


def is_alive(job: Job) -> bool:
    """Whether its process lives."""
    try:
        process = psutil.Process(job.pid)
        same = abs(process.create_time() - job.started) < SAME_S
        return same and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def cancel(job: Job, patience_s: float = PATIENCE_S) -> None:
    """Ask a job to stop, as Ctrl-C would; where it does not, it is made to. Returns at once."""
    with contextlib.suppress(OSError):
        (job.folder / "cancelled").touch()
    _signal(job, signal.SIGINT)
    threading.Thread(target=_insist, args=(job, patience_s), daemon=True).start()


def forget(job: Job) -> None:
    """Remove what is kept of a job that has ended; its results stay."""
    if not is_alive(job):
        shutil.rmtree(job.folder, ignore_errors=True)


def _tail(path: Path) -> str:
    with contextlib.suppress(OSError):
        return path.read_bytes()[-TAIL:].decode(errors="replace").strip()
    return ""


def _insist(job: Job, patience_s: float) -> None:
    for stronger in (signal.SIGTERM, signal.SIGKILL):
        end = time.monotonic() + patience_s
        while time.monotonic() < end:
            if not is_alive(job):
                return
            time.sleep(0.1)
        _signal(job, stronger)


def _signal(job: Job, number: signal.Signals) -> None:
    """To a job's process and those that it started, while it lives: later its number may be another's."""
    if is_alive(job):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(job.pid, number)


def _tidy(root: Path) -> None:
    """Forget the oldest jobs that have ended."""
    for job in [job for job in all_jobs(root) if not is_alive(job)][KEPT:]:
        forget(job)
