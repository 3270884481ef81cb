"""Two verdicts on a formula: fit for auctions, and good for the market."""

from __future__ import annotations

import pytest

from app.bar import verdicts
from app.bar.verdicts import market_verdict
from scenarios import judge_formula
from scenarios.reporting.theme import BETTER, GREY, WORSE, on

DAY = {
    "revenue_rpm": 100.0,
    "irrelevant_share": 0.10,
    "user_utility": 2.0,
    "advertiser_surplus": 120.0,
    "queries": 1000.0,
}


def days(**changes: float) -> list[dict[str, float]]:
    """Four days that vary, all shifted alike."""
    return [
        {name: (value + changes.get(name, 0.0)) * (1 + 0.01 * noise) for name, value in DAY.items()}
        for noise in (-1, 0, 1, 2)
    ]


@pytest.mark.parametrize(
    ("changes", "kind", "better", "worse"),
    [
        ({}, "unclear", set(), set()),
        (
            {"revenue_rpm": -35.0, "irrelevant_share": 0.3},
            "harmful",
            set(),
            {"revenue_rpm", "irrelevant_share"},
        ),
        (
            {"revenue_rpm": -4.0, "irrelevant_share": -0.08},
            "trade_off",
            {"irrelevant_share"},
            {"revenue_rpm"},
        ),
        ({"user_utility": 1.0}, "good", {"user_utility_rpm"}, set()),
    ],
)
def test_the_market_is_better_off_worse_off_or_both(changes, kind, better, worse) -> None:
    found = market_verdict(days(), days(**changes))
    assert (found.kind, set(found.better), set(found.worse)) == (kind, better, worse)


def test_one_day_tells_nothing() -> None:
    found = market_verdict(days()[:1], days(revenue_rpm=-50.0)[:1])
    assert found.kind == "unclear"
    assert "One day cannot tell" in verdicts.market_lamp(found)


def test_a_formula_that_is_fit_and_harmful_looks_harmful() -> None:
    verdict = judge_formula("b*q/max(r, 0.05)")
    fit = verdicts.auction_lamp(verdict)
    assert "Fit for auctions" in fit
    assert "This says nothing of whether it pays" in fit
    assert GREY in fit, "fitness alone is no praise"
    assert BETTER not in fit
    harmful = verdicts.market_lamp(market_verdict(days(), days(revenue_rpm=-35.0, irrelevant_share=0.3)))
    assert "Harmful for the market" in harmful
    assert WORSE in harmful
    assert "Worse than A: revenue per 1,000 queries -35.0% [" in harmful
    assert "irrelevant share +30.1 points [" in harmful or "irrelevant share +30.2 points [" in harmful


def test_a_formula_that_is_not_fit_says_why() -> None:
    verdict = judge_formula("min(b, 5) * q")
    lamp = verdicts.auction_lamp(verdict)
    assert "Not fit for auctions" in lamp
    assert WORSE in lamp


@pytest.mark.parametrize("colour", [BETTER, WORSE, GREY])
def test_signs_have_contrast(colour: str) -> None:
    def light(hex_: str) -> float:
        parts = [int(hex_[at : at + 2], 16) / 255 for at in (1, 3, 5)]
        linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    low, high = sorted((light(colour), light(on(colour))))
    assert (high + 0.05) / (low + 0.05) >= 4.5
