"""What `relbid arena` prints."""

from __future__ import annotations

import math
from collections.abc import Sequence

from scenarios.reporting.experiment_tables import size_text
from scenarios.reporting.terminal import Section, section
from scenarios.studies.arena import SHARES, Standing
from scenarios.studies.experiments.experiment_run import ExperimentResult
from scenarios.studies.experiments.random_effects import Mean

_NOTE = """\
surplus: (worth of the clicks - spend) / budget; [ ]: 95% intervals over {units};
lead: against {first}, on the same seats, values and queries; return: worth of the clicks / spend"""
_EXPLOIT_NOTE = """
leaving: what half of the seats gain in surplus by bidding a fixed share of the value instead, the best
of {shares}; its interval covers all of them at once"""


def arena_table(result: ExperimentResult, found: Sequence[Standing]) -> Section:
    """The leaderboard."""
    scenario, units = result.plan.scenario, "worlds" if len(result.plan.worlds) > 1 else "days"
    seats = scenario.bidders.seats
    checked = any(one.gain is not None for one in found)
    headings = ["policy", "surplus", "lead", "return", "budget used"]
    rows = [
        (
            one.policy,
            _percents(one.surplus),
            "-" if one.lead is None else _percents(one.lead, signed=True),
            _number(one.worth),
            "-" if math.isnan(one.used) else f"{100 * one.used:.0f}%",
            *((_percents(one.gain, signed=True), f"{one.share:g}") if one.gain is not None else ()),
        )
        for one in found
    ]
    title = (
        f"{len(found)} policies, {100 * seats.share:g}% of the advertisers, {100 * seats.budget:.0f}% of "
        f"their budgets, {size_text(result)}"
    )
    note = _NOTE.format(units=units, first=next(one.policy for one in found if one.lead is None))
    if checked:
        headings += ["leaving", "by bidding"]
        note += _EXPLOIT_NOTE.format(shares=", ".join(f"{share:g}" for share in SHARES))
    return section(title, headings, rows, note)


def _percents(mean: Mean, *, signed: bool = False) -> str:
    form = "{:+.1f}" if signed else "{:.1f}"
    value, low, high = (form.format(100 * x) for x in (mean.value, mean.low, mean.high))
    return "-" if math.isnan(mean.value) else f"{value}% [{low}, {high}]"


def _number(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.2f}"
