"""The losses against numbers worked out by hand, and what their scores promise."""

# ruff: noqa: E402

from __future__ import annotations

import math

import pytest

torch = pytest.importorskip("torch")

from hypothesis import given, strategies as st

from relevance.hcmrm.training.losses import (
    GRADE_HEADS,
    bag_of_words_loss,
    binary_grade_loss,
    contrastive_loss,
    distilled_cross_entropy,
    log_grade_probabilities,
    log_ordinal_probabilities,
    matching_loss,
    momentum_contrastive_loss,
    ranking_score,
    ranknet_loss,
    shuffled_loss,
)

LOGIT = st.floats(-15, 15)
HIERARCHICAL = GRADE_HEADS["hierarchical"]


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
    loss = HIERARCHICAL.loss(logits, torch.tensor([0, 3]))
    assert loss.item() == pytest.approx((math.log(5.0) + math.log(2.0)) / 2, abs=1e-6)


def test_a_pair_teaches_only_its_own_branch() -> None:
    logits = torch.zeros(2, 3, requires_grad=True)
    HIERARCHICAL.loss(logits, torch.tensor([0, 3])).backward()
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
    assert ranking_score(high, HIERARCHICAL).item() >= ranking_score(low, HIERARCHICAL).item()
    assert 0.0 <= ranking_score(low, HIERARCHICAL).item() <= 1.0


def test_extreme_logits_stay_finite() -> None:
    logits = torch.tensor([[1e4, -1e4, 1e4], [-1e4, 1e4, -1e4]])
    assert torch.isfinite(HIERARCHICAL.loss(logits, torch.tensor([3, 1])))
    assert ranking_score(logits, HIERARCHICAL).tolist() == pytest.approx([1.0, 0.2])
    assert ranking_score(logits, HIERARCHICAL, (0.0, 0.0, 1.0, 1.0)).tolist() == pytest.approx([1.0, 0.0])


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


def test_distilled_cross_entropy_by_hand() -> None:
    # P = 3/4, 1/4 against a true second class and a slow model's 1/2, 1/2.
    logits, target = torch.tensor([[math.log(3.0), 0.0]]), torch.tensor([1])
    loss = distilled_cross_entropy(logits, target, torch.zeros(1, 2), 0.4)
    assert loss.item() == pytest.approx(
        0.6 * math.log(4.0) + 0.4 * 0.5 * (math.log(4 / 3) + math.log(4.0)), abs=1e-6
    )


def test_no_gradient_into_the_slow_model() -> None:
    slow = torch.zeros(1, 2, requires_grad=True)
    distilled_cross_entropy(torch.zeros(1, 2, requires_grad=True), torch.tensor([1]), slow, 0.4).backward()
    assert slow.grad is None


def test_momentum_contrast_by_hand() -> None:
    # Two ads whose frames and texts lie on the axes, and one in the queue on the second axis, at
    # temperature 1: similarities 1, 0, 0 of the first ad and 0, 1, 1 of the second, both ways.
    eye, queue = torch.eye(2), torch.tensor([[0.0, 1.0]])
    slow = torch.cat((eye, queue))
    same = torch.zeros(2, 3, dtype=torch.bool)
    first, second = math.log(math.e + 2.0) - 1.0, math.log(2.0 * math.e + 1.0) - 1.0
    loss = momentum_contrastive_loss(eye, eye, slow, slow, same, 1.0, 0.0)
    assert loss.item() == pytest.approx((first + second) / 2, abs=1e-6)
    # The one in the queue shares a word with the second: left out of its negatives.
    same[1, 2] = True
    without = math.log1p(math.exp(-1.0))
    loss = momentum_contrastive_loss(eye, eye, slow, slow, same, 1.0, 0.0)
    assert loss.item() == pytest.approx((first + without) / 2, abs=1e-6)
    # Soft targets alone, which are the same similarities: the entropy of their softmax; what is left out
    # has no share of it.
    p, q = math.e / (math.e + 2.0), math.e / (math.e + 1.0)
    entropy_1 = -p * math.log(p) - (1 - p) * math.log((1 - p) / 2)
    entropy_2 = -q * math.log(q) - (1 - q) * math.log(1 - q)
    loss = momentum_contrastive_loss(eye, eye, slow, slow, same, 1.0, 1.0)
    assert loss.item() == pytest.approx((entropy_1 + entropy_2) / 2, abs=1e-6)


def test_momentum_contrast_without_momentum_is_the_plain_one() -> None:
    torch.manual_seed(0)
    frames, texts = (torch.nn.functional.normalize(torch.randn(4, 3), dim=-1) for _ in range(2))
    same = torch.eye(4, dtype=torch.bool)
    same[0, 2] = same[2, 0] = True
    plain = contrastive_loss(frames, texts, same, 0.07)
    slow = momentum_contrastive_loss(frames, texts, frames, texts, same, 0.07, 0.0)
    assert slow.item() == pytest.approx(plain.item(), rel=1e-5)


def test_bag_of_words_by_hand() -> None:
    # Equal probabilities of four words, two of them in the bag; the ad without words counts for nothing.
    bag = torch.tensor([[1.0, 1.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0]])
    assert bag_of_words_loss(torch.full((2, 4), -math.log(4.0)), bag).item() == pytest.approx(
        math.log(4.0), abs=1e-6
    )


def test_binary_loss_by_hand() -> None:
    # P(positive) = 3/4 for all: the two positive grades cost ln(4/3) each, the two negative ones ln 4.
    logits = torch.full((4, 1), math.log(3.0))
    loss = binary_grade_loss(logits, torch.tensor([0, 1, 2, 3]))
    assert loss.item() == pytest.approx((math.log(4.0) + math.log(4 / 3)) / 2, abs=1e-6)


def test_binary_loss_knows_no_order_within_a_branch() -> None:
    logits = torch.zeros(2, 1, requires_grad=True)
    binary_grade_loss(logits, torch.tensor([2, 3])).backward()
    assert logits.grad is not None
    assert logits.grad.tolist() == [[-0.25], [-0.25]]


def test_matching_loss_by_hand() -> None:
    # P(match) = 2/3 and 1/5, the first a match, the second none.
    logits = torch.tensor([math.log(2.0), math.log(1 / 4)])
    loss = matching_loss(logits, torch.tensor([True, False]))
    assert loss.item() == pytest.approx((math.log(3 / 2) + math.log(5 / 4)) / 2, abs=1e-6)


def test_flat_softmax_by_hand() -> None:
    # P(grade) = 1/10, 2/10, 3/10, 4/10.
    logits = torch.log(torch.tensor([[1.0, 2.0, 3.0, 4.0]] * 2))
    loss = GRADE_HEADS["flat"].loss(logits, torch.tensor([0, 2]))
    assert loss.item() == pytest.approx((math.log(10.0) + math.log(10 / 3)) / 2, abs=1e-6)
    # Gains 0, 0.2, 0.6, 1.
    assert ranking_score(logits, GRADE_HEADS["flat"])[0].item() == pytest.approx(0.04 + 0.18 + 0.4, abs=1e-6)


def test_ordinal_probabilities_by_hand() -> None:
    # P(at least 1, 2, 3) = 4/5, 1/2, 1/5: log odds ln 4, 0, -ln 4, so both gaps are ln 4,
    # which softplus makes of ln(e^(ln 4) - 1) = ln 3.
    logits = torch.tensor([[math.log(4.0), math.log(3.0), math.log(3.0)]], dtype=torch.float64)
    probabilities = log_ordinal_probabilities(logits).exp()[0].tolist()
    assert probabilities == pytest.approx([0.2, 0.3, 0.3, 0.2], abs=1e-9)
    loss = GRADE_HEADS["ordinal"].loss(logits, torch.tensor([1]))
    assert loss.item() == pytest.approx(math.log(10 / 3), abs=1e-9)


def test_ranknet_by_hand() -> None:
    # Scores 0, ln 2, ln 4 with grades 0, 3, 3: two pairs of different grade, the better one leading
    # by ln 2 and by ln 4, with P(in order) = 2/3 and 4/5. The two of grade 3 are not compared.
    logits = torch.tensor([[0.0], [math.log(2.0)], [math.log(4.0)]])
    loss = ranknet_loss(logits, torch.tensor([0, 3, 3]))
    assert loss.item() == pytest.approx((math.log(3 / 2) + math.log(5 / 4)) / 2, abs=1e-6)


def test_ranknet_of_equal_grades_is_zero() -> None:
    logits = torch.randn(3, 1, requires_grad=True)
    loss = ranknet_loss(logits, torch.tensor([2, 2, 2]))
    loss.backward()
    assert loss.item() == 0.0
    assert logits.grad is not None
    assert torch.isfinite(logits.grad).all()


@pytest.mark.parametrize("name", GRADE_HEADS)
@given(st.lists(LOGIT, min_size=4, max_size=4))
def test_every_head_scores_in_the_unit_interval(name: str, values: list[float]) -> None:
    head = GRADE_HEADS[name]
    logits = torch.tensor([values[: head.logits]], dtype=torch.float64)
    assert 0.0 <= ranking_score(logits, head).item() <= 1.0
    if head.log_probabilities is not None:
        probabilities = head.log_probabilities(logits).exp()
        assert (probabilities >= 0.0).all()
        assert probabilities.sum().item() == pytest.approx(1.0, abs=1e-5)


@pytest.mark.parametrize("name", GRADE_HEADS)
def test_every_head_survives_extreme_logits(name: str) -> None:
    head = GRADE_HEADS[name]
    logits = torch.tensor([[1e4, -1e4, 1e4, -1e4], [-1e4, 1e4, -1e4, 1e4]])[:, : head.logits]
    logits = logits.clone().requires_grad_()
    loss = head.loss(logits, torch.tensor([0, 3]))
    loss.backward()
    assert torch.isfinite(loss)
    assert logits.grad is not None
    assert torch.isfinite(logits.grad).all()


@pytest.mark.parametrize("name", GRADE_HEADS)
def test_every_loss_teaches_the_order_of_its_grades(name: str) -> None:
    # One logit vector for each grade, fitted alone: the scores come out in order, for BCE only
    # that of the branches.
    torch.manual_seed(0)
    head = GRADE_HEADS[name]
    logits = torch.zeros(4, head.logits, requires_grad=True)
    optimizer = torch.optim.Adam([logits], lr=0.1)
    for _ in range(60):
        optimizer.zero_grad()
        head.loss(logits, torch.arange(4)).backward()
        optimizer.step()
    score = ranking_score(logits.detach(), head).tolist()
    if name == "bce":
        assert score[0] == score[1] < score[2] == score[3]
    else:
        assert score == sorted(score)
        assert len(set(score)) == 4


def test_shuffled_loss_by_hand() -> None:
    # P(positive) = 3/4 and 1/5, whatever the order inside the branches: -ln 1/4 and -ln 4/5.
    logits = torch.tensor([[math.log(3.0), 5.0, -2.0], [math.log(1 / 4), 0.0, 1.0]])
    expected = (math.log(4.0) + math.log(5 / 4)) / 2
    assert shuffled_loss(logits, HIERARCHICAL).item() == pytest.approx(expected, abs=1e-6)
    assert shuffled_loss(logits[:, :1], GRADE_HEADS["bce"]).item() == pytest.approx(expected, abs=1e-6)
    # Grades 1/10, 2/10, 3/10, 4/10: negative with 3/10.
    flat = torch.log(torch.tensor([[1.0, 2.0, 3.0, 4.0]]))
    assert shuffled_loss(flat, GRADE_HEADS["flat"]).item() == pytest.approx(math.log(10 / 3), abs=1e-6)
    # P(at least 1, 2, 3) = 4/5, 1/2, 1/5 as above: negative with 1/2.
    ordinal = torch.tensor([[math.log(4.0), math.log(3.0), math.log(3.0)]])
    assert shuffled_loss(ordinal, GRADE_HEADS["ordinal"]).item() == pytest.approx(math.log(2.0), abs=1e-6)
    assert shuffled_loss(logits[:0], HIERARCHICAL).item() == 0.0
    with pytest.raises(ValueError, match="knows no probability"):
        shuffled_loss(logits[:, :1], GRADE_HEADS["ranknet"])


def test_shuffled_pairs_teach_no_order_inside_a_branch() -> None:
    logits = torch.zeros(1, 3, requires_grad=True)
    shuffled_loss(logits, HIERARCHICAL).backward()
    assert logits.grad is not None
    assert logits.grad[0].tolist() == pytest.approx([0.5, 0.0, 0.0], abs=1e-7)
