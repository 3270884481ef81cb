"""Public weights: an ALBEF in the original project's layout, or a BERT with a visual model or without.

A model made of ALBEF computes what ALBEF computes (arXiv 2107.07651): with the same weights and inputs, image
and text features, contrastive similarities and matching logits agree with the original code. Sizes are read
from the shapes; the numbers of heads are arguments. Momentum copies and queues are not imported.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import torch
from tokenizers import Tokenizer

from relevance.errors import CheckpointError
from relevance.files import read_json
from relevance.hcmrm.checkpoint import KEYWORDS, TRAINING, WEIGHTS
from relevance.hcmrm.model import HCMRM
from relevance.hcmrm.model_config import HCMRMConfig
from relevance.hcmrm.tensors import (
    Filling,
    Names,
    Weights,
    check_heads,
    folder_weights,
    read_config,
    write_tensors,
)
from relevance.hcmrm.text import wrap_tokenizer
from relevance.hcmrm.vision_importing import read_vision, vit_sizes
from relevance.keywords import TfIdfKeywords

_ALBEF_BLOCK: Names = {
    "norm1": ("norm1",),
    "norm2": ("norm2",),
    "attention.output": ("attn.proj",),
    "mlp.0": ("mlp.fc1",),
    "mlp.2": ("mlp.fc2",),
}
_BERT_EMBEDDINGS: Names = {
    "word": ("word_embeddings",),
    "position": ("position_embeddings",),
    "token_type": ("token_type_embeddings",),
}
_BERT_LAYER: Names = {
    "attention.query": ("attention.self.query",),
    "attention.key_value": ("attention.self.key", "attention.self.value"),
    "attention.output": ("attention.output.dense",),
    "attention_norm": ("attention.output.LayerNorm",),
    "mlp.0": ("intermediate.dense",),
    "mlp.2": ("output.dense",),
    "mlp_norm": ("output.LayerNorm",),
}
_BERT_CROSS: Names = {
    "cross.query": ("crossattention.self.query",),
    "cross.key_value": ("crossattention.self.key", "crossattention.self.value"),
    "cross.output": ("crossattention.output.dense",),
    "cross_norm": ("crossattention.output.LayerNorm",),
}


def import_albef(
    path: Path,
    *,
    text_heads: int,
    visual_heads: int | None = None,
    image_size: int | None = None,
    n_frames: int = 3,
) -> HCMRM:
    """A model that computes what the ALBEF checkpoint computes.

    Until it is fine-tuned, its positive branch is ALBEF's matching logit and both branches have even odds
    inside, so that its ranking score rises with P(match).

    Args:
        path: `.pth` or `.safetensors` in the layout of the original project.
        visual_heads: heads of the visual encoder, as many as `text_heads` by default.
        image_size: pixels of an edge; position embeddings are interpolated to another one than the
            checkpoint's. None: the checkpoint's.
        n_frames: key frames an ad.

    Raises:
        CheckpointError: a tensor is missing, has a wrong shape or is not finite; or the numbers of heads do
            not divide the widths.
    """
    weights = Weights.read(path)
    vision = weights.part("visual_encoder.")
    text = weights.part("text_encoder.bert.", "text_encoder.")
    visual = vit_sizes(vision, "patch_embed.proj", "blocks", "mlp.fc1", "pos_embed", image_size)
    v = visual["visual_size"]
    embed_dim, _ = weights.shape("vision_proj.weight", None, v)
    n_layers, text_layers, sizes = _bert_sizes(text)
    if text_layers == n_layers:
        raise CheckpointError(f"{path}: no layer has 'crossattention'; ALBEF's upper text layers have it")
    config = HCMRMConfig.preset(
        "base",
        **sizes,
        **visual,
        text_layers=text_layers,
        fusion_layers=n_layers - text_layers,
        num_heads=text_heads,
        visual_heads=visual_heads or text_heads,
        n_frames=n_frames,
        embed_dim=embed_dim,
    )
    new = Filling(config)
    new.put("visual_encoder.class_token", vision, "cls_token")
    new.put_all("visual_encoder.", vision, "", {"norm": ("norm",), "patch": ("patch_embed.proj",)})
    new.put_positions(vision, "pos_embed")
    for i in range(config.visual_layers):
        new.put_all(f"visual_encoder.blocks.{i}.", vision, f"blocks.{i}.", _ALBEF_BLOCK)
        for kind in ("weight", "bias"):
            name, to = f"blocks.{i}.attn.qkv.{kind}", f"visual_encoder.blocks.{i}.attention"
            vision.shape(name, *(3 * v, v)[: 2 if kind == "weight" else 1])
            new.put_rows(f"{to}.query.{kind}", vision, name, slice(0, v))
            new.put_rows(f"{to}.key_value.{kind}", vision, name, slice(v, None))
    _put_bert(new, text, config, cross=True)
    if any(name.startswith("text_encoder.cls.predictions.") for name in weights.tensors):
        _put_words(new, weights.part("text_encoder.cls.predictions."))
    heads: Names = {
        "frame_projection": ("vision_proj",),
        "text_projection": ("text_proj",),
        "match_head": ("itm_head",),
    }
    new.put_all("", weights, "", heads)
    if "temp" in weights.tensors:
        new.put("temperature", weights, "temp")
    new.check_all_used(vision, text)
    model = new.model()
    with torch.no_grad():
        head = model.match_head
        assert head is not None  # the preset has one
        model.grade_head.weight[0] = head.weight[1] - head.weight[0]
        model.grade_head.bias[0] = head.bias[1] - head.bias[0]
    return model


def import_bert(
    bert: Path,
    vision: Path | None = None,
    *,
    text_layers: int | None = None,
    image_size: int | None = None,
    n_frames: int = 3,
    embed_dim: int = 256,
) -> HCMRM:
    """A model that starts from a BERT and, if it is to see frames, from a public visual model.

    As in ALBEF, the lower layers of the BERT encode text and the upper ones fuse. Cross-attention and heads
    are new (normal, standard deviation 0.02). The cross-attention has no effect before it is trained, so that
    the layers compute what they do in the BERT. The grade head starts at even odds.

    A sentence encoder (a BERT with the pooling of sentence-transformers beside it) also becomes the model's
    prior (`prior.Prior`): the model ranks by its cosine until it is trained. Without one it ranks nothing
    before.

    Args:
        bert: a local folder in the transformers format.
        vision: a folder with a ViT in that format; or EfficientNet-Lite0's weights, a file or a folder with
            one. None: the model reads texts alone.
        text_layers: layers of the BERT that encode text; the others fuse. None: half of them, as in ALBEF.
        image_size: pixels of an edge; a ViT's position embeddings are interpolated to another one than
            theirs. None: the model's own, 224 for EfficientNet-Lite0.
        embed_dim: width of the contrastive embeddings.

    Raises:
        CheckpointError: a file or a tensor is missing or damaged, or the models are of kinds that this one
            cannot be.
    """
    bert_config = read_config(bert, "bert")
    every = folder_weights(bert)
    text = every.part("bert.", "")
    n_layers, first_cross, sizes = _bert_sizes(text)
    if first_cross != n_layers:
        raise CheckpointError(f"{bert}: has cross-attention already; a plain BERT is needed")
    check_heads(bert_config, sizes["hidden_size"], bert)
    n_text = n_layers // 2 if text_layers is None else text_layers
    if not 0 <= n_text < n_layers:
        raise CheckpointError(
            f"has {n_layers} layers, of which at least one must fuse",
            file=bert,
            field="--text-layers",
            value=str(n_text),
            remedy=f"name 0 to {n_layers - 1}",
        )
    seen = read_vision(vision, image_size)
    config = HCMRMConfig.preset(
        "base",
        **sizes,
        **seen.sizes,
        text_layers=n_text,
        fusion_layers=n_layers - n_text,
        num_heads=bert_config["num_attention_heads"],
        text_norm_eps=bert_config["layer_norm_eps"],
        cross_gate=True,
        prior_layers=n_layers - n_text if _is_sentence_encoder(bert) else 0,
        n_frames=n_frames,
        embed_dim=embed_dim,
        match_head=False,
    )
    new = Filling(config)
    seen.put(new)
    _put_bert(new, text, config, cross=False)
    if any(name.startswith("cls.predictions.transform.") for name in every.tensors):
        _put_words(new, every.part("cls.predictions."))
    new.check_all_used(text)
    return new.model()


def write_imported(
    model: HCMRM, tokenizer: Tokenizer | None, source: Mapping[str, str], folder: Path
) -> None:
    """Write a checkpoint folder, weights in float32.

    Without a tokenizer it holds the model alone, which `HCMRM.from_pretrained` reads, and not
    `Checkpoint.load`.

    Args:
        source: what was imported; it goes into training.json.

    Raises:
        CheckpointError: the tokenizer has not the model's number of tokens.
        OSError: the folder cannot be written.
    """
    if tokenizer is not None and tokenizer.get_vocab_size() != model.config.vocab_size:
        raise CheckpointError(
            f"the tokenizer has {tokenizer.get_vocab_size()} tokens, the weights {model.config.vocab_size}",
            field="--tokenizer",
            remedy="give the tokenizer that the weights were trained with",
        )
    write_tensors(model.state_dict(), folder / WEIGHTS, {"format": "pt"})
    model.config.save_pretrained(folder)
    if tokenizer is not None:
        wrap_tokenizer(tokenizer).save_pretrained(folder)
    # No corpus has been counted yet: all words weigh the same, and the start of the text is read.
    keywords = TfIdfKeywords({}, 1.0, n_words=64, n_tokens=64, name="plain")
    words = {"extractor": keywords.name, **keywords.as_dict()}
    (folder / KEYWORDS).write_text(json.dumps(words), encoding="utf-8")
    (folder / TRAINING).write_text(json.dumps({"imported": dict(source)}, indent=1), encoding="utf-8")


def _put_bert(new: Filling, text: Weights, config: HCMRMConfig, *, cross: bool) -> None:
    new.put_all("text_encoder.", text, "embeddings.", _BERT_EMBEDDINGS, kinds=("weight",))
    new.put_all("text_encoder.", text, "embeddings.", {"norm": ("LayerNorm",)})
    for i in range(config.text_layers + config.fusion_layers):
        fuses = i >= config.text_layers
        prefix = f"fusion_layers.{i - config.text_layers}." if fuses else f"text_encoder.layers.{i}."
        names = _BERT_LAYER | _BERT_CROSS if fuses and cross else _BERT_LAYER
        new.put_all(prefix, text, f"encoder.layer.{i}.", names)
        if fuses and config.prior_layers:
            new.put_all(f"prior.layers.{i - config.text_layers}.", text, f"encoder.layer.{i}.", names)


def _put_words(new: Filling, predictions: Weights) -> None:
    """The head of masked language modelling."""
    new.put_all("mlm_transform.", predictions, "transform.", {"0": ("dense",), "2": ("LayerNorm",)})
    new.put("mlm_bias", predictions, "bias")


def _bert_sizes(text: Weights) -> tuple[int, int, dict[str, int]]:
    """Layers in all, the first one with cross-attention, and the sizes by their names in the config."""
    vocab_size, size = text.shape("embeddings.word_embeddings.weight", None, None)
    positions, _ = text.shape("embeddings.position_embeddings.weight", None, size)
    token_types, _ = text.shape("embeddings.token_type_embeddings.weight", None, size)
    inner, _ = text.shape("encoder.layer.0.intermediate.dense.weight", None, size)
    n_layers = text.layers("encoder.layer")
    crossed = [f"encoder.layer.{i}.crossattention.self.query.weight" in text.tensors for i in range(n_layers)]
    first = crossed.index(True) if True in crossed else n_layers
    sizes = {
        "vocab_size": vocab_size,
        "hidden_size": size,
        "max_positions": positions,
        "token_types": token_types,
        "intermediate_size": inner,
    }
    return n_layers, first, sizes


def _is_sentence_encoder(folder: Path) -> bool:
    """Whether a BERT's folder says, as sentence-transformers does, that the mean of tokens is an embedding.

    Raises:
        CheckpointError: it says so in a file that cannot be read.
    """
    path = folder / "1_Pooling" / "config.json"
    if not path.exists():
        return False
    found = read_json(path, dict, CheckpointError, "download the folder again")
    return bool(found.get("pooling_mode_mean_tokens"))
