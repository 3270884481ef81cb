import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from simulator.retrieval import (
    BROAD,
    EXACT,
    PHRASE,
    RECALLS,
    Associations,
    NegativeKeyword,
    build_index,
    matching_keywords,
    neighbours,
    retrieve,
)
from simulator.retrieval.expansion import CATEGORY, CO_CLICK, NEIGHBOUR, SYNONYM


def found(keyword: list[str], match: list[int], query: str, advertiser: list[int] | None = None) -> list[int]:
    """Ads (one per keyword) that answer a query."""
    n = len(keyword)
    index = build_index(keyword, np.arange(n), np.array(match), [query], np.array(advertiser or range(n)))
    candidate = retrieve(index, np.array([0]), 10).ad[0]
    return [int(ad) for ad in candidate if ad >= 0]


def test_match_types() -> None:
    for words, allowed in (
        ("red kettle", {EXACT, PHRASE, BROAD}),
        ("cheap red kettle", {PHRASE, BROAD}),
        ("kettle red", {BROAD}),
        ("red steel kettle", {BROAD}),
        ("kettle", set()),
    ):
        assert set(found(["red kettle"] * 3, [EXACT, PHRASE, BROAD], words)) == allowed, words


def test_how_candidates_were_matched() -> None:
    """How the keyword met the query, not how it was allowed to; aligned with the candidates."""
    index = build_index(
        ["red kettle", "kettle", "kettle red"],
        np.arange(3),
        np.full(3, BROAD),
        ["red kettle", "tap"],
        np.arange(3),
    )
    assert retrieve(index, np.arange(2), 4).ad.tolist() == [[0, 1, 2, -1], [-1] * 4]
    recall = retrieve(index, np.arange(2), 4).recall
    assert recall.tolist() == [[EXACT, PHRASE, BROAD, 0], [0] * 4]
    assert retrieve(index, np.array([0]), 2).recall.tolist() == [[EXACT, PHRASE]]


def test_closest_match_first_then_longer_keyword() -> None:
    keyword = ["kettle", "red kettle", "steel", "red steel kettle", "kettle red"]
    ads = found(keyword, [BROAD] * 5, "red steel kettle")
    assert ads[0] == 3, "the query itself"
    assert set(ads[1:3]) == {0, 2}, "side by side in the query"
    assert set(ads[3:]) == {1, 4}, "scattered"
    assert found(["kettle", "steel kettle"], [BROAD] * 2, "red steel kettle") == [1, 0], "the longer one"


def test_one_ad_per_advertiser_its_best() -> None:
    keyword = ["kettle", "red kettle", "red"]
    assert found(keyword, [BROAD] * 3, "red kettle", advertiser=[0, 0, 0]) == [1]
    assert found(keyword, [BROAD] * 3, "red kettle", advertiser=[0, 0, 1]) == [1, 2]


def test_misspelt_words_are_read_as_the_one_word_nearby() -> None:
    assert found(["kettle"], [EXACT], "ketle") == [0], "a letter lost"
    assert found(["kettle"], [EXACT], "kettel") == [0], "two letters swapped"
    assert found(["kettle"], [EXACT], "kttel") == [], "two edits"
    assert found(["kettle", "nettle"], [EXACT] * 2, "bettle") == [], "two words are as near"
    assert found(["kettle", "kettles"], [EXACT] * 2, "kettle") == [0], "a known word stays as it is"
    assert found(["cup"], [EXACT], "cap") == [], "short words are one edit from anything"


def test_nobody_is_favoured() -> None:
    """Many ads on one keyword: whom a query sees first varies with the query, evenly."""
    queries = [f"kettle number{i}" for i in range(3000)]
    index = build_index(["kettle"] * 5, np.arange(5), np.full(5, BROAD), queries, np.arange(5))
    first = retrieve(index, np.arange(3000), 1).ad[:, 0]
    assert np.abs(np.bincount(first, minlength=5) - 600).max() < 4 * np.sqrt(3000 * 0.2 * 0.8)


def test_padding_and_cut() -> None:
    index = build_index(["kettle"] * 3, np.arange(3), np.full(3, BROAD), ["kettle", "lamp"], np.arange(3))
    assert (retrieve(index, np.array([1, 0]), 5).ad[0] == -1).all()
    assert sorted(retrieve(index, np.array([1, 0]), 5).ad[1].tolist()) == [-1, -1, 0, 1, 2]
    longer, shorter = retrieve(index, np.array([0]), 3).ad, retrieve(index, np.array([0]), 2).ad
    assert longer[0, :2].tolist() == shorter[0].tolist()


words = st.lists(st.sampled_from(["aaaa", "bbbb", "cccc", "dddd"]), min_size=1, max_size=4).map(" ".join)


@given(
    keyword=st.lists(st.tuples(words, st.integers(0, 2), st.integers(0, 9)), min_size=1, max_size=30),
    query=words,
)
@settings(max_examples=200)
def test_agrees_with_reading_every_keyword(keyword: list[tuple[str, int, int]], query: str) -> None:
    text, match, ad = ([row[i] for row in keyword] for i in range(3))
    advertiser = np.arange(10) // 2
    index = build_index(text, np.array(ad), np.array(match), [query], advertiser)
    rows = matching_keywords(index, 0)

    def closeness(phrase: str) -> int:
        if phrase == query:
            return EXACT
        if f" {phrase} " in f" {query} ":
            return PHRASE
        return BROAD if set(phrase.split()) <= set(query.split()) else 9

    fitting = [i for i in range(len(text)) if closeness(text[i]) <= match[i]]
    assert {advertiser[ad[i]] for i in fitting} == {advertiser[ad[i]] for i in rows}
    assert set(rows.tolist()) <= set(fitting)
    owners = [advertiser[ad[i]] for i in rows]
    assert len(set(owners)) == len(owners), "an advertiser comes once"
    order = [(closeness(text[i]), -len(text[i].split())) for i in rows]
    assert order == sorted(order)
    for i, owner in zip(rows, owners, strict=True):
        rivals = [(closeness(text[j]), -len(text[j].split())) for j in fitting if advertiser[ad[j]] == owner]
        assert min(rivals) == (closeness(text[i]), -len(text[i].split())), "with its closest keyword"


def left(negative: list[NegativeKeyword], query: str, advertiser: tuple[int, ...] = (0, 1)) -> list[int]:
    """Which of two ads for kettles still answers a query."""
    keyword = ["kettle", "kettle"]
    index = build_index(
        keyword, np.arange(2), np.full(2, BROAD), [query], np.array(advertiser), negative=negative
    )
    return sorted(int(ad) for ad in retrieve(index, np.array([0]), 5).ad[0] if ad >= 0)


def test_negative_keywords_keep_their_ad_away() -> None:
    for match, words, stays in (
        (EXACT, "toy kettle", False),
        (EXACT, "a toy kettle", True),
        (PHRASE, "a toy kettle", False),
        (PHRASE, "toy steel kettle", True),
        (BROAD, "kettle as a toy", False),
        (BROAD, "kettle", True),
    ):
        assert left([("toy kettle", 0, match)], words) == ([0, 1] if stays else [1]), (match, words)


def test_another_ad_of_the_advertiser_may_answer_instead() -> None:
    assert left([("toy", 0, BROAD)], "toy kettle", advertiser=(0, 0)) == [1]
    assert left([("toy", 0, BROAD), ("toy", 1, BROAD)], "toy kettle", advertiser=(0, 0)) == []


def test_words_of_negative_keywords_are_not_taken_for_slips() -> None:
    """Settle is one letter from kettle, but somebody does not want it."""
    assert left([], "settle") == [0, 1]
    assert left([("settle", 0, BROAD)], "settle") == []
    with pytest.raises(ValueError, match="negative keyword 0 is empty"):
        left([(" ", 0, BROAD)], "kettle")


# The platform's own broad match


KNOWN = Associations.of(
    [
        ("sofa", "couch", 0.9, SYNONYM),
        ("sofa", "bed", 0.5, CO_CLICK),
        ("red sofa", "rug", 0.7, NEIGHBOUR),
        ("tap", "sofa", 0.8, CATEGORY),
    ]
)
BIDS = ["sofa", "couch", "bed", "rug", "couch"]
ALLOWED = [EXACT, BROAD, BROAD, BROAD, PHRASE]


def expanded(text: str, reach: float, k: int = 9) -> list[tuple[int, str]]:
    """(ad, how it was found) for a query of ads 0 .. 4 that bid BIDS."""
    index = build_index(BIDS, np.arange(5), np.array(ALLOWED), [text], np.arange(5), (), [KNOWN], reach)
    ad, recall = (part[0] for part in retrieve(index, np.array([0]), k))
    return [(int(a), RECALLS[r]) for a, r in zip(ad, recall, strict=True) if a >= 0]


def test_reach_admits_associations_by_their_strength() -> None:
    assert expanded("sofa", 0.0) == [(0, "exact")]
    assert expanded("sofa", 0.05) == [(0, "exact")]
    assert expanded("sofa", 0.2) == [(0, "exact"), (1, "synonym")]
    assert expanded("sofa", 0.5) == [(0, "exact"), (1, "synonym"), (2, "co-click")]


def test_words_come_first_then_the_strongest_association() -> None:
    assert expanded("red sofa", 1.0) == [(1, "synonym"), (3, "neighbour"), (2, "co-click")]
    assert expanded("bed sofa", 1.0)[0] == (2, "phrase"), "it matches by words, and is not found twice"
    assert expanded("sofa", 1.0, k=2) == [(0, "exact"), (1, "synonym")]


def test_only_broad_keywords_are_expanded() -> None:
    assert expanded("tap", 1.0) == [], "the ad of sofa asks for exact match"
    assert 4 not in dict(expanded("sofa", 1.0)), "phrase match only"


def test_a_word_of_an_association_is_spelt_right_too() -> None:
    assert expanded("sofaa", 0.2) == [(0, "exact"), (1, "synonym")]


def test_negative_keywords_hold_for_expansions() -> None:
    index = build_index(
        BIDS, np.arange(5), np.array(ALLOWED), ["sofa"], np.arange(5), [("sofa", 1, BROAD)], [KNOWN], 1.0
    )
    assert retrieve(index, np.array([0]), 3).ad[0].tolist() == [0, 2, -1]


def test_neighbours_are_used_in_the_same_documents() -> None:
    documents = [
        "kettle tea",
        "kettle tea cup",
        "tea cup",
        "hammer nail",
        "nail saw hammer",
        "saw hammer",
    ] * 3
    near = neighbours(documents, ["kettle", "tea cup", "hammer", "nail saw", "unseen"], 0.5)
    pairs = {(source, target) for source, target, _, _ in near.pairs()}
    assert pairs == {
        ("kettle", "tea cup"),
        ("tea cup", "kettle"),
        ("hammer", "nail saw"),
        ("nail saw", "hammer"),
    }
    assert (near.kind == NEIGHBOUR).all()
    assert ((near.strength >= 0.5) & (near.strength <= 1.0)).all()


def test_a_known_word_is_no_slip() -> None:
    def read(text: str, *known: str) -> tuple[str, ...]:
        return build_index(["neat"], [0], np.array([BROAD]), [text], np.zeros(1), known_words=known).words(0)

    assert read("near me") == ("neat", "me")
    assert read("near me", "near", "me") == ("near", "me")
