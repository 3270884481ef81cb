"""Errors of scenarios, tables and results, and how a message shows a user's texts."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Self

from relevance.errors import (
    Place as Place,
    UserError as UserError,
    cut as cut,
    did_you_mean as did_you_mean,
    in_words as in_words,
    quoted as quoted,
)


@dataclass(frozen=True, slots=True)
class Setting:
    """A value that is set over a scenario."""

    field: str
    """Dotted, as `fusion.relevance`."""
    value: object = None
    written: str | None = None
    """As the user wrote it on the command line."""

    def __str__(self) -> str:
        return f"{self.field}={json.dumps(self.value, default=str)}" if self.written is None else self.written


class ScenarioError(UserError):
    """A scenario file, or a value set over it, is not a valid scenario.

    Attributes:
        setting: the value set over the file that is to blame; its text stands in the place of a line.
        problems: each problem on its own, where there are several.
    """

    def __init__(
        self,
        reason: str | UserError = "",
        *,
        setting: Setting | None = None,
        problems: tuple[ScenarioError, ...] = (),
        **parts: Any,
    ) -> None:
        super().__init__(reason, **parts)
        self.setting, self.problems = setting, problems

    def __str__(self) -> str:
        text = "\n  ".join([super().__str__(), *map(str, self.problems)])
        return text if len(text) <= LONGEST else f"{text[:LONGEST]}..."

    def _where(self) -> Iterator[str]:
        if self.setting is None:
            yield from super()._where()
            return
        if self.file:
            yield self.file
        yield cut(str(self.setting))
        if self.field and self.field != self.setting.field:
            yield self.field

    def at(self, file: object = None, line: int | None = None, field: str | None = None) -> Self:
        """The same error at another place."""
        return super().at(file, line, field).but(setting=None)


class TableError(UserError):
    """A table of one's own auctions cannot be read, or holds what no auction can."""


class StoreError(UserError):
    """A result folder cannot be read or written."""


LONGEST = 1800
"""Characters of a message of several problems."""


def shown(path: object) -> str:
    """A path in a message, on one line."""
    return cut(str(path) if str(path).isprintable() else json.dumps(str(path)))


def shortened(text: str, most: int = 200) -> str:
    """A text cut to a length that a message can hold."""
    return text if len(text) <= most else f"{text[: most - 3]}..."


def listed(names: Iterable[str], most: int = 40) -> str:
    """Names separated by commas; of many only the first ones."""
    names = list(names)
    return ", ".join([*names[:most], *(["..."] if len(names) > most else [])])


def misspelt(names: Collection[str], known: Iterable[str]) -> tuple[str, str] | None:
    """A name that is written almost as one of those known that is not there itself, and that one.

    Almost: but for case, blanks, `-` and `_`; or, where one of the two has five letters or more, but for one
    that is not the first. So `bids` and `height` are other words than `bid` and `weight`; and `time` is one
    than `times`.
    """
    absent = {_folded(one): one for one in known if one not in names}
    for name in names:
        own = _folded(name)
        for wanted, one in absent.items():
            short, long = sorted((own, wanted), key=len)
            close = len(long) >= 5 and own[:1] == wanted[:1] and (len(short) >= 5 or long != f"{short}s")
            if own == wanted or (close and _one_off(own, wanted)):
                return name, one
    return None


def misspelt_column(found: tuple[str, str]) -> tuple[str, str]:
    """Why a column that `misspelt` found is refused, and what to do."""
    name, meant = map(quoted, found)
    return f"has a column {name}, which means nothing here", (
        f"did you mean {meant}? Then rename it, or else remove it"
    )


def _folded(name: str) -> str:
    return re.sub(r"[\s_-]", "", name).casefold()


def _one_off(word: str, other: str) -> bool:
    """Whether one letter is added, missing or another, or two neighbours are exchanged."""
    pairs = enumerate(zip(word, other, strict=False))
    start = next((at for at, (one, two) in pairs if one != two), min(len(word), len(other)))
    a, b = word[start:], other[start:]
    exchanged = a[:2] == b[1::-1] and a[2:] == b[2:]
    return exchanged or a[1:] == b or a == b[1:] or a[1:] == b[1:]
