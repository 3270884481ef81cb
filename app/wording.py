"""What lies below, said in the reader's language: names, key figures, answers, reasons."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from app.language import DEFAULT, catalogue, t
from scenarios import METRICS, Fault, FormulaError
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


def key_figures(chosen: Metrics, baseline: Metrics) -> list[KeyFigure]:
    """The cards of a point against the baseline without relevance."""
    texts = {
        "revenue_rpm": ("metrics.revenue_rpm", "figures.revenue_help"),
        "irrelevant_share": ("metrics.irrelevant_share", "figures.irrelevant_help"),
        "ctr": ("metrics.ctr", "figures.ctr_help"),
        "mean_price": ("figures.mean_price", "figures.mean_price_help"),
        "advertiser_surplus": ("metrics.advertiser_surplus_rpm", "figures.surplus_help"),
        "user_utility": ("metrics.user_utility_rpm", "figures.utility_help"),
    }
    cards = []
    for name, (label, text) in texts.items():
        metric = METRICS[name]
        now, was = (per_thousand(m, name) if metric.total else m[name] for m in (chosen, baseline))
        cards.append(_key_figure(t(label), now, was, metric.unit, metric.more_is_better, t(text)))
    return cards


def answer(chosen: Metrics, baseline: Metrics, name: str) -> str:
    """What the chosen ranking costs and earns, in one sentence."""
    revenue = relative_change(chosen["revenue_rpm"], baseline["revenue_rpm"])
    was, now = baseline["irrelevant_share"], chosen["irrelevant_share"]
    known = math.isfinite(now)
    if not math.isfinite(revenue) or known != math.isfinite(was):
        shown = known or chosen["revenue_rpm"] > 0
        return t("answer.nothing_before" if shown else "answer.nothing", name=name)
    if abs(revenue) < 0.0005:
        money = t("answer.revenue_same")
    else:
        money = t("answer.revenue_rises" if revenue > 0 else "answer.revenue_falls", change=abs(revenue))
    if not known:
        return t("answer.unknown", name=name, money=money)
    if f"{was:.1%}" == f"{now:.1%}":
        ads = t("answer.share_same", now=now)
    else:
        ads = t("answer.share_falls" if now < was else "answer.share_rises", was=was, now=now)
    return t("answer.both", name=name, money=money, ads=ads)


def relative_change(value: float, before: float) -> float:
    """Relative change, value / before - 1; NaN where that says nothing."""
    return value / before - 1.0 if before > 0 else math.nan


def hover(key: str, head: str = "", **values: object) -> str:
    """The text of a key as what plotly shows at the pointer, after a head."""
    return f"{head}{t(key, **values)}<extra></extra>"


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
