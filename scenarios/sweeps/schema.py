"""What a sweep is: fields of a scenario, their values, and how those are combined into points.

schema: 1
name: exponent-threshold
scenario: default              # or a scenario file, found from this file's folder
common: {traffic.n_queries: 20000, fusion.rule: gate}
over:
  fusion.threshold: {from: 0, to: 0.6, step: 0.1}
  fusion.within.relevance: {from: 0.25, to: 4, count: 5, log: true}
  scorer: [bm25, hcmrm]
method: grid                   # or latin_hypercube, sobol, nsga2, tpe; with `points`
seeds: 3
constraints: [irrelevant_share <= 0.02]
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import (
    BeforeValidator,
    Field,
    JsonValue,
    PlainValidator,
    WithJsonSchema,
    model_validator,
)

from scenarios.errors import ScenarioError, did_you_mean
from scenarios.experiments.designs import metric_names
from scenarios.load import (
    DISCRIMINATOR,
    FileKind,
    Source,
    load_scenario,
    override,
    read_file,
    setting,
)
from scenarios.overlay import flat, scenario_file, seeds_of, set_over, shape_first
from scenarios.schema import PREPARED, Scenario, Settings
from scenarios.sweeps import samplers
from scenarios.sweeps.axes import MOST_POINTS, AxisSettings, as_axis, wrong
from scenarios.sweeps.constraints import Constraint, as_constraint

SEARCHES = ("nsga2", "tpe")
"""Methods that choose later points by what earlier ones came to."""
MOST_SEARCHED = 10_000
GENERATION = 16
NOT_SWEPT = ("schema", "name", "seed", "compare", "sweep")
"""Fields that a point's metrics do not depend on, or that a sweep sets itself."""


class SweepFile(Settings):
    """Fields of a scenario, their values, and how those are combined."""

    schema_version: Literal[1] = Field(alias="schema")
    """Version of this format."""
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")]
    """Names the sweep's folder."""
    scenario: str = "default"
    """`default`, or a scenario file as seen from the sweep's folder."""
    common: dict[str, JsonValue] = Field(default_factory=dict)
    """Fields to set over the scenario for all points."""
    over: Annotated[dict[str, Annotated[AxisSettings, BeforeValidator(as_axis)]], Field(min_length=1)]
    """Dotted field -> its values. A whole block is a value too: fusion: [{rule: gate}, {rule: linear}]."""
    method: Literal["grid", "latin_hypercube", "sobol", "nsga2", "tpe"] = "grid"
    points: Annotated[int, Field(ge=1, le=MOST_POINTS)] | None = None
    """How many a design draws, or a search tries; of sobol a power of 2."""
    generation: Annotated[int, Field(ge=2, le=1000)] | None = None
    """How many points a search asks for at once, before it looks at what they came to; 16 by default."""
    design_seed: Annotated[int, Field(ge=0, lt=2**62)] = 1
    """Of the drawn points, or of the search."""
    seeds: (
        Annotated[
            int | tuple[int, ...],
            PlainValidator(seeds_of(1)),
            WithJsonSchema({"anyOf": [{"type": "integer"}, {"type": "array", "items": {"type": "integer"}}]}),
        ]
        | None
    ) = None
    """Replicates of each point: how many, from 1 on, or which. Without, the scenario's own seed."""
    constraints: tuple[Annotated[Constraint, BeforeValidator(as_constraint)], ...] = ()
    """Each as `irrelevant_share <= 0.02`, or as a block."""
    maximise: str = "revenue_rpm"
    """The metric that a point should have much of ..."""
    minimise: str = "irrelevant_share"
    """... with little of this one."""

    further: dict[str, Literal["maximise", "minimise"]] = Field(default_factory=dict)
    """More objectives, by metric; for the Pareto front and a search."""

    @property
    def objectives(self) -> tuple[str, str]:
        """The two main ones, which figures and tables put first."""
        return self.maximise, self.minimise

    @property
    def directions(self) -> dict[str, int]:
        """Every objective: 1 where there should be much of it, -1 where little."""
        signs = {"maximise": 1, "minimise": -1}
        return {
            self.maximise: 1,
            self.minimise: -1,
            **{name: signs[way] for name, way in self.further.items()},
        }

    @property
    def searches(self) -> bool:
        return self.method in SEARCHES

    @property
    def bounds(self) -> tuple[Constraint, ...]:
        """The constraints on metrics."""
        return tuple(one for one in self.constraints if one.metric is not None)

    def keeps(self, field: str, value: JsonValue) -> bool:
        """Whether a value of a field keeps to the constraints on it."""
        return all(one.holds(value) for one in self.constraints if one.field == field)

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.generation is not None and not self.searches:
            raise wrong(f"only a search ({', '.join(SEARCHES)}) has generations; leave it out", "generation")
        if len(self.directions) < 2 + len(self.further):
            raise wrong("needs metrics that are no objectives yet", "further")
        if self.method == "grid":
            self._check_grid()
        elif self.points is None:
            raise wrong(f"is missing: how many points {self.method} draws", "points")
        elif self.method == "sobol" and self.points.bit_count() != 1:
            near = 2 ** round(math.log2(self.points))
            raise wrong(f"a sobol design needs a power of 2, for instance {near}", "points")
        elif self.searches:
            self._check_search(self.points)
        return self

    def _check_grid(self) -> None:
        if self.points is not None:
            raise wrong("a grid has all its points; leave it out, or take another method", "points")
        for field, axis in self.over.items():
            if not axis.countable:
                raise wrong(
                    f"{field} is a distribution, of which a grid has no list; give a list or a range, or "
                    "take latin_hypercube or sobol",
                    "method",
                )
        if (n := math.prod(len(axis.values()) for axis in self.over.values())) > MOST_POINTS:
            raise wrong(f"the grid has {n:,} points, at most {MOST_POINTS:,}; take fewer values", "over")

    def _check_search(self, points: int) -> None:
        if points > MOST_SEARCHED:
            raise wrong(f"a search tries at most {MOST_SEARCHED:,}; take fewer, or a sobol design", "points")
        for field, axis in self.over.items():
            if not axis.countable and field.partition(".")[0] in PREPARED:
                raise wrong(
                    f"{field} decides which pairs there are, and every value of it has them scored anew; "
                    "give a short list of values",
                    "over",
                )


SWEEP: FileKind[SweepFile] = FileKind(
    SweepFile,
    "a sweep",
    "'schema: 1', a 'name' and 'over'",
    "relbid sweep scenarios/sweeps/reserve-slots.yaml runs a built-in one",
)


@dataclass(frozen=True, slots=True)
class Point:
    """One combination of values, and the scenario that it makes."""

    index: int
    settings: Mapping[str, JsonValue]
    scenario: Scenario


@dataclass(frozen=True, slots=True)
class Sweep:
    """A sweep with its scenario and those of its points, all valid."""

    file: SweepFile
    scenario: Scenario
    points: tuple[Point, ...]
    """Of a search: those that it has asked for so far, none where it has not begun."""

    @property
    def name(self) -> str:
        return self.file.name

    @property
    def fields(self) -> tuple[str, ...]:
        """The swept fields."""
        return tuple(self.file.over)

    @property
    def seeds(self) -> tuple[int, ...]:
        """Replicates of each point."""
        chosen = self.file.seeds
        if chosen is None:
            return (self.scenario.seed,)
        return tuple(range(1, chosen + 1)) if isinstance(chosen, int) else chosen


def simulations(sweep: Sweep) -> int:
    """Points times seeds; of a search as many as it may ask for."""
    searched = sweep.file.points if sweep.file.searches else None
    return (len(sweep.points) if searched is None else searched) * len(sweep.seeds)


def load_sweep(path: Path | str, overrides: tuple[str, ...] | list[str] = ()) -> Sweep:
    """Read a sweep file.

    Args:
        path: a YAML file, see the head of this module.
        overrides: `a.b=value` strings set over the scenario of all points; a point's own settings win.

    Raises:
        ScenarioError: the file, its scenario, or a point of it is not valid.
        TableError: the table of auctions that its scenario names cannot be read.
    """
    file, source = read_file(path, SWEEP)
    for field in file.over:
        if field.partition(".")[0] in NOT_SWEPT:
            remedy = "; 'seeds' says which there are" if field == "seed" else ""
            raise ScenarioError(f"{source.at('over', field)}: cannot be swept{remedy}")
    base = scenario_file(Path(path), file.scenario, source, "the sweep's folder")
    own = ["sweep=null", "compare=[]"]
    common = flat(file.common)
    set_over(load_scenario(base, own), common, source, "common")
    texts = [setting(field, value) for field, (_, value) in common.items()]
    scenario = load_scenario(base, [*own, *texts, *overrides])
    _check_names(file, source)
    if not file.searches:
        return Sweep(file, scenario, _points(file, scenario, source))
    sweep = Sweep(file, scenario, ())
    probes(sweep, source)
    return sweep


def point_of(
    sweep: Sweep, index: int, values: Mapping[str, JsonValue], source: Source | None = None
) -> Point:
    """A point by the values of the swept fields.

    Raises:
        ScenarioError: they make no scenario.
    """
    made = _made(sweep.file, sweep.scenario, values, source or Source(sweep.name, {}))
    return Point(index, values, made)


def probes(sweep: Sweep, source: Source | None = None) -> list[Point]:
    """Points that a search could come to: one field moved at a time, to its ends or each text and block.

    Raises:
        ScenarioError: one of them is no scenario, or no value of a field keeps to the constraints.
    """
    source = source or Source(sweep.name, {})
    values = searched_values(sweep.file)
    for field, found in values.items():
        if not found:
            raise ScenarioError(
                f"{source.at('constraints')}: no value of {field} keeps to them; loosen a bound"
            )
    first = {field: found[0] for field, found in values.items()}
    tried = [
        {**first, field: value}
        for field, found in values.items()
        for value in ((found[0], found[-1]) if is_ordered(found) else found)
    ]
    return [point_of(sweep, place, one, source) for place, one in enumerate(tried)]


def searched_values(file: SweepFile) -> dict[str, tuple[JsonValue, ...]]:
    """Swept field -> the values that a search moves through, those that break a constraint left out."""
    return {
        field: tuple(value for value in axis.levels() if file.keeps(field, value))
        for field, axis in file.over.items()
    }


def sweep_points(sweep: Sweep) -> list[tuple[dict[str, JsonValue], Scenario]]:
    """(settings, scenario) of every point, in order; the scenario still has the base's seed."""
    return [(dict(point.settings), point.scenario) for point in sweep.points]


def dump_sweep(sweep: Sweep, scenario: str = "scenario.yaml") -> str:
    """The sweep as YAML that stands beside its scenario, which then holds what all points share."""
    file = sweep.file.model_copy(update={"scenario": scenario, "common": {}})
    data = file.model_dump(mode="json", by_alias=True, exclude_none=True, exclude_defaults=True)
    return yaml.safe_dump(data, sort_keys=False, allow_unicode=True, width=110)


def in_words(settings: Mapping[str, Any]) -> str:
    """`fusion.relevance=2, scorer=bm25`."""
    return ", ".join(
        f"{field}={value if isinstance(value, str) else json.dumps(value)}"
        for field, value in settings.items()
    )


def _points(file: SweepFile, scenario: Scenario, source: Source) -> tuple[Point, ...]:
    axes = list(file.over.values())
    if file.method == "grid":
        rows = samplers.grid(axes)
    else:
        assert file.points is not None
        rows = samplers.spread(axes, file.method, file.points, file.design_seed)
    points: list[Point] = []
    for row in {json.dumps(row): row for row in rows}.values():  # a design may draw the same point twice
        values = dict(zip(file.over, row, strict=True))
        if all(file.keeps(field, value) for field, value in values.items()):
            points.append(Point(len(points), values, _made(file, scenario, values, source)))
    if not points:
        raise ScenarioError(f"{source.at('constraints')}: no point keeps to them; loosen a bound")
    return tuple(points)


def is_ordered(values: Iterable[JsonValue]) -> bool:
    """Whether all of them are numbers."""
    return all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)


def _made(file: SweepFile, scenario: Scenario, values: Mapping[str, JsonValue], source: Source) -> Scenario:
    # The key that chooses the shape of its block first, since setting it empties the block.
    fields = sorted(file.over, key=lambda field: (shape_first(field), field.count(".")))
    try:
        return override(scenario, {field: values[field] for field in fields})
    except ScenarioError as error:
        reason = str(error).removeprefix(f"{scenario.name}, ")
        texts = {field: setting(field, value) for field, value in values.items()}
        blamed = [field for field, text in texts.items() if reason.startswith(text)]
        where = source.at("over", *blamed[:1])
        also = ""
        if DISCRIMINATOR in {name.rpartition(".")[2] for name in values}:
            also = "; where the rules take different settings, list whole blocks under 'fusion'"
        raise ScenarioError(f"{where}: at the point {in_words(values)}: {reason}{also}") from None


def _check_names(file: SweepFile, source: Source) -> None:
    """Fields and metrics that constraints and objectives name."""
    metrics: dict[tuple[str | int, ...], str] = {("maximise",): file.maximise, ("minimise",): file.minimise}
    metrics |= {("further", name): name for name in file.further}
    for place, one in enumerate(file.constraints):
        if one.field is not None and one.field not in file.over:
            raise ScenarioError(
                f"{source.at('constraints', place, 'field')}: '{one.field}' is not swept"
                f"{did_you_mean(one.field, file.over)} (swept are {', '.join(file.over)})"
            )
        if one.field is not None and not is_ordered(file.over[one.field].levels()):
            raise ScenarioError(
                f"{source.at('constraints', place, 'field')}: '{one.field}' has values that are no numbers, "
                "which no bound can hold; leave them out of its list"
            )
        if one.metric is not None:
            metrics["constraints", place, "metric"] = one.metric
    known = metric_names()
    for path, metric in metrics.items():
        if metric not in known:
            raise ScenarioError(
                f"{source.at(*path)}: unknown metric '{metric}'{did_you_mean(metric, known)} "
                f"(there are {', '.join(known)})"
            )
