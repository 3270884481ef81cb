"""The setting of the sliders, and the fields of a scenario that it stands for."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from app.language import t
from app.wording import scorer_name
from scenarios import Scenario, override

EXPONENT_FIELDS = ("fusion.relevance", "fusion.within.relevance")
"""Fields of a sweep that are the exponent of relevance, in one rule or the other."""


@dataclass(frozen=True, slots=True)
class Setting:
    """How to rank: whose relevance, its exponent, and who is not admitted.

    The fused score is bid x pCTR x relevance^exponent. Ads of less relevance than `threshold` (0 admits all),
    or with a bid below `reserve`, in currency units per click, are not shown.
    """

    scorer: str
    exponent: float
    threshold: float
    reserve: float


def scenario_setting(scenario: Scenario) -> Setting:
    """A scenario's own setting, as near as the sliders come to it (they know products and gates alone)."""
    fusion: Any = scenario.fusion
    power = getattr(fusion, "within", fusion)
    return Setting(
        scorer=scenario.scorer,
        exponent=float(getattr(power, "relevance", 1.0)),
        threshold=float(getattr(fusion, "threshold", 0.0)),
        reserve=float(scenario.auction.reserve),
    )


def offer_exponents(scenario: Scenario) -> tuple[float, float]:
    """Exponents of bid and pCTR, which the sliders leave as the scenario has them."""
    power: Any = getattr(scenario.fusion, "within", scenario.fusion)
    return float(getattr(power, "bid", 1.0)), float(getattr(power, "pctr", 1.0))


def market_settings(setting: Setting, scenario: Scenario) -> dict[str, object]:
    """A setting as fields for `scenarios.simulate` and `scenarios.inspect_query`."""
    gated = setting.threshold > 0
    bid, pctr = offer_exponents(scenario)
    block = "fusion.within" if gated else "fusion"
    return {
        "sweep": None,  # it may sweep a field that the other rule does not have
        "fusion.rule": "gate" if gated else "product",
        **({"fusion.threshold": setting.threshold} if gated else {}),
        f"{block}.bid": bid,
        f"{block}.pctr": pctr,
        f"{block}.relevance": setting.exponent,
        "auction.reserve": setting.reserve,
    }


def chosen_scenario(setting: Setting, scenario: Scenario) -> Scenario:
    """The scenario with a setting in place of its own, its sweep kept where the rule still has the field."""
    chosen = override(scenario, {**market_settings(setting, scenario), "scorer": setting.scorer})
    swept = scenario.sweep
    if swept is None:
        return chosen
    field = swept.field
    if field in EXPONENT_FIELDS:
        field = EXPONENT_FIELDS[setting.threshold > 0]
    elif field.startswith("fusion."):
        return chosen
    return override(chosen, {"sweep": {**swept.model_dump(mode="json"), "field": field}})


def setting_at(current: Setting, scenario: Scenario, scorer: str, field: str, value: float) -> Setting | None:
    """The setting of a stored point; None if the sliders cannot reach it."""
    own = replace(scenario_setting(scenario), scorer=scorer)
    if scorer == "none":
        return replace(own, exponent=current.exponent)
    if not field:  # a result that swept nothing
        return own
    sliders = dict.fromkeys(EXPONENT_FIELDS, "exponent")
    sliders |= {"fusion.threshold": "threshold", "auction.reserve": "reserve"}
    changes: dict[str, Any] = {sliders[field]: value} if field in sliders else {}
    return replace(own, **changes) if changes else None


def stored_scenario(scenario: Scenario, scorer: str, field: str, value: float) -> Scenario:
    """The exact scenario of a stored point: the scenario with the scorer and the swept field set."""
    swept: dict[str, object] = {field: value} if field and scorer != "none" else {}
    return override(scenario, {"sweep": None, **swept, "scorer": scorer})


def in_words(setting: Setting) -> str:
    """A setting as a reader would name it, e.g. "HCMRM at exponent 1.5"."""
    if setting.scorer == "none":
        return t("setting.none")
    key = "setting.gate" if setting.threshold > 0 else "setting.exponent"
    return t(key, scorer=scorer_name(setting.scorer), exponent=setting.exponent, threshold=setting.threshold)
