"""The command `relbid`: the list of its commands, and how an error ends it."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from scenarios.cli import (
    ablation_commands as ablations,
    arena_commands as arenas,
    ask_commands as asking,
    capacity_commands as serving,
    corpus_commands as corpora,
    dashboard_command as dashboard,
    experiment_commands as experiments,
    fit_commands as fitting,
    judge_commands as judging,
    model_commands as models,
    replay_commands as replay,
    run_commands as runs,
    sweep_commands as sweeps,
    why_commands as differences,
)

app = typer.Typer(
    help="Search-ad auctions ranked by bid, click probability and relevance.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"relbid {version('relbid')}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit."),
    ] = False,
) -> None:
    """Options before the command."""


# In the order in which `relbid --help` shows them.
app.command("run")(runs.run)
app.command("experiment")(experiments.experiment)
app.command("why")(differences.why)
app.command("arena")(arenas.arena)
app.command("sweep")(sweeps.sweep)
app.command("report")(sweeps.report)
app.command("prepare")(runs.prepare)
app.command("ask")(asking.ask)
app.command("show")(runs.show)
app.command("tune")(fitting.tune)
app.command("schema")(runs.schema)
app.command("train")(models.train)
app.command("evaluate")(models.evaluate)
app.command("calibrate")(models.calibrate)
app.command("ablate")(ablations.ablate)
app.command("score")(corpora.score)
app.command("judge")(judging.judge)
app.command("import-weights")(models.import_weights)
app.command("replay")(replay.replay)
app.command("profile")(fitting.profile)
app.command("capacity")(serving.capacity)
app.command("app", context_settings=dashboard.STREAMLITS_OPTIONS)(dashboard.dashboard)

of_corpus = typer.Typer(help="Ads, queries and graded labels of your own.", no_args_is_help=True)
of_corpus.command("import")(corpora.import_corpus)
of_corpus.command("export")(corpora.export_corpus_tables)
of_corpus.command("evaluate")(corpora.evaluate_scorers)
app.add_typer(of_corpus, name="corpus")


def main() -> None:
    """Entry point of the command `relbid`: exit code 2 and one message for what the user can mend."""
    # A plug-in named module:attr is looked for where the user stands, as with `python -m`.
    sys.path.insert(0, "")
    try:
        app()
    except MemoryError as error:
        print(f"relbid: not enough memory ({error}); take fewer queries, candidates or ads", file=sys.stderr)
        sys.exit(2)
    except Exception as error:
        from scenarios.errors import UserError  # imports numpy

        if not isinstance(error, UserError):  # a defect, which keeps its traceback
            raise
        print(f"relbid: {error}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
