"""Ranking, prices, reserves and ties: answers from the literature, and what must hold for any auction."""

from dataclasses import dataclass
from math import inf, sqrt
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, strategies as st

from simulator.auction import (
    MECHANISMS,
    Ranked,
    allocate,
    allocate_drawing,
    eligible,
    price_first,
    price_gsp,
    price_vcg,
)
from simulator.fusion import (
    Exponential,
    FusionRule,
    Gate,
    Learnt,
    Linear,
    Product,
    SoftGate,
    Tiers,
    is_affine,
)
from simulator.random import uniforms

BY_BID = Product(pctr=0.0, relevance=0.0)


@dataclass
class Page:
    order: list[int]
    price: list[float]


def auction(
    bid: Any,
    pctr: Any = 1.0,
    rel: Any = 1.0,
    *,
    rule: FusionRule,
    n_slots: int = 4,
    reserve: Any = 0.0,
    tie: Any = 0.5,
) -> Page:
    """One auction; the filled slots only."""
    bid = np.asarray(bid, dtype=np.float64)
    pctr, rel, tie = (np.broadcast_to(np.asarray(x, dtype=np.float64), bid.shape) for x in (pctr, rel, tie))
    score = rule.score(bid, pctr, rel)
    may = eligible(score, bid, reserve, np.ones(bid.shape, dtype=bool))
    ranking = allocate(score, may, n_slots + 1, tie)
    price = price_gsp(Ranked(ranking, score, rule, bid, pctr, rel, reserve))
    filled = ranking[:-1] >= 0
    return Page(ranking[:-1][filled].tolist(), price[filled].tolist())


def test_edelman_ostrovsky_schwarz() -> None:
    bid, clicks = np.array([10.0, 4.0, 2.0]), np.array([200.0, 100.0])
    page = auction(bid, rule=BY_BID, n_slots=2)
    assert page.order == [0, 1]
    assert (clicks * page.price).tolist() == [800.0, 200.0]
    value = bid
    assert (clicks * value[page.order]).sum() == 2400.0
    gain = clicks * (value[:, None] - np.array(page.price))  # of each bidder in each slot at its price
    own = np.array([gain[0, 0], gain[1, 1], 0.0])
    assert (own[:, None] >= gain).all(), "truthful bids are envy-free here"
    assert (own >= 0).all()


FUSED = {
    (1, 1, 1): ([0, 1, 2, 3], [4, 6.75, 8 / 9, 0]),
    (1, 1, 0): ([3, 1, 0, 2], [9, 5, 3, 0]),
    (1, 1, 2): ([0, 2, 1, 3], [3, 8 / 9, 1, 0]),
    (2, 1, 1): ([1, 3, 0, 2], [8, 15, sqrt(4.5), 0]),
}


@pytest.mark.parametrize("exponents", FUSED)
def test_fused_score(exponents: tuple[int, int, int]) -> None:
    order, price = FUSED[exponents]
    page = auction([5, 9, 1.5, 16], [0.1, 0.1, 0.2, 0.1], [0.9, 0.4, 0.9, 0.1], rule=Product(*exponents))
    assert page.order == order
    assert page.price == pytest.approx(price)


def test_fused_score_behind_a_gate() -> None:
    rule = Gate(0.3, within=Product())
    page = auction([5, 9, 1.5, 16], [0.1, 0.1, 0.2, 0.1], [0.9, 0.4, 0.9, 0.1], rule=rule)
    assert page.order == [0, 1, 2]
    assert page.price == pytest.approx([4, 6.75, 0])


def test_quality_weighted_gsp() -> None:
    bid, quality, weight = [4, 3, 2, 5], np.array([1 / 10, 1 / 5, 1 / 4, 1 / 25]), np.array([1, 1 / 2, 1 / 4])
    page = auction(bid, quality, rule=Product(relevance=0.0), n_slots=3)
    assert page.order == [1, 2, 0]
    assert page.price == pytest.approx([5 / 2, 8 / 5, 2])
    assert (weight * quality[page.order] * page.price).sum() == pytest.approx(3 / 4)
    by_bid = auction(bid, quality, rule=BY_BID, n_slots=3)
    assert by_bid.order == [3, 0, 1]
    assert by_bid.price == pytest.approx([4, 3, 2])


@pytest.mark.parametrize(
    ("n", "reserve", "revenue"), [(2, 0.0, 1 / 3), (2, 0.5, 5 / 12), (3, 0.0, 1 / 2), (3, 0.5, 17 / 32)]
)
def test_myerson_reserve(n: int, reserve: float, revenue: float) -> None:
    count = 100_000
    bid = uniforms(1, "values", 0, count, n)
    ones, tie = np.ones_like(bid), uniforms(2, "ties", 0, count, n)
    score = BY_BID.score(bid, ones, ones)
    ranking = allocate(score, eligible(score, bid, reserve, ones > 0), 2, tie)
    price = price_gsp(Ranked(ranking, score, BY_BID, bid, ones, ones, reserve))
    assert price.mean() == pytest.approx(revenue, abs=4 * price.std() / sqrt(count))
    unsold = (ranking[:, 0] < 0).mean()
    assert unsold == pytest.approx(reserve**n, abs=4 * sqrt(0.25 / count))


def test_order_statistics_of_truthful_bids() -> None:
    """Of N bids U[0, 1] the price of slot k is (N - k) / (N + 1) on average."""
    n, count = 48, 20_000
    bid = uniforms(3, "values", 0, count, n)
    ones = np.ones_like(bid)
    score = BY_BID.score(bid, ones, ones)
    ranking = allocate(score, ones > 0, 4, ones)
    price = price_gsp(Ranked(ranking, score, BY_BID, bid, ones, ones, 0.0))
    tolerance = 4 * price.std(axis=0).max() / sqrt(count)
    assert price.mean(axis=0) == pytest.approx(np.array([47, 46, 45]) / 49, abs=tolerance)
    assert (price.mean(axis=0) * [1.0, 0.8, 0.6]).sum() == pytest.approx(554 / 245, abs=2.4 * tolerance)


def test_ties_are_won_equally_often() -> None:
    """AuctionGym gives every tie to bidder 0."""
    n, count = 5, 20_000
    bid = np.full((count, n), 2.0)
    ones = np.ones_like(bid)
    score = BY_BID.score(bid, ones, ones)
    ranking = allocate(score, ones > 0, 3, uniforms(4, "ties", 0, count, n))
    for rank in range(3):
        wins = np.bincount(ranking[:, rank], minlength=n)
        assert np.abs(wins - count / n).max() < 4 * sqrt(count * 0.2 * 0.8)
    price = price_gsp(Ranked(ranking, score, BY_BID, bid, ones, ones, 0.0))
    assert (price == 2.0).all(), "the tied price is the own bid"


def test_tied_bids_pay_their_bid() -> None:
    """Bids 3, 3, 1 on two slots; adclick-simulator underprices the tie."""
    assert auction([3, 3, 1], rule=BY_BID, n_slots=2).price == [3.0, 1.0]


def test_lone_bidder_is_sold_at_the_reserve() -> None:
    """AuctionNet sells it nothing, because price and reserve are equal."""
    for reserve in (0.0, 0.1, 0.3, 5.0):
        assert auction([5.0], rule=Product(), reserve=reserve) == Page([0], [reserve])
    assert auction([5.0], rule=Product(), reserve=5.000001) == Page([], [])


def test_last_winner_stays_with_fewer_bidders_than_slots() -> None:
    """AuctionGym drops it."""
    assert auction([3.0, 2.0, 1.0], rule=BY_BID, n_slots=5, reserve=0.5) == Page([0, 1, 2], [2.0, 1.0, 0.5])


def test_reserves_of_each_ad() -> None:
    page = auction([5.0, 4.0, 3.0], rule=BY_BID, n_slots=3, reserve=np.array([4.5, 4.1, 1.0]))
    assert page == Page([0, 2], [4.5, 1.0])


def test_no_candidate_at_all() -> None:
    score = np.full((2, 3), -inf)
    assert allocate(score, np.zeros((2, 3), dtype=bool), 2, np.full((2, 3), 0.5)).tolist() == [
        [-1, -1],
        [-1, -1],
    ]


def test_linear_price_without_rival_is_the_hidden_cost() -> None:
    assert auction([5.0], rel=[0.25], rule=Linear(2.0), reserve=0.5).price == [1.5]
    assert auction([5.0], rel=[0.90], rule=Linear(2.0), reserve=0.5).price == [0.5]


def test_tiers_sell_across_buckets_at_the_reserve() -> None:
    page = auction([1.0, 9.0, 5.0], 0.1, [0.9, 0.2, 0.2], rule=Tiers((0.5,)), reserve=0.05)
    assert page.order == [0, 1, 2]
    assert page.price == pytest.approx([0.05, 5.0, 0.05])


rules = st.sampled_from(
    [
        Product(),
        Product(relevance=0.0),
        Product(bid=0.5, pctr=2.0, relevance=1.5),
        Gate(0.4),
        Linear(0.7),
        Tiers((0.3, 0.6)),
        Tiers((0.5,), within=Linear()),
        SoftGate(0.4, 0.25),
        Exponential(bid=0.7, gain=1.5),
        Learnt(pctr_knots=(0.1,), pctr_weights=(1.2, 0.6)),
    ]
)


@st.composite
def auctions(draw: st.DrawFn) -> tuple[Any, Any, Any, Any]:
    n = draw(st.integers(1, 8))

    def row(numbers: st.SearchStrategy[float]) -> Any:
        return np.array(draw(st.lists(numbers, min_size=n, max_size=n)))

    # Multiples of a tenth make ties; the others do not.
    bid = row(st.one_of(st.integers(1, 50).map(lambda x: x / 10), st.floats(0.01, 10.0)))
    pctr = row(st.one_of(st.sampled_from([0.05, 0.1, 0.2]), st.floats(0.001, 0.9)))
    rel = row(st.one_of(st.sampled_from([0.0, 0.3, 0.5, 1.0]), st.floats(0.0, 1.0)))
    tie = np.array(draw(st.permutations(range(n)))) / n
    return bid, pctr, rel, tie


slots, reserves = st.integers(1, 5), st.sampled_from([0.0, 0.05, 1.0])


@given(case=auctions(), rule=rules, n_slots=slots, reserve=reserves)
def test_price_is_between_reserve_and_bid(case: Any, rule: FusionRule, n_slots: int, reserve: float) -> None:
    bid, pctr, rel, tie = case
    page = auction(bid, pctr, rel, rule=rule, n_slots=n_slots, reserve=reserve, tie=tie)
    for ad, price in zip(page.order, page.price, strict=True):
        assert reserve <= price <= bid[ad]
    assert len(set(page.order)) == len(page.order), "no ad twice"


@given(case=auctions(), rule=rules, n_slots=slots, reserve=reserves)
def test_price_is_the_critical_bid_of_the_slot(
    case: Any, rule: FusionRule, n_slots: int, reserve: float
) -> None:
    """A little above its price a winner keeps its slot; a little below it does not."""
    bid, pctr, rel, tie = case
    page = auction(bid, pctr, rel, rule=rule, n_slots=n_slots, reserve=reserve, tie=tie)
    for slot, (ad, price) in enumerate(zip(page.order, page.price, strict=True)):
        for factor, keeps in ((1 + 1e-6, True), (1 - 1e-6, False)):
            changed = bid.copy()
            changed[ad] = price * factor
            if (keeps and changed[ad] > bid[ad]) or price == 0.0:
                continue
            again = auction(changed, pctr, rel, rule=rule, n_slots=n_slots, reserve=reserve, tie=tie)
            assert (again.order[slot : slot + 1] == [ad]) == keeps


@given(
    case=auctions(), rule=rules, n_slots=slots, reserve=reserves, which=st.integers(0, 7), by=st.floats(1, 20)
)
def test_raising_a_bid_never_loses_a_slot(
    case: Any, rule: FusionRule, n_slots: int, reserve: float, which: int, by: float
) -> None:
    bid, pctr, rel, tie = case
    ad = which % bid.size
    before = auction(bid, pctr, rel, rule=rule, n_slots=n_slots, reserve=reserve, tie=tie).order
    assume(ad in before)
    raised = bid.copy()
    raised[ad] *= by
    after = auction(raised, pctr, rel, rule=rule, n_slots=n_slots, reserve=reserve, tie=tie).order
    assert ad in after
    assert after.index(ad) <= before.index(ad)


@given(case=auctions(), rule=rules, n_slots=slots, reserve=reserves, data=st.data())
def test_permuting_candidates_permutes_results(
    case: Any, rule: FusionRule, n_slots: int, reserve: float, data: st.DataObject
) -> None:
    place = np.array(data.draw(st.permutations(range(case[0].size))))
    bid, pctr, rel, tie = case
    page = auction(bid, pctr, rel, rule=rule, n_slots=n_slots, reserve=reserve, tie=tie)
    moved = auction(
        bid[place], pctr[place], rel[place], rule=rule, n_slots=n_slots, reserve=reserve, tie=tie[place]
    )
    assert [int(place[column]) for column in moved.order] == page.order
    assert moved.price == page.price


@given(case=auctions(), rule=rules, n_slots=slots)
def test_ranking_is_by_score_then_tie_break(case: Any, rule: FusionRule, n_slots: int) -> None:
    bid, pctr, rel, tie = case
    score = rule.score(bid, pctr, rel)
    expected = sorted(np.flatnonzero(score > -inf), key=lambda ad: (-score[ad], -tie[ad]))[:n_slots]
    assert auction(bid, pctr, rel, rule=rule, n_slots=n_slots, tie=tie).order == expected


def test_batch_shapes_and_torch_give_the_same() -> None:
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    bid, pctr, tie = rng.uniform(0.1, 3, (2, 5, 8)), rng.uniform(0.01, 0.5, (2, 5, 8)), rng.random((2, 5, 8))
    rel = rng.integers(0, 5, (2, 5, 8)) / 4.0
    for rule in (Product(), Gate(0.4), Linear(), Tiers(), Learnt()):
        score = rule.score(bid, pctr, rel)
        may = eligible(score, bid, 0.3, rel < 1.0)
        ranking = allocate(score, may, 4, tie)
        price = price_gsp(Ranked(ranking, score, rule, bid, pctr, rel, 0.3))
        assert ranking.shape == (2, 5, 4)
        assert price.shape == (2, 5, 3)
        t_bid, t_pctr, t_rel, t_tie = (torch.from_numpy(x) for x in (bid, pctr, rel, tie))
        t_score = rule.score(t_bid, t_pctr, t_rel)
        t_ranking = allocate(t_score, eligible(t_score, t_bid, 0.3, t_rel < 1.0), 4, t_tie)
        t_price = price_gsp(Ranked(t_ranking, t_score, rule, t_bid, t_pctr, t_rel, 0.3))
        assert np.array_equal(t_ranking.numpy(), ranking)
        np.testing.assert_allclose(t_price.numpy(), price, rtol=1e-12)


@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_mechanisms_on_torch(mechanism: str) -> None:
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(1)
    bid, pctr, tie = rng.uniform(0.1, 3, (5, 8)), rng.uniform(0.01, 0.5, (5, 8)), rng.random((5, 8))
    rel = rng.integers(0, 5, (5, 8)) / 4.0
    rule, least = SoftGate(), np.array([[0.0], [0.01], [0.1], [0.3], [9.0]])

    def page(*of: Any) -> tuple[Any, Any]:
        bid, pctr, rel, tie, present, least = of
        score = rule.score(bid, pctr, rel)
        may = eligible(score, bid, 0.3, present, least)
        ranking = allocate(score, may, 4, tie)
        alpha = (1.0, 0.5, 0.0)
        return ranking, MECHANISMS[mechanism](Ranked(ranking, score, rule, bid, pctr, rel, 0.3, alpha, least))

    on_numpy = bid, pctr, rel, tie, rel < 1.0, least
    ranking, price = page(*on_numpy)
    t_ranking, t_price = page(*(torch.from_numpy(x) for x in on_numpy))
    assert isinstance(t_price, torch.Tensor)
    assert np.array_equal(t_ranking.numpy(), ranking)
    assert (ranking >= 0).sum() > 5
    np.testing.assert_allclose(t_price.numpy(), price, rtol=1e-12)


@pytest.mark.parametrize("mechanism", MECHANISMS)
@pytest.mark.parametrize("rule", [Product(), Gate(), SoftGate(), Linear(), Tiers(), Exponential(), Learnt()])
def test_everything_stays_on_one_device(mechanism: str, rule: FusionRule) -> None:
    """torch's meta device computes shapes only, and refuses what lies elsewhere as a GPU would."""
    torch = pytest.importorskip("torch")
    if mechanism == "vcg" and not is_affine(rule):
        return  # refused
    bid, tie = torch.ones((5, 8), device="meta"), torch.ones((5, 8), device="meta")
    with pytest.raises(RuntimeError):
        bid + torch.ones(8)
    score = rule.score(bid, bid, bid)
    ranking = allocate(score, eligible(score, bid, 0.3, bid > 0), 4, tie)
    price = MECHANISMS[mechanism](Ranked(ranking, score, rule, bid, bid, bid, 0.3, (1.0, 0.5, 0.2), 0.1))
    assert (price.device.type, tuple(price.shape)) == ("meta", (5, 3))


def test_mechanisms_are_known_by_name() -> None:
    assert dict(MECHANISMS) == {"gsp": price_gsp, "vcg": price_vcg, "first_price": price_first}


@given(
    st.integers(0, 10**6),
    st.integers(1, 9),
    st.integers(1, 9),
    st.integers(1, 4),
    st.sampled_from([2, 5, 10**9]),
)
def test_tie_breaks_drawn_where_needed_rank_as_all_of_them_do(
    seed: int, n: int, k: int, n_slots: int, levels: int
) -> None:
    """From scores that nearly all tie to scores that never do; the draws of other rows are not asked for."""
    rng = np.random.default_rng(seed)
    score = np.where(rng.random((n, k)) < 0.1, -inf, rng.integers(1, levels + 1, (n, k)) / levels)
    may, tie = rng.random((n, k)) < 0.8, rng.random((n, k))
    asked: list[np.ndarray] = []

    def draw(which: np.ndarray) -> np.ndarray:
        asked.append(which)
        return tie[which]

    assert np.array_equal(allocate_drawing(score, may, n_slots, draw), allocate(score, may, n_slots, tie))
    ranked = np.sort(np.where(may, score, -inf), axis=1)[:, ::-1][:, : n_slots + 1]
    ties = ((ranked[:, 1:] == ranked[:, :-1]) & (ranked[:, 1:] > -inf)).any(axis=1)
    assert [which.tolist() for which in asked] == ([ties.tolist()] if ties.any() else [])
