"""A log of your own as a market: fit one to it, and see how well that predicts the rest of the log."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from scenarios.cli.options import MOST_SEED, BudgetTable, Examination, Thresholds, numbers

Log = Annotated[
    Path, typer.Argument(metavar="LOG", help="Auctions of your own (Parquet, JSON lines), see relbid replay.")
]
Mechanism = Annotated[str | None, typer.Option(help="gsp, vcg or first_price; as the prices of the log say.")]
LogSeed = Annotated[int, typer.Option(min=0, max=MOST_SEED, help="Seed of draws.")]


def fit(
    log: Log,
    advertisers: BudgetTable = None,
    examination: Examination = None,
    relevance: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="The log was ranked by the column relevance_NAME, or by none."),
    ] = None,
    rule: Annotated[
        str | None, typer.Option(metavar="NAME", help="The fusion rule of the log; all are tried.")
    ] = None,
    thresholds: Thresholds = None,
    reserve: Annotated[
        float | None,
        typer.Option(min=0, max=1e6, help="Least bid, currency per click; the least price of the log."),
    ] = None,
    mechanism: Mechanism = None,
    seed: LogSeed = 1,
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="A new folder for the market.")] = Path(
        "fitted"
    ),
) -> None:
    """Fit a market to your own log, say how sure each part of it is, and write it for `relbid run`."""
    from scenarios.fitting.files import SCENARIO, write_market
    from scenarios.fitting.fit_run import fit_file
    from scenarios.reporting.fit_tables import fit_table
    from scenarios.reporting.terminal import print_tables
    from scenarios.storage.whole import check_free

    check_free(out)
    fitted, settings = fit_file(
        log,
        advertisers=advertisers,
        examination=numbers(examination, "--examination"),
        relevance=relevance,
        rule=rule,
        thresholds=numbers(thresholds, "--thresholds"),
        reserve=reserve,
        mechanism=mechanism,
        seed=seed,
    )
    write_market(out, fitted, settings)
    print_tables([fit_table(fitted)])
    typer.echo(f"Market: {out / SCENARIO}  (simulate it: relbid run {out / SCENARIO})")


def backtest(
    log: Log,
    train_days: Annotated[
        int | None,
        typer.Option(min=1, max=100_000, metavar="N", help="Days to fit to; all but the last."),
    ] = None,
    split: Annotated[
        float | None,
        typer.Option(min=0, max=1e12, metavar="TIME", help="Seconds from the first event to fit to."),
    ] = None,
    other: Annotated[
        Path | None,
        typer.Option(
            metavar="LOG2", help="Predict this log from the whole of the first, e.g. of an A/B test."
        ),
    ] = None,
    known_queries: Annotated[
        bool,
        typer.Option(
            "--known-queries", help="Do not predict how many queries come: an A/B test splits them."
        ),
    ] = False,
    advertisers: BudgetTable = None,
    examination: Examination = None,
    relevance: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="The second part was ranked by this relevance; as the first part."),
    ] = None,
    rule: Annotated[
        str | None, typer.Option(metavar="NAME", help="Its fusion rule; as the first part.")
    ] = None,
    thresholds: Thresholds = None,
    reserve: Annotated[
        float | None, typer.Option(min=0, max=1e6, help="Its least bid; as the first part.")
    ] = None,
    mechanism: Mechanism = None,
    draws: Annotated[
        int, typer.Option(min=39, max=100_000, metavar="N", help="Draws of the second part.")
    ] = 199,
    seed: LogSeed = 1,
) -> None:
    """Predict the second part of your own log from the first, with intervals, and say what they cover."""
    from scenarios.fitting.fit_run import backtest_files
    from scenarios.reporting.fit_tables import backtest_table
    from scenarios.reporting.terminal import ProgressBars, print_tables

    with ProgressBars() as progress:
        found = backtest_files(
            log,
            other=other,
            train_days=train_days,
            split=split,
            advertisers=advertisers,
            examination=numbers(examination, "--examination"),
            relevance=relevance,
            rule=rule,
            thresholds=numbers(thresholds, "--thresholds"),
            reserve=reserve,
            mechanism=mechanism,
            known_queries=known_queries,
            draws=draws,
            seed=seed,
            progress=progress,
        )
    print_tables([backtest_table(found)])
