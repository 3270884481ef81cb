"""The platform's own broad match: keywords that stand for a query's words, though they are none of them.

A platform that rewrites queries and looks for neighbours finds ads where no bid keyword matches, and some of
them do not answer the query. What it goes by are associations between phrases, each of a strength in (0, 1].
The reach r of retrieval admits those of a strength of at least 1 - r. Kinds of association:

- synonym: a dictionary mined from rewritten queries (Jones, Rey, Madani and Greiner 2006, "Generating query
  substitutions"), which holds mistakes;
- neighbour: phrases near one another in an embedding of what ads say and bid on (Grbovic et al. 2016,
  "Scalable semantic matching of queries to ads in sponsored search advertising"); see `neighbours`;
- co-click: what the same users ask for and click in one session (Radlinski, Broder, Ciccolo, Gabrilovich,
  Josifovski and Riedel 2008, "Optimizing relevance and revenue in ad search");
- category: phrases that a classifier puts on one shelf (Broder, Fontoura, Josifovski and Riedel 2007, "A
  semantic approach to contextual advertising").
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple, Self

import numpy as np
import scipy.linalg

from relevance.words import words_of
from simulator.arrays import FloatArray, GradeArray, IntArray

Words = tuple[str, ...]

SYNONYM, NEIGHBOUR, CO_CLICK, CATEGORY = 3, 4, 5, 6
KINDS = ("synonym", "neighbour", "co-click", "category")

DIMENSIONS = 100
"""Of the embedding."""
_DIGITS = 6  # of a strength: the last digits of a matrix product differ between processors


class Associations(NamedTuple):
    """E directed pairs of phrases, by the phrases' numbers."""

    phrase: tuple[str, ...]
    source: IntArray  # [E]
    target: IntArray  # [E]
    strength: FloatArray  # [E] in (0, 1]
    kind: GradeArray  # [E] SYNONYM .. CATEGORY

    @classmethod
    def of(cls, pairs: Iterable[tuple[str, str, float, int]]) -> Self:
        """From pairs (source, target, strength, kind)."""
        number: dict[str, int] = {}
        rows = [
            (number.setdefault(a, len(number)), number.setdefault(b, len(number)), s, k)
            for a, b, s, k in pairs
        ]
        source, target, strength, kind = zip(*rows, strict=True) if rows else ((), (), (), ())
        return cls(
            tuple(number),
            np.array(source, dtype=np.int64),
            np.array(target, dtype=np.int64),
            np.array(strength, dtype=np.float64),
            np.array(kind, dtype=np.int8),
        )

    def pairs(self) -> Iterable[tuple[str, str, float, int]]:
        """The same as pairs."""
        columns = (self.source, self.target, self.strength, self.kind)
        for a, b, s, k in zip(*(column.tolist() for column in columns), strict=True):
            yield self.phrase[a], self.phrase[b], s, k


def neighbours(documents: Sequence[str], phrases: Sequence[str], least: float) -> Associations:
    """Phrases whose vectors have a cosine of at least `least`.

    Words that occur in the same documents get near vectors: the first eigenvectors of the positive pointwise
    mutual information of words (Levy and Goldberg 2014, "Neural word embedding as implicit matrix
    factorization"). A phrase is the sum of its words' vectors; words of no document have none.
    """
    wanted = sorted({word for phrase in phrases for word in words_of(phrase)})
    number = {word: place for place, word in enumerate(wanted)}
    holds = np.zeros((len(documents), len(wanted)))
    for row, text in enumerate(documents):
        holds[row, [number[word] for word in set(words_of(text)) if word in number]] = 1.0
    together = holds.T @ holds
    often = np.diag(together)
    expected = np.outer(often, often) / max(len(documents), 1)
    information = np.log(np.divide(together, expected, out=np.ones_like(together), where=together > 0))
    top = max(len(wanted) - DIMENSIONS, 0), len(wanted) - 1
    size, direction = scipy.linalg.eigh(np.maximum(information, 0.0), subset_by_index=top)
    vector = direction * np.sqrt(np.maximum(size, 0.0))
    meaning = np.stack(
        [vector[[number[word] for word in words_of(phrase)]].sum(axis=0) for phrase in phrases]
    )
    length = np.linalg.norm(meaning, axis=1, keepdims=True)
    meaning = np.divide(meaning, length, out=np.zeros_like(meaning), where=length > 1e-9)
    near = np.round(meaning @ meaning.T, _DIGITS)
    np.fill_diagonal(near, 0.0)
    source, target = np.nonzero(near >= least)
    return Associations(
        tuple(phrases),
        source,
        target,
        np.minimum(near[source, target], 1.0),
        np.full(source.size, NEIGHBOUR, dtype=np.int8),
    )


class Expansions(NamedTuple):
    """What a phrase of a query stands for: bid keywords, best first."""

    keyword: IntArray  # [n]
    strength: FloatArray  # [n]
    kind: GradeArray  # [n]


def expansions(
    associations: Iterable[Associations], reach: float, keywords_of: Mapping[Words, IntArray]
) -> dict[Words, Expansions]:
    """What phrases stand for, by the associations that are strong enough and lead to a keyword.

    Args:
        reach: in [0, 1]; associations of a strength of at least 1 - reach count, and none at 0.
        keywords_of: the numbers I[n] of the keywords of each phrase that may be expanded.
    """
    found: dict[Words, list[tuple[IntArray, float, int]]] = {}
    for one in associations:
        for source, target, strength, kind in one.pairs():
            keywords = keywords_of.get(tuple(words_of(target)))
            if reach > 0 and strength >= 1.0 - reach and keywords is not None:
                found.setdefault(tuple(words_of(source)), []).append((keywords, strength, kind))
    return {phrase: merged(parts) for phrase, parts in found.items()}


def merged(parts: Sequence[tuple[IntArray, float, int]]) -> Expansions:
    """Each keyword once, by its strongest association."""
    keyword = np.concatenate([keywords for keywords, _, _ in parts])
    size = [keywords.size for keywords, _, _ in parts]
    strength = np.repeat([strength for _, strength, _ in parts], size)
    kind = np.repeat(np.array([kind for _, _, kind in parts], dtype=np.int8), size)
    order = np.lexsort((kind, keyword, -strength))
    keyword, strength, kind = keyword[order], strength[order], kind[order]
    first = np.sort(np.unique(keyword, return_index=True)[1])
    return Expansions(keyword[first], strength[first], kind[first])
