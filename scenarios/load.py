"""From a YAML file and values set over it to a validated `Scenario`; other kinds of files are read alike.

Every error names the line, the field and the remedy.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from scenarios.errors import ScenarioError, did_you_mean
from scenarios.schema import PREPARED, Scenario
from scenarios.service_profile import ProfileFile

DEFAULT_SCENARIO = Path(__file__).parent / "default.yaml"
"""The scenario of `make run`."""

MAX_BYTES = 1_000_000
MAX_VALUES = 10_000
"""Bounds on a scenario file; aliases that expand to more are refused before they are expanded."""

DISCRIMINATOR, DEFAULT_RULE = "rule", "product"
DISCRIMINATORS = (DISCRIMINATOR, "kind")
"""Keys that choose between shapes of their block: setting one drops the keys of the former shape."""

_Path = tuple[str | int, ...]
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


SCENARIO = FileKind(
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
    lines: Mapping[_Path, int]

    def at(self, *path: str | int) -> str:
        """`file.yaml, line 3, a.b`, with the line of the nearest value above where there is none."""
        line = _line(path, self.lines)
        where = f"{self.name}, line {line}" if line else self.name
        return f"{where}, {_dotted(path)}" if path else where


def read_file(path: Path | str, kind: FileKind[Model]) -> tuple[Model, Source]:
    """Read and validate a file of some kind.

    Raises:
        ScenarioError: it cannot be read or is not valid. Every problem found is in the message.
    """
    file = Path(path)
    data, lines = _parse(_read(file, kind), str(file), kind)
    return _validate(data, lines, (), str(file), kind), Source(str(file), lines)


def load_scenario(
    path: Path | str, overrides: Sequence[str] = (), *, seed: int | None = None, scorer: str | None = None
) -> Scenario:
    """Read a scenario file.

    Args:
        path: a YAML file; keys that it leaves out take the defaults of `scenarios.schema`.
        overrides: `a.b=value` strings as of `relbid run --set`; the value is YAML, and later ones win.
        seed: replaces the scenario's seed.
        scorer: replaces the scenario's scorer.

    Raises:
        ScenarioError: the file cannot be read or is not a valid scenario. Every problem found is in the
            message.
        TableError: the table of auctions that it names cannot be read.
    """
    file = Path(path)
    data, lines = _parse(_read(file, SCENARIO), str(file), SCENARIO)
    if seed is not None:
        overrides = [*overrides, f"seed={seed}"]
    if scorer is not None:
        overrides = [*overrides, f"scorer={json.dumps(scorer)}"]
    scenario = _validate(data, lines, overrides, str(file), SCENARIO)
    if scenario.market.kind == "table":
        from scenarios.replay.scenario import with_table  # imports polars

        scenario = with_table(scenario, file.parent)
    _check_sweep(scenario, lines, source=str(file))
    return scenario


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
    data = model.model_dump(mode="json", by_alias=True)
    return yaml.safe_dump(data, sort_keys=False, allow_unicode=True, width=110)


def setting(field: str, value: object) -> str:
    """The `a.b=value` of an override. A whole number is written as one, as some fields take no other."""
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        value = int(value)
    return f"{field}={json.dumps(value)}"


def _validate(
    data: dict[str, Any],
    lines: Mapping[_Path, int],
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
        found = [(_path_of(problem, data), problem) for problem in error.errors()]
        raise ScenarioError(_in_words(found, lines, was_set, source, kind.model)) from None


def _read_profile(data: dict[str, Any], source: Source) -> None:
    """Put the points of a service profile where its file is named."""
    serving = data.get("serving")
    if isinstance(serving, dict) and isinstance(file := serving.get("profile"), str):
        try:
            profile, _ = read_file(file, PROFILE)
        except ScenarioError as error:
            raise ScenarioError(f"{source.at('serving', 'profile')}: {error}") from None
        serving["profile"] = [list(point) for point in profile.points]


def _check_sweep(scenario: Scenario, lines: Mapping[_Path, int], source: str) -> None:
    """Every point of the sweep must be a scenario, so that no run ends half-way."""
    swept = scenario.sweep
    if swept is None:
        return
    for value in swept.values:
        try:
            override(scenario, {swept.field: value}, fixed=PREPARED)
        except ScenarioError as error:
            line = _line(("sweep", "field"), lines)
            where = f"{source}, line {line}" if line else source
            reason = str(error).removeprefix(scenario.name + ", ")
            remedy = "change sweep.field or sweep.values, or leave the sweep out with --set sweep=null"
            raise ScenarioError(f"{where}, sweep: {reason}; {remedy}") from None


# Reading


def _read(path: Path, kind: FileKind[Model]) -> str:
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise ScenarioError(
                f"{path}: too long for {kind.name} ({size} bytes, at most {MAX_BYTES}); is it the right file?"
            )
        raw = path.read_bytes()
    except FileNotFoundError:
        near = did_you_mean(path.name, (file.name for file in _siblings(path)))
        raise ScenarioError(f"{path}: no such file{near or f'; {kind.builtin}'}") from None
    except IsADirectoryError:
        raise ScenarioError(f"{path}: is a folder; name {kind.name} file in it") from None
    except OSError as error:
        raise ScenarioError(f"{path}: cannot be read ({error.strerror})") from None
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise ScenarioError(
            f"{path}, line {line}: not UTF-8 (byte 0x{raw[error.start]:02x}); save it with UTF-8 encoding"
        ) from None


def _siblings(path: Path) -> Iterator[Path]:
    try:
        yield from path.parent.glob("*.yaml")
    except OSError:
        return


def _parse(text: str, source: str, kind: FileKind[Model]) -> tuple[dict[str, Any], dict[_Path, int]]:
    """YAML to plain data and the line number of every key and list item."""
    lines: dict[_Path, int] = {}
    try:
        loader = yaml.SafeLoader(text)
        node = loader.get_single_node()
        if node is None:
            raise ScenarioError(f"{source}: is empty; {kind.name} needs at least {kind.needs}")
        for path, line, trouble in _walk(node, (), frozenset()):
            if trouble:
                where = f", {_dotted(path)}" if path else ""
                raise ScenarioError(f"{source}, line {line}{where}: {trouble}")
            lines[path] = line
            if len(lines) > MAX_VALUES:
                raise ScenarioError(
                    f"{source}: more than {MAX_VALUES} values (aliases counted as often as they are used)"
                )
        # By way of JSON: keys become texts and dates too, as the validation expects.
        data = json.loads(json.dumps(loader.construct_document(node), default=str))
    except yaml.MarkedYAMLError as error:
        where = f", line {error.problem_mark.line + 1}" if error.problem_mark else ""
        hint = "; indent with spaces, not tabs" if "'\\t'" in str(error.problem) else ""
        raise ScenarioError(f"{source}{where}: not valid YAML: {error.problem}{hint}") from None
    except yaml.YAMLError as error:
        raise ScenarioError(f"{source}: not valid YAML: {' '.join(str(error).split())}") from None
    except RecursionError:
        raise ScenarioError(f"{source}: nested too deeply for {kind.name}") from None
    except ScenarioError:
        raise
    except (TypeError, ValueError) as error:
        raise ScenarioError(f"{source}: not valid YAML: {error}") from None
    if not isinstance(data, dict):
        raise ScenarioError(f"{source}: needs 'key: value' lines at the top, found {_kind(data)}")
    return data, lines


def _walk(node: yaml.Node, path: _Path, above: frozenset[int]) -> Iterator[tuple[_Path, int, str]]:
    """(path, line, trouble) of a node and all below it; trouble is empty where all is well."""
    line = node.start_mark.line + 1
    if id(node) in above:
        yield path, line, "the alias refers to itself; write the value out"
        return
    yield path, line, _number_trap(node)
    above |= {id(node)}
    if isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            yield from _walk(item, (*path, index), above)
    elif isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            line = key.start_mark.line + 1
            if not isinstance(key, yaml.ScalarNode):
                yield path, line, "a key must be a plain word"
                return
            if key.value in seen:
                yield (
                    (*path, key.value),
                    line,
                    "is there twice; remove one (YAML would silently take the last)",
                )
            seen.add(key.value)
            inner = path if key.tag.endswith(":merge") else (*path, key.value)
            for found, below, trouble in _walk(value, inner, above):
                yield found, line if found == inner else below, trouble


def _number_trap(node: yaml.Node) -> str:
    """Integers that YAML 1.1 silently reads as another number than the one that is written."""
    if not isinstance(node, yaml.ScalarNode) or node.style is not None:
        return ""
    text = str(node.value)
    if node.tag.endswith((":int", ":float")) and ":" in text:
        return (
            f"YAML reads {text} as a number to the base 60; write hours as a decimal number, or quote a text"
        )
    if node.tag.endswith(":int") and re.fullmatch(r"[-+]?0[0-9_]+", text):
        return f"YAML reads {text} as octal; write it without the leading zero"
    return ""


# Values set over the file


def _apply_override(data: dict[str, Any], text: str, label: str) -> _Path:
    """Set `a.b=value` in place and return the path that was set."""
    field, equals, written = text.partition("=")
    keys = field.strip().split(".")
    if not equals or not all(keys):
        raise ScenarioError(
            f"{label}{text}: needs the form field=value, for instance --set fusion.relevance=2"
        )
    try:
        value = yaml.safe_load(written)
    except yaml.YAMLError:
        value = written
    if isinstance(value, str) and _is_number(value):
        value = float(value)  # 1e-3: a command line is no YAML file, so its trap is not laid here
    block = data
    for depth, key in enumerate(keys[:-1], start=1):
        inner = block.setdefault(key, {})
        if not isinstance(inner, dict):
            raise ScenarioError(
                f"{label}{text}: '{'.'.join(keys[:depth])}' holds a value, not a block of keys"
            )
        block = inner
    if keys[-1] in DISCRIMINATORS and block.get(keys[-1]) != value:
        block.clear()
    block[keys[-1]] = value
    return tuple(keys)


# Errors in words

_COMPARISONS = {
    "greater_than": ("greater than", "gt"),
    "greater_than_equal": ("at least", "ge"),
    "less_than": ("less than", "lt"),
    "less_than_equal": ("at most", "le"),
}
_WANTED = {
    "float_type": "a number",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "bool_type": "true or false",
    "string_type": "a text",
    "tuple_type": "a list",
    "list_type": "a list",
    "dict_type": "a block of keys",
    "model_type": "a block of keys",
    "model_attributes_type": "a block of keys",
    "dataclass_type": "a block of keys",
}


def _in_words(
    found: list[tuple[_Path, Any]],
    lines: Mapping[_Path, int],
    was_set: Mapping[_Path, str],
    source: str,
    model: type[BaseModel],
) -> str:
    """All problems of a file as one message, in the order of the file."""
    # A list is also called too short when one of its items is refused; the item's own message says it better.
    found = [
        (path, problem)
        for path, problem in found
        if problem["type"] != "too_short" or not any(other[:-1] == path for other, _ in found)
    ]
    found.sort(key=lambda item: _line(item[0], lines) or MAX_BYTES)
    texts = [source + _describe(path, problem, lines, was_set, model) for path, problem in found]
    return texts[0] if len(texts) == 1 else "\n  ".join([f"{source}: {len(texts)} problems", *texts])


def _describe(
    path: _Path,
    problem: Any,
    lines: Mapping[_Path, int],
    was_set: Mapping[_Path, str],
    model: type[BaseModel],
) -> str:
    """One problem as `, line 3, fusion.relevance: needs a number, ...`."""
    kind, context, value = problem["type"], problem.get("ctx", {}), problem["input"]
    where = f", {_dotted(path)}" if path else ""
    set_by = next((was_set[prefix] for prefix in _prefixes(path) if prefix in was_set), None)
    if set_by is not None:
        where = (
            f", {set_by}" if _dotted(path) == set_by.rpartition("=")[0].split()[-1] else f", {set_by}{where}"
        )
    elif line := _line(path, lines):
        where = f", line {line}{where}"

    if kind in ("extra_forbidden", "unexpected_keyword_argument"):
        text = _unknown_key(problem["loc"], model)
    elif kind == "missing":
        last = problem["loc"][-1]
        text = f"needs a {_ordinal(last)} value" if isinstance(last, int) else "is missing; add it"
    elif kind == "too_short":
        text = f"needs at least {context['min_length']} value(s)"
    elif kind in _COMPARISONS:
        words, key = _COMPARISONS[kind]
        text = f"must be {words} {context[key]:g}, got {_show(value)}"
    elif kind == "finite_number":
        text = f"needs a finite number, got {_show(value)}"
    elif kind == "union_tag_invalid":
        known = [tag.strip(" '") for tag in context["expected_tags"].split(",")]
        key = context["discriminator"].strip("'")
        tag = str(context["tag"])
        text = f"unknown {key} '{tag}'{did_you_mean(tag, known)} (there are {', '.join(known)})"
    elif kind == "union_tag_not_found":
        text = f"needs the key {context['discriminator']} to say which kind it is"
    elif kind == "literal_error":
        known = re.findall(r"'([^']*)'", context["expected"])
        text = f"must be {context['expected']}, got {_show(value)}{did_you_mean(str(value), known)}"
    elif kind in _WANTED:
        text = f"needs {_WANTED[kind]}, got {_show(value)}{_trap(kind, value)}"
    else:
        message = problem["msg"].removeprefix("Value error, ")
        text = message[:1].lower() + message[1:]
    return f"{where}: {text}"


def _path_of(problem: Any, data: Any) -> _Path:
    """Where a problem is in the data: pydantic's location without the tags of unions, which are not keys."""
    loc = problem["loc"]
    path: list[str | int] = []
    for position, part in enumerate(loc):
        known = (isinstance(data, dict) and part in data) or (
            isinstance(data, list) and part in range(len(data))
        )
        if known or (position == len(loc) - 1 and isinstance(part, str)):
            path.append(part)
        if known:
            data = data[part]
    context = problem.get("ctx", {})
    if "field" in context:
        path.extend(context["field"].split("."))
    elif problem["type"] == "union_tag_invalid":
        path.append(context["discriminator"].strip("'"))
    return tuple(path)


def _prefixes(path: _Path) -> Iterator[_Path]:
    """The path itself, then each one above it."""
    return (path[:length] for length in range(len(path), 0, -1))


def _line(path: _Path, lines: Mapping[_Path, int]) -> int | None:
    return next((lines[prefix] for prefix in _prefixes(path) if prefix in lines), None)


def _unknown_key(loc: Sequence[str | int], model: type[BaseModel]) -> str:
    key = str(loc[-1])
    schema = model.model_json_schema()
    known = _keys_at(schema, loc[:-1])
    text = f"unknown key{did_you_mean(key, known)}"
    if text.endswith("?"):
        return text
    homes = [block for block in _keys_at(schema, ()) if key in _keys_at(schema, (block,))]
    if homes:
        return f"{text}; '{key}' belongs under '{homes[0]}'"
    return f"{text}; there are {', '.join(known)}" if known else text


def _keys_at(schema: dict[str, Any], loc: Sequence[str | int]) -> list[str]:
    """Keys that the JSON schema knows at a location."""

    def resolve(node: dict[str, Any]) -> dict[str, Any]:
        while "$ref" in node:
            node = schema["$defs"][node["$ref"].rpartition("/")[2]]
        return node

    node = schema
    for part in loc:
        node = resolve(node)
        if part in node.get("discriminator", {}).get("mapping", {}):
            node = {"$ref": node["discriminator"]["mapping"][part]}
        else:
            options = [node, *map(resolve, node.get("anyOf", []))]
            node = next((o["properties"][part] for o in options if part in o.get("properties", {})), {})
    node = resolve(node)
    options = [node, *map(resolve, node.get("anyOf", []) + node.get("oneOf", []))]
    return list(dict.fromkeys(key for option in options for key in option.get("properties", {})))


def _trap(kind: str, value: object) -> str:
    """What to do where YAML has read something else than was meant."""
    if kind in ("float_type", "int_type") and isinstance(value, str) and _is_number(value):
        if not isinstance(yaml.safe_load(value), str):
            return "; remove the quotes"
        return f"; YAML reads {value} as a text: write {yaml.safe_dump(float(value)).split()[0]}"
    if kind == "string_type" and isinstance(value, bool):
        return "; YAML reads an unquoted yes, no, on or off as true or false: put it in quotes"
    if kind == "string_type" and isinstance(value, int | float):
        return "; put it in quotes"
    if kind == "bool_type" and isinstance(value, str):
        return "; without quotes"
    return ""


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def _ordinal(index: int) -> str:
    return ("first", "second", "third")[index] if index < 3 else f"{index + 1}th"


def _kind(value: object) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, dict):
        return "a block of keys"
    if isinstance(value, list):
        return "a list"
    return f"the {'text' if isinstance(value, str) else 'value'} {json.dumps(value, default=str)}"


def _show(value: object) -> str:
    if isinstance(value, float) and not math.isfinite(value):
        return {"inf": ".inf", "-inf": "-.inf"}.get(str(value), ".nan")
    text = _kind(value)
    return text if len(text) <= 80 else text[:77] + "..."


def _dotted(path: _Path) -> str:
    """`sweep.values[2]` of ("sweep", "values", 2)."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text
