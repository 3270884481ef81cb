"""The hierarchical softmax against numbers worked out by hand, and what its score promises."""

# ruff: noqa: E402

from __future__ import annotations

import math

import pytest

torch = pytest.importorskip("torch")

from hypothesis import given
from hypothesis import strategies as st

from relevance.hcmrm.losses import (
    bag_of_words_loss,
    contrastive_loss,
    hierarchical_softmax_loss,
    log_grade_probabilities,
    ranking_score,
)

LOGIT = st.floats(-15, 15)


def test_grade_probabilities_by_hand() -> None:
    # P(positive) = 3/4, P(1 | negative) = 1/5, P(3 | positive) = 2/3: the logits are the logarithms
    # of the odds.
    logits = torch.tensor([[math.log(3.0), math.log(1 / 4), math.log(2.0)]])
    probabilities = log_grade_probabilities(logits).exp()[0].tolist()
    assert probabilities == pytest.approx(
        [1 / 4 * 4 / 5, 1 / 4 * 1 / 5, 3 / 4 * 1 / 3, 3 / 4 * 2 / 3], abs=1e-6
    )


def test_loss_by_hand() -> None:
    logits = torch.tensor([[math.log(3.0), math.log(1 / 4), math.log(2.0)]] * 2)
    # One pair of grade 0 (probability 1/5), one of grade 3 (probability 1/2).
    loss = hierarchical_softmax_loss(logits, torch.tensor([0, 3]))
    assert loss.item() == pytest.approx((math.log(5.0) + math.log(2.0)) / 2, abs=1e-6)


def test_a_pair_teaches_only_its_own_branch() -> None:
    logits = torch.zeros(2, 3, requires_grad=True)
    hierarchical_softmax_loss(logits, torch.tensor([0, 3])).backward()
    # Mean over two pairs, each with probability 1/2 in every binary softmax it takes part in:
    # gradients of +-1/4.
    assert logits.grad is not None
    assert logits.grad.tolist() == [[0.25, 0.25, 0.0], [-0.25, 0.0, -0.25]]


@given(LOGIT, LOGIT, LOGIT)
def test_probabilities_sum_to_one(a: float, b: float, c: float) -> None:
    assert log_grade_probabilities(
        torch.tensor([[a, b, c]], dtype=torch.float64)
    ).exp().sum().item() == pytest.approx(1.0)


@given(LOGIT, LOGIT, LOGIT, st.floats(0.01, 5), st.integers(0, 2))
def test_score_rises_in_every_logit(a: float, b: float, c: float, step: float, which: int) -> None:
    low = torch.tensor([[a, b, c]], dtype=torch.float64)
    high = low.clone()
    high[0, which] += step
    assert ranking_score(high).item() >= ranking_score(low).item()
    assert 0.0 <= ranking_score(low).item() <= 1.0


def test_extreme_logits_stay_finite() -> None:
    logits = torch.tensor([[1e4, -1e4, 1e4], [-1e4, 1e4, -1e4]])
    assert torch.isfinite(hierarchical_softmax_loss(logits, torch.tensor([3, 1])))
    assert ranking_score(logits).tolist() == pytest.approx([1.0, 0.2])


def test_contrastive_loss_by_hand() -> None:
    # Orthogonal pairs at temperature 1: each row is (1, 0), so the loss is ln(1 + 1/e) both ways.
    eye = torch.eye(2)
    nothing_shared = torch.zeros(2, 2, dtype=torch.bool)
    assert contrastive_loss(eye, eye, nothing_shared, 1.0).item() == pytest.approx(
        math.log1p(math.exp(-1.0)), abs=1e-6
    )


def test_false_negatives_are_left_out() -> None:
    # With the only other ad about the same thing, nothing is left to tell apart: no loss.
    eye = torch.eye(2)
    assert contrastive_loss(eye, eye, torch.ones(2, 2, dtype=torch.bool), 1.0).item() == pytest.approx(
        0.0, abs=1e-6
    )


def test_bag_of_words_by_hand() -> None:
    # Uniform logits over four words, two of them in the bag; the ad without words counts for nothing.
    bag = torch.tensor([[1.0, 1.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0]])
    assert bag_of_words_loss(torch.zeros(2, 4), bag).item() == pytest.approx(math.log(4.0), abs=1e-6)
