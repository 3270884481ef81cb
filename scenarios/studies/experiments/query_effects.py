"""Which queries a difference between two arms rests on, and how it would vary if other queries came.

All days (and trainings) of a world are added up by query, and a metric is a ratio of sums over queries
(`simulator.measures.query_totals`), averaged over worlds. Queries of different worlds are different ones.

- The bootstrap draws queries with all their traffic (clusters) and holds the worlds: each query counts a
  Poisson number of times with mean 1, in both arms alike (Chamandy, Muralidharan, Najmi and Naidu 2012,
  "Estimating uncertainty for massive data streams"). The `ALONE` largest queries are drawn one by one, the
  others in random groups (Wolter 2007, "Introduction to Variance Estimation", chapter 2). Budgets are not
  spent anew: what a query brought stays as it was.
- A query's part of a difference: see `query_totals.difference_parts`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from simulator.arrays import FloatArray
from simulator.measures.query_totals import COLUMNS, RATIOS, difference_parts, ratios

RESAMPLES = 1000
ALONE, GROUPS = 2000, 1000
"""Queries that the bootstrap draws one by one, and groups of the others."""
TOP = 10
LARGE_SHARE = 0.2
"""A single query that explains more of a difference than this is worth a warning."""

Arm = tuple[str, str]
"""Design and name of an arm."""


@dataclass(frozen=True, slots=True)
class WorldQueries:
    """What is kept of a world: figures F[M] by arm, resampled ones F[RESAMPLES, M], and the largest parts."""

    effective: float
    """Effective number of queries: 1 / sum of squared shares of traffic."""
    value: Mapping[Arm, FloatArray]
    resampled: Mapping[Arm, FloatArray]
    largest: Mapping[Arm, Sequence[Sequence[tuple[float, str]]]]
    """By arm other than the baseline and by metric: (part, query), the largest first."""


@dataclass(slots=True)
class QueryEffects:
    """Collects worlds, one after the other."""

    baseline: str
    metrics: tuple[str, ...]
    worlds: dict[Any, WorldQueries] = field(default_factory=dict)
    """By the seed of the world; None where there is none."""

    @property
    def known(self) -> tuple[str, ...]:
        """The metrics that are ratios of sums over queries."""
        return tuple(name for name in self.metrics if name in RATIOS)

    @property
    def effective(self) -> float:
        """Effective number of queries, the mean over worlds."""
        found = [world.effective for world in self.worlds.values()]
        return float(np.mean(found)) if found else math.nan

    def add(self, world: int | None, totals: Mapping[Arm, FloatArray], texts: Sequence[str]) -> None:
        """Add a world.

        Args:
            totals: by design and arm, F[U, 9] by distinct query, see `QueryTotals.table`.
            texts: of the U queries.
        """
        came = np.flatnonzero(np.any([table.any(axis=1) for table in totals.values()], axis=0))
        tables = {arm: table[came] for arm, table in totals.items()}
        named = [texts[place] for place in came.tolist()]
        arrivals = next(iter(tables.values()))[:, COLUMNS.index("arrivals")]
        value = {arm: ratios(table.sum(axis=0), self.known) for arm, table in tables.items()}
        self.worlds[world] = WorldQueries(
            effective=float(arrivals.sum() ** 2 / (arrivals**2).sum()) if arrivals.any() else math.nan,
            value=value,
            resampled=dict(zip(tables, self._resampled(tables, 0 if world is None else world), strict=True)),
            largest={
                (design, arm): _largest(tables[design, self.baseline], table, self.known, named)
                for (design, arm), table in tables.items()
                if arm != self.baseline
            },
        )

    def _resampled(self, tables: Mapping[Arm, FloatArray], seed: int) -> list[FloatArray]:
        rng = np.random.default_rng(seed)
        clusters = _clusters(np.hstack(list(tables.values())), rng)
        sums = rng.poisson(1.0, (RESAMPLES, len(clusters))) @ clusters
        return [ratios(part, self.known) for part in np.split(sums, len(tables), axis=1)]

    def interval(self, design: str, arm: str, metric: str, confidence: float) -> dict[str, float]:
        """Bounds of the difference and of the change over queries; NaN for a metric that is not known."""
        low_high = np.full(4, math.nan)
        if metric in self.known and self.worlds:
            place = self.known.index(metric)
            own, base = (self._mean("resampled", (design, one))[:, place] for one in (arm, self.baseline))
            with np.errstate(divide="ignore", invalid="ignore"):
                found = np.stack([own - base, (own - base) / np.abs(base)])
            low_high = np.concatenate([_bounds(one, confidence) for one in found])
        names = ("difference_low", "difference_high", "change_low", "change_high")
        return {f"queries_{name}": float(end) for name, end in zip(names, low_high, strict=True)}

    def level(self, design: str, arm: str, metric: str, confidence: float) -> tuple[float, float]:
        """Bounds over queries of an arm's own figure; NaN for a metric that is not known."""
        if metric not in self.known or not self.worlds:
            return math.nan, math.nan
        found = self._mean("resampled", (design, arm))[:, self.known.index(metric)]
        low, high = _bounds(found, confidence).tolist()
        return low, high

    def top(self, design: str, arm: str) -> Iterable[dict[str, Any]]:
        """Rows of the ten largest parts of each metric's difference: metric, rank, world, query, share."""
        for place, metric in enumerate(self.known):
            own, base = (self._mean("value", (design, one))[place] for one in (arm, self.baseline))
            whole = float(own - base) * len(self.worlds)
            found = [
                (part, query, world)
                for world, kept in self.worlds.items()
                for part, query in kept.largest[design, arm][place]
            ]
            found = sorted(found, key=lambda one: -abs(one[0]))[:TOP]
            for rank, (part, query, world) in enumerate(found, start=1):
                share = part / whole if whole else math.nan
                yield {"metric": metric, "rank": rank, "world": world, "query": query, "share": share}

    def _mean(self, name: str, arm: Arm) -> FloatArray:
        """The mean over worlds of a figure of an arm."""
        return np.asarray(np.mean([getattr(world, name)[arm] for world in self.worlds.values()], axis=0))


def _bounds(resampled: FloatArray, confidence: float) -> FloatArray:
    """The interval F[2] of resampled figures F[n]. Of few queries a draw may hold none; it does not count."""
    finite = resampled[np.isfinite(resampled)]
    if not finite.size:
        return np.full(2, math.nan)
    return np.asarray(np.quantile(finite, [0.5 - confidence / 2, 0.5 + confidence / 2]))


def _clusters(totals: FloatArray, rng: np.random.Generator) -> FloatArray:
    """The rows F[U, C] of the largest queries, then the sums of random groups of the others."""
    size = np.abs(totals)
    largest = (size / np.maximum(size.sum(axis=0), 1.0)).max(axis=1)
    order = np.argsort(-largest, kind="stable")
    alone, others = order[:ALONE], rng.permutation(order[ALONE:])
    groups = [totals[group].sum(axis=0) for group in np.array_split(others, GROUPS) if group.size]
    return np.vstack([totals[alone], *groups])


def _largest(
    baseline: FloatArray, arm: FloatArray, metrics: tuple[str, ...], texts: Sequence[str]
) -> list[list[tuple[float, str]]]:
    with np.errstate(divide="ignore", invalid="ignore"):
        parts = np.nan_to_num(difference_parts(baseline, arm, metrics))
    order = np.argsort(-np.abs(parts), axis=0, kind="stable")[:TOP]
    return [
        [(float(parts[row, place]), texts[row]) for row in order[:, place]] for place in range(len(metrics))
    ]
