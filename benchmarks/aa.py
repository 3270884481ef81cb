"""How often the interval of an A/A experiment misses zero, where there is nothing to find.

    python -m benchmarks.aa [--design query_split|budget_split|independent]

Both arms have the same settings, and differ by their users' draws and traffic alone: by the split's coin, or
by seeds of their own. Every experiment takes seeds that no other one takes. At 95% about 5% of them find
something; for 1,000 of them, 3.5% to 6.5% is to be expected. (On common random numbers identical arms differ
by exactly nothing.)
"""

import argparse
import math
import os
import time
from collections.abc import Callable, Mapping

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("POLARS_MAX_THREADS", "1")

import numpy as np

from scenarios import DEFAULT_SCENARIO, load_scenario, prepare, relevance_of
from scenarios.markets.simulation import market_of
from scenarios.studies.designs import ArmRun, budget_split, full, query_split
from scenarios.studies.experiments.experiment_run import OTHER_DRAWS
from scenarios.studies.experiments.statistics import Estimate, compare
from simulator.market import Market

METRICS = ("revenue_rpm", "ctr", "irrelevant_share")
SMALL = (
    "sweep=null",
    "world.test_advertisers=150",
    "world.ads_per_advertiser=4",
    "world.query_pool=6000",
    "retrieval.candidates=12",
    "traffic.n_queries=300",
    "bidders.pacing_tick_s=43200",
    "scorer=bm25",
)
"""A market small enough to be run thousands of times, with budgets that run out and bids that are paced."""

Day = Callable[[int], Market]
DESIGNS: Mapping[str, Callable[[Day, int], list[ArmRun]]] = {
    "query_split": lambda day, seed: query_split([day(seed)] * 2),
    "budget_split": lambda day, seed: budget_split([day(seed)] * 2),
    "independent": lambda day, seed: [full(day(seed)), full(day(seed + OTHER_DRAWS))],
}


def main() -> None:
    """Print by metric the share of A/A experiments whose intervals miss zero."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--design", choices=DESIGNS, default="query_split")
    parser.add_argument("--experiments", type=int, default=1000)
    parser.add_argument("--seeds", type=int, default=8, help="in each experiment")
    arguments = parser.parse_args()
    n, seeds, design = arguments.experiments, arguments.seeds, DESIGNS[arguments.design]
    prepared = prepare(load_scenario(DEFAULT_SCENARIO, SMALL))
    relevance = relevance_of(prepared, prepared.scenario.scorer)

    def day(seed: int) -> Market:
        return market_of(prepared, relevance, prepared.scenario.model_copy(update={"seed": seed}))

    start, found = time.perf_counter(), []
    for seed in range(n * seeds):
        found.append([[arm.metrics[metric] for metric in METRICS] for arm in design(day, seed)])
        if (seed + 1) % max(n * seeds // 10, 1) == 0:
            print(f"{seed + 1:,} of {n * seeds:,} days, {time.perf_counter() - start:.0f} s", flush=True)
    arms = np.array(found).reshape(n, seeds, 2, len(METRICS))
    print(f"{n:,} A/A experiments ({arguments.design}) of {seeds} seeds: 95% intervals that miss zero")
    print(f"{'metric':20}{'difference':>12}{'change':>12}")
    for place, metric in enumerate(METRICS):
        compared = [compare(*pairs.T) for pairs in arms[..., place]]
        difference, change = (
            f"{100 * np.mean([missed(estimate) for estimate in estimates]):.1f}%"
            for estimates in ([c.difference for c in compared], [c.change for c in compared])
        )
        print(f"{metric:20}{difference:>12}{change:>12}", flush=True)
    print(f"standard error of a share: {100 * math.sqrt(0.05 * 0.95 / n):.1f}%")


def missed(estimate: Estimate) -> bool:
    """Whether an interval lies wholly on one side of zero."""
    return estimate.t_low > 0 or estimate.t_high < 0


if __name__ == "__main__":
    main()
