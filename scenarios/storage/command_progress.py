"""How far a command is, as a small file for other programs: `--progress FILE` of the command line.

The file is JSON, written whole again and again, at most a few times a second:

    state     running; at the end done, stopped (by Ctrl-C or SIGTERM) or failed
    stage     what is being done, e.g. "scoring with hcmrm"; its parts are
    what, subject     e.g. "scoring" and "hcmrm"; the subject may be empty
    done, total, detail     of the stage
    started, stage_started, updated     seconds since 1970
    message   why it failed, in words
    result    the folder that was made, once it is there
    found     what a command found out that makes no folder, e.g. how long a sweep takes

A command that is killed leaves the state `running` behind. So a reader must check whether its process lives.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Self

from relevance.files import read_json
from scenarios.errors import StoreError
from scenarios.storage.whole import write_whole_file

WRITE_EVERY_S = 0.25
STOPPED_BY_HAND = 130
"""Exit code of a command that Ctrl-C has stopped."""


class Stage(str):
    """The name of a stage, e.g. "scoring with hcmrm", which keeps its parts."""

    what: str
    subject: str

    def __new__(cls, what: str, subject: str = "") -> Self:
        """Put the name together; without a subject it is `what`."""
        self = super().__new__(cls, f"{what} with {subject}" if subject else what)
        self.what, self.subject = what, subject
        return self


@dataclass(frozen=True, slots=True)
class CommandProgress:
    """What the file holds, see the head of this module."""

    state: str = "running"
    stage: str = ""
    what: str = ""
    subject: str = ""
    done: int = 0
    total: int = 0
    detail: str = ""
    started: float = 0.0
    stage_started: float = 0.0
    updated: float = 0.0
    message: str = ""
    result: str | None = None
    found: Mapping[str, Any] | None = None


class ProgressFile:
    """Keeps the file up to date."""

    def __init__(self, path: Path, clock: Callable[[], float] = time.time) -> None:
        """Write the file for the first time.

        Raises:
            StoreError: it cannot be written, or is another file.
        """
        if not _may_be_progress(path):
            raise StoreError("is there, and holds no progress", file=path, remedy="name another file")
        if path.is_symlink() and not path.exists():
            raise StoreError("is a link that leads nowhere", file=path, remedy="name another file")
        self._path, self._clock = path, clock
        now = clock()
        self._now = CommandProgress(started=now, stage_started=now, updated=now)
        self._write()

    def report(self, stage: str, done: int, total: int, detail: str = "") -> None:
        now, changed = self._clock(), stage != self._now.stage
        due = changed or done >= total or now - self._now.updated >= WRITE_EVERY_S
        if not due:
            return
        parts = stage if isinstance(stage, Stage) else Stage(stage)
        self._now = replace(
            self._now,
            stage=str(stage),
            what=parts.what,
            subject=parts.subject,
            done=done,
            total=total,
            detail=detail,
            updated=now,
            stage_started=now if changed else self._now.stage_started,
        )
        with contextlib.suppress(StoreError):  # a disk that is full now must not end the work
            self._write()

    def made(self, folder: Path) -> None:
        self._now = replace(self._now, result=str(folder.absolute()))

    def found(self, facts: Mapping[str, Any]) -> None:
        """Write down what the command has found out, as JSON has it."""
        self._now = replace(self._now, found=facts)

    def end(self, error: BaseException | None) -> None:
        state, message = "done", ""
        code = getattr(error, "exit_code", None)
        if isinstance(error, KeyboardInterrupt) or code == STOPPED_BY_HAND:
            state = "stopped"
        elif error is not None and code != 0:
            state = "failed"
            message = str(error) if isinstance(error, ValueError) else f"{type(error).__name__}: {error}"
        self._now = replace(self._now, state=state, message=message, updated=self._clock())
        with contextlib.suppress(StoreError):
            self._write()

    def _write(self) -> None:
        write_whole_file(self._path, json.dumps(asdict(self._now)) + "\n", flush=False)


def _may_be_progress(path: Path) -> bool:
    """Whether nothing is lost where it is written over: it is empty, or another command's progress."""
    try:
        return path.stat().st_size == 0 or "stage" in read_json(path, dict, StoreError)
    except FileNotFoundError:
        return True
    except StoreError:
        return not path.is_file()  # why it cannot be written is said where it is tried
    except OSError:
        return True


def read_progress(path: Path | str) -> CommandProgress | None:
    """What a command has written; None where there is nothing, or it is damaged."""
    try:
        return CommandProgress(**read_json(Path(path), dict, StoreError))
    except (OSError, ValueError, TypeError):
        return None
