"""Shared by files that build on a scenario: the scenario that they name, fields set over it, and seeds."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic_core import PydanticCustomError

from scenarios.config.load import DISCRIMINATOR, Source, override
from scenarios.config.scenario import Scenario
from scenarios.errors import ScenarioError, TableError, did_you_mean, shortened, shown
from scenarios.markets.loading import DEFAULT_SCENARIO, load_scenario

MOST_SEEDS = 100_000

Fields = Mapping[str, tuple[tuple[str, ...], object]]
"""Dotted field -> (its keys in the file, its value)."""


def seeds_of(least: int) -> Callable[[Any], int | tuple[int, ...]]:
    """A validator of how many seeds there are, or which; `least` of them."""

    def check(value: Any) -> int | tuple[int, ...]:
        numbers = [value] if isinstance(value, int) else value
        if not isinstance(numbers, list | tuple) or not all(type(n) is int for n in numbers):
            raise PydanticCustomError("seeds", "needs a number of seeds, or a list of seeds in brackets")
        if isinstance(value, int):
            if not least <= value <= MOST_SEEDS:
                why = " (one replicate has no spread)" if least == 2 else ""
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


def scenario_file(path: Path, name: str, source: Source, where: str) -> Path:
    """The scenario file that the file at `path` names, or the default one.

    Args:
        where: what the name is relative to, in words.

    Raises:
        ScenarioError: it is not there.
    """
    if name == "default":
        return DEFAULT_SCENARIO
    file = path.parent / name
    try:
        there = file.exists()
    except OSError:  # no name for a file, such as one of a thousand characters
        there = False
    if there and file.samefile(path):
        raise ScenarioError("is this very file", remedy="name a scenario file, or 'default'").at(
            *source.at("scenario")
        )
    if not there:
        near = did_you_mean(file.name, (sibling.name for sibling in file.parent.glob("*.yaml")))
        remedy = near or f"; name a scenario file as seen from {where}, or 'default'"
        raise ScenarioError(f"no such file {shortened(shown(file))}{remedy}").at(*source.at("scenario"))
    return file


def base_scenario(file: Path, own: Sequence[str], source: Source) -> Scenario:
    """The scenario that a file builds on, with `own` set over it; an error says where it was named.

    Raises:
        ScenarioError, TableError: see `load_scenario`.
    """
    try:
        return load_scenario(file, own)
    except (ScenarioError, TableError) as error:
        raise type(error)(error).at(*source.at("scenario")) from None


def flat(settings: Mapping[str, Any], above: tuple[str, ...] = ()) -> Fields:
    """Fields by their dotted names, whether written with dots or as blocks."""
    fields: dict[str, tuple[tuple[str, ...], object]] = {}
    for key, value in settings.items():
        keys = (*above, key)
        if isinstance(value, dict):
            fields |= flat(value, keys)
        else:
            fields[".".join(keys)] = keys, value
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
