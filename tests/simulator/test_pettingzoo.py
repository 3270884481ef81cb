"""Outside agents: PettingZoo's own test, and that the environment is the run itself."""

import sys
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from simulator.arrays import MICROS
from simulator.bidders import BidderModel, Followers, said_as_policies, without
from simulator.clock.engine import simulate
from simulator.market import Market, hand_market
from simulator.policies import Agent, check_policy
from simulator.policies.agent import Single
from tests.simulator.markets import random_market

pytest.importorskip("pettingzoo", reason="pip install 'relbid[rl]'")

from pettingzoo.test import parallel_api_test

from simulator.clock.pettingzoo import HIGHEST, LOWEST, OWN, MarketEnv


def small_market(**changes: object) -> Market:
    return replace(random_market(4, n_queries=600, tick_s=9000.0), **changes)  # type: ignore[arg-type]


def rollout(env: MarketEnv, seed: int | None) -> list[np.ndarray]:
    """Observations and rewards of agents who move at random, the same way every time."""
    rng = np.random.default_rng(0)
    observations, _ = env.reset(seed=seed)
    seen = list(observations.values())
    while env.agents:
        actions = {agent: rng.uniform(-1, 0.5, 1).astype(np.float32) for agent in env.agents}
        observations, rewards, *_ = env.step(actions)
        seen += [*observations.values(), np.array(list(rewards.values()))]
    return seen


def test_passes_the_api_test() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        parallel_api_test(MarketEnv(small_market(), [2, 0, 5]), num_cycles=100)


def test_same_seed_same_rollout() -> None:
    env = MarketEnv(small_market(), [1, 3])
    first, again, other = rollout(env, 1), rollout(env, 1), rollout(env, 2)
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not all(np.array_equal(a, b) for a, b in zip(first, other, strict=True))


def test_episodes_without_a_seed_have_luck_of_their_own_in_a_fixed_order() -> None:
    one, other = MarketEnv(small_market(), [1, 3]), MarketEnv(small_market(), [1, 3])
    first, second = rollout(one, None), rollout(one, None)
    assert not all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))
    assert all(np.array_equal(a, b) for a, b in zip(first, rollout(other, None), strict=True))
    assert all(np.array_equal(a, b) for a, b in zip(second, rollout(other, None), strict=True))


def test_agents_who_bid_like_the_built_in_ones_change_nothing() -> None:
    """The environment is the engine: with the multiplier of `shading` for all, the log is the run's own."""
    market = small_market(paced=np.zeros(23, dtype=bool))
    market = replace(market, bidders=replace(market.bidders, shading=0.8))
    env = MarketEnv(market, range(23))
    env.reset(seed=market.seed)
    steps = 0
    while env.agents:
        env.step({agent: np.log([0.8]) for agent in env.agents})
        steps += 1
    assert steps == 10, "nine ticks and what follows the last"
    log = simulate(market)
    assert env.log is not None
    assert env.log.spent_micros.tolist() == log.spent_micros.tolist()
    assert env.log.clicked.tolist() == log.clicked.tolist()


@pytest.mark.parametrize("days", [1, 2])
def test_rewards_add_up_to_the_log(days: int) -> None:
    """Value of clicks less spend, whatever came between the last tick and the night included."""
    market = hand_market([5.0, 3.0, 2.0], n_queries=120, attraction=0.5)
    model = BidderModel(shading=1.0, pacing_tick_s=25.0)
    env = MarketEnv(replace(market, horizon_s=120.0 / days, days=days, bidders=model), [0, 2])
    env.reset(seed=1)
    total = np.zeros(2)
    while env.agents:
        _, rewards, *_ = env.step({agent: np.zeros(1) for agent in env.agents})
        total += list(rewards.values())
    log = env.log
    assert log is not None
    for i, who in enumerate((0, 2)):
        own = log.advertiser == who
        clicks = (own & log.clicked).sum() * market.value[who]
        assert total[i] == pytest.approx(clicks - log.charged_micros[own].sum() / MICROS)


def test_rewards_are_conversions_where_there_are_any() -> None:
    market = hand_market([5.0, 3.0], n_queries=400)
    users = replace(market.users, conversion_rate=0.5, conversion_delay_s=1e-6)
    env = MarketEnv(replace(market, users=users), [0])
    env.reset(seed=1)
    total = 0.0
    while env.agents:
        total += env.step({"advertiser_0": np.zeros(1)})[1]["advertiser_0"]
    assert env.log is not None
    converted = np.isfinite(env.log.conversion_s).sum()
    assert 100 < converted < 400
    assert total == pytest.approx(converted * 5.0 / 0.5 - 400 * 3.0)


def test_observation_is_the_own_report() -> None:
    market = hand_market([5.0, 3.0], n_queries=100, budget=[150.0, 1000.0])
    env = MarketEnv(replace(market, bidders=BidderModel(pacing_tick_s=25.0)), [1, 0])
    assert env.possible_agents == ["advertiser_0", "advertiser_1"]
    before, _ = env.reset()
    after, *_ = env.step({"advertiser_0": np.zeros(1), "advertiser_1": np.zeros(1)})
    names = ["time", "ticks_left", *OWN, "slot_price", "slot_clicks"]
    told = {name: float(x) for name, x in zip(names, before["advertiser_0"], strict=True)}
    assert told == {**dict.fromkeys(names, 0.0), "ticks_left": 4, "value": 5, "budget": 150, "remaining": 150}
    told = {name: float(x) for name, x in zip(names, after["advertiser_0"], strict=True)}
    assert told == {
        "time": 0.25, "ticks_left": 3, "value": 5, "budget": 150, "remaining": 75, "impressions": 25,
        "clicks": 25, "spent": 75, "conversions": 0, "conversion_value": 0, "slot_price": 3, "slot_clicks": 1,
    }  # fmt: skip
    assert env.observation_space("advertiser_0").contains(after["advertiser_0"])


def test_actions_are_clipped() -> None:
    env = MarketEnv(hand_market([1.0], n_queries=10, reserve=0.0), [0])
    for action, bid in ((-100.0, np.exp(LOWEST)), (100.0, np.exp(HIGHEST))):
        env.reset()
        env.step({"advertiser_0": np.array([action])})
        assert env.log is not None
        assert env.log.bid_micros[0] / MICROS == pytest.approx(bid, abs=1e-6)


def test_who_is_no_advertiser_is_refused() -> None:
    for wrong in ([], [3], [-1]):
        with pytest.raises(ValueError, match="some of 0 to 2"):
            MarketEnv(hand_market([1.0, 1.0, 1.0]), wrong)


def test_what_is_no_step_is_refused_in_words() -> None:
    env = MarketEnv(hand_market([2.0, 1.0]), [0, 1])
    first, second = env.possible_agents
    with pytest.raises(ValueError, match=r"reset\(\) begins an episode"):
        env.step({first: np.zeros(1)})
    env.reset()
    for actions, words in (
        ({first: np.zeros(1)}, f"has none for {second}"),
        ({first: np.zeros(1), second: np.zeros(2)}, rf"actions\[{second}\] must be one number"),
        ({first: "up", second: np.zeros(1)}, rf"actions\[{first}\] must be one number"),
    ):
        with pytest.raises(ValueError, match=words):
            env.step(actions)
    for seed in (-1, 1.5):
        with pytest.raises(ValueError, match="seed must be"):
            env.reset(seed=seed)  # type: ignore[arg-type]
    for given in ({"bid": -1.0}, {"grade": 7}, {"relevance": 2.0}, {"budget": -1.0}, {"n_queries": 0}):
        with pytest.raises(ValueError, match=f"{next(iter(given))} must be"):
            hand_market(**{"bid": [1.0], **given})


def test_a_missing_extra_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pettingzoo", None)
    monkeypatch.delitem(sys.modules, "simulator.clock.pettingzoo")
    with pytest.raises(ImportError, match=r"pettingzoo is not installed; pip install 'relbid\[rl\]'"):
        import simulator.clock.pettingzoo  # noqa: F401


def test_an_agent_is_seated_with_what_it_saw_in_the_environment() -> None:
    """A policy made of a function bids in a market as the function does as an agent of the environment."""

    def act(seen: Single) -> Single:
        return np.log(0.5 + 0.4 * seen[:, 0] + 0.1 * np.tanh(seen[:, 5])).astype(np.float32)

    market = small_market(paced=np.zeros(23, dtype=bool))
    env = MarketEnv(market, [4, 7])
    seen, _ = env.reset(seed=market.seed)
    first = True
    while env.agents:
        said = act(np.stack(list(seen.values())))
        actions = {agent: np.log([0.8]) if first else said[i : i + 1] for i, agent in enumerate(env.agents)}
        seen, *_ = env.step(actions)
        first = False
    others = without(said_as_policies(market.bidders, market.paced), np.array([4, 7]))
    agent = Agent(act, first=0.8, day_s=market.horizon_s)
    log = simulate(replace(market, policies=(Followers(agent, np.array([4, 7])), *others)))
    assert env.log is not None
    assert env.log.spent_micros.tolist() == log.spent_micros.tolist()
    assert env.log.clicked.tolist() == log.clicked.tolist()
    assert env.log.spent_micros[[4, 7]].all()


def test_an_agent_keeps_to_the_rules_of_policies() -> None:
    assert check_policy(Agent(lambda seen: -np.abs(seen[:, 1:2]) / 100)) == []


def test_stable_baselines_learns_in_it_and_its_model_is_seated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("stable_baselines3", reason="pip install 'relbid[agents]'")
    pytest.importorskip("supersuit")
    from benchmarks import train_agent

    market = small_market()
    monkeypatch.setattr(train_agent, "environment", lambda n_queries: MarketEnv(market, [2, 5, 9]))
    out = tmp_path / "agent.zip"
    train_agent.train(out, steps=2 * 97 * 3, n_queries=600, seed=1)
    monkeypatch.setenv("RELBID_AGENT", str(out))
    agent = train_agent.trained()
    assert check_policy(agent) == []
    others = without(said_as_policies(market.bidders, market.paced), np.array([2, 5, 9]))
    log = simulate(replace(market, policies=(Followers(agent, np.array([2, 5, 9])), *others)))
    assert log.clicked.any()
