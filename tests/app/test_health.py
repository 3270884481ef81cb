"""Whom the market serves under A and B: figures, their intervals, and what is said of them."""

from __future__ import annotations

import math

import numpy as np
import pytest

from app.figures import health_figures
from app.parts import health
from scenarios import PairTotals
from scenarios.reporting.theme import CHOSEN, REFERENCE


def day(top: float, loss: float = 0.1, **more: float) -> dict[str, float]:
    return {"spend_top10_share": top, "spend_hhi": 0.02, "loss_share": loss, "small_return": 1.5, **more}


A = [day(0.50), day(0.52), day(0.51)]
B = [day(0.40, 0.05), day(0.42, 0.06), day(0.41, 0.07)]


def who(revenue: list[float]) -> PairTotals:
    """Queries that were asked, each with an ad of its own that brought so much."""
    n = len(revenue)
    own, totals = np.arange(n), np.zeros((2 * n, 9))
    totals[:n, 0], totals[n:, 1], totals[n:, 4] = 10, 1, revenue
    ads = np.concatenate([np.full(n, -1), own])
    return PairTotals(np.concatenate([own, own]), ads, ads, np.minimum(ads, 0), totals)


def held(name: str) -> health.Held:
    days = [who([1.0, 1.0, 1.0, 1.0])] * 3, [who([4.0, 0.0, 0.0, 0.0])] * 3
    return next(one for one in health.held_figures(A, B, *days) if one.name == name)


def test_figures_are_those_of_the_days_and_effective_numbers_count_equal_ones() -> None:
    assert held("spend_top10_share").against.difference.value == pytest.approx(-0.1)
    assert held("advertisers_by_spend").a.tolist() == pytest.approx([50, 50, 50])
    queries = held("queries_by_revenue")
    assert (queries.a[0], queries.b[0]) == pytest.approx((4, 1))
    assert held("ads_by_impressions").b[0] == pytest.approx(4)


def test_what_no_day_knows_is_left_out() -> None:
    names = [one.name for one in health.held_figures(A, B, [], [])]
    assert "newcomer_impression_share" not in names
    assert "queries_by_revenue" not in names
    assert "loss_share" in names


def test_only_what_has_a_good_side_is_better_or_worse() -> None:
    assert held("loss_share").better is True
    assert held("spend_top10_share").better is None
    table = health.table([held("loss_share"), held("spend_top10_share"), held("small_return")])
    assert table["A"].to_list() == ["10.0%", "51.0%", "1.50"]
    assert table.to_series(4).to_list() == ["better", "clear", "not clear"]
    assert table.to_series(3)[1] == "-10.00 [-10.00, -10.00] points"


def test_the_figure_shows_a_and_b_with_their_intervals() -> None:
    drawn = health_figures.held([held("spend_top10_share"), held("loss_share")], "title", "axis")
    a, b = drawn.data
    assert (a.marker.color, b.marker.color) == (REFERENCE, CHOSEN)
    assert list(a.x) == pytest.approx([51.0, 10.0])
    assert b.error_x.array[0] == pytest.approx(
        4.302653 / math.sqrt(3), rel=1e-4
    )  # standard deviation 1 point
