"""Outside agents as advertisers: a PettingZoo parallel environment of a market's run.

Some advertisers are agents; all others follow the policies that the market has. A step is a tick: agents set
the multiplier of their bids, the run continues to the next tick, and each agent is told its own report.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from relevance.extras import require

require("gymnasium", "pettingzoo", extra="rl", needed_by="the environment of agents")

from gymnasium import spaces
from pettingzoo import ParallelEnv

from relevance.ranges import check_within
from simulator import random
from simulator.arrays import MICROS, FloatArray
from simulator.bidders import Followers, mean_value, said_as_policies, without
from simulator.clock.engine import ticks, with_past
from simulator.clock.run import Run
from simulator.log import SimulationLog
from simulator.market import Market
from simulator.policies import Bids, Report
from simulator.policies.agent import HIGHEST, LOWEST, OWN, Single, multiplier_of, observations


class MarketEnv(ParallelEnv[str, Single, Single]):
    """A market in which the advertisers numbered `advertisers` are agents, "advertiser_7" and so on.

    Action, F[1]: the log of the bid's multiplier until the next tick; bid = value per click x exp(action),
    with actions clipped to [-4, 2]. Observation, F[10 + 2S]: the share of the day that is over, the number of
    ticks left in it, the figures OWN of the last tick, then price per click and clicks per query of the S
    slots; all zero but for time, value and budget before the first step. Reward: what the step's clicks
    brought less what they cost, in currency; they bring the value of the conversions reported, or, where the
    market has none (users.conversion_rate 0), clicks x own mean value. An episode is a run: a step per tick
    and one for what follows the last, then `log` has everything.

    `reset(seed=...)` sets the random draws of users, ties and policies. Without a seed each episode has draws
    of its own, keyed by the last seed given (at first the market's). Arrivals, values and budgets are the
    market's. In the days of its warm-up all advertisers follow its own policies.
    """

    metadata = {"name": "relbid_market_v0", "render_modes": []}  # noqa: RUF012 (as PettingZoo declares it)

    def __init__(self, market: Market, advertisers: Sequence[int]) -> None:
        n = market.budget_micros.size
        who = np.unique(np.asarray(advertisers))
        if not who.size or who.dtype.kind not in "iu" or who[0] < 0 or who[-1] >= n:
            raise ValueError(f"advertisers must be some of 0 to {n - 1}, got {advertisers}")
        self.market = with_past(market)
        self.possible_agents = [f"advertiser_{i}" for i in who]
        self.agents: list[str] = []
        self.render_mode = None  # wrappers ask for it
        self.log: SimulationLog | None = None
        self._who = who
        self._value = mean_value(market.value, market.advertiser, n)
        width = 2 + len(OWN) + 2 * market.n_slots
        self._seen = spaces.Box(0.0, np.inf, (width,), np.float32)
        # One each: an agent's space is seeded on its own.
        self._moves = {name: spaces.Box(LOWEST, HIGHEST, (1,), np.float32) for name in self.possible_agents}
        self._seed, self._episode = market.seed, 0

    def observation_space(self, agent: str) -> spaces.Box:
        return self._seen

    def action_space(self, agent: str) -> spaces.Box:
        return self._moves[agent]

    def reset(
        self, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Single], dict[str, dict[str, Any]]]:
        """Begin a new episode; `options` are not read."""
        if seed is not None:
            check_within("seed", seed, 0, 2**63, whole=True)
            self._seed, self._episode = seed, 0
        seed = self._seed
        if self._episode:
            seed = int(random.generator(self._seed, f"episode {self._episode}").integers(2**62))
        self._episode += 1
        self.agents, self.log = self.possible_agents[:], None
        self._bids = _Outside(np.zeros(self._who.size))
        others = self.market.policies or said_as_policies(self.market.bidders, self.market.paced)
        groups = (Followers(self._bids, self._who), *without(others, self._who))
        self._run: _WatchedRun | None = None  # opened when the first bids are known
        past = self.market.past
        past = None if past is None else past._replace(bidding=None)  # that of other policies
        self._run_market = replace(self.market, seed=seed, policies=groups, past=past)
        self._look = _before(self.market, self._value)
        return self._observations(), {agent: {} for agent in self.agents}

    def step(
        self, actions: dict[str, Single]
    ) -> tuple[
        dict[str, Single], dict[str, float], dict[str, bool], dict[str, bool], dict[str, dict[str, Any]]
    ]:
        """Bid until the next tick."""
        if not self.agents:
            raise ValueError("no agent has an action: reset() begins an episode, and the last one is over")
        if lacking := [agent for agent in self.agents if agent not in actions]:
            raise ValueError(f"actions must have one for each agent, has none for {lacking[0]}")
        said = [_number(agent, actions[agent]) for agent in self.agents]
        self._bids.multiplier = multiplier_of(np.array(said), len(said))
        if self._run is None:
            self._run = _WatchedRun(self._run_market)
            self._pauses: Iterator[float] = ticks(self._run_market, self._run)
        run, now = self._run, next(self._pauses, None)
        reports = [report.of(self._who) for report in run.unseen]
        run.unseen.clear()
        if now is not None:
            self._look = run.look(now)
            reports.append(self._look.of(self._who))
        else:
            self.log = run.close()
        rewards = sum((self._earned(report) for report in reports), start=np.zeros(self._who.size))
        over = now is None
        alive, self.agents = self.agents, [] if over else self.agents
        return (
            self._observations(),
            dict(zip(alive, rewards.tolist(), strict=True)),
            dict.fromkeys(alive, over),
            dict.fromkeys(alive, False),
            {agent: {} for agent in alive},
        )

    def _earned(self, report: Report) -> FloatArray:
        simulated = self.market.users.conversion_rate > 0
        brought = report.conversion_value if simulated else report.clicks * report.value
        return brought - report.spent

    def _observations(self) -> dict[str, Single]:
        seen = observations(self._look.of(self._who), self.market.horizon_s)
        return dict(zip(self.possible_agents, seen, strict=True))


def _number(agent: str, action: Any) -> float:
    array = np.asarray(action)
    if array.size != 1 or array.dtype.kind not in "fiub":
        raise ValueError(f"actions[{agent}] must be one number, a log multiplier, got {action!r}")
    return float(array.reshape(()))


class _Outside:
    """A policy whose multipliers are set from outside. It is not pure, and is used only here."""

    def __init__(self, multiplier: FloatArray) -> None:
        self.multiplier = multiplier

    def start(self, budget: FloatArray, value: FloatArray) -> tuple[None, Bids]:
        return None, Bids(self.multiplier, np.ones_like(self.multiplier))

    def adjust(self, state: None, report: Report, u: FloatArray) -> tuple[None, Bids]:
        return None, Bids(self.multiplier, np.ones_like(self.multiplier))


class _WatchedRun(Run):
    """A run that keeps the reports of what follows the last tick of a day, which no policy gets."""

    def __init__(self, market: Market) -> None:
        super().__init__(market)
        self.unseen: list[Report] = []

    def look(self, now: float) -> Report:
        """What would be reported now."""
        market = self.market
        assert self.tally is not None  # the market has policies
        ticks_left = ((self.day + 1) * market.horizon_s - now) / market.bidders.pacing_tick_s
        return self.tally.look(now, self.day, ticks_left, self.accounts)

    def end_day(self) -> None:
        self.unseen.append(self.look((self.day + 1) * self.market.horizon_s))
        super().end_day()


def _before(market: Market, value: FloatArray) -> Report:
    """What advertisers know before the first step."""
    budget, nothing = market.budget_micros / MICROS, np.zeros(value.size)
    return Report(
        time_s=0.0,
        day=0,
        ticks_left=market.horizon_s / market.bidders.pacing_tick_s,
        budget=budget,
        remaining=budget,
        value=value,
        impressions=nothing,
        clicks=nothing,
        spent=nothing,
        conversions=nothing,
        conversion_value=nothing,
        slot_price=np.zeros(market.n_slots),
        slot_clicks=np.zeros(market.n_slots),
    )
