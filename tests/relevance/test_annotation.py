"""Fewer labels and wrong ones: what the draws promise, and that a training sees no others."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, strategies as st

from relevance.annotation import (
    CONFUSION,
    exchanged_grades,
    noisy_grades,
    thinned_middle,
    whole_queries,
)
from relevance.corpus import Labels

GRADES = st.lists(st.integers(0, 3), min_size=2, max_size=60).filter(lambda values: len(set(values)) > 1)
SEED = st.integers(0, 1000)


def _labels(queries: list[int]) -> Labels:
    query = np.array(queries, dtype=np.int64)
    row = np.arange(len(query))
    return Labels(query, row, row % 4, np.zeros_like(query))


@given(GRADES, st.floats(0, 1), SEED)
def test_the_share_of_wrong_labels_is_exact(values: list[int], share: float, seed: int) -> None:
    grade = np.array(values)
    said = noisy_grades(grade, share, np.random.default_rng(seed))
    assert (said != grade).sum() == round(share * len(grade))
    assert set(said.tolist()) <= set(values)  # a grade that nobody gave is not invented
    assert noisy_grades(grade, share, np.random.default_rng(seed)).tolist() == said.tolist()


@given(GRADES, st.floats(0, 1), st.floats(0, 1), SEED)
def test_less_noise_is_part_of_more(values: list[int], one: float, other: float, seed: int) -> None:
    grade = np.array(values)
    little, much = (noisy_grades(grade, s, np.random.default_rng(seed)) for s in sorted((one, other)))
    wrong = little != grade
    assert (much[wrong] == little[wrong]).all()


def test_wrong_labels_are_neighbours_and_rarely_of_the_other_branch() -> None:
    # 20,000 pairs a grade, all of them wrong: shares as CONFUSION says, to four standard errors.
    grade = np.repeat(np.arange(4), 20_000)
    said = noisy_grades(grade, 1.0, np.random.default_rng(3))
    for true, others in CONFUSION.items():
        assert sum(others.values()) == pytest.approx(1.0)
        for other, share in others.items():
            drawn = (said[grade == true] == other).mean()
            assert abs(drawn - share) < 4 * (share * (1 - share) / 20_000) ** 0.5
    assert (np.abs(said - grade) == 1).mean() > 0.9
    assert ((said >= 2) != (grade >= 2)).mean() < 0.2


def test_equal_labels_have_no_wrong_one() -> None:
    assert noisy_grades(np.array([2, 2]), 0.0, np.random.default_rng(0)).tolist() == [2, 2]
    with pytest.raises(ValueError, match="all pairs have the same grade"):
        noisy_grades(np.array([2, 2]), 0.5, np.random.default_rng(0))


@given(st.lists(st.integers(0, 9), min_size=1, max_size=60), st.integers(1, 70), SEED)
def test_queries_stay_whole(queries: list[int], n_pairs: int, seed: int) -> None:
    labels = _labels(queries)
    kept = whole_queries(labels, n_pairs, np.random.default_rng(seed))
    count = np.bincount(queries, minlength=10)
    chosen = np.unique(kept.query)
    assert len(kept) == count[chosen].sum()  # every pair of each
    assert len(kept) <= n_pairs or len(chosen) == 1
    assert kept.ad.tolist() == sorted(kept.ad.tolist())  # in the order of the labels
    if n_pairs >= len(labels):
        assert len(kept) == len(labels)
    more = whole_queries(labels, n_pairs + 5, np.random.default_rng(seed))
    assert set(chosen) <= set(more.query.tolist())


@given(GRADES, st.floats(0, 1), SEED)
def test_noise_within_branches_is_invisible_to_a_binary_label(
    grades: list[int], share: float, seed: int
) -> None:
    grade = np.array(grades)
    said = exchanged_grades(grade, share, np.random.default_rng(seed))
    assert ((said >= 2) == (grade >= 2)).all()
    assert (said != grade).sum() == round(share * len(grade))


@given(st.lists(st.integers(0, 3), min_size=1, max_size=60), st.floats(0, 1), SEED)
def test_of_middle_grades_a_share_is_left(grades: list[int], share: float, seed: int) -> None:
    labels = dataclasses.replace(_labels([0] * len(grades)), grade=np.array(grades))
    left = thinned_middle(labels, share, np.random.default_rng(seed))
    for grade in range(4):
        n = grades.count(grade)
        expected = n if grade in (0, 3) else share * n
        assert abs((left.grade == grade).sum() - expected) <= 0.5 + 1e-9
    assert left.ad.tolist() == sorted(left.ad.tolist())
    more = thinned_middle(labels, min(1.0, share + 0.1), np.random.default_rng(seed))
    assert set(left.ad.tolist()) <= set(more.ad.tolist())


def test_a_training_uses_the_labels_that_it_is_told_to() -> None:
    pytest.importorskip("torch")
    from relevance.hcmrm.training.train import used_labels
    from relevance.hcmrm.training.train_config import TrainConfig, TrainError, check_config
    from relevance.hcmrm.training.trainer import Trainer

    from .tiny import TINY_TRAINING, tiny_corpus

    data = tiny_corpus()
    every = data.labels.of("train")  # six queries on 24 ads each
    assert used_labels(every, TINY_TRAINING) is every
    config = dataclasses.replace(TINY_TRAINING, labels=50, label_noise=0.25)
    used = used_labels(every, config)
    assert len(used) == 48
    assert len(np.unique(used.query)) == 2
    true = dict(zip(zip(every.query, every.ad, strict=True), every.grade, strict=True))
    wrong = [true[q, a] != g for q, a, g in zip(used.query, used.ad, used.grade, strict=True)]
    assert sum(wrong) == 12
    inside = used_labels(every, dataclasses.replace(TINY_TRAINING, branch_noise=0.5, middle_labels=0.25))
    assert (inside.grade % 3 == 0).sum() > 2 * (inside.grade % 3 > 0).sum()
    other_seed = used_labels(every, dataclasses.replace(config, seed=1))
    assert other_seed.grade.tolist() != used.grade.tolist()

    # Both stages that use labels draw from these alone, and all training ads still lend their texts.
    trainer = Trainer(data, every, used, config, "cpu")
    assert sorted(trainer.groups.labels.grade) == sorted(used.grade)
    assert trainer.texts.ads.tolist() == np.unique(every.ad).tolist()
    stages = {stage for stage, *_ in trainer.steps()}
    assert stages == {"words", "align", "finetune"}

    for setting, value in (("labels", -1), ("label_noise", 1.5), ("middle_labels", -0.5), ("unlabelled", 2)):
        with pytest.raises(TrainError, match=f"{setting} must be .*, got {value}"):
            check_config(dataclasses.replace(TrainConfig(), **{setting: value}))
    alike = dataclasses.replace(every, grade=np.full_like(every.grade, 3))
    with pytest.raises(TrainError, match=r"label_noise 0\.25: all pairs have the same grade"):
        used_labels(alike, config)


def test_few_labels_may_name_few_ads() -> None:
    pytest.importorskip("torch")
    from relevance.hcmrm.training.trainer import Trainer

    from .tiny import TINY_TRAINING, tiny_corpus

    data = tiny_corpus()
    every = data.labels.of("train")
    few = Labels(*(column[:2] for column in (every.query, every.ad, every.grade, every.split)))
    trainer = Trainer(data, every, few, TINY_TRAINING, "cpu")
    assert len(trainer.groups.ads) < TINY_TRAINING.ads_per_step
    assert sum(1 for _ in trainer.steps()) == 2 + 3 + 6
