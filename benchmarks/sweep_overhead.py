"""What a sweep costs beside simulation: `python -m benchmarks.sweep_overhead --points 1000`.

The default world, 5,000 queries a point, two processes. Processor time of the command and its processes, from
the first import to the last point, and how much of it is simulation. With --wall also how much faster two
processes are than one, which needs two cores with nothing else to do.
"""

from __future__ import annotations

import argparse
import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("POLARS_MAX_THREADS", "1")

import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path

from scenarios import load_sweep, run_sweep
from scenarios.studies import pool
from scenarios.studies.sweeps import sweep_worker as worker

SWEEP = """\
schema: 1
name: overhead
common: {{traffic.n_queries: 5000, auction.reserve: {reserve}}}
over: {{fusion.relevance: {{from: 0, to: {last}, step: 0.001}}}}
"""
SPENT = "RELBID_BENCHMARK_SPENT"
"""Variable that names the folder in which each process says what it has spent."""


def measured() -> Callable[[worker.Task], None]:
    """The worker of a sweep, which also notes its processor time, and how much of it was simulation."""
    do, simulate, spent = worker.worker(), worker.metrics_of, [0.0]
    note = Path(os.environ[SPENT]) / f"{os.getpid()}.json"

    def timed(scenario: worker.Scenario, shared: worker.Shared) -> dict[str, float]:
        began = time.process_time()
        found = simulate(scenario, shared)
        spent[0] += time.process_time() - began
        return found

    def noted(task: worker.Task) -> None:
        do(task)
        note.write_text(json.dumps([spent[0], time.process_time()]))

    worker.metrics_of = timed
    return noted


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
    real = pool.work_through
    pool.work_through = lambda _, tasks, workers: real(f"{__spec__.name}:measured", tasks, workers)

    def sweep(workers: int) -> float:
        """Wall time of a sweep whose points are not there yet."""
        reserve = 0.05 + time.time_ns() % 10**9 * 1e-12
        file.write_text(SWEEP.format(last=(options.points - 1) * 0.001, reserve=reserve))
        began = time.perf_counter()
        shutil.rmtree(run_sweep(load_sweep(file), out, workers=workers))
        return time.perf_counter() - began

    two = sweep(2)
    spent = [json.loads(path.read_text()) for path in notes.glob("*.json")]
    simulation, whole = (sum(column) for column in zip(*spent, strict=True))
    whole += time.process_time()
    print(f"{options.points} points: {whole:.1f} s of processor time, {simulation:.1f} s of it simulation")
    print(f"{100 * (1 - simulation / whole):.1f}% outside simulation")
    if options.wall:
        one = sweep(1)
        print(f"one process {one:.1f} s, two {two:.1f} s: {one / two:.2f} times as fast")
    shutil.rmtree(notes)


if __name__ == "__main__":
    main()
