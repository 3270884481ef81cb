"""Bids by match type: what advertisers learn, what it changes, and that it depends on no batch."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from simulator.bidders import BidderModel
from simulator.clock.engine import simulate
from simulator.clock.run import Run
from simulator.fusion import FusionRule, Product
from simulator.market import Market, ServingModel, WarmUp, with_settings
from simulator.measures.market_metrics import market_metrics
from simulator.policies.match_types import MatchBids, MatchCounts, group_of, multipliers
from simulator.users import UserModel
from tests.simulator.markets import random_market
from tests.simulator.test_engine import same_bytes

LEARN = MatchBids(learn=True, weight=20.0)


def matched_market(
    seed: int, *, days: int = 3, a_day: int = 3000, learn: MatchBids = LEARN, rule: FusionRule | None = None
) -> Market:
    """A crowded little market over days, found by all kinds of recall; what is expanded is irrelevant."""
    market = random_market(seed, n_queries=a_day * days, budget=40.0, rule=rule)
    recall = np.random.default_rng(seed).integers(0, 6, market.candidate.shape).astype(np.int8)
    return with_settings(
        market,
        recall=recall,
        grade=np.where(recall >= 3, 0, 3).astype(np.int8),
        days=days,
        arrival_s=np.sort(np.random.default_rng(seed).uniform(0, days * 86_400.0, a_day * days)),
        users=UserModel(examination=(1.0, 0.6, 0.3), conversion_rate=0.5),
        bidders=replace(market.bidders, match_bids=learn),
    )


def test_groups() -> None:
    assert group_of(np.array([0, 1, 2, 3, 4, 7], dtype=np.int8)).tolist() == [0, 1, 2, 3, 3, 3]


def test_multipliers_by_hand() -> None:
    model = MatchBids(learn=True, prior=(1.0, 1.0, 0.5, 0.5), weight=100.0)
    nothing = np.zeros((2, 4), dtype=np.int64)
    assert multipliers(model, nothing, nothing).tolist() == [[1.0, 1.0, 0.5, 0.5]] * 2
    assert multipliers(model, nothing + 5, nothing).tolist() == [[1.0, 1.0, 0.5, 0.5]] * 2
    # 100 and 300 clicks of exact and expanded, 40 and 30 conversions: 70 of 400 overall.
    clicks = np.array([[100, 0, 0, 200], [0, 0, 0, 100]])
    conversions = np.array([[40, 0, 0, 20], [0, 0, 0, 10]])
    exact = (40 + 100 * 1.0 * 0.175) / 200
    expanded = (30 + 100 * 0.5 * 0.175) / 400
    pooled = np.array([exact, 0.175, 0.0875, expanded])
    rate = (conversions + 100 * pooled) / (clicks + 100)
    weight = clicks + 100 * np.array([0.25, 0, 0, 0.75])
    own = (weight * rate).sum(axis=1) / weight.sum(axis=1)
    found = multipliers(model, clicks, conversions)
    assert found == pytest.approx(rate / own[:, None])
    assert (weight * found).sum(axis=1) == pytest.approx(weight.sum(axis=1)), "bids move, and do not rise"


def test_small_advertisers_lean_on_the_market_and_large_ones_on_themselves() -> None:
    clicks = np.array([[50_000, 0, 0, 50_000], [1, 0, 0, 1], [50_000, 0, 0, 50_000]])
    conversions = np.array([[5000, 0, 0, 500], [0, 0, 0, 1], [1000, 0, 0, 4000]])
    large, small, other = multipliers(MatchBids(learn=True), clicks, conversions)
    assert large[0] / large[3] == pytest.approx(10, rel=0.05)
    assert other[0] / other[3] == pytest.approx(0.25, rel=0.05)
    market = (6000 / 100_000) / (4501 / 100_001)
    assert small[0] / small[3] == pytest.approx(market, rel=0.15)


def test_conversions_count_when_they_happen_and_days_carry_over() -> None:
    counts = MatchCounts(2)
    owner, recall = np.array([[0, 1, -1]]), np.array([[0, 5, 0]], dtype=np.int8)
    counts.count(owner, recall, np.array([[True, True, False]]), np.array([[50.0, 150.0, np.inf]]))
    assert counts.clicks.sum() == 0, "until the day is over"
    counts.end_day(100.0)
    assert counts.clicks.tolist() == [[1, 0, 0, 0], [0, 0, 0, 1]]
    assert counts.conversions.tolist() == [[1, 0, 0, 0], [0, 0, 0, 0]]
    later = counts.later(100.0)
    later.end_day(49.0)
    assert later.conversions.tolist() == [[1, 0, 0, 0], [0, 0, 0, 0]]
    later.end_day(50.0)
    assert later.conversions.tolist() == [[1, 0, 0, 0], [0, 0, 0, 1]]
    assert counts.conversions.sum() == 1, "the copy is one"


@pytest.mark.parametrize("settings", [{"prior": (1.0, 1.0, 0.0, 1.0)}, {"weight": 0.0}])
def test_impossible_settings_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"bidders\.match_bids"):
        MatchBids(**settings)


def test_advertisers_who_learn_bid_less_where_clicks_do_not_convert() -> None:
    market = matched_market(1)
    log = simulate(market)
    first, last = log.time_s < 86_400.0, log.time_s >= 2 * 86_400.0
    expanded = log.recall >= 3
    assert expanded[last].mean() < 0.7 * expanded[first].mean()
    of_ad = {}
    for when, name in ((first, "first"), (last, "last")):
        known = when & (log.ad == np.bincount(log.ad[when & expanded]).argmax())
        of_ad[name] = log.bid_micros[known & expanded].max() / log.bid_micros[known & ~expanded].max()
    assert of_ad["first"] <= 1.0
    assert of_ad["last"] < 0.7
    alike = simulate(with_settings(market, bidders=replace(market.bidders, match_bids=MatchBids())))
    irrelevant = (market_metrics(one, market)["irrelevant_share"] for one in (log, alike))
    assert next(irrelevant) < 0.9 * next(irrelevant)


def test_the_prior_is_what_is_bid_before_any_click() -> None:
    prior = (1.0, 0.9, 0.8, 0.5)
    market = matched_market(2, days=1, learn=MatchBids(learn=True, prior=prior))
    bid = Run(market).bid
    plain = Run(with_settings(market, bidders=BidderModel(shading=1.0))).bid
    assert bid == pytest.approx(plain[:, None] * np.array(prior), abs=1e-6)
    assert (np.rint(bid * 1e6) / 1e6 == bid).all(), "whole micros"
    log = simulate(market)
    assert int(log.charged_micros.sum()) == int(log.spent_micros.sum())
    assert (log.price_micros <= log.bid_micros).all()


def test_a_prior_of_ones_is_no_difference_on_the_first_day() -> None:
    market = matched_market(3, days=1)
    alike = with_settings(market, bidders=replace(market.bidders, match_bids=MatchBids()))
    assert same_bytes(simulate(market), simulate(alike)) == []


@pytest.mark.parametrize("rule", [Product(), Product(relevance=0.3)])
def test_the_batch_size_does_not_matter(rule: Product) -> None:
    market = matched_market(4, rule=rule, days=2, a_day=500)
    whole, *others = (
        simulate(with_settings(market, serving=ServingModel(batch_size=size))) for size in (4096, 1, 64)
    )
    assert [same_bytes(whole, other) for other in others] == [[], []]


def test_days_before_are_learnt_from() -> None:
    market = matched_market(5, days=1)
    days = matched_market(5, days=2)
    before = WarmUp(days.arrival_s, days.query, None, 2)
    warm = simulate(with_settings(market, warm_up=before))
    cold = simulate(market)
    assert (warm.recall >= 3).mean() < 0.8 * (cold.recall >= 3).mean()
