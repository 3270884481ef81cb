"""A YAML file as plain data, with the line of every value, and what must not be in one.

A file is data: tags that would make objects are refused, as is whatever YAML silently reads as something else
than is written, and what would take more memory or stack than any such file needs.
"""

from __future__ import annotations

import json
import re
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import yaml

from scenarios.errors import ScenarioError, did_you_mean

MAX_BYTES = 1_000_000
MAX_VALUES = 10_000
MAX_DEPTH = 40
"""Bounds on a file; aliases that expand to more values are refused before they are expanded."""

KeyPath = tuple[str | int, ...]
"""Where a value is: keys of blocks and places in lists."""

_YAML = "tag:yaml.org,2002:"
_PLAIN = {
    _YAML + kind for kind in ("str", "int", "float", "bool", "null", "timestamp", "seq", "map", "merge")
}


class Words(Protocol):
    """What messages say of a kind of file."""

    @property
    def name(self) -> str: ...

    @property
    def needs(self) -> str:
        """What the least of these files holds."""

    @property
    def builtin(self) -> str:
        """Said of a file that is not there."""


def read_yaml(path: Path, words: Words) -> tuple[dict[str, Any], dict[KeyPath, int]]:
    """The block of keys that a file holds, and the line of every key and list item.

    Raises:
        ScenarioError: it cannot be read, or is not such a file; names the line.
    """
    text, source, lines = _read(path, words), str(path), dict[KeyPath, int]()
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        if node is None:
            raise ScenarioError(f"{source}: is empty; {words.name} needs at least {words.needs}")
        for where, line, trouble in _walk(loader, node, (), frozenset()):
            if trouble:
                field = f", {dotted(where)}" if where else ""
                raise ScenarioError(f"{source}, line {line}{field}: {trouble}")
            lines[where] = line
            if len(lines) > MAX_VALUES:
                much = f"more than {MAX_VALUES} values (aliases counted as often as they are used)"
                raise ScenarioError(f"{source}, line {line}: {much}")
        data = _plain(loader, node)
    except _TooMuchError as error:
        raise ScenarioError(f"{source}, {error}") from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        at = f", line {mark.line + 1}" if mark else ""
        hint = "; indent with spaces, not tabs" if "'\\t'" in str(error.problem) else ""
        raise ScenarioError(f"{source}{at}: not valid YAML: {error.problem}{hint}") from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise ScenarioError(
            f"{source}, line {line}: not valid YAML: the character U+{error.character:04X} is not allowed"
        ) from None
    if not isinstance(data, dict):
        raise ScenarioError(f"{source}: needs 'key: value' lines at the top, found {kind_of(data)}")
    return data, lines


def read_value(text: str) -> Any:
    """A value written as YAML on a command line; what is no YAML is a text.

    Raises:
        ScenarioError: it is something that must not be in a file either; says what.
    """
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        if node is None:
            return None
        for where, _, trouble in _walk(loader, node, (), frozenset()):
            if trouble:
                raise ScenarioError(f"{dotted(where)}: {trouble}" if where else trouble)
        return _plain(loader, node)
    except _TooMuchError as error:
        raise ScenarioError(str(error)) from None
    except yaml.YAMLError:
        return text


def dump_yaml(data: object) -> str:
    """Plain data as YAML."""
    return yaml.safe_dump(data, sort_keys=False, allow_unicode=True, width=110)


def dotted(path: KeyPath) -> str:
    """`sweep.values[2]` of ("sweep", "values", 2)."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text if text.isprintable() else json.dumps(text)


def kind_of(value: object) -> str:
    """What a value is, in words: `the text "x"`, `a list`."""
    if value is None:
        return "nothing"
    if isinstance(value, dict):
        return "a block of keys"
    if isinstance(value, list):
        return "a list"
    return f"the {'text' if isinstance(value, str) else 'value'} {json.dumps(value, default=str)}"


class _TooMuchError(Exception):
    """More than any such file needs."""


class _Loader(yaml.SafeLoader):
    """Stops composing where there is more than any file needs."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._depth = self._count = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        self._depth += 1
        self._count += index is not None  # keys are not values
        if self._depth > MAX_DEPTH:
            raise _TooMuchError(f"line {self.line + 1}: nested too deeply: more than {MAX_DEPTH} levels")
        if self._count > MAX_VALUES:
            raise _TooMuchError(f"line {self.line + 1}: more than {MAX_VALUES} values")
        node: yaml.Node | None = super().compose_node(parent, index)
        self._depth -= 1
        return node


def _plain(loader: yaml.SafeLoader, node: yaml.Node) -> Any:
    """The values of a node that has been walked; dates become texts, as the validation expects."""
    return json.loads(json.dumps(loader.construct_document(node), default=str))


def _read(path: Path, words: Words) -> str:
    try:
        about = path.stat()
        if not stat.S_ISREG(about.st_mode) and not stat.S_ISDIR(about.st_mode):
            raise ScenarioError(f"{path}: is a device or a pipe; name {words.name} file")
        if (size := about.st_size) > MAX_BYTES:
            raise ScenarioError(
                f"{path}: too long for {words.name} ({size} bytes, at most {MAX_BYTES}); "
                "is it the right file?"
            )
        raw = path.read_bytes()
    except FileNotFoundError:
        near = did_you_mean(path.name, (file.name for file in _siblings(path)))
        raise ScenarioError(f"{path}: no such file{near or f'; {words.builtin}'}") from None
    except IsADirectoryError:
        raise ScenarioError(f"{path}: is a folder; name {words.name} file in it") from None
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


def _walk(
    loader: yaml.SafeLoader, node: yaml.Node, path: KeyPath, above: frozenset[int]
) -> Iterator[tuple[KeyPath, int, str]]:
    """(path, line, trouble) of a node and all below it; trouble is empty where all is well."""
    line = node.start_mark.line + 1
    if id(node) in above:
        yield path, line, "the alias refers to itself; write the value out"
        return
    yield path, line, _trouble(loader, node)
    above |= {id(node)}
    if isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            yield from _walk(loader, item, (*path, index), above)
    elif isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            line = key.start_mark.line + 1
            if trouble := _key_trouble(loader, key):
                yield path, line, trouble
                return
            if key.value in seen:
                yield (
                    (*path, key.value),
                    line,
                    "is there twice; remove one (YAML would silently take the last)",
                )
            seen.add(key.value)
            inner = path if key.tag == _YAML + "merge" else (*path, key.value)
            for found, below, trouble in _walk(loader, value, inner, above):
                yield found, line if found == inner else below, trouble


def _trouble(loader: yaml.SafeLoader, node: yaml.Node) -> str:
    """What YAML makes of a node that nobody means; empty: nothing."""
    if node.tag == _YAML + "value":
        return f"YAML reads {node.value} as a sign of its own; put it in quotes"
    if node.tag not in _PLAIN:
        return f"the tag {node.tag.replace(_YAML, '!!')} has no meaning here; leave it out"
    if not isinstance(node, yaml.ScalarNode):
        return ""
    text, kind = str(node.value), node.tag.removeprefix(_YAML)
    if trouble := text_trouble(text):
        return trouble
    # Numbers that YAML 1.1 silently reads as another number than the one that is written.
    if node.style is None and kind in ("int", "float") and ":" in text:
        return (
            f"YAML reads {text} as a number to the base 60; write hours as a decimal number, or quote a text"
        )
    if node.style is None and kind == "int" and re.fullmatch(r"[-+]?0[0-9_]+", text):
        return f"YAML reads {text} as octal; write it without the leading zero"
    if kind not in ("str", "merge"):
        try:
            loader.construct_object(node)
        except (yaml.YAMLError, ValueError, LookupError, AttributeError):
            shown = text if len(text) <= 40 else text[:37] + "..."
            return f"cannot be read as {_KINDS[kind]}: {shown or 'nothing'}; quote it if it is a text"
    return ""


def text_trouble(text: str) -> str:
    """What is wrong with the characters of a text; empty: nothing."""
    bad = "\0" in text or any("\ud800" <= sign <= "\udfff" for sign in text)
    return "holds a NUL or half a character; remove it" if bad else ""


_KINDS = {
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "null": "nothing",
    "timestamp": "a date",
    "seq": "a list",
    "map": "a block",
}


def _key_trouble(loader: yaml.SafeLoader, key: yaml.Node) -> str:
    """What is wrong with a key; empty: nothing. YAML reads `no: 1` as the key `false`."""
    if not isinstance(key, yaml.ScalarNode) or not key.tag.startswith(_YAML):
        return "a key must be a plain word"
    if key.tag in (_YAML + "str", _YAML + "merge"):
        return _trouble(loader, key)
    if key.tag == _YAML + "int" and re.fullmatch(r"0|[1-9][0-9]{0,17}", key.value):
        return ""
    kind = _KINDS.get(key.tag.removeprefix(_YAML), "something else than a text")
    return f"YAML reads the key {key.value or 'without a name'} as {kind}; put it in quotes"
