"""The market that is fitted to a log: its parts together, draws of its days, and its files."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import polars as pl

from scenarios.errors import ScenarioError, TableError
from scenarios.fitting import arrivals, budgets, clicks, pacing, ranking, values
from scenarios.fitting.arrivals import PART_S, PARTS, Arrivals
from scenarios.fitting.auction_log import AuctionLog, Finding, cluster_weights, log_of
from scenarios.fitting.budgets import Budgets
from scenarios.fitting.clicks import ClickModel
from scenarios.fitting.ranking import Ranking
from scenarios.fitting.values import Values
from scenarios.markets.table.auctions import DAY_S, relevance_by, table_market
from scenarios.replay.replay_run import Origin, examination_of, unit_warnings
from scenarios.replay.ways import Entry, entries, option_of
from simulator import random
from simulator.arrays import FloatArray, IntArray, to_micros
from simulator.auction import AuctionModel
from simulator.bidders import BidderModel
from simulator.clock.engine import simulate
from simulator.ledger import UNLIMITED
from simulator.log import SimulationLog
from simulator.market import with_settings
from simulator.users import UserModel

LEAST_EVENTS = 10
"""Fewest events to fit a market to."""
FEW_CLICKS = 100
"""Fewer clicks cause a warning."""


@dataclass(frozen=True, slots=True)
class FittedMarket:
    """A market fitted to a log."""

    log: AuctionLog
    """Events, with the candidates that had run out put back; see `put_back`."""
    looked_at: FloatArray
    origin: Origin
    arrivals: Arrivals | None
    clicks: ClickModel
    budgets: Budgets | None
    ranking: Ranking
    budget_micros: IntArray
    """I[N] per day, UNLIMITED where none is known."""
    put_back: int
    """Rows of candidates that were put back."""
    values: Values | None = None
    findings: tuple[Finding, ...] = field(default=(), repr=False)
    warnings: tuple[str, ...] = ()


def fit_market(
    log: AuctionLog,
    *,
    examination: Sequence[float] | None = None,
    reserve: float | None = None,
    mechanism: str | None = None,
    ways: Sequence[Entry] | None = None,
    valued: bool = True,
    seed: int = 1,
) -> FittedMarket:
    """Fit arrivals, clicks, budgets, the ranking, pacing and values to a log.

    Args:
        examination: P(slot is looked at) by slot; None estimates it from the log.
        reserve: None: the least price that was paid.
        mechanism: None: the one whose prices agree best with the log's.
        ways: rankings to try; None: those that a replay tries by default.
        valued: fit values too, which no simulation of the market needs.
        seed: of the bootstrap of intervals.

    Raises:
        TableError: the table has no outcomes, no click, or too few events.
        ScenarioError: examination or mechanism cannot be used.
    """
    n_events = log.cluster.size
    shown = log.shown
    assert log.auctions.clicked is not None
    if n_events < LEAST_EVENTS:
        raise ScenarioError(
            f"{n_events} query events are too few to fit a market to",
            file=log.auctions.path,
            remedy=f"take a log of at least {LEAST_EVENTS}",
        )
    if not log.auctions.clicked.any():
        raise TableError(
            "has no click to fit click rates to",
            file=log.auctions.path,
            field="column clicked",
            remedy="take a longer log",
        )
    looked_at, origin = examination_of(log.auctions, examination)
    least = reserve_or(log, reserve)
    try:
        auction = AuctionModel(reserve=least, mechanism=mechanism or "gsp")
    except ValueError as error:
        raise ScenarioError(str(error), field=option_of(error)) from None
    tried = entries(log.auctions) if ways is None else list(ways)
    ranked = ranking.find_ranking(log, tried, auction, looked_at)
    if mechanism is None:
        ranked = ranking.find_mechanism(log, ranked, looked_at)
    come = arrivals.fit_arrivals(log)
    found = budgets.fit_budgets(log)
    full = log if found is None else put_back(log, found)
    n_back = full.table.frame.height - log.table.frame.height
    model = clicks.fit_clicks(full, looked_at)
    rng = random.generator(seed, "intervals of a fit")
    told = (
        *arrivals.findings(come),
        *clicks.findings(full, looked_at, origin, model),
        *budgets.findings(found, rng),
        *ranking.findings(ranked, tried),
        *pacing.findings(pacing.fit_pacing(log), rng),
    )
    worth = None
    if valued:
        worth = values.fit_values(full, model.rates(), ranked, looked_at, seed=seed)
        told = (*told, *values.findings(worth, rng))
    return FittedMarket(
        log=full,
        looked_at=looked_at,
        origin=origin,
        arrivals=come,
        clicks=model,
        budgets=found,
        ranking=ranked,
        budget_micros=_budget_micros(full, log, found),
        put_back=n_back,
        values=worth,
        findings=told,
        warnings=tuple(_warnings(int(log.auctions.clicked[shown].sum()), ranked, log)),
    )


def reserve_or(log: AuctionLog, reserve: float | None) -> float:
    """The reserve that is given, or the log's.

    Raises:
        ScenarioError: it is above every price that was paid.
    """
    if reserve is None:
        return ranking.reserve_of(log)
    assert log.auctions.price is not None
    if log.shown.any() and reserve > (most := float(log.auctions.price[log.shown].max())):
        raise ScenarioError(
            f"is above every price of the log, of which the highest is {most:g}",
            field=f"--reserve {reserve:g}",
            remedy="give it in the currency of the prices, or leave it out",
        )
    return reserve


def put_back(log: AuctionLog, found: Budgets) -> AuctionLog:
    """The log with the candidates that advertisers who ran out would have been, had their budgets lasted.

    In each later event of the day whose text the advertiser had been a candidate of before, it is one again,
    with bid, pCTR, relevance and grade as they stood last. So another ranking can run out later than the log.
    Without texts nothing is put back.
    """
    if "query" not in log.table or not found.rows.ran_out.any():
        return log
    out = found.rows.ran_out
    frame = log.table.frame.with_columns(_time=pl.col("time_s") - log.origin_s)
    frame = frame.with_columns(_day=(pl.col("_time") // DAY_S).cast(pl.Int64))
    stopped = pl.DataFrame(
        {
            "advertiser_id": log.auctions.advertiser_id[found.rows.advertiser[out]],
            "_day": found.rows.day[out],
            "_stopped": found.rows.stopped_s[out],
        }
    )
    of_event = ("query_id", "time_s", "query", "_time", "_day", "row")
    own = [name for name in frame.columns if name not in of_event]
    last = frame.filter(pl.col("query").is_not_null()).select("query", "_time", *own).sort("_time")
    events = frame.unique("query_id", keep="first").select("query_id", "query", "time_s", "_time", "_day")
    later = events.join(stopped, on="_day").filter(pl.col("_time") > pl.col("_stopped")).sort("_time")
    added = later.join_asof(
        last, on="_time", by=["query", "advertiser_id"], strategy="backward", check_sortedness=False
    ).filter(pl.col("ad_id").is_not_null())
    outcome = ("position", "clicked", "price")
    blank = [pl.lit(None, frame.schema[name]).alias(name) for name in outcome if name in own]
    added = added.with_columns(*blank, row=pl.lit(0, frame.schema["row"]))
    names = log.table.frame.columns
    whole = pl.concat([frame.select(names), added.select(names)])
    return log_of(replace(log.table, frame=whole), log.budgets, log.origin_s)


def _budget_micros(full: AuctionLog, log: AuctionLog, found: Budgets | None) -> IntArray:
    """Daily budgets I[N] by the numbers of `full`: as the user gave them, otherwise those that are known."""
    if log.budgets is not None or found is None:
        return full.auctions.budget_micros
    known = pl.DataFrame({"advertiser_id": log.auctions.advertiser_id, "budget": found.known})
    names = pl.DataFrame({"advertiser_id": full.auctions.advertiser_id})
    budget = names.join(known, on="advertiser_id", how="left", maintain_order="left")["budget"].to_numpy()
    has = np.isfinite(budget)
    return np.where(has, to_micros(np.where(has, budget, 0.0)), UNLIMITED)


def _warnings(n_clicks: int, ranked: Ranking, log: AuctionLog) -> Iterable[str]:
    yield from unit_warnings(log.auctions)
    if n_clicks < FEW_CLICKS:
        yield f"only {n_clicks} clicks: fit a longer log"
    if ranked.same_slot < ranking.GOOD:
        yield (
            f"no known rule ranks as the log does: the best shows {ranked.same_slot:.1%} of the ads in their "
            "slots; name the rule, the relevance and the reserve if you know them"
        )
    if not log.timed:
        yield "no column time_s: arrivals, budgets and pacing cannot be fitted"


# Days drawn from the market


def arrival_times(counts: IntArray, start_s: float, end_s: float, rng: np.random.Generator) -> FloatArray:
    """Ascending times in [start_s, end_s) of counts I[days, 24] by the parts of the days."""
    part = np.repeat(np.arange(counts.size), counts.ravel())
    low = np.maximum(part * PART_S, start_s)
    high = np.minimum((part + 1) * PART_S, end_s)
    return np.sort(low + (high - low) * rng.random(part.size))


def simulate_days(
    fitted: FittedMarket,
    ranked: Ranking,
    *,
    arrival_s: FloatArray,
    days: int,
    rng: np.random.Generator,
    seed: int,
) -> tuple[IntArray, SimulationLog]:
    """Simulate arrivals at times F[Q], each an event of a bootstrapped log, with click rates drawn anew.

    Query texts are drawn with replacement, and events among theirs; the click model is fitted to the texts
    drawn. `arrival_s` counts from the start of the first of the days.

    Returns:
        The event I[Q] of each arrival, and what happened.
    """
    log = fitted.log
    weight = cluster_weights(log.cluster, rng)
    event = rng.choice(weight.size, arrival_s.size, p=weight / weight.sum())
    rate = np.where(log.auctions.candidate >= 0, fitted.clicks.rates(rng, weight), 0.0)
    market = table_market(
        log.auctions,
        relevance_by(log.auctions, ranked.way.scorer),
        seed=seed,
        rule=ranked.way.fusion,
        auction=ranked.auction,
        users=UserModel(examination=tuple(fitted.looked_at.tolist())),
        bidders=BidderModel(pacing_tick_s=DAY_S),
    )
    market = with_settings(
        market,
        attraction=rate,
        query=event,
        arrival_s=arrival_s,
        days=days,
        budget_micros=fitted.budget_micros,
    )
    return event, simulate(market)


def flat_counts(n: int, seen: FloatArray, rng: np.random.Generator) -> IntArray:
    """`n` arrivals spread evenly over the exposure F[days, 24]."""
    share = seen.ravel() / seen.sum()
    return rng.multinomial(n, share).reshape(-1, PARTS).astype(np.int64)
