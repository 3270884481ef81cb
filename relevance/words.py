"""The words of a text. Chinese and Japanese write no spaces between them."""

from __future__ import annotations

import functools
import logging
import re
import string
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from types import ModuleType

from relevance.extras import MissingExtraError, require

_SCRIPTS = "\\u3040-\\u30ff\\u3400-\\u4dbf\\u4e00-\\u9fff\\uf900-\\ufaff"
"""Kana and Han characters."""
_NO_SPACES = re.compile(f"[{_SCRIPTS}]")
_RUNS = re.compile(f"[{_SCRIPTS}]+|[^\\s{_SCRIPTS}]+")
_PUNCTUATION = "".join(set(string.punctuation) - {"#", "+"}) + "\u201c\u201d\u2019\u2013\u2122\u00ae"
_MOST_KEPT = 2**17


def words_of(text: str) -> list[str]:
    """Words between spaces, and the words of Chinese and Japanese as jieba's dictionary finds them.

    Retrieval, BM25 and the world's queries take these. Where jieba is not installed, Chinese and Japanese
    are read in pairs of characters: a corpus of another language may hold a Chinese title or two. A Chinese
    world asks for jieba beforehand.
    """
    parts = text.split()
    if text.isascii():
        return parts
    return [word for part in parts for word in (_found(part) if _NO_SPACES.search(part) else (part,))]


def split_words(text: str) -> list[str]:
    """Lower-case words between spaces."""
    return text.lower().split()


def split_plain(text: str) -> list[str]:
    """As `split_words`, without the punctuation at either end of a word."""
    stripped = (word.strip(_PUNCTUATION) for word in split_words(text))
    return [word for word in stripped if word]


def split_characters(text: str) -> list[str]:
    """As `split_words`, but Chinese and Japanese, which have no spaces, in overlapping pairs of characters.

    Pairs need no dictionary, and most Chinese words have two characters.
    """
    return _pairs(text.lower())


def _pairs(text: str) -> list[str]:
    units: list[str] = []
    for run in _RUNS.findall(text):
        pairs = len(run) > 1 and _NO_SPACES.match(run)
        units += [run[i : i + 2] for i in range(len(run) - 1)] if pairs else [run]
    return units


def split_jieba(text: str) -> list[str]:
    """Lower-case words as jieba finds them, in Latin script, too.

    Raises:
        MissingExtraError: jieba is not installed.
    """
    require("jieba", extra="chinese", needed_by="keyword extractor 'jieba'")
    return [word for part in text.lower().split() for word in _cut(part)]


def dictionary_version() -> str:
    """The version of jieba, on which the words of Chinese texts depend; empty where it is not installed."""
    try:
        return version("jieba")
    except PackageNotFoundError:
        return ""


def _found(part: str) -> Sequence[str]:
    try:
        return _cut(part)
    except MissingExtraError:
        return _pairs(part)


@functools.lru_cache(maxsize=_MOST_KEPT)
def _cut(part: str) -> tuple[str, ...]:
    """The words of a text without spaces."""
    return tuple(_jieba().lcut(part))


def _jieba() -> ModuleType:
    require("jieba", extra="chinese", needed_by="the words of Chinese texts")
    import jieba

    jieba.setLogLevel(logging.WARNING)
    module: ModuleType = jieba
    return module
