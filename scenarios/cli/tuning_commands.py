"""Fitted to a market: weights of a fusion rule, and a service profile."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from scenarios.cli.options import RESULTS, Cache, Out, Overrides, ScenarioFile, Scorer


def tune(
    file: ScenarioFile,
    max_irrelevant: Annotated[
        float,
        typer.Option(
            min=0, max=1, metavar="SHARE", help="Largest share of irrelevant ads among those shown."
        ),
    ],
    overrides: Overrides = None,
    scorer: Scorer = None,
    keep: Annotated[
        list[str] | None,
        typer.Option(metavar="BOUND", help="Another bound, such as 'small_spend_share >= 0.2'; repeatable."),
    ] = None,
    evaluations: Annotated[
        int, typer.Option(min=1, max=100_000, metavar="N", help="Sets of weights to try.")
    ] = 150,
    markets: Annotated[
        int, typer.Option(min=1, max=1000, metavar="N", help="Markets (seeds) to try each on.")
    ] = 4,
    queries: Annotated[
        int, typer.Option(min=1, max=10**8, metavar="N", help="Queries of each market.")
    ] = 10_000,
    out: Out = RESULTS,
) -> None:
    """Learn the weights of the fusion rule 'learnt'; print the scenario with them, for `relbid run`."""
    from scenarios.config.constraints import metric_bound
    from scenarios.config.load import dump_scenario
    from scenarios.markets.loading import load_scenario
    from scenarios.markets.scoring import check_scorers, relevance_of
    from scenarios.markets.simulation import prepare
    from scenarios.reporting.terminal import ProgressBars
    from scenarios.runs.tuning import tune_fusion

    bounds = [metric_bound(text) for text in keep or ()]
    scenario = load_scenario(file, overrides or (), scorer=scorer)
    check_scorers(scenario, [scenario.scorer])
    with ProgressBars() as progress:
        prepared = prepare(scenario, cache=out, progress=progress)
        tuned = tune_fusion(
            prepared,
            relevance_of(prepared, scenario.scorer, cache=out, progress=progress),
            max_irrelevant=max_irrelevant,
            keep=bounds,
            evaluations=evaluations,
            n_markets=markets,
            n_queries=queries,
            progress=progress,
        )
    named = {
        "first weights": tuned.start,
        "tuned": tuned.found,
        "first weights, on seeds not seen": tuned.fresh_start,
        "tuned, on seeds not seen": tuned.fresh,
    }
    for name, found in named.items():
        typer.echo(
            f"# {name}: revenue {found.revenue_rpm:.2f} per 1000 queries, "
            f"irrelevant {100 * found.irrelevant_share:.2f}%"
        )
    typer.echo(dump_scenario(tuned.scenario), nl=False)


def profile(
    file: ScenarioFile,
    write: Annotated[Path, typer.Option("--out", metavar="FILE", help="Where the profile goes (JSON).")],
    overrides: Overrides = None,
    scorer: Scorer = None,
    repeats: Annotated[int, typer.Option(min=1, max=10_000, help="Batches timed of each size.")] = 7,
    cache: Cache = RESULTS,
) -> None:
    """Measure how long a scenario's scorer takes for a batch on this machine, for serving.profile."""
    import json

    from scenarios.config.load import check_profile_place
    from scenarios.markets.loading import load_scenario
    from scenarios.models.profiling import measure_profile
    from scenarios.reporting.terminal import ProgressBars, print_tables, profile_table
    from scenarios.storage.whole import check_file_place, write_whole_file

    check_profile_place(write)
    check_file_place(write)
    scenario = load_scenario(file, overrides or (), scorer=scorer)
    with ProgressBars() as progress:
        measured = measure_profile(scenario, repeats=repeats, cache=cache, progress=progress)
    write_whole_file(write, json.dumps(measured.model_dump(mode="json", by_alias=True), indent=2) + "\n")
    print_tables([profile_table(measured)])
    typer.echo(f"Profile: {write}  (name it in serving.profile)")
