"""The dashboard, opened in a browser."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import typer

from scenarios.cli.options import RESULTS, Out

# Streamlit's own options.
PASSED_ON = {"allow_extra_args": True, "ignore_unknown_options": True}


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
