"""Station 8, log: what happened, in columns. One row per shown ad, and one per query."""

from dataclasses import dataclass, fields

import numpy as np
import polars as pl

from simulator.arrays import MICROS, BoolArray, FloatArray, GradeArray, IntArray


class Recorder:
    """Collects what micro-batches bring, in whichever order they are answered, in the order of arrival."""

    def __init__(self, n_queries: int, n_slots: int) -> None:
        self.column = np.full((n_queries, n_slots), -1, dtype=np.int64)  # candidate column, -1 unfilled
        self.score = np.zeros((n_queries, n_slots))
        self.bid_micros = np.zeros((n_queries, n_slots), dtype=np.int64)
        self.price_micros = np.zeros((n_queries, n_slots), dtype=np.int64)
        self.charged_micros = np.zeros((n_queries, n_slots), dtype=np.int64)
        self.examined = np.zeros((n_queries, n_slots), dtype=np.bool_)
        self.clicked = np.zeros((n_queries, n_slots), dtype=np.bool_)
        self.satisfied = np.zeros((n_queries, n_slots), dtype=np.bool_)
        self.conversion_s = np.full((n_queries, n_slots), np.inf)  # when it came; infinite: never
        self.n_eligible = np.zeros(n_queries, dtype=np.int64)
        self.answered_s = np.full(n_queries, np.nan)  # NaN: the query did not come
        self.served = np.zeros(n_queries, dtype=np.int8)  # by what it was answered; see serving.py
        self.scored_pairs = np.zeros(n_queries, dtype=np.int64)  # by the scorer, in time or not

    def write(self, rows: IntArray, **columns: FloatArray | IntArray | BoolArray) -> None:
        """Record columns of the arrivals I[Q]: [Q, S] by slot, or [Q]."""
        for name, values in columns.items():
            getattr(self, name)[rows] = values

    @property
    def came(self) -> IntArray:
        """The arrivals I[Q] that were answered, ascending."""
        return np.flatnonzero(~np.isnan(self.answered_s))


@dataclass(frozen=True, slots=True)
class SimulationLog:
    """Columns with one row per shown ad (R, by arrival and slot), one per query (Q), one per account (N)."""

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

    def impressions(self) -> pl.DataFrame:
        """One row per shown ad; money in int64 micros."""
        first_per_query = [column.name for column in fields(self)].index("arrival")
        return pl.DataFrame(
            {column.name: getattr(self, column.name) for column in fields(self)[:first_per_query]}
        )

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
