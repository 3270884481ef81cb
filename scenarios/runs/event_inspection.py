"""What a table of auctions says of one event, and what a run made of it."""

from __future__ import annotations

import numpy as np
import polars as pl

from scenarios.markets.simulation import Prepared, Simulation
from scenarios.markets.table.auctions import UNGRADED, Auctions
from simulator.arrays import MICROS


def inspect_event(prepared: Prepared, simulation: Simulation, event: int) -> pl.DataFrame:
    """The candidates of event 0 .. U-1, in the table's own ids.

    Args:
        prepared: a market that is a table.
        simulation: a run of it.

    Returns:
        One row per candidate, shown ones first by slot: query_id; slot 1.. and price (null where the run did
        not show it); ad_id, advertiser_id; bid, in currency units per click; pctr; one column of relevance
        for each scorer of the table, `relevance_<name>`; grade (null where there is none).

    Raises:
        ValueError: the market is no table.
    """
    auctions, log = prepared.source, simulation.log
    if not isinstance(auctions, Auctions):
        raise ValueError("the market is the embedded world; inspect_query shows its auctions")
    column = np.flatnonzero(auctions.candidate[event] >= 0)
    ad = auctions.candidate[event, column]
    shown = log.query == event
    place = {int(a): (int(s) + 1, p / MICROS) for a, s, p in
             zip(log.ad[shown], log.slot[shown], log.price_micros[shown], strict=True)}  # fmt: skip
    grade = np.full(ad.size, UNGRADED) if auctions.grade is None else auctions.grade[event, column]
    table = pl.DataFrame(
        {
            "query_id": [auctions.query_id[event]] * ad.size,
            "slot": [place[a][0] if a in place else None for a in ad.tolist()],
            "price": [place[a][1] if a in place else None for a in ad.tolist()],
            "ad_id": auctions.ad_id[ad],
            "advertiser_id": auctions.advertiser_id[auctions.advertiser[ad]],
            "bid": auctions.bid[ad],
            "pctr": auctions.pctr[event, column],
            **{f"relevance_{name}": score[event, column] for name, score in auctions.relevance.items()},
            "grade": [None if g == UNGRADED else int(g) for g in grade.tolist()],
        },
        schema_overrides={"slot": pl.Int64, "price": pl.Float64, "grade": pl.Int64},
    )
    return table.sort("slot", nulls_last=True, maintain_order=True)
