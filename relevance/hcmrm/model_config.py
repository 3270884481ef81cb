"""Sizes of an HCMRM, in one place."""

from __future__ import annotations

import functools
import inspect
import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self, TypeAlias, get_type_hints

from annotated_types import Ge, Gt, Le, Lt, MaxLen
from pydantic import TypeAdapter, ValidationError
from transformers import PretrainedConfig

from relevance.errors import TrainError, cut, in_words

PRESETS: Mapping[str, Mapping[str, Any]] = {
    "tiny": {"frame_markers": True, "word_markers": True},
    "small": {
        "hidden_size": 256,
        "num_heads": 8,
        "visual_layers": 4,
        "text_layers": 3,
        "fusion_layers": 3,
        "intermediate_size": 1024,
        "conv_stem": (48, 96, 192, 256),
        "embed_dim": 128,
        "dropout": 0.1,
        "frame_markers": True,
        "word_markers": True,
    },
    "picture": {
        "image_size": 96,
        "patch_size": 32,
        "conv_stem": (16, 32, 64, 128, 128),
        "frame_markers": True,
        "word_markers": True,
    },
    "base": {
        "vocab_size": 30522,
        "hidden_size": 768,
        "num_heads": 12,
        "visual_layers": 12,
        "text_layers": 6,
        "fusion_layers": 6,
        "intermediate_size": 3072,
        "max_positions": 512,
        "token_types": 2,
        "image_size": 224,
        "frame_tokens": None,
        "conv_stem": (),
        "layout_token": False,
        "empty_token": False,
        "pixel_mean": (0.48145466, 0.4578275, 0.40821073),
        "pixel_deviation": (0.26862954, 0.26130258, 0.27577711),
        "embed_dim": 256,
        "dropout": 0.1,
        "match_head": True,
        "match_markers": False,
    },
}
"""Differences from the default sizes. tiny: the shipped model. small: the same frames, and some hours on a
CPU or minutes on a GPU. picture: tiny for frames of 96 pixels, which it reads in nine patches as well. base:
ALBEF as published (arXiv 2107.07651), ViT-B/16 at 224 pixels and the 12 layers of BERT-base, six for text and
six for fusion."""

Width: TypeAlias = Annotated[int, Ge(1), Le(16_384)]
Wide: TypeAlias = Annotated[int, Ge(1), Le(65_536)]
Heads: TypeAlias = Annotated[int, Ge(1), Le(256)]
Layers: TypeAlias = Annotated[int, Ge(0), Le(200)]
Epsilon: TypeAlias = Annotated[float, Gt(0), Le(1)]
Pixel: TypeAlias = Annotated[float, Ge(-10), Le(10)]
Deviation: TypeAlias = Annotated[float, Gt(0), Le(10)]
Grade: TypeAlias = Annotated[int, Ge(0), Le(3)]


class HCMRMConfig(PretrainedConfig):
    """Sizes and switches. The defaults are the shipped model without soft markers: 2.4 million parameters.

    The layer plan is ALBEF's (arXiv 2107.07651) made small: `visual_layers` of a pre-norm ViT over each
    key frame, `text_layers` of a post-norm BERT, and `fusion_layers` more of it with cross-attention to
    the frames' tokens.

    Args:
        visual_size, visual_heads, visual_intermediate_size: width, heads and MLP width of the visual encoder;
            None: those of the text encoder.
        backbone: the visual encoder, a name in `model.VISUAL_ENCODERS`. That of EfficientNet-Lite0 has fixed
            widths; `visual_size` is 320 and `patch_size` 32.
        visual_norm_eps, text_norm_eps: epsilon of the layer norms; ALBEF's ViT has 1e-6, BERT 1e-12.
        token_types: rows of the token-type embedding: query and keywords, and again for tokens that both have
            (`match_markers`).
        frame_tokens: patch tokens of each frame that the fusion layers see, besides its class token (a square
            number; the patch grid is average-pooled to it). None: every patch token.
        conv_stem: channels of the 3x3 stride-2 convolutions whose output is added to the linear patch
            embedding. The product of their strides must be `patch_size`. Empty: a plain ViT. In a model of
            this size convolutions learn shapes far sooner, and the linear path keeps the colours.
        layout_token: add a linear map of all patch tokens, each at its place, to the class token of a frame.
            Attention averages over patches, and an average loses the layout that tells one glyph from
            another: with this map a product is recognised in a sixth of the steps. Not in the HCMRM paper.
        empty_token: every ad has a learnt token beside its frames. An ad without frames has that token alone
            in either case.
        pixel_mean, pixel_deviation: pixels in [0, 1] are shifted and scaled by these (frames are pale); one
            number, or one for each of red, green and blue.
        match_head: also has ALBEF's head for image-text matching (ITM) and its learnt temperature of the
            contrastive similarities.
        match_markers: mark query and keyword tokens that occur in both by their token type (exact-match
            marking in the manner of MarkedBERT, SIGIR 2020). Not in the HCMRM paper.
        frame_markers: add to the embedding of each token a small network of log P(token | frames) -
            log P(token | no frames), the pointwise mutual information of word and frames as the bag-of-words
            head computes it. Match markers compare query and keywords, these compare words and frames: one
            number says whether a word is shown, be it a colour, a product, or a product that no label ever
            named. Not in the HCMRM paper.
        word_markers: the same with the meaning of the nearest token of the other side: the largest cosine of
            a query token with the keywords' tokens, and vice versa, between their rows of the bag-of-words
            head. Words that the same frames predict, such as synonyms, are near each other there. Not in the
            HCMRM paper.
        cross_attention: False: a model of texts alone, whose fusion layers attend to nothing else.
        cross_gate: the cross-attention starts without any effect, so that layers of a public BERT compute at
            first what they computed before (a gate that starts at 0, as in Flamingo, arXiv 2204.14198).
        prior_layers: layers of a sentence encoder above the text encoder (`prior.Prior`), which read query
            and ad apart. Their cosine is added to the grade head's logits. 0: there is no such cosine.
        use_frames, use_keywords: False leaves a modality out: the ablations' text-only and frames-only
            models.
        text_tokens: longest keyword sequence that is read, in tokens. A query's 16 tokens and three special
            ones must fit into `max_positions` as well.
        fusion: early: query and keywords in one sequence beside the frames, as in the paper. two_tower: a
            cosine of query and ad, which never see each other, for comparison.
        grade_head: the loss that the grade head is trained with, a name in `losses.GRADE_HEADS`; it says how
            many logits there are and how a score is made of them.
        grade_tree: grades on the branches of the hierarchical softmax, as `tree.GradeTree.of` takes them; for
            labels without grade 1 (WANDS) it is ((0,), (2, 3)).
    """

    model_type = "hcmrm"

    def __init__(
        self,
        vocab_size: Annotated[int, Ge(1), Le(10**6)] = 2000,
        hidden_size: Width = 128,
        num_heads: Heads = 4,
        visual_layers: Layers = 2,
        text_layers: Layers = 2,
        fusion_layers: Layers = 2,
        intermediate_size: Wide = 512,
        visual_size: Width | None = None,
        visual_heads: Heads | None = None,
        visual_intermediate_size: Wide | None = None,
        backbone: Literal["vit", "efficientnet_lite0"] = "vit",
        visual_norm_eps: Epsilon = 1e-6,
        text_norm_eps: Epsilon = 1e-12,
        max_positions: Annotated[int, Ge(1), Le(65_536)] = 64,
        token_types: Annotated[int, Ge(1), Le(100)] = 4,
        image_size: Annotated[int, Ge(1), Le(4096)] = 48,
        patch_size: Annotated[int, Ge(1), Le(4096)] = 16,
        n_frames: Annotated[int, Ge(0), Le(100)] = 3,
        frame_tokens: Annotated[int, Ge(1), Le(65_536)] | None = 4,
        conv_stem: Annotated[tuple[Width, ...], MaxLen(12)] = (32, 64, 128, 128),
        layout_token: bool = True,
        empty_token: bool = True,
        pixel_mean: Pixel | tuple[Pixel, Pixel, Pixel] = 0.9,
        pixel_deviation: Deviation | tuple[Deviation, Deviation, Deviation] = 0.25,
        embed_dim: Width = 64,
        dropout: Annotated[float, Ge(0), Lt(1)] = 0.0,
        match_head: bool = False,
        match_markers: bool = True,
        frame_markers: bool = False,
        word_markers: bool = False,
        cross_attention: bool = True,
        cross_gate: bool = False,
        prior_layers: Layers = 0,
        use_frames: bool = True,
        use_keywords: bool = True,
        text_tokens: Annotated[int, Ge(1), Le(65_536)] = 32,
        fusion: Literal["early", "two_tower"] = "early",
        grade_head: Literal["hierarchical", "bce", "flat", "ordinal", "ranknet"] = "hierarchical",
        grade_tree: Annotated[Sequence[Sequence[Grade]], MaxLen(4)] = ((0, 1), (2, 3)),
        **kwargs: Any,
    ) -> None:
        sizes = {name: value for name, value in locals().items() if name in SIZES}
        sizes["visual_size"] = visual_size or hidden_size
        sizes["visual_heads"] = visual_heads or num_heads
        sizes["visual_intermediate_size"] = visual_intermediate_size or intermediate_size
        sizes["conv_stem"] = tuple(conv_stem)
        sizes["grade_tree"] = tuple(tuple(branch) for branch in grade_tree)
        kwargs.setdefault("pad_token_id", 0)
        super().__init__(**sizes, **kwargs)  # which makes attributes of them

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any: ...

    @classmethod
    def preset(cls, name: str, **changes: Any) -> Self:
        """The sizes that PRESETS names, with `changes` set over them."""
        return cls(**{**PRESETS[name], **changes})

    def misfit(self) -> str:
        """Which sizes cannot be those of one model, in words; empty: all fit."""
        own = "visual_size, by default hidden_size"
        widths = [("text", self.num_heads, self.hidden_size, "num_heads, hidden_size")]
        if self.backbone == "vit":
            widths.append(
                ("visual", self.visual_heads, self.visual_size, f"visual_heads, by default num_heads; {own}")
            )
        for which, heads, size, named in widths:
            if heads < 1 or size % heads:
                return (
                    f"{heads} {which} heads do not divide the width {size} ({named}); give the right number"
                )
        if self.backbone == "efficientnet_lite0" and (self.visual_size, self.patch_size) != EFFICIENT_NET:
            size, patch = EFFICIENT_NET
            return f"efficientnet_lite0 has visual_size {size} and patch_size {patch}, and no others"
        if self.image_size % self.patch_size:
            of = f"must be a multiple of the patch size {self.patch_size}"
            return f"image size {self.image_size}: {of} (image_size, patch_size)"
        if self.backbone == "vit" and self.conv_stem:
            stem = f"conv_stem {list(self.conv_stem)}"
            if self.conv_stem[-1] != self.visual_size:
                return f"{stem} must end with the width of the frames' encoder, {self.visual_size} ({own})"
            if 2 ** len(self.conv_stem) != self.patch_size:
                return f"{stem} must halve as often as makes the patch size, {self.patch_size} (patch_size)"
        return ""


EFFICIENT_NET = (320, 32)
"""visual_size and patch_size of EfficientNet-Lite0."""
SIZES = tuple(inspect.signature(HCMRMConfig.__init__).parameters)[1:-1]
"""Names of all sizes and switches: the arguments of HCMRMConfig."""


@functools.cache
def _readers() -> Mapping[str, TypeAdapter[Any]]:
    hints = get_type_hints(HCMRMConfig.__init__, include_extras=True)
    return {name: TypeAdapter(hints[name]) for name in SIZES}


def check_sizes(sizes: Mapping[str, Any]) -> None:
    """Refuse sizes of another kind, or outside the ranges that the arguments of HCMRMConfig declare.

    Args:
        sizes: some of the arguments; names that are none are not looked at.

    Raises:
        TrainError: names the size, what it must be, and its value.
    """
    for name, reader in _readers().items():
        if name in sizes:
            try:
                # As JSON: a tuple may be a list there, and no text or truth value is taken for a number.
                reader.validate_json(json.dumps(sizes[name], default=str), strict=True)
            except ValidationError as error:
                reason = in_words(ValueError(error.errors()[-1]["msg"]))
                raise TrainError(
                    f"{reason[:1].lower()}{reason[1:]}", field=f"model.{name}", value=cut(str(sizes[name]))
                ) from None
