"""How many servers a market needs."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from scenarios.cli import options


def capacity(
    file: options.ScenarioFile,
    latency_ms: Annotated[
        float,
        typer.Option(
            min=0.001, max=1e9, metavar="MS", help="In how many milliseconds queries are answered ..."
        ),
    ],
    percentile: Annotated[
        Literal["50", "95", "99"], typer.Option(help="... at least this per cent of them.")
    ] = "99",
    profile: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE",
            help="A kind of server, as relbid profile measured it. May be repeated; serving by default.",
        ),
    ] = None,
    price_per_hour: Annotated[
        list[float] | None,
        typer.Option(
            min=0, max=1e6, metavar="PRICE", help="Of a server; one for all, or one for each profile."
        ),
    ] = None,
    overrides: options.Overrides = None,
    scorer: options.Scorer = None,
    seeds: Annotated[int, typer.Option(min=1, max=10_000, metavar="N", help="Days to simulate.")] = 5,
    most: Annotated[int, typer.Option(min=1, max=10_000, metavar="N", help="Servers to try at most.")] = 256,
    workers: options.Workers = None,
    engine: options.Engine = "local",
    out: options.Out = options.RESULTS,
    progress_file: options.ProgressPath = None,
) -> None:
    """Find how many servers a market needs, and what the next one is worth. Stopped, it continues."""
    from relevance.extras import MissingExtraError
    from scenarios.markets.loading import load_scenario
    from scenarios.reporting.capacity_tables import answer_of, capacity_tables
    from scenarios.reporting.terminal import ProgressBars, print_tables
    from scenarios.storage.whole import check_writable
    from scenarios.studies.capacity import Target, capacity_of, run_capacity, write_capacity

    with options.stoppable("day"), ProgressBars(progress_file) as progress:
        asked = capacity_of(
            load_scenario(file, overrides or (), scorer=scorer),
            Target(latency_ms / 1000.0, int(percentile)),
            profiles=profile or (),
            prices=price_per_hour or (),
            seeds=seeds,
            most=most,
        )
        check_writable(out)
        result = run_capacity(
            asked,
            out,
            workers=workers,
            engine=engine,
            progress=progress,
            report=options.shown_by(progress),
        )
        answer = answer_of(result)
        folder = write_capacity(out, result, answer)
        progress.made(folder)
    print_tables(capacity_tables(result))
    typer.echo(answer)
    drawn = ""
    try:
        from scenarios.reporting.capacity_picture import picture
        from scenarios.reporting.figures import write_picture

        drawn = f", {write_picture(picture(result), folder / 'capacity.svg').name}"
    except MissingExtraError as error:
        print(f"relbid: no picture: {error}", file=sys.stderr)
    typer.echo(f"Results: {folder}/  (capacity.json, days.parquet, scenario.yaml{drawn})")
