"""From a world to a market: what is drawn, and what it may depend on."""

from dataclasses import dataclass, field, replace
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from relevance.errors import ScorerError
from simulator.bidders import BidderModel, said_as_policies
from simulator.clock.engine import simulate
from simulator.fusion import Linear
from simulator.market import (
    AuctionModel,
    Market,
    ServingModel,
    TrafficModel,
    build_market,
    retrieve_candidates,
    with_relevance,
)
from simulator.measures.market_metrics import market_metrics
from simulator.policies import Shading, Truthful
from simulator.policies.seats import DEVIATING, SEATED, Seats, seat_of
from simulator.scoring import score_candidates
from simulator.sessions import SessionModel
from simulator.users import UserModel


@dataclass
class SmallWorld:
    """Six ads of four advertisers, three queries: the part of a world that a market is built from."""

    corpus: Any = field(
        default_factory=lambda: SimpleNamespace(
            query_text=("red kettle", "kettle", "lamp"), n_queries=3, n_ads=6
        )
    )
    advertiser: Any = field(default_factory=lambda: np.array([0, 0, 1, 2, 3, 3]))
    n_advertisers: int = 4
    ad_category: Any = field(default_factory=lambda: np.array([0, 1, 0, 0, 1, 1]))
    query_popularity: Any = field(default_factory=lambda: np.array([0.5, 0.3, 0.2]))
    query_intent: Any = field(default_factory=lambda: np.arange(3))
    query_category: Any = field(default_factory=lambda: np.array([0, 0, 1]))
    keyword: tuple[str, ...] = ("kettle", "lamp", "red kettle", "kettle", "lamp", "desk lamp")
    keyword_ad: Any = field(default_factory=lambda: np.arange(6))
    keyword_match: Any = field(default_factory=lambda: np.array([2, 2, 0, 2, 2, 2], dtype=np.int8))
    negative_keywords: tuple[tuple[str, int, int], ...] = ()
    associations: tuple[Any, ...] = ()
    common_words: tuple[str, ...] = ()

    @property
    def truth(self) -> Any:
        return SimpleNamespace(grade=lambda query, ad: ((query + ad) % 4).astype(np.int8))


class ConstantScorer:
    def __init__(self, score: float) -> None:
        self.constant = score
        self.asked: list[int] = []

    def score(self, query: Any, ad: Any) -> Any:
        self.asked.append(query.size)
        return np.full(query.shape, self.constant)


def world() -> Any:
    return SmallWorld()


def test_candidates_of_a_world() -> None:
    candidate = retrieve_candidates(world(), 4)
    assert candidate.ad.shape == candidate.recall.shape == (3, 4)
    assert [set(row[row >= 0].tolist()) for row in candidate.ad] == [{0, 2, 3}, {0, 3}, {1, 4}]


def test_scores_are_asked_in_chunks_and_once_per_pair() -> None:
    candidate, scorer, seen = retrieve_candidates(world(), 4).ad, ConstantScorer(0.5), []
    relevance = score_candidates(scorer, candidate, chunk=3, progress=lambda *done: seen.append(done))
    assert scorer.asked == [3, 3, 1]
    assert seen == [(3, 7), (6, 7), (7, 7)]
    assert ((relevance == 0.5) == (candidate >= 0)).all()
    with pytest.raises(ScorerError, match="mine"):
        score_candidates(ConstantScorer(1.5), candidate, name="mine")


def test_market_from_defaults_runs() -> None:
    candidate = retrieve_candidates(world(), 4)
    met = candidate.ad >= 0
    market = build_market(
        world(), candidate, np.ones(candidate.ad.shape), seed=1, traffic=TrafficModel(n_queries=2000)
    )
    assert market.arrival_s.shape == (2000,)
    assert market.n_slots == 4
    assert (market.grade[met] == world().truth.grade(np.arange(3)[:, None], candidate.ad)[met]).all()
    assert (market.pctr[met] > 0).all()
    assert (market.pctr[~met] == 0).all()
    metrics = market_metrics(simulate(market), market)
    assert metrics["revenue"] > 0
    assert metrics["impressions"] > 2000


def test_draws_do_not_depend_on_relevance_rule_or_serving() -> None:
    candidate = retrieve_candidates(world(), 4)
    traffic = TrafficModel(n_queries=50)
    one = build_market(world(), candidate, np.ones(candidate.ad.shape), seed=1, traffic=traffic)
    other = build_market(
        world(),
        candidate,
        np.zeros(candidate.ad.shape),
        seed=1,
        traffic=traffic,
        rule=Linear(),
        auction=AuctionModel(reserve=0.3),
        serving=ServingModel(batch_size=3),
    )
    for name in ("pctr", "attraction", "value", "budget_micros", "paced", "arrival_s", "query"):
        assert np.array_equal(getattr(one, name), getattr(other, name)), name
    assert np.array_equal(with_relevance(one, other.relevance).relevance, other.relevance)
    reseeded = build_market(world(), candidate, np.ones(candidate.ad.shape), seed=2, traffic=traffic)
    assert not np.array_equal(one.arrival_s, reseeded.arrival_s)


def test_no_day_of_poisson_traffic_repeats_another_ones_queries() -> None:
    traffic = TrafficModel(n_queries=200, fixed_count=False, days=30)
    candidate = retrieve_candidates(world(), 4)
    market = build_market(world(), candidate, np.ones(candidate.ad.shape), seed=3, traffic=traffic)
    by_day = np.split(market.query, np.searchsorted(market.arrival_s, 86_400.0 * np.arange(1, 30)))
    assert len({day.size for day in by_day}) > 10
    for before, after in pairwise(by_day):
        for shift in range(before.size - 40):
            n = min(before.size - shift, after.size)
            assert (before[shift : shift + n] == after[:n]).mean() < 0.9


def test_poisson_traffic_varies_in_number() -> None:
    candidate = retrieve_candidates(world(), 4)
    traffic = TrafficModel(n_queries=400, fixed_count=False)
    counts = [
        build_market(world(), candidate, np.ones(candidate.ad.shape), seed=seed, traffic=traffic).query.size
        for seed in range(30)
    ]
    assert np.mean(counts) == pytest.approx(400, abs=4 * np.sqrt(400 / 30))
    assert len(set(counts)) > 10


def test_models_pass_through() -> None:
    candidate = retrieve_candidates(world(), 4)
    market = build_market(
        world(),
        candidate,
        np.ones(candidate.ad.shape),
        seed=1,
        traffic=TrafficModel(n_queries=10, horizon_s=100.0, shape=(1.0, 3.0)),
        users_model=UserModel(examination=(1.0, 0.5)),
        bidder_model=BidderModel(paced_share=0.0, value_sigma=0.0, category_sigma=0.0),
    )
    assert market.n_slots == 2
    assert not market.paced.any()
    assert market.value.tolist() == [1.0] * 6
    assert market.arrival_s.max() < 100


@pytest.mark.parametrize(
    "make",
    [
        lambda: TrafficModel(n_queries=0),
        lambda: AuctionModel(reserve=-1.0),
        lambda: AuctionModel(mechanism="english"),
        lambda: ServingModel(batch_size=0),
        lambda: ServingModel(window_s=-1.0),
    ],
)
def test_impossible_settings_are_refused(make: Any) -> None:
    with pytest.raises(ValueError, match=r"traffic|auction|serving"):
        make()


def test_a_share_has_seats_and_half_of_them_can_deviate() -> None:
    u = (np.arange(1000) + 0.5) / 1000
    seat = seat_of(Seats("truthful", share=0.3), u)
    assert np.bincount(seat).tolist() == [700, 150, 150]
    assert (seat[u < 0.3] > 0).all()
    assert not seat_of(Seats(), u).any()


def test_seats_are_the_same_whatever_sits_on_them() -> None:
    candidate = retrieve_candidates(world(), 8)
    relevance = np.ones(candidate.ad.shape)

    def market(**seats: Any) -> Market:
        bidders = BidderModel(seats=Seats(share=0.7, budget=0.25, **seats))
        return build_market(
            world(), candidate, relevance, seed=1, bidder_model=bidders, traffic=TrafficModel(n_queries=50)
        )

    none, one, other = market(), market(policy="truthful"), market(policy="bandit", deviate=0.3)
    assert none.seat is None
    assert not none.policies
    assert one.seat is not None
    assert other.seat is not None
    assert one.seat.tolist() == other.seat.tolist()
    seated = one.seat > 0
    assert seated.any()
    assert one.budget_micros[~seated].tolist() == none.budget_micros[~seated].tolist()
    assert one.budget_micros[seated].tolist() == (none.budget_micros[seated] // 4).tolist()
    follows = {type(policy): who.tolist() for policy, who in one.policies}
    assert follows[Truthful] == np.flatnonzero(seated).tolist()
    assert sorted(i for who in follows.values() for i in who) == list(range(seated.size))
    assert other.policies[0].advertisers.tolist() == np.flatnonzero(other.seat == SEATED).tolist()
    assert other.policies[1] == (Shading(0.3), other.policies[1].advertisers)
    assert other.policies[1].advertisers.tolist() == np.flatnonzero(other.seat == DEVIATING).tolist()


def test_those_without_a_seat_bid_as_before() -> None:
    """The default bidders said as policies are the default bidders."""
    candidate = retrieve_candidates(world(), 8)
    plain = build_market(
        world(), candidate, np.ones(candidate.ad.shape), seed=1, traffic=TrafficModel(n_queries=500)
    )
    said = replace(plain, policies=said_as_policies(plain.bidders, plain.paced))
    assert simulate(plain).spent_micros.tolist() == simulate(said).spent_micros.tolist()


def test_sessions_of_users_whom_nobody_follows() -> None:
    candidate = retrieve_candidates(world(), 8)
    traffic = TrafficModel(n_queries=300, sessions=SessionModel(queries_per_session=2.0))
    market = build_market(world(), candidate, np.ones(candidate.ad.shape), seed=1, traffic=traffic)
    assert market.query.size == 300
    assert market.user is None
