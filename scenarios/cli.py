"""The command `relbid`.

Heavy imports wait until a command needs them, so that `relbid --help` answers at once.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from relevance.hcmrm.train import TrainProgress

app = typer.Typer(
    help="Search-ad auctions ranked by bid, click probability and relevance.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

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


@app.command()
def run(
    file: ScenarioFile,
    overrides: Overrides = None,
    seed: Seed = None,
    scorer: Scorer = None,
    out: Out = RESULTS,
    sweep: Annotated[bool, typer.Option(help="Also run the scenario's sweep.")] = True,
) -> None:
    """Run a scenario: its comparison of scorers, its sweep, and the log of its own scorer's run."""
    from scenarios.load import load_scenario
    from scenarios.run import run_scenario
    from scenarios.store import check_writable, write_result
    from scenarios.terminal import (
        ProgressBars,
        comparison_table,
        print_tables,
        serving_table,
        sweep_table,
        traffic_table,
    )
    from simulator.users import has_loyalty

    scenario = load_scenario(file, overrides or (), seed=seed, scorer=scorer)
    check_writable(out)
    with ProgressBars() as progress:
        result = run_scenario(scenario, cache=out, sweep=sweep, progress=progress)
        folder = write_result(out, scenario, result.metrics, result.points, result.log)
    tables = [comparison_table(scenario, result.points)]
    if has_loyalty(scenario.users):
        tables.append(traffic_table(scenario, result.points))
    if sweep and scenario.sweep is not None:
        tables.append(sweep_table(scenario, result.points))
    if not scenario.serving.instant or scenario.serving.first_stage_keep:
        tables.append(serving_table(scenario, result.points))
    print_tables(tables)
    typer.echo(f"Results: {folder}/  (points.parquet, log.parquet, metrics.json, scenario.yaml)")


@app.command()
def experiment(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Experiment file (YAML).")],
    overrides: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="FIELD=VALUE", help="Set a field of the scenario in all arms. May be repeated."
        ),
    ] = None,
    seeds: Annotated[int | None, typer.Option(metavar="N", help="Replace the number of seeds.")] = None,
    out: Out = RESULTS,
) -> None:
    """Compare arms over many seeds, with intervals. Stopped, the same command goes on where it was."""
    from scenarios.experiments.run import check_experiment, run_experiment, write_experiment
    from scenarios.experiments.schema import load_experiment
    from scenarios.experiments.terminal import experiment_tables
    from scenarios.store import check_writable
    from scenarios.terminal import ProgressBars, print_tables

    plan = load_experiment(file, overrides or (), seeds=seeds)
    check_experiment(plan)
    check_writable(out)
    try:
        with ProgressBars() as progress:
            result = run_experiment(plan, cache=out, progress=progress)
            folder = write_experiment(out, result)
    except KeyboardInterrupt:
        print("relbid: stopped; the same command goes on from the last finished replicate", file=sys.stderr)
        raise typer.Exit(130) from None
    print_tables(experiment_tables(result))
    if not result.reached:
        typer.echo(f"The half-width wanted takes more than max_seeds ({len(result.seeds)}); it is wider.")
    typer.echo(f"Results: {folder}/  (replicates.parquet, summary.json, experiment.yaml, scenario.yaml)")


class Engine(StrEnum):
    """Who simulates the points of a sweep."""

    LOCAL = "local"
    RAY = "ray"


@app.command()
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
) -> None:
    """Run every point of a sweep. Stopped or killed, the same command goes on where it was."""
    import signal

    from scenarios.store import check_writable
    from scenarios.sweeps.engine import run_sweep
    from scenarios.sweeps.estimate import estimate
    from scenarios.sweeps.folder import Status, read_sweep
    from scenarios.sweeps.schema import load_sweep
    from scenarios.sweeps.terminal import estimate_text, status_text, sweep_tables
    from scenarios.terminal import ProgressBars, print_tables

    # A polite kill stops a sweep as Ctrl-C does, so that its folder says so.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    plan = load_sweep(file, overrides or ())
    check_writable(out)
    with ProgressBars() as progress:
        if dry_run:
            typer.echo(estimate_text(plan, estimate(plan, out, progress=progress), workers))
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


@app.command()
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
    from scenarios.store import write_whole_file
    from scenarios.sweeps.folder import read_sweep
    from scenarios.sweeps.report import report_html

    path = out or folder / "report.html"
    write_whole_file(path, report_html(read_sweep(folder), max_irrelevant=max_irrelevant))
    typer.echo(f"Report: {path}")


@app.command()
def show(file: ScenarioFile, overrides: Overrides = None, seed: Seed = None, scorer: Scorer = None) -> None:
    """Print a scenario with every default, as YAML that `relbid run` reads."""
    from scenarios.load import dump_scenario, load_scenario

    typer.echo(dump_scenario(load_scenario(file, overrides or (), seed=seed, scorer=scorer)), nl=False)


@app.command()
def tune(
    file: ScenarioFile,
    max_irrelevant: Annotated[
        float, typer.Option(metavar="SHARE", help="Most of the shown ads that may be irrelevant.")
    ],
    overrides: Overrides = None,
    scorer: Scorer = None,
    evaluations: Annotated[int, typer.Option(metavar="N", help="Sets of weights to try.")] = 150,
    markets: Annotated[int, typer.Option(metavar="N", help="Markets (seeds) to try each on.")] = 4,
    queries: Annotated[int, typer.Option(metavar="N", help="Queries of each market.")] = 10_000,
    out: Out = RESULTS,
) -> None:
    """Learn the weights of the fusion rule 'learnt'; print the scenario with them, for `relbid run`."""
    from scenarios.load import dump_scenario, load_scenario
    from scenarios.market import check_scorers, prepare, relevance_of
    from scenarios.terminal import ProgressBars
    from scenarios.tuning import tune_fusion

    scenario = load_scenario(file, overrides or (), scorer=scorer)
    check_scorers(scenario, [scenario.scorer])
    with ProgressBars() as progress:
        prepared = prepare(scenario, cache=out, progress=progress)
        tuned = tune_fusion(
            prepared,
            relevance_of(prepared, scenario.scorer, cache=out, progress=progress),
            max_irrelevant=max_irrelevant,
            evaluations=evaluations,
            n_markets=markets,
            n_queries=queries,
            progress=progress,
        )
    named = {
        "first weights": tuned.start,
        "tuned": tuned.found,
        "first weights, on seeds not seen": tuned.fresh_start,
        "tuned, on seeds not seen": tuned.fresh,
    }
    for name, found in named.items():
        typer.echo(
            f"# {name}: revenue {found.revenue_rpm:.2f} per 1000 queries, "
            f"irrelevant {100 * found.irrelevant_share:.2f}%"
        )
    typer.echo(dump_scenario(tuned.scenario), nl=False)


@app.command()
def schema() -> None:
    """Print the JSON schema of scenario files, for editors."""
    import json

    from scenarios.schema import Scenario

    typer.echo(json.dumps(Scenario.model_json_schema(), indent=2))


class Modality(StrEnum):
    """What a model may look at."""

    JOINT = "joint"
    TEXT = "text"
    FRAMES = "frames"


class Preset(StrEnum):
    """Sizes of a model."""

    TINY = "tiny"
    SMALL = "small"
    BASE = "base"


class Device(StrEnum):
    """Where torch computes."""

    CPU = "cpu"
    CUDA = "cuda"


class Loss(StrEnum):
    """Losses of the fine-tuning, `relevance.hcmrm.losses.GRADE_HEADS`."""

    HIERARCHICAL = "hierarchical"
    BCE = "bce"
    FLAT = "flat"
    ORDINAL = "ordinal"
    RANKNET = "ranknet"


class Criterion(StrEnum):
    """What a checkpoint is chosen by, `relevance.hcmrm.train.CRITERIA`."""

    MEAN_AUC = "mean_auc"
    NDCG_10 = "ndcg_10"


class SplitName(StrEnum):
    """Graded pairs to evaluate on."""

    VALIDATION = "validation"
    TEST = "test"
    HELD_OUT = "held_out"


Corpus = Annotated[
    Path | None, typer.Option(metavar="FOLDER", help="A graded corpus; the embedded world's by default.")
]
Cache = Annotated[Path, typer.Option(metavar="FOLDER", help="Where the embedded world's corpus is kept.")]


@app.command()
def train(
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="Where the checkpoint goes.")] = MODELS
    / "hcmrm",
    corpus: Corpus = None,
    modality: Annotated[Modality, typer.Option(help="What the model may look at.")] = Modality.JOINT,
    preset: Annotated[Preset, typer.Option(help="Sizes of the model.")] = Preset.TINY,
    word_steps: Annotated[int | None, typer.Option(min=0, help="Steps of the stage on words alone.")] = None,
    align_steps: Annotated[
        int | None, typer.Option(min=0, help="Steps of the stage that aligns frames with words.")
    ] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Steps of the stage on graded pairs.")] = None,
    loss: Annotated[Loss, typer.Option(help="Of the stage on graded pairs.")] = Loss.HIERARCHICAL,
    pqvm_weight: Annotated[
        float,
        typer.Option(min=0.0, help="Of pseudo-query-video matching in the stage before; 0 leaves it out."),
    ] = 0.0,
    itm_weight: Annotated[
        float, typer.Option(min=0.0, help="Of image-text matching with hard negatives in that stage.")
    ] = 0.0,
    momentum: Annotated[
        float,
        typer.Option(
            min=0.0, max=1.0, help="Decay of ALBEF's momentum encoders in that stage; 0 leaves them out."
        ),
    ] = 0.0,
    queue: Annotated[int, typer.Option(min=0, help="Embeddings of theirs kept as further negatives.")] = 0,
    choose_by: Annotated[
        Criterion, typer.Option(help="What the kept weights are best in, on the validation split.")
    ] = Criterion.MEAN_AUC,
    seed: Annotated[int, typer.Option(min=0)] = 0,
    device: Device = Device.CPU,
    threads: Annotated[int | None, typer.Option(min=1, help="Processor threads.")] = None,
    export: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Only write the corpus, to train on another machine."),
    ] = None,
    cache: Cache = RESULTS,
) -> None:
    """Train HCMRM on graded pairs. Stopped, the same command goes on where it was."""
    from relevance.corpus import LabelledCorpus
    from scenarios.store import check_writable
    from scenarios.terminal import ProgressBars
    from scenarios.training import export_corpus, train_model, training_corpus

    if export is not None:
        with ProgressBars() as progress:
            export_corpus(export, progress)
        typer.echo(f"Corpus: {export}/")
        return
    check_writable(out)
    settings = {
        "seed": seed,
        "word_steps": word_steps,
        "align_steps": align_steps,
        "finetune_steps": steps,
        "loss": loss.value,
        "pqvm_weight": pqvm_weight,
        "itm_weight": itm_weight,
        "momentum": momentum,
        "queue": queue,
        "choose_by": choose_by.value,
    }
    given = {name: value for name, value in settings.items() if value is not None}
    try:
        with ProgressBars() as progress:
            data = LabelledCorpus.load(corpus) if corpus else training_corpus(cache, progress)

            def report(at: TrainProgress) -> None:
                progress(at.stage, at.step, at.steps, f"loss {at.loss:.3f}")
                if at.validation is not None:
                    figures = ", ".join(
                        f"{name} {value:.3f}" for name, value in at.validation.as_dict().items()
                    )
                    progress.note(f"step {at.step} of {at.steps}, validation: {figures}")

            train_model(
                data,
                out,
                modality=modality.value,
                preset=preset.value,
                device=device.value,
                threads=threads,
                settings=given,
                progress=report,
            )
    except KeyboardInterrupt:
        print("relbid: stopped; the same command goes on from the last saved step", file=sys.stderr)
        raise typer.Exit(130) from None
    typer.echo(f"Checkpoint: {out}/")


@app.command()
def evaluate(
    checkpoint: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="A checkpoint; the shipped one by default.")
    ] = None,
    against: Annotated[
        list[str] | None, typer.Option(metavar="NAME=FOLDER", help="Another checkpoint. May be repeated.")
    ] = None,
    split: Annotated[list[SplitName] | None, typer.Option(help="May be repeated; test by default.")] = None,
    corpus: Corpus = None,
    device: Device = Device.CPU,
    card: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the checkpoint's card (Markdown).")
    ] = None,
    cache: Cache = RESULTS,
) -> None:
    """Evaluate a checkpoint on held-out queries and ads, against BM25 and other checkpoints."""
    import json

    from relevance.corpus import LabelledCorpus
    from scenarios.market import SHIPPED_CHECKPOINT, SHIPPED_CHECKPOINTS
    from scenarios.store import write_whole_file
    from scenarios.terminal import ProgressBars, evaluation_table, print_tables
    from scenarios.training import evaluate_models, model_card, training_corpus

    checkpoints = {"hcmrm": checkpoint or SHIPPED_CHECKPOINT}
    for text in against or ():
        name, equals, folder = text.partition("=")
        if not equals or not name or not folder:
            raise typer.BadParameter(f"'{text}': write NAME=FOLDER, for instance text=models/text")
        checkpoints[name] = SHIPPED_CHECKPOINTS.get(folder, Path(folder))
    splits = [name.value for name in split or (SplitName.TEST,)]
    with ProgressBars() as progress:
        data = LabelledCorpus.load(corpus) if corpus else training_corpus(cache, progress)
        results = evaluate_models(data, checkpoints, splits, device=device.value, progress=progress)
    print_tables([evaluation_table(name, evaluations) for name, evaluations in results.items()])
    if card is not None:
        training = json.loads((checkpoints["hcmrm"] / "training.json").read_text(encoding="utf-8"))
        command = ["relbid", *sys.argv[1:]]
        write_whole_file(card, model_card(data, training, results, command))
        typer.echo(f"Card: {card}")


corpora = typer.Typer(help="Ads, queries and graded labels of your own.", no_args_is_help=True)
app.add_typer(corpora, name="corpus")


class Schema(StrEnum):
    """What the files of a corpus look like."""

    TABLES = "tables"
    ESCI = "esci"
    WANDS = "wands"


class KeyFrames(StrEnum):
    """How key frames are taken from a video."""

    SCENES = "scenes"
    EVENLY = "evenly"


class TableFormat(StrEnum):
    """Of exported tables."""

    PARQUET = "parquet"
    JSONL = "jsonl"


@corpora.command("import")
def import_corpus(
    source: Annotated[Path, typer.Argument(metavar="FOLDER", help="Tables of your own, or ESCI, or WANDS.")],
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="Where the corpus goes.")],
    schema: Annotated[Schema | None, typer.Option(help="What the files look like; seen by default.")] = None,
    frames: Annotated[int, typer.Option(min=1, help="Key frames an ad.")] = 3,
    size: Annotated[int, typer.Option(min=16, help="Pixels of their edges.")] = 48,
    key_frames: Annotated[KeyFrames, typer.Option(help="Of a video.")] = KeyFrames.SCENES,
    locale: Annotated[str, typer.Option(help="Of ESCI: us, es or jp.")] = "us",
    small: Annotated[bool, typer.Option(help="Of ESCI: the reduced set of queries.")] = True,
) -> None:
    """Read ads, queries and labels into a corpus that train, evaluate and score take."""
    from scenarios.corpora.own import import_corpus
    from scenarios.terminal import ProgressBars

    with ProgressBars() as progress:
        data = import_corpus(
            source,
            out,
            schema=None if schema is None else schema.value,
            n_frames=frames,
            size=size,
            choice=key_frames.value,
            locale=locale,
            small=small,
            progress=progress,
        )
    corpus = data.corpus
    typer.echo(
        f"Corpus: {out}/  ({corpus.n_queries:,} queries, {corpus.n_ads:,} ads, {len(data.labels):,} labels)"
    )


@corpora.command("export")
def export_corpus_tables(
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="Where the tables go.")],
    corpus: Corpus = None,
    format: Annotated[TableFormat, typer.Option(help="Of the tables.")] = TableFormat.PARQUET,
    cache: Cache = RESULTS,
) -> None:
    """Write a corpus as the tables that `relbid corpus import` reads, with pictures."""
    from relevance.corpus import LabelledCorpus
    from scenarios.corpora.own import export_corpus_tables
    from scenarios.terminal import ProgressBars
    from scenarios.training import training_corpus

    with ProgressBars() as progress:
        data = LabelledCorpus.load(corpus) if corpus else training_corpus(cache, progress)
        export_corpus_tables(data, out, jsonl=format is TableFormat.JSONL, progress=progress)
    typer.echo(f"Tables: {out}/")


@app.command()
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
    device: Device = Device.CPU,
    chunk: Annotated[int, typer.Option(min=1, help="Pairs that are finished at once.")] = 8192,
) -> None:
    """Score pairs of queries and ads. Stopped or killed, the same command goes on where it was."""
    from scenarios.corpora.pair_scores import score_pairs_table
    from scenarios.market import SHIPPED_CHECKPOINT
    from scenarios.terminal import ProgressBars

    with ProgressBars() as progress:
        n = score_pairs_table(
            corpus,
            pairs,
            out,
            checkpoint or SHIPPED_CHECKPOINT,
            device=device.value,
            chunk=chunk,
            progress=progress,
        )
    typer.echo(f"Scores: {out}  ({n:,} pairs)")


@app.command("import-weights")
def import_weights(
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="Where the checkpoint goes.")],
    albef: Annotated[
        Path | None, typer.Option(metavar="FILE", help="ALBEF's checkpoint (.pth or .safetensors).")
    ] = None,
    vit: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="A ViT in the transformers format.")
    ] = None,
    bert: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="A BERT in the transformers format.")
    ] = None,
    tokenizer: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="tokenizer.json or vocab.txt of ALBEF's BERT; by default beside the checkpoint.",
        ),
    ] = None,
    heads: Annotated[
        int | None, typer.Option(min=1, help="ALBEF's attention heads, 12 as published.")
    ] = None,
    visual_heads: Annotated[
        int | None, typer.Option(min=1, help="Heads of ALBEF's visual encoder, if it has another number.")
    ] = None,
    text_layers: Annotated[
        int | None, typer.Option(min=0, help="BERT's layers that see no frames; half of them by default.")
    ] = None,
    image_size: Annotated[
        int | None, typer.Option(min=1, help="Pixels of an edge, if another than the weights'.")
    ] = None,
    frames: Annotated[int, typer.Option(min=1, help="Key frames an ad.")] = 3,
) -> None:
    """Make a checkpoint of public weights: of an ALBEF, or of a ViT and a BERT."""
    from scenarios.weights import import_weights

    readable = import_weights(
        out,
        albef=albef,
        vit=vit,
        bert=bert,
        tokenizer=tokenizer,
        heads=heads,
        visual_heads=visual_heads,
        text_layers=text_layers,
        image_size=image_size,
        n_frames=frames,
    )
    typer.echo(f"Checkpoint: {out}/")
    if not readable:
        print("relbid: it has no tokenizer and cannot read texts; --tokenizer gives it one", file=sys.stderr)


@app.command("fit-pctr")
def fit_pctr(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Scenario file (YAML), or a result folder.")],
    overrides: Overrides = None,
    seed: Seed = None,
    scorer: Scorer = None,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Where the model goes; models/pctr-NAME.yaml.")
    ] = None,
    cache: Cache = RESULTS,
) -> None:
    """Fit the platform's click prediction on a market's own log; a scenario uses it by pctr.model."""
    from scenarios.pctr_fit import fit_ctr, log_of, scenario_of, write_ctr_file
    from scenarios.store import check_writable
    from scenarios.terminal import ProgressBars, ctr_tables, print_tables

    scenario = scenario_of(file, overrides or (), seed=seed, scorer=scorer)
    path = out or MODELS / f"pctr-{scenario.name}.yaml"
    check_writable(path.parent)
    with ProgressBars() as progress:
        fitted = fit_ctr(scenario, log_of(file), cache=cache, progress=progress)
    write_ctr_file(path, fitted)
    print_tables(ctr_tables(fitted, scenario.users.examination))
    typer.echo(f"Click model: {path}  (use it with --set pctr.model={path})")


@app.command()
def replay(
    file: Annotated[
        Path | None,
        typer.Argument(
            metavar="FILE", help="Auctions of your own (Parquet, JSON lines), or a scenario that names them."
        ),
    ] = None,
    advertisers: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Daily budgets: Parquet or JSON lines.")
    ] = None,
    relevance: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Rank by the column relevance_NAME. May be repeated; all of them."),
    ] = None,
    rule: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Fusion rule. May be repeated; all of them.")
    ] = None,
    thresholds: Annotated[
        str | None, typer.Option(metavar="T,...", help="Of relevance, for gates and tiers.")
    ] = None,
    examination: Annotated[
        str | None,
        typer.Option(metavar="P,...", help="How likely each slot is looked at; estimated from the log."),
    ] = None,
    reserve: Annotated[
        float | None, typer.Option(min=0, help="Least bid, currency per click; 0, or the scenario's.")
    ] = None,
    mechanism: Annotated[
        str | None, typer.Option(help="gsp, vcg or first_price; gsp, or the scenario's.")
    ] = None,
    clip: Annotated[float, typer.Option(min=1, help="Largest weight of a logged click.")] = 10.0,
    seed: Annotated[
        int | None, typer.Option(min=0, help="Of the lots that break ties, and of the example; 1.")
    ] = None,
    example: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Only write an example of such a table.")
    ] = None,
    rows: Annotated[int, typer.Option(min=10, help="Rows of the example.")] = 1000,
    schema: Annotated[bool, typer.Option(help="Only print the JSON schema of a row.")] = False,
    out: Out = RESULTS,
) -> None:
    """Auction your own logged queries again: what other fusion rules would have done to them."""
    import json

    if schema:
        from scenarios.replay.schema import json_schema

        typer.echo(json.dumps(json_schema(), indent=2))
        return
    if example is not None:
        from scenarios.replay.example import write_example

        n_rows = write_example(example, n_rows=rows, seed=1 if seed is None else seed)
        typer.echo(f"{n_rows:,} rows: {example}")
        return
    if file is None:
        raise typer.BadParameter("name a table to replay, or write one to look at with --example FILE")
    from scenarios.replay.run import replay_file, write_replay
    from scenarios.store import check_writable
    from scenarios.terminal import ProgressBars, print_tables, replay_table

    check_writable(out)
    with ProgressBars() as progress:
        result, settings = replay_file(
            file,
            advertisers=advertisers,
            scorers=relevance or (),
            rules=rule or (),
            thresholds=None if thresholds is None else _numbers(thresholds, "--thresholds"),
            examination=None if examination is None else _numbers(examination, "--examination"),
            reserve=reserve,
            mechanism=mechanism,
            clip=clip,
            seed=seed,
            progress=progress,
        )
        folder = write_replay(out, result, settings)
    print_tables([replay_table(result)])
    typer.echo(f"Results: {folder}/  (replay.parquet, replay.json)")


def _numbers(text: str, option: str) -> list[float]:
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise typer.BadParameter(f"{option} {text}: needs numbers with commas between") from None


@app.command()
def profile(
    file: ScenarioFile,
    write: Annotated[Path, typer.Option("--out", metavar="FILE", help="Where the profile goes (JSON).")],
    overrides: Overrides = None,
    scorer: Scorer = None,
    repeats: Annotated[int, typer.Option(min=1, help="Batches timed of each size.")] = 7,
    cache: Cache = RESULTS,
) -> None:
    """Measure how long a scenario's scorer takes for a batch on this machine, for serving.profile."""
    import json

    from scenarios.load import load_scenario
    from scenarios.profiling import measure_profile
    from scenarios.store import write_whole_file
    from scenarios.terminal import ProgressBars, print_tables, profile_table

    scenario = load_scenario(file, overrides or (), scorer=scorer)
    with ProgressBars() as progress:
        measured = measure_profile(scenario, repeats=repeats, cache=cache, progress=progress)
    write_whole_file(write, json.dumps(measured.model_dump(mode="json", by_alias=True), indent=2) + "\n")
    print_tables([profile_table(measured)])
    typer.echo(f"Profile: {write}  (name it in serving.profile)")


@app.command("app", context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
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


def _user_errors() -> tuple[type[Exception], ...]:
    """Errors whose message is meant for the user; everything else is a defect and keeps its traceback."""
    from relevance.corpus import CorpusError
    from relevance.errors import CheckpointError, PluginError, ScorerError
    from scenarios.errors import UserError

    return UserError, CheckpointError, CorpusError, PluginError, ScorerError


def main() -> None:
    """Entry point of the command `relbid`: exit code 2 and one message for what the user can mend."""
    # A plug-in named module:attr is looked for where the user stands, as with `python -m`.
    sys.path.insert(0, "")
    try:
        app()
    except Exception as error:
        if isinstance(error, _user_errors()):
            print(f"relbid: {error}", file=sys.stderr)
            sys.exit(2)
        raise


if __name__ == "__main__":
    main()
