"""Auctions: answers of the literature, worked out by hand or by brute force, through the public functions.

alpha_s: click weight of slot s; b, v: bid and value per click; w: weight of the bid in the score.
"""

from collections.abc import Sequence
from dataclasses import fields
from itertools import permutations
from math import inf, log, sqrt
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from simulator.auction import (
    MECHANISMS,
    AuctionModel,
    Ranked,
    allocate,
    charged_micros,
    eligible,
    price_micros,
)
from simulator.clock.engine import simulate
from simulator.fusion import Exponential, FusionRule, Gate, Learnt, Linear, Product, SoftGate, Tiers
from simulator.market import ServingModel, with_settings
from simulator.random import uniforms
from tests.simulator.markets import random_market

BY_BID = Product(pctr=0.0, relevance=0.0)
BY_REVENUE = Product(relevance=0.0)
EOS_CLICKS = (200.0, 100.0)  # Edelman, Ostrovsky and Schwarz 2007: clicks per hour of two slots
EOS_VALUES = (10.0, 4.0, 2.0)


def hold(
    bid: Any,
    pctr: Any = 1.0,
    rel: Any = 1.0,
    *,
    rule: FusionRule = BY_BID,
    mechanism: str = "gsp",
    alpha: Sequence[float] = (1.0,),
    reserve: Any = 0.0,
    score_reserve: Any = -inf,
    tie: Any = 0.5,
) -> tuple[Any, Any]:
    """Auctions of bids F[..., K]: winners I[..., S] (-1 unfilled) and prices per click F[..., S]."""
    bid = np.asarray(bid, dtype=np.float64)
    pctr, rel, tie = (np.broadcast_to(np.asarray(x, dtype=np.float64), bid.shape) for x in (pctr, rel, tie))
    score = rule.score(bid, pctr, rel)
    may = eligible(score, bid, reserve, np.ones(bid.shape, dtype=bool), score_reserve)
    ranking = allocate(score, may, len(alpha) + 1, tie)
    price = MECHANISMS[mechanism](Ranked(ranking, score, rule, bid, pctr, rel, reserve, alpha, score_reserve))
    return ranking[..., :-1], price


# Payments of the three mechanisms


def test_gsp_and_vcg_revenue_of_edelman_ostrovsky_schwarz() -> None:
    revenue = {}
    for mechanism in MECHANISMS:
        order, price = hold(EOS_VALUES, mechanism=mechanism, alpha=EOS_CLICKS)
        assert order.tolist() == [0, 1]
        revenue[mechanism] = (np.array(EOS_CLICKS) * price).tolist()
    assert revenue == {"gsp": [800, 200], "vcg": [600, 200], "first_price": [2000, 400]}


def test_payments_of_a_trace_by_pencil() -> None:
    """Query 0 of tests/golden/hcmrm-product-*.txt: w = .5 x .95, .4 x .85, .4 x .60 and .4 x .12."""
    bid, pctr, rel = [2.0, 1.5, 1.2, 3.0], [0.5, 0.4, 0.4, 0.4], [0.95, 0.85, 0.6, 0.12]
    alpha = (1.0, 0.6)
    priced = {
        mechanism: hold(bid, pctr, rel, rule=Product(), mechanism=mechanism, alpha=alpha, reserve=0.1)[1]
        for mechanism in MECHANISMS
    }
    above_second, above_third = 0.51 / 0.475, 0.288 / 0.475
    assert priced["gsp"] == pytest.approx([above_second, 0.288 / 0.34])
    assert priced["vcg"] == pytest.approx([0.4 * above_second + 0.6 * above_third, 0.288 / 0.34])
    assert priced["first_price"].tolist() == [2.0, 1.5]
    per_impression = price_micros("impression", priced["gsp"], np.array(alpha), np.array([0.5, 0.4]))
    assert per_impression.tolist() == [536_842, 203_294], "1.073684 x 1 x .5 and .847059 x .6 x .4"


def test_learnt_score_by_pencil() -> None:
    """rel .95: 1.5 + .5 x .9 - 2 = -.05; pctr .5: ln .4 + .5 ln(.5 / .4)."""
    rule = Learnt((0.0, 0.5, 1.0), (1.5, 0.5), pctr_knots=(0.4,), pctr_weights=(1.0, 0.5))
    score = rule.score(np.array([2.0]), np.array([0.5]), np.array([0.95]))
    assert score[0] == pytest.approx(2 * np.exp(-0.05 + log(0.4) + 0.5 * log(1.25)))
    assert score[0] == pytest.approx(0.850805, abs=1e-6)


@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_one_slot_is_a_second_price_auction(mechanism: str) -> None:
    order, price = hold([3.0, 7.0, 5.0], mechanism=mechanism)
    assert order.tolist() == [1]
    assert price.tolist() == [7.0 if mechanism == "first_price" else 5.0]


def test_revenue_of_uniform_values() -> None:
    """N = 48 values U[0, 1], alpha 1, .8, .6: GSP 554/245 at truthful bids, VCG 108.8/49.

    VCG: the sum over slots t = 1, 2, 3 of t (alpha_t - alpha_{t+1}) E[b_(t+1)], E[b_(k)] = (49 - k) / 49.
    """
    n, count, alpha = 48, 20_000, (1.0, 0.8, 0.6)
    value = uniforms(3, "values", 0, count, n)
    for mechanism, expected in {"gsp": 554 / 245, "vcg": (0.2 * 47 + 0.4 * 46 + 1.8 * 45) / 49}.items():
        revenue = hold(value, mechanism=mechanism, alpha=alpha)[1] @ alpha
        assert revenue.mean() == pytest.approx(expected, abs=4 * revenue.std() / sqrt(count))


def test_revenue_equivalence_of_first_and_second_price() -> None:
    """n values U[0, 1]: bidding (n - 1) / n of each at first price earns (n - 1) / (n + 1), like Vickrey."""
    n, count = 3, 50_000
    value = uniforms(5, "values", 0, count, n)
    for mechanism, bid in (("first_price", value * (n - 1) / n), ("gsp", value)):
        price = hold(bid, mechanism=mechanism)[1]
        assert price.mean() == pytest.approx((n - 1) / (n + 1), abs=4 * price.std() / sqrt(count))


@pytest.mark.parametrize("reserve", [0.0, 0.25, 0.5, 0.75])
def test_myerson_reserve_curve(reserve: float) -> None:
    """n = 2 values U[0, 1]: revenue 1/3 + r^2 - 4/3 r^3, greatest at r = 1/2; unsold with probability r^2."""
    grid = (np.arange(400) + 0.5) / 400
    value = np.stack(np.meshgrid(grid, grid), axis=-1)
    order, price = hold(value, reserve=reserve, tie=[0.1, 0.2])
    assert price.mean() == pytest.approx(1 / 3 + reserve**2 - 4 / 3 * reserve**3, abs=2e-3)
    assert (order < 0).mean() == pytest.approx(reserve**2, abs=2e-3)


# Equilibria and incentives


def bids_of_symmetric_equilibrium(value: Any, alpha: Sequence[float], *, upper: bool) -> Any:
    """The lowest or highest bids of a symmetric Nash equilibrium, values F[K] falling, one more than slots.

    Varian 2007, "Position auctions": b_s alpha_{s-1} = (alpha_{s-1} - alpha_s) v +
    b_{s+1} alpha_s with v = v_s for the lower and v_{s-1} for the upper bound. The first bid only has to win.
    """
    alpha = [*alpha, 0.0]
    bid = np.zeros(len(value) + 1)
    for s in range(len(value) - 1, 0, -1):
        worth = value[s - 1] if upper else value[s]
        bid[s] = ((alpha[s - 1] - alpha[s]) * worth + bid[s + 1] * alpha[s]) / alpha[s - 1]
    bid[0] = 2 * value[0]
    return bid[:-1]


def envy(value: Any, weight: Any, alpha: Any, order: Any, price: Any) -> float:
    """Most that a bidder would gain by having another slot at that slot's price for it, or none."""
    asked = price * weight[order]  # what a slot costs in score; a bidder of weight w pays that / w a click
    gain = alpha * (value[:, None] - asked / weight[:, None])
    own = np.zeros(len(value))
    own[order] = gain[order, np.arange(len(order))]
    return float((np.maximum(gain.max(axis=1), 0.0) - own).max())


def test_bounds_of_symmetric_equilibria_by_hand() -> None:
    """EOS: lower bids 3 and 2, revenue 800 = VCG; upper bids 7 and 4, revenue 1800."""
    value, alpha = np.array(EOS_VALUES), np.array(EOS_CLICKS)
    for upper, bids, revenue in ((False, [3.0, 2.0], 800), (True, [7.0, 4.0], 1800)):
        bid = bids_of_symmetric_equilibrium(value, EOS_CLICKS, upper=upper)
        assert bid[1:].tolist() == bids
        order, price = hold(bid, alpha=EOS_CLICKS)
        assert (alpha * price).sum() == revenue
        assert envy(value, np.ones(3), alpha, order, price) == pytest.approx(0, abs=1e-9)
        beyond = bid.copy()
        beyond[1:] *= 1.05 if upper else 0.95
        order, price = hold(beyond, alpha=EOS_CLICKS)
        assert envy(value, np.ones(3), alpha, order, price) > 1, "outside the bounds somebody envies"


falling = st.lists(st.floats(0.05, 1.0), min_size=1, max_size=5).map(lambda x: sorted(x, reverse=True))


@given(alpha=falling, data=st.data())
def test_vcg_is_the_lowest_symmetric_equilibrium_of_gsp(alpha: list[float], data: st.DataObject) -> None:
    """Varian 2007; Edelman, Ostrovsky and Schwarz 2007, theorem 1: same slots, same payments."""
    n = len(alpha) + 1
    value = np.sort(data.draw(st.lists(st.floats(0.1, 10.0), min_size=n, max_size=n, unique=True)))[::-1]
    lowest = bids_of_symmetric_equilibrium(value, alpha, upper=False)
    order, price = hold(lowest, alpha=alpha, tie=np.arange(n)[::-1] / n)
    truthful, vcg = hold(value, mechanism="vcg", alpha=alpha)
    assert truthful.tolist() == order.tolist() == list(range(n - 1))
    assert price == pytest.approx(vcg)
    assert envy(value, np.ones(n), np.array(alpha), order, price) == pytest.approx(0, abs=1e-9)


AFFINE: list[FusionRule] = [
    Product(),
    Product(pctr=0.5, relevance=2.0),
    Gate(0.4),
    SoftGate(0.5, 0.3),
    Linear(0.8),
    Exponential(gain=1.5),
    Learnt(),
]


@st.composite
def ads(draw: st.DrawFn) -> tuple[Any, Any, Any]:
    n = draw(st.integers(1, 5))

    def row(low: float, high: float) -> Any:
        return np.array(draw(st.lists(st.floats(low, high), min_size=n, max_size=n)))

    return row(0.05, 5.0), row(0.01, 0.9), row(0.0, 1.0)


@given(
    case=ads(), alpha=falling, rule=st.sampled_from(AFFINE), lie=st.floats(0.0, 12.0), reserve=st.floats(0, 1)
)
@settings(max_examples=300)
def test_vcg_is_truthful(case: Any, alpha: list[float], rule: FusionRule, lie: float, reserve: float) -> None:
    """No bidder gains by any other bid: alpha x (v - p) is greatest at b = v, reserves included."""
    value, pctr, rel = case
    tie, n = np.arange(value.size) / value.size, value.size

    def utilities(bid: Any) -> Any:
        order, price = hold(
            bid,
            pctr,
            rel,
            rule=rule,
            mechanism="vcg",
            alpha=alpha,
            reserve=reserve,
            score_reserve=0.01,
            tie=tie,
        )
        gained = np.zeros(n)
        for slot, ad in enumerate(order.tolist()):
            if ad >= 0:
                gained[ad] = alpha[slot] * (value[ad] - price[slot])
        return gained

    honest = utilities(value)
    assert (honest >= -1e-9).all(), "individually rational"
    for ad in range(n):
        for other in (lie, *value * 1.01, *value * 0.99, 0.5 * value[ad], 2.0 * value[ad]):
            bid = value.copy()
            bid[ad] = other
            assert utilities(bid)[ad] <= honest[ad] + 1e-9


@given(case=ads(), alpha=falling, rule=st.sampled_from(AFFINE))
def test_vcg_price_is_the_externality_by_brute_force(case: Any, alpha: list[float], rule: FusionRule) -> None:
    """alpha_s a_i p_i = best of the others without i - what they get with i - alpha_s c_i, a b + c the score.

    The best is over all ways to put ads in slots, slots left empty included.
    """
    bid, pctr, rel = case
    score = rule.score(bid, pctr, rel)
    with np.errstate(invalid="ignore"):  # behind a gate
        slope = (rule.score(2 * bid + 9, pctr, rel) - rule.score(bid + 9, pctr, rel)) / bid

    def best(present: list[int]) -> float:
        padded = [*(score[ad] for ad in present if score[ad] > -inf), *[0.0] * len(alpha)]
        return max(float(np.dot(page, alpha)) for page in set(permutations(padded, len(alpha))))

    order, price = hold(bid, pctr, rel, rule=rule, mechanism="vcg", alpha=alpha)
    for slot, ad in enumerate(order.tolist()):
        if ad < 0:
            continue
        without = best([other for other in range(bid.size) if other != ad])
        others = sum(
            alpha[t] * score[other] for t, other in enumerate(order.tolist()) if other not in (ad, -1)
        )
        constant = score[ad] - slope[ad] * bid[ad]
        owed = without - others - alpha[slot] * constant
        assert price[slot] == pytest.approx(max(owed, 0.0) / (alpha[slot] * slope[ad]), rel=1e-6, abs=1e-7)


def test_gsp_is_not_truthful() -> None:
    """EOS 2007, remark 3: with 200 and 199 clicks the bidder of value 10 gains 1592 for 1200 by bidding 3."""
    alpha = (200.0, 199.0)
    gain = {}
    for bid in (10.0, 3.0):
        order, price = hold([bid, 4.0, 2.0], alpha=alpha)
        slot = order.tolist().index(0)
        gain[bid] = alpha[slot] * (10.0 - price[slot])
    assert gain == {10.0: 1200.0, 3.0: 1592.0}


@given(case=ads(), alpha=falling)
def test_vcg_is_envy_free_at_truthful_bids(case: Any, alpha: list[float]) -> None:
    value, pctr, _ = case
    order, price = hold(value, pctr, rule=BY_REVENUE, mechanism="vcg", alpha=alpha)
    filled = order >= 0
    weights = np.array(alpha)[filled]
    assert envy(value, pctr, weights, order[filled], price[filled]) == pytest.approx(0, abs=1e-9)


@given(
    case=ads(),
    alpha=falling,
    rule=st.sampled_from(AFFINE),
    reserve=st.sampled_from([0.0, 0.3]),
    least=st.sampled_from([-inf, 0.02]),
)
def test_vcg_asks_no_more_than_gsp_and_gsp_no_more_than_the_bid(
    case: Any, alpha: list[float], rule: FusionRule, reserve: float, least: float
) -> None:
    """EOS 2007, remark 1: at equal bids, slot by slot; and nothing is sold below the reserve."""
    pages = {
        mechanism: hold(
            *case, rule=rule, mechanism=mechanism, alpha=alpha, reserve=reserve, score_reserve=least
        )
        for mechanism in MECHANISMS
    }
    order = pages["gsp"][0]
    assert all(np.array_equal(page[0], order) for page in pages.values())
    gsp, vcg, first = (pages[mechanism][1] for mechanism in ("gsp", "vcg", "first_price"))
    assert (vcg <= gsp * (1 + 1e-12)).all()
    assert (gsp <= first).all()
    assert (first[order >= 0] == case[0][order[order >= 0]]).all()
    assert (vcg[order >= 0] >= reserve).all()
    last = np.flatnonzero(order >= 0)[-1:]
    assert vcg[last] == pytest.approx(gsp[last]), "the last ad is in the way of one slot only"


# Ranking rules and reserves


@pytest.mark.parametrize(
    ("squashing", "winner", "revenue"),
    [
        (0.0, 1, 0.2),  # by bid: b_1 = 3 wins and pays 2 a click
        (0.25, 1, 0.1 * 2 * 4**0.25),
        (0.3, 0, 0.4 * 3 * 4**-0.3),
        (0.5, 0, 0.6),
        (1.0, 0, 0.3),  # by revenue: ad 0 pays 3 x .1 / .4
    ],
)
def test_squashing_revenue_curve(squashing: float, winner: int, revenue: float) -> None:
    """Lahaie and Pennock 2007: rank by b q^s; revenue has its maximum inside, where the ranking turns.

    One slot, bids 2 and 3, q .4 and .1: ad 0 wins where 4^s > 3/2, s > .2925, and then pays 3 (1/4)^s a
    click, so revenue .4 x 3 x 4^-s falls from .8 to .3; below that ad 1 pays 2 x 4^s, at most 3.
    """
    bid, quality = [2.0, 3.0], np.array([0.4, 0.1])
    order, price = hold(bid, quality, rule=Product(pctr=squashing, relevance=0.0))
    assert order.tolist() == [winner]
    assert quality[winner] * price[0] == pytest.approx(revenue)


@pytest.mark.parametrize("mechanism", ["gsp", "vcg"])
def test_reserves_in_score_space_and_in_bid_space(mechanism: str) -> None:
    """Bids 1, 1; q .5, .1. Bid reserve .4 sells to both at .4; score reserve .2 to the first alone, at .4.

    So the score reserve asks more of the poorer ad: .2 / .1 = 2 a click.
    """
    bid, quality, alpha = [1.0, 1.0], [0.5, 0.1], (1.0, 0.5)
    kind: dict[str, Any] = {"rule": BY_REVENUE, "mechanism": mechanism, "alpha": alpha}
    order, price = hold(bid, quality, reserve=0.4, **kind)
    assert (order.tolist(), price.tolist()) == ([0, 1], pytest.approx([0.4, 0.4]))
    order, price = hold(bid, quality, score_reserve=0.2, **kind)
    assert (order.tolist(), price.tolist()) == ([0, -1], pytest.approx([0.4, 0.0]))
    order, price = hold([1.0, 2.5], quality, score_reserve=0.2, **kind)
    assert order.tolist() == [0, 1]
    assert price == pytest.approx([0.5 if mechanism == "gsp" else 0.45, 2.0]), "VCG: (.5 x .5 + .5 x .4) / 1"


def test_score_reserves_by_category() -> None:
    model = AuctionModel(score_reserve=0.1, category_score_reserve=(0.0, 0.3))
    least = model.least_score(np.array([0, 1]))
    order, price = hold([[1.0], [1.0]], [[0.5], [0.5]], rule=BY_REVENUE, score_reserve=least)
    assert order.tolist() == [[0], [0]]
    assert price.ravel() == pytest.approx([0.2, 0.6]), "the stricter of .1 and the category's, over .5"
    assert AuctionModel().least_score(np.array([0])) == -inf
    with pytest.raises(ValueError, match="has 2 numbers and needs one for each category of queries"):
        model.check(BY_BID, (1.0,), np.array([0, 2]))
    model.check(BY_BID, (1.0,), np.array([0, 1]))


@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_lone_bidder_is_sold_at_the_reserve(mechanism: str) -> None:
    for reserve in (0.0, 0.1, 5.0):
        order, price = hold([5.0], mechanism=mechanism, alpha=(1.0, 0.5), reserve=reserve)
        assert order.tolist() == [0, -1]
        assert price.tolist() == [5.0 if mechanism == "first_price" else pytest.approx(reserve), 0.0]
        assert hold([4.999], mechanism=mechanism, reserve=5.0)[0].tolist() == [-1]


@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_twenty_slots(mechanism: str) -> None:
    """Bids 25, 24, ... 1, equal click weights: GSP asks the next bid, VCG of all the first loser's, 5."""
    bid = np.arange(25.0, 0.0, -1.0)
    order, price = hold(bid, mechanism=mechanism, alpha=(1.0,) * 20)
    assert order.tolist() == list(range(20))
    expected = {"gsp": bid[1:21], "vcg": np.full(20, 5.0), "first_price": bid[:20]}[mechanism]
    assert price == pytest.approx(expected)


def test_ties_are_won_equally_often_whatever_the_number_of_slots() -> None:
    n, count = 4, 20_000
    bid = np.broadcast_to([2.0, 2.0, 2.0, 1.0], (count, n))
    order, price = hold(bid, mechanism="vcg", alpha=(1.0, 0.5), tie=uniforms(8, "ties", 0, count, n))
    for slot in range(2):
        wins = np.bincount(order[:, slot], minlength=n)
        assert np.abs(wins - np.array([1, 1, 1, 0]) * count / 3).max() < 4 * sqrt(count * 2 / 9)
    assert (price == 2.0).all(), "the tied price is the own bid"


def test_slots_that_nobody_looks_at() -> None:
    order, price = hold([3.0, 2.0, 1.0], mechanism="vcg", alpha=(1.0, 0.0))
    assert order.tolist() == [0, 1]
    assert price.tolist() == [2.0, 1.0]


# Payment


@given(price=st.floats(0, 10), slack=st.floats(0, 1), weight=st.floats(0, 1), pctr=st.floats(0, 1))
def test_an_impression_costs_at_most_its_share_of_the_bid(
    price: float, slack: float, weight: float, pctr: float
) -> None:
    bid = price + slack
    paid = price_micros("impression", np.array([price]), np.array([weight]), np.array([pctr]))[0]
    assert paid <= bid * (weight * pctr) * 1e6
    assert paid > price * (weight * pctr) * 1e6 - 1, "at most a micro is lost"


def test_what_is_due() -> None:
    price, shown, clicked = np.array([7, 5, 0]), np.array([True, True, False]), np.array([False, True, False])
    assert charged_micros("click", price, shown, clicked).tolist() == [0, 5, 0]
    assert charged_micros("impression", price, shown, clicked).tolist() == [7, 5, 0]


# Whole runs

RUNS: list[tuple[FusionRule, AuctionModel]] = [
    (Product(), AuctionModel(0.2, "vcg")),
    (Exponential(bid=1.3, gain=1.5), AuctionModel(0.2, "first_price")),
    (Learnt(pctr_knots=(0.2,), pctr_weights=(1.0, 0.7)), AuctionModel(0.2, "gsp", "impression")),
    (SoftGate(0.6, 0.3), AuctionModel(0.1, "vcg", "impression", 0.05, (0.0, 0.1, 0.4))),
]


@pytest.mark.parametrize(("rule", "auction"), RUNS, ids=repr)
def test_batches_change_nothing_and_the_books_balance(rule: FusionRule, auction: AuctionModel) -> None:
    market = random_market(3, n_queries=700, budget=0.7, rule=rule)
    category = np.arange(market.candidate.shape[0]) % 3
    market = with_settings(market, auction=auction, query_category=category)
    logs = [simulate(with_settings(market, serving=ServingModel(batch_size=n))) for n in (1, 64, 4096)]
    first = logs[0]
    assert first.ran_out.sum() >= 3, "the test wants budgets that run out"
    for other in logs[1:]:
        for column in fields(first):
            mine, its = getattr(first, column.name), getattr(other, column.name)
            if isinstance(mine, np.ndarray):
                assert mine.tobytes() == its.tobytes(), column.name
    spent = np.bincount(first.advertiser, first.charged_micros, market.budget_micros.size)
    assert spent.astype(np.int64).tolist() == first.spent_micros.tolist()
    assert (first.spent_micros <= market.budget_micros).all()
    if auction.category_score_reserve:
        assert (first.score >= np.array([0.05, 0.1, 0.4])[category[first.query]]).all()
        assert set(category[first.query]) == {0, 1, 2}


# What is refused


@pytest.mark.parametrize("rule", [Product(bid=2.0), Tiers(), Gate(0.2, within=Tiers()), object()])
def test_vcg_is_refused_for_rules_that_are_not_affine(rule: Any) -> None:
    with pytest.raises(ValueError, match=r"mechanism vcg is not defined for .* not affine in the bid"):
        AuctionModel(mechanism="vcg").check(rule, (1.0, 0.5), None)
    if not isinstance(rule, FusionRule):
        return
    with pytest.raises(ValueError, match="not affine in the bid"):
        hold([2.0, 1.0], rule=rule, mechanism="vcg", alpha=(1.0, 0.5))


def test_vcg_is_refused_without_falling_click_weights() -> None:
    with pytest.raises(ValueError, match="do not rise"):
        hold([2.0, 1.0], mechanism="vcg", alpha=(0.5, 1.0))
    ranking = np.array([0, -1])
    one = np.ones(1)
    with pytest.raises(ValueError, match="needs examination"):
        MECHANISMS["vcg"](Ranked(ranking, one, BY_BID, one, one, one, 0.0))


@pytest.mark.parametrize(
    "make",
    [
        lambda: AuctionModel(mechanism="english"),
        lambda: AuctionModel(payment="view"),  # type: ignore[arg-type]
        lambda: AuctionModel(reserve=-0.1),
    ],
)
def test_impossible_settings_are_refused(make: Any) -> None:
    with pytest.raises(ValueError, match="auction"):
        make()
