"""Many points at once, and the page made of them."""

from __future__ import annotations

import sys
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from scenarios.cli.options import RESULTS, Out, ProgressPath


class Engine(StrEnum):
    """Who simulates the points of a sweep."""

    LOCAL = "local"
    RAY = "ray"


def sweep(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Sweep file (YAML).")],
    overrides: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="FIELD=VALUE", help="Set a field of the scenario in all points. May be repeated."
        ),
    ] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Processes; as many as there are cores by default.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only print the points, and about how long they take.")
    ] = False,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Also run the points that failed before.")
    ] = False,
    engine: Annotated[
        Engine,
        typer.Option(help="Processes of this machine, or those of a Ray cluster that RAY_ADDRESS names."),
    ] = Engine.LOCAL,
    out: Out = RESULTS,
    progress_file: ProgressPath = None,
) -> None:
    """Run every point of a sweep. Stopped or killed, the same command goes on where it was."""
    import signal

    from scenarios.reporting.sweep_tables import estimate_text, points_text, status_text, sweep_tables
    from scenarios.reporting.terminal import ProgressBars, print_tables
    from scenarios.storage.whole import check_writable
    from scenarios.studies.pool import cores
    from scenarios.studies.sweeps.estimate import estimate
    from scenarios.studies.sweeps.folder import Status, read_sweep
    from scenarios.studies.sweeps.sweep import load_sweep
    from scenarios.studies.sweeps.sweep_run import run_sweep

    # A polite kill stops a sweep as Ctrl-C does, so that its folder says so.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with ProgressBars(progress_file) as progress:
        plan = load_sweep(file, overrides or ())
        check_writable(out)
        if dry_run:
            points, asked = points_text(plan), estimate(plan, out, progress=progress)
            at_once = workers or cores()
            facts = {**asdict(asked), "workers": at_once, "left_s": asked.left_s(at_once)}
            progress.found({"points_in_words": points, "estimate": facts})
            typer.echo(f"{points}\n{estimate_text(asked, at_once)}")
            return

        def report(at: Status) -> None:
            if at.state == "running":
                progress("points", at.done + at.failed, at.total, status_text(at))

        try:
            folder = run_sweep(
                plan,
                out,
                workers=workers,
                engine=engine.value,
                retry_failed=retry_failed,
                progress=progress,
                report=report,
            )
        except KeyboardInterrupt:
            print("relbid: stopped; the same command goes on from the last finished point", file=sys.stderr)
            raise typer.Exit(130) from None
        progress.made(folder)
    failed = len(list((folder / "failures").glob("*.json")))
    if (folder / "points.parquet").exists():
        print_tables(sweep_tables(read_sweep(folder)))
    typer.echo(f"Sweep: {folder}/  (points.parquet; relbid report {folder} makes a page of it)")
    if failed:
        print(
            f"relbid: {failed} failed, see {folder}/failures/; --retry-failed runs them again",
            file=sys.stderr,
        )
        raise typer.Exit(1)


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
    write_whole_file(path, report_html(read_sweep(folder), max_irrelevant=max_irrelevant))
    typer.echo(f"Report: {path}")
