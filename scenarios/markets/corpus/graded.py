"""The pairs of a corpus whose grade is known, by a person or by a judge. Of all others nothing is known."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np

from relevance.corpus import Labels
from simulator.arrays import BoolArray, GradeArray, IntArray
from simulator.random import pair_uniforms
from simulator.retrieval import Candidates

UNGRADED = -1
"""The grade of a pair that nobody has judged: it is not 0."""


@dataclass(frozen=True, slots=True)
class GradedPairs:
    """P pairs of U queries and A ads, sorted by query, then ad; each once."""

    n_queries: int
    n_ads: int
    key: IntArray  # [P] query x A + ad
    grade: GradeArray  # [P] 0..3
    by_person: BoolArray  # [P] otherwise by a judge

    @classmethod
    def of(cls, n_queries: int, n_ads: int, people: Labels, judge: Labels | None = None) -> Self:
        """The pairs that people graded, and those of a judge that no person did."""
        parts = [people] if judge is None else [people, judge]
        key = np.concatenate([part.query * n_ads + part.ad for part in parts])
        grade = np.concatenate([part.grade for part in parts]).astype(np.int8)
        by_person = np.arange(key.size) < len(people)
        key, first = np.unique(key, return_index=True)  # of a pair in both parts, people's comes first
        return cls(n_queries, n_ads, key, grade[first], by_person[first])

    @property
    def query(self) -> IntArray:
        return self.key // self.n_ads

    @property
    def ad(self) -> IntArray:
        return self.key % self.n_ads

    def grade_of(self, query: IntArray, ad: IntArray) -> GradeArray:
        """Grades of pairs I[...], UNGRADED where nobody has judged them."""
        place, known = self._find(query, ad)
        return np.where(known, self.grade[place], UNGRADED).astype(np.int8)

    def judged(self, query: IntArray, ad: IntArray) -> BoolArray:
        """Whether a person graded pairs I[...]; a query counts modulo U, see `query_totals`."""
        place, known = self._find(query % self.n_queries, ad)
        return known & self.by_person[place]

    def candidates(self, query_key: IntArray, advertiser: IntArray, k: int) -> Candidates:
        """The ads with a grade for each query, at most `k` and one of each advertiser.

        A hash of the query's text and the ad decides which, so nothing that is known of a pair does.

        Args:
            query_key: U64[U] hashes of the queries' texts.
            advertiser: I[A] of the ads.
        """
        query, ad = self.query, self.ad
        order = np.lexsort((pair_uniforms(0, "retrieval", query_key[query], ad), query))
        query, ad = query[order], ad[order]
        owner = query * (int(advertiser.max(initial=0)) + 1) + advertiser[ad]
        first = np.sort(np.unique(owner, return_index=True)[1])
        query, ad = query[first], ad[first]
        place = np.arange(query.size) - np.searchsorted(query, query)
        kept = place < k
        found = np.full((self.n_queries, k), -1, dtype=np.int64)
        found[query[kept], place[kept]] = ad[kept]
        return Candidates(found, np.zeros(found.shape, dtype=np.int8))

    def _find(self, query: IntArray, ad: IntArray) -> tuple[IntArray, BoolArray]:
        key = query * np.int64(self.n_ads) + ad
        place = np.minimum(np.searchsorted(self.key, key), max(self.key.size - 1, 0))
        return place, self.key[place] == key
