"""Arguments and options that several commands share.

A command that only hands its options on names them as the function that it calls does, and calls it with
`**context.params`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

RESULTS = Path("results")
MODELS = Path("models")

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
ProgressPath = Annotated[
    Path | None,
    typer.Option("--progress", metavar="FILE", help="Keep how far it is in a JSON file, for who polls it."),
]
Corpus = Annotated[
    Path | None, typer.Option(metavar="FOLDER", help="A graded corpus; the embedded world's by default.")
]
Cache = Annotated[Path, typer.Option(metavar="FOLDER", help="Where the embedded world's corpus is kept.")]
Device = Literal["cpu", "cuda"]
"""Where torch computes."""
