"""Arguments and options that several commands share.

A command that only hands its options on names them as the function that it calls does, and calls it with
`**context.params`.
"""

from __future__ import annotations

import contextlib
import math
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    from scenarios.reporting.terminal import ProgressBars
    from scenarios.studies.run_study import Report
    from scenarios.studies.study import Status

RESULTS = Path("results")
MODELS = Path("models")
MOST_SEED = 2**63 - 1

ScenarioFile = Annotated[Path, typer.Argument(metavar="FILE", help="Scenario file (YAML).")]
Overrides = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="FIELD=VALUE", help="Set a field, e.g. fusion.relevance=2. May be repeated."
    ),
]
Seed = Annotated[int | None, typer.Option(min=0, max=MOST_SEED, help="Replace the scenario's seed.")]
Scorer = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="Replace the scorer: none, bm25, hcmrm, oracle, minilm, bi_encoder=FOLDER, cross_encoder=FOLDER "
        "or module:attr.",
    ),
]
Out = Annotated[Path, typer.Option(metavar="FOLDER", help="Where results and cached scores go.")]
ProgressPath = Annotated[
    Path | None,
    typer.Option("--progress", metavar="FILE", help="Keep how far it is in a JSON file, for who polls it."),
]
Corpus = Annotated[
    Path | None, typer.Option(metavar="FOLDER", help="A graded corpus; the embedded worlds' by default.")
]
Worlds = Annotated[
    str | None,
    typer.Option(metavar="SEEDS", help="Seeds of the embedded worlds, such as 11-14 or 7,9."),
]
WorldOf = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE", help="A scenario whose world says what the worlds' texts and frames look like."
    ),
]
Cache = Annotated[Path, typer.Option(metavar="FOLDER", help="Where frames of the embedded worlds are kept.")]
Device = Literal["cpu", "cuda"]
"""Where torch computes."""
Workers = Annotated[
    int | None,
    typer.Option(min=1, max=1024, metavar="N", help="Processes; as many as there are cores by default."),
]
Engine = Annotated[
    Literal["local", "ray"],
    typer.Option(help="Processes of this machine, or those of a Ray cluster that RAY_ADDRESS names."),
]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Only print what there is to do, and how long it takes.")
]
RetryFailed = Annotated[bool, typer.Option("--retry-failed", help="Also run what failed before.")]


Thresholds = Annotated[
    str | None, typer.Option(metavar="T,...", help="Thresholds of relevance, for gates and tiers.")
]
Examination = Annotated[
    str | None,
    typer.Option(metavar="P,...", help="How likely each slot is looked at; estimated from the log."),
]
BudgetTable = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Daily budgets: Parquet or JSON lines.")
]


def numbers(text: str | None, option: str) -> list[float] | None:
    """Numbers with commas between, of an option; None where it is left out."""
    if text is None:
        return None
    try:
        found = [float(part) for part in text.split(",")]
    except ValueError:
        found = [math.nan]
    if not all(map(math.isfinite, found)):
        raise typer.BadParameter(f"{option} {text}: needs numbers with commas between")
    return found


DATA = (".yaml", ".yml", ".json", ".jsonl", ".csv", ".parquet", ".npy", ".npz", ".safetensors")
"""Ends of the names of files that no page replaces."""


def check_page(path: Path, folder: Path) -> None:
    """Refuse to write a page over a file of data, or another file of the folder that it is made of."""
    if path.suffix not in (".html", ".md") and path.is_file() and folder.resolve() in path.resolve().parents:
        raise typer.BadParameter(f"{path}: the command reads this file; name another")
    if path.suffix in DATA and path.is_file():
        raise typer.BadParameter(f"{path}: is there, and is no page; name another")


@contextlib.contextmanager
def stoppable(what: str) -> Iterator[None]:
    """Say what a study that is stopped continues from, and end with exit code 130.

    A polite kill stops a study as Ctrl-C does, so that its folder says so.
    """
    import signal

    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    except KeyboardInterrupt:
        print(f"relbid: stopped; the same command continues from the last finished {what}", file=sys.stderr)
        raise typer.Exit(130) from None


def end_if_failed(failed: int, folder: Path, remedy: str) -> None:
    """Say how many tasks of a study have failed, and end with exit code 1."""
    if failed:
        print(f"relbid: {failed} failed, see {folder}/failures/; {remedy}", file=sys.stderr)
        raise typer.Exit(1)


def shown_by(progress: ProgressBars) -> Report:
    """Shows the status of a study as a bar."""
    from scenarios.reporting.words import status_text

    def report(at: Status) -> None:
        if at.state == "running":
            progress(at.stage, at.done + at.failed, at.total, status_text(at))

    return report
