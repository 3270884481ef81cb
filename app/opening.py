"""Where the dashboard opens: the setting that a sensible owner would start from. Pure.

The bound on irrelevant ads is such that a setting under it avoids AVOIDED of the irrelevant ads that the
scorer's best stored point avoids, against no relevance. The dashboard opens at the stored point with the most
revenue under the bound.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import polars as pl

from app.setting import BASELINE, Setting, scenario_setting, setting_at
from scenarios import StoredResult

AVOIDED = 0.75

SHARE, REVENUE = "irrelevant_share", "revenue_rpm"


def bound_of(baseline: float, shares: Iterable[float]) -> float:
    """The bound that the dashboard proposes, a share in steps of 0.1%; NaN where no share is known.

    Args:
        baseline: the share of irrelevant ads without relevance.
        shares: those of the points to choose from.
    """
    known = [share for share in shares if math.isfinite(share)]
    if not known or not math.isfinite(baseline):
        return math.nan
    bound = baseline - AVOIDED * max(baseline - min(known), 0.0)
    return rounded_up(bound)


def rounded_up(share: float) -> float:
    """A share in steps of 0.1%."""
    return math.ceil(round(1000 * share, 6)) / 1000


def opening_setting(result: StoredResult) -> Setting:
    """The stored point of the scenario's own scorer with the most revenue under `bound_of`; else its own."""
    own = scenario_setting(result.scenario)
    best = cheapest(_points_of(result.points, own.scorer), stored_bound(result))
    found = None if best is None else setting_at(result.scenario, own.scorer, best["field"], best["value"])
    return found or own


def stored_bound(result: StoredResult) -> float:
    """`bound_of` the stored points of the scenario's own scorer."""
    points, scorer = result.points, result.scenario.scorer
    baseline = points.filter(pl.col("kind") == "compare", pl.col("scorer") == BASELINE)
    share = float(baseline[SHARE][0]) if len(baseline) else math.nan
    return bound_of(share, [float(row[SHARE]) for row in _points_of(points, scorer)])


def cheapest(points: Iterable[Mapping[str, Any]], bound: float) -> Mapping[str, Any] | None:
    """The point with the most revenue among those with at most `bound` irrelevant ads."""
    under = [one for one in points if one[SHARE] <= bound + 1e-12 and math.isfinite(one[REVENUE])]
    return max(under, key=lambda one: float(one[REVENUE]), default=None)


def _points_of(points: pl.DataFrame, scorer: str) -> list[dict[str, Any]]:
    if not len(points) or scorer == BASELINE:
        return []
    fields = pl.col("field").fill_null("")
    named = points.with_columns(field=fields, value=pl.col("value").fill_null(0.0))
    ranks = fields.str.starts_with("fusion.") & (pl.col("kind") == "sweep")
    return named.filter(pl.col("scorer") == scorer, ranks).to_dicts()
