"""Files of any origin, looked at before they are read: what is there, how large it is, and what it holds."""

from __future__ import annotations

import json
import stat
from collections import Counter
from pathlib import Path
from typing import Any, TypeVar, overload

from relevance.errors import UserError, in_words, quoted

MOST_BYTES = 256 * 2**20
"""Of a file of text that is read at once."""
DEEPEST = 100
"""Levels of lists and objects in each other."""
MOST_VALUES = 10_000_000
"""Of a JSON text, as its commas and brackets count them."""
MOST_DIGITS = 400
"""Of a number in a JSON file; the largest one that a computer counts with has 309."""

Kind = TypeVar("Kind")
Refusal = type[UserError]


def check_file(path: Path, error: Refusal, remedy: str | None = None, most: int | None = None) -> None:
    """Refuse what is no file that can be read: a folder, a device, a pipe, nothing.

    Args:
        error: the error to raise.
        most: bytes that such a file may have; None: any number.

    Raises:
        UserError: of the class `error`; names the file.
    """
    try:
        about = path.stat()
        if stat.S_ISREG(about.st_mode):
            with path.open("rb") as file:
                file.read(1)
    except FileNotFoundError:
        raise error("not found", file=path, remedy=remedy) from None
    except NotADirectoryError:
        above = next((one for one in path.parents if one.exists()), path.parent)
        raise error("is a file, not a folder", file=above, remedy="name a folder") from None
    except (OSError, ValueError) as reason:
        raise error(f"cannot be read ({in_words(reason)})", file=path, remedy=remedy) from None
    if stat.S_ISDIR(about.st_mode):
        raise error("is a folder, not a file", file=path, remedy=remedy)
    if not stat.S_ISREG(about.st_mode):
        raise error("is a device or a pipe, not a file", file=path, remedy=remedy)
    if most is not None and about.st_size > most:
        size = f"{about.st_size:,} bytes, at most {most:,}"
        raise error(f"too long ({size}); is it the right file?", file=path, remedy=remedy)


def check_folder(path: Path, error: Refusal, remedy: str | None = None) -> None:
    """Refuse what is no folder whose files can be opened.

    Raises:
        UserError: of the class `error`; names the folder.
    """
    try:
        is_folder = stat.S_ISDIR(path.stat().st_mode)
        if is_folder:
            (path / "any").exists()  # an error, where one may not enter it
    except FileNotFoundError:
        raise error("no such folder", file=path, remedy=remedy) from None
    except (OSError, ValueError) as reason:
        raise error(f"cannot be read ({in_words(reason)})", file=path, remedy=remedy) from None
    if not is_folder:
        raise error("is a file, not a folder", file=path, remedy=remedy)


_NO_TEXTS = (
    (b"PAR1\x15", "is a Parquet file, not a text"),
    (b"\x1f\x8b", "is compressed (gzip); unpack it"),
    (b"PK\x03\x04", "is a ZIP archive or a spreadsheet, not a text; unpack it, or save it as text"),
    (b"\xd0\xcf\x11\xe0", "is an old spreadsheet or document of Office, not a text; save it as text"),
    (b"\x28\xb5\x2f\xfd", "is compressed (zstd); unpack it"),
    (b"\x89PNG", "is a picture, not a text"),
    (b"\xff\xd8\xff", "is a picture, not a text"),
    (b"%PDF-", "is a PDF, not a text"),
    (b"\xff\xfe\x00\x00", "is in UTF-32; save it with UTF-8 encoding"),
    (b"\x00\x00\xfe\xff", "is in UTF-32; save it with UTF-8 encoding"),
    (b"\xff\xfe", "is in UTF-16; save it with UTF-8 encoding"),
    (b"\xfe\xff", "is in UTF-16; save it with UTF-8 encoding"),
)
"""First bytes of files that are taken for texts by mistake."""


def no_text(raw: bytes) -> str:
    """What a file is instead of a text, and what to do, by its first bytes; empty: perhaps it is one."""
    return next((what for head, what in _NO_TEXTS if raw.startswith(head)), "")


def read_text(path: Path, error: Refusal, remedy: str | None = None, most: int = MOST_BYTES) -> str:
    """The text of a file.

    Raises:
        UserError: of the class `error`; it is no such file, or not UTF-8.
    """
    check_file(path, error, remedy, most)
    try:
        raw = path.read_bytes()
    except OSError as reason:
        raise error(f"cannot be read ({in_words(reason)})", file=path, remedy=remedy) from None
    if what := no_text(raw):
        raise error(what, file=path)
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as reason:
        line = raw[: reason.start].count(b"\n") + 1
        raise error(in_words(reason), file=path, line=line, remedy=remedy) from None


def read_json(
    path: Path, kind: type[Kind], error: Refusal, remedy: str | None = None, most: int = MOST_BYTES
) -> Kind:
    """What a JSON file holds, which must be of a kind: dict or list.

    Raises:
        UserError: of the class `error`; it is no such file, too deep, or holds something else.
    """
    text = read_text(path, error, remedy, most)
    try:
        return parsed_json(text, kind)
    except ValueError as reason:
        raise error(f"cannot be read ({in_words(reason)})", file=path, remedy=remedy) from None


@overload
def parsed_json(text: str, *, once: bool = False) -> Any: ...
@overload
def parsed_json(text: str, kind: type[Kind], *, once: bool = False) -> Kind: ...
def parsed_json(text: str, kind: Any = None, *, once: bool = False) -> Any:
    """What a JSON text holds, of a kind if one is named.

    Args:
        once: refuse a key that an object has twice; otherwise the last counts.

    Raises:
        ValueError: it is no JSON, too deep, has too many values, numbers beyond those of a computer, or is of
            another kind.
    """
    if (values := sum(map(text.count, ",[{"))) > MOST_VALUES:
        raise ValueError(f"holds some {values:,} values, at most {MOST_VALUES:,}")
    try:
        found = json.loads(text, parse_int=_whole_number, object_pairs_hook=_each_once if once else None)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    if _depth(found) > DEEPEST:
        raise ValueError(f"nested too deeply: more than {DEEPEST} levels")
    if kind is not None and not isinstance(found, kind):
        raise ValueError(f"needs {'a list' if kind is list else 'keys and values'}, holds {_what(found)}")
    return found


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = next(key for key, times in Counter(key for key, _ in pairs).items() if times > 1)
        raise ValueError(f"has the key {quoted(twice)} twice; remove one")
    return found


def _whole_number(digits: str) -> int:
    if len(digits) > MOST_DIGITS:
        raise ValueError(f"a number has {len(digits):,} digits")
    return int(digits)


def _depth(value: Any) -> int:
    """How deep lists and objects are nested, without a call for each level."""
    deepest, level = 0, [value]
    while level := [
        inner
        for one in level
        if isinstance(one, dict | list)
        for inner in (one.values() if isinstance(one, dict) else one)
        if isinstance(inner, dict | list)
    ]:
        deepest += 1
        if deepest > DEEPEST:
            break
    return deepest


def _what(value: object) -> str:
    names = {
        dict: "keys and values",
        list: "a list",
        str: "a text",
        bool: "true or false",
        type(None): "nothing",
    }
    return names.get(type(value), "a number")


def text_trouble(text: str) -> str:
    """What is wrong with the characters of a text; empty: nothing."""
    bad = "\0" in text or any("\ud800" <= sign <= "\udfff" for sign in text)
    return "holds a NUL or half a character; remove it" if bad else ""
