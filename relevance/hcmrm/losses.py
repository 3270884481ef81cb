"""Losses and scores of HCMRM as pure functions. P pairs, B batch, W words."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from relevance.oracle import GRADE_GAIN


def log_grade_probabilities(logits: Tensor) -> Tensor:
    """Symmetric hierarchical softmax over the grades 0..3 (arXiv 2502.05822): log P(grade), [P, 4].

    Three binary softmaxes: P(grade) = P(branch) P(grade | branch), with branches negative {0, 1} and
    positive {2, 3}.

    Args:
        logits: [P, 3], of the positive branch, of 1 within the negative branch, of 3 within the
            positive branch.
    """
    positive, upper_negative, upper_positive = logits.unbind(-1)
    return torch.stack(
        (
            functional.logsigmoid(-positive) + functional.logsigmoid(-upper_negative),
            functional.logsigmoid(-positive) + functional.logsigmoid(upper_negative),
            functional.logsigmoid(positive) + functional.logsigmoid(-upper_positive),
            functional.logsigmoid(positive) + functional.logsigmoid(upper_positive),
        ),
        dim=-1,
    )


def hierarchical_softmax_loss(logits: Tensor, grade: Tensor) -> Tensor:
    """Mean negative log likelihood of the grades.

    The branch is learnt from every pair, the order inside a branch from the pairs of that branch alone.

    Args:
        logits: [P, 3] as in `log_grade_probabilities`.
        grade: int64 [P], 0..3.
    """
    return functional.nll_loss(log_grade_probabilities(logits), grade)


def ranking_score(logits: Tensor) -> Tensor:
    """Expected gain of a pair, float64 [P] in [0, 1]: sum over grades of P(grade) gain(grade).

    It rises in each of the three logits, and the gains keep the branches apart
    (see relevance.oracle.GRADE_GAIN).
    """
    gain = torch.tensor(GRADE_GAIN, dtype=torch.float64, device=logits.device)
    return log_grade_probabilities(logits.double()).exp() @ gain


def contrastive_loss(frames: Tensor, texts: Tensor, same: Tensor, temperature: float) -> Tensor:
    """In-batch image-text contrastive loss (ITC), both directions.

    Args:
        frames, texts: L2-normalised embeddings [B, e] of the same B ads.
        same: bool [B, B], ads that share what they are about: left out of each other's negatives, since
            contrast with false negatives pulls apart what belongs together. The diagonal is ignored.
        temperature: divides the similarities.
    """
    similarity = frames @ texts.T / temperature
    diagonal = torch.eye(len(frames), dtype=torch.bool, device=frames.device)
    similarity = similarity.masked_fill(same & ~diagonal, torch.finfo(similarity.dtype).min)
    target = torch.arange(len(frames), device=frames.device)
    return 0.5 * (
        functional.cross_entropy(similarity, target) + functional.cross_entropy(similarity.T, target)
    )


def bag_of_words_loss(logits: Tensor, bag: Tensor) -> Tensor:
    """Softmax over the vocabulary against the words of an ad's keywords (not in the HCMRM paper).

    Args:
        logits: [B, W].
        bag: [B, W], non-negative weights; rows without any weight count for nothing.
    """
    mass = bag.sum(dim=-1)
    loss = -(bag * logits.log_softmax(dim=-1)).sum(dim=-1) / mass.clamp(min=1.0)
    return loss.sum() / (mass > 0).sum().clamp(min=1)
