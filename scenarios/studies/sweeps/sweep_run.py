"""Run a sweep, or what is missing of it.

Worlds are prepared and pairs are scored once, and shared with the processes by a file. Each point and seed is
then simulated on its own, so the numbers do not depend on how many processes there are, nor on who did what.
"""

from __future__ import annotations

import itertools
import json
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal, Protocol

import numpy as np

from scenarios.config.load import dump_scenario
from scenarios.errors import StoreError
from scenarios.markets.kind import Progress
from scenarios.markets.scoring import check_scorers
from scenarios.storage.whole import remove_stale, write_whole_file
from scenarios.studies import pool
from scenarios.studies.replicates import model_of, read_replicate, replicates_folder
from scenarios.studies.sweeps.asked import Asked, read_asked, write_asked
from scenarios.studies.sweeps.folder import (
    Status,
    alone_in,
    remove_leftovers,
    sweep_folder,
    write_replicates,
    write_status,
)
from scenarios.studies.sweeps.search import Search, check_installed
from scenarios.studies.sweeps.sweep import Point, Sweep, dump_sweep, samples, simulations
from scenarios.studies.sweeps.sweep_file import GENERATION
from scenarios.studies.sweeps.sweep_worker import Task
from scenarios.studies.sweeps.worlds import Worlds

WORK = ".work"
STATUS_EVERY_S = 0.5
TABLE_EVERY_S, TABLE_SHARE = 5.0, 0.01
"""The table is brought up to date so often, but takes no larger share of the time."""

MOST_IDLE = 20
"""Generations without a new point after which a search has seen all that it will see."""

Report = Callable[[Status], None]
EngineName = Literal["local", "ray"]


class Engine(Protocol):
    """Something that does tasks in any order, on this machine or on others.

    It leaves the text of each (`worker.result_of`) at the task's `out`, whole or not at all, says of each
    when it is done or why it failed, and asks for a batch when all outcomes of the one before are taken.
    """

    def __call__(self, batches: Iterable[Sequence[Task]], workers: int) -> Iterator[pool.Outcome]: ...


def engine_named(name: EngineName) -> Engine:
    """The engine of a name.

    Raises:
        UserError: Ray is missing; the message says how to install it.
    """
    if name == "ray":
        from scenarios.studies import ray_pool

        ray_pool.check_installed()
        return ray_pool.work_through
    return lambda batches, workers: pool.work_through(
        "scenarios.studies.sweeps.sweep_worker:worker", batches, workers
    )


def run_sweep(
    sweep: Sweep,
    out: Path,
    *,
    workers: int | None = None,
    engine: EngineName = "local",
    retry_failed: bool = False,
    progress: Progress | None = None,
    report: Report | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> Path:
    """Run a sweep and return its folder.

    What an earlier run has finished is not repeated, whatever ended that run. An interrupt leaves a folder
    that the next call continues.

    Args:
        out: the results folder, under which the sweep's folder, frames, scores and points are kept.
        workers: processes; as many as there are cores by default. They do not change the result.
        engine: "local" for processes of this machine, "ray" for those of a Ray cluster, if RAY_ADDRESS names
            one. It does not change the result either.
        retry_failed: also run what failed before; otherwise failures stay as they are.
        progress: called for what is prepared before the points.
        report: called with the status as often as points finish.
        clock: seconds from any start, for durations; one that nobody sets forward or back.

    Raises:
        StoreError: the folder cannot be written, or another command is at work in it.
        CheckpointError, PluginError, ScenarioError, ScorerError: see `scenarios.relevance_of`.
        UserError: the sweep is a search and Optuna is missing, or the engine is Ray and that is missing.
    """
    if sweep.file.searches:
        check_installed(sweep.file)
    chosen = engine_named(engine)
    for scenario in {model_of(point.scenario): point.scenario for point in samples(sweep)}.values():
        check_scorers(scenario, [scenario.scorer])
    workers = workers or pool.cores()
    folder = sweep_folder(out, sweep)
    with alone_in(folder):
        remove_leftovers(folder, [WORK])
        remove_stale(replicates_folder(out))
        write_whole_file(folder / "scenario.yaml", dump_scenario(sweep.scenario))
        write_whole_file(folder / "sweep.yaml", dump_sweep(sweep))
        run = _Run(sweep, folder, out, workers, retry_failed, progress, report, clock)
        try:
            run.prepare()
            run.simulate(chosen)
        except BaseException:
            run.say("stopped")
            raise
        finally:
            run.write_table()
            remove_leftovers(folder, [WORK])
        run.say("done")
    return folder


class _Run:
    """One command's share of a sweep."""

    def __init__(
        self,
        sweep: Sweep,
        folder: Path,
        out: Path,
        workers: int,
        retry_failed: bool,
        progress: Progress | None,
        report: Report | None,
        clock: Callable[[], float],
    ) -> None:
        self._sweep, self._folder, self._workers = sweep, folder, workers
        self._retry_failed, self._report, self._clock = retry_failed, report, clock
        self._worlds = Worlds(folder / WORK, out, keep=sweep.file.searches, progress=progress)
        self._batches = iter(self._search() if sweep.file.searches else self._all_at_once())
        self._first: list[Task] = []
        self._found: dict[tuple[int, int], Mapping[str, float]] = {}
        self._known_failures: set[str] = set()
        self._failed = self._reused = 0
        self._total = simulations(sweep)
        self._started, self._since = time.time(), clock()
        self._began: float | None = None
        self.say("preparing")

    def prepare(self) -> None:
        """Score pairs, and find out which points are missing; of a search, those of its first generation."""
        for path in (self._folder / "failures").glob("*.json"):
            if self._retry_failed:
                path.unlink()
            else:
                self._known_failures.add(path.stem)
        self._first = next(self._batches, [])

    def simulate(self, engine: Engine) -> None:
        """What is missing."""
        self._began = wrote = tabled = self._clock()
        table_every = TABLE_EVERY_S
        self.say("running")
        for task, error in engine(itertools.chain([self._first], self._batches), self._workers):
            if error and error.startswith("StoreError: "):  # a full disk is no fault of the point
                raise StoreError(error.partition("\n")[0].removeprefix("StoreError: "))
            kept = None if error else read_replicate(task.out)
            if kept is None:
                self._fail(task, error or f"{task.out}: was removed while the sweep ran")
            else:
                self._found[task.point, task.scenario.seed] = kept[0]
            now = self._clock()
            if self._report is not None:
                self._report(self.status("running"))
            if now - wrote >= STATUS_EVERY_S:
                wrote = now
                write_status(self._folder, self.status("running"))
            if now - tabled >= table_every:
                self.write_table()
                tabled = self._clock()
                table_every = max(TABLE_EVERY_S, (tabled - now) / TABLE_SHARE)

    def status(self, state: str) -> Status:
        """How far it is now."""
        total = self._total
        done, now = len(self._found), self._clock()
        rate = left = None
        if self._began is not None and now > self._began and (new := done - self._reused):
            rate = new / (now - self._began)
            left = (total - done - self._failed) / rate
        return Status(
            state, total, done, self._failed, self._reused, self._workers, os.getpid(),
            self._started, now - self._since, rate, left,
        )  # fmt: skip

    def say(self, state: str) -> None:
        """Write down how far it is."""
        status = self.status(state)
        write_status(self._folder, status)
        if self._report is not None:
            self._report(status)

    def write_table(self) -> None:
        write_replicates(self._folder, self._sweep, self._found)

    def _all_at_once(self) -> Iterator[list[Task]]:
        yield self._missing(self._sweep.points)

    def _search(self) -> Iterator[list[Task]]:
        """One generation after the other, each told before the next is asked for."""
        file = self._sweep.file
        search, asked, before = Search(file), Asked(self._sweep), read_asked(self._folder)
        most, idle = file.points or 0, 0
        while len(asked.points) < most and idle < MOST_IDLE:
            again = before.pop(0) if before else None
            known = len(asked.points)
            generation = search.ask(min(file.generation or GENERATION, most - known), again)
            indices = asked.add(generation)
            if again is None:
                write_asked(self._folder, asked.generations)
            self._sweep = asked.sweep
            yield self._missing(asked.points[known:])
            search.tell([self._figures(index) for index in indices])
            idle = idle + 1 if len(asked.points) == known else 0
        self._total = len(asked.points) * len(self._sweep.seeds)

    def _missing(self, points: Sequence[Point]) -> list[Task]:
        """The tasks of points that no run has finished; the results of the others are read."""
        missing: list[Task] = []
        for tasks in self._worlds.tasks(points, self._sweep.seeds):
            new = [task for task in tasks if not self._is_done(task)]
            if new:
                self._worlds.pack(new[0])
            missing += new
        return missing

    def _is_done(self, task: Task) -> bool:
        kept = read_replicate(task.out)
        if kept is not None:
            self._found[task.point, task.scenario.seed] = kept[0]
            self._reused += 1
            (self._folder / "failures" / task.out.name).unlink(missing_ok=True)
        elif task.key in self._known_failures:
            self._failed += 1
        else:
            return False
        return True

    def _figures(self, index: int | None) -> dict[str, float] | None:
        """A point's means over its seeds; None where one of them is missing."""
        runs = [self._found.get((index, seed)) for seed in self._sweep.seeds] if index is not None else [None]
        known = [one for one in runs if one is not None]
        if len(known) < len(runs):
            return None
        return {name: float(np.mean([one[name] for one in known])) for name in known[0]}

    def _fail(self, task: Task, error: str) -> None:
        self._failed += 1
        point = self._sweep.points[task.point]
        failure = {
            "key": task.key,
            "point": task.point,
            "seed": task.scenario.seed,
            "settings": dict(point.settings),
            "error": error,
        }
        write_whole_file(self._folder / "failures" / f"{task.key}.json", json.dumps(failure, indent=2) + "\n")
