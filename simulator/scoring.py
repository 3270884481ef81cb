"""Station 3, scoring: the relevance of every pair of a query and an ad that can meet.

Relevance depends on neither bids nor budgets. So it is either scored beforehand, once per pair, and looked up
in a table, or the scorer is asked when a batch is ranked, for the candidates that are there. The log is the
same.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from relevance.protocol import RelevanceScorer, score_pairs
from simulator.arrays import AnyArray, BoolArray, FloatArray, IntArray, namespace
from simulator.recent import RecentRows


def score_candidates(
    scorer: RelevanceScorer,
    candidate: IntArray,
    *,
    name: str = "scorer",
    chunk: int = 4096,
    progress: Callable[[int, int], None] | None = None,
) -> FloatArray:
    """Score the candidates I[U, K] of queries 0 .. U-1 -> F[U, K] in [0, 1]; padding gets 0.

    The scorer sees flat pairs, at most `chunk` at a time; `progress(done, total)` counts pairs. Raises
    relevance.ScorerError, which calls the scorer by `name`, if it returns anything but relevances.
    """
    query, column = np.nonzero(candidate >= 0)
    ad = candidate[query, column]
    relevance = np.zeros(candidate.shape, dtype=np.float64)
    for start in range(0, query.size, chunk):
        part = slice(start, start + chunk)
        relevance[query[part], column[part]] = score_pairs(scorer, query[part], ad[part], name)
        if progress is not None:
            progress(min(start + chunk, query.size), query.size)
    return relevance


class DeviceScorer(Protocol):
    """A scorer that leaves its scores where it computes them (relevance.hcmrm.HcmrmScorer is one)."""

    def relevance(self, query: IntArray, candidate: IntArray) -> AnyArray:
        """Relevance of the candidates I[Q, K] of queries I[Q], F[Q, K] on the device; 0 at padding -1."""
        ...

    def place(self, values: NDArray[Any]) -> AnyArray:
        """A NumPy array on the device."""
        ...


class OnHost:
    """Any scorer with the one method `score` as one whose device is NumPy's."""

    def __init__(self, scorer: RelevanceScorer, name: str = "scorer") -> None:
        """`name` is for messages."""
        self._scorer, self._name = scorer, name

    def relevance(self, query: IntArray, candidate: IntArray) -> FloatArray:
        """See `DeviceScorer`. Raises relevance.ScorerError where the answer is no relevance."""
        row, column = np.nonzero(candidate >= 0)
        found = np.zeros(candidate.shape)
        found[row, column] = score_pairs(self._scorer, query[row], candidate[row, column], self._name)
        return found

    def place(self, values: NDArray[Any]) -> NDArray[Any]:
        """The array itself."""
        return values


class LiveScorer:
    """A scorer that is asked when a batch is ranked. The scores of the queries used last are kept."""

    def __init__(self, scorer: DeviceScorer, keep: int = 0) -> None:
        """`keep` is how many queries' scores are kept."""
        self.scorer = scorer
        self._kept = RecentRows(keep)

    def recall(self, query: IntArray, k: int) -> "Scores":
        """What is kept of queries I[Q] with `k` candidates."""
        scores = self.unknown(query.size, k)
        distinct, row = np.unique(query, return_inverse=True)
        place = self._kept.find(distinct)[row]
        which = np.flatnonzero(place >= 0)
        if which.size:
            relevance, known = self._kept.at(place[which])
            scores.relevance[which], scores.known[which] = relevance, known  # type: ignore[index]
        return scores

    def unknown(self, n: int, k: int) -> "Scores":
        """Scores of n queries with `k` candidates, none of which is known yet."""
        return Scores(self.scorer.place(np.zeros((n, k))), np.zeros((n, k), dtype=np.bool_), self)

    def score(self, scores: "Scores", query: IntArray, candidate: IntArray, missing: BoolArray) -> None:
        """Score the pairs that are missing B[Q, K], each once, and write them into the scores."""
        which = np.flatnonzero(missing.any(axis=1))
        if not which.size:
            return
        # A query that comes several times in a batch is scored once, for all candidates that any of them has.
        distinct, first, row = np.unique(query[which], return_index=True, return_inverse=True)
        order = np.argsort(row, kind="stable")
        start = np.searchsorted(row, np.arange(distinct.size), sorter=order)
        asked = np.where(missing[which], candidate[which], -1)[order]
        asked = np.maximum.reduceat(asked, start, axis=0)
        found = self.scorer.relevance(distinct, asked)
        assert scores.known is not None
        new = (asked >= 0)[row] & ~scores.known[which]
        xp = namespace(found)
        scores.relevance[which] = xp.where(self.scorer.place(new), found[row], scores.relevance[which])
        scores.known[which] |= new
        rows = which[first]
        self._kept.put(distinct, scores.relevance[rows], scores.known[rows])


@dataclass(frozen=True, slots=True)
class Scores:
    """A scorer's relevance of the candidates of a batch."""

    relevance: AnyArray  # F[Q, K], on the scorer's device; any number where it is not known
    known: BoolArray | None = None  # [Q, K]; None: all are
    live: LiveScorer | None = None  # who scores the others

    def complete(self, query: IntArray, candidate: IntArray, wanted: BoolArray) -> None:
        """Have those scored that are wanted B[Q, K] and not known; of queries I[Q] and candidates I[Q, K]."""
        if self.live is not None and self.known is not None:
            self.live.score(self, query, candidate, wanted & ~self.known)

    def place(self, values: NDArray[Any]) -> AnyArray:
        """A NumPy array where the scores lie."""
        return values if self.live is None else self.live.scorer.place(values)

    def __getitem__(self, which: BoolArray) -> "Scores":
        """A copy of those of some queries B[Q]."""
        if self.known is None:
            return Scores(self.relevance[which])
        return Scores(self.relevance[which], self.known[which], self.live)

    def take_in(self, which: BoolArray, other: "Scores") -> None:
        """Take over a copy of those of some queries B[Q] in which more has become known."""
        if self.known is not None:
            self.relevance[which], self.known[which] = other.relevance, other.known


RelevanceSource: TypeAlias = FloatArray | LiveScorer | None
"""Where the relevance of pairs comes from: a table [U, K], a scorer that is asked, or 1 for every pair."""


def scores_of(source: RelevanceSource, query: IntArray, k: int, *, reuse: bool = True) -> Scores:
    """What is known of the relevance of the `k` candidates of queries I[Q] before they are ranked.

    Args:
        reuse: whether a live scorer may use what it has kept.
    """
    if source is None:
        return Scores(np.ones((query.size, k)))
    if isinstance(source, LiveScorer):
        return source.recall(query, k) if reuse else source.unknown(query.size, k)
    return Scores(source.take(query, axis=0))
