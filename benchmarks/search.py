"""Searches against designs of the same budget: `python -m benchmarks.search --levels 4,4,3,3`.

The points of scenarios/sweeps/search.yaml, chosen by each method: what their Pareto front dominates
(hypervolume), and the most revenue at a bounded share of irrelevant ads. Whoever chooses among many points
also chooses lucky draws, so the front of each method is simulated again on days that no method has seen.

The reference point of the hypervolume is what ranking without relevance shows of irrelevant ads, and three
quarters of its revenue; 1 is the product of its revenue and its share of irrelevant ads.
"""

from __future__ import annotations

import argparse
import math
import os
import shutil

os.environ.setdefault("OMP_NUM_THREADS", "1")

from pathlib import Path
from typing import Any

import numpy as np
import yaml

from scenarios import Sweep, load_sweep, override, read_sweep, run_sweep
from scenarios.config.load import dump_scenario
from scenarios.studies import pool
from scenarios.studies.replicates import ReplicateWorker, World, replicates_folder, share_world
from scenarios.studies.study import Task
from scenarios.studies.sweeps.sweep import SweepPoint, dump_sweep
from scenarios.studies.sweeps.sweep_run import job_of, worlds
from simulator.arrays import FloatArray

FILE = Path(__file__).parents[1] / "scenarios" / "sweeps" / "search.yaml"
FRESH = (101, 102, 103, 104)
LEAST_REVENUE = 0.75

Figures = dict[str, float]


def variant(sweep: Sweep, folder: Path, **changes: Any) -> Sweep:
    """The same sweep by another method."""
    (folder / "scenario.yaml").write_text(dump_scenario(sweep.scenario))
    data = {**yaml.safe_load(dump_sweep(sweep)), **changes}
    file = folder / f"{data['name']}.yaml"
    file.write_text(yaml.safe_dump({key: value for key, value in data.items() if value is not None}))
    return load_sweep(file)


def levels(sweep: Sweep, counts: list[int]) -> dict[str, Any]:
    """So many values of each field, from end to end."""
    found: dict[str, Any] = {}
    for (field, axis), n in zip(sweep.file.over.items(), counts, strict=True):
        if axis.uniform is not None:
            low, high = axis.uniform
            found[field] = {"from": low, "to": high, "step": (high - low) / (n - 1)}
        else:
            assert axis.loguniform is not None
            found[field] = {"from": axis.loguniform[0], "to": axis.loguniform[1], "count": n, "log": True}
    return found


def figures_of(points: list[SweepPoint], seeds: tuple[int, ...], out: Path, workers: int) -> list[Figures]:
    """Means of points over seeds."""
    tasks: dict[int, list[Task]] = {}
    work = out / "search-benchmark" / "work"
    shutil.rmtree(work, ignore_errors=True)
    for place, members in enumerate(worlds(points).values()):
        world = World(
            share_world([point.scenario for point in members], cache=out),
            work / str(place),
            replicates_folder(out),
        )
        for point in members:
            tasks[point.index] = world.tasks(job_of(point, seed) for seed in seeds)
        world.share([task for point in members for task in tasks[point.index]])
    missing = [task for of_point in tasks.values() for task in of_point if ReplicateWorker.read(task) is None]
    worker = f"{ReplicateWorker.__module__}:{ReplicateWorker.__qualname__}"
    for outcome in pool.work_through(worker, [missing], workers):
        assert outcome.failure is None, outcome.failure
    found: dict[int, list[Figures]] = {}
    for index, of_point in tasks.items():
        runs = [ReplicateWorker.read(task) for task in of_point]
        found[index] = [run[0] for run in runs if run is not None]
    return [{k: float(np.mean([run[k] for run in found[p.index]])) for k in OBJECTIVES} for p in points]


OBJECTIVES = ("revenue_rpm", "irrelevant_share")


def hypervolume(gain: FloatArray, harm: FloatArray, least_gain: float, most_harm: float) -> float:
    """The area that points [P] dominate, of those that have more gain and less harm than a reference point.

    Zitzler and Thiele 1998, "Multiobjective optimization using evolutionary algorithms: a comparative case
    study". In units of the gain times units of the harm; NaN is taken for a point that dominates nothing.
    """
    area, reached = 0.0, most_harm
    for one, cost in sorted(zip(gain, harm, strict=True), reverse=True):
        if one > least_gain and cost < reached:
            area += (one - least_gain) * (reached - cost)
            reached = cost
    return area


def main() -> None:
    """Print a row for each method."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--levels", default="4,4,3,3", help="values of each field in the grid")
    parser.add_argument("--methods", default="search,grid,latin_hypercube,nsga2,tpe", help="search: the file")
    parser.add_argument("--design-seeds", default="1", help="of the search and of the Latin hypercube")
    parser.add_argument("--bound", type=float, default=0.01, help="of the share of irrelevant ads")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path("results"))
    options = parser.parse_args()
    base = load_sweep(FILE)
    folder = options.out / "search-benchmark"
    folder.mkdir(parents=True, exist_ok=True)
    counts = [int(n) for n in options.levels.split(",")]
    n = math.prod(counts)
    methods = options.methods.split(",")
    sweeps = [base] if "search" in methods else []
    if "grid" in methods:
        over = levels(base, counts)
        sweeps.append(variant(base, folder, name="grid", method="grid", points=None, over=over))
    for seed in options.design_seeds.split(","):
        for method in methods:
            if method not in ("search", "grid"):
                changes = {"method": method, "points": n, "design_seed": int(seed)}
                sweeps.append(variant(base, folder, name=f"{method}-{seed}", **changes))
    plain = override(base.scenario, {"scorer": "none"})

    def without(seeds: tuple[int, ...]) -> Figures:
        return figures_of([SweepPoint(0, {}, plain)], seeds, options.out, options.workers)[0]

    def row(found: list[Figures], at: Figures) -> str:
        gain, harm = (np.array([one[name] for one in found]) for name in OBJECTIVES)
        revenue, share = (at[name] for name in OBJECTIVES)
        area = hypervolume(gain, harm, LEAST_REVENUE * revenue, share) / (revenue * share)
        best = max((g for g, h in zip(gain, harm, strict=True) if h <= options.bound), default=math.nan)
        return f"{area:.4f}  {best:8.2f}"

    seen, fresh = without(base.seeds), without(FRESH)
    print(f"without relevance: {seen} on the sweep's days, {fresh} on fresh ones")
    print(
        f"{'':18s} points  hypervolume, revenue at {options.bound:.1%}:  on the sweep's days   on fresh days"
    )
    for sweep in sweeps:
        result = read_sweep(run_sweep(sweep, options.out, workers=options.workers))
        rows = result.points.to_dicts()
        front = [one for one in rows if one["pareto"]]
        again = figures_of(
            [result.sweep.points[one["point"]] for one in front], FRESH, options.out, options.workers
        )
        quarters = "  ".join(row(rows[: n * part // 4], seen) for part in (1, 2, 4))
        print(f"{sweep.name:18s} {len(rows):6d}  {quarters}   {row(again, fresh)}", flush=True)


if __name__ == "__main__":
    main()
