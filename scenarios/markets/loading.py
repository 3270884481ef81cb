"""From a scenario file to a scenario that is complete: what the files of its market say is filled in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from relevance.errors import CorpusError
from scenarios.config.load import PACKAGE, SCENARIO, Source, override, read_file, setting, shipped
from scenarios.config.scenario import PREPARED, Scenario
from scenarios.errors import ScenarioError, Setting, TableError

DEFAULT_SCENARIO = PACKAGE / "default.yaml"
"""The scenario of `make run`."""


def load_scenario(
    path: Path | str,
    overrides: Sequence[str | Setting] = (),
    *,
    seed: int | None = None,
    scorer: str | None = None,
    sweep: bool = True,
) -> Scenario:
    """Read a scenario file.

    Args:
        path: a YAML file; keys that it leaves out take the defaults of `scenarios.config.scenario`.
        overrides: values set over it, of which later ones win; a text is an `a.b=value` as of
            `relbid run --set`, whose value is YAML.
        seed: replaces the scenario's seed.
        scorer: replaces the scenario's scorer.
        sweep: False leaves the scenario's sweep out, whatever it is.

    Raises:
        ScenarioError: the file cannot be read or is not a valid scenario. Every problem found is in the
            message.
        CorpusError, TableError: the corpus or the table of auctions that it names cannot be read.
    """
    path = shipped(path)
    options = {"seed": seed, "scorer": scorer}
    given = [
        replace(setting(field, value), written=f"--{field} {value}")
        for field, value in options.items()
        if value is not None
    ]
    if not sweep:
        given.append(setting("sweep", None))
    scenario, source = read_file(path, SCENARIO, [*overrides, *given])
    from scenarios.markets.registry import source_of  # imports polars

    try:
        scenario = source_of(scenario).completed(scenario, path.parent)
    except ScenarioError as error:
        keys = str(error.field).split(".")
        raise error.at(*source.at(*keys)).but(setting=source.setting_of(*keys)) from None
    except (CorpusError, TableError) as error:
        raise type(error)(error).at(*source.at("market")) from None
    _check_sweep(scenario, source)
    return scenario.read_from(str(path))


def _check_sweep(scenario: Scenario, source: Source) -> None:
    """Every point of the sweep must be a scenario, so that no run ends half-way."""
    swept = scenario.sweep
    if swept is None:
        return
    for value in swept.values:
        try:
            override(scenario, {swept.field: value}, fixed=PREPARED)
        except ScenarioError as error:
            raise ScenarioError(
                error.but(file=None),
                file=source.name,
                line=source.at("sweep", "field").line,
                field="sweep",
                remedy="change sweep.field or sweep.values, or leave the sweep out with --set sweep=null",
            ) from None
