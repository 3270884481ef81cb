"""The engine of all studies: processes, which may be killed, do the tasks of a plan that are missing.

Each result is kept whole or not at all under its key, so results depend neither on the number of processes
nor on who did which task. What an earlier run has finished is not repeated, however that run ended.
"""

from __future__ import annotations

import itertools
import json
import os
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, Literal, TypedDict

from relevance.ranges import check_within
from scenarios.errors import StoreError
from scenarios.storage.machine import cores
from scenarios.storage.whole import TEMPORARY, alone, write_whole_file
from scenarios.studies import pool
from scenarios.studies.pool import Failure, Outcome
from scenarios.studies.study import Result, Status, StudyError, StudyPlan, Task, write_status

FAILURES = "failures"
STATUS_EVERY_S = 0.5
WRITE_EVERY_S, WRITE_SHARE = 5.0, 0.01
"""`StudyPlan.write` is called so often, but takes no larger share of the time."""

Report = Callable[[Status], None]
EngineName = Literal["local", "ray", "here"]
"""Processes of this machine, processes of a Ray cluster, or this very process."""


Engine = Callable[[str, Iterable[Sequence[Task]], int], Iterator[Outcome]]
"""Does batches of tasks by the worker of a name (module:attr of a subclass of `Worker`) in so many processes.

The result of each is kept when its outcome is given. The next batch is asked for when all outcomes of the one
before have been taken."""


def engine_named(name: EngineName) -> Engine:
    """The engine of a name.

    Raises:
        UserError: Ray is missing; the message says how to install it.
    """
    if name == "ray":
        from scenarios.studies import ray_pool

        ray_pool.check_installed()
        return ray_pool.work_through
    return pool.work_here if name == "here" else pool.work_through


class StudyOptions(TypedDict, total=False):
    """How a study is run, see `run_study`."""

    workers: int | None
    engine: EngineName
    retry_failed: bool
    report: Report | None
    clock: Callable[[], float]


def run_study(
    plan: StudyPlan[Result],
    folder: Path,
    *,
    place: Path | None = None,
    workers: int | None = None,
    engine: EngineName = "local",
    retry_failed: bool = False,
    report: Report | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> Study[Result]:
    """Have the tasks of a plan done that are missing. An interrupt leaves what the next call continues.

    Args:
        folder: of the study; progress.json and notes of failures are kept there.
        place: what the lock is for, and messages name; the folder by default.
        workers: processes; as many as there are cores by default. They do not change the results.
        engine: who does the tasks. It does not change the results either.
        retry_failed: also do what failed before; otherwise failures stay as they are.
        report: called with the status as often as tasks are finished.
        clock: seconds from any start, for durations; it must not jump.

    Raises:
        StoreError: the folder cannot be written, or another command is at work in it.
        UserError: the engine is Ray, and that is missing.
    """
    do = engine_named(engine)
    if workers is not None:
        check_within("workers", workers, 1, 10_000, whole=True)
    workers = workers or cores()
    with alone(place or folder, plan.command):
        new = not folder.exists()
        study = Study(plan, folder, workers, retry_failed, report, clock)
        try:
            study.run(do)
        except Exception:
            if new and not study.results and not study.failed:  # there is nothing to continue from
                shutil.rmtree(folder, ignore_errors=True)
            raise
    return study


@dataclass
class Study(Generic[Result]):
    """One run of a plan; for the arguments see `run_study`."""

    plan: StudyPlan[Result]
    folder: Path
    workers: int
    retry_failed: bool
    report: Report | None
    clock: Callable[[], float]
    results: dict[str, Result] = field(default_factory=dict)
    """Results so far, by the keys of their tasks."""
    failed: dict[str, Task] = field(default_factory=dict)
    """Tasks that have failed, now or in an earlier run, by their keys."""
    _asked: set[str] = field(default_factory=set)
    _known_failures: set[str] = field(default_factory=set)
    _done: int = 0
    _failed: int = 0
    _reused: int = 0
    _began: float | None = None

    def __post_init__(self) -> None:
        self._started, self._since = time.time(), self.clock()
        self._stage, self._total = self.plan.stage, self.plan.total

    @property
    def work(self) -> Path:
        """A folder for what tasks share, which is removed at the end."""
        return self.folder / ".work"

    def run(self, engine: Engine) -> None:
        plan = self.plan
        self._remove_leftovers()
        for path in (self.folder / FAILURES).glob("*.json"):
            if self.retry_failed:
                path.unlink()
            else:
                self._known_failures.add(path.stem)
        self._say("preparing")
        try:
            batches = iter(plan.batches(self))
            first = next(batches, ())
            self._began = wrote = shown = self.clock()
            self._say("running")
            show_every = WRITE_EVERY_S
            worker = f"{plan.worker.__module__}:{plan.worker.__qualname__}"
            for outcome in engine(worker, itertools.chain([first], batches), self.workers):
                self._take(outcome)
                if self.report is not None:
                    self.report(self._status("running"))
                now = self.clock()
                if now - wrote >= STATUS_EVERY_S:
                    wrote = now
                    write_status(self.folder, self._status("running"))
                if now - shown >= show_every:
                    plan.write(self.results)
                    shown = self.clock()
                    show_every = max(WRITE_EVERY_S, (shown - now) / WRITE_SHARE)
        except BaseException:
            self._say("stopped")
            raise
        finally:
            plan.write(self.results)
            self._remove_leftovers()
        self._say("done")

    def stage(self, name: str, total: int) -> None:
        """Begin another stage, whose tasks are counted from zero, or correct the total of the present one."""
        if name != self._stage:
            self._stage, self._done, self._failed, self._reused = name, 0, 0, 0
            self._began = None if self._began is None else self.clock()
        self._total = total
        if self._began is not None:
            self._say("running")

    def missing(self, tasks: Iterable[Task]) -> list[Task]:
        """The tasks to be done: those without a result that have not failed. Kept results are read."""
        found: list[Task] = []
        for task in tasks:
            if task.key in self._asked:
                continue
            self._asked.add(task.key)
            kept = self.plan.worker.read(task)
            if kept is not None:
                self.results[task.key] = kept
                self._done += 1
                self._reused += 1
                if task.key in self._known_failures:
                    self._note_of(task).unlink(missing_ok=True)
            elif task.key in self._known_failures:
                self.failed[task.key] = task
                self._failed += 1
            else:
                found.append(task)
        return found

    def check(self) -> None:
        """Refuse to continue where tasks have failed.

        Raises:
            StudyError: names the folder with the notes.
        """
        if self.failed:
            what = self._stage.removesuffix("s") if len(self.failed) == 1 else self._stage
            again = "the same command" if self.retry_failed else "--retry-failed"
            error = StudyError(
                f"{len(self.failed)} {what} failed, see {self.folder / FAILURES}/",
                remedy=f"{again} runs them again",
            )
            error.exit_code = 1  # the others are kept
            raise error

    def _take(self, outcome: Outcome) -> None:
        task: Task = outcome.task
        failure = outcome.failure
        if failure is not None and failure.of_store:  # a full disk is no fault of the task
            raise StoreError(failure.message)
        kept = None if failure else self.plan.worker.read(task)
        if kept is not None:
            self.results[task.key] = kept
            self._done += 1
            return
        failure = failure or Failure(f"{task.out}: was removed while the study ran")
        self.failed[task.key] = task
        self._failed += 1
        note = {"key": task.key, **self.plan.about(task), "error": str(failure)}
        write_whole_file(self._note_of(task), json.dumps(note, indent=2) + "\n")

    def _note_of(self, task: Task) -> Path:
        return self.folder / FAILURES / f"{task.key}.json"

    def _status(self, state: str) -> Status:
        now = self.clock()
        rate = left = None
        if self._began is not None and now > self._began and (new := self._done - self._reused):
            rate = new / (now - self._began)
            left = (self._total - self._done - self._failed) / rate
        return Status(
            state, self._total, self._done, self._failed, self._reused, self.workers, os.getpid(),
            self._started, now - self._since, rate, left, self._stage,
        )  # fmt: skip

    def _say(self, state: str) -> None:
        status = self._status(state)
        write_status(self.folder, status)
        if self.report is not None:
            self.report(status)

    def _remove_leftovers(self) -> None:
        """Remove what tasks shared, and what writers that were killed have left in the folder."""
        shutil.rmtree(self.work, ignore_errors=True)
        for path in self.folder.glob(f"{TEMPORARY}*"):
            shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)
