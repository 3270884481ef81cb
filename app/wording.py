"""Figures as a reader sees them: key figures against the baseline, and the answer in words."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Metrics = Mapping[str, float]
"""Metrics of one settled point by name, see `simulator.metrics`."""

MISSING = "–"


@dataclass(frozen=True, slots=True)
class KeyFigure:
    """One card: a value and its difference; `better` is None where more is neither good nor bad."""

    label: str
    value: str
    difference: str | None
    better: bool | None
    help: str


METRIC_NAMES = {
    "revenue_rpm": "Revenue per 1,000 queries",
    "irrelevant_share": "Irrelevant share",
    "irrelevant_share_weighted": "Irrelevant share by position",
    "ctr": "Click-through rate",
    "mean_price": "Price per click",
    "advertiser_surplus_rpm": "Advertiser surplus",
    "user_utility_rpm": "User utility",
    "welfare_rpm": "Welfare",
}


def metric_name(metric: str) -> str:
    """A metric's name as a reader knows it."""
    return METRIC_NAMES.get(metric, metric.replace("_", " "))


def per_thousand(metrics: Metrics, name: str) -> float:
    """A day's total per 1,000 queries."""
    queries = metrics["queries"]
    return 1000.0 * metrics[name] / queries if queries else math.nan


def key_figures(chosen: Metrics, baseline: Metrics) -> list[KeyFigure]:
    """The cards of a point against the baseline without relevance."""
    rows: list[tuple[str, float, float, Literal["money", "share"], bool | None, str]] = [
        (
            "Revenue per 1,000 queries",
            chosen["revenue_rpm"], baseline["revenue_rpm"], "money", True,
            "What advertisers pay the platform, in currency units.",
        ),
        (
            "Irrelevant share",
            chosen["irrelevant_share"], baseline["irrelevant_share"], "share", False,
            "Shown ads whose true grade is 0, among all shown ads.",
        ),
        (
            "Click-through rate",
            chosen["ctr"], baseline["ctr"], "share", True,
            "Clicks per shown ad.",
        ),
        (
            "Mean price per click",
            chosen["mean_price"], baseline["mean_price"], "money", None,
            "What a click costs the advertiser on average, in currency units.",
        ),
        (
            "Advertiser surplus",
            per_thousand(chosen, "advertiser_surplus"), per_thousand(baseline, "advertiser_surplus"),
            "money", True,
            "What clicks are worth to advertisers beyond what they pay, in currency units per 1,000 queries.",
        ),
        (
            "User utility",
            per_thousand(chosen, "user_utility"), per_thousand(baseline, "user_utility"), "money", True,
            "What looking at the ads gives users, in currency units per 1,000 queries; irrelevant ads count "
            "against it.",
        ),
    ]  # fmt: skip
    return [_key_figure(*row) for row in rows]


def answer(chosen: Metrics, baseline: Metrics, name: str) -> str:
    """What the chosen ranking costs and earns, in one sentence."""
    revenue = relative_change(chosen["revenue_rpm"], baseline["revenue_rpm"])
    was, now = baseline["irrelevant_share"], chosen["irrelevant_share"]
    known = math.isfinite(now)
    if not math.isfinite(revenue) or known != math.isfinite(was):
        return f"With {name} no ad is shown, or none without relevance: there is nothing to compare."
    if abs(revenue) < 0.0005:
        money = "revenue stays as it is"
    else:
        money = f"revenue {'rises' if revenue > 0 else 'falls'} by {abs(revenue):.1%}"
    if not known:
        return (
            f"With {name}, {money}; how many ads are irrelevant is not known, for there are no true grades."
        )
    if f"{was:.1%}" == f"{now:.1%}":
        ads = f"the share of irrelevant ads stays at {now:.1%}"
    else:
        verb = "falls" if now < was else "rises"
        ads = f"the share of irrelevant ads {verb} from {was:.1%} to {now:.1%}"
    return f"With {name}, {money} and {ads}."


def relative_change(value: float, before: float) -> float:
    """Relative change, value / before - 1; NaN where that says nothing."""
    return value / before - 1.0 if before > 0 else math.nan


def _key_figure(
    label: str,
    now: float,
    was: float,
    kind: Literal["money", "share"],
    more_is_better: bool | None,
    text: str,
) -> KeyFigure:
    change = now - was
    if not math.isfinite(now):
        return KeyFigure(label, MISSING, None, None, text)
    value = f"{now:.2%}" if kind == "share" else f"{now:,.2f}"
    if not math.isfinite(change):
        return KeyFigure(label, value, None, None, text)
    if kind == "share":
        difference, shown = f"{100 * change:+.2f} points", round(100 * change, 2)
    else:
        relative = relative_change(now, was)
        difference, shown = f"{change:+,.2f}", round(change, 2)
        if math.isfinite(relative):
            difference += f" ({relative:+.1%})"
    if shown == 0:
        return KeyFigure(label, value, "no change", None, text)
    better = None if more_is_better is None else (change > 0) == more_is_better
    return KeyFigure(label, value, difference, better, text)
