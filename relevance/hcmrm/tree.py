"""The symmetric hierarchical softmax (arXiv 2502.05822) for any two-level tree over ordered grades.

Grades hang on branches, branches on the root: P(grade) = P(branch) P(grade | branch). A node with n children
has n - 1 logits, each the log odds of a child against the one before it (adjacent categories). With two
children that is the paper's binary softmax. Logits are in the order root, then branch after branch; a tree of
G grades has G - 1. P pairs.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True, slots=True)
class GradeTree:
    """Ordered grades on ordered branches.

    Attributes:
        branches: the grades of each branch; all of them together rise.
        positive: how many branches are negative; those after them are positive.

    Raises:
        ValueError: grades do not rise, a branch is empty, or no branch is negative or none positive.
    """

    branches: tuple[tuple[int, ...], ...]
    positive: int = 1

    def __post_init__(self) -> None:
        grades = self.grades
        if not all(self.branches) or any(low >= high for low, high in pairwise(grades)):
            raise ValueError(f"grade tree {self}: every branch needs grades, and they must rise")
        if not 0 < self.positive < len(self.branches):
            raise ValueError(f"grade tree {self}: needs a negative and a positive branch")

    def __str__(self) -> str:
        return _in_text(self.branches)

    @property
    def grades(self) -> tuple[int, ...]:
        """All grades, in order: the columns of `log_probabilities`."""
        return tuple(grade for branch in self.branches for grade in branch)

    @property
    def n_logits(self) -> int:
        return len(self.grades) - 1

    @staticmethod
    def of(branches: Sequence[Sequence[int]]) -> GradeTree:
        """A tree over some of the grades 0..3 of a corpus, where 2 and 3 are positive.

        Raises:
            ValueError: there is no such tree.
        """
        tree = tuple(tuple(branch) for branch in branches)
        grades = {grade for branch in tree for grade in branch}
        if not grades <= {0, 1, 2, 3} or any(1 in branch and 2 in branch for branch in tree):
            raise ValueError(
                f"grade tree {_in_text(tree)}: grades are 0 to 3, and 1 and 2 are of different branches"
            )
        return GradeTree(tree, sum(min(branch, default=0) < 2 for branch in tree))

    @staticmethod
    def for_grades(grades: Iterable[int]) -> GradeTree:
        """FOUR_GRADES without the grades that no label has; all of it where a branch would be empty."""
        given = set(grades)
        branches = [tuple(g for g in branch if g in given) for branch in FOUR_GRADES.branches]
        return GradeTree.of(branches) if all(branches) else FOUR_GRADES


def _in_text(branches: Sequence[Sequence[int]]) -> str:
    """As a file has them: [[0, 1], [2, 3]]."""
    return str([list(branch) for branch in branches])


FOUR_GRADES = GradeTree(((0, 1), (2, 3)))
"""The paper's tree, and ESCI's: Irrelevant and Complement against Substitute and Exact."""


def log_tree_probabilities(logits: Tensor, tree: GradeTree) -> Tensor:
    """Logarithms of P(grade) for the grades of a tree, [P, G] from logits [P, G - 1]."""
    sizes = [len(tree.branches) - 1, *(len(branch) - 1 for branch in tree.branches)]
    root, *inner = logits.split(sizes, dim=-1)
    branch = log_adjacent_softmax(root)
    return torch.cat(
        [branch[:, i : i + 1] + log_adjacent_softmax(part) for i, part in enumerate(inner)], dim=-1
    )


def log_adjacent_softmax(logits: Tensor) -> Tensor:
    """Softmax over n ordered classes from the n - 1 log odds of each against the one before: log P, [P, n].

    A larger logit moves probability from the classes below it to those above. So the expectation of anything
    that rises with the class rises in every logit.
    """
    if logits.shape[-1] == 1:
        return functional.logsigmoid(torch.cat((-logits, logits), dim=-1))
    return functional.pad(logits.cumsum(dim=-1), (1, 0)).log_softmax(dim=-1)
