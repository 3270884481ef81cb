"""Scenarios to take away, with the figures that the page showed for them."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version

from app import session
from app.days import Days, held
from app.parts.uplift import written
from app.session import Opened
from app.wording import Metrics
from scenarios import Scenario, dump_scenario


def scenario_text(
    scenario: Scenario, metrics: Metrics, names: Sequence[str], measured: Sequence[str] = ()
) -> str:
    """A scenario as YAML that `relbid run` takes, headed by the figures that it gives.

    Args:
        metrics: of the scenario's own run.
        names: those that the head tells, e.g. revenue_rpm.
        measured: lines on what else was measured, and on what.
    """
    figures = [f"# {name}: {float(metrics[name])!r}" for name in names]
    about = [f"# {line}" for line in measured]
    head = [*about, "# relbid run on this file gives, in metrics.json of its result:", *figures]
    return "\n".join([*head, dump_scenario(scenario)])


def measured(opened: Opened, a: Days, b: Days, names: Sequence[str]) -> list[str]:
    """What the figures were measured on: lines at the head of an exported file, in English as all of it."""
    scenario, n = opened.scenario, len(b.of)
    seeds = f"seeds {scenario.seed} to {scenario.seed + n - 1}" if n > 1 else f"seed {scenario.seed}"
    days = "one day" if n == 1 else f"{n} days"
    lines = [
        f"B: {written(opened.b)}; A: {written(opened.a)}.",
        f"Measured by relbid {version('relbid')} on {days} of "
        f"{session.total_queries(opened.prepared):,} queries, {seeds}, market {scenario.market.kind}, "
        f"world {scenario.world.seed}.",
    ]
    if n > 1:
        lines.append("Mean of B over these days (the first table of relbid run), and its change against A:")
    for metric in names:
        found = held(a, b, metric)
        one = found.change if metric == "revenue_rpm" else found.difference
        interval = f"; {one.value:+.4f} [{one.t_low:+.4f}, {one.t_high:+.4f}], 95%" if n > 1 else ""
        lines.append(f"  {metric} {b.mean(metric):.6g}{interval}")
    return lines
