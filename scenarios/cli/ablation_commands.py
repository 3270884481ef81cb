"""Ablations: what each idea of the model is worth."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from scenarios.cli.options import RESULTS, Out


def ablate(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Ablation file (YAML).")],
    workers: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Processes; as many as there are cores by default.")
    ] = None,
    table: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Train nothing: write tables of the finished cells there (Markdown), a picture beside it.",
        ),
    ] = None,
    out: Out = RESULTS,
) -> None:
    """Train and measure each arm of an ablation on each seed. Stopped or killed, it goes on where it was."""
    import signal

    from scenarios.reporting.terminal import ProgressBars
    from scenarios.reporting.words import duration
    from scenarios.storage.whole import check_writable
    from scenarios.studies.ablations.ablation import load_ablation
    from scenarios.studies.ablations.ablation_run import Status, run_ablation
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
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    check_writable(out)
    with ProgressBars() as progress:

        def report(at: Status) -> None:
            parts = [f"{60 * at.rate_per_s:.2g} a minute"] if at.rate_per_s else []
            parts += [f"{duration(at.left_s)} left"] if at.left_s is not None else []
            parts += [f"{at.failed} failed"] if at.failed else []
            progress(at.stage, at.done + at.failed, at.total, ", ".join(parts))

        try:
            failed = run_ablation(ablation, out, workers=workers, progress=progress, report=report)
        except KeyboardInterrupt:
            print("relbid: stopped; the same command goes on from the last finished cell", file=sys.stderr)
            raise typer.Exit(130) from None
    folder = cells_folder(out, ablation)
    typer.echo(f"Cells: {folder}/  (relbid ablate {file} --table FILE makes tables of them)")
    if failed:
        print(
            f"relbid: {failed} failed, see {folder}/failures/; the same command tries them again",
            file=sys.stderr,
        )
        raise typer.Exit(1)
