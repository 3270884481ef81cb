"""What the files of sweeps, experiments and ablations share: a scenario, fields over it, seeds, metrics."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, Field, JsonValue, PlainValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

from scenarios.config.load import DISCRIMINATOR, Source, override, setting, shipped
from scenarios.config.scenario import Scenario, Settings
from scenarios.config.settings import SchemaVersion, wrong
from scenarios.errors import ScenarioError, TableError, did_you_mean, in_words, quoted, shortened, shown
from scenarios.markets.loading import DEFAULT_SCENARIO, load_scenario
from scenarios.markets.registry import source_of
from simulator.measures.market_metrics import METRICS

MOST_SEEDS = 100_000
MOST_SIMULATIONS = 10**6
"""Of a study; at a second each that is twelve days."""

Fields = Mapping[str, tuple[tuple[str, ...], object]]
"""Dotted field -> (its keys in the file, its value)."""


def _each_once(settings: dict[str, JsonValue]) -> dict[str, JsonValue]:
    for field, times in Counter(".".join(keys) for keys, _ in _leaves(settings)).items():
        if times > 1:
            raise wrong(f"sets {field} twice, with dots and as a block; remove one")
    return settings


FieldsOver = Annotated[dict[str, JsonValue], AfterValidator(_each_once)]
"""Fields to set over a scenario, written with dots or as blocks."""


class StudyFile(Settings):
    """What every file of a study begins with."""

    schema_version: SchemaVersion = Field(alias="schema")
    """Version of this format."""
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")]
    """Names the folder of the results."""
    scenario: Annotated[str, Field(min_length=1)] = "default"
    """`default`, or a scenario file as seen from the folder of this one."""
    common: FieldsOver = Field(default_factory=dict)
    """Fields to set over the scenario, for all that is simulated."""


def _seeds_of(least: int) -> Callable[[Any], int | tuple[int, ...]]:
    """A validator of how many seeds there are, or which; `least` of them."""

    def check(value: Any) -> int | tuple[int, ...]:
        numbers = [value] if isinstance(value, int) else value
        if not isinstance(numbers, list | tuple) or not all(type(n) is int for n in numbers):
            raise PydanticCustomError("seeds", "needs a number of seeds, or a list of seeds in brackets")
        if isinstance(value, int):
            if not least <= value <= MOST_SEEDS:
                why = " (one replicate has no spread)" if value < least == 2 else ""
                raise PydanticCustomError(
                    "seeds",
                    "must be from {least} to {most}, got {value}{why}",
                    {"least": least, "most": MOST_SEEDS, "value": value, "why": why},
                )
            return value
        different = len(set(numbers)) == len(numbers)
        if len(numbers) < least or not different or not all(0 <= n < 2**62 for n in numbers):
            raise PydanticCustomError(
                "seeds",
                "a list of seeds needs at least {least}, all different and from 0 to 2^62",
                {"least": {1: "one", 2: "two"}[least]},
            )
        return tuple(numbers)

    return check


def _seeds_schema(least: int) -> WithJsonSchema:
    one = {"type": "integer", "minimum": 0, "exclusiveMaximum": 2**62}
    number = {"type": "integer", "minimum": least, "maximum": MOST_SEEDS}
    several = {"type": "array", "items": one, "minItems": least, "maxItems": MOST_SEEDS, "uniqueItems": True}
    return WithJsonSchema({"anyOf": [number, several]})


Seeds = Annotated[int | tuple[int, ...], PlainValidator(_seeds_of(1)), _seeds_schema(1)]
"""How many seeds, or which."""
SeveralSeeds = Annotated[int | tuple[int, ...], PlainValidator(_seeds_of(2)), _seeds_schema(2)]
"""The same where there have to be two at least, for a spread."""


def listed_seeds(seeds: int | tuple[int, ...], first: int = 1) -> tuple[int, ...]:
    """The seeds themselves; a number of them begins with `first`."""
    return tuple(range(first, first + seeds)) if isinstance(seeds, int) else seeds


def scenario_of(
    file: StudyFile, path: Path, source: Source, kind: str, overrides: Sequence[str] = ()
) -> Scenario:
    """The scenario that a study's file names, with its common fields and then `overrides` set over it.

    Args:
        path: of the file.
        kind: of the study, for messages.
        overrides: `a.b=value` strings.

    Raises:
        ScenarioError: it is not there, or not valid; the message says where in the file it is named.
        TableError: the table of auctions that it names cannot be read.
    """
    base = scenario_file(path, file.scenario, source, kind)
    own = ["sweep=null", "compare=[]"]  # what a study does not run must not stand in its way
    common = flat(file.common)
    try:
        plain = load_scenario(base, own)
    except (ScenarioError, TableError) as error:
        raise type(error)(error).at(*source.at("scenario")) from None
    set_over(plain, common, source, "common")  # refuses a field with its line
    shared = [setting(field, value) for field, (_, value) in common.items()]
    scenario = load_scenario(base, [*own, *shared, *overrides])
    return scenario.read_from(f"{path} (scenario {file.scenario})")


def check_part(shared: Scenario, part: Scenario) -> None:
    """Refuse what a point of a sweep, or an arm, may not change of the scenario that they share.

    Raises:
        ScenarioError: a block has no meaning in its market, or the market is of other files.
    """
    source_of(part).refuse_meaningless(part)
    if part.market.files != shared.market.files:
        reason = "the files of a market are those of the scenario"
        raise ScenarioError(reason, field="market", remedy="write a scenario, and a study, for each")


def refuse_without_effect(
    fields: Mapping[str, str], file: StudyFile, source: Source, overrides: Sequence[str]
) -> None:
    """Refuse to set what a study sets itself.

    Args:
        fields: each by the key of the file that decides it.
        overrides: `a.b=value` strings.

    Raises:
        ScenarioError: names the place.
    """
    common, given = flat(file.common), {text.partition("=")[0].strip() for text in overrides}
    for field, key in fields.items():
        error = ScenarioError(f"has no effect here: '{key}' says which there are", remedy="leave it out")
        if field in common:
            raise error.at(*source.at("common", *common[field][0]))
        if field in given:
            raise error.at(field=f"--set {field}")


def scenario_file(path: Path, name: str, source: Source, kind: str) -> Path:
    """The scenario file that the file at `path` names, or the default one.

    Raises:
        ScenarioError: it is not there.
    """
    if name == "default":
        return DEFAULT_SCENARIO
    file = shipped(path.parent / name)
    try:
        there = file.exists()
    except PermissionError as error:
        raise ScenarioError(f"cannot be read ({in_words(error)})", file=file).at(
            *source.at("scenario")
        ) from None
    except OSError:  # no name for a file, such as one of a thousand characters
        there = False
    if there and file.samefile(path):
        raise ScenarioError("is this very file", remedy="name a scenario file, or 'default'").at(
            *source.at("scenario")
        )
    if not there:
        near = did_you_mean(
            file.name,
            [
                "default",
                *(sibling.name for sibling in file.parent.glob("*.yaml") if sibling.name != file.name),
            ],
        )
        remedy = near or f"; name a scenario file as seen from the {kind}'s folder, or 'default'"
        raise ScenarioError(f"no such file {shortened(shown(file))}{remedy}").at(*source.at("scenario"))
    return file


def check_metrics(
    metrics: Mapping[tuple[str | int, ...], str], source: Source, known: Collection[str] = METRICS
) -> None:
    """Refuse metrics that there are not.

    Args:
        metrics: by where the file names them.

    Raises:
        ScenarioError: names the first one.
    """
    for path, metric in metrics.items():
        if metric not in known:
            raise ScenarioError(
                f"unknown metric {quoted(metric)}{did_you_mean(metric, known)} (there are {', '.join(known)})"
            ).at(*source.at(*path))


def _leaves(
    settings: Mapping[str, Any], above: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], object]]:
    """The keys of every value that is no block, and the value."""
    for key, value in settings.items():
        if isinstance(value, dict):
            yield from _leaves(value, (*above, key))
        else:
            yield (*above, key), value


def flat(settings: Mapping[str, Any]) -> Fields:
    """Fields by their dotted names, whether written with dots or as blocks."""
    fields = {".".join(keys): (keys, value) for keys, value in _leaves(settings)}
    return dict(sorted(fields.items(), key=lambda field: shape_first(field[0])))


def shape_first(field: str) -> bool:
    """Sorts the key that chooses the shape of its block first, since setting it empties the block."""
    return field.rpartition(".")[2] != DISCRIMINATOR


def set_over(scenario: Scenario, fields: Fields, source: Source, *path: str) -> Scenario:
    """A copy with fields set; an error says where in the file the first bad one stands."""
    values = {field: value for field, (_, value) in fields.items()}
    try:
        return override(scenario, values)
    except ScenarioError as error:
        whole = error
    so_far: dict[str, object] = {}
    for field, (keys, value) in fields.items():
        so_far[field] = value
        try:
            override(scenario, so_far)
        except ScenarioError as error:
            own = error.setting is not None and error.setting.field == error.field == field
            inner = error if own else ScenarioError(error if error.problems else error.but(file=None))
            raise inner.at(*source.at(*path, *keys)) from None
    raise whole
