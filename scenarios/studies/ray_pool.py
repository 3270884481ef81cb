"""The engine for many machines: processes of a Ray cluster.

RAY_ADDRESS names the cluster; without it, one is started on this machine for the time of the study. What
tasks share goes to each machine once, through Ray's store. Results come back to the command, which alone
writes files: the machines need relbid installed, and no disk in common.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import threading
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from relevance.extras import require
from scenarios.errors import cut
from scenarios.studies.pool import MOST_DEATHS, ONE_THREAD, Failure, Outcome, load_worker
from scenarios.studies.study import StudyError, Task, Worker, keep

STORE_BYTES = 512 * 2**20
"""Size of the store of a cluster that is started here."""


def check_installed() -> None:
    """Whether Ray can be had.

    Raises:
        MissingExtraError: it is not installed.
    """
    require("ray", extra="ray", needed_by="the engine ray")


def work_through(worker: str, batches: Iterable[Sequence[Task]], workers: int) -> Iterator[Outcome]:
    """Do tasks in any order, and say of each when it is done; see `run_study.Engine`.

    Raises:
        StudyError: Ray does not start, or the cluster of RAY_ADDRESS cannot be reached.
    """
    with _cluster(workers) as ray:
        most = min(workers, int(ray.cluster_resources().get("CPU", 1)))
        actor = ray.remote(num_cpus=1, runtime_env={"env_vars": dict.fromkeys(ONE_THREAD, "1")})(Actor)
        stored: dict[Path, Any] = {}
        idle: list[Any] = []
        in_hand: dict[Any, tuple[int, Task, Any]] = {}

        def hand_out(number: int, task: Task) -> None:
            process = idle.pop() if idle else actor.remote(worker)
            for path in task.reads:
                if path not in stored:
                    stored[path] = ray.put(path.read_bytes())
            # In a dict, since a process that has it already need not fetch it again.
            reads = {path: stored[path] for path in task.reads}
            in_hand[process.do.remote(task, reads)] = number, task, process

        for batch in batches:
            waiting, deaths = deque(enumerate(batch)), Counter[int]()
            while waiting or in_hand:
                while waiting and len(in_hand) < most:
                    hand_out(*waiting.popleft())
                for result in ray.wait(list(in_hand))[0]:
                    number, task, process = in_hand.pop(result)
                    try:
                        made = ray.get(result)
                    except ray.exceptions.RayActorError as death:  # killed, out of memory, or machine gone
                        deaths[number] += 1
                        if deaths[number] < MOST_DEATHS:
                            waiting.appendleft((number, task))
                        else:
                            text = f"its process died {MOST_DEATHS} times ({death})"
                            yield Outcome(task, Failure(text))
                        continue
                    idle.append(process)
                    if isinstance(made, bytes):
                        keep(task.out, made)
                    yield Outcome(task, None if isinstance(made, bytes) else made)


class Actor:
    """A process of the cluster."""

    def __init__(self, worker: str) -> None:
        self._worker: Worker[Any] = load_worker(worker)

    def do(self, task: Task, reads: dict[Path, Any]) -> bytes | Failure:
        """The result of a task, or why it failed."""
        import ray

        try:
            self._worker.hold(task, lambda path: ray.get(reads[path]))
            return self._worker.make(task)
        except Exception as error:  # whatever a task brings to light is kept as its failure
            return Failure.of(error)


@contextlib.contextmanager
def _cluster(workers: int) -> Iterator[Any]:
    """Ray, connected: to what the caller is connected to, to RAY_ADDRESS, or to a cluster of its own."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    if "RAY_ADDRESS" not in os.environ:
        os.environ.setdefault("RAY_AUTH_MODE", "disabled")
    import ray

    ours = not ray.is_initialized()
    if ours:
        settings: dict[str, Any] = {"logging_level": logging.WARNING, "log_to_driver": False}
        if "RAY_ADDRESS" not in os.environ:
            settings |= {"num_cpus": workers, "include_dashboard": False, "object_store_memory": STORE_BYTES}
        try:
            with _own_signals():
                ray.init(**settings)
        except Exception as error:  # Ray raises bare ones, too, when its processes do not come up in time
            address = os.environ.get("RAY_ADDRESS")
            raise StudyError(
                f"Ray did not start on this machine: {cut(str(error))}"
                if address is None
                else f"the Ray cluster cannot be reached: {cut(str(error))}",
                field="engine" if address is None else "RAY_ADDRESS",
                value=address,
                remedy="try again, or leave --engine ray out: processes of this machine give the same bytes",
            ) from error
    try:
        yield ray
    finally:
        if ours:
            ray.shutdown()


@contextlib.contextmanager
def _own_signals() -> Iterator[None]:
    """Keep what the command does at a polite kill, for which Ray has an answer of its own."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
