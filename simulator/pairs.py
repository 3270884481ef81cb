"""What a market knows of a query and its candidates: looked up in tables, or computed for a batch of queries.

Every draw is keyed by query and ad, so both give the same numbers.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import NamedTuple, Protocol

import numpy as np

from simulator import pctr, random, users
from simulator.arrays import FloatArray, GradeArray, IntArray
from simulator.pctr import CtrModel
from simulator.recent import RecentRows
from simulator.retrieval import Candidates
from simulator.users import UserModel

QUERIES_AT_ONCE = 1024
"""Distinct queries computed in one go."""
RECENT_QUERIES = 4096
"""Distinct queries whose pairs are kept where they are computed: 3 MB with 32 candidates."""


class Known(NamedTuple):
    """What is known of Q queries and their K candidates, [Q, K]."""

    candidate: IntArray  # ad, -1 padding; at most one ad per advertiser in a row
    grade: GradeArray  # true grade 0..3 (0 in padding)
    attraction: FloatArray  # true P(click | examined)
    pctr: FloatArray  # the platform's estimate of it; where that is learnt, the one before any click
    recall: GradeArray  # how retrieval found the ad, 0 in padding; see retrieval.RECALLS


class Pairs(Protocol):
    """The pairs of a market's distinct queries."""

    @property
    def n_queries(self) -> int:
        """Distinct queries, U."""
        ...

    @property
    def n_candidates(self) -> int:
        """Candidates of a query at most, K."""
        ...

    def of(self, query: IntArray) -> Known:
        """What is known of queries I[Q] in 0 .. U-1."""
        ...

    def count(self, query: IntArray) -> IntArray:
        """How many candidates queries I[Q] have, I[Q]."""
        ...


@dataclass(frozen=True, slots=True)
class PairTables:
    """All pairs in tables [U, K]; the fields are those of `Known`."""

    candidate: IntArray
    grade: GradeArray
    attraction: FloatArray
    pctr: FloatArray
    recall: GradeArray = None  # type: ignore[assignment]  # None: all by exact match
    _count: IntArray = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.recall is None:
            object.__setattr__(self, "recall", np.zeros(self.candidate.shape, dtype=np.int8))
        for name in Known._fields:
            if (shape := getattr(self, name).shape) != self.candidate.shape:
                raise ValueError(f"market.{name} is {shape}, the candidates are {self.candidate.shape}")
        object.__setattr__(self, "_count", np.count_nonzero(self.candidate >= 0, axis=1))

    @property
    def n_queries(self) -> int:
        return int(self.candidate.shape[0])

    @property
    def n_candidates(self) -> int:
        return int(self.candidate.shape[1])

    def of(self, query: IntArray) -> Known:
        return Known(*(getattr(self, name).take(query, axis=0) for name in Known._fields))

    def count(self, query: IntArray) -> IntArray:
        return self._count[query]


class Seen(NamedTuple):
    """What users and ads decide of pairs, before the platform has a view of it; see `Known`."""

    candidate: IntArray
    grade: GradeArray
    attraction: FloatArray
    recall: GradeArray
    query: IntArray  # [Q, 1]


@dataclass(frozen=True, slots=True)
class PairDraws:
    """Computes the pairs of any of U queries; nothing of a pair is kept."""

    seed: int
    n_queries: int
    n_candidates: int
    find: Callable[[IntArray], Candidates]  # of queries I[Q]
    grade: Callable[[IntArray, IntArray], GradeArray]  # of queries I[Q, 1] and ads I[Q, K]
    users: UserModel
    appeal: FloatArray  # [A]
    ctr: CtrModel
    average: FloatArray  # [A] attraction of each ad over the traffic that it meets

    def see(self, query: IntArray) -> Seen:
        """Candidates of queries I[Q], their grades and attraction."""
        (candidate, recall), rows = self.find(query), query[:, None]
        met, ad = candidate >= 0, np.maximum(candidate, 0)
        grade = np.where(met, self.grade(rows, ad), 0).astype(np.int8)
        attraction = np.where(met, users.attraction(self.users, grade, self.appeal[ad]), 0.0)
        return Seen(candidate, grade, attraction, recall, rows)

    def known(self, seen: Seen) -> Known:
        """The same with the platform's estimate."""
        candidate, grade, attraction, recall, rows = seen
        ad = np.maximum(candidate, 0)
        if self.ctr.learnt:  # says nothing of a pair before a click
            predicted = np.full(ad.shape, self.ctr.first_guess)
        else:
            noise = random.pair_normals(self.seed, "pctr", np.broadcast_to(rows, ad.shape), ad)
            predicted = pctr.predict(self.ctr, attraction, self.average[ad], noise)
        return Known(candidate, grade, attraction, np.where(candidate >= 0, predicted, 0.0), recall)

    def chunks(self) -> Iterator[IntArray]:
        """All queries, in order and some at a time."""
        for start in range(0, self.n_queries, QUERIES_AT_ONCE):
            yield np.arange(start, min(start + QUERIES_AT_ONCE, self.n_queries))

    def with_average(self, seen: Iterable[Seen], popularity: FloatArray) -> "PairDraws":
        """The same with the ads' averages over all queries, whose traffic shares are F[U]."""
        parts = ((part.attraction, part.candidate, popularity[part.query[:, 0]]) for part in seen)
        return replace(self, average=pctr.ad_average(parts, self.appeal.size))


class ComputedPairs:
    """Pairs that are computed when they are asked for; those of the queries asked for last are kept."""

    def __init__(self, draws: PairDraws, keep: int = RECENT_QUERIES) -> None:
        self._draws, self._kept = draws, RecentRows(keep)

    @property
    def n_queries(self) -> int:
        return self._draws.n_queries

    @property
    def n_candidates(self) -> int:
        return self._draws.n_candidates

    def of(self, query: IntArray) -> Known:
        distinct, row = np.unique(query, return_inverse=True)
        place = self._kept.find(distinct)
        new, kept = np.flatnonzero(place < 0), np.flatnonzero(place >= 0)
        if not new.size and kept.size:
            return Known(*self._kept.at(place[row]))
        found = self._draws.known(self._draws.see(distinct[new]))
        before = self._kept.at(place[kept]) if kept.size else [part[:0] for part in found]
        self._kept.put(distinct[new], *found)
        at = np.argsort(np.concatenate((new, kept)))[row]
        both = zip(found, before, strict=True)
        return Known(*(np.concatenate(parts)[at] for parts in both))  # type: ignore[arg-type]

    def count(self, query: IntArray) -> IntArray:
        found: IntArray = np.count_nonzero(self.of(query).candidate >= 0, axis=1)
        return found
