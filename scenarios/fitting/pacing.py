"""Station 4 of a fit: whose bids move within a day, how much, and whether they move as pacing moves them.

A pacing bidder changes its bids slowly, so that two bids one after the other are alike. A bidder who bids
anew in each auction changes them without memory. The correlation of a change with the next one tells them
apart: noise around a level reverses itself (-1/2), a level that drifts does not (0 or more).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import polars as pl

from scenarios.fitting.auction_log import AuctionLog, Finding
from simulator.arrays import FloatArray, IntArray

DRAWS = 200
MOVED = 1e-6
"""Log bids that differ by less are the same."""


class Moves(NamedTuple):
    """What is known of the n advertisers with an ad that bid at least twice for one text on one day."""

    advertiser: IntArray  # [n]
    spread: FloatArray  # [n] standard deviation of log bids within ad, text and day
    memory: float  # correlation of a change with the next one; NaN with fewer than three pairs of changes


def fit_pacing(log: AuctionLog) -> Moves | None:
    """Moves of bids within ad, query text and day; None without times."""
    if not log.timed:
        return None
    auctions = log.auctions
    event, column = np.nonzero(auctions.candidate >= 0)
    ad = auctions.candidate[event, column]
    texts = np.unique(log.cluster).size < log.cluster.size
    table = pl.DataFrame(
        {
            "who": auctions.advertiser[ad],
            "ad": auctions.ad_id[ad],
            "text": log.cluster[event] if texts else np.zeros_like(event),
            "day": log.day[event],
            "bid": auctions.bid[ad],
        }
    ).filter(pl.col("bid") > 0)
    return moves(table)


def moves(table: pl.DataFrame) -> Moves:
    """Moves of bids in rows by time: who, ad, text, day, bid."""
    group = ["who", "ad", "text", "day"]
    rows = table.with_columns(log_bid=pl.col("bid").log()).with_columns(
        n=pl.len().over(group), change=pl.col("log_bid").diff().over(group)
    )
    rows = rows.with_columns(next=pl.col("change").shift(-1).over(group)).filter(pl.col("n") > 1)
    within = rows.group_by(group, maintain_order=True).agg(
        ((pl.col("log_bid") - pl.col("log_bid").mean()) ** 2).sum().alias("squares"),
        (pl.len() - 1).alias("freedom"),
    )
    by_who = within.group_by("who").agg(pl.col("squares").sum(), pl.col("freedom").sum()).sort("who")
    spread = np.sqrt(by_who["squares"].to_numpy() / by_who["freedom"].to_numpy())
    pairs = rows.select("change", "next").drop_nulls().to_numpy()
    memory = float("nan")
    if pairs.shape[0] >= 3 and bool((pairs.std(axis=0) > 0).all()):
        memory = float(np.corrcoef(pairs.T)[0, 1])
    return Moves(by_who["who"].to_numpy().astype(np.int64), spread, memory)


def findings(found: Moves | None, rng: np.random.Generator) -> Iterable[Finding]:
    """Share of advertisers whose bids move within a day, with Wilson's interval, and how much they move."""
    nan = float("nan")
    if found is None or not found.spread.size:
        why = "the table has no column time_s" if found is None else "no ad bid twice for a text on a day"
        yield Finding("pacing", "advertisers whose bids move", nan, nan, nan, f"not identified: {why}")
        return
    moved, n = int((found.spread > MOVED).sum()), found.spread.size
    share, z = moved / n, 1.96
    middle = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * np.sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    says = f"within ad, text and day; of {n:,} advertisers that can be told; why they move is not in a log"
    yield Finding(
        "pacing", "advertisers whose bids move", share, float(middle - half), float(middle + half), says
    )
    if moved:
        sizes = found.spread[found.spread > MOVED]
        drawn = np.median(rng.choice(sizes, (DRAWS, sizes.size)), axis=1)
        low, high = np.quantile(drawn, [0.025, 0.975])
        says = "standard deviation of their log bids: median, bootstrap interval over advertisers"
        yield Finding("pacing", "how much bids move", float(np.median(sizes)), float(low), float(high), says)
        says = (
            "of a change with the next: -0.5 bids drawn anew in each auction, 0 or more a level that drifts"
        )
        yield Finding("pacing", "correlation of changes", found.memory, nan, nan, says)
