"""Figures of result pages: those of a log, and those that another rule makes of the same auctions."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from scenarios.markets.table.auctions import UNGRADED, Auctions
from scenarios.replay.click_rates import fitted_rates, pairs_of
from scenarios.replay.estimates import Logged, Pages, effective_sample_size, estimate, gain
from simulator import journey
from simulator.arrays import MICROS, BoolArray, FloatArray, GradeArray, IntArray, to_micros
from simulator.ledger import UNLIMITED
from simulator.market import Market

CHUNK = 4096


def logged_figures(auctions: Auctions, looked_at: FloatArray) -> dict[str, Any]:
    """The log's own figures, as far as the table has them; `looked_at` F[S] is the slots' examination."""
    row: dict[str, Any] = {"kind": "log", "queries": float(auctions.candidate.shape[0])}
    if auctions.position is None:
        return row
    shown = auctions.position > 0
    n_shown = float(shown.sum())
    row |= {
        "fill": n_shown / (row["queries"] * looked_at.size),
        **_grades(None if auctions.grade is None else auctions.grade[shown]),
    }
    if auctions.clicked is None:
        return row
    row["clicks"] = float(auctions.clicked.sum())
    examined = _padded(looked_at, auctions.position)
    row["clicks_model"] = float((examined * auctions.pctr)[shown].sum())
    if auctions.price is not None:
        row["revenue"] = float(auctions.price[auctions.clicked].sum())
        row["revenue_model"] = float((examined * auctions.pctr * auctions.price)[shown].sum())
        row["mean_price"] = row["revenue"] / row["clicks"] if row["clicks"] else math.nan
    return row


def logged_pages(auctions: Auctions, looked_at: FloatArray) -> Logged | None:
    """What the log showed, with click rates fitted to it; None where the table has no clicks."""
    if auctions.position is None or auctions.clicked is None:
        return None
    examined = _padded(looked_at, auctions.position)
    rate = fitted_rates(auctions, examined)
    return Logged(examined, auctions.clicked, rate, pairs_of(auctions))


def replayed_figures(auctions: Auctions, market: Market, clip: float, log: Logged | None) -> dict[str, float]:
    """All figures of one way to rank: see `scenarios.replay.replay_run.replay`; `log` as of `logged`."""
    column, price = auction_all(market, auctions)
    looked_at = np.asarray(market.users.examination)
    shown, at = column >= 0, np.maximum(column, 0)

    def take(values: FloatArray | IntArray | BoolArray) -> Any:
        return np.where(shown, np.take_along_axis(values, at, axis=1), 0)

    expected = looked_at * take(auctions.pctr)
    n_shown, n_queries = float(shown.sum()), float(column.shape[0])
    grades = None
    if auctions.grade is not None:
        grades = np.take_along_axis(auctions.grade, at, axis=1)[shown]
    by_model = (price * expected).sum()
    figures = {
        "queries": n_queries,
        "fill": n_shown / (n_queries * looked_at.size),
        **_grades(grades),
        "clicks_model": float(expected.sum()),
        "revenue_model": float(by_model),
        "mean_price": float(by_model / expected.sum()) if expected.any() else math.nan,
        "revenue_in_budget": _in_budget(market, auctions, take, price * expected, shown),
    }
    if auctions.position is None:
        return figures
    position = take(auctions.position)
    before = _padded(looked_at, position)
    seen = before > 0
    weight = np.divide(
        np.broadcast_to(looked_at, before.shape), before, out=np.zeros_like(before), where=seen
    )
    slots = np.arange(1, looked_at.size + 1)
    figures |= {
        "covered": float(seen.sum()) / n_shown if n_shown else math.nan,
        "same_slot": float((position == slots).sum()) / n_shown if n_shown else math.nan,
        "effective_impressions": effective_sample_size(np.minimum(weight[seen], clip)),
        "clipped": float((weight[seen] > clip).mean()) if seen.any() else math.nan,
    }
    if auctions.clicked is None:
        return figures
    assert log is not None
    pages = Pages(
        price=price,
        expected=expected,
        fitted=looked_at * take(log.rate),
        looked_at=np.where(shown, looked_at, 0.0),
        pair=take(log.pair),
        weight=weight,
        clicked=seen & (take(auctions.clicked) > 0),
    )
    figures["clicks_covered"] = float(pages.clicked.sum())
    for name, worth in (("clicks", None), ("revenue", price)):
        found = estimate(pages, log, clip, worth)._asdict()
        for kind in ("fitted", "ips", "sn", "dr"):
            total, error = found[kind]
            figures |= {f"{name}_{kind}": total, f"{name}_{kind}_se": error}
    if auctions.price is not None:
        earned = np.where(auctions.clicked, auctions.price, 0.0).sum(axis=1)
        total, error = gain(pages, clip, earned)
        if earned.any():
            figures |= {"change": total / earned.sum(), "change_se": error / earned.sum()}
    figures["revenue_model_se"] = found["model"].error
    return figures


def auction_all(market: Market, auctions: Auctions) -> tuple[IntArray, FloatArray]:
    """Columns I[U, S] (-1 empty) and prices per click F[U, S] of all pages."""
    bid = to_micros(auctions.bid) / MICROS
    active = np.ones(market.budget_micros.size, dtype=np.bool_)
    columns, prices = [], []
    for start in range(0, market.query.size, CHUNK):
        rows = np.arange(start, min(start + CHUNK, market.query.size))
        outcome = journey.rank(market, journey.gather(market, bid, rows), active)
        columns.append(outcome.ranking[:, :-1])
        prices.append(outcome.price_micros / MICROS)
    return np.concatenate(columns), np.concatenate(prices)


def _padded(looked_at: FloatArray, position: IntArray) -> FloatArray:
    """Examination F[...] of positions I[...] from 1; 0 where not shown or beyond the slots known."""
    known = (position > 0) & (position <= looked_at.size)
    return np.where(known, looked_at[np.where(known, position - 1, 0)], 0.0)


def _grades(grade: GradeArray | None) -> dict[str, float]:
    """Shares of shown ads with grades I[R]: irrelevant among the graded, and graded."""
    if grade is None or not (graded := int((grade != UNGRADED).sum())):
        return {"irrelevant_share": math.nan, "graded_share": 0.0}
    return {"irrelevant_share": float((grade == 0).sum()) / graded, "graded_share": graded / grade.size}


def _in_budget(market: Market, auctions: Auctions, take: Any, spend: FloatArray, shown: Any) -> float:
    """Expected revenue with each advertiser's spend F[U, S] counted up to its budget for all days."""
    owner = take(market.advertiser[auctions.candidate])
    total = np.bincount(owner[shown], weights=spend[shown], minlength=market.budget_micros.size)
    limit = np.where(market.budget_micros >= UNLIMITED, np.inf, market.budget_micros / MICROS * auctions.days)
    return float(np.minimum(total, limit).sum())
