"""Live ranking by BM25 of many distinct queries: rate, and memory that does not grow with them.

    python -m benchmarks.live                    # 100,000 and 1,000,000 distinct queries
    python -m benchmarks.live --queries 20000 --arrivals 20000

The queries are those of the embedded world, each with a word that nobody else has ("no17"), so that each is
retrieved, scored and ranked by itself. All come equally often. The log
goes to a sink. Each row is made by a process of its own.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from relevance.lexical import Bm25Scorer
from simulator.clock.engine import simulate
from simulator.log import forget
from simulator.market import TrafficModel, build_market, with_settings
from simulator.scoring import LiveScorer, OnHost
from simulator.serving import ServingModel
from simulator.world import World, WorldConfig, build_world

DISTINCT = (100_000, 1_000_000)
CANDIDATES = 32


def many_queries(n: int) -> World:
    """The world's test split with n distinct queries, all equally popular. Frames are left out."""
    # Every ad is found by its words, wherever they stand, so that queries have many candidates.
    config = WorldConfig(test_ads_per_advertiser=10, supply_sigma=0.0, match_shares=(0.0, 0.0, 1.0))
    world = build_world(config, "test", draw=False)
    own = world.corpus.query_text
    which = np.arange(n) % len(own)
    texts = tuple(f"{own[i % len(own)]} no{i // len(own)}" for i in range(n))
    truth = world.truth
    return replace(
        world,
        corpus=replace(world.corpus, query_text=texts),
        truth=replace(
            truth,
            query_product=truth.query_product[which],
            query_colour=truth.query_colour[which],
            query_brand=truth.query_brand[which],
        ),
        query_popularity=np.full(n, 1.0 / n),
    )


def memory_mb(*, most: bool = False) -> float:
    """Resident memory of this process now, or the most since it began, in MB."""
    field = "VmHWM:" if most else "VmRSS:"
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field)) / 1000


def measure(n: int, arrivals: int) -> None:
    """Run once, and print a row of the table."""
    build_world(WorldConfig(query_pool=2000), "test", draw=False)
    empty = memory_mb()
    world = many_queries(n)
    scorer = Bm25Scorer(world.corpus)
    start = memory_mb()
    began = time.perf_counter()
    market = build_market(
        world,
        CANDIDATES,
        LiveScorer(OnHost(scorer, "bm25")),
        seed=1,
        traffic=TrafficModel(n_queries=arrivals),
        serving=ServingModel(scoring="live"),
    )
    market = with_settings(market, query=np.random.default_rng(1).permutation(arrivals) % n)
    drawn = time.perf_counter()
    log = simulate(market, sink=forget)
    seconds = time.perf_counter() - drawn
    assert log.arrival.size == arrivals
    print(
        f"| {n:,} | {start - empty:,.0f} MB | {memory_mb(most=True) - start:,.0f} MB "
        f"| {drawn - began:,.0f} s | {arrivals / seconds:,.0f} queries/s |",
        flush=True,
    )


def main() -> None:
    """Print a table, a row for each number of distinct queries."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--queries", type=int, nargs="*", default=DISTINCT, help="distinct ones")
    parser.add_argument("--arrivals", type=int, default=DISTINCT[-1])
    parser.add_argument("--here", action="store_true", help="in this process, without a heading")
    given = parser.parse_args()
    if given.here:
        for n in given.queries:
            measure(n, given.arrivals)
        return
    print(f"{given.arrivals:,} arrivals, {CANDIDATES} candidates at most, ranked live by BM25")
    print("| distinct queries | the queries themselves | peak above them | averages before | rate |")
    print("|---|---|---|---|---|", flush=True)
    for n in given.queries:
        again = [sys.executable, "-m", "benchmarks.live", "--here", "--queries", str(n)]
        subprocess.run([*again, "--arrivals", str(given.arrivals)], check=True)


if __name__ == "__main__":
    main()
