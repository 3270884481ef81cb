"""BM25: relevance from common words, the baseline that a neural scorer has to beat."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np

from relevance.arrays import FloatArray, IntArray
from relevance.corpus import Corpus
from relevance.extras import require


class Bm25Scorer:
    """BM25 (k1 1.5, b 0.75) of a query against title, OCR and ASR, relative to its best ad of the corpus.

    An ad that shares no word with the query scores `floor`, not 0: a missing word is weak evidence, and a 0
    would exclude the ad from every fused ranking.
    """

    def __init__(self, corpus: Corpus, floor: float = 0.1) -> None:
        require("bm25s", extra="world", needed_by="the scorer bm25")
        import bm25s  # imports numba where that is installed

        self._corpus, self._floor = corpus, floor
        self._index = bm25s.BM25(k1=1.5, b=0.75)
        self._index.index([text.lower().split() for text in corpus.ad_texts()], show_progress=False)
        self._known = set(self._index.vocab_dict)

    def score(self, query: IntArray, ad: IntArray) -> FloatArray:
        """[P], [P] -> [P] in [floor, 1]."""
        score = np.empty(len(query))
        order = np.argsort(query, kind="stable")
        for rows in np.split(order, np.flatnonzero(np.diff(query[order])) + 1):
            if len(rows):
                score[rows] = self._against_all(int(query[rows[0]]))[ad[rows]]
        return score

    def of_queries(self, texts: tuple[str, ...]) -> Bm25Scorer:
        """The same for other queries, see `relevance.protocol.AnyQuery`."""
        other = copy.copy(self)
        other._corpus = replace(self._corpus, query_text=texts, query_id=())
        return other

    def _against_all(self, query: int) -> FloatArray:
        """Scores of one query against every ad, [A]."""
        words = [word for word in self._corpus.query_text[query].split() if word in self._known]
        raw = self._index.get_scores(words).astype(np.float64) if words else np.zeros(self._corpus.n_ads)
        best = raw.max(initial=0.0)
        return self._floor + (1.0 - self._floor) * (raw / best if best > 0 else raw)
