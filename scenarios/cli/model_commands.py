"""HCMRM: train it, evaluate it, make it of public weights."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from scenarios.cli.options import MODELS, RESULTS, Cache, Corpus, Device

if TYPE_CHECKING:
    from relevance.hcmrm.training.train import TrainProgress


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


class Loss(StrEnum):
    """Losses of the fine-tuning, `relevance.hcmrm.training.losses.GRADE_HEADS`."""

    HIERARCHICAL = "hierarchical"
    BCE = "bce"
    FLAT = "flat"
    ORDINAL = "ordinal"
    RANKNET = "ranknet"


class Stage(StrEnum):
    """Stages of a training, `relevance.hcmrm.training.train_config.STAGES`."""

    WORDS = "words"
    ALIGN = "align"
    FINETUNE = "finetune"


class Criterion(StrEnum):
    """What a checkpoint is chosen by, `relevance.hcmrm.training.train_config.CRITERIA`."""

    MEAN_AUC = "mean_auc"
    NDCG_10 = "ndcg_10"


class SplitName(StrEnum):
    """Graded pairs to evaluate on."""

    VALIDATION = "validation"
    TEST = "test"
    HELD_OUT = "held_out"


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
    init: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Start from the weights and vocabulary of a checkpoint."),
    ] = None,
    stage: Annotated[
        list[Stage] | None, typer.Option(help="Run this stage alone. May be repeated; all by default.")
    ] = None,
    overrides: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="FIELD=VALUE",
            help="Set a field of TrainConfig, e.g. labels=5000. May be repeated.",
        ),
    ] = None,
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
    import relevance.hcmrm  # noqa: F401  # what is missing is said before the corpus is drawn
    from relevance.corpus import LabelledCorpus
    from scenarios.models.train_settings import read_settings
    from scenarios.models.training import export_corpus, train_model, training_corpus
    from scenarios.reporting.terminal import ProgressBars
    from scenarios.storage.whole import check_writable

    if export is not None:
        with ProgressBars() as progress:
            export_corpus(export, progress)
        typer.echo(f"Corpus: {export}/")
        return
    set_over = read_settings(overrides or ())  # imports torch, so it comes before the folder is there
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
        "init": None if init is None else str(init),
        "stages": tuple(name.value for name in stage) if stage else None,
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
                settings=given | set_over,
                progress=report,
            )
    except KeyboardInterrupt:
        print("relbid: stopped; the same command goes on from the last saved step", file=sys.stderr)
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
    device: Device = Device.CPU,
    card: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the checkpoint's card (Markdown).")
    ] = None,
    cache: Cache = RESULTS,
) -> None:
    """Evaluate a checkpoint on held-out queries and ads, against BM25 and other checkpoints."""
    import json

    from relevance.corpus import LabelledCorpus
    from scenarios.markets.checkpoints import SHIPPED_CHECKPOINT, SHIPPED_CHECKPOINTS
    from scenarios.models.training import evaluate_models, model_card, training_corpus
    from scenarios.reporting.terminal import ProgressBars, evaluation_table, print_tables
    from scenarios.storage.whole import write_whole_file

    checkpoints = {"hcmrm": checkpoint or SHIPPED_CHECKPOINT}
    for text in against or ():
        name, equals, folder = text.partition("=")
        if not equals or not name or not folder:
            raise typer.BadParameter(f"'{text}': write NAME=FOLDER, for instance text=models/text")
        if name in (*checkpoints, "bm25"):
            raise typer.BadParameter(f"'{name}': is in the table already; take another name")
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


def calibrate(
    checkpoint: Annotated[Path, typer.Option(metavar="FOLDER", help="The checkpoint to calibrate.")],
    fit_on: Annotated[SplitName, typer.Option(help="Pairs to fit on.")] = SplitName.VALIDATION,
    split: Annotated[SplitName, typer.Option(help="Pairs to measure on.")] = SplitName.TEST,
    corpus: Corpus = None,
    device: Device = Device.CPU,
    cache: Cache = RESULTS,
) -> None:
    """Fit what makes a probability of a checkpoint's score, for scenarios with hcmrm.calibration."""
    from relevance.corpus import LabelledCorpus
    from scenarios.models.checkpoint_calibration import calibrate_checkpoint, calibration_table
    from scenarios.models.training import training_corpus
    from scenarios.reporting.terminal import ProgressBars

    with ProgressBars() as progress:
        data = LabelledCorpus.load(corpus) if corpus else training_corpus(cache, progress)
        rows = calibrate_checkpoint(
            data, checkpoint, fit_on=fit_on.value, split=split.value, device=device.value, progress=progress
        )
    typer.echo(f"The score as a probability of grade 2 or 3, on the split '{split.value}'")
    typer.echo("\n".join(calibration_table(rows)))
    typer.echo(f"Calibration: {checkpoint / 'calibration.json'}")


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
    from scenarios.models.weights import import_weights

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
