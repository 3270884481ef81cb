"""What a sweep costs beside simulation: `python -m benchmarks.sweep_overhead --points 1000`.

The default world, 5,000 queries a point, two processes. Processor time of the command and its processes, from
the first import to the last point, and how much of it is simulation. With --wall also how much faster two
processes are than one, of a sweep and of an experiment, which needs two cores with nothing else to do.
"""

from __future__ import annotations

import argparse
import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("POLARS_MAX_THREADS", "1")

import json
import shutil
import time
from pathlib import Path

from scenarios import load_experiment, load_sweep, run_experiment, run_sweep
from scenarios.studies import replicates
from scenarios.studies.study import Task
from scenarios.studies.sweeps.sweep_run import SweepPlan

SWEEP = """\
schema: 1
name: overhead
common: {{traffic.n_queries: 5000, auction.reserve: {reserve}}}
over: {{fusion.relevance: {{from: 0, to: {last}, step: 0.001}}}}
"""
EXPERIMENT = """\
schema: 1
name: overhead
common: {{traffic.n_queries: 5000, auction.reserve: {reserve}}}
baseline: A
arms: {{A: {{fusion.relevance: 0.5}}, B: {{fusion.relevance: 2}}}}
seeds: {seeds}
"""
SPENT = "RELBID_BENCHMARK_SPENT"
"""Variable that names the folder in which each process notes what it has spent."""


class Measured(replicates.ReplicateWorker):
    """The worker of a sweep, which also notes its processor time, and how much of it was simulation."""

    def __init__(self) -> None:
        super().__init__()
        self._spent = 0.0
        self._note = Path(os.environ[SPENT]) / f"{os.getpid()}.json"
        self._simulate = replicates.simulate_job
        replicates.simulate_job = self._timed

    def __call__(self, task: Task) -> None:
        """Do a task and note the time so far."""
        super().__call__(task)
        self._note.write_text(json.dumps([self._spent, time.process_time()]))

    def _timed(self, job: replicates.Job, shared: replicates.SharedWorld) -> list[dict[str, float]]:
        began = time.process_time()
        found = self._simulate(job, shared)
        self._spent += time.process_time() - began
        return found


def main() -> None:
    """Print shares and times."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--points", type=int, default=1000)
    parser.add_argument("--wall", action="store_true")
    parser.add_argument("--out", type=Path, default=Path("results"))
    options = parser.parse_args()
    out: Path = options.out
    notes = (out / "overhead").resolve()
    file = notes / "overhead.yaml"
    shutil.rmtree(notes, ignore_errors=True)
    notes.mkdir(parents=True)
    os.environ[SPENT] = str(notes)

    def written(text: str, **parts: object) -> Path:
        """A file whose points are not there yet."""
        file.write_text(text.format(reserve=0.05 + time.time_ns() % 10**9 * 1e-12, **parts))
        return file

    def sweep(workers: int) -> float:
        """Wall time of a sweep."""
        began = time.perf_counter()
        path = written(SWEEP, last=(options.points - 1) * 0.001)
        shutil.rmtree(run_sweep(load_sweep(path), out, workers=workers))
        return time.perf_counter() - began

    def experiment(workers: int) -> float:
        """Wall time of an experiment of as many simulations."""
        began = time.perf_counter()
        plan = load_experiment(written(EXPERIMENT, seeds=options.points // 2))
        run_experiment(plan, cache=out, workers=workers)
        return time.perf_counter() - began

    usual = SweepPlan.worker
    SweepPlan.worker = Measured
    two = sweep(2)
    SweepPlan.worker = usual
    spent = [json.loads(path.read_text()) for path in notes.glob("*.json")]
    simulation, whole = (sum(column) for column in zip(*spent, strict=True))
    whole += time.process_time()
    print(f"{options.points} points: {whole:.1f} s of processor time, {simulation:.1f} s of it simulation")
    print(f"{100 * (1 - simulation / whole):.1f}% outside simulation")
    if options.wall:
        one = sweep(1)
        print(f"sweep: one process {one:.1f} s, two {two:.1f} s: {one / two:.2f} times as fast")
        one, two = experiment(1), experiment(2)
        print(f"experiment: one process {one:.1f} s, two {two:.1f} s: {one / two:.2f} times as fast")
    shutil.rmtree(notes)


if __name__ == "__main__":
    main()
