"""Who gains and who loses in a market under two rankings: concentration, small and large, newcomers. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from app.language import t_plain as t
from app.wording import MISSING, Metrics, is_better, is_clear, metric_name
from scenarios import METRICS, Comparison, PairTotals, compare, is_share
from simulator.measures.query_totals import COLUMNS

SHARES = (
    "spend_top10_share",
    "impression_top10_share",
    "small_spend_share",
    "small_impression_share",
    "large_spend_share",
    "large_impression_share",
    "newcomer_impression_share",
    "loss_share",
    "ran_out_share",
    "lost_visit_share",
)
NUMBERS = ("advertisers_by_spend", "advertisers_by_impressions", "queries_by_revenue", "ads_by_impressions")
"""Effective numbers: as many equal ones would be as concentrated."""
RETURNS = ("small_return", "large_return")
OTHERS = ("newcomer_first_click_s", "price_cv")
FIGURES = (*SHARES, *NUMBERS, *RETURNS, *OTHERS)


@dataclass(frozen=True, slots=True)
class Held:
    """A figure under A and B over the same days."""

    name: str
    a: NDArray[np.float64]  # [D] by day
    b: NDArray[np.float64]  # [D]

    @property
    def against(self) -> Comparison:
        return compare(self.a, self.b)

    @property
    def better(self) -> bool | None:
        """Whether B is clearly better; None where the days do not tell, or neither is better by itself."""
        return is_better(self.against.difference, wants_more(self.name))


def wants_more(name: str) -> bool | None:
    """Whether more of a figure is better; None: neither by itself."""
    return METRICS[name].more_is_better if name in METRICS else None


def figure_name(name: str) -> str:
    """A figure's name as a reader knows it."""
    return t(f"health.{name}") if name in NUMBERS else metric_name(name)


def held_figures(
    a: Sequence[Metrics], b: Sequence[Metrics], who_a: Sequence[PairTotals], who_b: Sequence[PairTotals]
) -> list[Held]:
    """The figures that are known, over D days.

    Args:
        a, b: metrics by day.
        who_a, who_b: what queries and ads brought, by day; none leaves out what needs it.
    """
    found = []
    for name in FIGURES:
        if name in ("queries_by_revenue", "ads_by_impressions"):
            column, by = ("revenue", "query") if name == "queries_by_revenue" else ("shown", "ad")
            sides = [[_effective(day, by, column) for day in days] for days in (who_a, who_b)]
        else:
            sides = [[_of_metrics(name, day) for day in days] for days in (a, b)]
        one = Held(name, *(np.array(side, dtype=np.float64) for side in sides))
        if one.a.size and np.isfinite(one.a).any() and np.isfinite(one.b).any():
            found.append(one)
    return found


def _of_metrics(name: str, day: Metrics) -> float:
    hhi = {"advertisers_by_spend": "spend_hhi", "advertisers_by_impressions": "impression_hhi"}.get(name)
    if hhi is None:
        return day.get(name, math.nan)
    return 1 / value if (value := day.get(hhi, math.nan)) else math.nan


def _effective(day: PairTotals, by: str, column: str) -> float:
    """1 / sum of squared shares of a column of totals, by query or ad."""
    shown = day.ad >= 0
    _, group = np.unique(getattr(day, by)[shown], return_inverse=True)
    amount = np.bincount(group, day.totals[shown, COLUMNS.index(column)])
    return float(amount.sum() ** 2 / (amount**2).sum()) if amount.any() else math.nan


def written(name: str, value: float) -> str:
    """A figure, as a reader sees it."""
    if not math.isfinite(value):
        return MISSING
    if is_share(name):
        return f"{value:.1%}"
    return f"{value:,.0f}" if name in NUMBERS or name == "newcomer_first_click_s" else f"{value:.2f}"


def change(one: Held) -> str:
    """The difference of B from A with its interval over days."""
    scale, digits = (100, 2) if is_share(one.name) else (1, 1 if one.name in NUMBERS else 3)
    found = one.against.difference
    if not math.isfinite(found.value):
        return MISSING
    said = f"{scale * found.value:+,.{digits}f}"
    if math.isfinite(found.t_low):
        said += f" [{scale * found.t_low:+,.{digits}f}, {scale * found.t_high:+,.{digits}f}]"
    return f"{said} {t('health.points')}" if is_share(one.name) else said


def table(figures: Sequence[Held]) -> pl.DataFrame:
    """One row per figure: its mean under A and B, the difference with its interval, and what days tell."""
    verdicts = {True: t("health.better"), False: t("health.worse"), None: ""}
    return pl.DataFrame(
        {
            t("health.column_figure"): [figure_name(one.name) for one in figures],
            "A": [written(one.name, float(np.nanmean(one.a))) for one in figures],
            "B": [written(one.name, float(np.nanmean(one.b))) for one in figures],
            t("health.column_change"): [change(one) for one in figures],
            t("health.column_clear"): [verdicts[one.better] or _clear(one) for one in figures],
        }
    )


def _clear(one: Held) -> str:
    found = one.against.difference
    if not math.isfinite(found.t_low):
        return ""
    return t("health.clear" if is_clear(found) else "health.not_clear")
