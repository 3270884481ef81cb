"""Makes arrays and a market of a table of auctions: each query event is an arrival with its own bids."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from relevance.oracle import GRADE_GAIN
from scenarios.errors import TableError, did_you_mean, quoted
from scenarios.markets.table.columns import RELEVANCE
from scenarios.markets.table.reading import Table
from simulator.arrays import MICROS, BoolArray, FloatArray, GradeArray, IntArray, to_micros
from simulator.auction import AuctionModel
from simulator.bidders import BidderModel
from simulator.fusion import FusionRule
from simulator.ledger import UNLIMITED
from simulator.market import Market
from simulator.pairs import PairTables
from simulator.scoring import RelevanceSource
from simulator.serving import ServingModel
from simulator.users import UserModel

DAY_S = 86_400.0
MAX_CELLS = 50_000_000
"""Most numbers of an array: query events times the candidates of the longest one."""
UNGRADED = -1


@dataclass(frozen=True, slots=True)
class Auctions:
    """A table as arrays: U query events by time, their K candidates in the order of the file, -1 padding.

    An ad that bids differently in two events is two of the A ads here, since a market has one bid per ad.
    """

    path: Path
    query_id: pl.Series  # [U]
    ad_id: pl.Series  # [A]
    advertiser_id: pl.Series  # [N]
    candidate: IntArray  # [U, K]
    advertiser: IntArray  # [A]
    bid: FloatArray  # [A] currency per click
    pctr: FloatArray  # [U, K]
    relevance: Mapping[str, FloatArray]  # [U, K] by name
    grade: GradeArray | None  # [U, K] UNGRADED where not judged
    position: IntArray | None  # [U, K] shown in this slot, from 1; 0 not shown
    clicked: BoolArray | None  # [U, K]
    price: FloatArray | None  # [U, K] currency per click, 0 where not shown
    pair: IntArray | None  # [U, K] number of the pair of query text and ad, -1 without a text
    click_rate: FloatArray | None  # [U, K] by which simulated users click; None: pCTR
    time_s: FloatArray  # [U] ascending, from 0
    budget_micros: IntArray  # [N] per day

    @property
    def days(self) -> int:
        """Days from the first event to the last, begun ones too."""
        return int(self.time_s[-1] // DAY_S) + 1

    @property
    def graded(self) -> bool:
        """Whether every candidate has a grade."""
        return self.grade is not None and bool((self.grade[self.candidate >= 0] != UNGRADED).all())

    @property
    def scorers(self) -> tuple[str, ...]:
        """Scorers that these auctions can be ranked by."""
        return ("none", *self.relevance, *(("oracle",) if self.graded else ()))


def to_arrays(table: Table, budgets: Table | None = None) -> Auctions:
    """The arrays of a table of auctions, with the daily budgets of a table of advertisers, if any.

    Without times, the events are spread evenly over a day in the order of the file.

    Raises:
        TableError: one event has so many candidates that the arrays would not fit, or no advertiser has a
            budget in the table of budgets.
    """
    frame = table.frame
    by_time = "time_s" in table
    events = frame.group_by("query_id", maintain_order=True).agg(
        pl.len().alias("n"), pl.col("time_s").first() if by_time else pl.lit(0.0).alias("time_s")
    )
    events = events.sort("time_s", maintain_order=True).with_row_index("event")
    shape = events.height, int(events["n"].max() or 0)  # type: ignore[arg-type]
    if shape[0] * shape[1] > MAX_CELLS:
        raise TableError(
            f"{shape[0]:,} events with up to {shape[1]:,} candidates need too much memory",
            file=table.path,
            remedy="split the table by time, or keep fewer candidates of the longest events",
        )
    if "query" in table:
        pair = pl.struct("query", "ad_id").rank("dense").cast(pl.Int64)
        frame = frame.with_columns(pair=pl.when(pl.col("query").is_not_null()).then(pair))
    frame = frame.join(events.select("query_id", "event"), on="query_id", maintain_order="left")
    row = frame["event"].to_numpy().astype(np.int64)
    column = frame.select(pl.int_range(pl.len()).over("query_id")).to_series().to_numpy()

    def spread(name: str, empty: float) -> FloatArray:
        values = np.full(shape, empty)
        values[row, column] = frame[name].cast(pl.Float64).fill_null(empty).to_numpy()
        return values

    ads = frame.unique(["ad_id", "bid"], keep="first", maintain_order=True)
    ads = ads.select("ad_id", "bid", "advertiser_id").with_row_index("ad")
    owners = ads.unique("advertiser_id", keep="first", maintain_order=True)
    owners = owners.select("advertiser_id").with_row_index("owner")
    candidate = np.full(shape, -1, dtype=np.int64)
    candidate[row, column] = frame.join(
        ads.select("ad", "ad_id", "bid"), on=["ad_id", "bid"], maintain_order="left"
    )["ad"].to_numpy()
    time_s = events["time_s"].to_numpy() if by_time else np.arange(shape[0]) * (DAY_S / shape[0])
    return Auctions(
        path=table.path,
        query_id=events["query_id"],
        ad_id=ads["ad_id"],
        advertiser_id=owners["advertiser_id"],
        candidate=candidate,
        advertiser=ads.join(owners, on="advertiser_id", maintain_order="left")["owner"]
        .to_numpy()
        .astype(np.int64),
        bid=ads["bid"].to_numpy(),
        pctr=spread("pctr", 0.0),
        relevance={name: spread(RELEVANCE + name, 0.0) for name in table.relevance},
        grade=spread("grade", UNGRADED).astype(np.int8) if "grade" in table else None,
        position=spread("position", 0.0).astype(np.int64) if "position" in table else None,
        clicked=spread("clicked", 0.0) > 0 if "clicked" in table else None,
        price=spread("price", 0.0) if "price" in table else None,
        pair=spread("pair", -1.0).astype(np.int64) if "query" in table else None,
        click_rate=spread("click_rate", 0.0) if "click_rate" in table else None,
        time_s=time_s - time_s[0],
        budget_micros=_budgets(owners, budgets),
    )


def relevance_by(auctions: Auctions, scorer: str) -> FloatArray:
    """The relevance F[U, K] to rank by (0 in padding): 1 for "none", the grades' gain for "oracle".

    Raises:
        TableError: the table has no such column, or lacks grades.
    """
    met = auctions.candidate >= 0
    if scorer in auctions.relevance:
        return auctions.relevance[scorer]
    if scorer == "none":
        return met.astype(np.float64)
    if scorer == "oracle":
        if auctions.grade is None or not auctions.graded:
            missing = "has no column grade" if auctions.grade is None else "has candidates without a grade"
            reason = f"{missing}, which the scorer oracle needs"
            raise TableError(reason, file=auctions.path, remedy="leave that out")
        return np.where(met, np.asarray(GRADE_GAIN)[auctions.grade], 0.0)
    raise no_column(auctions.path, scorer, auctions.scorers)


def no_column(path: Path | str, scorer: str, known: Sequence[str]) -> TableError:
    """The error that a table has no relevance by a scorer, with those that it has."""
    near = did_you_mean(scorer.removeprefix(RELEVANCE), known)
    reason = f"has no column {RELEVANCE}{scorer}{near} (scorers of this table are {', '.join(known)})"
    return TableError(reason, file=path)


def table_market(
    auctions: Auctions,
    relevance: RelevanceSource,
    *,
    seed: int,
    rule: FusionRule,
    auction: AuctionModel | None = None,
    users: UserModel | None = None,
    bidders: BidderModel | None = None,
    serving: ServingModel | None = None,
) -> Market:
    """A market in which these auctions come one after the other.

    Bids are those of the table, so no advertiser paces, and a value is the bid divided by shading. Users
    click as the table's click_rate says, or without that its pCTR. Missing grades are 0, so metrics that need
    grades have no meaning then.
    """
    bidders = bidders or BidderModel()
    attraction = auctions.pctr if auctions.click_rate is None else auctions.click_rate
    grade = np.zeros(auctions.candidate.shape, dtype=np.int8) if auctions.grade is None else auctions.grade
    return Market(
        seed=seed,
        pairs=PairTables(auctions.candidate, np.maximum(grade, 0), attraction, auctions.pctr),
        relevance=relevance,
        advertiser=auctions.advertiser,
        value=auctions.bid / bidders.shading,
        budget_micros=auctions.budget_micros,
        paced=np.zeros(auctions.budget_micros.size, dtype=np.bool_),
        arrival_s=auctions.time_s,
        query=np.arange(auctions.time_s.size),
        horizon_s=DAY_S,
        rule=rule,
        auction=auction or AuctionModel(),
        users=users or UserModel(),
        bidders=bidders,
        serving=serving or ServingModel(),
        days=auctions.days,
    )


def _budgets(owners: pl.DataFrame, budgets: Table | None) -> IntArray:
    """Daily budgets in micros I[N], UNLIMITED where there is none."""
    if budgets is None:
        return np.full(owners.height, UNLIMITED, dtype=np.int64)
    if not owners.join(budgets.frame, on="advertiser_id", how="semi").height:
        raise TableError(
            "has a budget for none of the advertisers of the auctions",
            file=budgets.path,
            remedy=f"write their ids, such as {quoted(owners['advertiser_id'][0])}, or leave the table out",
        )
    found = owners.join(budgets.frame, on="advertiser_id", how="left", maintain_order="left")["budget"]
    micros: IntArray = to_micros(found.fill_null(UNLIMITED / MICROS).to_numpy())
    return micros
