"""Arms at equal revenue, or at an equal share of irrelevant ads, by settings that are chosen in other worlds.

Two relevance models at the same exponent differ in two things at once: how well they tell relevant from
irrelevant ads, and how far apart their scores lie, which is a stronger or weaker exponent. So every arm first
runs along a grid of one setting in worlds that the experiment does not use. One rule then gives each arm its
setting.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import get_args

import numpy as np
import polars as pl

from scenarios.config.load import override
from scenarios.studies.experiments.experiment import Matched, Plan, Rule
from scenarios.studies.experiments.experiment_run import ExperimentResult
from simulator.arrays import FloatArray

RULES: tuple[Rule, ...] = get_args(Rule)

REVENUE, IRRELEVANT = "revenue_rpm", "irrelevant_share"


@dataclass(frozen=True, slots=True)
class Chosen:
    """The setting of an arm by a rule."""

    value: float
    reached: bool
    """Whether the curve gets to what the rule asks; without, it is the nearest setting of the grid."""


@dataclass(frozen=True, slots=True)
class MatchedResult:
    """What was chosen, and an experiment for each rule."""

    plan: Plan
    grid: ExperimentResult
    """All arms at all values, as arms of one experiment in the worlds of the choice."""
    curves: pl.DataFrame
    """Per (arm, value): the name of that arm in `grid`, its mean revenue and irrelevant share."""
    chosen: Mapping[Rule, Mapping[str, Chosen]]
    results: Mapping[Rule, ExperimentResult]

    @property
    def field(self) -> str:
        """The setting that the grid changes."""
        return _matched(self.plan).field


def run_matched(plan: Plan, run: Callable[[Plan], ExperimentResult]) -> MatchedResult:
    """Choose the arms' settings, then run the experiment by each rule.

    Args:
        plan: of an experiment with `matched`.
        run: runs a plan, such as `run_experiment`.
    """
    grid = run(grid_plan(plan))
    curves = curves_of(plan, grid)
    chosen = choose(plan, curves)
    results = {rule: run(plan_at(plan, rule, chosen[rule])) for rule in RULES}
    return MatchedResult(plan, grid, curves, chosen, results)


def matched_plans(plan: Plan) -> list[Plan]:
    """The sizes of what is to be run, for an estimate: the grid, and an experiment for each rule."""
    start = Chosen(_matched(plan).grid[0], True)
    return [grid_plan(plan), *(plan_at(plan, rule, dict.fromkeys(plan.arms, start)) for rule in RULES)]


def grid_plan(plan: Plan) -> Plan:
    """Every arm at every value of the grid, as arms of one experiment in the worlds of the choice."""
    matched = _matched(plan)
    at = {_name(arm, value): (arm, value) for arm in plan.arms for value in matched.grid}
    baseline = _name(plan.experiment.baseline, matched.grid[0])
    changes = {
        "name": f"{plan.experiment.name}-grid",
        "matched": None,
        "published": (),
        "baseline": baseline,
        "worlds": matched.worlds,
        "first_world": 1,
        "seeds": matched.seeds,
        "first_seed": 1,
        "design": ("common",),
        "metrics": (REVENUE, IRRELEVANT),
    }
    return _with_arms(plan, at, changes)


def plan_at(plan: Plan, rule: Rule, chosen: Mapping[str, Chosen]) -> Plan:
    """The experiment with each arm at its setting."""
    at = {arm: (arm, chosen[arm].value) for arm in plan.arms}
    return _with_arms(plan, at, {"name": f"{plan.experiment.name}-{rule}", "matched": None, "published": ()})


def curves_of(plan: Plan, grid: ExperimentResult) -> pl.DataFrame:
    """Revenue and irrelevant share of each arm along the grid: means over worlds, trainings and days."""
    means = grid.replicates.group_by("arm").agg(pl.col(REVENUE).mean(), pl.col(IRRELEVANT).mean())
    rows = [
        {"name": _name(arm, value), "arm": arm, "value": value}
        for arm in plan.arms
        for value in _matched(plan).grid
    ]
    return pl.DataFrame(rows).join(means, left_on="name", right_on="arm", maintain_order="left")


def choose(plan: Plan, curves: pl.DataFrame) -> dict[Rule, dict[str, Chosen]]:
    """Each rule's setting of each arm, from the curves of `curves_of`."""
    matched, baseline = _matched(plan), plan.experiment.baseline
    grid = np.array(matched.grid)

    def curve(arm: str, metric: str) -> FloatArray:
        return curves.filter(pl.col("arm") == arm)[metric].to_numpy()

    equal: dict[str, Chosen] = {}
    for arm in plan.arms:
        revenue = curve(arm, REVENUE)
        equal[arm] = first_at_most(grid, revenue, (1.0 - matched.revenue_cost) * revenue[0])
    own = equal[baseline]
    wanted = float(np.interp(own.value, grid, curve(baseline, IRRELEVANT)))
    return {
        "equal_revenue": equal,
        "equal_irrelevance": {
            arm: own if arm == baseline else first_at_most(grid, curve(arm, IRRELEVANT), wanted)
            for arm in plan.arms
        },
        "equal_setting": dict.fromkeys(plan.arms, own),
    }


def first_at_most(grid: FloatArray, curve: FloatArray, level: float) -> Chosen:
    """Where a curve first comes down to a level, straight between the points of the grid.

    Args:
        grid: rising [G].
        curve: values there, [G].

    Returns:
        The setting, where the level is reached; else that of the curve's least value.
    """
    below = np.flatnonzero(curve <= level)
    if not below.size:
        return Chosen(float(grid[curve.argmin()]), False)
    place = int(below[0])
    if place == 0:
        return Chosen(float(grid[0]), True)
    before, after = curve[place - 1], curve[place]
    share = (before - level) / (before - after)
    return Chosen(float(grid[place - 1] + share * (grid[place] - grid[place - 1])), True)


def _matched(plan: Plan) -> Matched:
    matched = plan.experiment.matched
    assert matched is not None
    return matched


def _name(arm: str, value: float) -> str:
    return f"{arm}_{value:g}"


def _with_arms(plan: Plan, at: Mapping[str, tuple[str, float]], changes: Mapping[str, object]) -> Plan:
    """The plan with other arms: name -> (arm of this plan, its value of the matched field)."""
    field = _matched(plan).field
    arms = {name: {**plan.experiment.arms[arm], field: value} for name, (arm, value) in at.items()}
    return replace(
        plan,
        experiment=plan.experiment.model_copy(update={**changes, "arms": arms}),
        arms={name: override(plan.arms[arm], {field: value}) for name, (arm, value) in at.items()},
        trainings={name: plan.trainings[arm] for name, (arm, _) in at.items() if arm in plan.trainings},
    )
