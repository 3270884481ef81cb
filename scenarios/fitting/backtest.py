"""Backtest: what a market fitted to the first part of a log says of the second, and what came.

A prediction is an interval between two of m draws. In a draw, query texts are drawn with replacement, the
click model is fitted to them, the number of queries and each advertiser's click rate are drawn from what they
may be, and the second part's days are simulated. If what came is as one more draw, it lies between the k-th
smallest and the k-th largest of the draws with probability (m + 1 - 2k) / (m + 1).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from scenarios.errors import ScenarioError
from scenarios.fitting.arrivals import draw_counts, exposures
from scenarios.fitting.auction_log import AuctionLog
from scenarios.fitting.market import FittedMarket, arrival_times, flat_counts, simulate_days
from scenarios.fitting.ranking import GOOD, Ranking, find_ranking
from scenarios.markets.kind import Progress
from scenarios.markets.table.auctions import DAY_S, UNGRADED
from simulator import random
from simulator.arrays import MICROS, FloatArray, IntArray
from simulator.log import SimulationLog

COVERAGE = 0.95
LEAST_DRAWS = 39
"""Fewest draws that have a 95% interval."""
LARGEST = 10
"""Advertisers whose spend is predicted."""
SPEND = "spend of "


class Prediction(NamedTuple):
    """A figure of the second part."""

    figure: str
    predicted: float
    """Median of the draws."""
    low: float
    high: float
    observed: float

    @property
    def covered(self) -> bool:
        """Whether what came lies in the interval."""
        return self.low <= self.observed <= self.high


@dataclass(frozen=True, slots=True)
class Backtest:
    """Predictions of a second part of a log."""

    first: int
    """Events of the first part."""
    second: int
    ranking: Ranking
    """Of the second part."""
    draws: int
    predictions: tuple[Prediction, ...]
    warnings: tuple[str, ...]


def backtest(
    fitted: FittedMarket,
    second: AuctionLog,
    *,
    ranked: Ranking | None = None,
    known_queries: bool = False,
    draws: int = 199,
    seed: int = 1,
    progress: Progress | None = None,
) -> Backtest:
    """Predict the figures of a second part from a market fitted to the first, and compare.

    Args:
        ranked: how the second part was ranked; None: as the first.
        known_queries: take the second part's number of queries as known, not as the first part predicts it:
            an arm of an A/B test has a share of the traffic.
        draws: of the second part, at least LEAST_DRAWS; the interval is exact at 40k - 1.
        seed: of the draws.

    Raises:
        TableError: the second part has no outcomes.
        ScenarioError: there are too few draws.
    """
    if draws < LEAST_DRAWS:
        raise ScenarioError(f"a 95% interval needs at least {LEAST_DRAWS} draws", field=f"--draws {draws}")
    ranked = fitted.ranking if ranked is None else ranked
    largest = largest_advertisers(fitted)
    names = fitted.log.auctions.advertiser_id[largest]
    seen_from, seen_to, days = _window(second)
    seen = exposures(seen_from, seen_to)
    warnings = list(fitted.warnings)
    agreed = find_ranking(second, [ranked.way], ranked.auction, fitted.looked_at)
    if agreed.same_slot < GOOD:
        warnings.append(
            f"the second part was not ranked so: only {agreed.same_slot:.1%} of its ads are in the slots of "
            f"{ranked.way.scorer}, {ranked.way.rule}"
        )
    observed = observed_figures(second, names, fitted.looked_at.size)
    rows: list[dict[str, float]] = []
    for draw in range(draws):
        rng = random.generator(seed, f"backtest draw {draw}")
        counts = None
        if fitted.arrivals is not None and not known_queries:
            counts = draw_counts(fitted.arrivals, seen, rng)
        if counts is None:
            counts = flat_counts(second.cluster.size, seen, rng)
            observed.pop("queries", None)
        arrival_s = arrival_times(counts, seen_from, seen_to, rng)
        event, log = simulate_days(
            fitted, ranked, arrival_s=arrival_s, days=days, rng=rng, seed=random.text_key(f"{seed}/{draw}")
        )
        rows.append(simulated_figures(fitted, event, log, largest))
        if progress is not None:
            progress("simulating the second part", draw + 1, draws)
    if "queries" not in observed and not known_queries:
        warnings.append(
            "the first part does not show how many queries come in all parts of the second part's days: "
            "their number is taken as known"
        )
    found = [
        _prediction(name, [row.get(name, np.nan) for row in rows], value) for name, value in observed.items()
    ]
    kept = tuple(one for one in found if np.isfinite([one.low, one.high, one.observed]).all())
    return Backtest(fitted.log.cluster.size, second.cluster.size, ranked, draws, kept, tuple(warnings))


def largest_advertisers(fitted: FittedMarket) -> IntArray:
    """The advertisers with the largest expected spend in the fitted log, at most LARGEST, largest first."""
    auctions = fitted.log.auctions
    assert auctions.price is not None
    spend = fitted.clicks.examined * fitted.clicks.rates() * auctions.price
    n = auctions.advertiser_id.len()
    total = np.bincount(fitted.clicks.advertiser.ravel(), weights=spend.ravel(), minlength=n)
    order = np.argsort(-total, kind="stable")[:LARGEST]
    return order[total[order] > 0]


def observed_figures(log: AuctionLog, advertisers: pl.Series, n_slots: int) -> dict[str, float]:
    """Figures of a log, with the spend of some advertisers by name."""
    shown, auctions = log.shown, log.auctions
    assert auctions.price is not None
    assert auctions.clicked is not None
    cost = np.where(auctions.clicked, auctions.price, 0.0)[shown]
    owner = auctions.advertiser_id[auctions.advertiser[auctions.candidate[shown]]]
    by_name = pl.DataFrame({"who": owner, "cost": cost}).group_by("who").agg(pl.col("cost").sum())
    spend = dict(by_name.iter_rows())
    grade = None if auctions.grade is None else auctions.grade[shown]
    return _figures(
        n_queries=log.cluster.size,
        n_slots=n_slots,
        cost=cost,
        clicks=int(auctions.clicked[shown].sum()),
        grade=grade,
        spend={name: float(spend.get(name, 0.0)) for name in advertisers.to_list()},
    )


def simulated_figures(
    fitted: FittedMarket, event: IntArray, log: SimulationLog, largest: IntArray
) -> dict[str, float]:
    """The same figures of a simulation of the fitted market, whose arrivals are events I[Q]."""
    auctions = fitted.log.auctions
    charged = log.charged_micros / MICROS
    grade = None
    if auctions.grade is not None:
        column = (auctions.candidate[log.query] == log.ad[:, None]).argmax(axis=1)
        grade = auctions.grade[log.query, column]
    total = np.bincount(log.advertiser, weights=charged, minlength=auctions.advertiser_id.len())
    names = auctions.advertiser_id[largest].to_list()
    return _figures(
        n_queries=event.size,
        n_slots=fitted.looked_at.size,
        cost=charged,
        clicks=int(log.clicked.sum()),
        grade=grade,
        spend=dict(zip(names, total[largest].tolist(), strict=True)),
    )


def _figures(
    *,
    n_queries: int,
    n_slots: int,
    cost: FloatArray,
    clicks: int,
    grade: Any,
    spend: Mapping[str, float],
) -> dict[str, float]:
    n_shown, revenue = (
        cost.size,
        round(float(cost.sum()), 6),
    )  # whole micros, whatever order they are added in
    n = max(n_queries, 1)
    found = {
        "queries": float(n_queries),
        "revenue per 1000 queries": 1000.0 * revenue / n,
        "clicks": float(clicks),
        "CTR": clicks / n_shown if n_shown else np.nan,
        "price per click": revenue / clicks if clicks else np.nan,
        "fill": n_shown / (n * n_slots),
    }
    if grade is not None and (graded := int((grade != UNGRADED).sum())):
        found["irrelevant share"] = float((grade == 0).sum()) / graded
    return found | {SPEND + name: round(value, 6) for name, value in spend.items()}


def _window(second: AuctionLog) -> tuple[float, float, int]:
    """From when to when the second part goes, in seconds since the start of its first day, and its days."""
    start = second.offset_s % DAY_S
    end = start + float(second.time_s[-1] - second.time_s[0])
    end = max(end, start + 1.0)
    return start, end, int(np.ceil(end / DAY_S))


def _prediction(name: str, drawn: list[float], observed: float) -> Prediction:
    values = np.sort(np.asarray(drawn)[np.isfinite(drawn)])
    k = int((values.size + 1) * (1.0 - COVERAGE) / 2.0 + 1e-9)
    if k < 1:
        return Prediction(name, np.nan, np.nan, np.nan, observed)
    return Prediction(name, float(np.median(values)), float(values[k - 1]), float(values[-k]), observed)
