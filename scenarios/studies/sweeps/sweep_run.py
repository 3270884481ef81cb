"""Run a sweep, or what is missing of it: each point and seed is a task of its own."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Unpack

import numpy as np

from scenarios.config.load import dump_scenario
from scenarios.config.scenario import PREPARED
from scenarios.markets.kind import Progress
from scenarios.markets.registry import source_of
from scenarios.markets.scoring import check_scorers
from scenarios.markets.size import check_size
from scenarios.storage.whole import write_whole_file
from scenarios.studies.estimate import Estimate, seconds_of_one
from scenarios.studies.replicates import (
    Job,
    ReplicateWorker,
    World,
    model_of,
    replicates_folder,
    share_world,
)
from scenarios.studies.run_study import Study, StudyOptions, engine_named, run_study
from scenarios.studies.study import StudyError, StudyPlan, Task, read_failures, read_status, remove_parts
from scenarios.studies.sweeps.asked import Asked, read_asked, write_asked
from scenarios.studies.sweeps.folder import sweep_folder, write_replicates
from scenarios.studies.sweeps.search import Search, check_installed
from scenarios.studies.sweeps.sweep import Sweep, SweepPoint, dump_sweep, samples, simulations
from scenarios.studies.sweeps.sweep_file import GENERATION

MOST_IDLE = 20
"""Generations without a new point after which a search has seen all that it will see."""

Replicate = list[dict[str, float]]


def run_sweep(
    sweep: Sweep,
    out: Path,
    *,
    progress: Progress | None = None,
    **options: Unpack[StudyOptions],
) -> Path:
    """Run a sweep and return its folder.

    What an earlier run has finished is not repeated, whatever ended that run. An interrupt leaves a folder
    that the next call continues.

    Args:
        out: the results folder, under which the sweep's folder, frames, scores and points are kept.
        progress: called for what is prepared before the points.
        options: see `scenarios.studies.run_study.run_study`. With engine "ray", RAY_ADDRESS may name a
            cluster.

    Raises:
        StoreError: the folder cannot be written, or another command is at work in it.
        CheckpointError, PluginError, ScenarioError, ScorerError: see `scenarios.relevance_of`.
        UserError: the sweep is a search and Optuna is missing, or the engine is Ray and that is missing.
    """
    if sweep.file.searches:
        check_installed(sweep.file)
    engine_named(options.get("engine", "local"))  # before the work, not after
    check_sweep(sweep)
    folder = sweep_folder(out, sweep)
    study = run_study(SweepPlan(sweep, folder, out, progress), folder, **options)
    if study.failed and not study.results:
        failures = read_failures(folder)
        shutil.rmtree(folder, ignore_errors=True)  # there is nothing to continue from
        first = failures[0].get("error", "") if failures else ""
        raise StudyError(
            f"every point failed, {len(study.failed)} in all; the first: {first}", file=sweep.name
        )
    return folder


def check_sweep(sweep: Sweep) -> None:
    """Find out before the work whether the scorers of all points can be had, and points be simulated here.

    Raises:
        CheckpointError, PluginError, ScenarioError, MissingExtraError: see `scenarios.relevance_of`.
    """
    for scenario in {model_of(point.scenario): point.scenario for point in samples(sweep)}.values():
        check_scorers(scenario, [scenario.scorer])
    for point in samples(sweep):
        check_size(point.scenario)


def estimate(
    sweep: Sweep,
    out: Path,
    *,
    progress: Progress | None = None,
    clock: Callable[[], float] = time.perf_counter,
) -> Estimate:
    """How long a sweep takes, without running it.

    Raises:
        CheckpointError, PluginError, ScenarioError, StoreError, TableError: see `scenarios.prepare`.
        UserError: the sweep is a search and Optuna is missing.
    """
    if sweep.file.searches:
        check_installed(sweep.file)
    check_sweep(sweep)
    tried = samples(sweep)
    models = tuple(dict.fromkeys(point.scenario.scorer for point in tried))
    groups = worlds(tried)
    status = read_status(sweep_folder(out, sweep))
    scenarios = [point.scenario for point in next(iter(groups.values()))]
    job_s = seconds_of_one(scenarios, status, out, progress, clock)
    done, seeds = 0 if status is None else status.done, len(sweep.seeds)
    return Estimate(simulations(sweep) // seeds, seeds, done, len(groups), models, job_s)


class SweepPlan(StudyPlan[Replicate]):
    """All points of a design at once, or the generations of a search one after the other."""

    command = "sweep"
    worker = ReplicateWorker
    stage = "points"

    def __init__(self, sweep: Sweep, folder: Path, out: Path, progress: Progress | None = None) -> None:
        self.total = simulations(sweep)
        self._sweep, self._folder, self._out, self._progress = sweep, folder, out, progress
        self._worlds: dict[str, World] = {}
        self._met: dict[str, list[SweepPoint]] = {}
        self._prepared = 0
        self._keys: dict[tuple[int, int], str] = {}  # of points and seeds
        self._named: dict[str, tuple[int, int]] = {}  # the other way round

    def batches(self, study: Study[Replicate]) -> Iterator[Sequence[Task]]:
        remove_parts(replicates_folder(self._out))
        write_whole_file(self._folder / "scenario.yaml", dump_scenario(self._sweep.scenario))
        write_whole_file(self._folder / "sweep.yaml", dump_sweep(self._sweep))
        if self._sweep.file.searches:
            yield from self._search(study)
        else:
            missing = self._missing(self._sweep.points, study)
            study.stage(self.stage, len(self._named))  # two points may be the same scenario
            yield missing

    def about(self, task: Task) -> Mapping[str, Any]:
        point, seed = self._named[task.key]
        return {"point": point, "seed": seed, "settings": dict(self._sweep.points[point].settings)}

    def write(self, results: Mapping[str, Replicate]) -> None:
        found = {name: results[key][0] for name, key in self._keys.items() if key in results}
        write_replicates(self._folder, self._sweep, found)

    def _search(self, study: Study[Replicate]) -> Iterator[Sequence[Task]]:
        """One generation after the other, each told before the next is asked for."""
        file = self._sweep.file
        search, asked, before = Search(file), Asked(self._sweep), read_asked(self._folder, self._sweep)
        most, idle = file.points or 0, 0
        while len(asked.points) < most and idle < MOST_IDLE:
            again = before.pop(0) if before else None
            known = len(asked.points)
            generation = search.ask(min(file.generation or GENERATION, most - known), again)
            indices = asked.add(generation)
            if again is None:
                write_asked(self._folder, asked.generations)
            self._sweep = asked.sweep
            yield self._missing(asked.points[known:], study)
            search.tell([self._figures(index, study.results) for index in indices])
            idle = idle + 1 if len(asked.points) == known else 0
        study.stage(self.stage, len(self._named))

    def _missing(self, points: Sequence[SweepPoint], study: Study[Replicate]) -> list[Task]:
        """The tasks of points that are missing, world by world."""
        missing: list[Task] = []
        for name, members in worlds(points).items():
            world = self._world(name, members, study.work)
            named = [(point.index, seed) for point in members for seed in self._sweep.seeds]
            tasks = world.tasks(job_of(point, seed) for point in members for seed in self._sweep.seeds)
            for one, task in zip(named, tasks, strict=True):
                self._keys[one] = task.key
                self._named.setdefault(task.key, one)
            new = study.missing(tasks)
            world.share(new)
            missing += new
            if not self._sweep.file.searches:  # no later point has this world
                del self._worlds[name]
        return missing

    def _world(self, name: str, points: Sequence[SweepPoint], work: Path) -> World:
        """A world that was prepared for these points, too."""
        scenarios = [point.scenario for point in points]
        known = self._worlds.get(name)
        if known is None or not known.covers(scenarios):
            met = self._met[name] = [*self._met.get(name, ()), *points]
            shared = share_world([point.scenario for point in met], cache=self._out, progress=self._progress)
            known = World(shared, work / str(self._prepared), replicates_folder(self._out))
            self._worlds[name] = known
            self._prepared += 1
        return known

    def _figures(self, index: int | None, results: Mapping[str, Replicate]) -> dict[str, float] | None:
        """A point's means over its seeds; None where one of them is missing."""
        if index is None:
            return None
        keys = [self._keys[index, seed] for seed in self._sweep.seeds]
        if any(key not in results for key in keys):
            return None
        runs = [results[key][0] for key in keys]
        return {name: float(np.mean([one[name] for one in runs])) for name in runs[0]}


def worlds(points: Iterable[SweepPoint]) -> dict[str, list[SweepPoint]]:
    """Points by what decides which pairs there are."""
    found: dict[str, list[SweepPoint]] = {}
    for point in points:
        scenario = point.scenario
        name = scenario.model_dump_json(include=set(PREPARED))
        found.setdefault(name, []).append(point)
    return found


def job_of(point: SweepPoint, seed: int) -> Job:
    """What is simulated for a point and a seed."""
    kind = "full" if source_of(point.scenario).has_texts else "simulated"
    return Job(kind, seed, (point.scenario,))
