"""Pseudo-queries: where their words come from, and that no false negative is ever drawn."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch")  # the package imports it

from hypothesis import given, strategies as st

from relevance.hcmrm.training.pseudo_queries import (
    PseudoQueries,
    draw_negatives,
    draw_pseudo_queries,
    matching_pairs,
    shared,
)

FILLER = "now"
WORD = st.sampled_from(("red", "mug", "sofa", "tent", "oak", FILLER))
ADS = st.lists(st.lists(WORD, max_size=6), min_size=1, max_size=8)
INFORMATIVE = frozenset({"red", "mug", "sofa", "tent", "oak"})


def test_shared_by_hand() -> None:
    # A text shares a pseudo-query if it has all of its words: half of them is not enough.
    texts = [frozenset({"red", "mug"}), frozenset({"blue", "mug"})]
    assert shared([("mug",), ("red", "mug"), ("red", "sofa")], texts).tolist() == [
        [True, True, False],
        [True, False, False],
    ]


def test_pairs_by_hand() -> None:
    # Two mugs, red and blue, and a sofa, with one pseudo-query each. "mug" of the blue one is in the red
    # one's text: never a negative of it. "red mug" is one of the blue mug: half right, and wrong.
    drawn = PseudoQueries((("red", "mug"), ("mug",), ("sofa",)), np.array([0, 1, 2]))
    texts = [frozenset({"red", "mug"}), frozenset({"blue", "mug"})]
    ad, which, match = matching_pairs(
        drawn, np.array([0, 1]), texts, np.zeros((2, 3)), 1.0, np.random.default_rng(0)
    )
    pairs = sorted(zip(ad.tolist(), which.tolist(), match.tolist(), strict=True))
    assert pairs == [(0, 0, True), (0, 2, False), (1, 0, False), (1, 1, True), (1, 2, False)]


@given(ADS, st.integers(0, 2**32 - 1))
def test_pseudo_queries_are_informative_words_of_their_ad(keywords: list[list[str]], seed: int) -> None:
    drawn = draw_pseudo_queries(keywords, INFORMATIVE, 2, np.random.default_rng(seed))
    assert len(drawn.words) == len(drawn.owner)
    for words, owner in zip(drawn.words, drawn.owner.tolist(), strict=True):
        assert 1 <= len(words) <= 3
        assert len(set(words)) == len(words)
        assert FILLER not in words
        # In the order of the ad's keywords.
        places = [keywords[owner].index(word) for word in words]
        assert places == sorted(places)
    has_words = [ad for ad, words in enumerate(keywords) if set(words) - {FILLER}]
    assert drawn.owner.tolist() == [ad for ad in has_words for _ in range(2)]


@given(ADS, st.integers(0, 2**32 - 1), st.floats(0.0, 50.0))
def test_never_a_false_negative(keywords: list[list[str]], seed: int, sharpness: float) -> None:
    rng = np.random.default_rng(seed)
    drawn = draw_pseudo_queries(keywords, INFORMATIVE, 2, rng)
    ads = np.sort(rng.choice(len(keywords), rng.integers(1, len(keywords) + 1), replace=False))
    texts = [frozenset(keywords[ad]) for ad in ads]
    similarity = rng.uniform(-1.0, 1.0, (len(ads), len(drawn.words)))
    ad, which, match = matching_pairs(drawn, ads, texts, similarity, sharpness, rng)
    for row, query, matches in zip(ad.tolist(), which.tolist(), match.tolist(), strict=True):
        if matches:
            assert drawn.owner[query] == ads[row]
        assert matches == (set(drawn.words[query]) <= texts[row])
    # Every ad has its own pseudo-queries, and at most two different others.
    for row, a in enumerate(ads.tolist()):
        assert sorted(which[match & (ad == row)].tolist()) == np.flatnonzero(drawn.owner == a).tolist()
        others = which[~match & (ad == row)].tolist()
        free = [q for q, words in enumerate(drawn.words) if not set(words) <= texts[row]]
        assert len(set(others)) == len(others) == min(2, len(free))


def test_hard_negatives_are_the_similar_ones_and_easy_ones_any() -> None:
    rng = np.random.default_rng(0)
    similarity = np.tile([0.9, 0.1, 0.1, 0.1, 0.1], (2000, 1))
    ad, which = draw_negatives(similarity, np.ones((2000, 5), dtype=bool), 10.0, rng)
    assert ad.tolist() == [*range(2000), *range(2000)]
    hard, easy = which[:2000], which[2000:]
    # The hard one is drawn with weight e^9 against four of e^1.
    assert np.mean(hard == 0) == pytest.approx(1 / (1 + 4 * np.exp(-8.0)), abs=0.01)
    # Of what is left, all alike: five standard errors.
    shares = np.bincount(easy[hard == 0], minlength=5) / np.sum(hard == 0)
    assert shares == pytest.approx([0.0, 0.25, 0.25, 0.25, 0.25], abs=5 * np.sqrt(0.25 * 0.75 / 2000))
