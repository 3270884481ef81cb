"""BM25: relevance from common words, the baseline that a neural scorer has to beat."""

from __future__ import annotations

import copy

import numpy as np

from relevance.arrays import FloatArray, IntArray
from relevance.corpus import Corpus
from relevance.extras import require
from relevance.ranges import check_within
from relevance.words import words_of

CELLS_AT_ONCE = 2**18
"""Queries x ads scored in one go, a megabyte."""


class Bm25Scorer:
    """BM25 (k1 1.5, b 0.75) of a query against title, OCR and ASR, relative to its best ad of the corpus.

    An ad that shares no word with the query scores `floor`, not 0: a missing word is weak evidence, and a 0
    would exclude the ad from every fused ranking.
    """

    def __init__(self, corpus: Corpus, floor: float = 0.1) -> None:
        check_within("floor", floor, 0, 1)
        require("bm25s", extra="world", needed_by="the scorer bm25")
        import bm25s  # imports numba where that is installed

        self._query_text, self._floor = corpus.query_text, floor
        self._n_ads = corpus.n_ads
        words = [words_of(text.lower()) for text in corpus.ad_texts()]
        self._number: dict[str, int] = {}
        # What a word adds to the score of each ad that has it, the words one after the other.
        self._added, self._ad = np.empty(0, dtype=np.float32), np.empty(0, dtype=np.int64)
        self._start = np.zeros(1, dtype=np.int64)
        if any(words):  # bm25s cannot index ads without any word
            index = bm25s.BM25(k1=1.5, b=0.75)
            index.index(words, show_progress=False)
            self._number = index.vocab_dict
            self._added, self._ad = index.scores["data"], index.scores["indices"]
            self._start = index.scores["indptr"].astype(np.int64)

    def score(self, query: IntArray, ad: IntArray) -> FloatArray:
        """[P], [P] -> [P] in [floor, 1]."""
        distinct, row = np.unique(query, return_inverse=True)
        score = np.empty(len(query))
        at_once = max(1, CELLS_AT_ONCE // max(self._n_ads, 1))
        order = np.argsort(row, kind="stable")
        for first in range(0, distinct.size, at_once):
            of_all = self._against_all(distinct[first : first + at_once])
            best = of_all.max(axis=1, initial=0.0)
            pairs = order[slice(*np.searchsorted(row, (first, first + at_once), sorter=order))]
            which = row[pairs] - first
            score[pairs] = of_all[which, ad[pairs]] / np.where(best > 0, best, 1.0)[which]
        return self._floor + (1.0 - self._floor) * score

    def of_queries(self, texts: tuple[str, ...]) -> Bm25Scorer:
        """The same for other queries, see `relevance.protocol.AnyQuery`."""
        other = copy.copy(self)
        other._query_text = texts
        return other

    def _against_all(self, query: IntArray) -> FloatArray:
        """Scores of queries I[Q] against every ad, [Q, A]; a word counts as often as the query holds it."""
        texts = (words_of(self._query_text[one]) for one in query.tolist())
        words = [[self._number[word] for word in text if word in self._number] for text in texts]
        word = np.array([one for of_query in words for one in of_query], dtype=np.int64)
        n = self._start[word + 1] - self._start[word]
        # The places of all entries of these words, and the cells of the table that they are added to.
        entry = np.arange(n.sum()) + np.repeat(self._start[word] - (np.cumsum(n) - n), n)
        row = np.repeat(np.repeat(np.arange(query.size), [len(of_query) for of_query in words]), n)
        table = np.zeros(query.size * self._n_ads, dtype=self._added.dtype)
        np.add.at(table, row * self._n_ads + self._ad[entry], self._added[entry])
        return table.reshape(query.size, self._n_ads).astype(np.float64)
