"""Many points at once, and the page made of them."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from scenarios.cli import options


def sweep(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Sweep file (YAML).")],
    overrides: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="FIELD=VALUE", help="Set a field of the scenario in all points. May be repeated."
        ),
    ] = None,
    workers: options.Workers = None,
    dry_run: options.DryRun = False,
    retry_failed: options.RetryFailed = False,
    engine: options.Engine = "local",
    out: options.Out = options.RESULTS,
    progress_file: options.ProgressPath = None,
) -> None:
    """Run every point of a sweep. Stopped or killed, the same command continues it."""
    from scenarios.reporting.sweep_tables import points_text, sweep_tables
    from scenarios.reporting.terminal import ProgressBars, print_tables
    from scenarios.reporting.words import estimate_text
    from scenarios.storage.machine import cores
    from scenarios.storage.whole import check_writable
    from scenarios.studies.sweeps.folder import read_sweep
    from scenarios.studies.sweeps.sweep import load_sweep
    from scenarios.studies.sweeps.sweep_run import estimate, run_sweep

    with options.stoppable("point"), ProgressBars(progress_file) as progress:
        plan = load_sweep(file, overrides or ())
        check_writable(out)
        if dry_run:
            points, asked = points_text(plan), estimate(plan, out, progress=progress)
            at_once = workers or cores()
            facts = {**asdict(asked), "workers": at_once, "left_s": asked.left_s(at_once)}
            progress.found({"points_in_words": points, "estimate": facts})
            typer.echo(f"{points}\n{estimate_text(asked, at_once)}")
            return
        folder = run_sweep(
            plan,
            out,
            workers=workers,
            engine=engine,
            retry_failed=retry_failed,
            progress=progress,
            report=options.shown_by(progress),
        )
        progress.made(folder)
    if (folder / "points.parquet").exists():
        print_tables(sweep_tables(read_sweep(folder)))
    typer.echo(f"Sweep: {folder}/  (points.parquet; relbid report {folder} makes a page of it)")
    failed = len(list((folder / "failures").glob("*.json")))
    options.end_if_failed(failed, folder, "--retry-failed runs them again")


def report(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="A sweep's folder.")],
    max_irrelevant: Annotated[
        float | None,
        typer.Option(
            min=0.0,
            max=1.0,
            metavar="SHARE",
            help="Best points with no more irrelevant ads than that; 0.02 where a sweep has no bounds.",
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Where the page goes; report.html in the folder.")
    ] = None,
) -> None:
    """Make one self-contained page of a sweep: Pareto front, sensitivity, best points, their scenarios."""
    from scenarios.reporting.sweep_report import report_html
    from scenarios.storage.whole import write_whole_file
    from scenarios.studies.sweeps.folder import read_sweep

    path = out or folder / "report.html"
    options.check_page(path, folder)
    write_whole_file(path, report_html(read_sweep(folder), max_irrelevant=max_irrelevant))
    typer.echo(f"Report: {path}")
