"""The figures that relbid promises, beside their targets: `make bench`; with ARGS="--only help" some of them.

What is measured is data, benchmarks/speed.yaml; each entry runs in a process of its own. Where others share
the machine, trust processor time (by which auctions are counted) and ratios within one process more than
seconds on the clock. The load average is kept with each figure: it should be near 0. Figures go to
docs/speed.json, of which the site makes a page (benchmarks/tables.py); those of other entries stay.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("POLARS_MAX_THREADS", "1")

import numpy as np
import yaml
from rich.console import Console
from rich.table import Table

from benchmarks.tables import SPEED, SUITE, rounded, target

REPOSITORY = Path(__file__).parents[1]
PACKAGES = ("relbid", "numpy", "polars", "pyarrow", "simpy", "torch")
Figures = dict[str, float]


def auctions(repeats: int = 5, keep: bool = True, **shape: Any) -> Figures:
    """Auctions per second of processor time, best of some."""
    seconds, ran_out = _market_seconds(repeats=repeats, keep=keep, **shape)
    return {"figure": shape["queries"] / min(seconds), "share of budgets that ran out": ran_out}


def times_a_loop(queries: int, **shape: int) -> Figures:
    """How many times as fast as a plain loop; both charge the same to the micro."""
    from benchmarks.market import make_market
    from simulator.clock.engine import simulate
    from tests.simulator.one_by_one import simulate_one_by_one

    market = make_market(queries, **shape)
    start = time.process_time()
    _, spent = simulate_one_by_one(market)
    loop = time.process_time() - start
    if spent != simulate(market).spent_micros.tolist():
        raise AssertionError("the loop charges otherwise")
    seconds, _ = _market_seconds(queries=queries, paced=0.0, **shape)
    return {"figure": loop / min(seconds), "loop auctions/s": queries / loop}


def growth(of: str, values: list[int], repeats: int = 5) -> Figures:
    """The exponent of time in one dimension, least squares on logarithms; rounds are interleaved."""
    shape = {"queries": 100_000, "candidates": 48, "slots": 3, "advertisers": 48}
    if of == "candidates":
        shape["advertisers"] = max(values)
    best = dict.fromkeys(values, np.inf)
    for _ in range(repeats):
        for value in values:
            seconds, _ = _market_seconds(repeats=1, **(shape | {of: value}))
            best[value] = min(best[value], *seconds)
    exponent = np.polyfit(np.log(values), np.log([best[value] for value in values]), 1)[0]
    return {"figure": float(exponent), **{f"s at {value}": best[value] for value in values}}


def memory(**shape: int) -> Figures:
    """Peak memory in MB of a run whose log goes to a file."""
    from benchmarks.market import make_market
    from scenarios.storage.log_file import LogFile
    from simulator.clock.engine import simulate

    market = make_market(**shape)
    start = time.process_time()
    with tempfile.TemporaryDirectory() as folder, LogFile(Path(folder) / "log.parquet") as file:
        simulate(market, sink=lambda part: file.write(part.impressions()))
        size = (Path(folder) / "log.parquet").stat().st_size
    seconds = time.process_time() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"figure": peak, "auctions/s with Parquet": shape["queries"] / seconds, "log MB": size / 2**20}


def command(arguments: list[str], repeats: int, warm: bool = False) -> Figures:
    """Seconds of `relbid ...` on the clock, best of some, and its processor time."""
    with tempfile.TemporaryDirectory() as folder:
        line = [sys.executable, "-m", "scenarios.cli", *arguments]
        if arguments[0] == "run":
            line += ["--out", folder]
        clock, processor = [], []
        for _ in range(repeats + warm):
            start, used = time.perf_counter(), _children_s()
            subprocess.run(line, cwd=REPOSITORY, check=True, capture_output=True)
            clock.append(time.perf_counter() - start)
            processor.append(_children_s() - used)
    return {"figure": min(clock[warm:]), "processor s": min(processor[warm:])}


def answer(points: int, queries: int) -> Figures:
    """95th percentile of the processor time that simulating the default market at another exponent takes.

    What the dashboard does when a slider moves, without the page. Ranked by BM25: the scorer does not
    matter, as its scores are looked up.
    """
    from scenarios import DEFAULT_SCENARIO, load_scenario, prepare, relevance_of, simulate

    prepared = prepare(load_scenario(DEFAULT_SCENARIO))
    relevance, found = relevance_of(prepared, "bm25"), []
    for exponent in np.random.default_rng(0).uniform(0.0, 4.0, points):
        start = time.process_time()
        simulate(prepared, relevance, {"fusion.relevance": float(exponent)}, n_queries=queries)
        found.append(time.process_time() - start)
    return {"figure": float(np.quantile(found, 0.95)), "median": float(np.median(found))}


def scorer(arguments: list[str], figure: str) -> Figures:
    """A figure of `python -m benchmarks.gpu_scorer ...`, with others of the same run."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "scorer.json"
        line = [sys.executable, "-m", "benchmarks.gpu_scorer", *arguments, "--out", str(out)]
        subprocess.run(line, cwd=REPOSITORY, check=True, capture_output=True)
        found: Figures = json.loads(out.read_text())
    others = ("share_of_matrix_rate", "kendall_tau", "times_plain", "pairs_per_s", "ads_encoded_per_s")
    return {
        "figure": found[figure],
        **{name: found[name] for name in others if name != figure and name in found},
    }


KINDS: dict[str, Callable[..., Figures]] = {
    kind.__name__: kind for kind in (auctions, times_a_loop, growth, memory, answer, command, scorer)
}


def _market_seconds(
    queries: int,
    candidates: int,
    slots: int,
    advertisers: int,
    repeats: int = 5,
    keep: bool = True,
    paced: float = 0.5,
    budget: float = 250.0,
) -> tuple[list[float], float]:
    """Processor time of each of some runs of one market, and the share of budgets that ran out."""
    from benchmarks.market import make_market
    from simulator.clock.engine import simulate
    from simulator.log import forget

    market = make_market(queries, candidates, slots, advertisers, paced, budget)
    found = []
    for _ in range(repeats):
        start = time.process_time()
        log = simulate(market, sink=None if keep else forget)
        found.append(time.process_time() - start)
    return found, float(log.ran_out.mean())


def _children_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def machine() -> dict[str, Any]:
    """Where and of what the figures are."""
    cpu = platform.processor()
    if Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        cpu = next((line.partition(": ")[2] for line in lines if line.startswith("model name")), cpu)
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty"], cwd=REPOSITORY, capture_output=True, text=True
    )
    return {
        "processor": cpu,
        "cores": os.cpu_count(),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "system": platform.platform(),
        "load": os.getloadavg()[0],
        "python": platform.python_version(),
        **{name: version(name) for name in PACKAGES},
        "commit": commit.stdout.strip() or None,
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
    }


def main() -> None:
    """Run the suite, print its table, and write the figures as JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", metavar="TEXT", help="Entries whose name holds this.")
    parser.add_argument("--out", type=Path, default=SPEED)
    parser.add_argument("--one", metavar="NAME", help=argparse.SUPPRESS)  # what a process of its own runs
    arguments = parser.parse_args()
    suite = yaml.safe_load(SUITE.read_text(encoding="utf-8"))
    if arguments.one:
        [entry] = [entry for entry in suite if entry["name"] == arguments.one]
        print(json.dumps(KINDS[entry["kind"]](**entry["settings"])))
        return

    console, where = Console(width=160), machine()
    kept = json.loads(arguments.out.read_text(encoding="utf-8")) if arguments.out.is_file() else []
    results = {one["name"]: one for one in kept}
    console.print(
        f"{where['processor']}, {where['cores']} cores, load {where['load']:.1f}, {where['commit']}"
    )
    table = Table("", "figure", "unit", "target", "also", box=None)
    for entry in (entry for entry in suite if (arguments.only or "") in entry["name"]):
        with console.status(entry["name"]):
            line = [sys.executable, "-m", "benchmarks.bench", "--one", entry["name"]]
            done = subprocess.run(line, cwd=REPOSITORY, check=True, stdout=subprocess.PIPE, text=True)
        figures: Figures = json.loads(done.stdout.splitlines()[-1])
        figure = figures.pop("figure")
        also = ", ".join(f"{name} {rounded(value)}" for name, value in figures.items())
        table.add_row(entry["name"], rounded(figure), entry["unit"], target(entry, figure), also)
        results[entry["name"]] = {
            "name": entry["name"],
            "figure": figure,
            "also": figures,
            "measured": where | {"load": os.getloadavg()[0]},
        }
    console.print(table)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    ordered = [results[entry["name"]] for entry in suite if entry["name"] in results]
    arguments.out.write_text(json.dumps(ordered, indent=1) + "\n", encoding="utf-8")
    console.print(f"Figures: {arguments.out}")


if __name__ == "__main__":
    main()
