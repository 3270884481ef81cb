"""A sweep with its scenario and its points, read from a file (see `sweep_file`) and written as one."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import JsonValue

from scenarios.config.load import DISCRIMINATOR, Source, override, read_file, read_setting, shipped
from scenarios.config.scenario import Scenario
from scenarios.config.yaml_file import dump_yaml
from scenarios.errors import ScenarioError, did_you_mean, listed, quoted, shortened
from scenarios.studies.study_file import (
    MOST_SIMULATIONS,
    check_metrics,
    check_part,
    listed_seeds,
    refuse_without_effect,
    scenario_of,
    shape_first,
)
from scenarios.studies.sweeps.axes import unit_points
from scenarios.studies.sweeps.sweep_file import SWEEP, SweepFile

NOT_SWEPT = ("schema", "name", "seed", "compare", "sweep")
"""Fields that a point's metrics do not depend on, or that a sweep sets itself."""


@dataclass(frozen=True, slots=True)
class SweepPoint:
    """One combination of values, and the scenario that it makes."""

    index: int
    settings: Mapping[str, JsonValue]
    scenario: Scenario


@dataclass(frozen=True, slots=True)
class Sweep:
    """A sweep with its scenario and those of its points, all valid."""

    file: SweepFile
    scenario: Scenario
    points: tuple[SweepPoint, ...]
    """A search has those that it has asked for so far, none before it begins."""

    @property
    def name(self) -> str:
        return self.file.name

    @property
    def fields(self) -> tuple[str, ...]:
        return tuple(self.file.over)

    @property
    def seeds(self) -> tuple[int, ...]:
        return (self.scenario.seed,) if self.file.seeds is None else listed_seeds(self.file.seeds)


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
    path = shipped(path)
    file, source = read_file(path, SWEEP)
    for field in file.over:
        if field.partition(".")[0] in NOT_SWEPT:
            remedy = "; 'seeds' says which there are" if field == "seed" else ""
            raise ScenarioError(f"{source.at('over', field)}: cannot be swept{remedy}")
    if file.seeds is not None:
        refuse_without_effect({"seed": "seeds"}, file, source, overrides)
    if again := next((one for one in map(read_setting, overrides) if one.field in file.over), None):
        raise ScenarioError("is swept, so it has no effect", setting=again, remedy="leave it out")
    scenario = scenario_of(file, path, source, "sweep", overrides)
    _check_names(file, source)
    if not file.searches:
        sweep = Sweep(file, scenario, _points(file, scenario, source))
        if (n := len(sweep.points) * len(sweep.seeds)) > MOST_SIMULATIONS:
            raise ScenarioError(
                f"{len(sweep.points):,} points x {len(sweep.seeds):,} seeds is {n:,} simulations, at most "
                f"{MOST_SIMULATIONS:,}",
                remedy="take fewer",
            ).at(*source.at("seeds"))
        return sweep
    sweep = Sweep(file, scenario, ())
    probes(sweep, source)
    return sweep


def point_of(
    sweep: Sweep, index: int, values: Mapping[str, JsonValue], source: Source | None = None
) -> SweepPoint:
    """A point by the values of the swept fields.

    Raises:
        ScenarioError: they make no scenario.
    """
    made = _made(sweep.file, sweep.scenario, values, source or Source(sweep.name, {}))
    return SweepPoint(index, values, made)


def probes(sweep: Sweep, source: Source | None = None) -> list[SweepPoint]:
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


def samples(sweep: Sweep) -> Sequence[SweepPoint]:
    """All points; of a search, which does not know them beforehand, some that hold what it can come to."""
    return probes(sweep) if sweep.file.searches else sweep.points


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
    # Of warnings see `dump_model`, which writes defaults, too.
    data = file.model_dump(
        mode="json", by_alias=True, exclude_none=True, exclude_defaults=True, warnings=False
    )
    return dump_yaml(data)


def in_words(settings: Mapping[str, Any]) -> str:
    """`fusion.relevance=2, scorer=bm25`."""
    return ", ".join(
        f"{field}={value if isinstance(value, str) else json.dumps(value)}"
        for field, value in settings.items()
    )


def _points(file: SweepFile, scenario: Scenario, source: Source) -> tuple[SweepPoint, ...]:
    axes = list(file.over.values())
    rows: Iterable[tuple[JsonValue, ...]]
    if file.method == "grid":
        rows = itertools.product(*(axis.values() for axis in axes))  # the last field changes fastest
    else:
        assert file.points is not None
        cube = unit_points(file.method, len(axes), file.points, file.design_seed)
        rows = [tuple(axis.at(float(u)) for axis, u in zip(axes, row, strict=True)) for row in cube]
    points: list[SweepPoint] = []
    for row in {json.dumps(row): row for row in rows}.values():  # a design may draw the same point twice
        values = dict(zip(file.over, row, strict=True))
        if all(file.keeps(field, value) for field, value in values.items()):
            points.append(SweepPoint(len(points), values, _made(file, scenario, values, source)))
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
        made = override(scenario, {field: values[field] for field in fields})
        check_part(scenario, made)
        return made
    except ScenarioError as error:
        remedy = None
        if any(name.split(".")[-1] == DISCRIMINATOR for name in values):
            remedy = "where the rules take different settings, list whole blocks under 'fusion'"
        blamed = [error.setting.field] if error.setting else []
        reason = shortened(str(error if error.problems else error.but(file=None)), 2000)
        at_point = ScenarioError(f"at the point {shortened(in_words(values))}: {reason}", remedy=remedy)
        raise at_point.at(*source.at("over", *blamed)) from None


def _check_names(file: SweepFile, source: Source) -> None:
    """Fields and metrics that constraints and objectives name."""
    metrics: dict[tuple[str | int, ...], str] = {("maximise",): file.maximise, ("minimise",): file.minimise}
    metrics |= {("further", name): name for name in file.further}
    for place, one in enumerate(file.constraints):
        if one.metric is not None:
            metrics["constraints", place, "metric"] = one.metric
        if one.field is None:
            continue
        at = source.at("constraints", place, "field")
        if one.field not in file.over:
            near = f"{did_you_mean(one.field, file.over)} (swept are {listed(file.over)})"
            raise ScenarioError(f"{quoted(one.field)} is not swept{near}").at(*at)
        if not is_ordered(file.over[one.field].levels()):
            reason = f"{quoted(one.field)} has values that are no numbers, which no bound can hold"
            raise ScenarioError(reason, remedy="leave them out of its list").at(*at)
    check_metrics(metrics, source)
