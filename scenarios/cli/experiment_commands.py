"""Arms over many seeds."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from scenarios.cli.options import RESULTS, Out, ProgressPath


def experiment(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Experiment file (YAML).")],
    overrides: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="FIELD=VALUE", help="Set a field of the scenario in all arms. May be repeated."
        ),
    ] = None,
    seeds: Annotated[int | None, typer.Option(metavar="N", help="Replace the number of seeds.")] = None,
    out: Out = RESULTS,
    progress_file: ProgressPath = None,
) -> None:
    """Compare arms over many seeds, with intervals. Stopped, the same command goes on where it was."""
    from scenarios.reporting.experiment_tables import experiment_tables
    from scenarios.reporting.terminal import ProgressBars, print_tables
    from scenarios.storage.whole import check_writable
    from scenarios.studies.experiments.experiment import load_experiment
    from scenarios.studies.experiments.experiment_run import (
        check_experiment,
        run_experiment,
        write_experiment,
    )

    try:
        with ProgressBars(progress_file) as progress:
            plan = load_experiment(file, overrides or (), seeds=seeds)
            check_experiment(plan)
            check_writable(out)
            result = run_experiment(plan, cache=out, progress=progress)
            folder = write_experiment(out, result)
            progress.made(folder)
    except KeyboardInterrupt:
        print("relbid: stopped; the same command goes on from the last finished replicate", file=sys.stderr)
        raise typer.Exit(130) from None
    print_tables(experiment_tables(result))
    if not result.reached:
        typer.echo(f"The half-width wanted takes more than max_seeds ({len(result.seeds)}); it is wider.")
    typer.echo(f"Results: {folder}/  (replicates.parquet, summary.json, experiment.yaml, scenario.yaml)")
