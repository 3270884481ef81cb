"""What `relbid capacity` prints: a table for each kind of server, and the answer in a sentence."""

from __future__ import annotations

import math

from scenarios.reporting.terminal import Section, section
from scenarios.reporting.words import Format, cell, change, milliseconds, number, percent
from scenarios.studies.capacity import (
    COMPARED,
    CapacityResult,
    MachineResult,
    Step,
    Target,
    mean_of,
    values_of,
)
from scenarios.studies.experiments.statistics import Estimate, t_interval
from simulator.measures.market_metrics import is_share


def capacity_tables(result: CapacityResult) -> list[Section]:
    """One row per number of servers that was simulated."""
    asked = result.asked
    target, n_days = asked.target, len(asked.seeds)
    priced = any(one.machine.price_per_hour is not None for one in result.machines)
    headings = [
        "servers", f"p{target.percentile} ms", "95%", "timed out", "revenue", "change", "95%", "irrel.",
        "points", "95%", *(["per million"] if priced else []),
    ]  # fmt: skip
    note = (
        f"*: needed; means of {_days(n_days)}; change and points: against the row above on the same days, "
        "with Student's intervals;\nrevenue per 1000 queries; irrel.: share of shown ads of true grade 0; "
        "points: its change"
        + ("\nper million: what the servers cost for a million queries" if priced else "")
    )
    return [
        section(
            f"{one.machine.name}: latency and what servers are worth, target {_wanted(target)}",
            headings,
            [_row(step, one, target, priced=priced) for step in one.steps],
            note,
            left=0,
        )
        for one in result.machines
    ]


def answer_of(result: CapacityResult) -> str:
    """How many servers of which kind are needed, and what the next one is worth."""
    target = result.asked.target
    said = [_answer(one, target, len(result.asked.seeds)) for one in result.machines]
    costs = {
        one.machine.name: one.needed.cost_per_million
        for one in result.machines
        if one.needed is not None and one.needed.cost_per_million is not None
    }
    if len(costs) > 1:
        cheapest = min(costs, key=lambda name: costs[name])
        said.append(f"{cheapest} costs least.")
    return " ".join(said)


def _answer(one: MachineResult, target: Target, n_days: int) -> str:
    needed, name = one.needed, one.machine.name
    if needed is None:
        most, late = one.steps[-1], mean_of(one.steps[-1].days, "timeout_share")
        latencies = [mean_of(step.days, target.metric) for step in one.steps]
        text = (
            f"Not even {_servers(most.servers)} of {name} answer {_wanted(target)}: p{target.percentile} is "
            f"{milliseconds(latencies[-1])} ms, and {percent(late)} time out."
        )
        # A query that times out has waited, however many servers there were.
        if (
            latencies[-1] > 0.99 * min(latencies[:-1], default=math.inf)
            and late < 1 - target.percentile / 100
        ):
            text += (
                " More servers do not help: no query waits, a batch alone takes so long. Take faster servers."
            )
        return text
    kept = sum(target.is_kept([day]) for day in needed.days)
    text = (
        f"{_servers(needed.servers)} of {name} {'answers' if needed.servers == 1 else 'answer'} "
        f"{_wanted(target)}: p{target.percentile} is {milliseconds(mean_of(needed.days, target.metric))} ms, "
        f"kept on {kept} of {_days(n_days)}"
    )
    if needed.cost_per_million is not None:
        text += f", for {needed.cost_per_million:,.2f} per million queries"
    further = one.next
    if further is None:
        return f"{text}."
    found = [_change_of(further, metric)[0] for metric in COMPARED]
    revenue, irrelevant = (_with_interval(further, metric) for metric in COMPARED)
    if all(one.t_low <= 0 <= one.t_high for one in found):
        return (
            f"{text}. One more changes nothing that can be told from chance: revenue {revenue}, "
            f"irrelevant ads {irrelevant}."
        )
    return f"{text}. One more changes revenue by {revenue} and irrelevant ads by {irrelevant}."


def _row(step: Step, one: MachineResult, target: Target, *, priced: bool) -> list[str]:
    latency, low, high = t_interval(values_of(step.days, target.metric))
    cells = [
        f"{step.servers}*" if one.needed is step else f"{step.servers} ",
        cell(latency, milliseconds),
        _span(low, high, milliseconds),
        cell(mean_of(step.days, "timeout_share"), percent),
        cell(mean_of(step.days, "revenue_rpm"), number),
        *_worth(step, "revenue_rpm"),
        cell(mean_of(step.days, "irrelevant_share"), lambda value: f"{100 * value:.2f}%"),
        *_worth(step, "irrelevant_share"),
    ]
    return [*cells, cell(step.cost_per_million, number)] if priced else cells


def _worth(step: Step, metric: str) -> tuple[str, str]:
    """What the servers more bring, and its interval."""
    if metric not in step.worth:
        return "", ""
    found, form = _change_of(step, metric)
    return cell(found.value, form), _span(found.t_low, found.t_high, form)


def _change_of(step: Step, metric: str) -> tuple[Estimate, Format]:
    """The change of a metric: of a share in points, of money in per cent."""
    found = step.worth[metric]
    return (found.difference, _points) if is_share(metric) else (found.change, change)


def _points(value: float) -> str:
    return f"{100 * value:+.2f}"


def _with_interval(step: Step, metric: str) -> str:
    found, form = _change_of(step, metric)
    if math.isnan(found.value):
        return "an unknown amount"
    unit = " points" if is_share(metric) else ""
    span = _span(found.t_low, found.t_high, form)
    return f"{cell(found.value, form)}{unit}" + ("" if span == "-" else f" {span}")


def _span(low: float, high: float, form: Format) -> str:
    return f"[{form(low)}, {form(high)}]" if math.isfinite(low) and math.isfinite(high) else "-"


def _wanted(target: Target) -> str:
    return f"{target.percentile}% of the queries within {milliseconds(target.latency_s)} ms"


def _servers(n: int) -> str:
    return f"{n} server{'s' if n != 1 else ''}"


def _days(n: int) -> str:
    return f"{n} day{'s' if n != 1 else ''}"
