"""Station 3 of a fit: who ran out of budget, and how large budgets are.

The rule: on a day, an advertiser's queries are the events of the texts in which the log has it as a candidate
somewhere (all events, where there are no texts). It took part in c of the n queries of the day up to its last
one, and in none of the m after that. If its queries came in any order alike, all c would be among the first n
with probability (n over c) / (n + m over c), a permutation test. If that is below ERROR, the advertiser has
stopped, and ERROR bounds the chance of saying so of one that has not. One that is back on a later day ran out
of budget, and its budget is what it spent on that day. One that never comes back may have left; it ran out
only if the day is the last of the log.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import polars as pl
from scipy.special import gammaln
from scipy.stats import CensoredData, ecdf, norm

from scenarios.fitting.auction_log import AuctionLog, Finding
from simulator.arrays import BoolArray, FloatArray, IntArray

ERROR = 1e-3
"""Largest chance, for one advertiser and day, that one who stayed is taken for one who ran out."""
LEAST_UNCENSORED = 2
"""Fewest known budgets to fit a distribution to."""


class DaysOfAdvertisers(NamedTuple):
    """One row for each advertiser and day on which it took part, R rows."""

    advertiser: IntArray  # [R]
    day: IntArray  # [R]
    spent: FloatArray  # [R] currency
    chance: FloatArray  # [R] of stopping so early if the order of queries meant nothing
    stopped_s: FloatArray  # [R] time of its last query of the day
    ran_out: BoolArray  # [R]


class Budgets(NamedTuple):
    """Budgets per day of N advertisers, and the lognormal distribution that they come from."""

    known: FloatArray  # [N] mean spend of the days on which it ran out; NaN: it never did
    at_least: FloatArray  # [N] largest spend of a day; NaN: it took no part
    days_out: IntArray  # [N]
    log_mean: float  # of all budgets, NaN: not identified
    log_sigma: float
    rows: DaysOfAdvertisers


def advertiser_days(
    *,
    advertiser: IntArray,
    shown_cost: FloatArray,
    cluster: IntArray,
    day: IntArray,
    time_s: FloatArray,
    last_day: int,
) -> DaysOfAdvertisers:
    """Apply the rule of this module to U events by time.

    Args:
        advertiser: I[U, K] of the candidates, -1 in padding.
        shown_cost: F[U, K] what the candidate was charged, 0 where it was not clicked.
        cluster: I[U] of the query texts; one number for all where there are no texts.
    """
    event, column = np.nonzero(advertiser >= 0)
    took = pl.DataFrame(
        {
            "who": advertiser[event, column],
            "event": event,
            "day": day[event],
            "cluster": cluster[event],
            "cost": shown_cost[event, column],
        }
    )
    events = pl.DataFrame({"event": np.arange(day.size), "day": day, "cluster": cluster})
    days = took.group_by("who", "day").agg(
        pl.len().alias("c"), pl.col("event").max().alias("last"), pl.col("cost").sum().alias("spent")
    )
    theirs = took.select("who", "cluster").unique().join(events, on="cluster")
    n_and_m = (
        theirs.join(days.select("who", "day", "last"), on=["who", "day"])
        .group_by("who", "day")
        .agg(
            (pl.col("event") <= pl.col("last")).sum().alias("n"),
            (pl.col("event") > pl.col("last")).sum().alias("m"),
        )
    )
    table = days.join(n_and_m, on=["who", "day"]).sort("who", "day")
    c, n, m = (table[name].to_numpy().astype(np.float64) for name in ("c", "n", "m"))
    chance = np.exp(gammaln(n + 1) - gammaln(n - c + 1) - gammaln(n + m + 1) + gammaln(n + m - c + 1))
    who, on = table["who"].to_numpy(), table["day"].to_numpy()
    final = np.zeros(int(who.max(initial=0)) + 1, dtype=np.int64)
    np.maximum.at(final, who, on)
    back = (on < final[who]) | (on == last_day)
    spent = table["spent"].to_numpy()
    return DaysOfAdvertisers(
        advertiser=who.astype(np.int64),
        day=on.astype(np.int64),
        spent=spent,
        chance=chance,
        stopped_s=time_s[table["last"].to_numpy()],
        ran_out=(chance < ERROR) & back & (spent > 0),
    )


def fit_budgets(log: AuctionLog) -> Budgets | None:
    """Who ran out in a log; None without times.

    Raises:
        TableError: the table has no outcomes.
    """
    shown, auctions = log.shown, log.auctions
    if not log.timed:
        return None
    assert auctions.price is not None
    assert auctions.clicked is not None
    met = auctions.candidate >= 0
    texts = np.unique(log.cluster).size < log.cluster.size
    rows = advertiser_days(
        advertiser=np.where(met, auctions.advertiser[auctions.candidate], -1),
        shown_cost=np.where(shown & auctions.clicked, auctions.price, 0.0),
        cluster=log.cluster if texts else np.zeros_like(log.cluster),
        day=log.day,
        time_s=log.time_s,
        last_day=int(log.day[-1]),
    )
    return summary(rows, auctions.advertiser_id.len())


def summary(rows: DaysOfAdvertisers, n: int) -> Budgets:
    """Budgets of n advertisers from their days."""
    out = rows.ran_out
    days_out = np.bincount(rows.advertiser[out], minlength=n)
    spent_out = np.bincount(rows.advertiser[out], weights=rows.spent[out], minlength=n)
    known = np.divide(spent_out, days_out, out=np.full(n, np.nan), where=days_out > 0)
    most = np.full(n, -1.0)
    np.maximum.at(most, rows.advertiser, rows.spent)
    at_least = np.where(most >= 0, most, np.nan)
    log_mean, log_sigma = _lognormal(known, at_least)
    return Budgets(known, at_least, days_out, log_mean, log_sigma, rows)


def _censored(known: FloatArray, at_least: FloatArray) -> CensoredData:
    """Log budgets: known ones, and the others from below. Who spent nothing says nothing."""
    exact = known[known > 0]
    bound = at_least[np.isnan(known) & (at_least > 0)]
    return CensoredData(uncensored=np.log(exact), right=np.log(bound))


def _lognormal(known: FloatArray, at_least: FloatArray) -> tuple[float, float]:
    """Mean and deviation of log budgets by maximum likelihood with censoring; NaN with too few known."""
    if np.unique(known[known > 0]).size < LEAST_UNCENSORED:
        return float("nan"), float("nan")
    mean, sigma = norm.fit(_censored(known, at_least))
    return float(mean), float(sigma)


def findings(found: Budgets | None, rng: np.random.Generator, draws: int = 100) -> Iterable[Finding]:
    """How many ran out, and the median budget by Kaplan-Meier and by the lognormal distribution."""
    nan = float("nan")
    if found is None:
        says = "not identified: the table has no column time_s"
        yield Finding("budgets", "advertisers that ran out", nan, nan, nan, says)
        return
    took = int((~np.isnan(found.at_least)).sum())
    out = int((found.days_out > 0).sum())
    wrong = float(np.minimum(found.rows.chance, ERROR).sum())
    says = (
        f"stopped before the end of a day though their queries came; at most {wrong:.2g} of "
        f"{found.rows.day.size:,} advertiser-days wrong by chance; {took - out:,} of {took:,} are bounded "
        "from below alone"
    )
    yield Finding("budgets", "advertisers that ran out", float(out), nan, nan, says)
    if np.isnan(found.log_mean):
        says = f"not identified: fewer than {LEAST_UNCENSORED} budgets are known"
        yield Finding("budgets", "median budget", nan, nan, nan, says)
        return
    curve = ecdf(_censored(found.known, found.at_least)).sf
    with warnings.catch_warnings():  # where survival is 1 or 0 the band is undefined, and NaN
        warnings.simplefilter("ignore", RuntimeWarning)
        band = curve.confidence_interval(method="log-log")
    value, low, high = (
        _first_below(line.quantiles, line.probabilities) for line in (curve, band.low, band.high)
    )
    says = "Kaplan-Meier: assumes that who never ran out has budgets like the others"
    yield Finding("budgets", "median budget, Kaplan-Meier", value, low, high, says)
    rows = np.flatnonzero((found.known > 0) | (found.at_least > 0))
    fits = []
    for _ in range(draws):
        some = rng.choice(rows, rows.size)
        fits.append(_lognormal(found.known[some], found.at_least[some]))
    drawn = np.asarray(fits)
    ends = np.full((2, 2), nan)
    if np.isfinite(drawn).any():
        ends = np.nanquantile(drawn, [0.025, 0.975], axis=0)
    says = "lognormal by maximum likelihood with censoring; interval: bootstrap of advertisers"
    value, low, high = np.exp([found.log_mean, *ends[:, 0]]).tolist()
    yield Finding("budgets", "median budget, lognormal", value, low, high, says)
    yield Finding(
        "budgets", "spread of log budgets", found.log_sigma, float(ends[0, 1]), float(ends[1, 1]), says
    )


def _first_below(log_budget: FloatArray, survival: FloatArray) -> float:
    """Budget at which survival falls to a half; NaN where it does not."""
    below = np.flatnonzero(survival <= 0.5)
    return float(np.exp(log_budget[below[0]])) if below.size else float("nan")
