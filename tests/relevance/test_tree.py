"""The hierarchical softmax over trees of grades, against numbers worked out by hand."""

# ruff: noqa: E402

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from hypothesis import given, strategies as st
from torch import Tensor

from relevance.corpus import Labels
from relevance.hcmrm import Checkpoint, HcmrmScorer
from relevance.hcmrm.training.losses import grade_head, log_grade_probabilities, ranking_score
from relevance.hcmrm.training.train import train
from relevance.hcmrm.training.train_config import TrainError
from relevance.hcmrm.tree import (
    FOUR_GRADES,
    GradeTree,
    log_adjacent_softmax,
    log_tree_probabilities,
)
from scenarios.corpora.public import ESCI_GRADE, WANDS_GRADE

from .tiny import TINY_TRAINING, tiny_corpus

WANDS = GradeTree(((0,), (2, 3)))
SEVEN = GradeTree(((0, 1), (2, 3, 4), (5, 6)), positive=1)
"""A tree of three branches."""
TREES = (FOUR_GRADES, WANDS, SEVEN, GradeTree(((0,), (3,))), GradeTree(((0, 1, 2), (3,))))


def tree_loss(logits: Tensor, grade: Tensor, tree: GradeTree) -> Tensor:
    """Mean negative log likelihood of grades of a tree."""
    place = torch.tensor([tree.grades.index(value) for value in grade.tolist()])
    return torch.nn.functional.nll_loss(log_tree_probabilities(logits, tree), place)


def log_positive(log_probabilities: Tensor, tree: GradeTree) -> Tensor:
    """Logarithm of P(positive), [P]."""
    negative = sum(len(branch) for branch in tree.branches[: tree.positive])
    return log_probabilities[:, negative:].logsumexp(dim=-1)


def expected_gain(log_probabilities: Tensor, gain: Sequence[float]) -> Tensor:
    """The sum of P(grade) gain(grade), [P]."""
    return log_probabilities.exp() @ log_probabilities.new_tensor(gain)


def test_wands_by_hand() -> None:
    # P(positive) = 3/4, P(Exact | positive) = 2/3: Irrelevant 1/4, Partial 1/4, Exact 1/2.
    logits = torch.tensor([[math.log(3.0), math.log(2.0)]])
    log_probabilities = log_tree_probabilities(logits, WANDS)
    assert log_probabilities.exp()[0].tolist() == pytest.approx([1 / 4, 1 / 4, 1 / 2], abs=1e-6)
    assert log_positive(log_probabilities, WANDS).exp().item() == pytest.approx(3 / 4, abs=1e-6)
    assert expected_gain(log_probabilities, (0.0, 0.6, 1.0)).item() == pytest.approx(0.65, abs=1e-6)
    loss = tree_loss(logits.expand(2, -1), torch.tensor([2, 3]), WANDS)
    assert loss.item() == pytest.approx((math.log(4.0) + math.log(2.0)) / 2, abs=1e-6)
    # The same as grades 0..3 of a corpus, where 1 cannot be.
    head = grade_head("hierarchical", WANDS)
    assert head.loss(logits.expand(2, -1), torch.tensor([2, 3])).item() == pytest.approx(loss.item())
    assert head.logits == 2
    assert head.log_probabilities is not None
    assert head.log_probabilities(logits).exp()[0].tolist() == pytest.approx([0.25, 0.0, 0.25, 0.5], abs=1e-6)
    assert ranking_score(logits, head).item() == pytest.approx(0.6 / 4 + 1 / 2, abs=1e-6)


def test_three_branches_by_hand() -> None:
    # Root: P = 1/6, 2/6, 3/6, so log odds ln 2 and ln 3/2. Inside: (1/2, 1/2), (1/4, 1/4, 1/2), (1/5, 4/5).
    logits = torch.tensor([[math.log(2.0), math.log(1.5), 0.0, 0.0, math.log(2.0), math.log(4.0)]])
    log_probabilities = log_tree_probabilities(logits, SEVEN)
    expected = [1 / 12, 1 / 12, 2 / 24, 2 / 24, 2 / 12, 3 / 30, 12 / 30]
    assert log_probabilities.exp()[0].tolist() == pytest.approx(expected, abs=1e-6)
    assert log_positive(log_probabilities, SEVEN).exp().item() == pytest.approx(5 / 6, abs=1e-6)
    assert tree_loss(logits, torch.tensor([6]), SEVEN).item() == pytest.approx(math.log(2.5), abs=1e-6)


def test_a_pair_teaches_its_own_branch_and_the_root() -> None:
    logits = torch.zeros(1, SEVEN.n_logits, requires_grad=True)
    tree_loss(logits, torch.tensor([4]), SEVEN).backward()
    # Of equal odds: root P(above the first) = 2/3 and P(third) = 1/3, second branch chosen: gradients
    # 2/3 - 1 and 1/3; inside it P(above the first) = 2/3 and P(third) = 1/3, both wanted.
    assert logits.grad is not None
    assert logits.grad[0].tolist() == pytest.approx([-1 / 3, 1 / 3, 0.0, -1 / 3, -2 / 3, 0.0], abs=1e-6)


def test_the_paper_s_tree_is_one_of_them() -> None:
    # Bit for bit what three binary softmaxes give.
    torch.manual_seed(0)
    logits = torch.randn(50, 3) * 5
    positive, upper_negative, upper_positive = logits.unbind(-1)
    log = torch.nn.functional.logsigmoid
    by_hand = torch.stack(
        (
            log(-positive) + log(-upper_negative),
            log(-positive) + log(upper_negative),
            log(positive) + log(-upper_positive),
            log(positive) + log(upper_positive),
        ),
        dim=-1,
    )
    assert torch.equal(log_tree_probabilities(logits, FOUR_GRADES), by_hand)
    assert torch.equal(log_grade_probabilities(logits), by_hand)


@given(st.sampled_from(TREES), st.lists(st.floats(-12, 12), min_size=6, max_size=6), st.data())
def test_every_tree_gives_probabilities_and_a_score_that_rises(
    tree: GradeTree, values: list[float], data: st.DataObject
) -> None:
    logits = torch.tensor([values[: tree.n_logits]], dtype=torch.float64)
    log_probabilities = log_tree_probabilities(logits, tree)
    assert log_probabilities.exp().sum().item() == pytest.approx(1.0)
    gain = sorted(data.draw(st.lists(st.floats(0, 1), min_size=len(tree.grades), max_size=len(tree.grades))))
    which, step = data.draw(st.integers(0, tree.n_logits - 1)), data.draw(st.floats(0.01, 5))
    raised = logits.clone()
    raised[0, which] += step
    low, high = (expected_gain(log_tree_probabilities(x, tree), gain).item() for x in (logits, raised))
    assert high >= low - 1e-12
    assert (
        log_positive(log_tree_probabilities(raised, tree), tree)
        >= log_positive(log_probabilities, tree) - 1e-9
    )


@pytest.mark.parametrize("tree", TREES)
def test_extreme_logits_stay_finite(tree: GradeTree) -> None:
    for sign in (1.0, -1.0):
        logits = torch.full((len(tree.grades), tree.n_logits), sign * 1e4).requires_grad_()
        loss = tree_loss(logits, torch.tensor(tree.grades), tree)
        loss.backward()
        assert torch.isfinite(loss)
        assert logits.grad is not None
        assert torch.isfinite(logits.grad).all()


def test_one_class_is_certain() -> None:
    assert log_adjacent_softmax(torch.zeros(2, 0)).tolist() == [[0.0], [0.0]]


def test_trees_of_labels() -> None:
    assert GradeTree.for_grades(ESCI_GRADE.values()) == FOUR_GRADES
    assert GradeTree.for_grades(WANDS_GRADE.values()) == WANDS
    assert GradeTree.for_grades([2, 3]) == FOUR_GRADES  # nothing negative: nothing to leave out either
    assert GradeTree.of([[0], [1], [2, 3]]).positive == 2


@pytest.mark.parametrize(
    ("branches", "message"),
    [
        (((0, 1), ()), "every branch needs grades"),
        (((1, 0), (2, 3)), "they must rise"),
        (((0, 1),), "needs a negative and a positive branch"),
        (((2,), (3,)), "needs a negative and a positive branch"),
        (((0,), (1, 2), (3,)), "1 and 2 are of different branches"),
        (((0, 1), (2, 4)), "grades are 0 to 3"),
    ],
)
def test_what_is_no_tree_is_refused(branches: tuple[tuple[int, ...], ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        GradeTree.of(branches)


def test_labels_without_a_grade_train_a_tree_without_its_leaf(tmp_path: Path) -> None:
    data = tiny_corpus()
    kept = data.labels.grade != 1
    columns = (data.labels.query, data.labels.ad, data.labels.grade, data.labels.split)
    data = dataclasses.replace(data, labels=Labels(*(column[kept] for column in columns)))
    config = dataclasses.replace(TINY_TRAINING, align_steps=0, label_noise=0.2)
    train(data, tmp_path, config)
    assert json.loads((tmp_path / "config.json").read_text())["grade_tree"] == [[0], [2, 3]]
    checkpoint = Checkpoint.load(tmp_path)
    assert checkpoint.model.grade_head.out_features == 2
    score, probabilities = HcmrmScorer(checkpoint, data.corpus).read(np.arange(8), np.arange(8))
    assert probabilities is not None
    assert probabilities[:, 1].tolist() == [0.0] * 8
    assert probabilities.sum(axis=1) == pytest.approx(np.ones(8))
    assert probabilities @ np.array([0.0, 0.2, 0.6, 1.0]) == pytest.approx(score)
    with pytest.raises(TrainError, match=r"grade_tree \[\[0\], \[2, 3\]\]: .* the grade 1, too"):
        train(
            tiny_corpus(),
            tmp_path / "other",
            dataclasses.replace(config, model={**config.model, "grade_tree": ((0,), (2, 3))}),
        )
    data = dataclasses.replace(data, labels=data.labels.of("train"))
    with pytest.raises(TrainError, match="the validation split; label more queries, or name the split"):
        train(data, tmp_path / "one split", config)
