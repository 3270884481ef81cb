"""Ablations: what each idea of the model is worth."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from scenarios.cli import options


def ablate(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Ablation file (YAML).")],
    workers: options.Workers = None,
    dry_run: options.DryRun = False,
    engine: options.Engine = "local",
    table: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Train nothing: write tables of the finished cells there (Markdown), a picture beside it.",
        ),
    ] = None,
    out: options.Out = options.RESULTS,
) -> None:
    """Train and measure each arm of an ablation on each seed. Stopped, the same command continues it."""
    from scenarios.reporting.terminal import ProgressBars
    from scenarios.reporting.words import duration
    from scenarios.storage.machine import cores
    from scenarios.storage.whole import check_writable
    from scenarios.studies.ablations.ablation import check_starts, load_ablation
    from scenarios.studies.ablations.ablation_run import estimate_ablation, run_ablation
    from scenarios.studies.ablations.cells import cells_folder

    ablation = load_ablation(file)
    if table is not None:
        from scenarios.reporting.ablation_tables import write_tables

        picture, missing = write_tables(ablation, out, table, ["relbid", *sys.argv[1:]])
        unfinished = f"; {missing} cells are not finished" if missing else ""
        if picture.suffix == ".html":
            print(
                f"relbid: {picture} has the picture; to draw it as an SVG file, install Chromium and kaleido "
                "(pip install kaleido)",
                file=sys.stderr,
            )
        typer.echo(f"Tables: {table}  (cells: {table.with_suffix('.jsonl')}{unfinished})")
        return
    check_starts(ablation)
    check_writable(out)
    if dry_run:
        cells, done, seconds = estimate_ablation(ablation, out)
        at_once = workers or cores()
        typer.echo(f"{cells} trainings, {done} of them done")
        if seconds is not None:
            left = duration((cells - done) * seconds / at_once)
            typer.echo(
                f"About {left} with {at_once} processes at {duration(seconds)} each, as those that are done"
            )
        return
    with options.stoppable("cell"), ProgressBars() as progress:
        report = options.shown_by(progress)
        failed = run_ablation(ablation, out, workers=workers, engine=engine, progress=progress, report=report)
    folder = cells_folder(out, ablation)
    typer.echo(f"Cells: {folder}/  (relbid ablate {file} --table FILE makes tables of them)")
    options.end_if_failed(failed, folder, "the same command tries them again")
