"""The command `relbid`.

Heavy imports wait until a command needs them, so that `relbid --help` answers at once.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.progress import TaskID

    from scenarios.market import Progress

app = typer.Typer(
    help="Search-ad auctions ranked by bid, click probability and relevance.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

RESULTS = Path("results")

ScenarioFile = Annotated[Path, typer.Argument(metavar="FILE", help="Scenario file (YAML).")]
Overrides = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="FIELD=VALUE", help="Set a field, e.g. fusion.relevance=2. May be repeated."
    ),
]
Seed = Annotated[int | None, typer.Option(help="Replace the scenario's seed.")]
Scorer = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="Replace the scorer: none, bm25, hcmrm, oracle or module:attr."),
]
Out = Annotated[Path, typer.Option(metavar="FOLDER", help="Where results and cached scores go.")]


@app.command()
def run(
    file: ScenarioFile,
    overrides: Overrides = None,
    seed: Seed = None,
    scorer: Scorer = None,
    out: Out = RESULTS,
    sweep: Annotated[bool, typer.Option(help="Also run the scenario's sweep.")] = True,
) -> None:
    """Run a scenario: its comparison of scorers, its sweep, and the log of its own scorer's run."""
    from scenarios.load import load_scenario
    from scenarios.run import run_scenario
    from scenarios.store import check_writable, write_result
    from scenarios.tables import comparison_table, print_tables, sweep_table

    scenario = load_scenario(file, overrides or (), seed=seed, scorer=scorer)
    check_writable(out)
    with _progress() as progress:
        result = run_scenario(scenario, cache=out, sweep=sweep, progress=progress)
        folder = write_result(out, scenario, result.metrics, result.points, result.log)
    tables = [comparison_table(scenario, result.points)]
    if sweep and scenario.sweep is not None:
        tables.append(sweep_table(scenario, result.points))
    print_tables(tables)
    typer.echo(f"Results: {folder}/  (points.parquet, log.parquet, metrics.json, scenario.yaml)")


@app.command()
def show(file: ScenarioFile, overrides: Overrides = None, seed: Seed = None, scorer: Scorer = None) -> None:
    """Print a scenario with every default, as YAML that `relbid run` reads."""
    from scenarios.load import dump_scenario, load_scenario

    typer.echo(dump_scenario(load_scenario(file, overrides or (), seed=seed, scorer=scorer)), nl=False)


@app.command()
def schema() -> None:
    """Print the JSON schema of scenario files, for editors."""
    import json

    from scenarios.schema import Scenario

    typer.echo(json.dumps(Scenario.model_json_schema(), indent=2))


@app.command("app", context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def dashboard(context: typer.Context, out: Out = RESULTS) -> None:
    """Open the dashboard in a browser. Further options go to Streamlit, e.g. --server.port=8600."""
    package = importlib.util.find_spec("app")
    if package is None or not package.submodule_search_locations:
        raise typer.BadParameter(
            "the dashboard is not installed; pip install -e . in the repository installs it"
        )
    page = Path(package.submodule_search_locations[0]) / "main.py"
    command = [
        sys.executable,
        "-m",
        "streamlit",
        "run",
        str(page),
        "--browser.gatherUsageStats=false",
        *context.args,
    ]
    raise typer.Exit(subprocess.call(command, env={**os.environ, "RELBID_RESULTS": str(out.resolve())}))


@contextlib.contextmanager
def _progress() -> Iterator[Progress]:
    """One bar per stage on stderr, so that stdout holds the tables only."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bars

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Bars(*columns, console=Console(stderr=True)) as bars:
        stages: dict[str, TaskID] = {}

        def report(stage: str, done: int, total: int) -> None:
            if stage not in stages:
                stages[stage] = bars.add_task(stage, total=total)
            bars.update(stages[stage], completed=done, total=total)

        yield report


def _user_errors() -> tuple[type[Exception], ...]:
    """Errors whose message is meant for the user; everything else is a defect and keeps its traceback."""
    from relevance.corpus import CorpusError
    from relevance.errors import CheckpointError, PluginError, ScorerError
    from scenarios.errors import UserError

    return UserError, CheckpointError, CorpusError, PluginError, ScorerError


def main() -> None:
    """Entry point of the command `relbid`: exit code 2 and one message for what the user can mend."""
    # A plug-in named module:attr is looked for where the user stands, as with `python -m`.
    sys.path.insert(0, "")
    try:
        app()
    except Exception as error:
        if isinstance(error, _user_errors()):
            print(f"relbid: {error}", file=sys.stderr)
            sys.exit(2)
        raise


if __name__ == "__main__":
    main()
