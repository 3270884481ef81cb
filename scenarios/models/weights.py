"""Checkpoint folders from public weights. The function imports torch when it is called."""

from __future__ import annotations

from pathlib import Path

from scenarios.errors import UserError
from scenarios.storage.whole import check_free, whole_folder


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
        raise UserError(
            "give either --albef FILE, or --bert FOLDER, with --vision PATH if it is to see frames"
        )
    if albef and heads is None:
        raise UserError("--heads: give the number of attention heads (12 for ALBEF as published)")
    check_free(out)
    from relevance.hcmrm.importing import import_albef, import_bert, write_imported
    from relevance.hcmrm.vocabulary import read_tokenizer

    if albef and heads is not None:
        model = import_albef(
            albef, text_heads=heads, visual_heads=visual_heads, image_size=image_size, n_frames=n_frames
        )
        source = {"albef": str(albef)}
        beside = albef.parent
        if tokenizer is None and ((beside / "tokenizer.json").is_file() or (beside / "vocab.txt").is_file()):
            tokenizer = beside
    elif bert:
        model = import_bert(bert, vision, text_layers=text_layers, image_size=image_size, n_frames=n_frames)
        source = {"bert": str(bert), **({"vision": str(vision)} if vision else {})}
        tokenizer = tokenizer or bert
    words = None if tokenizer is None else read_tokenizer(tokenizer)
    with whole_folder(out) as part:
        write_imported(model, words, source, part)
    return words is not None
