"""A query of any text."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from scenarios.cli.options import RESULTS, Out, Overrides, Scorer, Seed


def ask(
    text: Annotated[str, typer.Argument(metavar="QUERY", help="What a user types, e.g. 'red sofa'.")],
    file: Annotated[
        Path | None, typer.Argument(metavar="FILE", help="Scenario file; the built-in one by default.")
    ] = None,
    overrides: Overrides = None,
    seed: Seed = None,
    scorer: Scorer = None,
    out: Out = RESULTS,
) -> None:
    """Auction a query of any text, scored now: who is shown, at what price, and why."""
    from scenarios.markets.loading import DEFAULT_SCENARIO, load_scenario
    from scenarios.markets.simulation import prepare
    from scenarios.reporting.asked_tables import asked_tables
    from scenarios.reporting.terminal import ProgressBars, print_tables
    from scenarios.runs.asking import ask as auction
    from scenarios.storage.whole import check_writable

    with ProgressBars() as progress:
        scenario = load_scenario(file or DEFAULT_SCENARIO, overrides or (), seed=seed, scorer=scorer)
        check_writable(out)
        page = auction(prepare(scenario, cache=out, progress=progress), text)
    print_tables(asked_tables(page, scenario.auction.payment))
