"""Settings over several days and worlds, with the same queries and random draws for all of them.

Days are units of one world, and worlds are units of many: as days of a world have much in common, what a
world's days tell of other worlds is their mean alone (`scenarios.compare`).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app import session
from app.setting import Setting
from app.wording import Metrics, of_day
from scenarios import Comparison, Prepared, compare


@dataclass(frozen=True, slots=True)
class Days:
    """Metrics of a setting on days 0, 1, 2, ... of a market, as many as are there; or means by world."""

    of: tuple[Metrics, ...]
    each: int = 1
    """Days of which each is the mean: more than one of worlds."""

    def mean(self, metric: str) -> float:
        return float(np.mean(self.values(metric))) if self.of else math.nan

    def values(self, metric: str) -> NDArray[np.float64]:
        return np.array([of_day(day, metric) for day in self.of])


def over_days(
    market: Prepared,
    settings: Sequence[Setting],
    *,
    whole: bool,
    after_day: Callable[[list[Days]], None] | None = None,
    until: float = math.inf,
) -> list[Days]:
    """Metrics of several settings, one day after the other, so that all of them have the same days.

    Args:
        after_day: called after each day with what there is.
        until: a time as of `time.monotonic`, after which no further day is begun.
    """
    found: list[list[Metrics]] = [[] for _ in settings]
    for day in range(session.n_days(market)):
        if day and time.monotonic() > until:
            break
        of_day = [session.metrics(market, setting, whole=whole, day=day) for setting in settings]
        for own, metrics in zip(found, of_day, strict=True):
            own.append(metrics)
        if after_day is not None:
            after_day([Days(tuple(own)) for own in found])
    return [Days(tuple(own)) for own in found]


def over_worlds(market: Prepared, settings: Sequence[Setting], *, whole: bool) -> list[Days] | None:
    """Means by world of settings, the market's own world first; None until all days are simulated."""
    markets, days = session.worlds(market), range(session.n_days(market))
    if markets is None or len(markets) < 2:
        return None
    found = []
    for setting in settings:
        means = []
        for one in markets:
            if not all(session.is_known(one, setting, whole=whole, day=day) for day in days):
                return None
            of_world = [session.metrics(one, setting, whole=whole, day=day) for day in days]
            means.append({name: float(np.mean([day[name] for day in of_world])) for name in of_world[0]})
        found.append(Days(tuple(means), len(days)))
    return found


def missing_elsewhere(market: Prepared, settings: Sequence[Setting], *, whole: bool) -> tuple[int, int]:
    """How many days of other worlds `over_worlds` still waits for, and how many there are."""
    days, others = range(session.n_days(market)), session.n_worlds(market) - 1
    total = others * len(settings) * len(days)
    markets = session.worlds(market)
    if markets is None:
        return total, total
    known = sum(
        session.is_known(one, setting, whole=whole, day=day)
        for one in markets[1:] for setting in settings for day in days
    )  # fmt: skip
    return total - known, total


def held(a: Days, b: Days, metric: str) -> Comparison:
    """B against A in a metric, day by day."""
    return compare(a.values(metric), b.values(metric))
