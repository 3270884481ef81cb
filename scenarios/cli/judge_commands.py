"""Grades by a judge, and how far it agrees with people."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from scenarios.cli.options import Device


def judge(
    corpus: Annotated[Path, typer.Argument(metavar="CORPUS", help="Corpus folder.")],
    by: Annotated[
        list[str] | None,
        typer.Option(
            metavar="SCORER",
            help="bm25, hcmrm, minilm, bi_encoder=FOLDER, cross_encoder=FOLDER or module:attr. Repeated: "
            "their mean.",
        ),
    ] = None,
    endpoint: Annotated[
        str | None,
        typer.Option(metavar="URL", help="A server of the OpenAI-style chat protocol, e.g. http://HOST/v1."),
    ] = None,
    model: Annotated[str | None, typer.Option(metavar="NAME", help="The endpoint's model.")] = None,
    key_env: Annotated[
        str | None, typer.Option(metavar="VARIABLE", help="The environment variable with the endpoint's key.")
    ] = None,
    pairs: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Further pairs: a table with query_id and ad_id."),
    ] = None,
    nearest: Annotated[
        int,
        typer.Option(
            min=0, max=10_000, metavar="N", help="Also judge so many ads of each query, the best by BM25."
        ),
    ] = 0,
    out: Annotated[Path, typer.Option(metavar="FILE", help="Where the grades go (Parquet).")] = Path(
        "judged.parquet"
    ),
    student: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Also write a corpus whose training labels are the judge's."),
    ] = None,
    least_confidence: Annotated[
        float, typer.Option(min=0, max=1, help="Of a grade that a student learns from.")
    ] = 0.0,
    checkpoint: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Of hcmrm; the shipped one by default.")
    ] = None,
    device: Device = "cpu",
    concurrent: Annotated[int, typer.Option(min=1, max=64, help="Requests at once.")] = 2,
    timeout: Annotated[float, typer.Option(min=0.1, max=3600, metavar="S", help="Of a request.")] = 60.0,
    attempts: Annotated[int, typer.Option(min=1, max=20, help="Requests for a pair, at most.")] = 5,
) -> None:
    """Grade pairs of a corpus 0 to 3 by a judge, for market.grades. Stopped, the same command continues."""
    import os

    from relevance.chat_judge import ChatJudge
    from scenarios.corpora.judge import Judges, judge_corpus
    from scenarios.corpora.judge_agreement import agreements
    from scenarios.corpora.judge_student import write_student
    from scenarios.markets.checkpoints import named_checkpoint
    from scenarios.reporting.judged_tables import agreement_tables
    from scenarios.reporting.terminal import ProgressBars, print_tables
    from scenarios.storage.whole import check_free

    if (endpoint is None) == (not by) or (endpoint is None) != (model is None):
        raise typer.BadParameter("name judges with --by, or one with --endpoint and --model")
    key = os.environ.get(key_env, "") if key_env else ""
    if key_env and not key:
        raise typer.BadParameter(f"--key-env: the environment variable {key_env} is not set")
    chat = None
    if endpoint is not None and model is not None:
        chat = ChatJudge(endpoint, model, key, timeout_s=timeout, attempts=attempts)
    judges = Judges(tuple(dict.fromkeys(by or ())), chat, concurrent, named_checkpoint(checkpoint), device)
    if checkpoint is not None and "hcmrm" not in judges.scorers:
        raise typer.BadParameter("--checkpoint: is of the scorer hcmrm; name that with --by")
    if least_confidence and student is None:
        raise typer.BadParameter("--least-confidence: is of a student's corpus; name that with --student")
    if student is not None:
        check_free(student, "--student")
        if student.resolve() == out.resolve():
            raise typer.BadParameter(
                f"--student: {student} is where the grades go (--out); name another folder"
            )
    with ProgressBars() as progress:
        result = judge_corpus(corpus, judges, out, pairs=pairs, nearest=nearest, progress=progress)
    print_tables(agreement_tables(judges.source, agreements(result, corpus)))
    typer.echo(f"Grades: {out}  ({result.query.size:,} pairs; name it in market.grades)")
    if student is not None:
        n = write_student(result, student, least_confidence)
        typer.echo(
            f"Corpus: {student}/  ({n:,} training labels by the judge; relbid train --corpus {student})"
        )
