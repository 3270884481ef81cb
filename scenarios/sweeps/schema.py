"""What a sweep is: fields of a scenario, their values, and how those are combined into points.

schema: 1
name: exponent-threshold
scenario: default              # or a scenario file, found from this file's folder
common: {traffic.n_queries: 20000, fusion.rule: gate}
over:
  fusion.threshold: {from: 0, to: 0.6, step: 0.1}
  fusion.within.relevance: {from: 0.25, to: 4, count: 5, log: true}
  scorer: [bm25, hcmrm]
method: grid                   # or latin_hypercube, sobol; with `points`
seeds: 3
constraints:
  - {metric: irrelevant_share, at_most: 0.02}
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
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
from pydantic_core import PydanticCustomError

from scenarios.errors import ScenarioError, did_you_mean, listed, quoted
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
from scenarios.overlay import base_scenario, flat, scenario_file, seeds_of, set_over, shape_first
from scenarios.schema import Scenario, Settings
from scenarios.sweeps import samplers

MOST_POINTS = 100_000
NOT_SWEPT = ("schema", "name", "seed", "compare", "sweep")
"""Fields that a point's metrics do not depend on, or that a sweep sets itself."""

Numbers = tuple[float, float]


def _wrong(message: str, field: str = "", because: str = "") -> PydanticCustomError:
    """A refusal; where the file leaves the field out, the line is that of the field to blame."""
    where = {"field": field, "because": because} if field else {}
    return PydanticCustomError("sweep", "{message}", {"message": message, **where})


def _as_axis(value: Any) -> Any:
    """A list is an axis by its values; lists become tuples, as strict reading wants them here."""
    if isinstance(value, list):
        return {"choice": tuple(value)}
    if isinstance(value, dict):
        return {key: tuple(part) if isinstance(part, list) else part for key, part in value.items()}
    raise _wrong("needs a list of values, or a block such as {from: 0, to: 1, step: 0.1}")


class AxisSettings(Settings):
    """The values of one field: a list or `choice`; a range; or a distribution."""

    choice: Annotated[tuple[JsonValue, ...], Field(min_length=1)] | None = None
    """Any values; a design that draws points takes each equally often."""
    low: float | None = Field(default=None, alias="from")
    to: float | None = None
    step: Annotated[float, Field(gt=0)] | None = None
    """Of a range: from, from + step, ... up to `to`."""
    count: Annotated[int, Field(ge=2, le=MOST_POINTS)] | None = None
    """Of a log range: so many values from `from` to `to`, by equal factors."""
    log: Literal[True] | None = None
    uniform: Numbers | None = None
    """Between two numbers, for designs that draw points."""
    loguniform: Numbers | None = None
    """Between two numbers above 0, uniform in the logarithm."""
    whole: bool = False
    """Rounded to whole numbers."""

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        given = set(self.model_dump(by_alias=True, exclude_none=True)) - {"whole"}
        ranges = ({"from", "to", "step"}, {"from", "to", "count", "log"})
        if given not in (*ranges, {"choice"}, {"uniform"}, {"loguniform"}):
            raise _wrong(
                "needs a list, {from, to, step}, {from, to, count, log: true}, {uniform: [low, high]} or "
                f"{{loguniform: [low, high]}}, got {', '.join(sorted(given)) or 'nothing'}"
            )
        between = self.uniform or self.loguniform or (self.low, self.to)
        if "choice" not in given:
            low, high = between
            if low is None or high is None or not low < high:
                raise _wrong("must rise from the first number to the second")
            if ("log" in given or "loguniform" in given) and low <= 0:
                raise _wrong("needs numbers above 0, since it takes their logarithm")
            if self.step is not None and (high - low) / self.step > MOST_POINTS:
                raise _wrong(f"has more than {MOST_POINTS} values; take a larger step")
        return self

    @property
    def countable(self) -> bool:
        return self.uniform is None and self.loguniform is None

    def values(self) -> tuple[JsonValue, ...]:
        """All values, each once.

        Raises:
            ValueError: it is a distribution, which has no end of them.
        """
        if self.choice is not None:
            return self.choice
        if not self.countable:
            raise ValueError("a distribution cannot be listed")
        assert self.low is not None
        assert self.to is not None
        if self.step is not None:
            found = samplers.steps(self.low, self.to, self.step)
        else:
            assert self.count is not None
            found = samplers.log_steps(self.low, self.to, self.count)
        return tuple(dict.fromkeys(map(self._number, found)))

    def at(self, u: float) -> JsonValue:
        """The value at the quantile u in [0, 1)."""
        if self.countable:
            values = self.values()
            return values[int(u * len(values))]
        if self.uniform is not None:
            low, high = self.uniform
            # Whole numbers are equally likely, the two at the ends too.
            wide = 0.5 if self.whole else 0.0
            return self._number(low - wide + u * (high - low + 2 * wide))
        assert self.loguniform is not None
        low, high = self.loguniform
        return self._number(low * math.exp(u * math.log(high / low)))

    def _number(self, value: float) -> float | int:
        return round(value) if self.whole else samplers.tidy(value)


class Constraint(Settings):
    """A bound on a field of the points that are tried, or on a metric of those that are called feasible."""

    field: str | None = None
    """A swept field; points that break the bound are not simulated."""
    metric: str | None = None
    """Its mean over the seeds; points that break the bound are kept, and marked as not feasible."""
    at_most: float | None = None
    at_least: float | None = None

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if (self.field is None) == (self.metric is None):
            raise _wrong("needs either a field or a metric")
        if self.at_most is None and self.at_least is None:
            raise _wrong("needs at_most, at_least or both")
        return self

    def holds(self, value: object) -> bool:
        """Whether a value keeps to the bound; what is no number has none to keep to."""
        if isinstance(value, bool) or not isinstance(value, int | float):
            return True
        low = -math.inf if self.at_least is None else self.at_least
        high = math.inf if self.at_most is None else self.at_most
        return low <= value <= high


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
    over: Annotated[dict[str, Annotated[AxisSettings, BeforeValidator(_as_axis)]], Field(min_length=1)]
    """Dotted field -> its values. A whole block is a value too: fusion: [{rule: gate}, {rule: linear}]."""
    method: Literal["grid", "latin_hypercube", "sobol"] = "grid"
    points: Annotated[int, Field(ge=1, le=MOST_POINTS)] | None = None
    """How many a latin_hypercube or a sobol design draws; of sobol a power of 2."""
    design_seed: Annotated[int, Field(ge=0, lt=2**62)] = 1
    """Of the drawn points."""
    seeds: (
        Annotated[
            int | tuple[int, ...],
            PlainValidator(seeds_of(1)),
            WithJsonSchema({"anyOf": [{"type": "integer"}, {"type": "array", "items": {"type": "integer"}}]}),
        ]
        | None
    ) = None
    """Replicates of each point: how many, from 1 on, or which. Without, the scenario's own seed."""
    constraints: tuple[Constraint, ...] = ()
    maximise: str = "revenue_rpm"
    """The metric that a point should have much of ..."""
    minimise: str = "irrelevant_share"
    """... with little of this one."""

    @property
    def objectives(self) -> tuple[str, str]:
        return self.maximise, self.minimise

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.method == "grid":
            if self.points is not None:
                raise _wrong("a grid has all its points; leave it out, or take another method", "points")
            for field, axis in self.over.items():
                if not axis.countable:
                    raise _wrong(
                        f"{field} is a distribution, of which a grid has no list; give a list or a range, or "
                        "take latin_hypercube or sobol",
                        "method",
                    )
            if (n := math.prod(len(axis.values()) for axis in self.over.values())) > MOST_POINTS:
                raise _wrong(f"the grid has {n:,} points, at most {MOST_POINTS:,}; take fewer values", "over")
        elif self.points is None:
            raise _wrong(f"is missing: how many points {self.method} draws", "points", "method")
        elif self.method == "sobol" and self.points.bit_count() != 1:
            near = 2 ** round(math.log2(self.points))
            raise _wrong(f"a sobol design needs a power of 2, for instance {near}", "points")
        return self


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
    set_over(base_scenario(base, own, source), common, source, "common")
    texts = [setting(field, value) for field, (_, value) in common.items()]
    scenario = load_scenario(base, [*own, *texts, *overrides])
    _check_names(file, source)
    return Sweep(file, scenario, _points(file, scenario, source))


def sweep_points(sweep: Sweep) -> list[tuple[dict[str, JsonValue], Scenario]]:
    """(settings, scenario) of every point, in order; the scenario still has the base's seed."""
    return [(dict(point.settings), point.scenario) for point in sweep.points]


def dump_sweep(sweep: Sweep, scenario: str = "scenario.yaml") -> str:
    """The sweep as YAML that stands beside its scenario, which then holds what all points share."""
    file = sweep.file.model_copy(update={"scenario": scenario, "common": {}})
    # pydantic warns of a list of seeds, which it writes as it should.
    data = file.model_dump(
        mode="json", by_alias=True, exclude_none=True, exclude_defaults=True, warnings=False
    )
    return yaml.safe_dump(data, sort_keys=False, allow_unicode=True, width=110)


def in_words(settings: Mapping[str, Any]) -> str:
    """`fusion.relevance=2, scorer=bm25`."""
    return ", ".join(
        f"{field}={value if isinstance(value, str) else json.dumps(value)}"
        for field, value in settings.items()
    )


def _points(file: SweepFile, scenario: Scenario, source: Source) -> tuple[Point, ...]:
    # The key that chooses the shape of its block first, since setting it empties the block.
    fields = sorted(file.over, key=lambda field: (shape_first(field), field.count(".")))
    axes = list(file.over.values())
    if file.method == "grid":
        rows = samplers.grid(axes)
    else:
        assert file.points is not None
        rows = samplers.spread(axes, file.method, file.points, file.design_seed)
    points: list[Point] = []
    for row in {json.dumps(row): row for row in rows}.values():  # a design may draw the same point twice
        values = dict(zip(file.over, row, strict=True))
        if all(one.field is None or one.holds(values[one.field]) for one in file.constraints):
            made = _made(scenario, {field: values[field] for field in fields}, source)
            points.append(Point(len(points), values, made))
    if not points:
        raise ScenarioError(f"{source.at('constraints')}: no point keeps to them; loosen a bound")
    return tuple(points)


def _made(scenario: Scenario, values: Mapping[str, JsonValue], source: Source) -> Scenario:
    try:
        return override(scenario, values)
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
    for place, one in enumerate(file.constraints):
        if one.field is not None and one.field not in file.over:
            raise ScenarioError(
                f"{source.at('constraints', place, 'field')}: {quoted(one.field)} is not swept"
                f"{did_you_mean(one.field, file.over)} (swept are {listed(file.over)})"
            )
        if one.metric is not None:
            metrics["constraints", place, "metric"] = one.metric
    known = metric_names()
    for path, metric in metrics.items():
        if metric not in known:
            raise ScenarioError(
                f"{source.at(*path)}: unknown metric {quoted(metric)}{did_you_mean(metric, known)} "
                f"(there are {', '.join(known)})"
            )
