"""The ranking stage as one array program: the pages of the journey, whatever holds the arrays."""

from typing import Any

import numpy as np
import pytest

from simulator import journey, random
from simulator.auction import MECHANISMS, AuctionModel
from simulator.fusion import ByArm, FusionRule, Gate, Learnt, Linear, Product, SoftGate, Tiers, is_affine
from simulator.market import Market, with_settings
from simulator.stage import Pages, rank_on_device, rank_pages
from tests.simulator.markets import random_market

RULES: tuple[FusionRule, ...] = (Product(), Gate(0.4), SoftGate(), Linear(), Tiers(), Learnt())


class Table:
    """A scorer that knows the relevance of a market's candidates, on NumPy or torch."""

    def __init__(self, market: Market, place: Any) -> None:
        self.market, self.place = market, place
        self.asked: list[np.ndarray] = []

    def relevance(self, query: np.ndarray, candidate: np.ndarray) -> Any:
        self.asked.append(candidate)
        return self.place(np.where(candidate >= 0, self.market.relevance[query], 0.0))


def pages(market: Market, rows: np.ndarray, scorer: Any, active: np.ndarray, rule: Any = None) -> Pages:
    query = market.query[rows]
    candidate = market.candidate[query]
    return rank_on_device(
        scorer,
        rule or market.rule,
        market.auction,
        market.users.examination,
        query,
        candidate,
        market.value[candidate],
        market.pctr[query],
        random.pair_uniforms(market.seed, "tie break", rows[:, None], candidate),
        active[market.advertiser[candidate]],
        None if market.query_category is None else market.query_category[query],
    )


@pytest.mark.parametrize("backend", ["numpy", "torch"])
@pytest.mark.parametrize("mechanism", MECHANISMS)
@pytest.mark.parametrize("rule", RULES, ids=lambda rule: type(rule).__name__)
def test_pages_are_those_of_the_journey(rule: FusionRule, mechanism: str, backend: str) -> None:
    if mechanism == "vcg" and not is_affine(rule):
        return  # refused
    place: Any = np.asarray if backend == "numpy" else pytest.importorskip("torch").from_numpy
    market = random_market(3, n_queries=300, rule=rule)
    market = with_settings(
        market,
        auction=AuctionModel(reserve=0.2, mechanism=mechanism, category_score_reserve=(0.0, 0.05)),
        query_category=np.arange(market.candidate.shape[0]) % 2,
    )
    rows = np.arange(300)
    active = np.arange(market.budget_micros.size) % 5 != 0
    expected = journey.rank(market, journey.gather(market, market.value, rows), active)
    scorer = Table(market, place)
    got = pages(market, rows, scorer, active)
    assert np.array_equal(got.ranking, expected.ranking)
    np.testing.assert_allclose(got.score, expected.score, rtol=1e-12)
    np.testing.assert_array_equal(got.n_eligible, expected.n_eligible)
    shown = got.ranking[:, :-1] >= 0
    np.testing.assert_array_equal(got.relevance[shown], expected.relevance[shown])
    assert np.array_equal(np.rint(got.price * 1e6), expected.price_micros)
    assert (got.ranking >= 0).mean() > 0.3
    asked = scorer.asked[0]
    assert not np.isin(market.advertiser[asked[asked >= 0]], np.flatnonzero(~active)).any()


def test_rules_of_an_experiment_lie_on_the_device_too() -> None:
    torch = pytest.importorskip("torch")
    market = random_market(4, n_queries=200)
    rows, active = np.arange(200), np.ones(market.budget_micros.size, dtype=bool)
    arm = (rows % 2)[:, None]
    on_numpy = pages(market, rows, Table(market, np.asarray), active, ByArm((Product(), Gate(0.6)), arm))
    on_torch = pages(
        market,
        rows,
        Table(market, torch.from_numpy),
        active,
        ByArm((Product(), Gate(0.6)), torch.from_numpy(arm)),
    )
    for one, other in zip(on_numpy, on_torch, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12)


def test_nothing_is_fetched_before_the_page_is_whole() -> None:
    """torch's meta device computes shapes only: a value that is looked at, or another device, is an error."""
    torch = pytest.importorskip("torch")
    one = torch.ones((5, 8), device="meta", dtype=torch.float64)
    for mechanism in MECHANISMS:
        model = AuctionModel(mechanism=mechanism, score_reserve=0.1)
        pages = rank_pages(
            Product(), model, (1.0, 0.5, 0.2), one, one, one, one > 0, lambda _, ones=one: ones, 0.1
        )
        assert [part.shape for part in pages] == [(5, 4), (5, 3), (5, 3), (5, 3), (5,)]
        assert {part.device.type for part in pages} == {"meta"}


def test_neural_scores_give_the_same_pages_on_torch() -> None:
    """HCMRM to prices without leaving torch, beside its scores looked up in a table of NumPy."""
    pytest.importorskip("torch")
    from relevance.hcmrm import HcmrmScorer
    from tests.relevance.test_scorer import CORPUS, make_checkpoint

    scorer = HcmrmScorer(make_checkpoint(), CORPUS)
    rng = np.random.default_rng(2)
    query = rng.integers(0, CORPUS.n_queries, 40)
    candidate = np.where(rng.random((40, 9)) < 0.2, -1, rng.integers(0, CORPUS.n_ads, (40, 9)))
    row, column = np.nonzero(candidate >= 0)
    rel = np.zeros(candidate.shape)
    rel[row, column] = scorer.score(query[row], candidate[row, column])
    bid, pctr, tie = rng.uniform(0.1, 3, rel.shape), rng.uniform(0.01, 0.3, rel.shape), rng.random(rel.shape)
    examination = (1.0, 0.6, 0.3)
    for rule in RULES:
        got = rank_on_device(scorer, rule, AuctionModel(), examination, query, candidate, bid, pctr, tie)
        host = rank_pages(
            rule, AuctionModel(), examination, bid, pctr, rel, candidate >= 0, lambda tied: tie[tied]
        )
        assert np.array_equal(got.ranking, host.ranking)
        assert np.array_equal(got.n_eligible, host.n_eligible)
        for name in ("score", "price", "relevance"):
            np.testing.assert_allclose(getattr(got, name), getattr(host, name), rtol=1e-5)
