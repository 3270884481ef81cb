"""Station 1 of a fit: how many queries come in a day, and in which of its 24 parts."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from scipy.stats import gamma

from scenarios.fitting.auction_log import AuctionLog, Finding
from scenarios.markets.table.auctions import DAY_S
from simulator.arrays import FloatArray, IntArray

PARTS = 24
PART_S = DAY_S / PARTS


class Arrivals(NamedTuple):
    """Queries that come in each part of a day."""

    queries: IntArray
    """I[24] queries that the log has in each part of the day, over all days."""
    exposure: FloatArray
    """F[24] how often the log has seen each part of the day; 0.5 is half of the part once."""
    dispersion: float
    """Variance of the counts of days over their mean, at least 1; 1 where the log has one day."""
    days: int

    @property
    def rate(self) -> FloatArray:
        """Queries in each part of a day, F[24]; NaN where the log has not seen the part."""
        seen = self.exposure > 0
        rate: FloatArray = np.divide(self.queries, self.exposure, out=np.full(PARTS, np.nan), where=seen)
        return rate

    @property
    def shape(self) -> FloatArray:
        """Rate over the mean rate of the parts seen, F[24]: what `traffic.shape` is in a scenario."""
        relative: FloatArray = self.rate / np.nanmean(self.rate)
        return relative


def exposures(start_s: float, end_s: float) -> FloatArray:
    """Share of each part of each day that lies in a span of time, F[days, 24]; days count from 0 s."""
    days = max(int(np.ceil(end_s / DAY_S)), 1)
    edges = np.arange(days * PARTS + 1) * PART_S
    covered = np.minimum(edges[1:], end_s) - np.maximum(edges[:-1], start_s)
    shares: FloatArray = (np.maximum(covered, 0.0) / PART_S).reshape(days, PARTS)
    return shares


def fit_arrivals(log: AuctionLog, start_s: float = 0.0) -> Arrivals | None:
    """Arrivals from `start_s` to the last event; None without times or with fewer than two events.

    The last event ends the log, so it is not counted.
    """
    time_s = log.time_s
    if not log.timed or time_s.size < 2 or not time_s[-1] > start_s:
        return None
    seen = exposures(start_s, float(time_s[-1]))
    cell = np.minimum((time_s[:-1] // PART_S).astype(np.int64), seen.size - 1)
    counts = np.bincount(cell, minlength=seen.size).reshape(seen.shape)
    count, exposure = counts.sum(axis=0), seen.sum(axis=0)
    rate = np.divide(count, exposure, out=np.zeros(PARTS), where=exposure > 0)
    expected = (seen * rate).sum(axis=1)
    whole = expected > 0
    dispersion = 1.0
    if (n := int(whole.sum())) > 1:
        gap = (counts.sum(axis=1) - expected)[whole]
        dispersion = max(1.0, float((gap**2 / expected[whole]).sum()) / (n - 1))
    return Arrivals(count, exposure, dispersion, n)


def interval(count: FloatArray | IntArray, weight: FloatArray, dispersion: float) -> tuple[float, float]:
    """95% interval of sum(weight x mean) from Poisson counts, by gamma distributions.

    Fay and Feuer 1997, "Confidence intervals for directly standardized rates: a method based on the gamma
    distribution"; the variance is multiplied by the dispersion.
    """
    total, most = float(weight @ count), float(weight.max(initial=0.0))
    variance = dispersion * float(weight**2 @ count)
    low = 0.0
    if total > 0:
        low = float(gamma.ppf(0.025, total**2 / variance, scale=variance / total))
    up, spread = total + most, variance + dispersion * most**2
    return low, float(gamma.ppf(0.975, up**2 / spread, scale=spread / up)) if up > 0 else np.nan


def draw_counts(found: Arrivals, seen: FloatArray, rng: np.random.Generator) -> IntArray | None:
    """Draw how many queries come in parts of days whose exposure F[days, 24] is known; None: a part is new.

    The rate is drawn from its uncertainty, and the days scatter as the log's days do.
    """
    if bool(((seen.sum(axis=0) > 0) & (found.exposure == 0)).any()):
        return None
    phi = found.dispersion
    exposure = np.where(found.exposure > 0, found.exposure, 1.0)
    total = max(float(found.queries.sum()), 0.5)
    level = rng.gamma(total / phi, phi / total)
    mean = level * seen * (found.queries / exposure)
    if phi > 1.0:  # Poisson counts of days whose mean is gamma distributed
        day = np.maximum(mean.sum(axis=1, keepdims=True), 1e-12)
        mean = mean * rng.gamma(day / (phi - 1.0), (phi - 1.0) / day)
    return rng.poisson(mean).astype(np.int64)


def findings(found: Arrivals | None) -> Iterable[Finding]:
    """The estimates with their intervals."""
    nothing = float("nan")
    if found is None:
        says = "not identified: the table has no column time_s"
        yield Finding("arrivals", "queries a day", nothing, nothing, nothing, says)
        return
    seen = found.exposure > 0
    weight = np.where(seen, 1.0 / np.where(seen, found.exposure, 1.0), 0.0)
    low, high = interval(found.queries, weight, found.dispersion)
    over = f"Poisson; variance x {found.dispersion:.2f} between {found.days} days"
    says = over if found.days > 1 else "Poisson; one day says nothing of the scatter between days"
    if not seen.all():
        says += f"; {int((~seen).sum())} of 24 parts of the day are not in the log"
    yield Finding("arrivals", "queries a day", float(np.nansum(found.rate)), low, high, says)
    mean = float(np.nanmean(found.rate))
    for part in np.flatnonzero(seen).tolist():
        one = np.zeros(PARTS)
        one[part] = weight[part] / mean if mean > 0 else 0.0
        low, high = interval(found.queries, one, found.dispersion)
        says = "rate over the mean rate; hours count from the first event"
        yield Finding("arrivals", f"part {part + 1} of 24", float(found.shape[part]), low, high, says)
