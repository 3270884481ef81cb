"""What a case is, and the fields and options that cases are made of."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel, TypeAdapter

from benchmarks.fuzz.values import plain


@dataclass(frozen=True, slots=True)
class Case:
    """One command with one thing wrong."""

    group: str
    """For the count of findings: `run: scenario fields`."""
    what: str
    """The field, option, file or plug-in."""
    kind: str
    """The class of the value or the damage."""
    argv: tuple[str, ...]
    change: Callable[[Path], None] | None = None
    """Changes the folder before the command."""
    names: tuple[str, ...] = ()
    """A message must hold one of these."""
    refuse: bool = False
    """Whether it must be refused: a value out of the declared range."""
    accept: bool = False
    """Whether it must be accepted: nothing is wrong."""
    reads_python: bool = False
    """Whether a message may hold names of Python: those of a plug-in's own errors."""
    hangs: bool = False
    """Whether it never ends by itself, and an interrupt must end it."""

    @property
    def key(self) -> tuple[str, str, str]:
        """What the cases of a sample are chosen by."""
        return self.group, self.what, self.kind

    @property
    def title(self) -> str:
        return f"{self.group} | {self.what} | {self.kind} | relbid {' '.join(one[:60] for one in self.argv)}"


# Schemas

Node = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Field:
    """A value of a schema: its keys, the JSON schemas that it may follow, and what must stand beside it."""

    path: tuple[str, ...]
    nodes: tuple[Node, ...]
    beside: tuple[tuple[tuple[str, ...], Any], ...] = ()

    @property
    def name(self) -> str:
        return ".".join(self.path)

    @property
    def kinds(self) -> set[str]:
        return {str(node.get("type", "string" if "enum" in node else "any")) for node in self.nodes}

    def refuses(self, text: str) -> bool:
        """Whether the declared types and ranges have no place for a value; False where one cannot say."""
        value = plain(text)
        return not any(_fits(value, node) for node in self.nodes)

    @property
    def unbounded(self) -> bool:
        """Whether it is a number without a declared range."""
        return any(
            node.get("type") in ("number", "integer")
            and not (
                {"minimum", "exclusiveMinimum", "const", "enum"} & set(node)
                and {"maximum", "exclusiveMaximum", "const", "enum"} & set(node)
            )
            for node in self.nodes
        )


def _fits(value: Any, node: Node) -> bool:
    kind = node.get("type")
    if "const" in node:
        return bool(value == node["const"])
    if "enum" in node:
        return value in node["enum"]
    if kind is None:
        return True
    if kind in ("number", "integer"):
        if isinstance(value, bool) or not isinstance(value, int | float):
            return False
        if not math.isfinite(value) or (kind == "integer" and value != int(value)):
            return False
        return (
            node.get("minimum", -math.inf) <= value <= node.get("maximum", math.inf)
            and node.get("exclusiveMinimum", -math.inf) < value
            and (value < node.get("exclusiveMaximum", math.inf))
        )
    if kind == "string":
        if not isinstance(value, str) or "\0" in value or re.search("[\ud800-\udfff]", value):
            return False
        if len(value) > node.get("maxLength", 10**9) or len(value) < node.get("minLength", 0):
            return False
        return "pattern" not in node or re.search(node["pattern"], value) is not None
    kinds: Mapping[str, Any] = {"boolean": bool, "null": type(None), "array": list, "object": dict}
    if not isinstance(value, kinds[str(kind)]):
        return False
    if kind == "array" and not node.get("minItems", 0) <= len(value) <= node.get("maxItems", 10**9):
        return False
    if kind == "array" and isinstance(items := node.get("items"), Mapping) and "type" in items:
        return all(_fits(one, items) for one in value)
    return True


EXAMPLES: Mapping[str, Any] = {
    "expression": "b * q", "object": "no_such_module:rule", "policy": "fixed", "folder": "market_corpus",
    "auctions": "auctions.parquet", "name": "named", "schema": 1, "reference": "a", "baseline": "A",
    "metric": "ctr", "rule": "product", "arms": {"a": {}, "b": {"loss": "bce"}},
}  # fmt: skip
"""Values of fields that must be there and whose schema says too little."""


EXAMPLE_KEYS = {"over": "auction.reserve", "arms": "A", "groups": "losses", "across": "labels"}
"""Keys of blocks whose keys the user chooses."""


def fields_of(schema: Node) -> Iterator[Field]:
    """Every value that a JSON schema knows, inside lists and every kind of block as well."""
    definitions = schema.get("$defs", {})

    def resolved(node: Node) -> Node:
        while "$ref" in node:
            node = definitions[node["$ref"].rpartition("/")[2]]
        return node

    def flat(node: Node) -> Iterator[Node]:
        node = resolved(node)
        others = [*node.get("anyOf", ()), *node.get("oneOf", ()), *node.get("allOf", ())]
        if not others:
            yield node
        for other in others:
            yield from flat(other)

    def example(name: str, node: Node, depth: int = 0) -> Any:
        node = next(flat(node))
        for key in ("const", "default"):
            if key in node:
                return node[key]
        if name in EXAMPLES:
            return EXAMPLES[name]
        if "enum" in node:
            return node["enum"][0]
        if node.get("type") == "object" and "properties" in node and depth < 4:
            needed = {key: node["properties"][key] for key in node.get("required", ())}
            return {key: example(key, inner, depth + 1) for key, inner in needed.items()}
        if node.get("type") == "array":
            items = node.get("prefixItems") or [node.get("items", {})] * node.get("minItems", 1)
            return [example("", item, depth + 1) for item in items]
        if node.get("type") in ("number", "integer"):
            low = node.get("minimum", node.get("exclusiveMinimum", 0))
            return min(max(low + (1 if "exclusiveMinimum" in node else 0), 1), node.get("maximum", 1))
        return {"boolean": True, "object": {}, "null": None}.get(str(node.get("type")), "x")

    def walk(node: Node, path: tuple[str, ...], beside: tuple[Any, ...], depth: int) -> Iterator[Field]:
        nodes = tuple(flat(node))
        if path:
            yield Field(path, nodes, beside)
        if depth > 7:
            return
        for one in nodes:
            properties = one.get("properties", {})
            needed = tuple(
                ((*path, key), example(key, properties[key])) for key in one.get("required", ()) if path
            )
            needed += tuple(
                ((*path, key), inner["const"])
                for key, inner in properties.items()
                if path and "const" in inner and key in ("rule", "kind")
            )
            for key, inner in properties.items():
                rest = tuple(pair for pair in needed if pair[0] != (*path, key))
                yield from walk(inner, (*path, key), beside + rest, depth + 1)
            if isinstance(inner := one.get("additionalProperties"), Mapping) and path:
                key = EXAMPLE_KEYS.get(path[-1], "x")
                yield from walk(inner, (*path, key), (*beside, (path, example(path[-1], one))), depth + 1)
            items = one.get("prefixItems") or (
                [one["items"]] if isinstance(one.get("items"), Mapping) else []
            )
            for number, item in enumerate(items):
                whole = example("", one)
                whole = whole if isinstance(whole, list) and whole else [example("", item)]
                rest = (*beside, (path, whole))
                yield from walk(item, (*path, f"[{number}]"), rest, depth + 1)

    yield from walk(schema, (), (), 0)


def with_value(data: dict[str, Any], field: Field, value: Any) -> dict[str, Any]:
    """A copy of a file's data in which a field has a value, and what it needs stands beside it."""
    import copy

    data = copy.deepcopy(data)
    for path, other in field.beside:
        if not path:
            continue
        _set(data, path, copy.deepcopy(other))
    _set(data, field.path, value)
    return data


def _set(data: Any, path: Sequence[str], value: Any) -> None:
    for key, following in zip(path, (*path[1:], ""), strict=True):
        place: Any = int(key[1:-1]) if key.startswith("[") else key
        if isinstance(place, int):
            while len(data) <= place:
                data.append(None)
        if not following:
            data[place] = value
            return
        inner = data[place] if isinstance(place, int) else data.get(place)
        wanted = list if following.startswith("[") else dict
        if not isinstance(inner, wanted):
            data[place] = inner = wanted()
        data = inner


@cache
def schema_fields(model: type[BaseModel]) -> tuple[Field, ...]:
    """The fields of a pydantic model, each once for each kind of block that it is in."""
    return tuple({(one.name, str(one.beside)): one for one in fields_of(model.model_json_schema())}.values())


@cache
def training_fields() -> tuple[Field, ...]:
    """The settings of a training, those of the model's sizes under `model`."""
    from scenarios.models.train_settings import known_settings

    settings, sizes = known_settings()
    found = {**settings, **{f"model.{name}": kind for name, kind in sizes.items()}}
    fields = []
    for name, kind in found.items():
        schema = TypeAdapter(kind).json_schema()
        nodes = tuple(next(fields_of({"properties": {"x": schema}, "$defs": schema.get("$defs", {})})).nodes)
        fields.append(Field(tuple(name.split(".")), nodes))
    return tuple(fields)


# The command line


@dataclass(frozen=True, slots=True)
class Option:
    """An argument or option of a command."""

    command: tuple[str, ...]
    name: str
    """`--seed`, or the name of an argument."""
    kinds: set[str]
    choices: tuple[str, ...]
    least: float | None
    most: float | None
    is_flag: bool
    is_path: bool
    position: int | None
    """Of an argument: its place on the command line."""

    @property
    def unbounded(self) -> bool:
        return bool(self.kinds & {"number", "integer"}) and (self.least is None or self.most is None)

    def refuses(self, text: str) -> bool:
        """Whether a text is no value of it; False where one cannot say."""
        if self.choices:
            return text not in self.choices
        if not self.kinds & {"number", "integer"}:
            return False
        try:
            value = float(text)
        except ValueError:
            return True
        if "number" not in self.kinds and not value.is_integer():
            return True
        low, high = (math.inf if one is None else one for one in (self.least, self.most))
        return not (math.isfinite(value) and (self.least is None or low <= value) and value <= high)


def commands() -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every command with its name, as the command line has it."""
    from scenarios.cli.main import command

    def walk(one: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
        if not hasattr(one, "commands"):
            yield path, one
            return
        for name, inner in one.commands.items():
            yield from walk(inner, (*path, name))

    yield from walk(command(), ())


def options_of(path: tuple[str, ...], command: Any) -> Iterator[Option]:
    """The arguments and options of a command."""
    place = 0
    for one in command.params:
        if one.name == "help":
            continue
        kinds, choices, is_path = set[str](), list[str](), False
        for kind in _plain_types(one.type_descriptor.annotation):
            if kind is Path:
                is_path = True
            if get_origin(kind) is Literal:
                choices += map(str, get_args(kind))
            elif isinstance(kind, type) and hasattr(kind, "__members__"):
                choices += [member.value for member in kind]  # type: ignore[attr-defined]
            else:
                kinds.add({int: "integer", float: "number", bool: "boolean"}.get(kind, "string"))
        is_argument = one.param_type_name == "argument"
        yield Option(
            path, one.name if is_argument else max(one.opts, key=len), kinds, tuple(choices),
            one.min, one.max, bool(getattr(one, "is_flag", False)), is_path, place if is_argument else None,
        )  # fmt: skip
        place += is_argument


def _plain_types(annotation: Any) -> Iterator[Any]:
    """The types that an annotation is made of, without lists and None."""
    import types
    from typing import Annotated, Union

    origin = get_origin(annotation)
    if origin is Annotated:
        yield from _plain_types(get_args(annotation)[0])
    elif origin in (list, Union, types.UnionType):
        for part in get_args(annotation):
            if part is not type(None):
                yield from _plain_types(part)
    else:
        yield annotation
