"""Sizes of an HCMRM, in one place."""

from __future__ import annotations

from typing import Any

from transformers import PretrainedConfig


class HCMRMConfig(PretrainedConfig):
    """Sizes and switches. The defaults are the shipped model: 2.4 million parameters.

    The layer plan is ALBEF's (arXiv 2107.07651) made small: `visual_layers` of a pre-norm ViT over each
    key frame, `text_layers` of a post-norm BERT, and `fusion_layers` more of it with cross-attention to
    the frames' tokens.

    Args:
        frame_tokens: patch tokens of each frame that the fusion layers see, besides its class token (a square
            number; the patch grid is average-pooled to it).
        conv_stem: channels of the 3x3 stride-2 convolutions whose output is added to the linear patch
            embedding. Their product of strides must be `patch_size`. Empty: a plain ViT. At this size
            convolutions find shapes far sooner, and the linear path keeps the colours.
        layout_token: add a linear map of all patch tokens, each at its place, to the class token of a frame.
            Attention averages over patches, and an average forgets the layout that tells a glyph from
            another: with this map a product is recognised in a sixth of the steps. Not in the HCMRM paper.
        pixel_mean, pixel_deviation: pixels in [0, 1] are shifted and scaled by these (frames are pale).
        match_markers: mark query and keyword tokens that occur in both by their token type (exact-match
            marking in the manner of MarkedBERT, SIGIR 2020). Not in the HCMRM paper.
        use_frames, use_keywords: switch a modality off for good: the ablations' frames-only and
            text-only models.
    """

    model_type = "hcmrm"

    def __init__(
        self,
        vocab_size: int = 2000,
        hidden_size: int = 128,
        num_heads: int = 4,
        visual_layers: int = 2,
        text_layers: int = 2,
        fusion_layers: int = 2,
        intermediate_size: int = 512,
        max_positions: int = 64,
        image_size: int = 48,
        patch_size: int = 16,
        n_frames: int = 3,
        frame_tokens: int = 4,
        conv_stem: tuple[int, ...] = (32, 64, 128, 128),
        layout_token: bool = True,
        pixel_mean: float = 0.9,
        pixel_deviation: float = 0.25,
        embed_dim: int = 64,
        dropout: float = 0.0,
        match_markers: bool = True,
        use_frames: bool = True,
        use_keywords: bool = True,
        **kwargs: Any,
    ) -> None:
        self.vocab_size = vocab_size
        self.hidden_size = hidden_size
        self.num_heads = num_heads
        self.visual_layers = visual_layers
        self.text_layers = text_layers
        self.fusion_layers = fusion_layers
        self.intermediate_size = intermediate_size
        self.max_positions = max_positions
        self.image_size = image_size
        self.patch_size = patch_size
        self.n_frames = n_frames
        self.frame_tokens = frame_tokens
        self.conv_stem = tuple(conv_stem)
        self.layout_token = layout_token
        self.pixel_mean = pixel_mean
        self.pixel_deviation = pixel_deviation
        self.embed_dim = embed_dim
        self.dropout = dropout
        self.match_markers = match_markers
        self.use_frames = use_frames
        self.use_keywords = use_keywords
        kwargs.setdefault("pad_token_id", 0)
        super().__init__(**kwargs)
