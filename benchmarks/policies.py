"""What each bid policy does with the same advertisers: `python -m benchmarks.policies`.

One market of the embedded world, ranked with BM25 relevance. The same tenth of the advertisers follows each
policy in turn, on a third of its usual budget; the others bid as by default. A row is the mean over seeds.
"""

import argparse
import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("POLARS_MAX_THREADS", "1")

from dataclasses import replace

import numpy as np

from relevance.lexical import Bm25Scorer
from simulator import random
from simulator.arrays import MICROS, FloatArray
from simulator.bidders import Followers
from simulator.clock.engine import simulate
from simulator.market import Market, TrafficModel, build_market, retrieve_candidates
from simulator.policies import POLICIES, DualPacing, Shading, make_policy
from simulator.scoring import score_candidates
from simulator.users import UserModel
from simulator.world import WorldConfig, build_world

QUARTERS = ("0-6 h", "6-12 h", "12-18 h", "18-24 h")
COLUMNS = ("budget used", "ran out", *QUARTERS, "price", "surplus", "ROAS", "CPA")


def main() -> None:
    """Print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--queries", type=int, default=20_000)
    parser.add_argument("--seeds", type=int, default=5)
    options = parser.parse_args()
    print(f"| policy | {' | '.join(COLUMNS)} |\n|---|{'---|' * len(COLUMNS)}")
    markets = [make_market(options.queries, seed) for seed in range(1, options.seeds + 1)]
    for name in POLICIES:
        row = np.nanmean([figures(*market, name) for market in markets], axis=0)
        shares, (price, surplus, roas, cpa) = row[:6], row[6:]
        cells = [*(f"{share:.0%}" for share in shares), f"{price:.2f}", f"{surplus:.0f}"]
        print(f"| {name} | {' | '.join([*cells, f'{roas:.2f}', f'{cpa:.1f}'])} |", flush=True)


def make_market(n_queries: int, seed: int) -> tuple[Market, FloatArray]:
    """A day of the embedded world, and uniforms that say who follows the policy."""
    world = build_world(WorldConfig(), "test", draw=False)  # BM25 looks at no frames
    candidate = retrieve_candidates(world, 32)
    market = build_market(
        world,
        candidate,
        score_candidates(Bm25Scorer(world.corpus), candidate.ad),
        seed=seed,
        traffic=TrafficModel(n_queries=n_queries),
        users_model=UserModel(conversion_rate=0.05),
    )
    return market, random.uniforms(seed, "follows", 0, 1, world.n_advertisers)[0]


def figures(market: Market, u: FloatArray, name: str) -> list[float]:
    """The row of a policy: shares of budget, accounts and spend, then price per click, surplus, ROAS, CPA."""
    model, n = market.bidders, market.budget_micros.size
    ours = u < 0.1
    groups = (
        Followers(make_policy(name), np.flatnonzero(ours)),
        Followers(
            DualPacing(model.shading, model.pacing_step, model.pacing_floor),
            np.flatnonzero(market.paced & ~ours),
        ),
        Followers(Shading(model.shading), np.flatnonzero(~market.paced & ~ours)),
    )
    budget = np.where(ours, market.budget_micros // 3, market.budget_micros)
    log = simulate(replace(market, policies=groups, budget_micros=budget))

    own = ours[log.advertiser]
    spent, clicked = log.charged_micros[own] / MICROS, log.clicked[own]
    quarter = (log.time_s[own] // (market.horizon_s / len(QUARTERS))).astype(int)
    by_quarter = np.bincount(quarter, weights=spent, minlength=len(QUARTERS)) / spent.sum()
    value, grade = market.value[log.ad[own]], log.grade[own]
    worth = (value * np.asarray(market.users.worth_of_click)[grade])[clicked].sum()
    converted = np.isfinite(log.conversion_s[own])
    earned = (value[converted] / market.users.conversion_rate).sum()
    assert log.budget_micros.size == n
    return [
        log.spent_micros[ours].sum() / budget[ours].sum(),
        log.ran_out[ours].mean(),
        *by_quarter,
        spent.sum() / clicked.sum(),
        worth - spent.sum(),
        earned / spent.sum(),
        spent.sum() / max(converted.sum(), 1),
    ]


if __name__ == "__main__":
    main()
