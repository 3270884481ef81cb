"""A formula of one's own, tried in auctions before it stands in a scenario."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl

from relevance.ranges import check_within
from simulator.fusion import RULES, Formula, FormulaError as FormulaError, FusionRule, check_rule
from simulator.rules.rule_check import Fault as Fault, RuleTraits as RuleTraits, rule_traits

SHIPPED_RULES: Mapping[str, Mapping[str, object]] = {
    "ignores relevance": {"rule": "product", "relevance": 0.0},
    **{name.replace("_", " "): {"rule": name} for name in RULES if name != "formula"},
}
"""What a formula is compared with: the built-in rules with their defaults, as blocks `fusion`."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """A rule, what makes it unfit for auctions (in words), and its traits where nothing does."""

    rule: FusionRule
    faults: tuple[Fault, ...]
    traits: RuleTraits | None


def judge_formula(expression: str) -> Verdict:
    """Read a formula and try it, see `simulator.fusion.check_rule`.

    Raises:
        FormulaError: it cannot be read; the error says at which character.
    """
    return judge_rule(Formula(expression))


def judge_rule(rule: FusionRule) -> Verdict:
    """Try a rule, see `simulator.fusion.check_rule`."""
    faults = tuple(check_rule(rule))
    return Verdict(rule, faults, None if faults else rule_traits(rule))


def iso_scores(rule: FusionRule, pctr: float, bids: tuple[float, ...]) -> pl.DataFrame:
    """Lines of equal score at one click rate: what a less relevant ad must bid to reach the same score.

    Args:
        pctr: predicted click probability of all ads.
        bids: bid of an ad of relevance 1, one for each line, in currency units per click.

    Returns:
        line (the bid at relevance 1), relevance 0 .. 1 and bid; no row where no bid reaches the score.
    """
    check_within("pctr", pctr, 0, 1)
    check_within("bids", bids, 0, 1e6)
    relevance = np.linspace(0.0, 1.0, 101)
    rate = np.full_like(relevance, pctr)
    parts = []
    for at_one in bids:
        target = rule.score(np.array([at_one]), np.array([pctr]), np.array([1.0]))
        if not np.isfinite(target[0]):
            continue
        bid = rule.bid_for_score(np.full_like(relevance, target[0]), rate, relevance)
        parts.append(pl.DataFrame({"line": at_one, "relevance": relevance, "bid": bid}))
    schema = {"line": pl.Float64, "relevance": pl.Float64, "bid": pl.Float64}
    table = pl.concat(parts) if parts else pl.DataFrame(schema=schema)
    return table.filter(pl.col("bid").is_finite())
