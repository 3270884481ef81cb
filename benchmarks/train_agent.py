"""A bidder for the arena that learns by reinforcement: stable-baselines3's PPO in the PettingZoo environment.

    pip install 'relbid[agents]'
    python -m benchmarks.train_agent --out agent.zip
    relbid arena --policy benchmarks.train_agent:trained

All seats of a market (bidders.seats) are one agent's advertisers: they share its network, see their own
reports, and earn what their clicks bring less what they cost. They are those of a world that the arena does
not use. `RELBID_AGENT` names the file that `trained` reads, agent.zip by default.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np

from relevance.extras import require
from scenarios import load_scenario, prepare, relevance_of
from scenarios.markets.loading import DEFAULT_SCENARIO
from scenarios.markets.simulation import market_of
from simulator.clock.pettingzoo import MarketEnv
from simulator.policies import Agent
from simulator.policies.agent import Single

WORLD = 101
"""Trained in, each episode with draws of its own; the arena begins with world 1."""


def seen_by_network(seen: Single) -> Single:
    """Amounts and counts range over orders of magnitude; the network reads their logarithms."""
    return np.log1p(seen)


def environment(n_queries: int) -> MarketEnv:
    """The seats of the world as agents."""
    settings = [
        f"traffic.n_queries={n_queries}",
        f"world.seed={WORLD}",
        "bidders.seats.policy=shading",
        "traffic.warm_up_days=1",
    ]
    prepared = prepare(load_scenario(DEFAULT_SCENARIO, settings, scorer="bm25"))
    market = market_of(prepared, relevance_of(prepared, "bm25"))
    assert market.seat is not None
    return MarketEnv(market, np.flatnonzero(market.seat).tolist())


def train(out: Path, *, steps: int, n_queries: int, seed: int) -> None:
    """Train and keep the network.

    Args:
        steps: of one advertiser at one tick.
    """
    require("stable_baselines3", "supersuit", extra="agents", needed_by="training a bidder")
    import supersuit
    from stable_baselines3 import PPO
    from stable_baselines3.common.utils import set_random_seed
    from stable_baselines3.common.vec_env import VecNormalize

    set_random_seed(seed)
    env = supersuit.observation_lambda_v0(
        environment(n_queries), lambda seen, _: seen_by_network(seen), lambda space, _: space
    )
    each = supersuit.pettingzoo_env_to_vec_env_v1(env)  # an environment for every advertiser
    together = supersuit.concat_vec_envs_v1(each, 1, num_cpus=0, base_class="stable_baselines3")
    # A day is 96 ticks and what follows the last. Rewards are money, whose size depends on the market.
    scaled = VecNormalize(together, norm_obs=False)
    model = PPO("MlpPolicy", scaled, n_steps=97, batch_size=together.num_envs, gamma=0.999)
    model.learn(steps, progress_bar=False)
    model.save(out)


def trained() -> Agent:
    """The policy of the network that was kept, for the arena."""
    require("stable_baselines3", extra="agents", needed_by="this bidder")
    from stable_baselines3 import PPO

    model = PPO.load(os.environ.get("RELBID_AGENT", "agent.zip"), device="cpu")
    return Agent(lambda seen: model.predict(seen_by_network(seen), deterministic=True)[0])


def main() -> None:
    """Train."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path("agent.zip"))
    parser.add_argument("--steps", type=int, default=300_000)
    parser.add_argument("--queries", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    train(given.out, steps=given.steps, n_queries=given.queries, seed=given.seed)


if __name__ == "__main__":
    main()
