"""Ways to rank the auctions of a table: a relevance, and a rule that fuses it with bid and pCTR."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from scenarios.config.fusion_rules import RULE_SETTINGS
from scenarios.config.scenario import Scenario
from scenarios.config.settings import Settings
from scenarios.errors import ScenarioError, did_you_mean
from scenarios.markets.simulation import rule_of
from scenarios.markets.table.auctions import Auctions, relevance_by
from scenarios.runs.points import points_of
from simulator.fusion import FusionRule, Product

THRESHOLDS = (0.3, 0.6)
RULES = tuple(name for name in RULE_SETTINGS if name not in ("learnt", "formula"))
"""The rules that are tried by default. A learnt rule needs weights, and a formula an expression."""


class Entry(NamedTuple):
    """One way to rank."""

    scorer: str
    rule: str
    """In words, for the table."""
    fusion: FusionRule


def entries(
    auctions: Auctions,
    *,
    scorers: Sequence[str] = (),
    rules: Sequence[str] = (),
    thresholds: Sequence[float] = THRESHOLDS,
) -> list[Entry]:
    """Ranking without relevance, then each relevance column by each rule, gates once for each threshold.

    Args:
        scorers: of `auctions.scorers`; () all of them.
        rules: of RULE_SETTINGS, () takes RULES; apart from thresholds at their defaults.

    Raises:
        TableError: the table has no such column.
        ScenarioError: there is no such rule, or a threshold is out of range.
    """
    fused: list[tuple[str, FusionRule]] = []
    for name in dict.fromkeys(rules or RULES):
        if name not in RULE_SETTINGS:
            reason = f"unknown rule{did_you_mean(name, RULE_SETTINGS)} (there are {', '.join(RULE_SETTINGS)})"
            raise ScenarioError(reason, field=f"--rule {name}")
        fused += [_build(name, choice) for choice in _choices(RULE_SETTINGS[name], thresholds)]
    found = [Entry("none", "product", Product(relevance=0.0))]
    for scorer in dict.fromkeys(scorers or auctions.scorers):
        relevance_by(auctions, scorer)  # refuses a column that is not there
        if scorer != "none":
            found += [Entry(scorer, label, rule) for label, rule in fused]
    return found


def scenario_entries(scenario: Scenario) -> list[Entry]:
    """What a scenario compares, at its own settings, then what it sweeps.

    Raises:
        ScenarioError, PluginError: see `scenarios.markets.simulation.rule_of`.
    """
    ways = []
    for point in points_of(scenario):
        if not point.changes_fusion_alone:
            raise ScenarioError(
                f"a replay changes the fusion rule alone, not {point.field}",
                file=scenario.place,
                field="sweep.field",
                remedy="sweep a field under fusion, or say what to try with --rule",
            )
        at_point = point.of(scenario)
        name = at_point.fusion.rule
        label = name if point.value is None else f"{name} {point.value:g}"
        ways.append(Entry(point.scorer, label, rule_of(at_point)))
    return list(dict.fromkeys(ways))


def _choices(kind: type[Settings], thresholds: Sequence[float]) -> list[dict[str, object]]:
    """Settings of a rule to try: each threshold alone, or all of them as the edges of tiers."""
    if "threshold" in kind.model_fields:
        return [{"threshold": threshold} for threshold in dict.fromkeys(thresholds)]
    if "thresholds" in kind.model_fields:
        return [{"thresholds": tuple(sorted(set(thresholds)))}]
    return [{}]


def _build(name: str, choice: dict[str, object]) -> tuple[str, FusionRule]:
    values = next(iter(choice.values()), ())
    numbers = values if isinstance(values, tuple) else (values,)
    try:
        settings = RULE_SETTINGS[name].model_validate({"rule": name, **choice})
    except ValueError:
        reason = "must be one or more numbers from 0 to 1"
        given = ",".join(f"{number:g}" for number in numbers)
        raise ScenarioError(reason, field=f"--thresholds {given}") from None
    label = " ".join([name, *(f"{number:g}" for number in numbers)])
    return label, settings.build()


def option_of(error: ValueError) -> str:
    """The option to blame for settings of an auction that are refused."""
    return "--mechanism" if "mechanism" in str(error) else "--reserve"
