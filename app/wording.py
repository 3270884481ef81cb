"""What lies below, said in the reader's language: names, key figures, answers, reasons."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from app.files import about, about_key
from app.language import DEFAULT, catalogue, t_html, t_plain as t
from app.texts import Html, Markdown
from scenarios import METRICS, Comparison, Estimate, Fault, FormulaError, compare
from scenarios.reporting import words

Metrics = Mapping[str, float]
"""Metrics of one simulated point by name, see `simulator.measures.market_metrics`."""

MISSING = "–"


@dataclass(frozen=True, slots=True)
class KeyFigure:
    """One card: a value and its difference; `better` is None where more is neither good nor bad."""

    label: str
    value: str
    difference: str | None
    better: bool | None
    help: str


def metric_name(metric: str) -> str:
    """A metric's name as a reader knows it."""
    return _known("metrics", metric, metric.replace("_", " "))


def scorer_name(scorer: str) -> str:
    """A scorer's name; one's own ("module:attr") is called by its attribute, a public model by its folder."""
    return _known("scorers", scorer, words.scorer_name(scorer).rpartition(":")[2])


def grade_name(grade: int | None) -> str:
    """What a true grade 0..3 is called; None: one that is not known."""
    return t("grades.name_unknown" if grade is None else f"grades.name_{grade}")


def numbered_grade(grade: int | None) -> str:
    """A true grade with its number before it, if it has one."""
    return grade_name(grade) if grade is None else f"{grade} {grade_name(grade)}"


def rule_name(rule: str) -> str:
    """A fusion rule's name."""
    return _known("rules", rule.replace(" ", "_"), rule.replace("_", " "))


def about_file(path: Path) -> Markdown:
    """What a file of a study is about: of one that comes with relbid in the reader's language."""
    key = about_key(path) or ""
    return Markdown(t(key)) if key in catalogue(DEFAULT) else about(path)


def method_name(method: str) -> str:
    """How a sweep lays out its points."""
    return _known("sweeps", f"method_{method}", method.replace("_", " "))


def stage_name(what: str, subject: str) -> str:
    """What a command is doing, by the parts of its stage (see `scenarios.CommandProgress`)."""
    if what == "scoring":
        return t("jobs.stage_scoring", scorer=scorer_name(subject))
    return _known("jobs", f"stage_{what.replace(' ', '_')}", what[:1].upper() + what[1:])


def duration(seconds: float) -> str:
    """`45 s`, `3 min`, `2.5 h`."""
    if seconds < 90:
        return t("jobs.seconds", amount=seconds)
    return (
        t("jobs.minutes", amount=seconds / 60) if seconds < 5400 else t("jobs.hours", amount=seconds / 3600)
    )


def group_name(group: str) -> str:
    """The name of a group of advertisers, see `app.day.accounts`: of a bid policy, or whether they pace."""
    return _known("market", f"group_{group.replace(' ', '_')}", group)


def why(reason: str, facts: Mapping[str, object]) -> str:
    """Why an ad is where it is: a reason and its facts, as of `scenarios.inspect_query`."""
    values = dict(facts)
    if values.get("mechanism"):
        values["mechanism"] = t(f"mechanisms.{values['mechanism']}")
    return t(f"why.{reason}", **values)


def fault(found: Fault) -> str:
    """What is wrong with a formula, as of `scenarios.judge_formula`."""
    said = t(f"faults.{found.kind}", **found.values)
    return said if found.at is None else t("faults.where", fault=said, **found.at)


def reading_fault(error: FormulaError) -> str:
    """Why a formula cannot be read."""
    return t(f"reading.{error.kind}", **error.values)


def sample(total: int, part: int | None) -> str:
    """On how many queries something was simulated; `part` is None for all."""
    return t("sample.all", total=total) if part is None else t("sample.part", sample=part, total=total)


def per_thousand(metrics: Metrics, name: str) -> float:
    """A day's total per 1,000 queries."""
    queries = metrics["queries"]
    return 1000.0 * metrics[name] / queries if queries else math.nan


def of_day(metrics: Metrics, name: str) -> float:
    """A day's metric; `..._rpm` of a total that is no metric itself is taken per 1,000 queries."""
    return metrics[name] if name in metrics else per_thousand(metrics, name.removesuffix("_rpm"))


def is_clear(found: Estimate) -> bool:
    """Whether the interval of a difference leaves out zero; a single day has none."""
    return found.t_low > 0 or found.t_high < 0


def is_better(found: Estimate, more_is_better: bool | None) -> bool | None:
    """Whether a difference is for the better; None where it is not clear, or neither is better by itself."""
    if more_is_better is None or not is_clear(found):
        return None
    return (found.value > 0) == more_is_better


KEY_METRICS = {
    "revenue_rpm": ("metrics.revenue_rpm", "figures.revenue_help"),
    "irrelevant_share": ("metrics.irrelevant_share", "figures.irrelevant_help"),
    "ctr": ("metrics.ctr", "figures.ctr_help"),
    "mean_price": ("figures.mean_price", "figures.mean_price_help"),
    "advertiser_surplus": ("metrics.advertiser_surplus_rpm", "figures.surplus_help"),
    "user_utility": ("metrics.user_utility_rpm", "figures.utility_help"),
}
"""Metrics of the cards: their names and what is said of them."""


def key_figures(chosen: Metrics, baseline: Metrics) -> list[KeyFigure]:
    """The cards of a point against the baseline without relevance."""
    cards = []
    for name, (label, text) in KEY_METRICS.items():
        metric = METRICS[name]
        now, was = (per_thousand(m, name) if metric.total else m[name] for m in (chosen, baseline))
        cards.append(_key_figure(t(label), now, was, metric.unit, metric.more_is_better, t(text)))
    return cards


def figures_over_days(a: Sequence[Metrics], b: Sequence[Metrics]) -> list[KeyFigure]:
    """The cards of B over days, with the mean difference from A and its interval.

    A difference is called better or worse only where its interval leaves out zero. It is relative unless A
    may as well be zero, as users' utility may.
    """
    if len(b) == 1:
        return key_figures(b[0], a[0])
    cards = []
    for name, (label, text) in KEY_METRICS.items():
        metric = METRICS[name]
        was, now = (
            np.array([per_thousand(day, name) if metric.total else day[name] for day in days])
            for days in (a, b)
        )
        share, found = metric.unit == "share", compare(was, now)
        relative = not share and math.isfinite(found.change.t_low) and math.isfinite(found.change.t_high)
        one = found.change if relative else found.difference
        mean = float(np.mean(now))
        if not math.isfinite(mean):
            cards.append(KeyFigure(t(label), MISSING, None, None, t(text)))
            continue
        value = f"{mean:.2%}" if share else f"{mean:,.2f}"
        difference = None
        if math.isfinite(one.value):
            key, scale = ("change", 100) if relative else ("points", 100) if share else ("difference", 1)
            key = f"figures.{key}_over_days"
            ends = {"change": scale * one.value, "low": scale * one.t_low, "high": scale * one.t_high}
            difference = t("figures.no_change") if not np.any(now - was) else t(key, **ends)
        better = is_better(one, metric.more_is_better)
        cards.append(KeyFigure(t(label), value, difference, better, t(text)))
    return cards


def answer(chosen: Metrics, baseline: Metrics) -> str:
    """What B costs and earns against A on one day, in one sentence."""
    revenue = relative_change(chosen["revenue_rpm"], baseline["revenue_rpm"])
    was, now = baseline["irrelevant_share"], chosen["irrelevant_share"]
    known = math.isfinite(now)
    if not math.isfinite(revenue) or known != math.isfinite(was):
        shown = known or chosen["revenue_rpm"] > 0
        return t("answer.nothing_before" if shown else "answer.nothing")
    money = _money(revenue, f"{abs(revenue):.1%}", sure=abs(revenue) >= 0.0005)
    if not known:
        return t("answer.unknown", money=money)
    return t("answer.both", now=f"{now:.1%}", was=f"{was:.1%}", money=money)


def answer_over_days(revenue: Comparison, irrelevant: Comparison, was: float, now: float) -> str:
    """What B costs and earns against A over days or worlds, with intervals of the differences.

    Args:
        irrelevant: of the share of irrelevant ads.
        was: A's mean share of irrelevant ads.
        now: B's.
    """
    change = revenue.change
    if not math.isfinite(change.value) or math.isfinite(was) != math.isfinite(now):
        return t("answer.nothing_before" if math.isfinite(now) else "answer.nothing")
    money = money_over_days(revenue)
    if not math.isfinite(was):
        return t("answer.unknown", money=money)
    points = irrelevant.difference
    ends = (f"{round(100 * end, 1) + 0.0:+.1f}" for end in (points.value, points.t_low, points.t_high))
    by = t("answer.points", change=next(ends), low=next(ends), high=next(ends))
    return t("answer.both", now=f"{now:.1%}", was=f"{was:.1%} ({by})", money=money)


def money_over_days(revenue: Comparison) -> str:
    """`for 3.9% [3.4, 4.5] of revenue`."""
    change = revenue.change
    ends = sorted(abs(100 * end) for end in (change.t_low, change.t_high))
    sure = math.isfinite(change.t_low) and change.t_low * change.t_high > 0
    if sure:
        return _money(change.value, f"{abs(change.value):.1%} [{ends[0]:.1f}, {ends[1]:.1f}]", sure=True)
    bounds = (f"{100 * end:+.1f}" if math.isfinite(end) else MISSING for end in (change.t_low, change.t_high))
    return _money(change.value, f"{change.value:+.1%} [{', '.join(bounds)}]", sure=False)


def point_over_days(revenue: Comparison, share: float) -> str:
    """`costs 0.3% [0.1, 0.5] of revenue and gets to 1.6%`."""
    return t("answer.point", money=money_over_days(revenue), share=share)


def _money(change: float, amount: str, *, sure: bool) -> str:
    if not sure:
        return t("answer.revenue_same", amount=amount)
    return t("answer.revenue_rises" if change > 0 else "answer.revenue_falls", amount=amount)


def relative_change(value: float, before: float) -> float:
    """Relative change, value / before - 1; NaN where that says nothing."""
    return value / before - 1.0 if before > 0 else math.nan


def hover(key: str, head: Html = Html(""), **values: object) -> Html:  # noqa: B008
    """The text of a key as what plotly shows at the pointer, after a head; see `app.texts.plotted`."""
    return Html(f"{head}{t_html(key, **values)}<extra></extra>")


def _key_figure(
    label: str,
    now: float,
    was: float,
    kind: str,  # money or share
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
        difference, shown = t("figures.points", points=100 * change), round(100 * change, 2)
    else:
        relative = relative_change(now, was)
        difference, shown = f"{change:+,.2f}", round(change, 2)
        if math.isfinite(relative):
            difference += f" ({relative:+.1%})"
    if shown == 0:
        return KeyFigure(label, value, t("figures.no_change"), None, text)
    better = None if more_is_better is None else (change > 0) == more_is_better
    return KeyFigure(label, value, difference, better, text)


def _known(page: str, name: str, otherwise: str) -> str:
    """A name from the catalogue; `otherwise` where it has none, as of what a user has made."""
    key = f"{page}.{name}"
    return t(key) if key in catalogue(DEFAULT) else otherwise
