"""HCMRM: train it, evaluate it, calibrate it, import public weights."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from scenarios.cli.options import (
    MODELS,
    MOST_SEED,
    RESULTS,
    Cache,
    Corpus,
    Device,
    WorldOf,
    Worlds,
    check_page,
)

if TYPE_CHECKING:
    from relevance.hcmrm.training.train import TrainProgress


# Typer reads choices when the command line starts, which must not import torch. So they are written here too,
# and a test compares them with the names that the model knows.
Modality = Literal["joint", "text", "frames"]
Preset = Literal["tiny", "small", "picture", "base"]
Loss = Literal["hierarchical", "bce", "flat", "ordinal", "ranknet"]
Criterion = Literal["mean_auc", "auc", "ndcg_10", "auc_ndcg"]
Split = Literal["validation", "test", "held_out"]
# Typer takes no lists of Literal.
Stage = StrEnum("Stage", ["words", "align", "finetune"])
SplitName = StrEnum("SplitName", ["validation", "test", "held_out"])


def train(
    context: typer.Context,
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="Where the checkpoint goes.")] = MODELS
    / "hcmrm",
    corpus: Corpus = None,
    worlds: Worlds = None,
    scenario: WorldOf = None,
    fold: Annotated[
        int | None,
        typer.Option(min=0, max=9, help="Fold of the catalogue that gets no labels; none by default."),
    ] = None,
    modality: Annotated[Modality, typer.Option(help="What the model may look at.")] = "joint",
    preset: Annotated[Preset, typer.Option(help="Sizes of the model.")] = "tiny",
    # From here on, a parameter that is named as a field of TrainConfig sets it.
    word_steps: Annotated[
        int | None, typer.Option(min=0, max=10**8, help="Steps of the stage on words alone.")
    ] = None,
    align_steps: Annotated[
        int | None, typer.Option(min=0, max=10**8, help="Steps of the stage that aligns frames with words.")
    ] = None,
    finetune_steps: Annotated[
        int | None, typer.Option("--steps", min=1, max=10**8, help="Steps of the stage on graded pairs.")
    ] = None,
    loss: Annotated[Loss, typer.Option(help="Loss of the stage on graded pairs.")] = "hierarchical",
    pqvm_weight: Annotated[
        float,
        typer.Option(
            min=0.0,
            max=1e4,
            help="Weight of pseudo-query-video matching in the align stage; 0 leaves it out.",
        ),
    ] = 0.0,
    itm_weight: Annotated[
        float,
        typer.Option(
            min=0.0, max=1e4, help="Weight of image-text matching with hard negatives in the align stage."
        ),
    ] = 0.0,
    momentum: Annotated[
        float,
        typer.Option(
            min=0.0, max=1.0, help="Decay of ALBEF's momentum encoders in the align stage; 0 leaves them out."
        ),
    ] = 0.0,
    queue: Annotated[
        int, typer.Option(min=0, max=10**7, help="Embeddings of those encoders to keep as further negatives.")
    ] = 0,
    choose_by: Annotated[
        Criterion, typer.Option(help="Keep the weights that are best in this on the validation split.")
    ] = "mean_auc",
    init: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Start from the weights and vocabulary of a checkpoint."),
    ] = None,
    from_bert: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Start text and fusion layers from a BERT (transformers), or minilm.",
        ),
    ] = None,
    from_vision: Annotated[
        Path | None,
        typer.Option(
            metavar="PATH",
            help="With --from-bert: see frames by a public ViT, or EfficientNet-Lite0. "
            "Without it the model reads texts alone.",
        ),
    ] = None,
    stages: Annotated[
        list[Stage] | None,
        typer.Option("--stage", help="Run this stage alone. May be repeated; all by default."),
    ] = None,
    overrides: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="FIELD=VALUE",
            help="Set a field of TrainConfig, e.g. labels=5000. May be repeated.",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, max=MOST_SEED)] = 0,
    device: Device = "cpu",
    threads: Annotated[int | None, typer.Option(min=1, max=1024, help="Processor threads.")] = None,
    export: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Only write the corpus, to train on another machine."),
    ] = None,
    cache: Cache = RESULTS,
) -> None:
    """Train HCMRM on graded pairs. Stopped, the same command continues where it was."""
    import relevance.hcmrm  # noqa: F401  # what is missing is said before the corpus is drawn
    from relevance.corpus import LabelledCorpus
    from scenarios.errors import UserError
    from scenarios.models.labelled import export_corpus, training_corpus, training_worlds
    from scenarios.models.train_settings import read_settings
    from scenarios.models.training import train_model
    from scenarios.reporting.terminal import ProgressBars
    from scenarios.storage.whole import check_free, check_writable

    if corpus is not None and out.exists() and corpus.exists() and out.samefile(corpus):
        raise UserError(
            "is the corpus that --corpus names", file=f"--out {out}", remedy="name another folder"
        )
    drawn = training_worlds(corpus, worlds, fold, scenario)
    if export is not None:
        if corpus is not None:
            raise typer.BadParameter(
                "--export: the corpus that --corpus names is a folder already; leave one out"
            )
        check_free(export, "--export")
        with ProgressBars() as progress:
            export_corpus(export, drawn, cache, progress)
        typer.echo(f"Corpus: {export}/")
        return
    # A training from public weights has other defaults than the options.
    options = {
        name: value
        for name, value in context.params.items()
        if from_bert is None or getattr(context.get_parameter_source(name), "name", "") != "DEFAULT"
    }
    settings = read_settings(options, overrides or ())  # imports torch, so it comes before the folder
    check_writable(out)
    try:
        with ProgressBars() as progress:

            def report(at: TrainProgress) -> None:
                progress(at.stage, at.step, at.steps, f"loss {at.loss:.3f}")
                if at.validation is not None:
                    metrics = at.validation.as_dict().items()
                    figures = ", ".join(f"{name} {value:.3f}" for name, value in metrics)
                    progress.note(f"step {at.step} of {at.steps}, validation: {figures}")

            train_model(
                LabelledCorpus.load(corpus) if corpus else training_corpus(cache, drawn, progress),
                out,
                modality=modality,
                preset=preset,
                device=device,
                threads=threads,
                settings=settings,
                bert=from_bert,
                vision=from_vision,
                progress=report,
            )
    except KeyboardInterrupt:
        print("relbid: stopped; the same command continues from the last saved step", file=sys.stderr)
        raise typer.Exit(130) from None
    typer.echo(f"Checkpoint: {out}/")


def evaluate(
    checkpoint: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="A checkpoint; the shipped one by default.")
    ] = None,
    against: Annotated[
        list[str] | None, typer.Option(metavar="NAME=FOLDER", help="Another checkpoint. May be repeated.")
    ] = None,
    split: Annotated[list[SplitName] | None, typer.Option(help="May be repeated; test by default.")] = None,
    corpus: Corpus = None,
    worlds: Worlds = None,
    scenario: WorldOf = None,
    device: Device = "cpu",
    card: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the checkpoint's card (Markdown).")
    ] = None,
    cache: Cache = RESULTS,
) -> None:
    """Evaluate a checkpoint on queries and advertisers that no training saw, against BM25 and others.

    The split held_out is of the products that the checkpoint had no labels of (relbid train --fold).
    """
    from relevance.errors import CheckpointError
    from relevance.files import read_json
    from scenarios.markets.checkpoints import named_checkpoint
    from scenarios.models.labelled import load_test_corpus
    from scenarios.models.training import HEADINGS, evaluate_models, evaluation_row, model_card
    from scenarios.reporting.terminal import ProgressBars, print_tables, section
    from scenarios.storage.whole import check_file_place, write_whole_file

    checkpoints = {"hcmrm": named_checkpoint(checkpoint)}
    for text in against or ():
        name, equals, folder = text.partition("=")
        if not equals or not name or not folder:
            raise typer.BadParameter(f"--against '{text}': write NAME=FOLDER, for instance text=models/text")
        if name in (*checkpoints, "bm25"):
            raise typer.BadParameter(f"--against '{name}': is in the table already; take another name")
        checkpoints[name] = named_checkpoint(folder)
    splits = tuple(split or ("test",))
    if card is not None:
        for read in (*checkpoints.values(), *([corpus] if corpus else [])):
            check_page(card, read)
        check_file_place(card)
    with ProgressBars() as progress:
        data, doubts = load_test_corpus(
            corpus, worlds, checkpoints.values(), splits, cache, progress, scenario
        )
        results = evaluate_models(data, checkpoints, splits, device=device, progress=progress)
    for doubt in doubts:
        print(f"relbid: {doubt}", file=sys.stderr)
    note = "leads: the first row's metric minus this one's, with 95% bootstrap intervals over queries"
    print_tables(
        section(f"Relevance on the split '{name}'", HEADINGS, map(evaluation_row, evaluations), note)
        for name, evaluations in results.items()
    )
    if card is not None:
        training = read_json(checkpoints["hcmrm"] / "training.json", dict, CheckpointError)
        command = ["relbid", *sys.argv[1:]]
        write_whole_file(card, model_card(data, training, results, command))
        typer.echo(f"Card: {card}")


def calibrate(
    checkpoint: Annotated[Path, typer.Option(metavar="FOLDER", help="The checkpoint to calibrate.")],
    fit_on: Annotated[Split, typer.Option(help="Pairs to fit on.")] = "validation",
    split: Annotated[Split, typer.Option(help="Pairs to measure on.")] = "test",
    corpus: Corpus = None,
    worlds: Worlds = None,
    scenario: WorldOf = None,
    device: Device = "cpu",
    cache: Cache = RESULTS,
) -> None:
    """Fit maps from a checkpoint's score to a probability, for scenarios with hcmrm.calibration."""
    from scenarios.models.checkpoint_calibration import HEADINGS, calibrate_checkpoint
    from scenarios.models.labelled import load_test_corpus
    from scenarios.reporting.terminal import ProgressBars, print_tables, section

    with ProgressBars() as progress:
        data, _ = load_test_corpus(corpus, worlds, [checkpoint], (fit_on, split), cache, progress, scenario)
        rows = calibrate_checkpoint(
            data, checkpoint, fit_on=fit_on, split=split, device=device, progress=progress
        )
    title = f"The score as a probability of grade 2 or 3, on the split '{split}'"
    note = "ECE: expected calibration error; mean: of the score; positive: share of grades 2 and 3"
    print_tables([section(title, HEADINGS, rows, note)])
    typer.echo(f"Calibration: {checkpoint / 'calibration.json'}")


def import_weights(
    context: typer.Context,
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="Where the checkpoint goes.")],
    albef: Annotated[
        Path | None, typer.Option(metavar="FILE", help="ALBEF's checkpoint (.pth or .safetensors).")
    ] = None,
    vision: Annotated[
        Path | None,
        typer.Option(
            metavar="PATH", help="A ViT in the transformers format, or EfficientNet-Lite0's weights."
        ),
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
        int | None, typer.Option(min=1, max=256, help="ALBEF's attention heads, 12 as published.")
    ] = None,
    visual_heads: Annotated[
        int | None,
        typer.Option(min=1, max=256, help="Heads of ALBEF's visual encoder, if it has another number."),
    ] = None,
    text_layers: Annotated[
        int | None,
        typer.Option(min=0, max=200, help="BERT's layers that see no frames; half of them by default."),
    ] = None,
    image_size: Annotated[
        int | None, typer.Option(min=1, max=4096, help="Pixels of an edge, if another than the weights'.")
    ] = None,
    n_frames: Annotated[int, typer.Option("--frames", min=1, max=100, help="Key frames an ad.")] = 3,
) -> None:
    """Make a checkpoint of public weights, from an ALBEF, or from a BERT and perhaps a visual model."""
    from scenarios.models.weights import import_weights

    readable = import_weights(**context.params)
    typer.echo(f"Checkpoint: {out}/")
    if not readable:
        print("relbid: it has no tokenizer and cannot read texts; --tokenizer gives it one", file=sys.stderr)
