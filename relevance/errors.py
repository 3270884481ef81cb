"""What can be wrong with what a user gives: errors that hold their parts, and compose their message of them.

The command line prints such a message and exits with code 2; every other error is a defect of the program.
"""

from __future__ import annotations

import copy
import difflib
import json
import re
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray


class Place(NamedTuple):
    """Where something stands in a file. Its text is `FILE, line LINE, FIELD`, without what is None."""

    file: str | None = None
    line: int | None = None
    field: str | None = None

    def __str__(self) -> str:
        parts = (self.file, f"line {self.line}" if self.line else None, self.field)
        return ", ".join(part for part in parts if part)


class UserError(ValueError):
    """Something that the user gave cannot be used.

    Its text is `FILE, line LINE, FIELD: REASON, got VALUE; REMEDY`, without what is None.

    Attributes:
        reason: what is wrong. Where it is an error itself, that error's text is told.
        file: the file, or another name of what is refused, such as that of a scenario.
        line: the line in it, from 1.
        field: the field in it, as `fusion.relevance` or `compare[1]`.
        value: what was given, in words.
        remedy: what to do.
        exit_code: of a command that it ends.
    """

    exit_code = 2

    def __init__(
        self,
        reason: str | UserError = "",
        *,
        file: object = None,
        line: int | None = None,
        field: str | None = None,
        value: str | None = None,
        remedy: str | None = None,
    ) -> None:
        super().__init__(reason)
        self.reason = reason
        self.file = None if file is None else str(file)
        self.line, self.field, self.value, self.remedy = line, field, value, remedy

    def __str__(self) -> str:
        where = ", ".join(self._where())
        got = f", got {self.value}" if self.value else ""
        remedy = f"; {self.remedy}" if self.remedy else ""
        return f"{cut(where)}{': ' if where else ''}{cut(str(self.reason))}{cut(got)}{cut(remedy)}"

    def _where(self) -> Iterator[str]:
        if place := str(Place(self.file, self.line, self.field)):
            yield place

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.reason,), vars(self)  # whatever became of `args`

    def at(self, file: object = None, line: int | None = None, field: str | None = None) -> Self:
        """The same error at another place."""
        return self.but(file=None if file is None else str(file), line=line, field=field)

    def but(self, **parts: Any) -> Self:
        """The same error with some of its parts replaced."""
        other = copy.copy(self)
        vars(other).update(parts)
        return other


class CheckpointError(UserError):
    """A checkpoint is missing, damaged, or belongs to something else."""


class PluginError(UserError):
    """A plug-in cannot be found, loaded, or used."""


class CorpusError(UserError):
    """A corpus folder is missing, incomplete or inconsistent."""


class TrainError(UserError):
    """The training cannot start or continue."""


class ScorerError(UserError):
    """A scorer failed, or returned something that is not a relevance score.

    `done`: scores [P] of the pairs that it was asked for, NaN from the first chunk on that it failed at; None
    where it was not asked for many.
    """

    done: NDArray[np.float64] | None = None


LONGEST_WORD, LONGEST_PART = 160, 1200
"""Characters of a message: of a word, and of one of its parts."""
_OBEYED = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
"""Control characters, but for tabs and the ends of lines."""


def cut(text: str) -> str:
    """A part of a message, without the middle of a long word and without the end of a long text.

    A terminal obeys some signs that nobody sees; they are written as Python writes them.
    """
    text = _OBEYED.sub(lambda sign: ascii(sign[0])[1:-1], text)
    text = re.sub(
        rf"\S{{{LONGEST_WORD},}}", lambda found: f"{found[0][: LONGEST_WORD - 60]}...{found[0][-20:]}", text
    )
    return text if len(text) <= LONGEST_PART else f"{text[:LONGEST_PART]}..."


def in_words(error: BaseException) -> str:
    """Why a file or value could not be read, in one line, without what only Python's programmers know."""
    if isinstance(error, UserError):
        return str(error)
    if isinstance(error, UnicodeDecodeError):
        return f"not UTF-8 (byte 0x{error.object[error.start]:02x}); save it with UTF-8 encoding"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    if isinstance(error, json.JSONDecodeError):
        what = f"no JSON: {error.msg[:1].lower()}{error.msg[1:].removesuffix(' at')}"
        line = f"line {error.lineno}, " if "\n" in error.doc.strip() else ""
        return f"{what} in {line}column {error.colno}"
    if isinstance(error, KeyError) and error.args:
        return f"{quoted(str(error.args[0]))} is missing"
    if isinstance(error, RecursionError):
        return "nested too deeply"
    if isinstance(error, MemoryError):
        return "asks for more memory than there is"
    text = " ".join(str(error).split())
    if "deserializing header" in text:  # as safetensors says
        return "a weights file (.safetensors) is cut off, or of another kind"
    text = re.sub(r"\ban? (?:valid tuple|valid list|instance of Sequence)\b", "a list", text)
    if not text or isinstance(error, TypeError | AttributeError | LookupError) or _PYTHONS.search(text):
        return "holds values of another kind or shape than it should"
    return cut(text)


_PYTHONS = re.compile(
    r"could not convert|invalid literal|integer string conversion|not supported between|\bdtype\b"
    r"|has no attribute|torch\.|\bobject\b|NoneType|__\w+__|unpack|argument|<class|codec|Errno"
    r"|\b\w+(?:Error|Exception)\b"
    r"|`|state_dict|broadcast|instantiate|mmap|int too (?:big|large)|negative power|reading array header"
    r"|\bb'|allow_pickle|numpy|buffer|'(?:str|int|float|list|dict|tuple|bool|bytes)'|cannot convert|literal"
)
"""Texts of errors that speak of a program rather than of a file."""


def quoted(text: str, most: int = 60) -> str:
    """A user's own text in a message: in quotes, on one line, and of so many characters at most."""
    shown = text if text.isprintable() else json.dumps(text)[1:-1]
    return f"'{shown if len(shown) <= most else shown[: most - 3] + '...'}'"


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """`; did you mean 'x'?` where something known resembles the word, otherwise the empty string."""
    known = list(known)
    alike = [one for one in known if one.strip().casefold() == word.strip().casefold()]
    close = alike or difflib.get_close_matches(word[:80], known, n=1, cutoff=0.6)
    return f"; did you mean {quoted(close[0])}?" if close else ""
