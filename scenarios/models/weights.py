"""Checkpoint folders from public weights. The functions import torch when they are called."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from relevance.corpus import LabelledCorpus
from relevance.errors import CheckpointError
from relevance.files import check_folder, read_json
from relevance.pretrained import PACKAGED, packaged_folder
from scenarios.errors import UserError
from scenarios.storage.whole import check_free, whole_folder

START = "start"
"""Folder within a training's, of the checkpoint that it started from."""


def import_weights(
    out: Path,
    *,
    albef: Path | None = None,
    vision: Path | None = None,
    bert: Path | None = None,
    tokenizer: Path | None = None,
    heads: int | None = None,
    visual_heads: int | None = None,
    text_layers: int | None = None,
    image_size: int | None = None,
    n_frames: int = 3,
) -> bool:
    """Import an ALBEF checkpoint, or a BERT and perhaps a visual model, into the new folder `out`.

    Args:
        bert: a folder, or a name in `relevance.pretrained.PACKAGED`.
        vision: a ViT's folder, or EfficientNet-Lite0's weights; None beside a BERT: a model of texts alone.
        tokenizer: folder of the BERT whose vocabulary ALBEF used; None: the files beside `albef`, if any.
        heads, visual_heads: numbers of ALBEF's attention heads, which are not in the shapes.

    Returns:
        Whether the folder has a tokenizer; without one the model can be read, but cannot score texts.

    Raises:
        UserError: too few or too many sources; or `out` exists already or cannot be written.
        CheckpointError: the weights cannot be read or do not fit.
    """
    if (albef is None) == (bert is None) or (albef and vision):
        raise UserError("give --albef FILE; or --bert FOLDER, with --vision PATH if it is to see frames")
    useless = {
        "--heads": heads if bert else None,
        "--visual-heads": visual_heads if bert else None,
        "--text-layers": text_layers if albef else None,
        "--image-size": image_size if bert and not vision else None,
    }
    if name := next((name for name, value in useless.items() if value is not None), None):
        kind = "a BERT without --vision" if name == "--image-size" else "a BERT" if bert else "an ALBEF"
        raise UserError(f"has no effect with {kind}", field=name, remedy="leave it out")
    if albef and heads is None:
        raise UserError("--heads: give the number of attention heads (12 for ALBEF as published)")
    given = tokenizer is not None
    if tokenizer is not None:
        check_folder(tokenizer, CheckpointError, "name the folder of the BERT whose vocabulary it is")
    check_free(out)
    from relevance.hcmrm.importing import import_albef, import_bert, write_imported
    from relevance.hcmrm.vocabulary import read_tokenizer

    with _said_of(albef or bert, vision):
        if albef and heads is not None:
            model = import_albef(
                albef, text_heads=heads, visual_heads=visual_heads, image_size=image_size, n_frames=n_frames
            )
            source = {"albef": str(albef)}
            beside = albef.parent
            if tokenizer is None and (
                (beside / "tokenizer.json").is_file() or (beside / "vocab.txt").is_file()
            ):
                tokenizer = beside
        elif bert:
            source = _sources(bert, vision)
            bert = packaged_folder(str(bert)) if str(bert) in PACKAGED else bert
            model = import_bert(
                bert, vision, text_layers=text_layers, image_size=image_size, n_frames=n_frames
            )
            tokenizer = tokenizer or bert
    words = None if tokenizer is None else read_tokenizer(tokenizer)
    try:
        with whole_folder(out) as part:
            write_imported(model, words, source, part)
    except CheckpointError as error:
        raise (error if given else error.but(file=str(tokenizer), field=None)) from None
    return words is not None


@contextlib.contextmanager
def _said_of(source: Path | None, vision: Path | None) -> Iterator[None]:
    """Name the weights in an error that names no file, as where their sizes do not fit each other."""
    try:
        yield
    except UserError as error:
        begins = tuple(f"{one}{mark}" for one in (source, vision) if one for mark in (":", "/", ","))
        named = error.file is not None or str(error).startswith(begins)
        raise (error if named else error.but(file=str(source))) from None


def start_from_public(data: LabelledCorpus, out: Path, bert: Path, vision: Path | None) -> Path:
    """The checkpoint of public weights that a training in `out` starts from, made if it is not there yet.

    With a visual model it reads as many frames of that size as the corpus has.

    Raises:
        UserError: `vision` is given, and the corpus has no frames; or the folder has a start from other
            weights, or cannot be written.
        CheckpointError: the weights cannot be read or do not fit.
    """
    n_frames, edge = data.corpus.frames.shape[1:3]
    if vision is not None and n_frames == 0:
        raise UserError("the corpus has no frames", field="--from-vision", remedy="leave it out")
    folder = out / START
    if not folder.exists():
        seen = {} if vision is None else {"image_size": edge, "n_frames": n_frames}
        import_weights(folder, bert=bert, vision=vision, **seen)
    again = "remove the folder, or choose another --out"
    record = read_json(folder / "training.json", dict, CheckpointError, again)
    if record.get("imported") != _sources(bert, vision):
        raise UserError(
            "is of other public weights", file=folder, remedy="remove the folder, or choose another --out"
        )
    return folder


def _sources(bert: Path, vision: Path | None) -> dict[str, str]:
    """What a record says of the weights that were imported."""
    return {"bert": str(bert), **({"vision": str(vision)} if vision else {})}
