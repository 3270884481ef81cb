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

import math
from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, JsonValue, model_validator

from scenarios.config.constraints import Constraint, as_constraint
from scenarios.config.load import FileKind
from scenarios.config.scenario import PREPARED
from scenarios.config.settings import wrong
from scenarios.studies.study_file import Seeds, StudyFile, flat
from scenarios.studies.sweeps.axes import MOST_POINTS, AxisSettings, as_axis

Axis = Annotated[
    AxisSettings,
    BeforeValidator(
        as_axis, json_schema_input_type=Annotated[list[JsonValue], Field(min_length=1)] | AxisSettings
    ),
]
SEARCHES = ("nsga2", "tpe")
"""Methods that choose later points by the metrics of earlier ones."""
MOST_SEARCHED = 10_000
GENERATION = 16


class SweepFile(StudyFile):
    """Fields of a scenario, their values, and how those are combined."""

    over: Annotated[dict[str, Axis], Field(min_length=1)]
    """Dotted field -> its values. A whole block is a value too: fusion: [{rule: gate}, {rule: linear}]."""
    method: Literal["grid", "latin_hypercube", "sobol", "nsga2", "tpe"] = "grid"
    points: Annotated[int, Field(ge=1, le=MOST_POINTS)] | None = None
    """How many a design draws, or a search tries; of sobol a power of 2."""
    generation: Annotated[int, Field(ge=2, le=1000)] | None = None
    """How many points a search asks for at once, before it looks at their metrics; 16 by default."""
    design_seed: Annotated[int, Field(ge=0, lt=2**62)] = 1
    """Seed of the drawn points, or of the search."""
    seeds: Seeds | None = None
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
        ways = {self.maximise: "maximise", self.minimise: "minimise", **self.further}
        return {name: 1 if way == "maximise" else -1 for name, way in ways.items()}

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
        if self.maximise == self.minimise:
            raise wrong(f"{self.minimise} cannot be minimised and maximised; name another", "minimise")
        if len(self.directions) < 2 + len(self.further):
            raise wrong("needs metrics that are no objectives yet", "further")
        self._check_bounds()
        for field, axis in self.over.items():
            parts = [value for value in axis.choice or () if isinstance(value, dict)]
            for part in dict.fromkeys(f"{field}.{key}" for value in parts for key in flat(value)):
                if part in self.over:
                    raise wrong(f"{part} is set by values of {field}, too; remove one of them", "over")
        if self.method == "grid":
            self._check_grid()
        elif self.points is None:
            raise wrong(f"is missing: how many points {self.method} draws", "points", "method")
        elif self.method == "sobol" and self.points.bit_count() != 1:
            near = 2 ** round(math.log2(self.points))
            raise wrong(f"a sobol design needs a power of 2, for instance {near}", "points")
        elif self.searches:
            self._check_search(self.points)
        return self

    def _check_bounds(self) -> None:
        for one in self.constraints:
            least = [other.at_least for other in self.constraints if other.name == one.name]
            low = max((bound for bound in least if bound is not None), default=-math.inf)
            if one.at_most is not None and low > one.at_most:
                reason = f"{one.name} >= {low:g} and {one.name} <= {one.at_most:g}: nothing keeps to both"
                raise wrong(reason, "constraints")

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
