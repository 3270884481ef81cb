"""Public weights: an ALBEF checkpoint in the original project's layout, or a ViT and a BERT.

What is made computes what ALBEF computes (arXiv 2107.07651): with the same weights and inputs, image and text
features, contrastive similarities and matching logits agree with the original code. All sizes are read from
the shapes; numbers of heads cannot be, and are told. Momentum copies and queues are left behind.

Files are read as tensors alone: safetensors, or torch files with `weights_only`, which run no code.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers
from torch import Tensor
from torch.nn import functional

from relevance.errors import CheckpointError
from relevance.keywords import TfIdfKeywords

from .checkpoint import KEYWORDS, TRAINING, WEIGHTS
from .config import HCMRMConfig
from .model import HCMRM
from .text import SPECIAL_TOKENS, wrap_tokenizer

Names = dict[str, tuple[str, ...]]
"""Name of a parameter here -> names of the tensors that it is made of, laid one below the other."""

_ALBEF_BLOCK: Names = {
    "norm1": ("norm1",),
    "norm2": ("norm2",),
    "attention.output": ("attn.proj",),
    "mlp.0": ("mlp.fc1",),
    "mlp.2": ("mlp.fc2",),
}
_VIT_BLOCK: Names = {
    "norm1": ("layernorm_before",),
    "norm2": ("layernorm_after",),
    "attention.query": ("attention.attention.query",),
    "attention.key_value": ("attention.attention.key", "attention.attention.value"),
    "attention.output": ("attention.output.dense",),
    "mlp.0": ("intermediate.dense",),
    "mlp.2": ("output.dense",),
}
_BERT_EMBEDDINGS: Names = {
    "word.weight": ("word_embeddings.weight",),
    "position.weight": ("position_embeddings.weight",),
    "token_type.weight": ("token_type_embeddings.weight",),
    "norm.weight": ("LayerNorm.weight",),
    "norm.bias": ("LayerNorm.bias",),
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
_BERT_WORDS: Names = {
    "mlm_transform.0.weight": ("transform.dense.weight",),
    "mlm_transform.0.bias": ("transform.dense.bias",),
    "mlm_transform.2.weight": ("transform.LayerNorm.weight",),
    "mlm_transform.2.bias": ("transform.LayerNorm.bias",),
    "mlm_bias": ("bias",),
}
_NOT_NEEDED = ("position_ids", "pooler.", "cls.", "head.", "classifier.")
"""Parts of the sources that nothing here computes with: pooling, and the heads of other tasks."""


@dataclass(frozen=True, slots=True)
class Weights:
    """Named tensors of one file, all of them float32."""

    path: Path
    tensors: Mapping[str, Tensor]
    prefix: str = ""
    """What the file has before the names of this part of its tensors."""

    @staticmethod
    def read(path: Path) -> Weights:
        """Read a file of tensors: safetensors, or anything else as a torch file without code.

        Raises:
            CheckpointError: it is missing, damaged, or holds other things than tensors.
        """
        if not path.is_file():
            raise CheckpointError(f"{path}: not found; give the file with the weights")
        try:
            if path.suffix == ".safetensors":
                content: Any = load_file(path)
            else:
                content = torch.load(path, map_location="cpu", weights_only=True)
        except SafetensorError as error:
            raise CheckpointError(f"{path}: damaged ({error}); download it again") from error
        except Exception as error:  # a foreign file may fail in any way; none of them runs its code
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise CheckpointError(
                f"{path}: cannot be read as plain tensors ({reason}); save its state_dict as safetensors"
            ) from error
        if isinstance(content, Mapping) and isinstance(content.get("model"), Mapping):
            content = content["model"]
        if not isinstance(content, Mapping):
            raise CheckpointError(f"{path}: holds no named tensors; save the model's state_dict")
        tensors = {
            str(name).removeprefix("module."): value.float() if value.is_floating_point() else value
            for name, value in content.items()
            if isinstance(value, Tensor)
        }
        return Weights(path, tensors)

    def part(self, *prefixes: str) -> Weights:
        """The tensors under the first of these prefixes that has any, without it."""
        for prefix in prefixes:
            found = {
                name.removeprefix(prefix): tensor
                for name, tensor in self.tensors.items()
                if name.startswith(prefix)
            }
            if found:
                return Weights(self.path, found, self.prefix + prefix)
        raise CheckpointError(f"{self.path}: has no tensor '{prefixes[0]}*'; is it of another model?")

    def shape(self, name: str, *sizes: int | None) -> tuple[int, ...]:
        """Shape of one tensor, which must have these sizes (None: any)."""
        if name not in self.tensors:
            raise CheckpointError(f"{self.path}: lacks the tensor '{self.prefix}{name}'")
        shape = tuple(self.tensors[name].shape)
        fits = len(shape) == len(sizes) and all(
            want in (None, have) for have, want in zip(shape, sizes, strict=True)
        )
        if not fits:
            wanted = ", ".join("any" if size is None else str(size) for size in sizes)
            raise CheckpointError(
                f"{self.path}: '{self.prefix}{name}' has the shape {list(shape)}, needs [{wanted}]"
            )
        return shape

    def layers(self, prefix: str) -> int:
        """How many numbered layers `prefix.0`, `prefix.1`, ... there are."""
        numbers = {
            int(name.removeprefix(f"{prefix}.").split(".")[0])
            for name in self.tensors
            if name.startswith(f"{prefix}.")
        }
        if not numbers or numbers != set(range(len(numbers))):
            raise CheckpointError(
                f"{self.path}: layers '{self.prefix}{prefix}.N' must be numbered from 0, "
                f"got {sorted(numbers)}"
            )
        return len(numbers)


def import_albef(
    path: Path,
    *,
    text_heads: int,
    visual_heads: int | None = None,
    image_size: int | None = None,
    n_frames: int = 3,
) -> HCMRM:
    """A model that computes what the ALBEF checkpoint computes.

    Until it is fine-tuned, its positive branch is ALBEF's matching logit and inside the branches it knows no
    order, so that its ranking score rises with P(match).

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
    v, _, patch, _ = vision.shape("patch_embed.proj.weight", None, 3, None, None)
    embed_dim, _ = weights.shape("vision_proj.weight", None, v)
    inner, _ = vision.shape("blocks.0.mlp.fc1.weight", None, v)
    n_layers, text_layers, sizes = _bert_sizes(text)
    if text_layers == n_layers:
        raise CheckpointError(f"{path}: no layer has 'crossattention'; ALBEF's upper text layers have it")
    grid = _grid(vision, "pos_embed", v)
    config = HCMRMConfig.preset(
        "base",
        **sizes,
        text_layers=text_layers,
        fusion_layers=n_layers - text_layers,
        num_heads=text_heads,
        visual_size=v,
        visual_heads=visual_heads or text_heads,
        visual_intermediate_size=inner,
        visual_layers=vision.layers("blocks"),
        patch_size=patch,
        image_size=image_size or grid * patch,
        n_frames=n_frames,
        embed_dim=embed_dim,
    )
    new = _New(config)
    for name, tensor in (
        ("class_token", "cls_token"),
        ("norm.weight", "norm.weight"),
        ("norm.bias", "norm.bias"),
    ):
        new.put(f"visual_encoder.{name}", vision, tensor)
    for kind in ("weight", "bias"):
        new.put(f"visual_encoder.patch.{kind}", vision, f"patch_embed.proj.{kind}")
    new.put_positions(vision, "pos_embed")
    for i in range(config.visual_layers):
        new.put_layer(f"visual_encoder.blocks.{i}", vision, f"blocks.{i}", _ALBEF_BLOCK)
        for kind in ("weight", "bias"):
            name = f"blocks.{i}.attn.qkv.{kind}"
            vision.shape(name, *(3 * v, v)[: 2 if kind == "weight" else 1])
            new.put_rows(f"visual_encoder.blocks.{i}.attention.query.{kind}", vision, name, slice(0, v))
            new.put_rows(
                f"visual_encoder.blocks.{i}.attention.key_value.{kind}", vision, name, slice(v, None)
            )
    _put_bert(new, text, config, cross=True)
    if any(name.startswith("text_encoder.cls.predictions.") for name in weights.tensors):
        words = weights.part("text_encoder.cls.predictions.")
        new.put_all("", words, "", _BERT_WORDS)
    for kind in ("weight", "bias"):
        new.put(f"frame_projection.{kind}", weights, f"vision_proj.{kind}")
        new.put(f"text_projection.{kind}", weights, f"text_proj.{kind}")
        new.put(f"match_head.{kind}", weights, f"itm_head.{kind}")
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


def import_vit_and_bert(
    vit: Path,
    bert: Path,
    *,
    text_layers: int | None = None,
    image_size: int | None = None,
    n_frames: int = 3,
    embed_dim: int = 256,
) -> HCMRM:
    """ALBEF's start: a ViT and a BERT from local folders in the transformers format, made one model.

    Cross-attention, projections and heads are new (normal, standard deviation 0.02); the grade head starts at
    even odds. Such a model ranks nothing before it is trained.

    Args:
        text_layers: layers of the BERT that encode text; the others fuse. None: half of them, as in ALBEF.
        image_size: as in `import_albef`.
        embed_dim: width of the contrastive embeddings.

    Raises:
        CheckpointError: a file or a tensor is missing or damaged, or the models are of kinds that this one
            cannot be.
    """
    vit_sizes, bert_sizes = _read_config(vit, "vit"), _read_config(bert, "bert")
    vision = _folder_weights(vit).part("vit.", "")
    every = _folder_weights(bert)
    text = every.part("bert.", "")
    v, _, patch, _ = vision.shape("embeddings.patch_embeddings.projection.weight", None, 3, None, None)
    inner, _ = vision.shape("encoder.layer.0.intermediate.dense.weight", None, v)
    n_layers, first_cross, sizes = _bert_sizes(text)
    if first_cross != n_layers:
        raise CheckpointError(f"{bert}: has cross-attention already; a plain BERT is needed")
    n_text = n_layers // 2 if text_layers is None else text_layers
    if not 0 <= n_text < n_layers:
        raise CheckpointError(f"{bert}: has {n_layers} layers, of which {n_text} cannot be the text layers")
    mean, deviation = _pixel_statistics(vit)
    config = HCMRMConfig.preset(
        "base",
        **sizes,
        text_layers=n_text,
        fusion_layers=n_layers - n_text,
        num_heads=bert_sizes["num_attention_heads"],
        text_norm_eps=bert_sizes["layer_norm_eps"],
        visual_size=v,
        visual_heads=vit_sizes["num_attention_heads"],
        visual_norm_eps=vit_sizes["layer_norm_eps"],
        visual_intermediate_size=inner,
        visual_layers=vision.layers("encoder.layer"),
        patch_size=patch,
        image_size=image_size or _grid(vision, "embeddings.position_embeddings", v) * patch,
        n_frames=n_frames,
        embed_dim=embed_dim,
        pixel_mean=mean,
        pixel_deviation=deviation,
    )
    new = _New(config)
    new.put("visual_encoder.class_token", vision, "embeddings.cls_token")
    new.put_positions(vision, "embeddings.position_embeddings")
    for kind in ("weight", "bias"):
        new.put(f"visual_encoder.patch.{kind}", vision, f"embeddings.patch_embeddings.projection.{kind}")
        new.put(f"visual_encoder.norm.{kind}", vision, f"layernorm.{kind}")
    for i in range(config.visual_layers):
        new.put_layer(f"visual_encoder.blocks.{i}", vision, f"encoder.layer.{i}", _VIT_BLOCK)
    _put_bert(new, text, config, cross=False)
    if any(name.startswith("cls.predictions.transform.") for name in every.tensors):
        new.put_all("", every.part("cls.predictions."), "", _BERT_WORDS)
    new.check_all_used(vision, text)
    return new.model()


def read_tokenizer(folder: Path) -> Tokenizer:
    """The tokenizer of a BERT: `tokenizer.json`, or else `vocab.txt`.

    Raises:
        CheckpointError: neither is there, or it lacks BERT's special tokens.
    """
    whole, words = folder / "tokenizer.json", folder / "vocab.txt"
    try:
        if whole.is_file():
            path, tokenizer = whole, Tokenizer.from_file(str(whole))
        elif words.is_file():
            path, tokenizer = words, _tokenizer_of_words(folder)
        else:
            raise CheckpointError(f"{folder}: has neither tokenizer.json nor vocab.txt; give a BERT's folder")
    except CheckpointError:
        raise
    except Exception as error:  # the tokenizers library raises nothing more specific
        raise CheckpointError(f"{path}: damaged tokenizer ({error}); download it again") from error
    missing = [token for token in SPECIAL_TOKENS if tokenizer.token_to_id(token) is None]
    if missing:
        raise CheckpointError(
            f"{path}: lacks the special tokens {', '.join(missing)}; give a BERT's tokenizer"
        )
    if tokenizer.token_to_id("[PAD]") != 0:
        raise CheckpointError(f"{path}: [PAD] must be token 0, is {tokenizer.token_to_id('[PAD]')}")
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def write_imported(
    model: HCMRM, tokenizer: Tokenizer | None, source: Mapping[str, str], folder: Path
) -> None:
    """Write a checkpoint folder, weights in float32.

    Without a tokenizer it holds the model alone, which `HCMRM.from_pretrained` reads, and not
    `Checkpoint.load`.

    Args:
        source: what was imported, for the record.

    Raises:
        CheckpointError: the tokenizer has not the model's number of tokens.
        OSError: the folder cannot be written.
    """
    if tokenizer is not None and tokenizer.get_vocab_size() != model.config.vocab_size:
        raise CheckpointError(
            f"the tokenizer has {tokenizer.get_vocab_size()} tokens, the model {model.config.vocab_size}; "
            "give the tokenizer that the weights were trained with"
        )
    save_file(model.state_dict(), folder / WEIGHTS, metadata={"format": "pt"})
    model.config.save_pretrained(folder)
    if tokenizer is not None:
        wrap_tokenizer(tokenizer).save_pretrained(folder)
    # No corpus has been counted yet: every word weighs the same, and the start of the text is read.
    keywords = TfIdfKeywords({}, 1.0, n_words=64, n_tokens=64)
    limits = {
        "unseen": keywords.unseen,
        "n_words": keywords.n_words,
        "n_tokens": keywords.n_tokens,
        "idf": {},
    }
    (folder / KEYWORDS).write_text(json.dumps(limits), encoding="utf-8")
    (folder / TRAINING).write_text(json.dumps({"imported": dict(source)}, indent=1), encoding="utf-8")


def resize_positions(position: Tensor, grid: int) -> Tensor:
    """Position embeddings [1, 1 + g * g, v] of a square of patches for another: [1, 1 + grid * grid, v].

    Bicubic, corners not aligned, the class token's kept: as ALBEF and timm do.
    """
    old = math.isqrt(position.shape[1] - 1)
    if old == grid:
        return position
    square = position[:, 1:].unflatten(1, (old, old)).permute(0, 3, 1, 2)
    square = functional.interpolate(square, size=(grid, grid), mode="bicubic", align_corners=False)
    return torch.cat((position[:, :1], square.permute(0, 2, 3, 1).flatten(1, 2)), dim=1)


class _New:
    """A model to fill: fits tensors to its parameters, and knows which of the source were used."""

    def __init__(self, config: HCMRMConfig) -> None:
        for heads, size, which in (
            (config.num_heads, config.hidden_size, "text"),
            (config.visual_heads, config.visual_size, "visual"),
        ):
            if heads < 1 or size % heads:
                raise CheckpointError(
                    f"{heads} {which} heads do not divide the width {size}; give the right number"
                )
        if config.image_size % config.patch_size:
            raise CheckpointError(
                f"image size {config.image_size}: must be a multiple of the patch size {config.patch_size}"
            )
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)  # what no source fills starts the same every time
            self._model = HCMRM(config)
        with torch.no_grad():
            self._model.visual_encoder.frame_position.zero_()  # ALBEF knows one image
            self._model.grade_head.weight.zero_()
            self._model.grade_head.bias.zero_()
        self._state = self._model.state_dict()
        self._used: dict[int, set[str]] = {}

    def put(self, name: str, source: Weights, *tensors: str) -> None:
        """Fill a parameter from tensors laid one below the other."""
        own = self._state[name]
        rows = own.shape[0] // len(tensors) if own.ndim else 0
        for i, tensor in enumerate(tensors):
            if tensor in source.tensors and source.tensors[tensor].numel() == own.numel() == 1:
                self._fill(own, source, tensor, source.tensors[tensor].reshape(own.shape))
                continue
            source.shape(tensor, *(rows, *own.shape[1:]))
            self._fill(own[i * rows : (i + 1) * rows], source, tensor, source.tensors[tensor])

    def put_rows(self, name: str, source: Weights, tensor: str, rows: slice) -> None:
        """Fill a parameter from some rows of a tensor."""
        self._fill(self._state[name], source, tensor, source.tensors[tensor][rows])

    def put_positions(self, source: Weights, tensor: str) -> None:
        """Fill the position embeddings, interpolated where the image has another size."""
        own, config = self._state["visual_encoder.position"], self._model.config
        resized = resize_positions(source.tensors[tensor], config.image_size // config.patch_size)
        self._fill(own, source, tensor, resized)

    def put_all(self, prefix: str, source: Weights, source_prefix: str, names: Names) -> None:
        for name, tensors in names.items():
            self.put(prefix + name, source, *(source_prefix + tensor for tensor in tensors))

    def put_layer(self, prefix: str, source: Weights, source_prefix: str, names: Names) -> None:
        """Weights and biases of the parts of one layer."""
        for kind in ("weight", "bias"):
            for name, parts in names.items():
                self.put(
                    f"{prefix}.{name}.{kind}", source, *(f"{source_prefix}.{part}.{kind}" for part in parts)
                )

    def check_all_used(self, *sources: Weights) -> None:
        """A tensor that is left over belongs to a model that computes something else."""
        for source in sources:
            left = [
                name
                for name in source.tensors.keys() - self._used.get(id(source), set())
                if not name.startswith(_NOT_NEEDED) and not name.endswith("position_ids")
            ]
            if left:
                raise CheckpointError(
                    f"{source.path}: '{source.prefix}{min(left)}' has no place in this model "
                    f"({len(left)} such tensors); is it of another model?"
                )

    def model(self) -> HCMRM:
        return self._model.eval()  # type: ignore[no-untyped-call]

    def _fill(self, own: Tensor, source: Weights, tensor: str, value: Tensor) -> None:
        if not torch.isfinite(value).all():
            raise CheckpointError(
                f"{source.path}: '{source.prefix}{tensor}' holds values that are not finite"
            )
        with torch.no_grad():
            own.copy_(value)
        self._used.setdefault(id(source), set()).add(tensor)


def _put_bert(new: _New, text: Weights, config: HCMRMConfig, *, cross: bool) -> None:
    new.put_all("text_encoder.", text, "embeddings.", _BERT_EMBEDDINGS)
    for i in range(config.text_layers + config.fusion_layers):
        fuses = i >= config.text_layers
        prefix = f"fusion_layers.{i - config.text_layers}" if fuses else f"text_encoder.layers.{i}"
        names = _BERT_LAYER | _BERT_CROSS if fuses and cross else _BERT_LAYER
        new.put_layer(prefix, text, f"encoder.layer.{i}", names)


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


def _grid(vision: Weights, name: str, v: int) -> int:
    """Patches along an edge, from the number of position embeddings."""
    _, tokens, _ = vision.shape(name, 1, None, v)
    grid = math.isqrt(tokens - 1)
    if grid * grid != tokens - 1:
        raise CheckpointError(
            f"{vision.path}: '{vision.prefix}{name}' has {tokens} rows, needs one more than a square number"
        )
    return grid


def _read_config(folder: Path, kind: str) -> dict[str, Any]:
    """Sizes from config.json, refused where the model could not be this one's."""
    path = folder / "config.json"
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(
            f"{path}: cannot be read ({error}); give a folder of save_pretrained"
        ) from error
    wanted = {
        "model_type": kind,
        "hidden_act": "gelu",
        "qkv_bias": True,
        "position_embedding_type": "absolute",
    }
    for field, value in wanted.items():
        if config.get(field, value) != value:
            raise CheckpointError(f"{path}: '{field}' is {config[field]!r}; only {value!r} can be imported")
    for field, kind_of in (("num_attention_heads", int), ("layer_norm_eps", float)):
        if not isinstance(config.get(field), kind_of):
            raise CheckpointError(f"{path}: lacks '{field}'; give a folder of save_pretrained")
    found: dict[str, Any] = config
    return found


def _folder_weights(folder: Path) -> Weights:
    for name in ("model.safetensors", "pytorch_model.bin"):
        if (folder / name).is_file():
            weights = Weights.read(folder / name)
            # BERT's first public checkpoints name their layer norms as TensorFlow did.
            renamed = {
                name.replace("LayerNorm.gamma", "LayerNorm.weight").replace(
                    "LayerNorm.beta", "LayerNorm.bias"
                ): t
                for name, t in weights.tensors.items()
            }
            return Weights(weights.path, renamed)
    raise CheckpointError(
        f"{folder}: has neither model.safetensors nor pytorch_model.bin; give a whole folder"
    )


def _pixel_statistics(folder: Path) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and deviation that the ViT's pixels are normalised with; ViT's own 0.5 where nothing is said."""
    path = folder / "preprocessor_config.json"
    if not path.is_file():
        return (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
        mean, deviation = (tuple(map(float, config[key])) for key in ("image_mean", "image_std"))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{path}: needs three numbers each of image_mean and image_std") from error
    if len(mean) != 3 or len(deviation) != 3 or min(deviation) <= 0:
        raise CheckpointError(f"{path}: needs three numbers each of image_mean and image_std")
    return mean, deviation


def _tokenizer_of_words(folder: Path) -> Tokenizer:
    """BERT's WordPiece from the lines of vocab.txt."""
    words = (folder / "vocab.txt").read_text(encoding="utf-8").splitlines()
    lower = True
    if (folder / "tokenizer_config.json").is_file():
        text = (folder / "tokenizer_config.json").read_text(encoding="utf-8")
        lower = bool(json.loads(text).get("do_lower_case", True))
    vocabulary = {word: number for number, word in enumerate(words)}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=lower)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return tokenizer
