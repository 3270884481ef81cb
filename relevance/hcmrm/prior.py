"""What a public sentence encoder says of query and ad, each read alone: a cosine beside what HCMRM reads.

Fine-tuning on few labels makes a model forget what its public weights know. So the sentence encoder stays as
it is, and its cosine is added to the logits: HCMRM learns what is to be added to it. Not in the HCMRM paper.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from relevance.hcmrm.layers import attention_bias, text_layers
from relevance.hcmrm.model_config import HCMRMConfig
from relevance.hcmrm.text_batch import TextBatch, texts_apart

LONGEST_QUERY = 18
"""Tokens of a query that are read, [CLS] and [SEP] included."""
START = 10.0, -4.0
"""Scale and shift of the cosine in the branch's logit when a training starts; it learns them."""


class Prior(nn.Module):
    """The upper layers of a sentence encoder, above HCMRM's text encoder, and what its cosine is worth.

    An embedding is the mean of the tokens after the last layer, as in Sentence-BERT (arXiv 1908.10084). The
    layers are never trained. The cosine stays what the public weights say as long as the text encoder is not
    trained either (`TrainConfig.frozen`).
    """

    def __init__(self, config: HCMRMConfig, logits: int) -> None:
        super().__init__()
        self.layers = text_layers(config, config.prior_layers, cross=False).requires_grad_(False)
        self.head = nn.Linear(1, logits)

    def start(self) -> None:
        """Let the score start as one that rises with the cosine."""
        rising = torch.linspace(0.0, 1.0, self.head.out_features)
        # Four logits are those of the flat softmax over the grades; else the first one is the branch's.
        share = rising if len(rising) == 4 else (torch.arange(len(rising)) == 0).float()
        with torch.no_grad():
            self.head.weight.copy_(START[0] * share[:, None])
            self.head.bias.copy_(START[1] * share)

    @torch.no_grad()
    def cosine(self, encoder: nn.Module, text: TextBatch) -> Tensor:
        """Cosine of query and ad, float32 [P].

        Args:
            encoder: the text encoder, the layers below these.
        """
        query, ad = (self._embedding(encoder, part) for part in texts_apart(text, LONGEST_QUERY))
        return nn.functional.cosine_similarity(query, ad, dim=-1)

    def forward(self, cosine: Tensor) -> Tensor:
        """What is added to the logits of P pairs, float32 [P, logits], from their cosines [P]."""
        weight, bias = self.head.weight.float(), self.head.bias.float()
        return nn.functional.linear(cosine[:, None], weight, bias)

    def _embedding(self, encoder: nn.Module, text: TextBatch) -> Tensor:
        """[P, d]; a text that several pairs have is read once."""
        different, row = torch.stack((text.input_ids, text.mask)).unique(dim=1, return_inverse=True)
        ids, mask = different[0], different[1]
        text = TextBatch(ids, mask, torch.zeros_like(ids))
        x = encoder(text)
        bias = attention_bias(text.mask, x.dtype)
        for layer in self.layers:
            x = layer(x, bias)
        there = text.mask[..., None].float()
        return ((x.float() * there).sum(dim=1) / there.sum(dim=1))[row]
