"""Station 2, retrieval: which ads may answer a query, by their bid keywords.

Exact keywords ask for the same words in the same order, phrase keywords for their words side by side in the
query, broad ones for all their words in any order. A query word that no keyword knows is read as the one
keyword word at edit distance 1, if there is exactly one. Candidates depend on neither bids nor budgets, so
that relevance can be scored once for all runs. A negative keyword keeps its ad away from the queries that it
matches, in the same three ways.
"""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray
from rapidfuzz import process
from rapidfuzz.distance import OSA

from simulator.arrays import IntArray
from simulator.random import pair_uniforms, text_key

EXACT, PHRASE, BROAD = 0, 1, 2

_SHORTEST_CORRECTED = 4  # letters; one edit turns nearly any shorter word into another

Words = tuple[str, ...]
NegativeKeyword = tuple[str, int, int]  # text, ad, and loosest match: EXACT, PHRASE or BROAD


@dataclass(frozen=True, slots=True)
class Phrases:
    """Inverted index of T phrases, each with the loosest match that it allows."""

    of_word: dict[str, tuple[Words, ...]]  # every distinct phrase, filed under its rarest word
    rows: dict[Words, IntArray]  # 0 .. T-1
    match: IntArray  # [T] EXACT, PHRASE or BROAD

    @classmethod
    def build(cls, phrases: Sequence[Words], match: NDArray[np.integer]) -> Self:
        """Index phrases with match types I[T]."""
        rows: defaultdict[Words, list[int]] = defaultdict(list)
        for row, phrase in enumerate(phrases):
            rows[phrase].append(row)
        frequency = Counter(word for phrase in rows for word in set(phrase))
        filed: defaultdict[str, list[Words]] = defaultdict(list)
        for phrase in rows:
            filed[min(phrase, key=lambda word: (frequency[word], word))].append(phrase)
        return cls(
            {word: tuple(found) for word, found in filed.items()},
            {phrase: np.array(found, dtype=np.int64) for phrase, found in rows.items()},
            np.asarray(match, dtype=np.int64),
        )

    def words(self) -> set[str]:
        """All words of the phrases."""
        return {word for phrase in self.rows for word in phrase}

    def matching(self, words: Words) -> tuple[IntArray, IntArray]:
        """The rows I[...] that match a query, and how closely each does."""
        together = set(words)
        rows, closeness = [np.empty(0, dtype=np.int64)], [np.empty(0, dtype=np.int64)]
        for word in together:
            for phrase in self.of_word.get(word, ()):
                if together.issuperset(phrase):
                    rows.append(self.rows[phrase])
                    closeness.append(np.full(rows[-1].size, _closeness(phrase, words)))
        row, close = np.concatenate(rows), np.concatenate(closeness)
        allowed = close <= self.match[row]
        return row[allowed], close[allowed]


@dataclass(frozen=True, slots=True)
class KeywordIndex:
    """Inverted index of the bid keywords (T of them) and the queries that it will be asked."""

    query_words: tuple[Words, ...]  # U queries, spelling corrected
    query_key: NDArray[np.uint64]  # [U] hash of each query's own text
    keywords: Phrases
    keyword_ad: IntArray  # [T]
    keyword_length: IntArray  # [T] words
    advertiser: IntArray  # [A]
    negatives: Phrases
    negative_ad: IntArray  # one per negative keyword


def build_index(
    keyword: Sequence[str],
    keyword_ad: NDArray[np.integer],
    keyword_match: NDArray[np.integer],
    query_text: Sequence[str],
    advertiser: NDArray[np.integer],
    negative: Sequence[NegativeKeyword] = (),
) -> KeywordIndex:
    """Index the keywords that ads I[T] bid on with match types I[T], for U query texts.

    Words are separated by spaces. `advertiser` I[A] owns the ads, `negative` keeps some away from queries.
    Raises ValueError for an empty keyword.
    """
    phrases = _split(keyword, "keyword")
    keywords = Phrases.build(phrases, keyword_match)
    unwanted = _split([text for text, _, _ in negative], "negative keyword")
    negatives = Phrases.build(unwanted, np.array([match for _, _, match in negative], dtype=np.int64))
    corrected: dict[str, str] = {}
    vocabulary = sorted(keywords.words())
    known = keywords.words() | negatives.words()
    for word in sorted({word for text in query_text for word in text.split()} - known):
        corrected[word] = correct(word, vocabulary)
    return KeywordIndex(
        query_words=tuple(tuple(corrected.get(word, word) for word in text.split()) for text in query_text),
        query_key=np.array([text_key(text) for text in query_text], dtype=np.uint64),
        keywords=keywords,
        keyword_ad=np.asarray(keyword_ad, dtype=np.int64),
        keyword_length=np.array([len(phrase) for phrase in phrases], dtype=np.int64),
        advertiser=np.asarray(advertiser, dtype=np.int64),
        negatives=negatives,
        negative_ad=np.array([ad for _, ad, _ in negative], dtype=np.int64),
    )


def retrieve(index: KeywordIndex, query: NDArray[np.integer], k: int) -> IntArray:
    """The first `k` candidates of each query I[Q] -> ads I[Q, k], padded with -1; see `matching_keywords`."""
    candidate = np.full((len(query), k), -1, dtype=np.int64)
    for row, one in enumerate(query):
        found = index.keyword_ad[matching_keywords(index, int(one))[:k]]
        candidate[row, : found.size] = found
    return candidate


def match_types(index: KeywordIndex, query: NDArray[np.integer], k: int) -> IntArray:
    """How closely the keyword that brings each of the first `k` candidates meets the query, I[Q, k].

    EXACT, PHRASE or BROAD, and -1 in padding; the candidates are those of `retrieve`.
    """
    match = np.full((len(query), k), -1, dtype=np.int64)
    closeness = np.empty(index.keyword_ad.size, dtype=np.int64)
    for row, one in enumerate(query):
        keywords = matching_keywords(index, int(one))[:k]
        matched, close = index.keywords.matching(index.query_words[one])
        closeness[matched] = close
        match[row, : keywords.size] = closeness[keywords]
    return match


def matching_keywords(index: KeywordIndex, query: int) -> IntArray:
    """The keywords I[...] that bring ads to a query, best first, one per advertiser.

    The closest match comes first, then the longer keyword, then a hash of the query's text and the ad, so
    that nobody is favoured. How closely a keyword matches is what counts, not how loosely it was allowed to.
    """
    words = index.query_words[query]
    keyword, close = index.keywords.matching(words)
    if index.negative_ad.size:
        excluded = index.negative_ad[index.negatives.matching(words)[0]]
        kept = ~np.isin(index.keyword_ad[keyword], excluded)
        keyword, close = keyword[kept], close[kept]
    ad = index.keyword_ad[keyword]
    shuffle = pair_uniforms(0, "retrieval", index.query_key[query : query + 1], ad)
    keyword = keyword[np.lexsort((keyword, shuffle, -index.keyword_length[keyword], close))]
    _, first = np.unique(index.advertiser[index.keyword_ad[keyword]], return_index=True)
    return keyword[np.sort(first)]


def _split(texts: Sequence[str], kind: str) -> list[Words]:
    phrases: list[Words] = [tuple(text.split()) for text in texts]
    if () in phrases:
        raise ValueError(f"{kind} {phrases.index(())} is empty")
    return phrases


def _closeness(phrase: Words, words: Words) -> int:
    if phrase == words:
        return EXACT
    n = len(phrase)
    return PHRASE if any(words[i : i + n] == phrase for i in range(len(words) - n + 1)) else BROAD


def correct(word: str, vocabulary: Sequence[str]) -> str:
    """A word as the one word of a vocabulary at edit distance 1, or as it is where there is no such one.

    Short words stay as they are, too.
    """
    # Optimal string alignment: swapping two neighbouring letters is one edit, as typists make it.
    if len(word) < _SHORTEST_CORRECTED:
        return word
    near = process.extract(word, vocabulary, scorer=OSA.distance, score_cutoff=1, limit=2)
    return str(near[0][0]) if len(near) == 1 else word
