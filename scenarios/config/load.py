"""From a YAML file and values set over it to a validated `Scenario`; other kinds of files are read alike.

Every error names the line, the field and the remedy.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from scenarios.config.problems import in_words, is_number, line_of
from scenarios.config.scenario import Scenario
from scenarios.config.service_profile import ProfileFile
from scenarios.config.yaml_file import KeyPath, dotted, read_value, read_yaml
from scenarios.errors import ScenarioError, quoted

DISCRIMINATOR, DEFAULT_RULE = "rule", "product"
DISCRIMINATORS = (DISCRIMINATOR, "kind")
"""Keys that choose between shapes of their block: setting one drops the keys of the former shape."""

Model = TypeVar("Model", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class FileKind(Generic[Model]):
    """A kind of YAML file: the model of its content, and what its error messages say of it."""

    model: type[Model]
    name: str
    needs: str
    """What the least of these files holds."""
    builtin: str
    """Said of a file that is not there."""


SCENARIO: FileKind[Scenario] = FileKind(
    Scenario,
    "a scenario",
    "'schema: 1' and a 'name'",
    "relbid run scenarios/default.yaml runs the built-in one",
)


PROFILE = FileKind(
    ProfileFile,
    "a service profile",
    "what relbid profile writes",
    "relbid profile SCENARIO --out FILE measures one",
)


@dataclass(frozen=True, slots=True)
class Source:
    """Where the values of a file stand in it, for messages about what only shows later."""

    name: str
    lines: Mapping[KeyPath, int]

    def at(self, *path: str | int) -> str:
        """`file.yaml, line 3, a.b`, with the line of the nearest value above where there is none."""
        line = line_of(path, self.lines)
        where = f"{self.name}, line {line}" if line else self.name
        return f"{where}, {dotted(path)}" if path else where


def read_file(path: Path | str, kind: FileKind[Model]) -> tuple[Model, Source]:
    """Read and validate a file of some kind.

    Raises:
        ScenarioError: it cannot be read or is not valid. Every problem found is in the message.
    """
    file = Path(path)
    data, lines = read_yaml(file, kind)
    return _validate(data, lines, (), str(file), kind), Source(str(file), lines)


def read_scenario(path: Path | str, overrides: Sequence[str] = ()) -> tuple[Scenario, Source]:
    """Read and validate a scenario file, as it stands there: what its market's files say is not looked at.

    Args:
        overrides: `a.b=value` strings as of `relbid run --set`; the value is YAML, and later ones win.

    Raises:
        ScenarioError: it cannot be read or is not valid. Every problem found is in the message.
    """
    file = Path(path)
    data, lines = read_yaml(file, SCENARIO)
    return _validate(data, lines, overrides, str(file), SCENARIO), Source(str(file), lines)


def override(scenario: Scenario, settings: Mapping[str, object], *, fixed: Sequence[str] = ()) -> Scenario:
    """A copy of a scenario with fields replaced, e.g. `{"fusion.relevance": 2.0}`, validated anew.

    Args:
        fixed: blocks that may not be touched.

    Raises:
        ScenarioError: a field does not exist, refuses its value, or is fixed.
    """
    for field in settings:
        if field.partition(".")[0] in fixed:
            raise ScenarioError(
                f"{scenario.name}, {field}: decides which queries and ads there are; set it in the scenario"
            )
    texts = [setting(field, value) for field, value in settings.items()]
    data = scenario.model_dump(mode="json", by_alias=True)
    return _validate(data, {}, texts, scenario.name, SCENARIO, label="")


def dump_scenario(scenario: Scenario) -> str:
    """The whole scenario, defaults included, as YAML that `load_scenario` reads back to an equal scenario."""
    return dump_model(scenario)


def dump_model(model: BaseModel) -> str:
    """The whole content of a file of any kind as YAML."""
    # pydantic warns of a list of seeds, which it writes as it should.
    data = model.model_dump(mode="json", by_alias=True, warnings=False)
    return yaml.safe_dump(data, sort_keys=False, allow_unicode=True, width=110)


def setting(field: str, value: object) -> str:
    """The `a.b=value` of an override. A whole number is written as one, as some fields take no other."""
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        value = int(value)
    return f"{field}={json.dumps(value)}"


def _validate(
    data: dict[str, Any],
    lines: Mapping[KeyPath, int],
    overrides: Sequence[str],
    source: str,
    kind: FileKind[Model],
    label: str = "--set ",
) -> Model:
    was_set = {_apply_override(data, text, label): label + text for text in overrides}
    if kind.model is Scenario:
        _read_profile(data, Source(source, lines))
    if isinstance(fusion := data.get("fusion"), dict):
        fusion.setdefault(DISCRIMINATOR, DEFAULT_RULE)
    try:
        # By way of JSON, whose strict reading takes lists for tuples but no text for numbers.
        market = data.get("market")
        columns = isinstance(market, dict) and market.get("kind") == "table"
        return kind.model.model_validate_json(json.dumps(data), context={"columns": columns})
    except ValidationError as error:
        raise ScenarioError(in_words(error, data, lines, was_set, source, kind.model)) from None


def _read_profile(data: dict[str, Any], source: Source) -> None:
    """Put the points of a service profile where its file is named."""
    serving = data.get("serving")
    if isinstance(serving, dict) and isinstance(file := serving.get("profile"), str):
        try:
            profile, _ = read_file(file, PROFILE)
        except ScenarioError as error:
            raise ScenarioError(f"{source.at('serving', 'profile')}: {error}") from None
        serving["profile"] = [list(point) for point in profile.points]


# Values set over the file


def _apply_override(data: dict[str, Any], text: str, label: str) -> KeyPath:
    """Set `a.b=value` in place and return the path that was set."""
    field, equals, written = text.partition("=")
    keys = field.strip().split(".")
    if not equals or not all(keys):
        raise ScenarioError(
            f"{label}{text}: needs the form field=value, for instance --set fusion.relevance=2"
        )
    try:
        value = read_value(written)
    except ScenarioError as error:
        raise ScenarioError(f"{label}{text}: {error}") from None
    if isinstance(value, str) and is_number(value):
        value = float(value)  # 1e-3: a command line is no YAML file, so its trap is not laid here
    block = data
    for depth, key in enumerate(keys[:-1], start=1):
        inner = block.setdefault(key, {})
        if not isinstance(inner, dict):
            raise ScenarioError(
                f"{label}{text}: {quoted('.'.join(keys[:depth]))} holds a value, not a block of keys"
            )
        block = inner
    if len(keys) > 1 and keys[-1] in DISCRIMINATORS and block.get(keys[-1]) != value:
        block.clear()
    block[keys[-1]] = value
    return tuple(keys)
