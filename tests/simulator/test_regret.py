"""Regret by advertiser: made by hand, and found again by trying every bid."""

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from simulator import auction, journey
from simulator.arrays import MICROS
from simulator.clock.engine import simulate
from simulator.fusion import Gate, Product
from simulator.market import ServingModel, hand_market, with_settings
from simulator.measures.regret import advertiser_regret, offers
from simulator.users import UserModel
from tests.simulator.markets import random_market

ONE_SLOT = UserModel(examination=(1.0,), worth_of_click=(0.1, 0.4, 1.0, 1.0))


def regret_of(bid, pctr=1.0, value=None, grade=3, **more):
    """One auction of one slot; a click is certain, and worth its value unless the grade says otherwise."""
    market = hand_market(bid, n_queries=1, users=ONE_SLOT, grade=grade, **more)
    pctr = np.broadcast_to(np.asarray(pctr, dtype=float), market.pctr.shape)
    market = with_settings(market, pctr=pctr)
    if value is not None:  # bids stay as they are
        shading = np.asarray(bid, dtype=float)[0] / value[0]
        bidders = market.bidders.__class__(shading=shading, pacing_tick_s=1.0)
        market = with_settings(market, value=np.asarray(value, dtype=float), bidders=bidders)
    return advertiser_regret(market)


def parts(found):
    return np.array(
        [found.surplus, found.allocation, found.estimation, found.overbidding, found.underbidding]
    )


def test_where_all_is_known_and_all_bid_their_values_there_is_no_regret():
    np.testing.assert_allclose(parts(regret_of([2.0, 1.0])), [[1, 0], [0, 0], [0, 0], [0, 0], [0, 0]])


def test_allocation():
    """Ad 0 is taken for one of 0.4 clicks: 0.8 against 1, so ad 1 wins and pays 0.8 / 1."""
    found = regret_of([2.0, 1.0], pctr=[0.4, 1.0])
    np.testing.assert_allclose(found.surplus, [0.0, 0.2])
    np.testing.assert_allclose(found.allocation, [1.0, -0.2])
    np.testing.assert_allclose(found.total, found.allocation)


def test_estimation():
    """A click on an ad of grade 0 is worth a tenth of its value, and costs 1."""
    found = regret_of([2.0, 1.0], grade=[0, 3])
    np.testing.assert_allclose(found.surplus, [0.2 - 1.0, 0.0])
    np.testing.assert_allclose(found.estimation, [0.8, 0.0])
    np.testing.assert_allclose(found.total, found.estimation)


def test_overbidding():
    """Values 2 and 1.5, bids 4 and 3: ad 0 pays 3 for what is worth 2."""
    found = regret_of([4.0, 3.0], value=[2.0, 1.5])
    np.testing.assert_allclose(found.surplus, [-1.0, 0.0])
    np.testing.assert_allclose(found.overbidding, [1.0, 0.0])
    np.testing.assert_allclose(found.total, found.overbidding)


def test_underbidding():
    """Values 2 and 4, bids 0.5 and 1: at 1 a click worth 2 was to be had."""
    found = regret_of([0.5, 1.0], value=[2.0, 4.0])
    np.testing.assert_allclose(found.surplus, [0.0, 3.5])
    np.testing.assert_allclose(found.underbidding, [1.0, 0.0])
    np.testing.assert_allclose(found.total, found.underbidding)


def test_shading_can_make_good_for_what_is_not_known():
    """Worth 0.2 but valued at 2: who shades below the price of 1 does better than who bids its belief."""
    found = regret_of([0.5, 1.0], value=[2.0, 4.0], grade=[0, 3])
    np.testing.assert_allclose(found.estimation, [0.8, 0.0])
    np.testing.assert_allclose(found.underbidding, [-0.8, 0.0])
    np.testing.assert_allclose(found.total, [0.0, 0.0], atol=1e-12)


def test_an_ad_that_no_bid_can_show_regrets_nothing():
    found = regret_of([2.0, 1.0], relevance=[0.1, 1.0], rule=Gate(threshold=0.5))
    np.testing.assert_allclose(found.total, 0.0)
    np.testing.assert_allclose(found.surplus, [0.0, 1.0])


def test_the_surplus_is_that_of_the_log_in_expectation():
    market = random_market(3, n_queries=600)
    log, found = simulate(market), advertiser_regret(market)
    weight = (
        np.asarray(market.users.examination)[log.slot]
        * market.attraction[log.query, np.argmax(market.candidate[log.query] == log.ad[:, None], axis=1)]
    )
    worth = market.value[log.ad] * np.asarray(market.users.worth_of_click)[log.grade]
    expected = np.bincount(
        log.advertiser,
        weights=weight * (worth - log.price_micros / MICROS),
        minlength=found.surplus.size,
    )
    assert log.ran_out.any()
    np.testing.assert_allclose(found.surplus, expected, atol=1e-4)


@pytest.mark.parametrize("batch_size", [1, 64])
def test_batches_change_nothing(batch_size):
    market = random_market(4, n_queries=300)
    other = with_settings(market, serving=ServingModel(batch_size=batch_size))
    np.testing.assert_allclose(parts(advertiser_regret(other)), parts(advertiser_regret(market)), atol=1e-9)


def test_a_platform_that_knows_the_truth_has_no_allocation_regret():
    market = random_market(5, n_queries=300)
    knows = with_settings(market, pctr=market.attraction)
    found = advertiser_regret(knows)
    np.testing.assert_allclose(found.allocation, 0.0, atol=1e-9)
    assert found.estimation.min() >= -1e-9


@settings(max_examples=15)
@given(st.integers(0, 10_000), st.sampled_from([0.0, 1.0]))
def test_the_offers_are_what_trying_every_bid_finds(seed, exponent):
    market = random_market(seed, n_queries=3, rule=Product(relevance=exponent))
    bid = market.value * 0.8
    batch = journey.gather(market, bid, np.arange(1))
    present = batch.candidate >= 0
    found = offers(market, batch, present)
    reserve, n_slots = market.auction.reserve, market.n_slots

    def settle_at(column, own):
        tried = batch.bid.copy()
        tried[0, column] = own
        score = market.rule.score(tried, batch.pctr, batch.relevance)
        may = auction.eligible(score, tried, reserve, present)
        ranking = auction.allocate(score, may, n_slots + 1, journey.tie_break_draws(market, batch))
        price = auction.price_gsp(
            auction.Ranked(ranking, score, market.rule, tried, batch.pctr, batch.relevance, reserve)
        )
        [place] = np.nonzero(ranking[0, :-1] == column)
        return (int(place[0]), price[0, place[0]]) if place.size else (n_slots, 0.0)

    for column in np.flatnonzero(present[0]):
        slot, _ = settle_at(column, batch.bid[0, column])
        assert slot == found.slot[0, column]
        for wanted in range(n_slots):
            least = found.price[0, column, wanted]
            if not np.isfinite(least):
                continue
            reached, paid = settle_at(column, least * (1 + 1e-9))
            assert reached <= wanted  # higher where the slots above cost no more
            if reached == wanted:
                assert paid == pytest.approx(least)
            below, _ = settle_at(column, least * (1 - 1e-9))
            assert below > wanted


def test_markets_that_are_not_covered_are_refused():
    market = random_market(6, n_queries=10)
    late = with_settings(market, serving=ServingModel(service_s=0.1))
    with pytest.raises(ValueError, match="serving must be instant"):
        advertiser_regret(late)
