"""Keyword sequences: the few words of a video text that say what it is about.

HCMRM reads an ad's text as keywords rather than as raw text, which keeps the (query, frames, text) triplet
short (arXiv 2502.05822). Here the weight of a word is TF-IDF; the sequence keeps the order of the text, so
that words of one phrase stay together and a repeated word stays repeated.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol


class KeywordExtractor(Protocol):
    """Anything that turns a video text into its keyword sequence."""

    def __call__(self, text: str) -> tuple[str, ...]: ...


@dataclass(frozen=True, slots=True)
class TfIdfKeywords:
    """Keep the words with the largest term frequency x inverse document frequency.

    Attributes:
        idf: word -> ln((1 + N) / (1 + document frequency)) + 1, from the N texts of a training corpus.
        unseen: the same for a word that none of those texts has.
        n_words: how many different words to keep.
        n_tokens: the longest sequence, repetitions counted.
    """

    idf: Mapping[str, float]
    unseen: float
    n_words: int = 10
    n_tokens: int = 14

    @staticmethod
    def fit(texts: Iterable[str], n_words: int = 10, n_tokens: int = 14) -> TfIdfKeywords:
        """Count in how many of the texts each word occurs."""
        documents = [set(text.lower().split()) for text in texts]
        frequency = Counter(word for words in documents for word in words)
        n = len(documents)
        idf = {word: math.log((1 + n) / (1 + count)) + 1.0 for word, count in sorted(frequency.items())}
        return TfIdfKeywords(idf, math.log(1 + n) + 1.0, n_words, n_tokens)

    def __call__(self, text: str) -> tuple[str, ...]:
        words = text.lower().split()
        weight = {word: count * self.idf.get(word, self.unseen) for word, count in Counter(words).items()}
        kept = set(sorted(weight, key=lambda word: (-weight[word], word))[: self.n_words])
        return tuple(word for word in words if word in kept)[: self.n_tokens]
