"""A scenario: run it, print it, and the schema of its file."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from scenarios.cli.options import RESULTS, Out, Overrides, ProgressPath, ScenarioFile, Scorer, Seed

if TYPE_CHECKING:
    import polars as pl

    from scenarios.markets.prepared import Prepared, Relevance


def run(
    file: ScenarioFile,
    overrides: Overrides = None,
    seed: Seed = None,
    scorer: Scorer = None,
    out: Out = RESULTS,
    sweep: Annotated[bool, typer.Option(help="Also run the scenario's sweep.")] = True,
    progress_file: ProgressPath = None,
) -> None:
    """Run a scenario: its comparison of scorers, its sweep, and the log of its own scorer's run."""
    from scenarios.markets.loading import load_scenario
    from scenarios.reporting.experiment_tables import days_tables
    from scenarios.reporting.terminal import (
        ProgressBars,
        comparison_table,
        measured_table,
        prediction_table,
        print_tables,
        serving_table,
        sweep_table,
        traffic_table,
    )
    from scenarios.runs.scenario_run import run_to_folder
    from scenarios.storage.whole import check_writable
    from scenarios.studies.experiments.day_comparison import compare_days
    from scenarios.studies.experiments.experiment_run import ExperimentResult
    from scenarios.studies.kept_points import keep_points
    from simulator.users import has_loyalty

    compared: list[ExperimentResult] = []

    def days(prepared: Prepared, relevances: Mapping[str, Relevance]) -> pl.DataFrame | None:
        found = compare_days(prepared, relevances, cache=out, progress=progress)
        compared.extend([] if found is None else [found])
        return None if found is None else found.with_scorers

    with ProgressBars(progress_file) as progress:
        scenario = load_scenario(file, overrides or (), seed=seed, scorer=scorer, sweep=sweep)
        check_writable(out)
        result, folder = run_to_folder(
            scenario,
            out,
            progress=progress,
            days=days,
            points=partial(keep_points, cache=out, progress=progress),
        )
        progress.made(folder)
    tables = days_tables(compared[0]) if compared else [comparison_table(scenario, result.points)]
    tables.append(prediction_table(result.points))
    if has_loyalty(scenario.users):
        tables.append(traffic_table(scenario, result.points))
    if scenario.sweep is not None:
        tables.append(sweep_table(scenario, result.points))
    if not scenario.serving.instant or scenario.serving.first_stage_keep:
        tables.append(serving_table(scenario, result.points))
    if scenario.serving.clock == "measured":
        tables.append(measured_table(scenario, result.points))
    print_tables(tables)
    for note in result.notes:
        typer.echo(note)
    also = "comparison.parquet, " if compared else ""
    typer.echo(f"Results: {folder}/  (points.parquet, {also}log.parquet, metrics.json, scenario.yaml)")


def prepare(
    file: ScenarioFile,
    overrides: Overrides = None,
    scorer: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="May be repeated; all that the scenario names by default."),
    ] = None,
    out: Out = RESULTS,
    progress_file: ProgressPath = None,
) -> None:
    """Draw frames and score pairs ahead, so that runs, sweeps and the dashboard find them."""
    from scenarios.markets.loading import load_scenario
    from scenarios.markets.scoring import check_scorers, relevance_of
    from scenarios.markets.simulation import prepare
    from scenarios.reporting.terminal import ProgressBars
    from scenarios.storage.whole import check_writable

    with ProgressBars(progress_file) as progress:
        scenario = load_scenario(file, overrides or ())
        swept = scenario.sweep.scorers if scenario.sweep is not None else ()
        names = list(dict.fromkeys(scorer or [*scenario.compare, *swept, scenario.scorer]))
        check_scorers(scenario, names)
        check_writable(out)
        prepared = prepare(scenario, cache=out, progress=progress)
        for name in names:
            relevance_of(prepared, name, cache=out, progress=progress)
    typer.echo(f"Prepared: {scenario.name}, for {', '.join(names)}")


def show(file: ScenarioFile, overrides: Overrides = None, seed: Seed = None, scorer: Scorer = None) -> None:
    """Print a scenario with every default, as YAML that `relbid run` reads."""
    from scenarios.config.load import dump_scenario
    from scenarios.markets.loading import load_scenario

    typer.echo(dump_scenario(load_scenario(file, overrides or (), seed=seed, scorer=scorer)), nl=False)


def schema() -> None:
    """Print the JSON schema of scenario files, for editors."""
    import json

    from scenarios.config.scenario import Scenario

    typer.echo(json.dumps(Scenario.model_json_schema(), indent=2))
