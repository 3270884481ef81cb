"""What pydantic finds wrong with a file, in words: where it stands, what is wrong, and what to do."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from scenarios.config.yaml_file import MAX_BYTES, KeyPath, dotted, kind_of
from scenarios.errors import did_you_mean, listed, quoted

MOST_PROBLEMS = 20
"""Told at once; of more only the number."""

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


def in_words(
    error: ValidationError,
    data: Any,
    lines: Mapping[KeyPath, int],
    was_set: Mapping[KeyPath, str],
    source: str,
    model: type[BaseModel],
) -> str:
    """All problems of a file as one message, in the order of the file.

    Args:
        data: what was validated.
        lines: where its values stand in the file.
        was_set: what was set over the file, as the user wrote it.
        source: the file's name.
    """
    found = [(_path_of(problem, data), problem) for problem in error.errors()]
    # A list is also called too short when one of its items is refused; the item's own message says it better.
    found = [
        (path, problem)
        for path, problem in found
        if problem["type"] != "too_short" or not any(other[:-1] == path for other, _ in found)
    ]
    found.sort(key=lambda item: line_of(item[0], lines) or MAX_BYTES)
    told = found[:MOST_PROBLEMS]
    texts = [source + _describe(path, problem, lines, was_set, model) for path, problem in told]
    if len(found) == 1:
        return texts[0]
    first = f"{source}: {len(found)} problems"
    if len(found) > len(told):
        first += f", of which these are the first {len(told)}"
    return "\n  ".join([first, *texts])


def _describe(
    path: KeyPath,
    problem: Any,
    lines: Mapping[KeyPath, int],
    was_set: Mapping[KeyPath, str],
    model: type[BaseModel],
) -> str:
    """One problem as `, line 3, fusion.relevance: needs a number, ...`."""
    kind, context, value = problem["type"], problem.get("ctx", {}), problem["input"]
    where = f", {dotted(path)}" if path else ""
    set_by = next((was_set[prefix] for prefix in _prefixes(path) if prefix in was_set), None)
    if set_by is not None:
        field = set_by.partition("=")[0].removeprefix("--set ").strip()
        where = f", {set_by}" if dotted(path) == field else f", {set_by}{where}"
    elif line := line_of(path, lines) or line_of(tuple(context.get("because", "").split(".")), lines):
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
        text = f"unknown {key} {quoted(tag)}{did_you_mean(tag, known)} (there are {', '.join(known)})"
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


def _path_of(problem: Any, data: Any) -> KeyPath:
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


def _prefixes(path: KeyPath) -> Iterator[KeyPath]:
    """The path itself, then each one above it."""
    return (path[:length] for length in range(len(path), 0, -1))


def line_of(path: KeyPath, lines: Mapping[KeyPath, int]) -> int | None:
    """The line of a value, or of the nearest one above it that the file has."""
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
        return f"{text}; {quoted(key)} belongs under '{homes[0]}'"
    return f"{text}; there are {listed(known)}" if known else text


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
    if kind in ("float_type", "int_type") and isinstance(value, str) and is_number(value):
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


def is_number(text: str) -> bool:
    """Whether a text reads as a finite number."""
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def _ordinal(index: int) -> str:
    return ("first", "second", "third")[index] if index < 3 else f"{index + 1}th"


def _show(value: object) -> str:
    if isinstance(value, float) and not math.isfinite(value):
        return {"inf": ".inf", "-inf": "-.inf"}.get(str(value), ".nan")
    text = kind_of(value)
    return text if len(text) <= 80 else text[:77] + "..."
