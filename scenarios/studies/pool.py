"""Processes that do tasks, each of which may be killed at any moment without harm.

Every process has a pipe of its own to the command, so that the end of one is seen at once and takes nothing
with it but the task in its hands, which another one then gets. Where the command itself is killed, its
processes find their pipes closed after the task at hand, and end. Processes come from a fork server: a fork
of a process in which polars has started threads hangs.

This module imports nothing heavy, so that a new process can bound the threads of numpy and polars before
they are loaded.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import traceback
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from importlib import import_module
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, NamedTuple

from scenarios.errors import StoreError, UserError
from scenarios.storage.machine import forget_safe_path, starting_processes

MOST_DEATHS = 5
"""A task in whose course so many processes have died is given up."""

ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "POLARS_MAX_THREADS")

PRELOADED = ["scenarios.config.scenario"]
"""Modules that the fork server loads once for all processes. None loads polars, which starts threads."""


class Failure(NamedTuple):
    """Why a task failed."""

    message: str
    kind: str = ""
    """Name of the error's class; empty where no error was raised."""
    trace: str = ""
    of_store: bool = False
    """The result could not be written: no fault of the task."""

    @classmethod
    def of(cls, error: Exception) -> Failure:
        """The failure of a task that has just raised an error."""
        return cls(str(error), type(error).__name__, traceback.format_exc(), isinstance(error, StoreError))

    def __str__(self) -> str:
        """All of it, the first line with kind and message."""
        return f"{self.kind}: {self.message}\n\n{self.trace}" if self.kind else self.message


class Outcome(NamedTuple):
    """A task that is done, or has failed."""

    task: Any
    failure: Failure | None


def work_here(worker: str, batches: Iterable[Sequence[Any]], workers: int) -> Iterator[Outcome]:
    """Do tasks in this process, one after the other; see `work_through`. What a task raises is not caught."""
    do = load_worker(worker)
    for task in (task for batch in batches for task in batch):
        do(task)
        yield Outcome(task, None)


def work_through(worker: str, batches: Iterable[Sequence[Any]], workers: int) -> Iterator[Outcome]:
    """Do tasks in any order, and say of each when it is done.

    Args:
        worker: module:attr of a callable without arguments that returns a function of one task.
        batches: of picklable tasks, handed out one at a time, in order. The next batch is asked for when all
            outcomes of the one before have been taken, so that it may depend on them.
        workers: processes.

    Raises:
        RuntimeError: a process cannot load the worker.
        UserError: processes cannot be started, or die before they do anything.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    processes: dict[Connection, BaseProcess] = {}
    idle: list[Connection] = []
    in_hand: dict[Connection, tuple[int, Any]] = {}
    stillborn = 0

    def start() -> None:
        ours, theirs = context.Pipe()
        process = context.Process(target=_serve, args=(theirs, worker), daemon=True)
        with _one_thread(), starting_processes():  # which the fork server inherits
            process.start()
        theirs.close()
        processes[ours] = process

    try:
        for batch in batches:
            waiting, deaths = deque(enumerate(batch)), Counter[int]()
            while waiting or in_hand:
                while len(processes) < min(workers, len(waiting) + len(in_hand)):
                    start()
                while idle and waiting:
                    free = idle.pop()
                    in_hand[free] = waiting.popleft()
                    # If it has just died, the next reading of its pipe says so.
                    with contextlib.suppress(OSError):
                        free.send(in_hand[free][1])
                for pipe in wait(list(processes)):
                    assert isinstance(pipe, Connection)
                    try:
                        said, failure = pipe.recv()
                    except (EOFError, OSError):  # killed, or out of memory
                        process = processes.pop(pipe)
                        pipe.close()
                        process.join()
                        if pipe in idle:
                            idle.remove(pipe)
                            continue
                        if pipe not in in_hand:
                            stillborn += 1
                            if stillborn > MOST_DEATHS * workers:
                                raise UserError(
                                    f"processes die at once (exit code {process.exitcode})",
                                    remedy="take fewer --workers",
                                ) from None
                            continue
                        number, task = in_hand.pop(pipe)
                        deaths[number] += 1
                        if deaths[number] < MOST_DEATHS:
                            waiting.appendleft((number, task))
                        else:
                            # What the kernel does to the greediest process where there is no memory left.
                            hint = ": killed, perhaps for want of memory" if process.exitcode == -9 else ""
                            how = f"exit code {process.exitcode}{hint}"
                            yield Outcome(task, Failure(f"its process died {MOST_DEATHS} times ({how})"))
                        continue
                    if said == "broken":
                        raise RuntimeError(failure.trace)
                    idle.append(pipe)
                    if said == "done":
                        yield Outcome(in_hand.pop(pipe)[1], failure)
    finally:
        for process in processes.values():
            process.kill()
        for pipe, process in processes.items():
            process.join()
            pipe.close()


def _serve(pipe: Connection, worker: str) -> None:
    """What a process does: tasks from the pipe until it closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all; the command ends its processes itself
    os.environ.update(dict.fromkeys(ONE_THREAD, "1"))
    forget_safe_path()
    try:
        do = load_worker(worker)
    except BaseException:
        pipe.send(("broken", Failure("", trace=traceback.format_exc())))
        return
    said: tuple[str, Failure | None] = "ready", None
    while True:
        try:
            pipe.send(said)
            task = pipe.recv()
        except (EOFError, OSError):  # the command is gone
            return
        try:
            do(task)
            said = "done", None
        except Exception as error:  # whatever a task brings to light is kept as its failure
            said = "done", Failure.of(error)


def load_worker(worker: str) -> Any:
    """What does tasks, by its module:attr."""
    module, _, name = worker.partition(":")
    return getattr(import_module(module), name)()


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """Bound the threads of a process that is started meanwhile, not those of this one."""
    before = {name: os.environ.get(name) for name in ONE_THREAD}
    os.environ.update(dict.fromkeys(ONE_THREAD, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})
