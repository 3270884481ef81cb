"""Which queries, ads, advertisers and kinds of match make the difference between two scenarios."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from scenarios.cli.options import RESULTS, Out, ProgressPath, ScenarioFile

Grouping = Literal["query", "ad", "advertiser", "match"]
Divided = Literal[
    "revenue_rpm", "irrelevant_share", "clicks_rpm", "user_utility_rpm", "advertiser_surplus_rpm"
]


def why(
    before: ScenarioFile,
    after: Annotated[
        Path, typer.Argument(metavar="OTHER", help="A scenario of the same market that ranks otherwise.")
    ],
    metric: Annotated[
        Divided | None, typer.Option(help="revenue_rpm and irrelevant_share by default.")
    ] = None,
    by: Annotated[
        Grouping | None, typer.Option(help="Among whom the difference is divided; all by default.")
    ] = None,
    days: Annotated[
        int | None,
        typer.Option(min=1, max=1000, help="From the scenario's own seed on; its days_compared by default."),
    ] = None,
    top: Annotated[int, typer.Option(min=1, max=10_000, help="Rows of each table.")] = 10,
    out: Out = RESULTS,
    progress_file: ProgressPath = None,
) -> None:
    """Divide the difference between two scenarios among queries, ads, advertisers and kinds of match."""
    from scenarios.markets.loading import load_scenario
    from scenarios.reporting.terminal import ProgressBars, print_tables
    from scenarios.reporting.why_tables import why_table
    from scenarios.storage.whole import check_writable
    from scenarios.studies.difference import GROUPINGS, explain_scenarios, responsible_for

    with ProgressBars(progress_file) as progress:
        scenarios = load_scenario(before), load_scenario(after)
        check_writable(out)
        found = explain_scenarios(*scenarios, days=days, cache=out, progress=progress)
    prepared, of_a, of_b = found
    names = before.stem, after.stem
    print_tables(
        why_table(prepared, responsible_for(of_a, of_b, name, grouping), names, top)
        for name in ((metric,) if metric else ("revenue_rpm", "irrelevant_share"))
        for grouping in ((by,) if by else GROUPINGS)
    )
