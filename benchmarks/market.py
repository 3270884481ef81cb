"""How fast auctions run on one core, beside a plain Python loop: `python -m benchmarks.market`.

Both are timed in the same run on the same market without pacing, and their charges are compared.
"""

import os
import time

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np

from simulator.arrays import to_micros
from simulator.bidders import BidderModel
from simulator.clock.engine import simulate
from simulator.fusion import RULES
from simulator.market import Market, ServingModel, with_rule, with_settings
from simulator.pairs import PairTables
from simulator.users import UserModel
from tests.simulator.one_by_one import simulate_one_by_one

QUERIES, DISTINCT, ADVERTISERS, CANDIDATES, SLOTS = 100_000, 1500, 300, 32, 4
EXAMINATION = (1.0, 0.7, 0.5, 0.35)  # of the first slots; those below are looked at as often as the last


def make_market(
    queries: int = QUERIES,
    candidates: int = CANDIDATES,
    slots: int = SLOTS,
    advertisers: int = ADVERTISERS,
    paced: float = 0.0,
    budget: float = 250.0,
) -> Market:
    """A day in which some budgets run out: `budget` is the median for 100,000 queries and 300 advertisers."""
    rng = np.random.default_rng(0)
    shape = (DISTINCT, candidates)
    owner = np.argsort(rng.random((DISTINCT, advertisers)), axis=1)[:, :candidates]
    attraction = rng.uniform(0.01, 0.15, shape)
    median = budget * (queries / QUERIES) * (ADVERTISERS / advertisers)
    return Market(
        seed=1,
        pairs=PairTables(
            candidate=owner * 10 + rng.integers(0, 10, shape),
            grade=rng.integers(0, 4, shape).astype(np.int8),
            attraction=attraction,
            pctr=attraction * rng.lognormal(sigma=0.3, size=shape),
        ),
        relevance=rng.random(shape),
        advertiser=np.repeat(np.arange(advertisers), 10),
        value=rng.lognormal(sigma=0.5, size=10 * advertisers),
        budget_micros=to_micros(median * rng.lognormal(sigma=1.0, size=advertisers)),
        paced=rng.random(advertisers) < paced,
        arrival_s=np.sort(rng.uniform(0, 86_400, queries)),
        query=rng.integers(0, DISTINCT, queries),
        horizon_s=86_400.0,
        users=UserModel(examination=(EXAMINATION + EXAMINATION[-1:] * slots)[:slots]),
        bidders=BidderModel(),
    )


def main() -> None:
    """Print auctions per second by rule and batch size, and the ratio to the loop."""
    market = make_market()
    print(f"{QUERIES:,} queries, {CANDIDATES} candidates, {market.n_slots} slots, {ADVERTISERS} advertisers")
    for name, rule in RULES.items():
        for batch_size in (64, 1024, 4096):
            run = with_settings(with_rule(market, rule()), serving=ServingModel(batch_size=batch_size))
            start = time.perf_counter()
            log = simulate(run)
            seconds = time.perf_counter() - start
            print(
                f"{name:8} micro-batch {batch_size:5}: {QUERIES / seconds:10,.0f} auctions/s, "
                f"{seconds:.2f} s, {log.ran_out.mean():.0%} of budgets ran out"
            )

    start = time.perf_counter()
    log = simulate(market)
    seconds = time.perf_counter() - start
    start = time.perf_counter()
    _, spent = simulate_one_by_one(market)
    loop = time.perf_counter() - start
    assert spent == log.spent_micros.tolist()
    print(
        f"plain loop: {QUERIES / loop:,.0f} auctions/s; arrays are {loop / seconds:.1f} times as fast, "
        "and charge the same to the micro"
    )


if __name__ == "__main__":
    main()
