"""What each distinct query brought in a run: whole numbers, of which the metrics are ratios.

The same by ad, advertiser and kind of match, and the parts that they have in a difference of two runs.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from simulator.arrays import MICROS, FloatArray, IntArray
from simulator.log import SimulationLog
from simulator.market import Market
from simulator.policies.match_types import N_GROUPS, group_of

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
    came, arrivals = np.unique(log.arrival_query % n_queries, return_counts=True)
    shown = np.searchsorted(came, log.query % n_queries)
    totals = np.column_stack([arrivals, _sums(_of_impressions(log, market), shown, came.size)])
    return QueryTotals(
        came.astype(np.int32), totals[:, : len(COUNTS)].astype(np.int32), totals[:, len(COUNTS) :]
    )


class PairTotals(NamedTuple):
    """Totals of the n pairs of a query and an ad that was shown on it, by kind of match, and of arrivals.

    Arrivals are of a query and no ad: their rows have -1 for ad, advertiser and match, and come first.
    """

    query: IntArray  # [n]
    ad: IntArray  # [n]
    advertiser: IntArray  # [n]
    match: IntArray  # [n] a place in `policies.match_types.GROUPS`
    totals: FloatArray  # [n, 9] in the order of COLUMNS


def pair_totals(log: SimulationLog, market: Market) -> PairTotals:
    """The totals of a run by query, ad and kind of match; all rows sum to the run."""
    came, arrivals = np.unique(log.arrival_query, return_counts=True)
    n_ads = market.advertiser.size
    code = (log.query.astype(np.int64) * n_ads + log.ad) * N_GROUPS + group_of(log.recall)
    order = np.argsort(code)
    code = code[order]
    starts = np.flatnonzero(np.append(True, code[1:] != code[:-1])[: code.size])
    pair = code[starts]
    totals = np.zeros((came.size + pair.size, len(COLUMNS)))
    totals[: came.size, 0] = arrivals
    if pair.size:
        totals[came.size :, 1:] = np.add.reduceat(_of_impressions(log, market)[order], starts, axis=0)
    nobody = np.full(came.size, -1)
    query_ad, match = np.divmod(pair, N_GROUPS)
    query, ad = np.divmod(query_ad, n_ads)
    return PairTotals(
        query=np.concatenate([came, query]),
        ad=np.concatenate([nobody, ad]),
        advertiser=np.concatenate([nobody, market.advertiser[ad]]),
        match=np.concatenate([nobody, match]),
        totals=totals,
    )


def difference_parts(before: FloatArray, after: FloatArray, metrics: tuple[str, ...]) -> FloatArray:
    """The part F[G, M] of each group in the difference of metrics, from totals F[G, 9] of two runs.

    A group's part of a difference of ratios P/W is (p_b - m w_b) / W_b - (p_a - m w_a) / W_a with
    m = (P_b/W_b + P_a/W_a) / 2. The parts sum to the difference. A group that one run merely shows more often
    counts by how far its own ratio is from m (Kitagawa 1955, "Components of a difference between two rates").
    """
    middle = (ratios(before.sum(axis=0), metrics) + ratios(after.sum(axis=0), metrics)) / 2
    parts = [
        (parts_of(table, metrics) - middle * wholes_of(table, metrics))
        / wholes_of(table.sum(axis=0), metrics)
        for table in (before, after)
    ]
    return np.asarray(parts[1] - parts[0])


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


def _of_impressions(log: SimulationLog, market: Market) -> IntArray:
    """What each shown ad counts as in COLUMNS, the arrivals aside: I[R, 8]."""
    users = market.users
    worth = (market.value[log.ad] * np.asarray(users.worth_of_click)[log.grade])[log.clicked]
    if users.click_model == "position":
        looked_at = np.asarray(users.examination)[log.slot]
    else:  # what is looked at depends on the ads above
        looked_at = log.examined.astype(np.float64)
    surplus = -log.charged_micros
    surplus[log.clicked] += _micros(worth)
    return np.column_stack(
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


def _sums(rows: IntArray, group: NDArray[np.integer], n: int) -> IntArray:
    """Sums I[n, C] of rows I[R, C] by group 0 .. n-1."""
    order = np.argsort(group, kind="stable")
    ends = np.searchsorted(group[order], np.arange(n + 1))
    sums = np.vstack([np.zeros((1, rows.shape[1]), dtype=np.int64), np.cumsum(rows[order], axis=0)])
    return np.asarray(sums[ends[1:]] - sums[ends[:-1]])


def _micros(amounts: FloatArray) -> IntArray:
    return np.rint(amounts * MICROS).astype(np.int64)
