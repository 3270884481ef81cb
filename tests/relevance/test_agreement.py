"""Agreement of graders: weighted kappa by hand, and as scikit-learn has it."""

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score

from relevance.agreement import agreement, confusion, weighted_kappa


def test_kappa_by_hand():
    assert weighted_kappa(np.diag([5.0, 1.0, 0.0, 3.0])) == 1.0
    # Each says 0 and 3 half of the time, and they never agree: 9 apart, by chance 4.5.
    assert weighted_kappa(confusion(np.array([0, 3]), np.array([3, 0]))) == -1.0
    assert weighted_kappa(confusion(np.array([0, 0, 3, 3]), np.array([0, 3, 0, 3]))) == 0.0
    assert np.isnan(weighted_kappa(confusion(np.array([2, 2]), np.array([2, 2]))))


def test_rows_are_the_first_graders():
    assert confusion(np.array([1, 1]), np.array([2, 2]))[1, 2] == 2
    assert confusion(np.array([1, 1]), np.array([2, 3]), np.array([0.5, 2.0]))[1].tolist() == [0, 0, 0.5, 2]


@pytest.mark.parametrize("seed", range(3))
def test_as_scikit_learn_has_it(seed):
    rng = np.random.default_rng(seed)
    first = rng.integers(0, 4, 200)
    second = np.clip(first + rng.integers(-1, 2, 200), 0, 3)
    weight = rng.random(200)
    expected = cohen_kappa_score(first, second, weights="quadratic", sample_weight=weight)
    assert weighted_kappa(confusion(first, second, weight)) == pytest.approx(expected)


def test_the_interval_is_over_queries():
    """One query agrees and one does not: resampled, the two ends are all of one kind."""
    query, rng = np.repeat([0, 1], 20), np.random.default_rng(0)
    first = np.tile([0, 3], 20)
    second = np.where(query == 0, first, 3 - first)
    found = agreement(query, first, second, rng=rng, n_resamples=200)
    assert (found.kappa.value, found.kappa.low, found.kappa.high) == (0.0, -1.0, 1.0)
    assert (found.equal.value, found.equal.low, found.equal.high) == (0.5, 0.0, 1.0)
    assert found.counts.sum() == 40
    alone = agreement(query * 0, first, second, rng=rng)
    assert (alone.kappa.value, np.isnan(alone.kappa.low)) == (0.0, True)


def test_what_are_no_grades_names_the_argument() -> None:
    good = np.array([0, 3])
    for second, weight, words in (
        (np.array([0, 4]), None, "second must be from 0 to 3, got 4"),
        (np.array([0, -1]), None, "second must be from 0 to 3, got -1"),
        (np.array([0.0, 1.0]), None, "second must be whole numbers, is float64"),
        (good[:1], None, "second must have a value for each of first's 2, has 1"),
        (good, np.ones(3), "weight must have a value for each of first's 2, has 3"),
    ):
        with pytest.raises(ValueError, match=words):
            confusion(good, second, weight)
