import math
from math import inf

import numpy as np
import pytest
from hypothesis import given, strategies as st

from simulator.fusion import Exponential, FusionRule, Linear, Product, check_rule
from simulator.rules.formula import Formula, FormulaError

BID, PCTR, REL = np.array([2.0, 0.5, 3.0]), np.array([0.1, 0.3, 0.02]), np.array([0.25, 1.0, 0.81])


def value(expression: str) -> list[float]:
    return Formula(expression).score(BID, PCTR, REL).tolist()


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("b", BID),
        ("b*q + r", BID * PCTR + REL),
        ("b - q - r", BID - PCTR - REL),  # from the left
        ("b / 2 / 4", BID / 8),
        ("b * 2^3^2", BID * 512),  # powers from the right
        ("-2^2 + b", BID - 4),  # a power binds more than its sign
        ("b * 2 ** -1", BID / 2),
        ("b * (q + r)", BID * (PCTR + REL)),
        ("b * sqrt(r) * exp(q) + log(2)", BID * np.sqrt(REL) * np.exp(PCTR) + math.log(2)),
        ("b * min(q, r, .05) + max(1e-1, q)", BID * np.minimum(PCTR, 0.05) + np.maximum(0.1, PCTR)),
        ("+b*1.5E2", BID * 150),
    ],
)
def test_an_expression_means_what_it_means_in_algebra(expression: str, expected: np.ndarray) -> None:
    assert value(expression) == pytest.approx(expected.tolist(), rel=1e-12)


@pytest.mark.parametrize(
    ("expression", "position", "reason"),
    [
        ("", 1, "expected a number, b, q, r, a function or (, but the expression ends"),
        ("b * q * rele", 9, "unknown name 'rele'; there are b, q, r"),
        ("b *", 4, "the expression ends"),
        ("b q", 3, "expected an operator or the end, got 'q'"),
        ("(b * q", 7, "expected ), but the expression ends"),
        ("b * q)", 6, "expected an operator or the end, got ')'"),
        ("b + min(q)", 5, "min takes 2 to 20 arguments, got 1"),
        ("sqrt(b, q)", 1, "sqrt takes one argument, got 2"),
        ("b * 1e999", 5, "the number is too large"),
        ("q * r", 1, "does not contain b"),
        ("b.real", 2, "expected an operator or the end, got '.'"),
        ("__import__('os')", 1, "unknown name '__import__'"),
        ("b if q else r", 3, "expected an operator or the end, got 'if'"),
        ("(" * 100 + "b" + ")" * 100, 42, "nested too deeply"),
        ("b" + "+b" * 400, 501, "at most 500 characters"),
    ],
)
def test_what_cannot_be_read_is_pointed_at(expression: str, position: int, reason: str) -> None:
    with pytest.raises(FormulaError) as caught:
        Formula(expression)
    assert str(caught.value).startswith(f"character {position}: ")
    assert reason in str(caught.value)
    assert caught.value.pointer.splitlines()[-1] == " " * (position - 1) + "^"


@given(st.text("bqr()+-*/^., 0123456789eminaxlogsqrt_'", max_size=40))
def test_any_text_is_a_rule_or_an_error(text: str) -> None:
    try:
        rule = Formula(text)
    except FormulaError:
        return
    score = rule.score(BID, PCTR, REL)
    assert score.shape == BID.shape
    assert not np.isnan(score).any()


@pytest.mark.parametrize(
    ("expression", "rule"),
    [
        ("b * q * r", Product()),
        ("b^0.7 * q^2 * r^1.5", Product(bid=0.7, pctr=2.0, relevance=1.5)),
        ("q * sqrt(b - 0.5 * (1 - r))^2", Linear(0.5)),  # no number where b is too low
        ("b * q * exp(2 * (r - 1))", Exponential(gain=2.0)),
    ],
)
def test_a_rule_spelt_out_is_that_rule(expression: str, rule: FusionRule) -> None:
    rng = np.random.default_rng(1)
    bid, pctr = rng.uniform(0.01, 20.0, 200), rng.uniform(0.001, 0.5, 200)
    rel = np.where(rng.uniform(size=200) < 0.1, 0.0, rng.uniform(0.0, 1.0, 200))
    formula = Formula(expression)
    assert formula.score(bid, pctr, rel) == pytest.approx(rule.score(bid, pctr, rel), rel=1e-12)
    for target in (np.full(200, -inf), rule.score(bid, pctr, rel), np.full(200, 0.01)):
        target = np.where(rel > 0, target, 0.01)
        expected = rule.bid_for_score(target, pctr, rel)
        assert formula.bid_for_score(target, pctr, rel) == pytest.approx(expected, rel=1e-9, abs=1e-8)


@pytest.mark.parametrize(
    ("expression", "fault"),
    [
        ("min(b, 5) * q * r", "does not rise strictly in the bid"),
        ("(b - 1)^2 * q", "does not rise strictly in the bid"),
        ("-b * q", "no ad is ever eligible: the expression is nowhere a number that rises with b"),
        ("b - b", "no ad is ever eligible"),
    ],
)
def test_the_checker_finds_what_no_auction_can_live_with(expression: str, fault: str) -> None:
    assert fault in check_rule(Formula(expression))[0]


@pytest.mark.parametrize(
    "expression", ["b*q*(r^5)^2", "b*q*r^20", "b*q*r^28", "b*q*max(r, 0.1)", "log(b)", "b*exp(-5/r)"]
)
def test_the_checker_lets_a_sound_expression_pass(expression: str) -> None:
    """However steep it is in the relevance, of which some scores are next to nothing."""
    assert check_rule(Formula(expression)) == []


@pytest.mark.parametrize(
    ("expression", "affine"),
    [
        ("b * q * r", True),
        ("q * (b - (1 - r)) / r", True),
        ("b^1", False),
        ("b * b", False),
        ("exp(r) / b", False),
    ],
)
def test_affine_is_said_only_where_it_holds(expression: str, affine: bool) -> None:
    assert Formula(expression).affine is affine


def test_where_the_expression_is_no_number_the_ad_is_not_eligible() -> None:
    rule = Formula("q * sqrt(b - 1)")
    score = rule.score(np.array([0.5, 2.0]), np.array([0.1, 0.1]), np.array([0.5, 0.5]))
    assert score.tolist() == [-inf, pytest.approx(0.1)]
    entry = rule.bid_for_score(np.array([-inf]), np.array([0.1]), np.array([0.5]))
    assert entry[0] == pytest.approx(1.0, rel=1e-12)
    assert check_rule(rule) == []
