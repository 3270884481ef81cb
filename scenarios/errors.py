"""Errors that a user can mend: the command line prints their message and exits with code 2."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UserError(ValueError):
    """Something the user gave cannot be used; the message names the file, the field and the remedy."""


class ScenarioError(UserError):
    """A scenario file, or a value set over it, is not a valid scenario."""


class TableError(UserError):
    """A table of one's own auctions cannot be read, or holds what no auction can."""


class StoreError(UserError):
    """A result folder cannot be read or written."""


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """`; did you mean 'x'?` where something known resembles the word, otherwise the empty string."""
    close = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f"; did you mean '{close[0]}'?" if close else ""
