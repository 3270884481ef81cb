"""Comparison and sweep: one market with equal draws, ranked by several scorers and settings."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import polars as pl

from scenarios.config.load import override
from scenarios.config.scenario import PREPARED, Scenario
from scenarios.markets.kind import Progress
from scenarios.markets.prepared import Prepared, Relevance
from scenarios.markets.simulation import market_of, rule_of, simulate_market
from simulator.arrays import BoolArray, FloatArray
from simulator.log import forget
from simulator.market import Market, with_relevance, with_rule

BASELINE = "none"
"""The scorer that the others are compared with: ranking without relevance."""


Simulate = Callable[[Sequence[Scenario]], Sequence[Mapping[str, float]] | None]
"""The metrics of scenarios on a prepared market; None: it does not simulate these."""


class Point(NamedTuple):
    """One market to simulate; `kind` is "compare" or "sweep"."""

    kind: str
    scorer: str
    field: str | None
    value: float | None

    @property
    def changes_fusion_alone(self) -> bool:
        """Whether its scenario differs in the fusion rule at most."""
        return self.kind == "compare" or str(self.field).startswith("fusion.")

    def of(self, scenario: Scenario) -> Scenario:
        """The scenario at this point.

        Raises:
            ScenarioError: the field refuses the value, or would need another market.
        """
        if self.field is None or self.kind == "compare":
            return scenario
        return override(scenario, {self.field: self.value}, fixed=PREPARED)


def points_of(scenario: Scenario, *, sweep: bool = True) -> Iterator[Point]:
    """The points of a scenario: its comparison at its own settings, then its sweep."""
    swept = scenario.sweep
    own_value = None if swept is None else field_value(scenario, swept.field)
    for scorer in dict.fromkeys((*scenario.compare, scenario.scorer)):
        yield Point("compare", scorer, None if swept is None else swept.field, own_value)
    if sweep and swept is not None:
        for scorer in dict.fromkeys(swept.scorers):
            yield from (Point("sweep", scorer, swept.field, value) for value in dict.fromkeys(swept.values))


def simulate_points(
    prepared: Prepared,
    relevances: Mapping[str, Relevance],
    *,
    sweep: bool = True,
    own: Mapping[str, float] | None = None,
    simulate: Simulate | None = None,
    progress: Progress | None = None,
) -> pl.DataFrame:
    """Simulate every point of the prepared scenario.

    Args:
        sweep: False leaves the sweep out.
        own: metrics of the scenario itself where they are known, so that it is not simulated once more.
        simulate: does that with all points at once, or leaves them to be simulated one after the other.

    Returns:
        One row per point: kind, scorer, field, value; the metrics of `simulator.measures.market_metrics`;
        revenue_uplift and irrelevant_change relative to ranking without relevance (null if the comparison
        lacks it); and pareto, whether no other point has more revenue and a smaller irrelevant share.
    """
    points = list(points_of(prepared.scenario, sweep=sweep))
    simulated: dict[tuple[str, float | None], Mapping[str, float]] = {}
    if own is not None:  # the first points are those of the comparison, at the scenario's own value
        simulated[prepared.scenario.scorer, points[0].value] = own
    if simulate is not None:
        left = {(point.scorer, point.value): point for point in reversed(points)}
        left = {key: point for key, point in left.items() if key not in simulated}
        scenarios = [
            point.of(prepared.scenario).model_copy(update={"scorer": point.scorer}) for point in left.values()
        ]
        simulated |= dict(zip(left, simulate(scenarios) or (), strict=False))
    rows: list[dict[str, object]] = []
    drawn: Market | None = None
    for done, point in enumerate(points, start=1):
        key = point.scorer, point.value
        if key not in simulated:
            drawn = drawn or market_of(prepared, relevances[point.scorer])
            market = _market_at(point, prepared, relevances[point.scorer], drawn)
            simulated[key] = simulate_market(prepared, market, sink=forget).metrics
        rows.append({**point._asdict(), **simulated[key]})
        if progress is not None:
            progress("simulating points", done, len(points))
    schema = {"kind": pl.String, "scorer": pl.String, "field": pl.String, "value": pl.Float64}
    return with_baseline(pl.DataFrame(rows, schema_overrides=schema, infer_schema_length=None))


def _market_at(point: Point, prepared: Prepared, relevance: Relevance, drawn: Market) -> Market:
    """A point's market; where the point changes the ranking alone, with all draws of the scenario's own."""
    scenario = point.of(prepared.scenario)
    if point.changes_fusion_alone:
        return with_rule(with_relevance(drawn, relevance.score), rule_of(scenario))
    return market_of(prepared, relevance, scenario)


def with_baseline(points: pl.DataFrame) -> pl.DataFrame:
    """Add revenue_uplift, irrelevant_change and pareto to a table of points."""
    baseline = points.filter((pl.col("kind") == "compare") & (pl.col("scorer") == BASELINE))

    def relative(metric: str, name: str) -> pl.Expr:
        before = pl.lit(float(baseline[metric][0]) if len(baseline) else None, pl.Float64)
        return ((pl.col(metric) - before) / before).alias(name)

    changes = [
        relative("revenue", "revenue_uplift"),
        relative("irrelevant_share", "irrelevant_change"),
    ]
    front = pareto_front(points["revenue"].to_numpy(), points["irrelevant_share"].to_numpy())
    return points.with_columns(*changes, pl.Series("pareto", front))


def pareto_front(gain: FloatArray, harm: FloatArray) -> BoolArray:
    """Points B[P] that no other one beats, by gain F[P] and harm F[P].

    One point beats another with as much gain and less harm, or with more gain and no more harm. Points that
    hold a NaN are never on the front.
    """
    if gain.ndim != 1 or gain.shape != harm.shape:
        raise ValueError(f"gain and harm must both be [P], are {list(gain.shape)} and {list(harm.shape)}")
    return undominated(np.column_stack([gain, -np.asarray(harm, dtype=np.float64)]))


def undominated(gains: FloatArray) -> BoolArray:
    """Points B[P] that no other one beats, by their gains F[P, M] in M objectives.

    One point beats another with as much of everything and more of something. Points that hold a NaN are never
    on the front.
    """
    gains = np.asarray(gains, dtype=np.float64)
    front: BoolArray = np.logical_not(np.isnan(gains).any(axis=1))
    # By falling sums: a point that beats another has the larger sum, so few comparisons are left.
    for point in np.argsort(-gains.sum(axis=1), kind="stable"):
        if front[point]:
            no_better = (gains <= gains[point]).all(axis=1)
            front[no_better & (gains < gains[point]).any(axis=1)] = False
    return front


def field_value(scenario: Scenario, field: str) -> float | None:
    """The number that a dotted field holds; None if it is no number."""
    value: object = scenario
    for name in field.split("."):
        value = getattr(value, name, None)
    return float(value) if isinstance(value, int | float) else None
