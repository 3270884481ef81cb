"""Two verdicts on a formula: whether auctions can be run by it, and whether it is good for the market."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import streamlit as st

from app import wording
from app.language import t_plain as t
from app.texts import html
from app.wording import Metrics, metric_name
from scenarios import METRICS, Comparison, Verdict, compare, is_share
from scenarios.reporting.theme import BETTER, GREY, WORSE, on

JUDGED = ("revenue_rpm", "irrelevant_share", "user_utility_rpm", "advertiser_surplus_rpm")
"""What the market is judged by: the platform, what users see and what they are worth, advertisers."""
RELATIVE = ("revenue_rpm", "advertiser_surplus_rpm")
"""Whose differences are said in per cent; what users get may be around zero, where per cents say nothing."""

Kind = Literal["good", "harmful", "trade_off", "unclear"]


@dataclass(frozen=True, slots=True)
class MarketVerdict:
    """B against A over days: what is clearly better and worse, each with its difference and interval."""

    better: Mapping[str, Comparison]
    worse: Mapping[str, Comparison]
    n_days: int

    @property
    def kind(self) -> Kind:
        """good: something is better and nothing worse; harmful: the other way round."""
        if self.better and self.worse:
            return "trade_off"
        return "good" if self.better else "harmful" if self.worse else "unclear"


def market_verdict(a: Sequence[Metrics], b: Sequence[Metrics]) -> MarketVerdict:
    """Judge B by the paired differences from A over D days; what is not known is left out.

    A difference counts where its 95% interval leaves out zero. A single day has no interval, so nothing does.
    """
    better: dict[str, Comparison] = {}
    worse: dict[str, Comparison] = {}
    for name in JUDGED:
        against = compare(*(np.array([wording.of_day(day, name) for day in days]) for days in (a, b)))
        wanted = METRICS[name.removesuffix("_rpm")] if name not in METRICS else METRICS[name]
        verdict = wording.is_better(against.difference, wanted.more_is_better)
        if verdict is not None:
            (better if verdict else worse)[name] = against
    return MarketVerdict(better, worse, len(a))


def draw(verdict: Verdict, a: Sequence[Metrics] = (), b: Sequence[Metrics] = ()) -> None:
    """Both verdicts, one beside the other.

    Args:
        verdict: on the rule, as of `scenarios.judge_rule`.
        a, b: metrics by day of what is used today and of the formula; none where it cannot be simulated.
    """
    lamps = [auction_lamp(verdict)]
    lamps += [market_lamp(market_verdict(a, b))] if b else []
    st.html(f'<div class="rb-lamps">{"".join(lamps)}</div>')


SIGNS = {
    "fit": "✓", "not_fit": "✕",
    "good": "▲", "harmful": "▼", "trade_off": "⇅", "unclear": "?", "unknown": "…",
}  # fmt: skip
"""Of the verdicts, by the ends of their texts' keys."""


def auction_lamp(verdict: Verdict) -> str:
    """Whether auctions can be run by a rule, as HTML."""
    if verdict.traits is None:
        faults = t("words.semicolon").join(map(wording.fault, verdict.faults))
        return _lamp(WORSE, "not_fit", f"{faults}. {t('formula.faults_remedy')}")
    scale = t("formula.homogeneous" if verdict.traits.homogeneous else "formula.has_scale")
    affine = t("formula.affine" if verdict.traits.affine else "formula.not_affine")
    said = [t("formula.fit", twice=scale, affine=affine), t("verdicts.fit_means")]
    return _lamp(GREY, "fit", " ".join(said))


def market_lamp(verdict: MarketVerdict) -> str:
    """Whether the market is better off, as HTML."""
    colours = {"good": BETTER, "harmful": WORSE, "trade_off": GREY, "unclear": GREY}
    said = [
        t(
            f"verdicts.{side}",
            what=t("words.comma").join(_difference(name, one) for name, one in found.items()),
        )
        for side, found in (("worse", verdict.worse), ("better", verdict.better))
        if found
    ]
    if not said:
        said = [t("verdicts.one_day" if verdict.n_days < 2 else "verdicts.nothing", n=verdict.n_days)]
    return _lamp(colours[verdict.kind], verdict.kind, " ".join(said))


def _lamp(colour: str, kind: str, said: str) -> str:
    mark = f'<span style="background:{colour};color:{on(colour)}">{SIGNS[kind]}</span>'
    head, said = html(t(f"verdicts.{kind}")), html(said)
    return f'<div class="rb-lamp" style="border-left-color:{colour}"><b>{mark} {head}</b><p>{said}</p></div>'


def _difference(name: str, found: Comparison) -> str:
    """Shares in points; money in per cent, or in currency where it may well be around zero."""
    bounds = found.change.t_low, found.change.t_high
    relative = name in RELATIVE and all(map(math.isfinite, bounds))
    one = found.change if relative else found.difference
    scale, unit = (100, "%" if relative else t("verdicts.points")) if relative or is_share(name) else (1, "")
    ends = f"[{scale * one.t_low:+,.1f}, {scale * one.t_high:+,.1f}]"
    return f"{metric_name(name).lower()} {scale * one.value:+,.1f}{unit} {ends}"
