"""A YAML 1.2 file as plain data, with the line of every value, and what must not be in one.

A file is data: tags that would make objects are refused, as are keys that are there twice and whatever would
take more memory or stack than any such file needs. Dates are texts.
"""

from __future__ import annotations

import json
import re
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

import yaml
from pydantic import BaseModel
from ruamel.yaml import YAML
from ruamel.yaml.composer import Composer, MaxDepthExceededError
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from ruamel.yaml.reader import ReaderError
from ruamel.yaml.resolver import implicit_resolvers

from relevance.files import no_text, text_trouble as text_trouble
from scenarios.errors import ScenarioError, did_you_mean, in_words

MAX_BYTES = 1_000_000
MAX_VALUES = 10_000
MAX_DEPTH = 40
"""Bounds on a file; aliases that expand to more values are refused before they are expanded."""
MOST_BITS = 1024
"""Of a whole number; no number that a computer calculates with is larger."""

KeyPath = tuple[str | int, ...]
"""Where a value is: keys of blocks and places in lists."""

_YAML = "tag:yaml.org,2002:"
_SEQ, _MAP, _MERGE = _YAML + "seq", _YAML + "map", _YAML + "merge"
_KINDS = {
    _YAML + "int": "a whole number",
    _YAML + "float": "a number",
    _YAML + "bool": "true or false",
    _YAML + "null": "nothing",
}
_TEXTS = {_YAML + kind for kind in ("str", "timestamp", "value")}


Model = TypeVar("Model", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class FileKind(Generic[Model]):
    """A kind of YAML file: the model of its content, and what messages say of it."""

    model: type[Model]
    name: str
    needs: str
    """What such a file must hold at least."""
    builtin: str
    """The hint where a file is missing."""


def read_yaml(path: Path, kind: FileKind[Any]) -> tuple[dict[str, Any], dict[KeyPath, int]]:
    """The block of keys that a file holds, and the line of every key and list item.

    Raises:
        ScenarioError: it cannot be read, or is not such a file; names the line.
    """
    text = _read(path, kind)
    try:
        data, lines = _parse(text)
    except ScenarioError as error:
        raise error.but(file=str(path)) from None
    except MarkedYAMLError as error:
        reason, line = _in_plain_words(error, text)
        raise ScenarioError(f"not valid YAML: {reason}", file=path, line=line) from None
    except ReaderError as error:
        raise ScenarioError(
            f"not valid YAML: the character U+{error.character:04X} is not allowed",
            file=path,
            line=text.count("\n", 0, error.position) + 1,
        ) from None
    if not lines:
        raise ScenarioError("is empty", file=path, remedy=f"{kind.name} needs at least {kind.needs}")
    if not isinstance(data, dict):
        raise ScenarioError(f"needs 'key: value' lines at the top, found {kind_of(data)}", file=path)
    return data, lines


_PROBLEMS = {
    r"found character '\\t' .*": "a tab where a line or value begins; indent with spaces, not tabs",
    r"found character (.+) that cannot start any token": r"no value begins with \1; put it in quotes",
    r"could not find expected ':'": "needs 'key: value'; there is no ': ' after the key",
    "mapping values are not allowed here": "a ': ' where no key can stand; indent the line as those above, "
    "or put a text that holds ': ' in quotes",
    "(sequence entries|mapping keys) are not allowed here": "no list or key can begin here; put it on a line "
    "of its own",
    "expected <block end>, but found .*": "does not go on as the lines above it begin; check its "
    "indentation, and whether a '-' or a 'key:' is missing",
    "expected '<document start>', but found .*": "something follows after the end of the value; a file holds "
    "one block of keys",
    "expected a single document in the stream, but found another document": "a second document begins here "
    "with '---'; a file holds one",
    "expected the node content, but found .*": "a value is missing here",
    "expected ',' or ('.'), but got '<stream end>'": r"the bracket that opens here is never closed; \1 is "
    "missing",
    "expected ',' or ('.'), but got .*": r"a comma or \1 is missing here",
    "found unexpected end of stream": "the quote that opens here is never closed",
    r"found undefined alias '?(.+?)'?": r"the alias *\1 has no anchor &\1 above it",
    "found unknown escape character '(.+)'": r"\\\1 means nothing in double quotes; use single quotes",
}
"""What the parser says, in plain words."""
_WHERE_IT_BEGAN = re.compile("could not find|.*end of stream|.*<stream end>")
"""What lies where the parser began to read a value, not where it stopped."""
_ODD_SIGNS = re.compile(
    r"^[ \t]*(?:- )?[\w.-]+[ \t]*(?::([\u00a0\u2007\u202f\u3000])|(\uff1a))", re.MULTILINE
)
"""A key whose colon or space is another sign that looks like it, as copied from a web page."""


def _in_plain_words(error: MarkedYAMLError, text: str) -> tuple[str, int | None]:
    """What is wrong with a text that is no YAML, and in which line."""
    if odd := _ODD_SIGNS.search(text):
        sign = odd[1] or odd[2]
        wanted = "a plain space" if odd[1] else "':' and a space"
        return f"the sign U+{ord(sign):04X} after a key; type {wanted}", text.count("\n", 0, odd.end()) + 1
    problem = str(error.problem)
    said = f"{error.context}, {problem}" if problem.startswith("but ") else problem  # half a sentence
    for pattern, words in _PROBLEMS.items():
        if found := re.fullmatch(pattern, said):
            began = error.context_mark if _WHERE_IT_BEGAN.match(said) else None
            mark = began or error.problem_mark or error.context_mark
            return found.expand(words), mark.line + 1 if mark else None
    mark = error.problem_mark or error.context_mark
    return said, mark.line + 1 if mark else None


def read_value(text: str) -> Any:
    """A value written as YAML on a command line; what is no YAML is a text.

    Raises:
        ScenarioError: it is something that must not be in a file either; says what.
    """
    try:
        return _parse(text)[0]
    except ScenarioError as error:
        raise error.but(line=None) from None
    except YAMLError:
        return text


def dump_yaml(data: object) -> str:
    """Plain data as YAML."""
    return yaml.dump(data, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=110)


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


class _Dumper(yaml.SafeDumper):
    """Puts a text in quotes where YAML 1.1 or 1.2 reads it as something else."""


for _versions, _tag, _pattern, _first in implicit_resolvers:
    if (1, 2) in _versions:
        _Dumper.add_implicit_resolver(_tag, _pattern, _first)


class _Composer(Composer):
    """Stops where there are more values than any file needs."""

    count = 0

    def get_single_node(self) -> Any:
        try:
            return super().get_single_node()
        except ScenarioError:
            raise
        except (OverflowError, ValueError):  # "\\UFFFFFFFF"
            line = self.loader.reader.line + 1
            raise ScenarioError("not valid YAML: an escape of no character", line=line) from None

    def compose_node(self, parent: Node | None, index: Any) -> Any:
        self.count += index is not None  # keys are not values
        if self.count > MAX_VALUES:
            line = self.parser.peek_event().start_mark.line + 1
            raise ScenarioError(f"more than {MAX_VALUES} values", line=line)
        return super().compose_node(parent, index)


def _parse(text: str) -> tuple[Any, dict[KeyPath, int]]:
    """A text's value and the lines of all values in it; without any where it holds nothing.

    Raises:
        ScenarioError: it holds what must not be in a file; names line and field.
        YAMLError: it is not YAML.
    """
    parser = YAML(typ="safe", pure=True)
    parser.Composer, parser.max_depth = _Composer, MAX_DEPTH
    parser.composer.warn_double_anchors = False  # YAML allows them
    try:
        node = parser.compose(text)
    except AssertionError:  # how the parser says so
        raise ScenarioError(
            "not valid YAML: '%YAML' names another version than 1.1 or 1.2; leave it out"
        ) from None
    except MaxDepthExceededError as error:
        reason = f"nested too deeply: more than {MAX_DEPTH} levels"
        raise ScenarioError(reason, line=error.problem_mark.line + 1) from None
    values = _Values(parser.constructor.construct_object)
    return (None if node is None else values.of(node, (), node.start_mark.line + 1)), values.lines


@dataclass(frozen=True, slots=True)
class _Values:
    """Makes plain data of nodes."""

    construct: Callable[[Node], Any]
    lines: dict[KeyPath, int] = field(default_factory=dict)

    def of(self, node: Node, path: KeyPath, line: int, above: frozenset[int] = frozenset()) -> Any:
        """The value of the node at a path; `above` are the ids of those that hold it."""
        if id(node) in above:
            raise _refused("the alias refers to itself; write the value out", path, line)
        self.lines[path] = line
        if len(self.lines) > MAX_VALUES:
            much = f"more than {MAX_VALUES} values (aliases counted as often as they are used)"
            raise ScenarioError(much, line=line)
        above |= {id(node)}
        if isinstance(node, SequenceNode) and node.tag == _SEQ:
            items = enumerate(node.value)
            return [self.of(item, (*path, at), item.start_mark.line + 1, above) for at, item in items]
        if isinstance(node, MappingNode) and node.tag == _MAP:
            return self._block(node, path, above)
        if not isinstance(node, ScalarNode) or node.tag not in {*_TEXTS, *_KINDS}:
            tag = str(node.tag).replace(_YAML, "!!")
            raise _refused(f"the tag {tag} has no meaning here; leave it out", path, line)
        text = str(node.value)
        if trouble := text_trouble(text):
            raise _refused(trouble, path, line)
        if text.startswith("~/"):
            raise _refused("'~' stands for no folder here; write the whole path", path, line)
        try:
            value = text if node.tag in _TEXTS else self.construct(node)
            if isinstance(value, int) and value.bit_length() > MOST_BITS:
                raise ValueError
            return value
        except (YAMLError, ValueError, LookupError):
            shown = text if len(text) <= 40 else text[:37] + "..."
            reason = f"cannot be read as {_KINDS[node.tag]}: {shown or 'nothing'}; quote it if it is a text"
            raise _refused(reason, path, line) from None

    def _block(self, node: MappingNode, path: KeyPath, above: frozenset[int]) -> dict[str, Any]:
        merged: dict[str, Any] = {}
        block: dict[str, Any] = {}
        for key, value in node.value:
            line, name = key.start_mark.line + 1, str(key.value)
            if not isinstance(key, ScalarNode) or key.tag not in {*_TEXTS, *_KINDS, _MERGE} or not name:
                raise _refused("a key must be a plain word", path, line)
            if trouble := text_trouble(name):
                raise _refused(trouble, path, line)
            if key.tag == _MERGE:
                found = self.of(value, path, line, above)
                for one in found if isinstance(found, list) else [found]:
                    if not isinstance(one, dict):
                        raise _refused("'<<' needs a block, or a list of blocks", path, line)
                    merged = one | merged
                continue
            if name in block:
                reason = "is there twice; remove one (YAML would silently take the last)"
                raise _refused(reason, (*path, name), line)
            block[name] = self.of(value, (*path, name), line, above)
        return merged | block


def _refused(reason: str, path: KeyPath, line: int) -> ScenarioError:
    return ScenarioError(reason, line=line, field=dotted(path) or None)


def _read(path: Path, kind: FileKind[Any]) -> str:
    try:
        about = path.stat()
        if not stat.S_ISREG(about.st_mode) and not stat.S_ISDIR(about.st_mode):
            raise ScenarioError(f"{path}: is a device or a pipe; name {kind.name} file")
        if (size := about.st_size) > MAX_BYTES:
            raise ScenarioError(
                f"{path}: too long for {kind.name} ({size} bytes, at most {MAX_BYTES}); is it the right file?"
            )
        raw = path.read_bytes()
    except FileNotFoundError:
        others = (file.name for file in _siblings(path))  # a link that leads nowhere is its own sibling
        near = did_you_mean(path.name, (name for name in others if name != path.name))
        raise ScenarioError(f"{path}: no such file{near or f'; {kind.builtin}'}") from None
    except IsADirectoryError:
        raise ScenarioError(f"{path}: is a folder; name {kind.name} file in it") from None
    except ScenarioError:
        raise
    except (OSError, ValueError) as error:
        raise ScenarioError(f"cannot be read ({in_words(error)})", file=path) from None
    try:
        if what := no_text(raw):
            raise ScenarioError(what, file=path)
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise ScenarioError(
            f"{path}, line {line}: not UTF-8 (byte 0x{raw[error.start]:02x}); save it with UTF-8 encoding"
        ) from None


def _siblings(path: Path) -> Iterator[Path]:
    try:
        yield from path.parent.glob("*.yaml")
    except (OSError, ValueError):
        return
