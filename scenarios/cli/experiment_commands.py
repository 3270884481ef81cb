"""Arms over worlds, trainings and days."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from scenarios.cli import options


def experiment(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Experiment file (YAML).")],
    overrides: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="FIELD=VALUE", help="Set a field of the scenario in all arms. May be repeated."
        ),
    ] = None,
    seeds: Annotated[
        int | None, typer.Option(min=2, max=100_000, metavar="N", help="Replace the number of days.")
    ] = None,
    worlds: Annotated[
        int | None, typer.Option(min=1, max=100_000, metavar="N", help="Replace the number of worlds.")
    ] = None,
    confirm: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=10**6,
            metavar="WORLD",
            help="Also run as many other worlds, from this seed on, and print both results side by side.",
        ),
    ] = None,
    workers: options.Workers = None,
    dry_run: options.DryRun = False,
    retry_failed: options.RetryFailed = False,
    engine: options.Engine = "local",
    out: options.Out = options.RESULTS,
    progress_file: options.ProgressPath = None,
) -> None:
    """Compare arms over worlds and days, with intervals. Stopped or killed, the same command continues it."""
    from relevance.extras import MissingExtraError
    from scenarios.errors import ScenarioError
    from scenarios.reporting.experiment_tables import (
        confirmed_tables,
        experiment_tables,
        matched_table,
        published_table,
    )
    from scenarios.reporting.terminal import ProgressBars, print_tables
    from scenarios.reporting.words import estimate_text
    from scenarios.storage.machine import cores
    from scenarios.storage.whole import check_writable
    from scenarios.studies.experiments.experiment import Plan, load_experiment
    from scenarios.studies.experiments.experiment_run import (
        ExperimentResult,
        check_experiment,
        estimate_experiment,
        experiment_folder,
        run_experiment,
        write_experiment,
    )
    from scenarios.studies.experiments.matched import RULES, matched_plans, run_matched

    def run(one: Plan) -> ExperimentResult:
        result = run_experiment(
            one,
            cache=out,
            workers=at_once,
            engine=engine,
            retry_failed=retry_failed,
            progress=progress,
            report=options.shown_by(progress),
        )
        write_experiment(out, result)  # at once, whatever becomes of the next one
        return result

    with options.stoppable("replicate"), ProgressBars(progress_file) as progress:
        plan = load_experiment(file, overrides or (), seeds=seeds, worlds=worlds)
        matched = plan.experiment.matched is not None
        if matched and confirm is not None:
            raise ScenarioError("goes with fixed arms; 'matched' chooses them", file=file, field="--confirm")
        plans = [plan] if confirm is None else [plan, plan.elsewhere(confirm)]
        check_experiment(plan, file)
        check_writable(out)
        at_once = workers or cores()
        if dry_run:
            parts = matched_plans(plan) if matched else [plan]
            for part in parts:
                asked = estimate_experiment(part, out, progress=progress)
                label = f"{part.experiment.name}: " if matched else ""
                typer.echo(label + estimate_text(asked, at_once, "market"))
            return
        found = run_matched(plan, run) if matched else None
        results = list(found.results.values()) if found else [run(one) for one in plans]
        folders = [experiment_folder(out, result.plan) for result in results]
        progress.made(folders[0])
    if found:
        print_tables([matched_table(found)])
        try:
            from scenarios.reporting.figures import write_picture
            from scenarios.reporting.matched_picture import picture

            curves = experiment_folder(out, found.grid.plan) / "curves.svg"
            typer.echo(f"Picture: {write_picture(picture(found), curves)}")
        except MissingExtraError as error:
            print(f"relbid: no picture: {error}", file=sys.stderr)
    for result, folder in zip(results, folders, strict=True):
        print_tables(experiment_tables(result))
        if not result.reached:
            typer.echo(f"The half-width wanted takes more than max_seeds ({len(result.seeds)}); it is wider.")
        typer.echo(f"Results: {folder}/  (replicates.parquet, summary.json, experiment.yaml, scenario.yaml)")
    if found and plan.experiment.published:
        chosen = found.chosen
        unmatched = [(rule, arm) for rule in RULES for arm in plan.arms if not chosen[rule][arm].reached]
        print_tables([published_table(plan, {rule: found.results[rule] for rule in RULES}, unmatched)])
    if confirm is not None:
        print_tables(confirmed_tables(*results))
