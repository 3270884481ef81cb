"""Station 8, log: what happened, in columns. One row per shown ad, and one per query."""

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from simulator.arrays import MICROS, BoolArray, FloatArray, GradeArray, IntArray

if TYPE_CHECKING:
    import polars as pl  # imported where a table is asked for, so that a run needs none

ROWS_OF_A_PART = 2**17
"""Shown ads in a part where a log is handed on in parts and not kept: 14 MB."""


@dataclass(frozen=True, slots=True)
class Impressions:
    """Columns with one row per shown ad (R, by arrival and slot)."""

    query_index: IntArray  # [R] arrival 0 .. Q-1
    time_s: FloatArray  # [R] of arrival
    query: IntArray  # [R] distinct query
    slot: IntArray  # [R]
    ad: IntArray  # [R]
    recall: GradeArray  # [R] how retrieval found the ad; a place in retrieval.RECALLS
    advertiser: IntArray  # [R]
    bid_micros: IntArray  # [R]
    pctr: FloatArray  # [R]
    relevance: FloatArray  # [R]
    score: FloatArray  # [R] fused
    price_micros: IntArray  # [R] per click, or per impression if impressions are paid for
    examined: BoolArray  # [R]
    clicked: BoolArray  # [R]
    charged_micros: IntArray  # [R]
    satisfied: BoolArray  # [R] by the click; False where nothing depends on it
    conversion_s: FloatArray  # [R] when the click's conversion came; infinite: never
    grade: GradeArray  # [R] true

    def impressions(self) -> "pl.DataFrame":
        """One row per shown ad; money in int64 micros."""
        import polars as pl

        return pl.DataFrame({name: getattr(self, name) for name in COLUMNS})


COLUMNS = tuple(column.name for column in fields(Impressions))

Sink = Callable[[Impressions], None]
"""Takes the parts of a log in order. It must copy what it keeps: the arrays are overwritten afterwards."""


def forget(part: Impressions) -> None:
    """A sink that drops the log, for runs whose log is not needed."""


def both(first: Sink, second: Sink) -> Sink:
    """A sink that passes each part to two others."""

    def pass_on(part: Impressions) -> None:
        first(part)
        second(part)

    return pass_on


@dataclass(frozen=True, slots=True)
class SimulationLog(Impressions):
    """Columns with one row per shown ad (R), per query (Q), per account (N) and per server."""

    arrival: IntArray  # [Q] index in the market's arrivals, which may hold some that never came
    arrival_s: FloatArray  # [Q]
    arrival_query: IntArray  # [Q]
    answered_s: FloatArray  # [Q]
    served: GradeArray  # [Q] what answered the query; see serving.py
    scored_pairs: IntArray  # [Q] by the scorer, in time or not
    n_eligible: IntArray  # [Q] candidates that took part
    n_shown: IntArray  # [Q]

    budget_micros: IntArray  # [N] of all days
    spent_micros: IntArray  # [N]
    ran_out: BoolArray  # [N] left before the end of a day

    busy_s: FloatArray  # [servers] seconds that each worked on batches

    def queries(self) -> "pl.DataFrame":
        """One row per query."""
        import polars as pl

        return pl.DataFrame(
            {
                "query_index": self.arrival,
                "time_s": self.arrival_s,
                "query": self.arrival_query,
                "answered_s": self.answered_s,
                "latency_s": self.answered_s - self.arrival_s,
                "served": self.served,
                "scored_pairs": self.scored_pairs,
                "n_eligible": self.n_eligible,
                "n_shown": self.n_shown,
            }
        )

    def accounts(self) -> "pl.DataFrame":
        """One row per advertiser; money in currency units."""
        import polars as pl

        return pl.DataFrame(
            {
                "advertiser": np.arange(self.budget_micros.size),
                "budget": self.budget_micros / MICROS,
                "spent": self.spent_micros / MICROS,
                "ran_out": self.ran_out,
            }
        )


class Recorder:
    """Collects what micro-batches produce: shown ads one after the other, queries by their arrival.

    Args:
        most: the largest possible number of shown ads.
        ordered: whether queries are answered in the order of arrival.
        sink: takes the parts of the log when they are full, each of ROWS_OF_A_PART but for the last. Without
            a sink they are kept. A log that is not in order is sorted and handed over at the end.
    """

    def __init__(self, n_queries: int, most: int, *, ordered: bool = True, sink: Sink | None = None) -> None:
        self.n_eligible = np.zeros(n_queries, dtype=np.int64)
        self.n_shown = np.zeros(n_queries, dtype=np.int64)
        self.answered_s = np.full(n_queries, np.nan)  # NaN: the query did not come
        self.served = np.zeros(n_queries, dtype=np.int8)  # what answered it; see serving.py
        self.scored_pairs = np.zeros(n_queries, dtype=np.int64)  # by the scorer, in time or not
        self._ordered, self._sink = ordered, sink
        self._to_sink = ordered and sink is not None
        # Memory that is never written costs nothing, so all of it is reserved.
        self._column = {name: np.empty(0 if self._to_sink else most, dtype=_DTYPES[name]) for name in COLUMNS}
        self._n = 0

    def answered(self, rows: IntArray, **columns: FloatArray | IntArray) -> None:
        """Note what is known of arrivals I[Q], by column [Q]."""
        for name, values in columns.items():
            getattr(self, name)[rows] = values

    def append(self, **columns: NDArray[Any]) -> None:
        """Add shown ads, by column [R]."""
        size = columns[COLUMNS[0]].size
        if self._to_sink and self._n + size > self._column[COLUMNS[0]].size:
            room = self._n + size + ROWS_OF_A_PART
            self._column = {
                name: np.concatenate([kept[: self._n], np.empty(room - self._n, dtype=kept.dtype)])
                for name, kept in self._column.items()
            }
        new = slice(self._n, self._n + size)
        for name, values in columns.items():
            self._column[name][new] = values
        self._n = new.stop
        while self._to_sink and self._n >= ROWS_OF_A_PART:
            self._pass_on(ROWS_OF_A_PART)

    def impressions(self) -> Impressions:
        """All shown ads by arrival and slot, at the end; none if a sink has taken them."""
        if not self._ordered:
            order = np.argsort(self._column["query_index"][: self._n], kind="stable")
            self._column = {name: kept[order] for name, kept in self._column.items()}
        while self._sink is not None and self._n:
            self._pass_on(min(self._n, ROWS_OF_A_PART))
        return Impressions(**{name: kept[: self._n] for name, kept in self._column.items()})

    @property
    def came(self) -> IntArray:
        """The arrivals I[Q] that were answered, ascending."""
        return np.flatnonzero(~np.isnan(self.answered_s))

    def _pass_on(self, size: int) -> None:
        assert self._sink is not None
        self._sink(Impressions(**{name: kept[:size] for name, kept in self._column.items()}))
        rest = self._n - size
        if self._to_sink:
            for kept in self._column.values():
                kept[:rest] = kept[size : self._n]
        else:
            self._column = {name: kept[size:] for name, kept in self._column.items()}
        self._n = rest


_FLAGS = ("examined", "clicked", "satisfied")
_FRACTIONS = ("time_s", "pctr", "relevance", "score", "conversion_s")
_DTYPES: dict[str, type[np.generic]] = {
    **dict.fromkeys(COLUMNS, np.int64),
    **dict.fromkeys(_FLAGS, np.bool_),
    **dict.fromkeys(_FRACTIONS, np.float64),
    "grade": np.int8,
    "recall": np.int8,
}
