"""Formulas as one types them, and the blocks of a scenario that they stand for."""

from __future__ import annotations

import pytest

from scenarios import (
    DEFAULT_SCENARIO,
    SHIPPED_RULES,
    FormulaError,
    ScenarioError,
    fusion_block,
    fusion_text,
    load_scenario,
    override,
)

PRODUCT = {"rule": "product", "bid": 1.0, "pctr": 1.0, "relevance": 0.3}


@pytest.mark.parametrize(
    ("text", "block"),
    [
        ("b*q*r^0.3", PRODUCT),
        ("Bid × pCTR · Relevance^0.3", PRODUCT),
        ("ｂ＊ｑ＊ｒ＾（０．３）", PRODUCT),
        ("r^0.3 * q * b", PRODUCT),
        ("b*q", {**PRODUCT, "relevance": 0.0}),
        ("b^0.8*q*sqrt(r)", {**PRODUCT, "bid": 0.8, "relevance": 0.5}),
        ("b*q*exp(2*(r-1))", {"rule": "exponential", "bid": 1.0, "pctr": 1.0, "gain": 2.0}),
        ("b*q/r", {"rule": "formula", "expression": "b*q/r"}),
        ("b*b*q", {"rule": "formula", "expression": "b*b*q"}),
        (" b*q + 0.1*r", {"rule": "formula", "expression": "b*q + 0.1*r"}),
        ("b*q*r^30", {"rule": "formula", "expression": "b*q*r^30"}),
        ("linear(cost=0.7)", {"rule": "linear", "cost": 0.7}),
        ("tiers(thresholds=[0.3, 0.6], within=b^0.5*q)",
         {"rule": "tiers", "thresholds": [0.3, 0.6],
          "within": {"rule": "product", "bid": 0.5, "pctr": 1.0, "relevance": 0.0}}),
    ],
)  # fmt: skip
def test_a_formula_is_the_block_that_it_stands_for(text: str, block: dict[str, object]) -> None:
    assert fusion_block(text) == block
    assert fusion_text(fusion_block(fusion_text(block))) == fusion_text(block)


def test_formulas_are_written_as_short_as_they_can_be() -> None:
    assert fusion_text(PRODUCT) == "b*q*r^0.3"
    assert fusion_text({"rule": "product"}) == "b*q*r"
    assert fusion_text({"rule": "exponential"}) == "b*q*exp(2*(r-1))"
    assert fusion_text({"rule": "linear", "cost": 0.5}) == "linear()"
    assert fusion_text({"rule": "gate", "threshold": 0.2}) == "gate(threshold=0.2)"
    within = {"rule": "product", "relevance": 2.0, "bid": 1.0, "pctr": 1.0}
    assert fusion_text({"rule": "tiers", "within": within}) == "tiers(within=b*q*r^2)"


@pytest.mark.parametrize("name", SHIPPED_RULES)
def test_every_shipped_rule_can_be_written_and_read_back(name: str) -> None:
    scenario = load_scenario(DEFAULT_SCENARIO)
    own = override(scenario, {"sweep": None, "fusion": dict(SHIPPED_RULES[name])})
    text = fusion_text(own.fusion.model_dump())
    assert override(scenario, {"sweep": None, "fusion": fusion_block(text)}).fusion == own.fusion


@pytest.mark.parametrize(
    "text",
    [
        "linear(0.5)",
        "tiers(thresholds=[0.3)",
        "linear({)",
        "linear(cost=2000-13-45)",
        f"linear(cost={'9' * 5000})",
        f"linear(cost={'[' * 300}{']' * 300})",
        f"learnt(rel_knots=[{'0.1, ' * 3000}1])",
        "tiers(thresholds=&a [1], within=*a)",
    ],
)
def test_settings_of_a_rule_that_cannot_be_read_are_refused(text: str) -> None:
    with pytest.raises(ScenarioError, match="needs settings such as name=value"):
        fusion_block(text)


@pytest.mark.parametrize(
    "text",
    ["product(bid=x)", "product(pctr=[1])", "exponential(gain=true)", "tiers(thresholds=[[1]])",
     "learnt(pctr_weights=[x])", "soft_gate(within={rule: product, bid: x})"],
)  # fmt: skip
def test_what_is_no_number_is_not_written(text: str) -> None:
    with pytest.raises(ScenarioError, match="fusion: needs a number, got "):
        fusion_text(fusion_block(text))


@pytest.mark.parametrize("text", ["b*(q", "", "b*q*z", "q*r", "b*q*r²"])
def test_an_expression_that_cannot_be_read_is_refused(text: str) -> None:
    with pytest.raises(FormulaError):
        fusion_block(text)


def test_a_gate_stands_around_any_rule_that_has_none_within() -> None:
    scenario = load_scenario(DEFAULT_SCENARIO)
    gate = {"rule": "gate", "threshold": 0.2, "within": {"rule": "formula", "expression": "b*q + 0.1*r"}}
    assert override(scenario, {"sweep": None, "fusion": gate}).fusion.model_dump() == gate
    with pytest.raises(ScenarioError, match="unknown rule 'tiers'"):
        override(scenario, {"sweep": None, "fusion": {"rule": "gate", "within": {"rule": "tiers"}}})
