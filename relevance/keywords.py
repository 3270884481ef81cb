"""Keyword sequences: the few words of a video text that say what it is about.

HCMRM reads an ad's text as keywords, not as raw text, which keeps the (query, frames, text) triplet short
(arXiv 2502.05822). Here the weight of a word is TF-IDF. The sequence keeps the order of the text: words of
one phrase stay together, and a repeated word stays repeated.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, ClassVar, Protocol

from relevance.errors import CheckpointError
from relevance.words import split_characters, split_jieba, split_plain, split_words


class KeywordExtractor(Protocol):
    """Anything that turns a video text into its keyword sequence.

    `name` is its key in EXTRACTORS, by which a checkpoint finds it again.
    """

    @property
    def name(self) -> str: ...

    def __call__(self, text: str) -> tuple[str, ...]: ...

    def words(self, text: str) -> list[str]:
        """All words of a text, in order; the sequence holds some of them."""
        ...

    def as_dict(self) -> dict[str, Any]:
        """The arguments with which `EXTRACTORS[name]` makes it again, as JSON."""
        ...


SPLITTERS: Mapping[str, Callable[[str], list[str]]] = {
    "tfidf": split_words,
    "characters": split_characters,
    "plain": split_plain,
    "jieba": split_jieba,
}
"""Ways to find the words of a text, by the names of the extractors that count them."""


@dataclass(frozen=True, slots=True)
class TfIdfKeywords:
    """Keep the words with the largest term frequency x inverse document frequency.

    Attributes:
        name: a name in SPLITTERS, how the words of a text are found.
        idf: word -> ln((1 + N) / (1 + document frequency)) + 1, from the N texts of a training corpus.
        unseen: the same for a word that none of those texts has.
        n_words: how many different words to keep.
        n_tokens: the longest sequence, repetitions counted.
    """

    idf: Mapping[str, float]
    unseen: float
    n_words: int = 10
    n_tokens: int = 14
    name: str = "tfidf"

    @staticmethod
    def fit(
        texts: Iterable[str], n_words: int = 10, n_tokens: int = 14, name: str = "tfidf"
    ) -> TfIdfKeywords:
        """Count in how many of the texts each word occurs."""
        documents = [set(SPLITTERS[name](text)) for text in texts]
        frequency = Counter(word for words in documents for word in words)
        n = len(documents)
        idf = {word: math.log((1 + n) / (1 + count)) + 1.0 for word, count in sorted(frequency.items())}
        return TfIdfKeywords(idf, math.log(1 + n) + 1.0, n_words, n_tokens, name)

    def words(self, text: str) -> list[str]:
        return SPLITTERS[self.name](text)

    def as_dict(self) -> dict[str, Any]:
        words = {word: round(value, 4) for word, value in self.idf.items()}
        return {"unseen": self.unseen, "n_words": self.n_words, "n_tokens": self.n_tokens, "idf": words}

    def __call__(self, text: str) -> tuple[str, ...]:
        words = self.words(text)
        weight = {word: count * self.idf.get(word, self.unseen) for word, count in Counter(words).items()}
        kept = set(sorted(weight, key=lambda word: (-weight[word], word))[: self.n_words])
        return tuple(word for word in words if word in kept)[: self.n_tokens]


@dataclass(frozen=True, slots=True)
class RawText:
    """The start of the text itself instead of keywords, for comparison with the paper's keyword sequence.

    Attributes:
        n_tokens: the longest text, in words.
    """

    name: ClassVar[str] = "raw"

    n_tokens: int = 96

    def words(self, text: str) -> list[str]:
        return split_words(text)

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    def __call__(self, text: str) -> tuple[str, ...]:
        return tuple(self.words(text)[: self.n_tokens])


EXTRACTORS: Mapping[str, Callable[..., KeywordExtractor]] = {
    **{name: partial(TfIdfKeywords, name=name) for name in SPLITTERS},
    RawText.name: RawText,
}
"""Extractors by the name that a checkpoint's keywords.json gives them: TF-IDF of words, of words
without punctuation around them, of pairs of characters or of jieba's words, and the raw text."""


def fit_extractor(name: str, texts: Iterable[str]) -> KeywordExtractor:
    """The extractor of that name in EXTRACTORS, fitted to the texts of a training corpus.

    Raises:
        MissingExtraError: it needs a package that is not installed.
    """
    return RawText() if name == RawText.name else TfIdfKeywords.fit(texts, name=name)


def extractor_from(stored: Mapping[str, Any]) -> KeywordExtractor:
    """The extractor that a checkpoint's keywords.json describes; TF-IDF if it names none.

    Raises:
        CheckpointError: there is no extractor of that name.
        TypeError: its settings do not fit it.
    """
    settings = dict(stored)
    name = settings.pop("extractor", "tfidf")
    if name not in EXTRACTORS:
        raise CheckpointError(
            f"keyword extractor '{name}': there is no such, only {', '.join(EXTRACTORS)}",
            remedy="the checkpoint comes from another version",
        )
    return EXTRACTORS[name](**settings)
