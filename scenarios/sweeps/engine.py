"""Run a sweep, or what is missing of it.

Worlds are prepared and pairs are scored once, before the processes start, and shared with them by a file.
Each point and seed is then simulated on its own, so the numbers do not depend on how many processes there
are, nor on who did what.
"""

from __future__ import annotations

import json
import os
import pickle
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from scenarios.errors import StoreError
from scenarios.load import dump_scenario
from scenarios.market import Prepared, Progress, Relevance, check_scorers
from scenarios.replicates import (
    code_of,
    decides,
    digest_of,
    digest_of_scores,
    model_of,
    plug_ins,
    prepare_for,
    read_replicate,
    relevances_for,
    replicate_key,
    replicates_folder,
)
from scenarios.schema import PREPARED, Scenario
from scenarios.store import remove_stale, whole_path, write_whole_file
from scenarios.sweeps import pool
from scenarios.sweeps.folder import (
    Status,
    alone_in,
    read_status,
    remove_leftovers,
    sweep_folder,
    write_replicates,
    write_status,
)
from scenarios.sweeps.schema import Point, Sweep, dump_sweep
from scenarios.sweeps.worker import Shared, Task, metrics_of

WORK = ".work"
STATUS_EVERY_S = 0.5
TABLE_EVERY_S = 5.0

Report = Callable[[Status], None]


def run_sweep(
    sweep: Sweep,
    out: Path,
    *,
    workers: int | None = None,
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
        retry_failed: also run what failed before; otherwise failures stay as they are.
        progress: called for what is prepared before the points.
        report: called with the status as often as points finish.
        clock: seconds from any start, for durations; one that nobody sets forward or back.

    Raises:
        StoreError: the folder cannot be written, or another command is at work in it.
        CheckpointError, PluginError, ScenarioError, ScorerError: see `scenarios.relevance_of`.
    """
    for scenario in {model_of(point.scenario): point.scenario for point in sweep.points}.values():
        check_scorers(scenario, [scenario.scorer])
    workers = workers or len(os.sched_getaffinity(0))
    folder = sweep_folder(out, sweep)
    with alone_in(folder):
        remove_leftovers(folder, [WORK])
        remove_stale(replicates_folder(out))
        write_whole_file(folder / "scenario.yaml", dump_scenario(sweep.scenario))
        write_whole_file(folder / "sweep.yaml", dump_sweep(sweep))
        run = _Run(sweep, folder, out, workers, retry_failed, report, clock)
        try:
            run.prepare(progress)
            run.simulate()
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
        report: Report | None,
        clock: Callable[[], float],
    ) -> None:
        self._sweep, self._folder, self._out, self._workers = sweep, folder, out, workers
        self._retry_failed, self._report, self._clock = retry_failed, report, clock
        self._found: dict[tuple[int, int], Mapping[str, float]] = {}
        self._missing: list[Task] = []
        self._failed = self._reused = 0
        self._started, self._since = time.time(), clock()
        self._began: float | None = None
        self.say("preparing")

    def prepare(self, progress: Progress | None) -> None:
        """Score every world's pairs, and find out which points are missing."""
        replicates, failures = replicates_folder(self._out), self._folder / "failures"
        known_failures = set()
        for path in failures.glob("*.json"):
            if self._retry_failed:
                path.unlink()
            else:
                known_failures.add(path.stem)
        for number, points in enumerate(worlds(self._sweep).values()):
            prepared, relevances = share(points, cache=self._out, progress=progress)
            bundle = self._folder / WORK / f"{number}.pickle"
            missing = []
            for key, point, scenario in keyed(points, self._sweep.seeds, prepared, relevances):
                path = replicates / f"{key}.json"
                kept = read_replicate(path)
                if kept is not None:
                    self._found[point.index, scenario.seed] = kept[0]
                    self._reused += 1
                    (failures / f"{key}.json").unlink(missing_ok=True)
                elif key in known_failures:
                    self._failed += 1
                else:
                    missing.append(Task(key, point.index, scenario, bundle, path))
            if missing:
                bundle.parent.mkdir(exist_ok=True)
                with whole_path(bundle) as part:
                    part.write_bytes(pickle.dumps(Shared(_light(prepared), relevances), protocol=5))
                self._missing += missing

    def simulate(self) -> None:
        """What is missing, by a pool of processes."""
        self._began = wrote = tabled = self._clock()
        self.say("running")
        for task, error in pool.work_through("scenarios.sweeps.worker:worker", self._missing, self._workers):
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
            if now - tabled >= TABLE_EVERY_S:
                self.write_table()
                tabled = self._clock()

    def status(self, state: str) -> Status:
        """How far it is now."""
        total = len(self._sweep.points) * len(self._sweep.seeds)
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


def worlds(sweep: Sweep) -> dict[str, list[Point]]:
    """Points by what decides which pairs there are."""
    found: dict[str, list[Point]] = {}
    for point in sweep.points:
        found.setdefault(_world_of(point.scenario), []).append(point)
    return found


def share(
    points: list[Point], *, cache: Path | None, progress: Progress | None = None
) -> tuple[Prepared, Mapping[Any, Relevance]]:
    """Prepare what the points of one world share.

    Raises:
        CheckpointError, PluginError, ScenarioError, ScorerError, StoreError: see `scenarios.relevance_of`.
    """
    scenarios = [point.scenario for point in points]
    prepared = prepare_for(scenarios[0], scenarios, cache=cache, progress=progress)
    relevances = relevances_for(prepared, scenarios, cache=cache, progress=progress)
    # Grade probabilities are for people who look at single pairs.
    return prepared, {key: replace(one, grade_probabilities=None) for key, one in relevances.items()}


def keyed(
    points: list[Point], seeds: tuple[int, ...], prepared: Prepared, relevances: Mapping[Any, Relevance]
) -> Iterator[tuple[str, Point, Scenario]]:
    """(key, point, scenario with its seed) of every point and seed of one world."""
    common = digest_of(prepared)
    scores = {key: digest_of_scores(one) for key, one in relevances.items()}
    code: dict[str, str] = {}
    for point in points:
        scenario = point.scenario
        own = plug_ins(scenario)
        code |= {name: code_of(name) for name in own if name not in code}
        kind = "full" if scenario.market.kind == "world" else "settled"
        decided = decides(scenario, scores[model_of(scenario)], common, *(code[name] for name in own))
        for seed in seeds:
            yield (
                replicate_key(kind, seed, decided),
                point,
                scenario.model_copy(update={"seed": seed}),
            )


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a sweep asks for, before it is run."""

    points: int
    jobs: int
    """Points times seeds."""
    done: int
    """As of an earlier run of this very sweep."""
    worlds: int
    models: tuple[str, ...]
    """Scorers whose relevance is needed."""
    job_s: float
    """Seconds that one takes: an earlier run's, or measured on the first and the last point."""

    def left_s(self, workers: int) -> float:
        """Seconds of simulation that are left."""
        return (self.jobs - self.done) * self.job_s / workers


def estimate(
    sweep: Sweep,
    out: Path,
    *,
    progress: Progress | None = None,
    clock: Callable[[], float] = time.perf_counter,
) -> Estimate:
    """How long a sweep takes, without running it: two points are settled, ranked without relevance.

    Raises:
        PluginError, ScenarioError, StoreError, TableError: see `scenarios.prepare`.
    """
    jobs = len(sweep.points) * len(sweep.seeds)
    models = tuple(dict.fromkeys(point.scenario.scorer for point in sweep.points))
    groups = worlds(sweep)
    status = read_status(sweep_folder(out, sweep))
    if status is not None and status.rate_per_s:
        job_s = status.workers / status.rate_per_s
    else:
        points = next(iter(groups.values()))
        scenarios = [
            point.scenario.model_copy(update={"scorer": "none"}) for point in (points[0], points[-1])
        ]
        prepared = prepare_for(scenarios[0], scenarios, cache=out, progress=progress)
        shared = Shared(prepared, relevances_for(prepared, scenarios))
        began = clock()
        for scenario in scenarios:
            metrics_of(scenario, shared)
        job_s = (clock() - began) / len(scenarios)
    done = 0 if status is None else status.done
    return Estimate(len(sweep.points), jobs, done, len(groups), models, job_s)


def _world_of(scenario: Scenario) -> str:
    blocks = [scenario.pctr.model, *(scenario.model_dump(mode="json")[name] for name in PREPARED)]
    return json.dumps(blocks, sort_keys=True)


def _light(prepared: Prepared) -> Prepared:
    """Without key frames, which no market looks at once its pairs are scored."""
    source = prepared.source
    corpus = getattr(source, "corpus", None)
    if corpus is None:
        return prepared
    return replace(
        prepared, source=replace(source, corpus=replace(corpus, frames=corpus.frames[:, :0].copy()))
    )
