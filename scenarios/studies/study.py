"""What sweeps, experiments and ablations have in common.

A plan asks for tasks in batches, and a later batch may depend on the results of an earlier one. Each task
has a key, which is a hash of all that decides its result, and a file that keeps the result. A worker lives in
each process and does tasks. `scenarios.studies.run_study` brings them together.
"""

from __future__ import annotations

import json
import math
import os
import pickle
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, NamedTuple, TypeVar

from pydantic import TypeAdapter

from relevance.files import read_json
from scenarios.errors import StoreError, UserError
from scenarios.storage.whole import write_whole_file, writing

if TYPE_CHECKING:
    from scenarios.studies.run_study import Study

Result = TypeVar("Result")

PART = ".part-"
"""How the name of a result begins while it is written; its suffix is the number of the process."""


class StudyError(UserError):
    """Some tasks failed, and the study has no result without them."""


class Task(NamedTuple):
    """One piece of work."""

    key: str
    """A hash of all that decides the result."""
    out: Path
    """The file that keeps the result, written whole or not at all."""
    data: Any
    """What the worker has to know; small, since it is sent to a process."""
    reads: tuple[Path, ...] = ()
    """Pickles that the task shares with others. The plan writes them before it asks for the task."""


class Worker(ABC, Generic[Result]):
    """Does the tasks of a study. Each process makes one, without arguments."""

    def __init__(self) -> None:
        self.held: dict[Path, Any] = {}
        """Unpickled content of the `reads` of the last task."""

    @staticmethod
    @abstractmethod
    def read(task: Task) -> Result | None:
        """The kept result of a task; None where there is none, or it is damaged."""

    @abstractmethod
    def make(self, task: Task) -> bytes:
        """Do a task, whose `reads` are held, and return the bytes that are kept."""

    def __call__(self, task: Task) -> None:
        """Do a task and keep its result. A result that is there is not made again.

        A process that was killed after it kept a result, and before it could say so, leaves such a one.
        """
        if self.read(task) is None:
            self.hold(task, Path.read_bytes)
            keep(task.out, self.make(task))

    def hold(self, task: Task, read: Callable[[Path], bytes]) -> None:
        """Load the `reads` of a task that are not held yet, and let go of all others."""
        self.held = {path: self.held[path] for path in task.reads if path in self.held}
        for path in task.reads:
            if path not in self.held:
                self.held[path] = pickle.loads(read(path))


class StudyPlan(ABC, Generic[Result]):
    """What a study wants to have done."""

    command: ClassVar[str]
    """The command of the plan, for messages."""
    worker: ClassVar[type[Worker[Any]]]
    stage: str
    """What the tasks of the first batch are called where progress is shown."""
    total: int
    """How many tasks the first stage has, as far as that is known before it begins."""

    @abstractmethod
    def batches(self, study: Study[Result]) -> Iterator[Sequence[Task]]:
        """Tasks that are missing, see `Study.missing`.

        The next batch is asked for when all tasks of the one before are done or have failed.
        """

    @abstractmethod
    def about(self, task: Task) -> Mapping[str, Any]:
        """What the note of a failure says about a task, beside its key and the error; JSON."""

    def write(self, results: Mapping[str, Result]) -> None:
        """Write what is shown while the study runs. Called every few seconds and at the end."""


@dataclass(frozen=True, slots=True)
class Status:
    """How far a study is, in tasks of its present stage. Times in seconds, `started` since 1970."""

    state: str
    """preparing, running, done or stopped; of a command that was killed, what it was before."""
    total: int
    done: int
    failed: int
    reused: int
    """Tasks among those done that an earlier run had finished."""
    workers: int
    pid: int
    started: float
    elapsed_s: float
    rate_per_s: float | None = None
    left_s: float | None = None
    stage: str = ""
    """What the tasks are called."""


_STATUS = TypeAdapter(Status)


def keep(path: Path, data: bytes) -> None:
    """Write the file of a result, whole or not at all, without waiting for the disk.

    A crash of the machine may leave a damaged file, which `Worker.read` takes for none. What a killed writer
    leaves is removed by `remove_parts`.

    Raises:
        StoreError: it cannot be written.
    """
    part = path.with_name(f"{PART}{path.stem}.{os.getpid()}")
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            part.write_bytes(data)
            part.replace(path)
        except OSError:
            part.unlink(missing_ok=True)
            raise


def nullable(value: Any) -> Any:
    """The same for JSON, which has no NaN and no infinity: they become null, in mappings and lists, too."""
    if isinstance(value, Mapping):
        return {key: nullable(part) for key, part in value.items()}
    if isinstance(value, list):
        return [nullable(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def remove_parts(folder: Path) -> None:
    """Remove what writers of results in a folder have left that were killed."""
    import psutil

    for path in folder.glob(f"{PART}*"):
        if not psutil.pid_exists(int(path.suffix[1:])):
            path.unlink(missing_ok=True)


def write_status(folder: Path, status: Status) -> None:
    """Write progress.json, whole or not at all.

    Raises:
        StoreError: it cannot be written.
    """
    write_whole_file(folder / "progress.json", json.dumps(asdict(status)) + "\n")


def read_status(folder: Path | str) -> Status | None:
    """How far the study of a folder is; None where nothing has begun."""
    try:
        return _STATUS.validate_python(read_json(Path(folder) / "progress.json", dict, StoreError))
    except ValueError:
        return None


def read_failures(folder: Path | str) -> tuple[Mapping[str, Any], ...]:
    """Notes of what has failed so far: key, error, and what `StudyPlan.about` says."""
    found = []
    for path in sorted((Path(folder) / "failures").glob("*.json")):
        if path.exists():  # else it is being run again
            found.append(read_json(path, dict, StoreError, "remove it"))
    return tuple(found)
