"""A log of auctions as the fit reads it: its arrays, its query texts as clusters, and parts of it in time."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl

from scenarios.errors import TableError
from scenarios.markets.table.auctions import DAY_S, Auctions, to_arrays
from scenarios.markets.table.reading import Table, read_auctions, read_budgets
from simulator.arrays import BoolArray, FloatArray, IntArray

MOST_DAYS = 4000
"""Longest log."""


class Finding(NamedTuple):
    """One estimate with its 95% interval, and what identifies it."""

    station: str
    name: str
    value: float
    low: float
    high: float
    says: str
    """What the estimate rests on, or why the log cannot tell it."""


@dataclass(frozen=True, slots=True)
class AuctionLog:
    """U query events in the order of time."""

    auctions: Auctions
    cluster: IntArray
    """I[U] number of the query text; without texts every event is a cluster of its own."""
    timed: bool
    """Whether the table has times. Otherwise the events are spread over one day."""

    table: Table
    budgets: Table | None = None
    offset_s: float = 0.0
    """Time of the first event, where this is a later part of a log."""

    @property
    def time_s(self) -> FloatArray:
        """Time of each event since the first one of the whole log, F[U] ascending."""
        return self.auctions.time_s + self.offset_s

    @property
    def origin_s(self) -> float | None:
        """Time in the table from which days count; None without times."""
        return float(self.table.frame["time_s"].to_numpy().min()) - self.offset_s if self.timed else None

    @property
    def day(self) -> IntArray:
        """Day of each event, I[U] from 0; days count from the first event of the log."""
        return (self.time_s // DAY_S).astype(np.int64)

    @property
    def shown(self) -> BoolArray:
        """Which candidates were shown, B[U, K].

        Raises:
            TableError: the table has no outcomes.
        """
        if self.auctions.position is None or self.auctions.clicked is None or self.auctions.price is None:
            lacking = [
                name for name in ("position", "clicked", "price") if getattr(self.auctions, name) is None
            ]
            raise TableError(
                f"has no column {' and '.join(lacking)}, which a fit needs",
                file=self.auctions.path,
                remedy="add what was shown, clicked and charged",
            )
        return self.auctions.position > 0

    def split(self, at_s: float) -> tuple[AuctionLog, AuctionLog]:
        """The events before a time since the first event, and those from then on.

        Raises:
            TableError: one of the parts has no event, or the table has no times.
        """
        if not self.timed:
            raise TableError(
                "has no column time_s to split it by", file=self.table.path, remedy="add it, or use --other"
            )
        origin = self.origin_s
        early = pl.col("time_s") - origin < at_s
        parts = []
        for name, which in (("before", early), ("after", ~early)):
            frame = self.table.frame.filter(which)
            if frame.is_empty():
                raise TableError(
                    f"has no event {name} second {at_s:,.0f} of the log",
                    file=self.table.path,
                    field="column time_s",
                    remedy=f"split within its {self.time_s[-1]:,.0f} s",
                )
            parts.append(log_of(replace(self.table, frame=frame), self.budgets, origin))
        return parts[0], parts[1]


def read_log(
    path: Path | str, advertisers: Path | str | None = None, origin_s: float | None = None
) -> AuctionLog:
    """Read and check a table of auctions, and the budgets of its advertisers if there is a table of them.

    Args:
        origin_s: see `log_of`.

    Raises:
        TableError: a file cannot be read, or holds what no auction can.
    """
    budgets = None if advertisers is None else read_budgets(advertisers)
    return log_of(read_auctions(path), budgets, origin_s)


def log_of(table: Table, budgets: Table | None = None, origin_s: float | None = None) -> AuctionLog:
    """The log that a checked table holds.

    Args:
        origin_s: time in the table from which days count; None: its first event.

    Raises:
        TableError: it goes over too many days; see also `scenarios.markets.table.auctions.to_arrays`.
    """
    auctions = to_arrays(table, budgets)
    own = np.arange(auctions.query_id.len())
    cluster = own
    if "query" in table:
        texts = table.frame.select("query_id", "query").unique("query_id", keep="first")
        events = pl.DataFrame({"query_id": auctions.query_id}).join(
            texts, on="query_id", how="left", maintain_order="left"
        )
        number = events["query"].rank("dense").cast(pl.Int64)
        cluster = number.fill_null(-1).to_numpy().astype(np.int64)
        cluster = np.where(cluster >= 0, cluster, own + own.size + 1)
    timed = "time_s" in table
    if timed and auctions.days > MOST_DAYS:
        raise TableError(
            f"goes over {auctions.days:,} days, and a fit takes {MOST_DAYS:,} at most",
            file=table.path,
            field="column time_s",
            remedy="check that times are in seconds, or cut the log",
        )
    first = float(table.frame["time_s"].to_numpy().min()) if timed else 0.0
    return AuctionLog(
        auctions,
        np.unique(cluster, return_inverse=True)[1],
        timed,
        table,
        budgets,
        0.0 if origin_s is None or not timed else first - origin_s,
    )


def cluster_weights(cluster: IntArray, rng: np.random.Generator) -> IntArray:
    """How often each event I[U] is drawn, where clusters are drawn whole, with replacement."""
    n = int(cluster.max()) + 1
    return np.bincount(rng.integers(0, n, n), minlength=n)[cluster].astype(np.int64)
