"""Errors that a user can mend: the command line prints their message and exits with code 2."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable


class UserError(ValueError):
    """Something the user gave cannot be used; the message names the file, the field and the remedy."""


class ScenarioError(UserError):
    """A scenario file, or a value set over it, is not a valid scenario."""


class TableError(UserError):
    """A table of one's own auctions cannot be read, or holds what no auction can."""


class StoreError(UserError):
    """A result folder cannot be read or written."""


def quoted(text: str) -> str:
    """A user's own text in a message: in quotes, on one line, and short."""
    shown = text if text.isprintable() else json.dumps(text)[1:-1]
    return f"'{shown if len(shown) <= 60 else shown[:57] + '...'}'"


def shown(path: object) -> str:
    """A path in a message, on one line."""
    return str(path) if str(path).isprintable() else json.dumps(str(path))


def shortened(text: str, most: int = 200) -> str:
    """A text in a message, which is not to fill the screen."""
    return text if len(text) <= most else f"{text[: most - 3]}..."


def listed(names: Iterable[str], most: int = 40) -> str:
    """Names with commas between them, of many the first ones."""
    names = list(names)
    return ", ".join([*names[:most], *(["..."] if len(names) > most else [])])


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """`; did you mean 'x'?` where something known resembles the word, otherwise the empty string."""
    close = difflib.get_close_matches(word[:80], list(known), n=1, cutoff=0.6)
    return f"; did you mean {quoted(close[0])}?" if close else ""
