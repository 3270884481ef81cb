"""What each distinct query brought in a run: whole numbers, of which the metrics are ratios."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from simulator.arrays import MICROS, FloatArray, IntArray
from simulator.log import SimulationLog
from simulator.market import Market

COUNTS = ("arrivals", "shown", "irrelevant", "clicks")
AMOUNTS = ("revenue", "surplus", "utility", "looked_at", "irrelevant_looked_at")
COLUMNS = (*COUNTS, *AMOUNTS)
"""Amounts are in millionths: of currency, or of an ad that is looked at as the metrics count it."""


class Ratio(NamedTuple):
    """A metric as a ratio of sums over queries."""

    parts: tuple[str, ...]
    """Columns that are added."""
    whole: str
    scale: float = 1.0


_PER_THOUSAND = 1000.0 / MICROS
RATIOS: Mapping[str, Ratio] = MappingProxyType(
    {
        "revenue_rpm": Ratio(("revenue",), "arrivals", _PER_THOUSAND),
        "irrelevant_share": Ratio(("irrelevant",), "shown"),
        "irrelevant_share_weighted": Ratio(("irrelevant_looked_at",), "looked_at"),
        "ctr": Ratio(("clicks",), "shown"),
        "mean_price": Ratio(("revenue",), "clicks", 1.0 / MICROS),
        "impressions_rpm": Ratio(("shown",), "arrivals", 1000.0),
        "clicks_rpm": Ratio(("clicks",), "arrivals", 1000.0),
        "advertiser_surplus_rpm": Ratio(("surplus",), "arrivals", _PER_THOUSAND),
        "user_utility_rpm": Ratio(("utility",), "arrivals", _PER_THOUSAND),
        "welfare_rpm": Ratio(("revenue", "surplus", "utility"), "arrivals", _PER_THOUSAND),
    }
)
"""The metrics of `market_metrics` that are ratios of sums over queries."""


class QueryTotals(NamedTuple):
    """Totals of the n distinct queries that came."""

    query: NDArray[np.int32]  # [n] ascending
    counts: NDArray[np.int32]  # [n, 4] see COUNTS
    amounts: NDArray[np.int64]  # [n, 5] see AMOUNTS

    def table(self, n_queries: int) -> FloatArray:
        """All columns F[n_queries, 9] by distinct query; 0 for those that did not come."""
        found = np.zeros((n_queries, len(COLUMNS)))
        found[self.query] = np.hstack([self.counts, self.amounts])
        return found


def query_totals(log: SimulationLog, market: Market, n_queries: int) -> QueryTotals:
    """The totals of a run.

    Args:
        n_queries: distinct queries. An arm of a split has numbers of its own for them, which differ from
            these by a multiple of it.
    """
    users = market.users
    worth = (market.value[log.ad] * np.asarray(users.worth_of_click)[log.grade])[log.clicked]
    if users.click_model == "position":
        looked_at = np.asarray(users.examination)[log.slot]
    else:  # what is looked at depends on the ads above
        looked_at = log.examined.astype(np.float64)
    surplus = -log.charged_micros
    surplus[log.clicked] += _micros(worth)
    rows = np.column_stack(
        [
            np.ones_like(log.query),
            log.grade == 0,
            log.clicked,
            log.charged_micros,
            surplus,
            _micros(looked_at * np.asarray(users.value_of_seeing)[log.grade]),
            _micros(looked_at),
            _micros(looked_at * (log.grade == 0)),
        ]
    )
    came, arrivals = np.unique(log.arrival_query % n_queries, return_counts=True)
    shown = np.searchsorted(came, log.query % n_queries)
    order = np.argsort(shown, kind="stable")
    ends = np.searchsorted(shown[order], np.arange(came.size + 1))
    sums = np.vstack([np.zeros((1, rows.shape[1]), dtype=np.int64), np.cumsum(rows[order], axis=0)])
    totals = np.column_stack([arrivals, sums[ends[1:]] - sums[ends[:-1]]])
    return QueryTotals(
        came.astype(np.int32), totals[:, : len(COUNTS)].astype(np.int32), totals[:, len(COUNTS) :]
    )


def ratios(totals: FloatArray, metrics: tuple[str, ...]) -> FloatArray:
    """Metrics F[..., M] of totals F[..., 9] in the order of COLUMNS; NaN for a ratio to nothing."""
    with np.errstate(divide="ignore", invalid="ignore"):
        found = parts_of(totals, metrics) / wholes_of(totals, metrics)
    return np.asarray(np.where(np.isfinite(found), found, np.nan))


def parts_of(totals: FloatArray, metrics: tuple[str, ...]) -> FloatArray:
    """The numerators F[..., M] of metrics."""
    chosen = [RATIOS[name] for name in metrics]
    weights = [[one.scale * (column in one.parts) for column in COLUMNS] for one in chosen]
    return np.asarray(totals @ np.array(weights).T)


def wholes_of(totals: FloatArray, metrics: tuple[str, ...]) -> FloatArray:
    """The denominators F[..., M] of metrics."""
    return np.asarray(totals[..., [COLUMNS.index(RATIOS[name].whole) for name in metrics]])


def _micros(amounts: FloatArray) -> IntArray:
    return np.rint(amounts * MICROS).astype(np.int64)
