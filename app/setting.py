"""A setting: the formula by which ads are ranked, and the fields of a scenario that it stands for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from app import wording
from app.language import t_plain as t
from app.wording import scorer_name
from scenarios import (
    FormulaError,
    Scenario,
    ScenarioError,
    fusion_block,
    fusion_text,
    judge_formula,
    override,
)

BASELINE = "none"
"""The scorer that gives every ad relevance 1."""

EXPONENT_FIELDS = ("fusion.relevance", "fusion.within.relevance")
"""Fields of a sweep that are the exponent of relevance, in one rule or the other."""


@dataclass(frozen=True, slots=True)
class Setting:
    """How to rank: by which formula, with whose relevance, and who is not admitted.

    The formula is a text as of `scenarios.fusion_block`: any rule, or an expression. Ads of less relevance
    than `threshold` (0 admits all), or with a bid below `reserve`, in currency per click, are not shown.
    """

    scorer: str
    formula: str
    threshold: float
    reserve: float

    @property
    def exponents(self) -> tuple[float, float, float] | None:
        """Exponents of bid, pCTR and relevance; None where the formula is not a product of powers."""
        block = fusion_block(self.formula)
        if block["rule"] != "product":
            return None
        bid, pctr, relevance = (float(block.get(name, 1.0)) for name in ("bid", "pctr", "relevance"))
        return bid, pctr, 0.0 if self.scorer == BASELINE else relevance

    @property
    def block(self) -> dict[str, Any]:
        """The block `fusion`: the formula's, within a gate where there is a threshold."""
        block = fusion_block(self.formula)
        return {"rule": "gate", "threshold": self.threshold, "within": block} if self.threshold > 0 else block


def product(relevance: float, bid: float = 1.0, pctr: float = 1.0) -> str:
    """The formula `b*q*r^0.5`."""
    return fusion_text({"rule": "product", "bid": bid, "pctr": pctr, "relevance": relevance})


def scenario_setting(scenario: Scenario) -> Setting:
    """A scenario's own setting."""
    block = scenario.fusion.model_dump()
    threshold = 0.0
    if block["rule"] == "gate":
        threshold, block = block["threshold"], block["within"]
    return Setting(scenario.scorer, fusion_text(block), float(threshold), float(scenario.auction.reserve))


def without_relevance(scenario: Scenario) -> Setting:
    """What a result compares with: bid x pCTR, at the scenario's own exponents of both and its reserve."""
    own = replace(scenario_setting(scenario), scorer=BASELINE)
    bid, pctr, _ = own.exponents or (1.0, 1.0, 0.0)
    return replace(own, formula=product(0.0, bid, pctr), threshold=0.0)


def market_settings(setting: Setting) -> dict[str, object]:
    """A setting as fields for `scenarios.simulate`, `scenarios.inspect_query` and `scenarios.override`."""
    return {"sweep": None, "fusion": setting.block, "auction.reserve": setting.reserve}


def normal(setting: Setting) -> Setting:
    """The same setting, its formula as it is written elsewhere, and a gate as its threshold.

    Raises:
        FormulaError, ScenarioError: the formula cannot be read.
    """
    block = fusion_block(setting.formula)
    if block["rule"] == "gate":
        within = block.get("within", {"rule": "product", "relevance": 0.0})
        threshold = block.get("threshold", 0.3)
        return normal(replace(setting, formula=fusion_text(within), threshold=float(threshold)))
    return replace(setting, formula=fusion_text(block))


def fault_of(setting: Setting, scenario: Scenario) -> str | None:
    """What is wrong with a setting on a scenario, in words; None where it can be simulated.

    A rule of your own stands only where the scenario itself has it: no address may load code.
    """
    try:
        rule = fusion_block(setting.formula)["rule"]
        if rule == "custom" and setting.formula != scenario_setting(scenario).formula:
            return t("bar.custom")
        if rule == "formula" and (faults := judge_formula(setting.formula).faults):
            return t("formula.faults", faults=t("words.semicolon").join(map(wording.fault, faults)))
        override(scenario, {**market_settings(setting), "scorer": setting.scorer})
    except FormulaError as error:
        reason = wording.reading_fault(error)
        return t("formula.cannot_be_read", position=error.position + 1, reason=reason)
    except ScenarioError as error:
        found = error.problems or (error,)
        return t("words.semicolon").join(dict.fromkeys(str(one.reason) for one in found))
    return None


def chosen_scenario(setting: Setting, scenario: Scenario) -> Scenario:
    """The scenario with a setting in place of its own, compared with no relevance; it sweeps nothing."""
    return override(
        scenario,
        {
            **market_settings(setting),
            "scorer": setting.scorer,
            "compare": list(dict.fromkeys([BASELINE, setting.scorer])),
        },
    )


def setting_at(scenario: Scenario, scorer: str, field: str, value: float) -> Setting | None:
    """The setting of a stored point; None if it is of a field that no setting has."""
    if field and scorer != BASELINE and field != "auction.reserve" and not field.startswith("fusion."):
        return None
    return scenario_setting(stored_scenario(scenario, scorer, field, value))


def stored_scenario(scenario: Scenario, scorer: str, field: str, value: float) -> Scenario:
    """The exact scenario of a stored point: the scenario with the scorer and the swept field set."""
    swept: dict[str, object] = {field: value} if field and scorer != BASELINE else {}
    return override(scenario, {"sweep": None, **swept, "scorer": scorer})


def scorers(scenario: Scenario) -> list[str]:
    """The scorers to choose from: those of the comparison and the sweep, its own, and none."""
    swept = scenario.sweep.scorers if scenario.sweep is not None else ()
    return list(dict.fromkeys([*scenario.compare, *swept, scenario.scorer, BASELINE]))


def in_words(setting: Setting) -> str:
    """A setting as a reader would name it, e.g. "HCMRM at exponent 1.5"."""
    plain = setting.exponents is not None and setting.exponents[:2] == (1.0, 1.0)
    if setting.scorer == BASELINE and plain:
        return t("setting.none")
    values: Mapping[str, object] = {
        "scorer": scorer_name(setting.scorer),
        "exponent": setting.exponents[2] if setting.exponents else 0.0,
        "formula": setting.formula,
        "threshold": setting.threshold,
    }
    kind = "exponent" if plain else "formula"
    return t(f"setting.{kind}_gate" if setting.threshold > 0 else f"setting.{kind}", **values)
