"""Station 8, log: what happened, in columns. One row per shown ad, and one per query."""

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from simulator.arrays import MICROS, BoolArray, FloatArray, GradeArray, IntArray

ROWS_OF_A_PART = 2**17
"""Shown ads that are handed on at once where a log is not kept: 14 MB of them."""


@dataclass(frozen=True, slots=True)
class Impressions:
    """Columns with one row per shown ad (R, by arrival and slot)."""

    query_index: IntArray  # [R] arrival 0 .. Q-1
    time_s: FloatArray  # [R] of arrival
    query: IntArray  # [R] distinct query
    slot: IntArray  # [R]
    ad: IntArray  # [R]
    advertiser: IntArray  # [R]
    bid_micros: IntArray  # [R]
    pctr: FloatArray  # [R]
    relevance: FloatArray  # [R]
    score: FloatArray  # [R] fused
    price_micros: IntArray  # [R] per click, or per impression where that is what is paid for
    examined: BoolArray  # [R]
    clicked: BoolArray  # [R]
    charged_micros: IntArray  # [R]
    satisfied: BoolArray  # [R] by the click; False where nothing depends on it
    conversion_s: FloatArray  # [R] when the click's conversion came; infinite: never
    grade: GradeArray  # [R] true

    def impressions(self) -> pl.DataFrame:
        """One row per shown ad; money in int64 micros."""
        return pl.DataFrame({name: getattr(self, name) for name in COLUMNS})


COLUMNS = tuple(column.name for column in fields(Impressions))

Sink = Callable[[Impressions], None]
"""Takes the parts of a log in their order. Their arrays are overwritten when it returns."""


def forget(part: Impressions) -> None:
    """The sink of runs of which nobody asks for the log."""


def both(first: Sink, second: Sink) -> Sink:
    """A sink that hands on to two others."""

    def hand_on(part: Impressions) -> None:
        first(part)
        second(part)

    return hand_on


@dataclass(frozen=True, slots=True)
class SimulationLog(Impressions):
    """What is known of shown ads (R), and columns with one row per query (Q), and one per account (N)."""

    arrival: IntArray  # [Q] index in the market's arrivals, which may hold some that never came
    arrival_s: FloatArray  # [Q]
    arrival_query: IntArray  # [Q]
    answered_s: FloatArray  # [Q]
    served: GradeArray  # [Q] by what the query was answered; see serving.py
    scored_pairs: IntArray  # [Q] by the scorer, in time or not
    n_eligible: IntArray  # [Q] candidates that took part
    n_shown: IntArray  # [Q]

    budget_micros: IntArray  # [N] of all days
    spent_micros: IntArray  # [N]
    ran_out: BoolArray  # [N] left before the end of a day

    def queries(self) -> pl.DataFrame:
        """One row per query."""
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

    def accounts(self) -> pl.DataFrame:
        """One row per advertiser; money in currency units."""
        return pl.DataFrame(
            {
                "advertiser": np.arange(self.budget_micros.size),
                "budget": self.budget_micros / MICROS,
                "spent": self.spent_micros / MICROS,
                "ran_out": self.ran_out,
            }
        )


class Recorder:
    """Takes down what micro-batches bring: shown ads one after the other, queries by their arrival.

    Args:
        most: shown ads that there can be.
        ordered: whether queries are answered in the order of arrival.
        sink: takes the log's parts as they fill, of ROWS_OF_A_PART each but for the last; without one they
            are kept. What is not in order is handed over at the end, when it is sorted.
    """

    def __init__(self, n_queries: int, most: int, *, ordered: bool = True, sink: Sink | None = None) -> None:
        self.n_eligible = np.zeros(n_queries, dtype=np.int64)
        self.n_shown = np.zeros(n_queries, dtype=np.int64)
        self.answered_s = np.full(n_queries, np.nan)  # NaN: the query did not come
        self.served = np.zeros(n_queries, dtype=np.int8)  # by what it was answered; see serving.py
        self.scored_pairs = np.zeros(n_queries, dtype=np.int64)  # by the scorer, in time or not
        self._ordered, self._sink = ordered, sink
        self._hands_on = ordered and sink is not None
        # Memory that is not written to costs nothing, so there is room for all.
        self._column = {
            name: np.empty(0 if self._hands_on else most, dtype=_DTYPES[name]) for name in COLUMNS
        }
        self._n = 0

    def answered(self, rows: IntArray, **columns: FloatArray | IntArray) -> None:
        """Note what is known of arrivals I[Q], by column [Q]."""
        for name, values in columns.items():
            getattr(self, name)[rows] = values

    def append(self, **columns: NDArray[Any]) -> None:
        """Add shown ads, by column [R]."""
        size = columns[COLUMNS[0]].size
        if self._hands_on and self._n + size > self._column[COLUMNS[0]].size:
            room = self._n + size + ROWS_OF_A_PART
            self._column = {
                name: np.concatenate([kept[: self._n], np.empty(room - self._n, dtype=kept.dtype)])
                for name, kept in self._column.items()
            }
        new = slice(self._n, self._n + size)
        for name, values in columns.items():
            self._column[name][new] = values
        self._n = new.stop
        while self._hands_on and self._n >= ROWS_OF_A_PART:
            self._hand_on(ROWS_OF_A_PART)

    def impressions(self) -> Impressions:
        """All shown ads by arrival and slot, at the end; none where a sink has got them."""
        if not self._ordered:
            order = np.argsort(self._column["query_index"][: self._n], kind="stable")
            self._column = {name: kept[order] for name, kept in self._column.items()}
        while self._sink is not None and self._n:
            self._hand_on(min(self._n, ROWS_OF_A_PART))
        return Impressions(**{name: kept[: self._n] for name, kept in self._column.items()})

    @property
    def came(self) -> IntArray:
        """The arrivals I[Q] that were answered, ascending."""
        return np.flatnonzero(~np.isnan(self.answered_s))

    def _hand_on(self, size: int) -> None:
        assert self._sink is not None
        self._sink(Impressions(**{name: kept[:size] for name, kept in self._column.items()}))
        rest = self._n - size
        if self._hands_on:
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
}
