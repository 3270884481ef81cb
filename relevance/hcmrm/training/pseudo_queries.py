"""Pseudo-queries: keywords of an ad that take the query's place in pre-training (PQVM of arXiv 2502.05822).

An ad's own pseudo-queries match it. Pseudo-queries of other ads do not, unless the ad's text has all of their
words: such a pair is a false negative and is never used. Words here are whole words, not tokens.
Pure functions that draw from the generator passed in.
"""

from __future__ import annotations

from collections.abc import Container, Sequence
from typing import NamedTuple

import numpy as np

from relevance.arrays import BoolArray, FloatArray, IntArray


class PseudoQueries(NamedTuple):
    """N pseudo-queries: the `words` of each, in the order of the ad's keywords, and its `owner` [N].

    An owner is the index of the ad in the list that the pseudo-queries were drawn from.
    """

    words: tuple[tuple[str, ...], ...]
    owner: IntArray


def draw_pseudo_queries(
    keywords: Sequence[Sequence[str]],
    informative: Container[str],
    per_ad: int,
    rng: np.random.Generator,
    *,
    longest: int = 3,
) -> PseudoQueries:
    """Draw 1 to `longest` different informative keywords of each ad, `per_ad` times.

    Args:
        keywords: the keyword sequence of each ad.
        informative: words that say what an ad is about. Ads without such a word have no pseudo-query.
    """
    words: list[tuple[str, ...]] = []
    owner: list[int] = []
    for ad, sequence in enumerate(keywords):
        known = [word for word in dict.fromkeys(sequence) if word in informative]
        for _ in range(per_ad if known else 0):
            count = int(rng.integers(1, min(longest, len(known)) + 1))
            chosen = np.sort(rng.choice(len(known), count, replace=False))
            words.append(tuple(known[i] for i in chosen))
            owner.append(ad)
    return PseudoQueries(tuple(words), np.array(owner, dtype=np.int64))


def shared(pseudo_queries: Sequence[Sequence[str]], texts: Sequence[frozenset[str]]) -> BoolArray:
    """Whether a text has all words of a pseudo-query: bool [A, N]."""
    sets = [frozenset(words) for words in pseudo_queries]
    return np.array([[words <= text for words in sets] for text in texts], dtype=bool).reshape(
        len(texts), len(sets)
    )


def matching_pairs(
    pseudo_queries: PseudoQueries,
    ads: IntArray,
    texts: Sequence[frozenset[str]],
    similarity: FloatArray,
    sharpness: float,
    rng: np.random.Generator,
) -> tuple[IntArray, IntArray, BoolArray]:
    """Pairs for pseudo-query-video matching: each ad with its own pseudo-queries, and with others'.

    Args:
        ads: [A], the ads to make pairs for, as indices into the list that the pseudo-queries were drawn from.
        texts: the words of each of these A ads, all of the text.
        similarity, sharpness: of the hard negatives, as in `draw_negatives`; [A, N].

    Returns:
        (position in `ads`, pseudo-query, match), each [P].
    """
    own = pseudo_queries.owner[None, :] == ads[:, None]
    ad, which = np.nonzero(own)
    allowed = ~(own | shared(pseudo_queries.words, texts))
    other_ad, other = draw_negatives(similarity, allowed, sharpness, rng)
    match = np.arange(len(ad) + len(other_ad)) < len(ad)
    return np.concatenate((ad, other_ad)), np.concatenate((which, other)), match


def draw_negatives(
    similarity: FloatArray, allowed: BoolArray, sharpness: float, rng: np.random.Generator
) -> tuple[IntArray, IntArray]:
    """One hard and one easy pseudo-query for each ad, among those that are allowed.

    The hard one comes from `draw_hard`, the easy one is drawn with equal weights. They differ if two or more
    are allowed.

    Returns:
        (ad, pseudo-query), each [M], the hard ones first. Ads with one allowed pseudo-query give one pair.
    """
    ad, hard = draw_hard(similarity, allowed, sharpness, rng)
    left = allowed.copy()
    left[ad, hard] = False
    if not left.any():
        return ad, hard
    easy = np.where(left, rng.random(allowed.shape), -np.inf).argmax(axis=1)
    other_ad = np.flatnonzero(left.any(axis=1))
    return np.concatenate((ad, other_ad)), np.concatenate((hard, easy[other_ad]))


def draw_hard(
    similarity: FloatArray, allowed: BoolArray, sharpness: float, rng: np.random.Generator
) -> tuple[IntArray, IntArray]:
    """One negative for each row, drawn with weights exp(sharpness x similarity).

    As ALBEF (arXiv 2107.07651) draws hard negatives, with the inverse temperature as sharpness.

    Args:
        similarity: [A, N].
        allowed: bool [A, N], False for false negatives.

    Returns:
        (row, column), each [M]; rows without anything allowed give none.
    """
    if not allowed.size:
        return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64)
    # Gumbel top-1: a weighted draw.
    key = np.where(allowed, sharpness * similarity + rng.gumbel(size=allowed.shape), -np.inf)
    rows = np.flatnonzero(allowed.any(axis=1))
    return rows, key.argmax(axis=1)[rows]
