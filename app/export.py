"""Scenarios to take away, with the figures that the page showed for them."""

from __future__ import annotations

from collections.abc import Sequence

from app.wording import Metrics
from scenarios import Scenario, dump_scenario


def scenario_text(scenario: Scenario, metrics: Metrics, names: Sequence[str]) -> str:
    """A scenario as YAML that `relbid run` takes, headed by the figures that it gives.

    Args:
        metrics: of the scenario's own run.
        names: those that the head tells, e.g. revenue_rpm.
    """
    figures = [f"# {name}: {float(metrics[name])!r}" for name in names]
    head = ["# relbid run on this file gives, in metrics.json of its result:", *figures]
    return "\n".join([*head, dump_scenario(scenario)])
