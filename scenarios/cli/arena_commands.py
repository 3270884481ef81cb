"""Bid policies and outside agents under equal budgets, with a leaderboard."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from scenarios.cli import options


def arena(
    file: Annotated[Path | None, typer.Argument(metavar="[FILE]", help="Scenario file (YAML).")] = None,
    policy: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="A bid policy, or your own as module:attr; repeatable. With --only no others take part; "
            "without, the built-in ones do.",
        ),
    ] = None,
    only: Annotated[bool, typer.Option("--only", help="Compare the policies named, and no others.")] = False,
    overrides: options.Overrides = None,
    scorer: options.Scorer = None,
    seats: Annotated[
        float,
        typer.Option(min=1e-6, max=1, metavar="SHARE", help="Share of the advertisers who follow a policy."),
    ] = 0.1,
    budget: Annotated[
        float, typer.Option(min=1e-6, max=10**6, metavar="X", help="Their budget, times their own.")
    ] = 0.05,
    worlds: Annotated[int, typer.Option(min=1, max=1000, metavar="N", help="Worlds, from seed 1 on.")] = 8,
    days: Annotated[int, typer.Option(min=2, max=100_000, metavar="N", help="Days of each world.")] = 2,
    exploit: Annotated[
        bool, typer.Option("--exploit", help="Also ask what an advertiser gains who leaves a policy.")
    ] = False,
    workers: options.Workers = None,
    retry_failed: options.RetryFailed = False,
    engine: options.Engine = "local",
    out: options.Out = options.RESULTS,
    progress_file: options.ProgressPath = None,
) -> None:
    """Compare bid policies on the same seats of a market, over worlds and days, with intervals."""
    from scenarios.markets.loading import DEFAULT_SCENARIO, load_scenario
    from scenarios.reporting.arena_table import arena_table
    from scenarios.reporting.terminal import ProgressBars, print_tables
    from scenarios.storage.machine import cores
    from scenarios.storage.whole import check_writable
    from scenarios.studies.arena import arena_plan, standings
    from scenarios.studies.experiments.experiment_run import (
        check_experiment,
        experiment_folder,
        run_experiment,
        write_experiment,
    )
    from simulator.policies import POLICIES

    with options.stoppable("replicate"), ProgressBars(progress_file) as progress:
        scenario = load_scenario(file or DEFAULT_SCENARIO, overrides or (), scorer=scorer)
        entries = list(dict.fromkeys([*(() if only else POLICIES), *(policy or ())]))
        plan = arena_plan(
            scenario, entries, seats=seats, budget=budget, worlds=worlds, days=days, exploit=exploit
        )
        check_experiment(plan)
        check_writable(out)
        result = run_experiment(
            plan,
            cache=out,
            workers=workers or cores(),
            engine=engine,
            retry_failed=retry_failed,
            progress=progress,
            report=options.shown_by(progress),
        )
        write_experiment(out, result)
        folder = experiment_folder(out, plan)
        progress.made(folder)
    print_tables([arena_table(result, standings(result, entries))])
    typer.echo(f"Results: {folder}/  (replicates.parquet, summary.json, experiment.yaml, scenario.yaml)")
