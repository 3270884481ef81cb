"""Losses and scores of HCMRM as pure functions. P pairs, B batch, W words."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from relevance.hcmrm.tree import FOUR_GRADES, GradeTree, log_tree_probabilities
from relevance.oracle import GRADE_GAIN


def log_grade_probabilities(logits: Tensor, tree: GradeTree = FOUR_GRADES) -> Tensor:
    """Symmetric hierarchical softmax over the grades 0..3 (arXiv 2502.05822): log P(grade), [P, 4].

    The paper's tree gives three binary softmaxes: P(grade) = P(branch) P(grade | branch), with the branches
    negative {0, 1} and positive {2, 3}. Grades that the tree lacks have -inf. Trained with the negative log
    likelihood, the branch is learnt from every pair, and the order inside a branch from its own pairs.

    Args:
        logits: [P, 3], of the positive branch, of 1 within the negative branch, of 3 within the
            positive branch; for another tree as in `log_tree_probabilities`.
    """
    known = log_tree_probabilities(logits, tree)
    if tree == FOUR_GRADES:
        return known
    every = known.new_full((len(known), 4), -torch.inf)
    every[:, list(tree.grades)] = known
    return every


def binary_grade_loss(logits: Tensor, grade: Tensor) -> Tensor:
    """Mean binary cross-entropy of "relevant", grade 2 and up: no order within the branches is learnt.

    Args:
        logits: [P, 1], of P(positive).
        grade: int64 [P], 0..3.
    """
    return matching_loss(logits[:, 0], grade >= 2)


def matching_loss(logits: Tensor, match: Tensor) -> Tensor:
    """Mean binary cross-entropy of "belongs together": pseudo-query-video matching (PQVM).

    It has one logit, which stands for the difference of the two logits of ALBEF's image-text matching.

    Args:
        logits: [P], of P(match).
        match: bool [P].
    """
    return functional.binary_cross_entropy_with_logits(logits, match.to(logits.dtype))


def log_ordinal_probabilities(logits: Tensor) -> Tensor:
    """Cumulative link model (McCullagh 1980): log P(grade), [P, 4].

    P(grade >= k) = sigmoid(logit - threshold_k) with thresholds 0 = t1 <= t2 <= t3. Each pair has gaps of its
    own between them; with constant gaps this is the proportional odds model.

    Args:
        logits: [P, 3], of P(grade >= 1) and of the two gaps (before a softplus).
    """
    gaps = functional.softplus(logits[:, 1:]).cumsum(dim=-1)
    at_least = torch.cat((logits[:, :1], logits[:, :1] - gaps), dim=-1)
    # log(sigmoid(a) - sigmoid(b)) = logsigmoid(a) + logsigmoid(-b) + log(1 - exp(b - a)), for a > b.
    upper, lower = at_least[:, :-1], at_least[:, 1:]
    apart = (upper - lower).clamp(min=1e-6)
    between = functional.logsigmoid(upper) + functional.logsigmoid(-lower) + torch.log(-torch.expm1(-apart))
    return torch.cat(
        (functional.logsigmoid(-at_least[:, :1]), between, functional.logsigmoid(at_least[:, -1:])), dim=-1
    )


def ranknet_loss(logits: Tensor, grade: Tensor) -> Tensor:
    """RankNet (Burges et al. 2005): logistic loss of every two pairs of the batch with different grades.

    The two pairs may have different queries, because bids multiply the scores of all queries. Zero where all
    grades are equal.

    Args:
        logits: [P, 1].
        grade: int64 [P], 0..3.
    """
    lead = logits[:, 0][:, None] - logits[:, 0][None, :]
    above = (grade[:, None] > grade[None, :]).to(lead.dtype)
    return (functional.softplus(-lead) * above).sum() / above.sum().clamp(min=1.0)


class GradeHead(NamedTuple):
    """What the logits of a grade head, [P, logits], mean to the loss that the model is trained with."""

    logits: int
    loss: Callable[[Tensor, Tensor], Tensor]
    """(logits, grade int64 [P]) -> scalar."""
    log_probabilities: Callable[[Tensor], Tensor] | None
    """log P(grade), [P, 4]; None where the loss knows no grades."""
    log_negative: Callable[[Tensor], Tensor] | None
    """log P(negative), [P], of grade 0 or 1; None where the loss knows no such probability."""


def _likelihood_head(logits: int, log_probabilities: Callable[[Tensor], Tensor]) -> GradeHead:
    """A head with P(grade), trained with the mean negative log likelihood of the grades."""
    return GradeHead(
        logits,
        lambda x, grade: functional.nll_loss(log_probabilities(x), grade),
        log_probabilities,
        lambda x: log_probabilities(x)[:, :2].logsumexp(dim=-1),
    )


GRADE_HEADS: Mapping[str, GradeHead] = {
    "hierarchical": _likelihood_head(3, log_grade_probabilities),
    "bce": GradeHead(1, binary_grade_loss, None, lambda logits: functional.logsigmoid(-logits[:, 0])),
    "flat": _likelihood_head(4, lambda logits: logits.log_softmax(dim=-1)),
    "ordinal": _likelihood_head(3, log_ordinal_probabilities),
    "ranknet": GradeHead(1, ranknet_loss, None, None),
}
"""Losses of the fine-tuning by name: the paper's, its predecessor's, and three for comparison. "flat" is a
softmax over the four grades as if they had no order."""


def grade_head(name: str, tree: GradeTree = FOUR_GRADES) -> GradeHead:
    """The head of that name in GRADE_HEADS; the hierarchical one over the grades of a tree.

    The others keep their four grades whatever the tree. A grade that no label has gets no probability.
    """
    if name != "hierarchical" or tree == FOUR_GRADES:
        return GRADE_HEADS[name]
    return _likelihood_head(tree.n_logits, partial(log_grade_probabilities, tree=tree))


def ranking_score(logits: Tensor, head: GradeHead, gain: Sequence[float] = GRADE_GAIN) -> Tensor:
    """Score of a pair to rank by, float64 [P] in [0, 1].

    A head with P(grade) scores the expected gain, the sum over grades of P(grade) gain(grade). With the
    hierarchical head it rises in each logit, and the gains keep the branches apart (see
    relevance.oracle.GRADE_GAIN). The gains 0, 0, 1, 1 make it P(positive). Other heads score the sigmoid of
    their only logit, which is P(positive) for "bce" and no probability for "ranknet".

    Args:
        logits: [P, logits of the head].
    """
    if head.log_probabilities is None:
        return logits[:, 0].double().sigmoid()
    probabilities = head.log_probabilities(logits.double()).exp()
    return probabilities @ probabilities.new_tensor(gain)


def shuffled_loss(logits: Tensor, head: GradeHead) -> Tensor:
    """Modality shuffling: ads with another ad's frames or text are negative, whatever their grade.

    After the negatives of MBVR (Wang et al., SIGIR 2022, arXiv 2204.08182), which keep a model from reading
    one modality alone, mostly text. MBVR has a margin on embeddings; here the loss is mean -log P(negative),
    and zero for no pairs.

    Args:
        logits: [P, logits of the head], of queries and shuffled ads.

    Raises:
        ValueError: the head knows no probability of a negative pair ("ranknet").
    """
    if head.log_negative is None:
        raise ValueError("this loss knows no probability of a negative pair")
    return -head.log_negative(logits).sum() / max(1, len(logits))


def contrastive_loss(frames: Tensor, texts: Tensor, same: Tensor, temperature: float | Tensor) -> Tensor:
    """In-batch image-text contrastive loss (ITC), both directions.

    Args:
        frames, texts: L2-normalised embeddings [B, e] of the same B ads.
        same: bool [B, B], ads that are about the same thing. They are no negatives of each other: false
            negatives would pull apart what belongs together. The diagonal is ignored.
        temperature: divides the similarities.
    """
    similarity = frames @ texts.T / temperature
    diagonal = torch.eye(len(frames), dtype=torch.bool, device=frames.device)
    similarity = similarity.masked_fill(same & ~diagonal, torch.finfo(similarity.dtype).min)
    target = torch.arange(len(frames), device=frames.device)
    return 0.5 * (
        functional.cross_entropy(similarity, target) + functional.cross_entropy(similarity.T, target)
    )


def momentum_contrastive_loss(
    frames: Tensor,
    texts: Tensor,
    slow_frames: Tensor,
    slow_texts: Tensor,
    same: Tensor,
    temperature: float | Tensor,
    weight: float,
) -> Tensor:
    """Image-text contrastive loss (ITC) with momentum encoders, queues and soft targets (ALBEF).

    Args:
        frames, texts: L2-normalised embeddings [B, e] of the same B ads.
        slow_frames, slow_texts: those of the momentum encoders, [B + K, e]: of the same B ads, then of the
            queues.
        same: bool [B, B + K], ads that are about the same thing: left out of the negatives and of the soft
            targets. The diagonal is ignored.
        temperature: divides the similarities.
        weight: share of the soft targets, which are the similarities of the momentum encoders.
    """
    b = len(frames)
    target = torch.arange(b, device=frames.device)
    left_out = same.clone()
    left_out[target, target] = False

    def similarity(one: Tensor, other: Tensor) -> Tensor:
        values = one @ other.T / temperature
        return values.masked_fill(left_out, torch.finfo(values.dtype).min)

    return 0.5 * (
        distilled_cross_entropy(
            similarity(frames, slow_texts), target, similarity(slow_frames[:b], slow_texts), weight
        )
        + distilled_cross_entropy(
            similarity(texts, slow_frames), target, similarity(slow_texts[:b], slow_frames), weight
        )
    )


@torch.no_grad()
def clamp_temperature(temperature: Tensor) -> None:
    """Keep a learnt temperature (a scalar) within ALBEF's bounds, 0.001 and 0.5, in place."""
    temperature.clamp_(0.001, 0.5)


def distilled_cross_entropy(logits: Tensor, target: Tensor, slow_logits: Tensor, weight: float) -> Tensor:
    """Mean cross-entropy against a mixture of the true class and of a momentum model's softmax (ALBEF).

    Args:
        logits, slow_logits: [N, C]; no gradient flows into the latter.
        target: int64 [N].
        weight: share of the momentum model.
    """
    log_probabilities = logits.log_softmax(dim=-1)
    soft = -(slow_logits.detach().softmax(dim=-1) * log_probabilities).sum(dim=-1).mean()
    return (1.0 - weight) * functional.nll_loss(log_probabilities, target) + weight * soft


def bag_of_words_loss(log_probabilities: Tensor, bag: Tensor) -> Tensor:
    """Cross-entropy of words read off the frames with the words of an ad (not in the HCMRM paper).

    Args:
        log_probabilities: [B, W].
        bag: [B, W], non-negative weights; rows without any weight are left out.
    """
    mass = bag.sum(dim=-1)
    loss = -(bag * log_probabilities).sum(dim=-1) / mass.clamp(min=1.0)
    return loss.sum() / (mass > 0).sum().clamp(min=1)
