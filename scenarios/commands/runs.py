"""A scenario: run it, print it, and the schema of its file."""

from __future__ import annotations

from typing import Annotated

import typer

from scenarios.commands.options import RESULTS, Out, Overrides, ScenarioFile, Scorer, Seed


def run(
    file: ScenarioFile,
    overrides: Overrides = None,
    seed: Seed = None,
    scorer: Scorer = None,
    out: Out = RESULTS,
    sweep: Annotated[bool, typer.Option(help="Also run the scenario's sweep.")] = True,
) -> None:
    """Run a scenario: its comparison of scorers, its sweep, and the log of its own scorer's run."""
    from scenarios.load import load_scenario
    from scenarios.run import run_scenario
    from scenarios.store import check_writable, staging, write_result
    from scenarios.terminal import (
        ProgressBars,
        comparison_table,
        print_tables,
        serving_table,
        sweep_table,
        traffic_table,
    )
    from simulator.users import has_loyalty

    scenario = load_scenario(file, overrides or (), seed=seed, scorer=scorer)
    check_writable(out)
    with ProgressBars() as progress, staging(out) as part:
        result = run_scenario(
            scenario, cache=out, sweep=sweep, log_path=part / "log.parquet", progress=progress
        )
        folder = write_result(out, scenario, result.metrics, result.points, result.log)
    tables = [comparison_table(scenario, result.points)]
    if has_loyalty(scenario.users):
        tables.append(traffic_table(scenario, result.points))
    if sweep and scenario.sweep is not None:
        tables.append(sweep_table(scenario, result.points))
    if not scenario.serving.instant or scenario.serving.first_stage_keep:
        tables.append(serving_table(scenario, result.points))
    print_tables(tables)
    typer.echo(f"Results: {folder}/  (points.parquet, log.parquet, metrics.json, scenario.yaml)")


def show(file: ScenarioFile, overrides: Overrides = None, seed: Seed = None, scorer: Scorer = None) -> None:
    """Print a scenario with every default, as YAML that `relbid run` reads."""
    from scenarios.load import dump_scenario, load_scenario

    typer.echo(dump_scenario(load_scenario(file, overrides or (), seed=seed, scorer=scorer)), nl=False)


def schema() -> None:
    """Print the JSON schema of scenario files, for editors."""
    import json

    from scenarios.schema import Scenario

    typer.echo(json.dumps(Scenario.model_json_schema(), indent=2))
