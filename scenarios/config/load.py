"""Reads a YAML file, sets values over it and validates it: scenarios and every other kind of file.

Every error names the line, the field and the remedy.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ValidationError
from pydantic_core import to_json

from scenarios.config.problems import blamed, line_of, refusal
from scenarios.config.scenario import Scenario
from scenarios.config.service_profile import ProfileFile
from scenarios.config.yaml_file import (
    FileKind as FileKind,
    KeyPath,
    Model,
    dotted,
    read_value,
    read_yaml,
    text_trouble,
)
from scenarios.errors import Place, ScenarioError, Setting, quoted

PACKAGE = Path(__file__).parents[1]
"""Where the files are that come with relbid."""
DISCRIMINATOR, DEFAULT_RULE = "rule", "product"
DISCRIMINATORS = (DISCRIMINATOR, "kind")
"""Keys that choose between shapes of their block: setting one drops the keys of the former shape."""
DEEPEST = 16
"""Most parts of a dotted name."""

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


SIGNS = {
    "over": "a sweep; relbid sweep takes it",
    "arms": "an experiment; relbid experiment takes it",
    "groups": "an ablation; relbid ablate takes it",
    "quartiles": "a service profile; serving.profile names it",
}
"""Keys by which one kind of file is told from another."""


def _other_kind(keys: Collection[str | int], kind: FileKind[Any]) -> str | None:
    """What a file of some keys is that was given for one of another kind, and which command takes it."""
    known = {field.alias or name for name, field in kind.model.model_fields.items()}
    own = known & SIGNS.keys()
    if own.intersection(keys):
        return None
    if other := next((what for key, what in SIGNS.items() if key in keys), None):
        return other
    blocks = {"market", "traffic", "fusion", "auction", "scorer", "compare"} - known
    return "a scenario; relbid run takes it" if own and blocks.intersection(keys) else None


@dataclass(frozen=True, slots=True)
class Source:
    """The lines of a file's values and what was set over them, for errors that are found after reading."""

    name: str
    lines: Mapping[KeyPath, int]
    settings: tuple[Setting, ...] = ()

    def at(self, *path: str | int) -> Place:
        """The place of a value, with the line of the nearest value above where there is none."""
        return Place(self.name, line_of(path, self.lines), dotted(path) or None)

    def setting_of(self, *path: str | int) -> Setting | None:
        """What was set over the file that holds a value, or made its block; None: the file has it."""
        return blamed(path, self.lines, {tuple(one.field.split(".")): one for one in self.settings})


def shipped(path: Path | str) -> Path:
    """The path, or that of the file of this name that comes with relbid where nothing is there.

    So `scenarios/default.yaml` is found in any folder, as in a clone.
    """
    path = Path(path)
    own = PACKAGE.parent / path
    with contextlib.suppress(OSError):  # no name for a file, such as one of a thousand characters
        if path.parts[:1] == (PACKAGE.name,) and not path.exists() and own.is_file():
            return own
    return path


def read_file(
    path: Path | str, kind: FileKind[Model], overrides: Sequence[str | Setting] = ()
) -> tuple[Model, Source]:
    """Read and validate a file of some kind, as it stands: other files that it names are not looked at.

    Args:
        overrides: values set over it, of which later ones win; a text is an `a.b=value` as of
            `relbid run --set`, whose value is YAML.

    Raises:
        ScenarioError: it cannot be read or is not valid. Every problem found is in the message.
    """
    if wrong := [one for one in overrides if not isinstance(one, str | Setting)]:
        raise TypeError(f"overrides must be texts FIELD=VALUE or settings, got {wrong[0]!r}")
    data, lines = read_yaml(Path(path), kind)
    settings = [
        read_setting(one) if isinstance(one, str) else replace(one, written=one.written or f"--set {one}")
        for one in overrides
    ]
    return _validate(data, lines, settings, str(path), kind), Source(str(path), lines, tuple(settings))


def check_profile_place(path: Path) -> None:
    """Refuse to write a profile over a file that is none.

    Raises:
        ScenarioError: names it.
    """
    if path.is_file() and path.stat().st_size:
        try:
            read_file(path, PROFILE)
        except ScenarioError:
            reason, remedy = "is there, and is no service profile", "name another file"
            raise ScenarioError(reason, file=path, remedy=remedy) from None


def override(scenario: Scenario, settings: Mapping[str, object], *, fixed: Sequence[str] = ()) -> Scenario:
    """A copy of a scenario with fields replaced, e.g. `{"fusion.relevance": 2.0}`, validated anew.

    Args:
        fixed: blocks that may not be touched.

    Raises:
        ScenarioError: a field does not exist, refuses its value, or is fixed.
    """
    for field in settings:
        if not isinstance(field, str):
            raise TypeError(f"settings must have names of fields as keys, got {field!r}")
        if field.split(".")[0] in fixed:
            reason = "decides which queries and ads there are"
            raise ScenarioError(reason, file=scenario.name, field=field, remedy="set it in the scenario")
    data = scenario.model_dump(mode="json", by_alias=True)
    made = _validate(data, {}, [setting(*one) for one in settings.items()], scenario.name, SCENARIO)
    return made.read_from(scenario.place) if scenario.place != scenario.name else made


def setting(field: str, value: object) -> Setting:
    """A value to set over a scenario. A whole number becomes an integer, as some fields take no other.

    Raises:
        ScenarioError: it holds a text that must not be in a file either.
    """
    if isinstance(value, np.generic | np.ndarray):
        value = value.tolist()
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return Setting(field, int(value))
    try:
        return Setting(field, _plain(value))
    except ScenarioError as error:
        raise error.but(setting=Setting(field, value)) from None


def _plain(value: object) -> object:
    """A copy of a value as a file would hold it, since blocks are completed in place."""
    if isinstance(value, str) and (trouble := text_trouble(value)):
        raise ScenarioError(trouble)
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    return [_plain(inner) for inner in value] if isinstance(value, list | tuple) else value


def dump_scenario(scenario: Scenario) -> str:
    """The whole scenario, defaults included, as YAML that `load_scenario` reads back to an equal scenario."""
    return scenario.text


def scenario_key(scenario: Scenario) -> str:
    """A hash of all settings of a scenario, 8 hexadecimal digits."""
    return hashlib.blake2b(scenario.text.encode(), digest_size=4).hexdigest()


def read_setting(text: str) -> Setting:
    """An `a.b=value` of the command line; the value is YAML, and what is no YAML is a text.

    Raises:
        ScenarioError: it has another form, or its value must not be in a file either.
    """
    field, equals, written = text.partition("=")
    setting = Setting(field.strip(), None, f"--set {text}")
    if not equals or not all(setting.field.split(".")):
        reason = "needs the form field=value, for instance --set fusion.relevance=2"
        raise ScenarioError(reason, setting=setting)
    try:
        return replace(setting, value=read_value(written))
    except ScenarioError as error:
        raise ScenarioError(error, setting=setting) from None


def _validate(
    data: dict[str, Any],
    lines: Mapping[KeyPath, int],
    settings: Sequence[Setting],
    source: str,
    kind: FileKind[Model],
) -> Model:
    was_set = {_set(data, setting): setting for setting in settings}
    if kind.model is Scenario:
        _read_profile(data, Source(source, lines))
    if isinstance(fusion := data.get("fusion"), dict):
        fusion.setdefault(DISCRIMINATOR, DEFAULT_RULE)
        if isinstance(within := fusion.get("within"), dict):
            within.setdefault(DISCRIMINATOR, DEFAULT_RULE)
    try:
        # By way of JSON, whose strict reading takes lists for tuples but no text for numbers.
        market = data.get("market")
        columns = isinstance(market, dict) and market.get("kind") == "table"
        return kind.model.model_validate_json(
            to_json(data, inf_nan_mode="constants"), context={"columns": columns}
        )
    except ValidationError as error:
        if other := _other_kind({path[0] for path in lines if path}, kind):  # not what was set over the file
            what, _, remedy = other.partition("; ")
            raise ScenarioError(f"is {what}, not {kind.name}", file=source, remedy=remedy) from None
        raise refusal(error, data, lines, was_set, source, kind.model) from None


def _read_profile(data: dict[str, Any], source: Source) -> None:
    """Put the points of a service profile where its file is named."""
    serving = data.get("serving")
    if isinstance(serving, dict) and serving.get("profile") == "":
        reason = "is empty; name the file that relbid profile writes, or leave it out"
        raise ScenarioError(reason).at(*source.at("serving", "profile"))
    if isinstance(serving, dict) and isinstance(file := serving.get("profile"), str):
        try:
            profile, _ = read_file(file, PROFILE)
        except ScenarioError as error:
            raise ScenarioError(error).at(*source.at("serving", "profile")) from None
        serving["profile"] = [list(point) for point in profile.points]
    elif isinstance(serving, dict) and not isinstance(serving.get("profile", []), list):
        reason = "needs the file that relbid profile writes, or a list of points [pairs, seconds]"
        raise ScenarioError(reason).at(*source.at("serving", "profile"))


def _set(data: dict[str, Any], setting: Setting) -> KeyPath:
    """Set a value in place and return the path that was set."""
    keys, value = setting.field.split("."), setting.value
    if len(keys) > DEEPEST:
        raise ScenarioError(f"has {len(keys)} parts, and no field has more than {DEEPEST}", setting=setting)
    block = data
    for depth, key in enumerate(keys[:-1], start=1):
        inner = block.setdefault(key, {})
        if not isinstance(inner, dict):
            held = quoted(".".join(keys[:depth]))
            raise ScenarioError(f"{held} holds a value, not a block of keys", setting=setting)
        block = inner
    if len(keys) > 1 and keys[-1] in DISCRIMINATORS and block.get(keys[-1]) != value:
        block.clear()
    block[keys[-1]] = value
    return tuple(keys)
