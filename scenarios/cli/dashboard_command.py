"""The dashboard, opened in a browser."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from scenarios.cli.options import RESULTS, Out

STREAMLITS_OPTIONS = {"allow_extra_args": True, "ignore_unknown_options": True}


MOST_PORT = 65_535


def _check_port(arguments: Sequence[str]) -> None:
    """Refuse a port that there is none of; Streamlit would begin and stop with a message of its own."""
    for one, following in zip(arguments, [*arguments[1:], ""], strict=False):
        name, equals, value = one.partition("=")
        port = value if equals else following
        if name == "--server.port" and not (
            port.isascii() and port.isdigit() and 0 < int(port[:9]) <= MOST_PORT
        ):
            raise typer.BadParameter(f"--server.port {port or '(nothing)'}: must be from 1 to {MOST_PORT}")


Worlds = Annotated[
    int,
    typer.Option(min=1, max=32, help="Compare over so many worlds; the others are prepared beside the page."),
]


def dashboard(context: typer.Context, out: Out = RESULTS, worlds: Worlds = 4) -> None:
    """Open the dashboard in a browser. Further options go to Streamlit, e.g. --server.port=8600."""
    from relevance.extras import require

    require("streamlit", "plotly", extra="app", needed_by="the dashboard")
    _check_port(context.args)
    try:
        results = out.resolve()
    except RuntimeError:
        raise typer.BadParameter(f"--out {out}: links to itself") from None
    if results.exists() and not results.is_dir():
        raise typer.BadParameter(f"--out {out}: is no folder")
    package = find_spec("app")
    assert package is not None, "the four packages are installed together"
    assert package.submodule_search_locations is not None
    command = [
        sys.executable,
        "-P",  # a module of yours that is called json must not be taken for Python's
        "-m",
        "streamlit",
        "run",
        str(Path(package.submodule_search_locations[0]) / "main.py"),
        "--browser.gatherUsageStats=false",
        *context.args,
    ]
    environment = {**os.environ, "RELBID_RESULTS": str(results), "RELBID_WORLDS": str(worlds)}
    if os.name == "posix":  # this process becomes Streamlit, so a signal to it reaches Streamlit
        os.execve(sys.executable, command, environment)
    raise typer.Exit(subprocess.call(command, env=environment))
