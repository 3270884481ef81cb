"""Scores that are computed once and kept.

Relevance does not depend on bids or budgets, so one pass serves every auction.
"""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from relevance.arrays import FloatArray, IntArray
from relevance.errors import ScorerError
from relevance.ranges import check_columns, check_within


@dataclass(frozen=True, slots=True)
class ScoreTable:
    """Scores of P pairs, sorted by query, then ad.

    `grade_probabilities` [P, 4] are there only if the scorer has them.
    """

    query: IntArray
    ad: IntArray
    score: FloatArray
    grade_probabilities: FloatArray | None = None

    def __post_init__(self) -> None:
        check_columns(query=self.query, ad=self.ad, score=self.score)
        check_within("score", self.score, 0, 1)

    @staticmethod
    def build(
        query: IntArray, ad: IntArray, score: FloatArray, grade_probabilities: FloatArray | None = None
    ) -> ScoreTable:
        """Sort pairs into a table.

        Raises:
            ValueError: a pair is there twice.
        """
        order = np.lexsort((ad, query))
        query, ad = query[order], ad[order]
        if len(query) > 1 and bool(((query[1:] == query[:-1]) & (ad[1:] == ad[:-1])).any()):
            raise ValueError("a score table holds every pair once")
        probabilities = None if grade_probabilities is None else grade_probabilities[order]
        return ScoreTable(query, ad, score[order], probabilities)

    def rows(self, query: IntArray, ad: IntArray) -> IntArray:
        """Row of each asked pair, [P]; -1 where the table lacks it."""
        if not len(self.query):
            return np.full(len(query), -1, dtype=np.int64)
        width = np.int64(max(int(self.ad.max()), int(ad.max(initial=0))) + 1)
        keys, asked = self.query * width + self.ad, query * width + ad
        row = np.minimum(np.searchsorted(keys, asked), len(keys) - 1)
        return np.where(keys[row] == asked, row, -1)

    def save(self, path: Path) -> None:
        """Write the table to a file.

        Raises:
            OSError: it cannot be written.
        """
        arrays = {"query": self.query, "ad": self.ad, "score": self.score}
        if self.grade_probabilities is not None:
            arrays["grade_probabilities"] = self.grade_probabilities
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            np.savez(file, **arrays)  # type: ignore[arg-type]

    @staticmethod
    def load(path: Path) -> ScoreTable:
        """Read a table.

        Raises:
            ScorerError: the file is no whole score table.
        """
        try:
            with np.load(path, allow_pickle=False) as arrays:
                probabilities = arrays.get("grade_probabilities")
                return ScoreTable(arrays["query"], arrays["ad"], arrays["score"], probabilities)
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            raise ScorerError(
                f"{path}: not a whole score table ({error}); remove it, and it is made again"
            ) from error


class CachedScorer:
    """Looks scores up in a table."""

    def __init__(self, table: ScoreTable) -> None:
        self._table = table

    def score(self, query: IntArray, ad: IntArray) -> FloatArray:
        """[P], [P] -> [P].

        Raises:
            ScorerError: the table lacks a pair; names the first one.
        """
        row = self._table.rows(query, ad)
        if (row < 0).any():
            i = int(np.argmax(row < 0))
            raise ScorerError(
                f"score table: no score for query {query[i]} and ad {ad[i]}; score the pairs again"
            )
        return self._table.score[row]
