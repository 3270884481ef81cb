"""Ads, queries and graded labels of your own, and scores of pairs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from scenarios.cli.options import RESULTS, Cache, Corpus, Device, Out, Overrides, ScenarioFile


def import_corpus(
    context: typer.Context,
    source: Annotated[
        Path,
        typer.Argument(metavar="FOLDER", help="A clone of Chorus, ESCI, WANDS, or tables of your own."),
    ],
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="Where the corpus goes.")],
    schema: Annotated[
        Literal["chorus", "esci", "wands", "own"] | None,
        typer.Option(help="Kind of the files; by default their names decide."),
    ] = None,
    n_frames: Annotated[int, typer.Option("--frames", min=1, max=100, help="Key frames an ad.")] = 3,
    size: Annotated[int, typer.Option(min=16, max=4096, help="Pixels of a frame's edge.")] = 48,
    choice: Annotated[
        Literal["scenes", "evenly"],
        typer.Option("--key-frames", help="How a video's key frames are chosen."),
    ] = "scenes",
    locale: Annotated[str, typer.Option(help="ESCI's locale: us, es or jp.")] = "us",
    small: Annotated[bool, typer.Option(help="ESCI's reduced set of queries.")] = True,
) -> None:
    """Read ads, queries and labels into a corpus, to train and score on, and for a market of its own."""
    from scenarios.corpora.chorus import LEFT_OUT
    from scenarios.corpora.own import import_corpus
    from scenarios.reporting.terminal import ProgressBars

    with ProgressBars() as progress:
        data = import_corpus(**context.params, progress=progress)
    corpus = data.corpus
    typer.echo(
        f"Corpus: {out}/  ({corpus.n_queries:,} queries, {corpus.n_ads:,} ads, {len(data.labels):,} labels)"
    )
    if left_out := data.source.get(LEFT_OUT):
        typer.echo(
            f"Left out: {left_out:,} ratings without a grade, of products that are not there, or given twice"
        )


def export_corpus_tables(
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="Where the tables go.")],
    corpus: Corpus = None,
    format: Annotated[Literal["parquet", "jsonl"], typer.Option(help="Format of the tables.")] = "parquet",
    cache: Cache = RESULTS,
) -> None:
    """Write a corpus as the tables that `relbid corpus import` reads, with pictures."""
    from scenarios.corpora.own import export_corpus_tables
    from scenarios.markets.corpus.offers import MarketCorpus
    from scenarios.models.labelled import training_corpus
    from scenarios.reporting.terminal import ProgressBars

    with ProgressBars() as progress:
        data = MarketCorpus.load(corpus) if corpus else training_corpus(cache, progress=progress)
        export_corpus_tables(data, out, jsonl=format == "jsonl", progress=progress)
    typer.echo(f"Tables: {out}/")


def evaluate_scorers(
    file: ScenarioFile,
    overrides: Overrides = None,
    scorers: Annotated[
        list[str] | None,
        typer.Option(
            "--scorer", metavar="NAME", help="May be repeated; all that the scenario names by default."
        ),
    ] = None,
    out: Out = RESULTS,
) -> None:
    """Compare scorers on the graded pairs of a scenario's corpus, beside its raters."""
    from scenarios.markets.loading import load_scenario
    from scenarios.markets.scoring import check_scorers
    from scenarios.markets.simulation import prepare
    from scenarios.models.judged import evaluate_scorers, graded_by_people, needs_corpus, rater_ceiling
    from scenarios.reporting.judged_tables import judged_tables
    from scenarios.reporting.terminal import ProgressBars, print_tables
    from scenarios.storage.whole import check_writable

    with ProgressBars() as progress:
        scenario = load_scenario(file, overrides or ())
        needs_corpus(scenario)
        names = scorers or [name for name in (*scenario.compare, scenario.scorer) if name != "oracle"]
        names = list(dict.fromkeys(names))
        check_scorers(scenario, names)
        check_writable(out)
        prepared = prepare(scenario, cache=out, progress=progress)
        labels = graded_by_people(prepared)
        found = evaluate_scorers(prepared, names, cache=out, progress=progress)
        raters = rater_ceiling(prepared)
    print_tables(judged_tables(scenario.name, labels, found, raters))


def score(
    corpus: Annotated[Path, typer.Argument(metavar="CORPUS", help="Corpus folder.")],
    pairs: Annotated[
        Path,
        typer.Argument(metavar="PAIRS", help="A table with query_id and ad_id: .parquet, .jsonl or .csv."),
    ],
    out: Annotated[Path, typer.Option(metavar="FILE", help="Where the scores go (Parquet).")] = Path(
        "scores.parquet"
    ),
    checkpoint: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="The shipped one by default.")
    ] = None,
    device: Device = "cpu",
    chunk: Annotated[
        int, typer.Option(min=1, max=10**7, help="Pairs that are scored and kept at once.")
    ] = 8192,
) -> None:
    """Score pairs of queries and ads. Stopped or killed, the same command continues where it was."""
    from scenarios.corpora.pair_scores import score_pairs_table
    from scenarios.markets.checkpoints import named_checkpoint
    from scenarios.reporting.terminal import ProgressBars

    with ProgressBars() as progress:
        n = score_pairs_table(
            corpus,
            pairs,
            out,
            named_checkpoint(checkpoint),
            device=device,
            chunk=chunk,
            progress=progress,
        )
    typer.echo(f"Scores: {out}  ({n:,} pairs)")
