"""Bid policies in running markets: known answers, and what they may not change."""

from dataclasses import replace

import numpy as np
import pytest

from simulator import bidders
from simulator.arrays import FloatArray, to_micros
from simulator.bidders import BidderModel, Followers, PolicyShare
from simulator.clock.engine import simulate
from simulator.log import SimulationLog
from simulator.market import AuctionModel, Market, hand_market
from simulator.pairs import PairTables
from simulator.policies import BidPolicy, Bids, DualPacing, Report, State, Truthful
from simulator.users import UserModel
from tests.simulator.markets import random_market


class Listening:
    """Bids the value and keeps every report."""

    def __init__(self) -> None:
        self.seen: list[Report] = []

    def start(self, budget: FloatArray, value: FloatArray) -> tuple[State, Bids]:
        return (), Bids(np.ones_like(value), np.ones_like(value))

    def adjust(self, state: State, report: Report, u: FloatArray) -> tuple[State, Bids]:
        self.seen.append(report)
        return state, Bids(np.ones_like(report.value), np.ones_like(report.value))


class Unfit(Truthful):
    """Bids below nothing."""

    def adjust(self, state: State, report: Report, u: FloatArray) -> tuple[State, Bids]:
        return state, Bids(-np.ones_like(report.value), np.ones_like(report.value))


def two_goods(mechanism: str, policies: tuple[BidPolicy, BidPolicy], days: int = 4) -> Market:
    """Conitzer, Kroer, Sodomka and Stier-Moses: A values both goods at 4, B at 2 and 1; A has 2 a round.

    A round sells each good once; 400 rounds a day, budgets renewed, a look at the report every second round.
    """
    rounds = 400 * days
    return Market(
        seed=1,
        pairs=PairTables(
            candidate=np.array([[0, 1], [0, 2]]),  # good g1: A's ad and B's first; g2: A's ad and B's second
            grade=np.full((2, 2), 3, dtype=np.int8),
            attraction=np.ones((2, 2)),
            pctr=np.ones((2, 2)),
        ),
        relevance=np.ones((2, 2)),
        advertiser=np.array([0, 1, 1]),
        value=np.array([4.0, 2.0, 1.0]),
        budget_micros=to_micros([2.0 * 400, 1e6]),
        paced=np.zeros(2, dtype=bool),
        arrival_s=np.arange(2 * rounds, dtype=np.float64),
        query=np.tile([0, 1], rounds),
        horizon_s=800.0,
        auction=AuctionModel(reserve=0.0, mechanism=mechanism),
        users=UserModel(examination=(1.0,)),
        bidders=BidderModel(pacing_tick_s=4.0),
        days=days,
        policies=tuple(Followers(policy, np.array([i])) for i, policy in enumerate(policies)),
    )


def last_day(log: SimulationLog, market: Market) -> tuple[float, float, float]:
    """A's multiplier, and A's spend and the revenue per round, on the last day."""
    late = log.time_s >= (market.days - 1) * market.horizon_s
    a = late & (log.advertiser == 0)
    rounds = market.horizon_s / 2
    revenue = log.charged_micros[late].sum() / 1e6 / rounds
    return log.bid_micros[a].mean() / 4e6, log.charged_micros[a].sum() / 1e6 / rounds, revenue


@pytest.mark.parametrize(("mechanism", "revenue"), [("gsp", 3.0), ("first_price", 4.0)])
def test_dual_pacing_comes_to_the_pacing_equilibrium(mechanism: str, revenue: float) -> None:
    """A's multiplier 1/2, spending 2 a round; revenue 3 in second price and 4 in first price (within 3%)."""
    market = two_goods(mechanism, (DualPacing(shading=1.0, step=0.02), Truthful()))
    multiplier, spent, revenue_found = last_day(simulate(market), market)
    assert multiplier == pytest.approx(0.5, rel=0.03)
    assert spent == pytest.approx(2.0, rel=0.03)
    assert revenue_found == pytest.approx(revenue, rel=0.03)


def test_budget_known_answer_with_policies() -> None:
    """A bids 5 with budget 12, B bids 3; A leaves when it cannot pay the next price."""
    market = hand_market([5.0, 3.0], budget=[12.0, 1e6])
    log = simulate(replace(market, policies=(Followers(Truthful(), np.arange(2)),)))
    assert log.ad.tolist() == [0, 0, 0, 0, 1, 1]
    assert log.price_micros.tolist() == to_micros([3.0, 3.0, 3.0, 3.0, 0.0, 0.0]).tolist()
    assert log.spent_micros.tolist() == to_micros([12.0, 0.0]).tolist()


@pytest.mark.parametrize("seed", range(3))
def test_the_default_bidders_are_two_policies(seed: int) -> None:
    """Half pacing, half shading: the same log, by either way of saying it."""
    market = random_market(seed)
    model = market.bidders
    steps = {"shading": model.shading, "step": model.pacing_step, "floor": model.pacing_floor}
    groups = (
        Followers(DualPacing(**steps), np.flatnonzero(market.paced)),
        Followers(bidders.make_policy("shading", {"factor": model.shading}), np.flatnonzero(~market.paced)),
    )
    default, said = simulate(market), simulate(replace(market, policies=groups))
    assert default.spent_micros.tolist() == said.spent_micros.tolist()
    assert default.price_micros.tolist() == said.price_micros.tolist()
    assert default.bid_micros.tolist() == said.bid_micros.tolist()


def test_shares_are_cut_from_the_uniform_that_says_who_paces() -> None:
    u = np.array([0.1, 0.49, 0.5, 0.79, 0.8, 0.99])
    groups = bidders.followers(
        (PolicyShare("dual_pacing", 0.5), PolicyShare("shading", 0.3), PolicyShare("bandit", 0.2)), u
    )
    assert [group.advertisers.tolist() for group in groups] == [[0, 1], [2, 3], [4, 5]]
    assert groups[0].advertisers.tolist() == np.flatnonzero(u < 0.5).tolist()


def test_a_day_begins_with_reports_of_its_own() -> None:
    """What came after the last tick of a day is not taken for spend of the next day's budget."""
    listening = Listening()
    market = hand_market([5.0, 3.0], n_queries=200, budget=[1000.0, 1000.0])
    model = replace(market.bidders, pacing_tick_s=25.0)
    groups = (Followers(listening, np.arange(2)),)
    simulate(replace(market, horizon_s=100.0, days=2, bidders=model, policies=groups))
    assert [report.day for report in listening.seen] == [0, 0, 0, 1, 1, 1]
    assert [report.spent[0] for report in listening.seen] == [75.0] * 6
    assert [report.remaining[0] for report in listening.seen] == [925.0, 850.0, 775.0] * 2


@pytest.mark.parametrize(
    ("shares", "message"),
    [
        (({"policy": "truthful", "share": 0.5},), "sum to 1"),
        (({"policy": "truthful", "share": 1.5},), "at most 1"),
        (({"policy": "truthfull", "share": 1.0},), "did you mean 'truthful'"),
        (({"policy": "shading", "share": 1.0, "settings": {"factr": 0.5}},), "did you mean 'factor'"),
        (
            ({"policy": f"{__name__}:Unfit", "share": 1.0},),
            r"cannot be used: adjust\(\) returned bids whose multiplier must be finite",
        ),
    ],
)
def test_impossible_shares_are_refused(shares: tuple[dict[str, object], ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        BidderModel(policies=tuple(PolicyShare(**share) for share in shares))  # type: ignore[arg-type]
