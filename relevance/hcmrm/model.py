"""HCMRM: relevance of a query to a short-video ad, from its key frames and its keywords (arXiv 2502.05822).

    frames  --> visual encoder ------------------------------.
                                                             v   (cross-attention)
    [CLS] query [SEP] keywords [SEP] --> text encoder --> fusion encoder --> [CLS] --> three binary softmaxes

The layer plan is ALBEF's. The query shares one sequence with the keywords, in pre-training (where other
keywords play the query) as in fine-tuning: the paper's "high consistency".
P pairs, A ads, F frames, V visual tokens an ad, N text tokens, d hidden size, v visual size (often d).
With `conv_stem=()`, no layout token, no empty token, every patch token kept and no match markers, this is
ALBEF (see importing.py).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from relevance.hcmrm.efficient_net import EfficientNetEncoder
from relevance.hcmrm.layers import Linear, attention_bias, text_layers
from relevance.hcmrm.model_config import HCMRMConfig
from relevance.hcmrm.prior import Prior
from relevance.hcmrm.text_batch import TextBatch as TextBatch, split_pairs
from relevance.hcmrm.training.losses import grade_head
from relevance.hcmrm.tree import GradeTree
from relevance.hcmrm.visual_encoder import VisualEncoder


class Known(NamedTuple):
    """What is computed already: for markers once for each ad and once for a model, else once for a pair."""

    words: Tensor | None = None  # [A, W] `HCMRM.words_of_frames` of the ads of the batch
    meaning: Tensor | None = None  # [W, v] `HCMRM.meaning`
    encoded: Tensor | None = None  # [P, N, d] what the text encoder gives
    numbers: Tensor | None = None  # [P, 4] `Prior.read`


VISUAL_ENCODERS = {"vit": VisualEncoder, "efficientnet_lite0": EfficientNetEncoder}
"""Visual encoders by their name in the config."""

COSINE_SCALE = 10.0
"""Two towers: the grade head's logit is this times the cosine when a training starts."""


class TextEncoder(nn.Module):
    """BERT's embeddings and its lower layers, which see no frames."""

    def __init__(self, config: HCMRMConfig) -> None:
        super().__init__()
        size = config.hidden_size
        self.word = nn.Embedding(config.vocab_size, size, padding_idx=0)
        self.position = nn.Embedding(config.max_positions, size)
        self.token_type = nn.Embedding(config.token_types, size)
        self.norm = nn.LayerNorm(size, eps=config.text_norm_eps)
        self.layers = text_layers(config, config.text_layers, cross=False)
        self.markers = nn.ModuleDict(
            {
                name: nn.Sequential(Linear(1, size), nn.GELU(), Linear(size, size))
                for name, wanted in (("frames", config.frame_markers), ("words", config.word_markers))
                if wanted
            }
        )

    def embed(
        self, text: TextBatch, marks: Mapping[str, Tensor] | None = None, hidden: Tensor | None = None
    ) -> Tensor:
        """What the first layer reads: [P, N] token ids -> [P, N, d].

        Args:
            marks: name of a marker -> [P, N], a number for each token (`HCMRM.marks`); None: no markers, for
                a text that is read alone.
            hidden: bool [P, N], tokens whose markers are read, but not their words.
        """
        position = self.position.weight[: text.input_ids.shape[1]]
        words = self.word(text.input_ids)
        if hidden is not None:
            words = words.masked_fill(hidden[..., None], 0.0)
        x = words + self.token_type(text.token_type) + position
        for name, mark in (marks or {}).items():
            x = x + self.markers[name](mark[..., None].to(x.dtype))
        embedded: Tensor = self.norm(x)
        return embedded

    def forward(
        self, text: TextBatch, marks: Mapping[str, Tensor] | None = None, hidden: Tensor | None = None
    ) -> Tensor:
        """[P, N] token ids -> [P, N, d].

        Args: as of `embed`.
        """
        x = self.embed(text, marks, hidden)
        bias = attention_bias(text.mask, x.dtype)
        for layer in self.layers:
            x = layer(x, bias)
        return x


class HCMRM(PreTrainedModel):
    """The whole model, with the heads of its pre-training and of its fine-tuning."""

    config_class = HCMRMConfig
    config: HCMRMConfig
    _tied_weights_keys: Any = None

    def __init__(self, config: HCMRMConfig) -> None:
        super().__init__(config)
        size = config.hidden_size
        self.visual_encoder = VISUAL_ENCODERS[config.backbone](config)
        self.text_encoder = TextEncoder(config)
        self.fusion_layers = text_layers(config, config.fusion_layers, cross=config.cross_attention)
        # The empty token: learnt, beside the frames, and alone where there are no frames.
        self.no_frame = nn.Parameter(0.02 * torch.randn(1, 1, config.visual_size))
        two_towers = config.fusion == "two_tower"
        self.pair_size = 1 if two_towers else size
        self.grades = grade_head(config.grade_head, GradeTree.of(config.grade_tree))
        self.grade_head = nn.Linear(self.pair_size, self.grades.logits)
        self.frame_projection = nn.Linear(config.visual_size, config.embed_dim)
        self.text_projection = nn.Linear(size, config.embed_dim)
        self.keyword_head = Linear(config.visual_size, config.vocab_size)
        self.mlm_transform = nn.Sequential(
            nn.Linear(size, size), nn.GELU(), nn.LayerNorm(size, eps=config.text_norm_eps)
        )
        self.mlm_bias = nn.Parameter(torch.zeros(config.vocab_size))
        self.topic_scale = nn.Parameter(torch.tensor([5.0, 0.0]))
        self.match_head = nn.Linear(size, 2) if config.match_head else None
        self.temperature = nn.Parameter(torch.tensor(0.07)) if config.match_head else None
        self.ad_projection = nn.Linear(size, config.embed_dim) if two_towers else None
        self.prior = Prior(config, self.grades.logits) if config.prior_layers else None
        self.post_init()  # type: ignore[no-untyped-call]
        if self.prior is not None:
            self.prior.start()
        if two_towers:
            nn.init.constant_(self.grade_head.weight, COSINE_SCALE)

    def _init_weights(self, module: nn.Module) -> None:
        """BERT's and ViT's: normal with standard deviation 0.02; convolutions keep their own."""
        if isinstance(module, (nn.Linear, nn.Embedding)):
            nn.init.normal_(module.weight, std=0.02)
        if isinstance(module, nn.Linear) and module.bias is not None:
            nn.init.zeros_(module.bias)
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        if isinstance(module, (nn.LayerNorm, nn.BatchNorm2d)):
            nn.init.ones_(module.weight)
            nn.init.zeros_(module.bias)
        if isinstance(module, (VisualEncoder, EfficientNetEncoder)):
            for parameter in module.parameters(recurse=False):
                nn.init.normal_(parameter, std=0.02)

    def train(self, mode: bool = True) -> HCMRM:
        """As of any module; frozen layers stay in evaluation mode, so that they always give the same."""
        super().train(mode)
        for part in (self.prior, self.text_encoder):
            if part is not None and not any(p.requires_grad for p in part.layers.parameters()):
                part.eval()
        return self

    @property
    def packs(self) -> bool:
        """Whether `packed.PackedModel` computes this model."""
        config = self.config
        return self.ad_projection is None and self.prior is None and not config.cross_gate

    def visual_tokens(self, frames: Tensor, dropped: Tensor | None = None) -> Tensor:
        """What fusion sees of each ad: uint8 [A, F, H, W, 3] -> [A, V, v], V = F * (1 + frame_tokens) + 1.

        The last 1 is the empty token, if the model has it beside the frames. Without frames (F = 0) there is
        the empty token alone. An ad has no frames either if all its pixels are 0.

        Args:
            dropped: bool [A], ads whose frames are to be hidden (modality dropout in training).
        """
        a, f = frames.shape[:2]
        nothing = self.no_frame.expand(a, -1, -1)
        if not self.config.use_frames or f == 0:
            return nothing
        tokens = self.visual_encoder(frames).flatten(1, 2)
        hidden = frames.flatten(1).amax(dim=1) == 0
        if dropped is not None:
            hidden = hidden | dropped
        # Every token of a hidden ad becomes the empty one, so that shapes stay the same.
        tokens = torch.where(hidden[:, None, None], nothing, tokens)
        return torch.cat((nothing, tokens), dim=1) if self.config.empty_token else tokens

    def fuse(
        self,
        text: TextBatch,
        visual: Tensor,
        ad_of_pair: Tensor,
        known: Known | None = None,
        *,
        first_only: bool = False,
        hidden: Tensor | None = None,
    ) -> Tensor:
        """All tokens of P pairs after the fusion encoder, [CLS] first: [P, N, d].

        Args:
            visual: `visual_tokens` of the A ads of the batch, [A, V, v].
            ad_of_pair: int64 [P], the row in `visual` of each text's ad.
            known: what is computed already.
            first_only: the last layer computes [CLS] alone, since no grade reads the other tokens: [P, 1, d].
            hidden: bool [P, N], tokens whose markers are read, but not their words (in training).
        """
        x = known.encoded if known else None
        if x is None:
            x = self.text_encoder(text, self.marks(text, visual, ad_of_pair, known), hidden)
        bias = attention_bias(text.mask, x.dtype)
        last = len(self.fusion_layers) - 1
        for number, layer in enumerate(self.fusion_layers):
            x = layer(x, bias, visual, ad_of_pair, first_only=first_only and number == last)
        return x

    def marks(
        self, text: TextBatch, visual: Tensor, ad_of_pair: Tensor, known: Known | None = None
    ) -> dict[str, Tensor]:
        """The numbers that the markers of the config read at each token, float32 [P, N] each.

        frames: log P(token | frames) - log P(token | no frames) within +-6; 0 for ads without frames.
        words: the largest cosine with a token of the other side; -1 where it is empty.

        Args: as of `fuse`.
        """
        words, meaning, *_ = known or Known()
        marks: dict[str, Tensor] = {}
        if self.config.frame_markers:
            words = self.words_of_frames(visual) if words is None else words
            marks["frames"] = words[ad_of_pair[:, None], text.input_ids]
        if self.config.word_markers:
            meaning = (self.meaning() if meaning is None else meaning)[text.input_ids]
            side = text.token_type % 2  # 0 query, 1 keywords, with or without match markers
            other = (side[:, :, None] != side[:, None, :]) & (text.mask[:, None, :] == 1)
            cosine = (meaning @ meaning.transpose(1, 2)).float()
            marks["words"] = cosine.masked_fill(~other, -1.0).amax(dim=-1)
        return marks

    def words_of_frames(self, visual: Tensor) -> Tensor:
        """How much likelier the frames make each word, float32 [A, W]; ads without frames have zeros.

        log P(word | frames) - log P(word | no frames), within +-6.

        Args:
            visual: `visual_tokens` of A ads.
        """
        return (self.seen_words(visual) - self.seen_words(self.no_frame)).clamp(-6.0, 6.0)

    def meaning(self) -> Tensor:
        """What each word means, as far as frames predict it: unit vectors [W, v] of the keyword head."""
        return nn.functional.normalize(self.keyword_head.weight, dim=-1)

    def seen_words(self, visual: Tensor) -> Tensor:
        """Words read off the frames: log P(word | frames), float32 [A, W].

        The mean of what the class tokens of the frames predict, since one of the frames may be empty.

        Args:
            visual: `visual_tokens` of A ads, or the empty token alone.
        """
        first = int(self.config.empty_token and visual.shape[1] > 1)
        per_frame = 1 + (self.config.frame_tokens or self.visual_encoder.grid**2)
        words = self.keyword_head(visual[:, first::per_frame]).float().log_softmax(dim=-1)
        return words.logsumexp(dim=1) - math.log(words.shape[1])

    def forward(
        self,
        text: TextBatch,
        visual: Tensor,
        ad_of_pair: Tensor,
        known: Known | None = None,
        hidden: Tensor | None = None,
    ) -> Tensor:
        """Logits of P pairs, float32 [P, logits of the grade head]: `self.grades` says what they mean.

        The head computes in float32 even in a model of half precision, whose few digits would make many pairs
        equal.

        Args: as of `fuse`.
        """
        read, head = self.pair(text, visual, ad_of_pair, known, hidden).float(), self.grade_head
        logits = nn.functional.linear(read, head.weight.float(), head.bias.float()).float()
        if self.prior is None:
            return logits
        numbers = known.numbers if known else None
        if numbers is None:
            numbers = self.prior.read(self.text_encoder, text)
        return logits + self.prior(numbers)

    def pair(
        self,
        text: TextBatch,
        visual: Tensor,
        ad_of_pair: Tensor,
        known: Known | None = None,
        hidden: Tensor | None = None,
    ) -> Tensor:
        """What heads read of P pairs: [CLS] after fusion, [P, d], or the cosine of two towers, [P, 1].

        The query tower is the text encoder; the ad tower is text and fusion encoder over keywords and frames.
        """
        if self.ad_projection is None:
            return self.fuse(text, visual, ad_of_pair, known, first_only=True, hidden=hidden)[:, 0]
        query, ad = split_pairs(text)
        asked = self.text_embedding(self.text_encoder(query)[:, 0]).float()
        offered = self.ad_projection(self.fuse(ad, visual, ad_of_pair, known, first_only=True)[:, 0]).float()
        return nn.functional.cosine_similarity(asked, offered, dim=-1)[:, None]

    def match_logits(self, text: TextBatch, visual: Tensor, ad_of_pair: Tensor) -> Tensor:
        """Image-text matching (ITM) of P pairs, float32 [P, 2]: no match, match.

        Raises:
            ValueError: the model has no such head (`match_head`).
        """
        if self.match_head is None:
            raise ValueError("the model has no matching head; its config must say match_head=True")
        return self.match_head(self.fuse(text, visual, ad_of_pair, first_only=True)[:, 0]).float()

    def frame_embedding(self, class_token: Tensor) -> Tensor:
        """What contrastive similarities compare: class tokens of frames [..., v] to unit vectors [..., e]."""
        return nn.functional.normalize(self.frame_projection(class_token), dim=-1)

    def text_embedding(self, class_token: Tensor) -> Tensor:
        """The same for [CLS] of the text encoder, [..., d] to unit vectors [..., e]."""
        return nn.functional.normalize(self.text_projection(class_token), dim=-1)

    def word_logits(self, tokens: Tensor) -> Tensor:
        """Masked language modelling: fused tokens [M, d] to logits over the vocabulary, [M, W].

        The weights are those of the word embeddings, as in BERT.
        """
        return nn.functional.linear(self.mlm_transform(tokens), self.text_encoder.word.weight, self.mlm_bias)

    def topic_logits(self, query_ids: Tensor, keyword_ids: Tensor) -> Tensor:
        """Whether query and keywords are of one topic, from the word embeddings alone: [P].

        A scaled cosine of the sums of their embeddings, as in StarSpace (arXiv 1709.03856).

        Args:
            query_ids: [P, Lq], padded with 0, whose embedding is 0.
            keyword_ids: [P, Lk], likewise.
        """
        query, keywords = (self.text_encoder.word(ids).sum(dim=1) for ids in (query_ids, keyword_ids))
        cosine = nn.functional.cosine_similarity(query, keywords, dim=-1)
        return self.topic_scale[0] * cosine + self.topic_scale[1]
