"""What a public sentence encoder says of query and ad, each read alone: four numbers beside what HCMRM reads.

Fine-tuning on few labels makes a model forget what its public weights know. So the sentence encoder stays as
it is, and what it says is added to the logits: HCMRM learns what is to be added to that. Not in the paper.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from relevance.hcmrm.layers import attention_bias, text_layers
from relevance.hcmrm.model_config import HCMRMConfig
from relevance.hcmrm.text_batch import TextBatch, texts_apart

LONGEST_QUERY = 18
"""Tokens of a query that are read, [CLS] and [SEP] included."""
NUMBERS = 4
"""What a prior says of a pair: the cosine of the two texts; and of the likeness of each query token to the
nearest token of the ad the mean, the least, and the last token's."""
START = 10.0, -4.0
"""Scale and shift of the cosine in the branch's logit before `Prior.fit`; the other numbers weigh nothing."""
SHRINKAGE = 1.0
"""Standard normal prior of the fitted weights, divided by the number of pairs: as of a ridge regression."""


class Prior(nn.Module):
    """The upper layers of a sentence encoder, above HCMRM's text encoder, and what its numbers are worth.

    The cosine is that of Sentence-BERT (arXiv 1908.10084), whose embedding is the mean of the tokens after
    the last layer. A mean forgets single words; late interaction (ColBERT, arXiv 2004.12832) does not: each
    query token is held against every token of the ad, as the text encoder gives them. The layers are never
    trained. The numbers stay what the public weights say as long as the text encoder is not trained either
    (`TrainConfig.frozen`).
    """

    def __init__(self, config: HCMRMConfig, logits: int) -> None:
        super().__init__()
        self.layers = text_layers(config, config.prior_layers, cross=False).requires_grad_(False)
        self.head = nn.Linear(NUMBERS, logits)

    def start(self) -> None:
        """Let the score start as one that rises with the cosine."""
        rising = torch.linspace(0.0, 1.0, self.head.out_features)
        # Four logits are those of the flat softmax over the grades; else the first one is the branch's.
        share = rising if len(rising) == 4 else (torch.arange(len(rising)) == 0).float()
        with torch.no_grad():
            self.head.weight.zero_()
            self.head.weight[:, 0] = START[0] * share
            self.head.bias.copy_(START[1] * share)

    @torch.no_grad()
    def read(self, encoder: nn.Module, text: TextBatch) -> Tensor:
        """The numbers of each pair, float32 [P, 4]; see NUMBERS.

        Args:
            encoder: the text encoder, the layers below these.
        """
        query, ad = (self._states(encoder, part) for part in texts_apart(text, LONGEST_QUERY))
        cosine = nn.functional.cosine_similarity(query.embedding, ad.embedding, dim=-1)
        return torch.cat((cosine[:, None], _late_interaction(query, ad)), dim=1)

    def forward(self, numbers: Tensor) -> Tensor:
        """What is added to the logits of P pairs, float32 [P, logits], from their numbers [P, 4]."""
        return nn.functional.linear(numbers, self.head.weight.float(), self.head.bias.float())

    def fit(self, numbers: Tensor, loss: Callable[[Tensor], Tensor]) -> None:
        """Let the numbers alone explain labels as well as they can: a convex problem, solved by L-BFGS.

        Args:
            numbers: of the P labelled pairs, [P, 4].
            loss: of the logits [P, logits] of these pairs.
        """
        mean, scale = numbers.mean(dim=0), numbers.std(dim=0).clamp(min=1e-6)
        given = (numbers - mean) / scale
        weight = torch.zeros_like(self.head.weight, requires_grad=True)
        bias = torch.zeros_like(self.head.bias, requires_grad=True)
        solver = torch.optim.LBFGS([weight, bias], max_iter=200, line_search_fn="strong_wolfe")

        def penalised() -> Tensor:
            solver.zero_grad()
            shrunk = SHRINKAGE / (2 * len(given)) * weight.square().sum()
            value = loss(nn.functional.linear(given, weight, bias)) + shrunk
            value.backward()
            return value

        solver.step(penalised)
        with torch.no_grad():
            self.head.weight.copy_(weight / scale)
            self.head.bias.copy_(bias - (weight / scale) @ mean)

    def _states(self, encoder: nn.Module, text: TextBatch) -> _States:
        """A text that several pairs have is read once."""
        different, row = torch.stack((text.input_ids, text.mask)).unique(dim=1, return_inverse=True)
        ids, mask = different[0], different[1]
        text = TextBatch(ids, mask, torch.zeros_like(ids))
        below = x = encoder(text)
        bias = attention_bias(text.mask, x.dtype)
        for layer in self.layers:
            x = layer(x, bias)
        there = text.mask[..., None].float()
        mean = (x.float() * there).sum(dim=1) / there.sum(dim=1)
        return _States(mean[row], nn.functional.normalize(below.float(), dim=-1)[row], mask[row])


class _States(NamedTuple):
    """P texts of N tokens, [CLS] the first and [SEP] the last that is there."""

    embedding: Tensor  # [P, d] after the last layer
    token: Tensor  # [P, N, d] unit vectors, after the text encoder
    mask: Tensor  # [P, N]

    @property
    def inner(self) -> Tensor:
        """The tokens without [CLS] and [SEP], bool [P, N]."""
        place = torch.arange(self.mask.shape[1], device=self.mask.device)
        return (place > 0) & (place < self.mask.sum(dim=1, keepdim=True) - 1)


def _late_interaction(query: _States, ad: _States) -> Tensor:
    """Mean, least and last of the likeness of query tokens to their nearest ad token, [P, 3].

    Zeros where either text has no token.
    """
    likeness = query.token @ ad.token.transpose(1, 2)
    nearest = likeness.masked_fill(~ad.inner[:, None, :], -1.0).amax(dim=2)
    inner = query.inner
    count = inner.sum(dim=1)
    mean = (nearest * inner).sum(dim=1) / count.clamp(min=1)
    least = nearest.masked_fill(~inner, 1.0).amin(dim=1)
    last = nearest.gather(1, count[:, None])[:, 0]  # the tokens begin at place 1
    there = (count > 0) & ad.inner.any(dim=1)
    return torch.stack((mean, least, last), dim=1) * there[:, None]
