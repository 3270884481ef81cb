"""Which ads may answer a query, by their bid keywords and what the platform makes of its words.

Exact keywords ask for the same words in the same order, phrase keywords for their words side by side in the
query, broad ones for all their words in any order. A query word that no keyword knows is read as the one
keyword word at edit distance 1, if there is exactly one. Candidates depend on neither bids nor budgets, so
that relevance can be scored once for all runs. A negative keyword keeps its ad away from the queries that it
matches, in the same three ways. Keywords that allow broad match are found through the platform's
associations, too (expansion.py), after all that match by words.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
from rapidfuzz import process
from rapidfuzz.distance import OSA

from relevance.words import words_of
from simulator.arrays import FloatArray, GradeArray, IntArray
from simulator.random import pair_uniforms, text_key
from simulator.retrieval.expansion import KINDS, SYNONYM, Associations, Expansions, expansions

EXACT, PHRASE, BROAD = 0, 1, 2
RECALLS = ("exact", "phrase", "broad", *KINDS)
"""How an ad is found, by number."""

_NONE = np.empty(0, dtype=np.int64)
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
        rows, closeness = [_NONE], [_NONE]
        for word in together:
            for phrase in self.of_word.get(word, ()):
                if together.issuperset(phrase):
                    rows.append(self.rows[phrase])
                    closeness.append(np.full(rows[-1].size, _closeness(phrase, words)))
        row, close = np.concatenate(rows), np.concatenate(closeness)
        allowed = close <= self.match[row]
        return row[allowed], close[allowed]


class Candidates(NamedTuple):
    """The ads that may answer Q queries, K of each at most."""

    ad: IntArray  # [Q, K] -1 padding
    recall: GradeArray  # [Q, K] how each was found: a place in RECALLS; 0 in padding

    def of(self, query: IntArray) -> "Candidates":
        """Those of some queries I[n]."""
        return Candidates(self.ad[query], self.recall[query])


@dataclass(frozen=True, slots=True)
class KeywordIndex:
    """Inverted index of the bid keywords (T of them) and the queries that it will be asked."""

    query_text: Sequence[str]  # [U]
    corrected: Mapping[str, str]  # words that no keyword knows, and what they are read as
    query_key: NDArray[np.uint64]  # [U] hash of each query's own text
    keywords: Phrases
    keyword_ad: IntArray  # [T]
    keyword_length: IntArray  # [T] words
    advertiser: IntArray  # [A]
    negatives: Phrases
    negative_ad: IntArray  # one per negative keyword
    sources: Phrases  # what the platform knows other words for
    expansions: tuple[Expansions, ...]  # one per source phrase

    def words(self, query: int) -> Words:
        """The words of a query, spelling corrected."""
        return tuple(self.corrected.get(word, word) for word in words_of(self.query_text[query]))


def build_index(
    keyword: Sequence[str],
    keyword_ad: NDArray[np.integer],
    keyword_match: NDArray[np.integer],
    query_text: Sequence[str],
    advertiser: NDArray[np.integer],
    negative: Sequence[NegativeKeyword] = (),
    associations: Sequence[Associations] = (),
    reach: float = 0.0,
    known_words: Iterable[str] = (),
) -> KeywordIndex:
    """Index the keywords that ads I[T] bid on with match types I[T], for U query texts.

    Words are those of `relevance.words.words_of`. `advertiser` I[A] owns the ads, `negative` keeps some away
    from queries. `associations` of at least the strength 1 - `reach` expand broad keywords. `known_words` are
    spelt right, though nobody bids on them. Raises ValueError for an empty keyword.
    """
    phrases = _split(keyword, "keyword")
    keywords = Phrases.build(phrases, keyword_match)
    unwanted = _split([text for text, _, _ in negative], "negative keyword")
    negatives = Phrases.build(unwanted, np.array([match for _, _, match in negative], dtype=np.int64))
    may_expand = {
        phrase: broad
        for phrase, rows in keywords.rows.items()
        if (broad := rows[keywords.match[rows] == BROAD]).size
    }
    expanded = expansions(associations, reach, may_expand)
    sources = Phrases.build(list(expanded), np.full(len(expanded), BROAD))
    corrected: dict[str, str] = {}
    vocabulary = sorted(keywords.words() | sources.words())
    known = {*vocabulary, *negatives.words(), *known_words}
    for word in sorted({word for text in query_text for word in words_of(text)} - known):
        if (read_as := correct(word, vocabulary)) != word:
            corrected[word] = read_as
    return KeywordIndex(
        query_text=query_text,
        corrected=corrected,
        query_key=np.array([text_key(text) for text in query_text], dtype=np.uint64),
        keywords=keywords,
        keyword_ad=np.asarray(keyword_ad, dtype=np.int64),
        keyword_length=np.array([len(phrase) for phrase in phrases], dtype=np.int64),
        advertiser=np.asarray(advertiser, dtype=np.int64),
        negatives=negatives,
        negative_ad=np.array([ad for _, ad, _ in negative], dtype=np.int64),
        sources=sources,
        expansions=tuple(expanded.values()),
    )


def retrieve(index: KeywordIndex, query: NDArray[np.integer], k: int) -> Candidates:
    """The first `k` candidates of each query I[Q]; see `matching_keywords`."""
    row, place, keyword, close = _first_keywords(index, query, k)
    shape = len(query), k
    found = Candidates(np.full(shape, -1, dtype=np.int64), np.zeros(shape, dtype=np.int8))
    found.ad[row, place], found.recall[row, place] = index.keyword_ad[keyword], close
    return found


def matching_keywords(index: KeywordIndex, query: int) -> IntArray:
    """The keywords I[...] that bring ads to a query, best first, one per advertiser.

    The closest match comes first, then the longer keyword, then a hash of the query's text and the ad, so
    that nobody is favoured. How closely a keyword matches is what counts, not how loosely it was allowed to.
    Expansions come after all of these, the strongest first.
    """
    return _first_keywords(index, np.array([query]), index.keyword_ad.size)[2]


def _first_keywords(
    index: KeywordIndex, query: NDArray[np.integer], k: int
) -> tuple[IntArray, IntArray, IntArray, IntArray]:
    """The first `k` of `matching_keywords` of queries I[Q]: row, place, keyword, closeness, I[...] each."""
    matched = [_matched(index, int(one)) for one in query]
    row = np.repeat(np.arange(len(matched)), [found.size for found, _, _ in matched])
    keyword = np.concatenate([_NONE, *(found for found, _, _ in matched)])
    close = np.concatenate([_NONE, *(closeness for _, closeness, _ in matched)])
    fit = np.concatenate([np.empty(0), *(fit for _, _, fit in matched)])
    ad = index.keyword_ad[keyword]
    shuffle = pair_uniforms(0, "retrieval", index.query_key[query][row], ad)
    order = np.lexsort((keyword, shuffle, -fit, np.minimum(close, SYNONYM), row))
    row, keyword, close = row[order], keyword[order], close[order]
    owner = index.advertiser[index.keyword_ad[keyword]]
    _, first = np.unique(row * (index.advertiser.max(initial=0) + 1) + owner, return_index=True)
    first.sort()
    row, keyword, close = row[first], keyword[first], close[first]
    place = np.arange(row.size) - np.searchsorted(row, row)
    kept = place < k
    return row[kept], place[kept], keyword[kept], close[kept]


def _matched(index: KeywordIndex, query: int) -> tuple[IntArray, IntArray, FloatArray]:
    """The keywords I[...] that match a query and that no negative keyword keeps away, and how each was found.

    And how well it fits F[...] among those found likewise: by its length, or by the association's strength.
    """
    words = index.words(query)
    keyword, close = index.keywords.matching(words)
    fit = index.keyword_length[keyword].astype(np.float64)
    if sources := [index.expansions[row] for row in index.sources.matching(words)[0]]:
        keyword = np.concatenate([keyword, *(source.keyword for source in sources)])
        close = np.concatenate([close, *(source.kind for source in sources)])
        fit = np.concatenate([fit, *(source.strength for source in sources)])
    if index.negative_ad.size:
        excluded = index.negative_ad[index.negatives.matching(words)[0]]
        kept = ~np.isin(index.keyword_ad[keyword], excluded)
        keyword, close, fit = keyword[kept], close[kept], fit[kept]
    return keyword, close, fit


def _split(texts: Sequence[str], kind: str) -> list[Words]:
    phrases: list[Words] = [tuple(words_of(text)) for text in texts]
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
