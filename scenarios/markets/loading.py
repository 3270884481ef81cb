"""From a scenario file to a scenario that is complete: what the files of its market say is filled in."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from scenarios.config.load import Source, override, read_scenario
from scenarios.config.problems import line_of
from scenarios.config.scenario import PREPARED, Scenario
from scenarios.errors import ScenarioError, TableError

DEFAULT_SCENARIO = Path(__file__).parents[1] / "default.yaml"
"""The scenario of `make run`."""


def load_scenario(
    path: Path | str, overrides: Sequence[str] = (), *, seed: int | None = None, scorer: str | None = None
) -> Scenario:
    """Read a scenario file.

    Args:
        path: a YAML file; keys that it leaves out take the defaults of `scenarios.config.scenario`.
        overrides: `a.b=value` strings as of `relbid run --set`; the value is YAML, and later ones win.
        seed: replaces the scenario's seed.
        scorer: replaces the scenario's scorer.

    Raises:
        ScenarioError: the file cannot be read or is not a valid scenario. Every problem found is in the
            message.
        TableError: the table of auctions that it names cannot be read.
    """
    if seed is not None:
        overrides = [*overrides, f"seed={seed}"]
    if scorer is not None:
        overrides = [*overrides, f"scorer={json.dumps(scorer)}"]
    scenario, source = read_scenario(path, overrides)
    if scenario.market.kind == "table":
        from scenarios.markets.table.table_market import with_table  # imports polars

        try:
            scenario = with_table(scenario, Path(path).parent)
        except (ScenarioError, TableError) as error:
            raise type(error)(_where_named(str(error), scenario.name, source)) from None
    _check_sweep(scenario, source)
    return scenario


def _where_named(message: str, name: str, source: Source) -> str:
    """An error of a scenario by its name, or of a file that it names, with its place in the file."""
    field, colon, reason = message.removeprefix(f"{name}, ").partition(": ")
    if colon and message.startswith(f"{name}, "):
        return f"{source.at(*field.split('.'))}: {reason}"
    return f"{source.at('market')}: {message}"


def _check_sweep(scenario: Scenario, source: Source) -> None:
    """Every point of the sweep must be a scenario, so that no run ends half-way."""
    swept = scenario.sweep
    if swept is None:
        return
    for value in swept.values:
        try:
            override(scenario, {swept.field: value}, fixed=PREPARED)
        except ScenarioError as error:
            line = line_of(("sweep", "field"), source.lines)
            where = f"{source.name}, line {line}" if line else source.name
            reason = str(error).removeprefix(scenario.name + ", ")
            remedy = "change sweep.field or sweep.values, or leave the sweep out with --set sweep=null"
            raise ScenarioError(f"{where}, sweep: {reason}; {remedy}") from None
