"""The arena: bid policies compared on the same seats of a market, as an experiment with an arm for each.

A seat is an advertiser with a small part of its budget. Policies meet the same seats, values and queries; all
other advertisers bid as the scenario says. An exploitability check lets half of the seats bid a fixed
share of their value instead, and asks what the best share gains them: a policy from which nobody gains by
leaving is near an equilibrium (Nash 1951). It looks at fixed shares alone, so it is a lower bound.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from scenarios.config.load import override
from scenarios.config.scenario import Scenario
from scenarios.errors import ScenarioError
from scenarios.studies.experiments.experiment import Experiment, Plan
from scenarios.studies.experiments.experiment_run import ExperimentResult
from scenarios.studies.experiments.random_effects import Mean, mean_interval, units_of
from scenarios.studies.experiments.summary import values_of
from simulator.arrays import FloatArray

SHARES = (0.2, 0.4, 0.6, 0.8, 1.0, 1.2)
"""What those bid who leave a policy, as shares of their value."""
METRICS = ("seat_surplus", "seat_return", "seat_budget_used", "deviant_surplus", "revenue_rpm")


@dataclass(frozen=True, slots=True)
class Standing:
    """What a policy got."""

    policy: str
    surplus: Mean
    """(Worth of the clicks - spend) / budget."""
    lead: Mean | None
    """Its surplus less that of the first policy, replicate by replicate; None for that one."""
    worth: float
    """Worth of the clicks / spend."""
    used: float
    """Share of the budget that was spent."""
    gain: Mean | None
    """What leaving it brings, in surplus / budget; None without the check."""
    share: float
    """The share of the value whose bid brings that."""


def arena_plan(
    scenario: Scenario,
    policies: Sequence[str],
    *,
    seats: float = 0.1,
    budget: float = 0.05,
    worlds: int = 8,
    days: int = 2,
    exploit: bool = False,
) -> Plan:
    """The experiment that compares policies; the first one is its baseline.

    Args:
        policies: names in `simulator.policies.POLICIES`, or your own as "module:attr".
        seats: share of the advertisers.
        budget: of a seat, times the advertiser's own.
        worlds: how many, from seed 1 on; only a scenario of the embedded world has others.
        days: days of each world.
        exploit: also run the exploitability check.

    Raises:
        ScenarioError: a policy cannot be made, a number is out of range, or there are less than two policies.
    """
    if len(set(policies)) < 2 or len(set(policies)) < len(policies):
        raise ScenarioError("needs two different policies or more", file="arena", field="--policy")
    if scenario.market.kind == "table":
        raise ScenarioError(
            "is table, whose bids are its own, and an arena gives advertisers other ones",
            file=scenario.place, field="market.kind", remedy="take a scenario of a world or of a corpus",
        )  # fmt: skip
    common = {"bidders.seats.share": seats, "bidders.seats.budget": budget}
    shared = override(scenario, common | {"sweep": None, "compare": []})
    several = scenario.market.kind == "world"
    arms = {
        _arm(policy, share): {"bidders.seats.policy": policy, "bidders.seats.deviate": share}
        for policy in policies
        for share in ((0.0, *SHARES) if exploit else (0.0,))
    }
    experiment = Experiment.model_validate(
        {
            "schema": 1,
            "name": "arena",
            "baseline": _arm(policies[0]),
            "arms": arms,
            "worlds": worlds if several else None,
            "seeds": days,
            "metrics": METRICS,
        }
    )
    return Plan(experiment, shared, {arm: override(shared, fields) for arm, fields in arms.items()})


def standings(result: ExperimentResult, policies: Sequence[str]) -> list[Standing]:
    """The policies of an arena's result, the largest surplus first."""
    plan = result.plan
    of = {
        (arm, metric): units_of(values_of(plan, result.replicates, "common", arm, metric))
        for arm in plan.arms
        for metric in METRICS
    }
    found = []
    for policy in policies:
        arm, first = _arm(policy), plan.experiment.baseline
        surplus = of[arm, "seat_surplus"]
        gain, share = _gain(of, policy)
        found.append(
            Standing(
                policy=policy,
                surplus=mean_interval(surplus),
                lead=None if arm == first else mean_interval(surplus - of[first, "seat_surplus"]),
                worth=_mean(of[arm, "seat_return"]),
                used=_mean(of[arm, "seat_budget_used"]),
                gain=gain,
                share=share,
            )
        )
    return sorted(found, key=lambda one: -one.surplus.value)


def _mean(values: FloatArray) -> float:
    """NaN where nothing was spent, which a policy that waits for conversions does where there are none."""
    return float(values.mean()) if values.size else math.nan


def _gain(of: Mapping[tuple[str, str], FloatArray], policy: str) -> tuple[Mean | None, float]:
    """What the best fixed share brings those who leave a policy, and that share."""
    stays = of[_arm(policy), "deviant_surplus"]
    gains = {
        share: of[_arm(policy, share), "deviant_surplus"] - stays
        for share in SHARES
        if (_arm(policy, share), "deviant_surplus") in of
    }
    if not gains:
        return None, float("nan")
    best = max(gains, key=lambda share: _mean(gains[share]))
    # The largest of several means is too large by chance; Bonferroni's interval covers each of them at once.
    return mean_interval(gains[best], 1.0 - 0.05 / len(gains)), best


def _arm(policy: str, share: float = 0.0) -> str:
    """The name of an arm: a policy's without what an arm's name must not hold, and who leaves it."""
    name = re.sub(r"[^A-Za-z0-9_.-]", ".", policy).lstrip("._-")[-26:] or "policy"
    return f"{name}-x{share:g}" if share else name
