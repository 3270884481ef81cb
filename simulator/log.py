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
        self.clicked = np.zeros((n_queries, n_slots), dtype=np.bool_)
        self.n_eligible = np.zeros(n_queries, dtype=np.int64)
        self.answered_s = np.zeros(n_queries)

    def write(
        self,
        rows: IntArray,
        *,
        column: IntArray,
        score: FloatArray,
        bid_micros: IntArray,
        price_micros: IntArray,
        clicked: BoolArray,
        n_eligible: IntArray,
        answered_s: FloatArray,
    ) -> None:
        """Record the arrivals I[Q]: [Q, S] by slot, `n_eligible` and `answered_s` [Q]."""
        self.column[rows] = column
        self.score[rows] = score
        self.bid_micros[rows] = bid_micros
        self.price_micros[rows] = price_micros
        self.clicked[rows] = clicked
        self.n_eligible[rows] = n_eligible
        self.answered_s[rows] = answered_s


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
    price_micros: IntArray  # [R] per click
    clicked: BoolArray  # [R]
    charged_micros: IntArray  # [R]
    grade: GradeArray  # [R] true

    arrival_s: FloatArray  # [Q]
    arrival_query: IntArray  # [Q]
    answered_s: FloatArray  # [Q]
    n_eligible: IntArray  # [Q] candidates that took part
    n_shown: IntArray  # [Q]

    budget_micros: IntArray  # [N]
    spent_micros: IntArray  # [N]
    ran_out: BoolArray  # [N] left before the end of the day

    def impressions(self) -> pl.DataFrame:
        """One row per shown ad; money in int64 micros."""
        first_per_query = [column.name for column in fields(self)].index("arrival_s")
        return pl.DataFrame(
            {column.name: getattr(self, column.name) for column in fields(self)[:first_per_query]}
        )

    def queries(self) -> pl.DataFrame:
        """One row per query."""
        return pl.DataFrame(
            {
                "query_index": np.arange(self.arrival_s.size),
                "time_s": self.arrival_s,
                "query": self.arrival_query,
                "answered_s": self.answered_s,
                "latency_s": self.answered_s - self.arrival_s,
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
