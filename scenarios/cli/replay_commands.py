"""Auctions of your own, under other rules."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from scenarios.cli.options import (
    MOST_SEED,
    RESULTS,
    BudgetTable,
    Examination,
    Out,
    Thresholds,
    numbers,
)


def replay(
    file: Annotated[
        Path | None,
        typer.Argument(
            metavar="FILE", help="Auctions of your own (Parquet, JSON lines), or a scenario that names them."
        ),
    ] = None,
    advertisers: BudgetTable = None,
    relevance: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Rank by the column relevance_NAME. May be repeated; all of them."),
    ] = None,
    rule: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Fusion rule. May be repeated; all of them.")
    ] = None,
    thresholds: Thresholds = None,
    examination: Examination = None,
    reserve: Annotated[
        float | None,
        typer.Option(min=0, max=1e6, help="Least bid, currency per click; 0, or the scenario's."),
    ] = None,
    mechanism: Annotated[
        str | None, typer.Option(help="gsp, vcg or first_price; gsp, or the scenario's.")
    ] = None,
    clip: Annotated[float, typer.Option(min=1, max=1e9, help="Largest weight of a logged click.")] = 10.0,
    seed: Annotated[
        int | None,
        typer.Option(min=0, max=MOST_SEED, help="Seed of the draws that break ties, and of the example; 1."),
    ] = None,
    example: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Only write an example of such a table; of a scenario's corpus."),
    ] = None,
    rows: Annotated[int | None, typer.Option(min=10, max=10**8, help="Rows of the example; 1,000.")] = None,
    days: Annotated[int | None, typer.Option(min=1, max=1000, help="Days of the example; 1.")] = None,
    schema: Annotated[bool, typer.Option(help="Only print the JSON schema of a row.")] = False,
    out: Out = RESULTS,
) -> None:
    """Auction your own logged queries again, and estimate what other fusion rules would have earned."""
    import json

    if schema:
        from scenarios.markets.table.columns import json_schema

        typer.echo(json.dumps(json_schema(), indent=2))
        return
    if example is not None:
        of_replays = {
            "--relevance": relevance,
            "--rule": rule,
            "--thresholds": thresholds,
            "--examination": examination,
            "--mechanism": mechanism,
            "--reserve": reserve,
            "--advertisers": advertisers,
        }
        if name := next((name for name, value in of_replays.items() if value is not None), None):
            raise typer.BadParameter(f"{name}: is of a replay, and an example is only written; leave it out")
        from scenarios.replay.example import write_example

        n_rows = write_example(
            example,
            n_rows=rows or 1000,
            seed=1 if seed is None else seed,
            days=days or 1,
            file=file,
            cache=out,
        )
        typer.echo(f"{n_rows:,} rows: {example}")
        return
    if (rows or days) is not None:
        raise typer.BadParameter("--rows, --days: are of an example; name it with --example")
    if file is None:
        raise typer.BadParameter("name a table to replay, or write one to look at with --example FILE")
    from scenarios.replay.replay_run import replay_file, write_replay
    from scenarios.reporting.terminal import ProgressBars, print_tables, replay_table
    from scenarios.storage.whole import check_writable

    check_writable(out)
    with ProgressBars() as progress:
        result, settings = replay_file(
            file,
            advertisers=advertisers,
            scorers=relevance or (),
            rules=rule or (),
            thresholds=numbers(thresholds, "--thresholds"),
            examination=numbers(examination, "--examination"),
            reserve=reserve,
            mechanism=mechanism,
            clip=clip,
            seed=seed,
            progress=progress,
        )
        folder = write_replay(out, result, settings)
    print_tables([replay_table(result)])
    typer.echo(f"Results: {folder}/  (replay.parquet, replay.json)")
