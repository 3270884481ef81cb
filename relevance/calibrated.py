"""A scorer whose scores become P(relevant), by maps that are fitted on labelled pairs.

Where the labels are of queries that are scored too, each query gets a map that was fitted without its own
labels (folds over queries). Within a query the order of the ads stays as the scorer has it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from relevance.arrays import BoolArray, FloatArray, IntArray
from relevance.calibration import FITS, Calibration
from relevance.errors import ScorerError
from relevance.protocol import AnyQuery, RelevanceScorer
from relevance.ranges import check_columns, check_named, check_within

FOLDS = 5


@dataclass(frozen=True, slots=True)
class FoldedCalibration:
    """A map for each fold of queries, fitted without that fold's labels.

    `whole` is fitted on all labels. It serves the queries of no fold. `fold` [Q] is the fold of each query of
    a corpus, -1 for none; queries beyond it are in none.
    """

    whole: Calibration
    of_fold: tuple[Calibration, ...] = ()
    fold: IntArray | None = None

    def __call__(self, query: IntArray, score: FloatArray) -> FloatArray:
        """P(relevant) of pairs: [P], [P] -> [P]."""
        probability = self.whole(score)
        if self.fold is not None and len(query):
            known = np.append(self.fold, -1)
            fold = known[np.minimum(query, len(self.fold))]
            for number, calibration in enumerate(self.of_fold):
                rows = fold == number
                probability[rows] = calibration(score[rows])
        return probability


def query_folds(query: IntArray, n_queries: int, folds: int = FOLDS, seed: int = 0) -> IntArray:
    """The fold of each of Q queries, [Q]: equally many labelled ones in each, -1 for those without a label.

    Args:
        query: [P], the query of each labelled pair.
    """
    check_within("folds", folds, 1, 1e6, whole=True)
    check_within("n_queries", n_queries, 0, 1e12, whole=True)
    check_within("query", query, 0, n_queries - 1)
    labelled = np.unique(query)
    fold = np.full(n_queries, -1)
    fold[np.random.default_rng(seed).permutation(labelled)] = np.arange(labelled.size) % folds
    return fold


def fit_calibration(
    score: FloatArray, positive: BoolArray, kind: str = "temperature", name: str = "the scorer"
) -> Calibration:
    """A map fitted on pairs: score [P] in [0, 1], positive [P] for grades 2 and 3.

    Raises:
        ScorerError: all pairs are positive, or none.
    """
    check_named("kind", kind, FITS)
    try:
        return FITS[kind](score, positive)
    except ValueError as error:
        raise ScorerError(str(error), file=f"scorer '{name}'", remedy="label more pairs") from error


def fit_by_folds(
    query: IntArray,
    score: FloatArray,
    positive: BoolArray,
    n_queries: int,
    *,
    kind: str = "temperature",
    folds: int = FOLDS,
    name: str = "the scorer",
) -> FoldedCalibration:
    """Maps for queries that the labelled pairs are of; arguments [P] as of `fit_calibration`.

    Raises:
        ScorerError: see `fit_calibration`; also where that is so without one of the folds.
    """
    check_columns(query=query, score=score, positive=positive)
    check_within("folds", folds, 2, 1e6, whole=True)
    fold = query_folds(query, n_queries, folds)
    whole = fit_calibration(score, positive, kind, name)
    others = (fold[query] != number for number in range(min(folds, np.unique(query).size)))
    of_fold = tuple(fit_calibration(score[rows], positive[rows], kind, name) for rows in others)
    return FoldedCalibration(whole, of_fold, fold)


class CalibratedScorer:
    """P(relevant) by a scorer and a fitted map."""

    def __init__(
        self, scorer: RelevanceScorer, calibration: FoldedCalibration, query_text: Sequence[str]
    ) -> None:
        """`query_text` [Q] are the queries that the calibration has folds of."""
        self._scorer, self._calibration, self._query_text = scorer, calibration, query_text

    def score(self, query: IntArray, ad: IntArray) -> FloatArray:
        """[P], [P] -> [P], probabilities."""
        return self._calibration(query, self._scorer.score(query, ad))

    def of_queries(self, texts: tuple[str, ...]) -> CalibratedScorer:
        """The same for other queries, see `relevance.protocol.AnyQuery`; the scorer must be one.

        A text that the calibration knows keeps its map.
        """
        if not isinstance(self._scorer, AnyQuery):
            raise TypeError("the scorer must have a method of_queries(texts) to be asked other queries")
        calibration = self._calibration
        if calibration.fold is not None:
            number = {text: one for one, text in enumerate(self._query_text)}
            fold = np.array([calibration.fold[number[text]] if text in number else -1 for text in texts])
            calibration = replace(calibration, fold=fold)
        return CalibratedScorer(self._scorer.of_queries(texts), calibration, texts)
