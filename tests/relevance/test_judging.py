"""Grades from scores, and agreement of grades, against figures that are known."""

import numpy as np
import pytest

from relevance.agreement import confusion, weighted_kappa
from relevance.chat_judge import ChatJudge, address_of, read_answer
from relevance.errors import ScorerError
from relevance.judging import fit_grades, judge_by_folds


@pytest.fixture(scope="module")
def labelled():
    """20 queries with 25 pairs each: grades that two scorers see through noise."""
    rng = np.random.default_rng(2)
    query, grade = np.repeat(np.arange(20), 25), rng.integers(0, 4, 500)
    scores = np.clip((grade + 0.5) / 4 + 0.12 * rng.standard_normal((2, 500)), 0.01, 0.99)
    return query, grade, scores


def test_grades_follow_thresholds_of_the_mean_and_confidences_are_kept(labelled):
    query, grade, scores = labelled
    maps = fit_grades(scores, grade)
    judged = maps(scores)
    order = np.argsort(maps.mean(scores), kind="stable")
    assert (np.diff(judged.grade[order]) >= 0).all()
    assert ((judged.confidence >= 0.25) & (judged.confidence <= 1)).all()
    # What it says of being right is about as often so.
    assert abs(judged.confidence.mean() - (judged.grade == grade).mean()) < 0.06
    alone, _ = judge_by_folds(query, scores[:1], np.arange(500), grade, 20)
    both, _ = judge_by_folds(query, scores, np.arange(500), grade, 20)
    kappa = [weighted_kappa(confusion(grade, one.grade)) for one in (alone, both)]
    assert kappa[1] > kappa[0] > 0.6


def test_no_query_is_judged_by_its_own_labels(labelled):
    query, grade, scores = labelled
    labelled_pairs = np.arange(400)  # the last four queries have no label
    judged, mean = judge_by_folds(query, scores, labelled_pairs, grade[:400], 20)
    changed = np.where(query[:400] == 7, 3 - grade[:400], grade[:400])
    again, mean_again = judge_by_folds(query, scores, labelled_pairs, changed, 20)
    own = query == 7
    assert (judged.grade[own] == again.grade[own]).all()
    np.testing.assert_array_equal(mean[own], mean_again[own])
    assert (mean[~own] != mean_again[~own]).any()
    assert (mean[400:] != 0).all()


def test_a_grade_that_no_label_has_is_never_given(labelled):
    query, grade, scores = labelled
    only = np.where(grade >= 2, 3, 0)
    judged, _ = judge_by_folds(query, scores, np.arange(500), only, 20)
    assert set(judged.grade.tolist()) == {0, 3}
    with pytest.raises(ScorerError, match=r"scorer 'm': .* pairs of both kinds"):
        judge_by_folds(query, scores, np.arange(500), grade * 0, 20, name="m")


def test_an_answer_is_one_object_with_grade_and_confidence():
    assert read_answer('{"grade": 3, "confidence": 0.9}') == (3, 0.9)
    assert read_answer('Sure!\n```json\n{"confidence": 1, "grade": 0}\n```') == (0, 1.0)
    reasoned = '{"grade": 2, "confidence": 0.5, "why": {"size": "{L}"}}'
    assert read_answer(reasoned) == (2, 0.5)
    assert read_answer(f'<think>{{"grade": 0, "confidence": 1}}? No.</think> {reasoned}') == (2, 0.5)
    for text, words in (
        ('{"a":' * 100_000, "no JSON object"),
        ("{" * 500_000, "no JSON object"),
        ('{"' * 250_000, "no JSON object"),
        ("\ud800", r"no JSON object with a grade: '\\ud800'"),
        ("it fits well", "no JSON object with a grade: 'it fits well'"),
        ('{"grade": 4, "confidence": 1}', "the grade must be 0, 1, 2 or 3, is 4"),
        ('{"grade": true, "confidence": 1}', "the grade must be"),
        ('{"grade": 2.5, "confidence": 1}', "the grade must be"),
        ('{"grade": 2}', "the confidence must be a number from 0 to 1, is null"),
        ('{"grade": 2, "confidence": 90}', "the confidence must be a number from 0 to 1, is 90"),
        ('{"grade": 2, "confidence": NaN}', "the confidence must be"),
    ):
        with pytest.raises(ValueError, match=words):
            read_answer(text)


def test_an_address_must_be_one_of_the_web():
    wrong = (
        "file:///etc/passwd",
        "ftp://host/v1",
        "localhost:8000",
        "http://",
        "http://[::1",
        "http://a:99999/v1",
        "http://a..b/v1",
        f"http://{'a' * 64}/v1",
    )
    for url in (*wrong, "http://a b/v1"):
        with pytest.raises(ScorerError, match="--endpoint: must be an address with http or https, got"):
            ChatJudge(url, "m")
    with pytest.raises(ScorerError, match="--endpoint: the address holds a user's name; give the key by"):
        ChatJudge("http://me:secret@host/v1", "m")
    with pytest.raises(ScorerError, match="--endpoint: may hold ASCII letters alone after the host's name"):
        ChatJudge("http://host/ü", "m")
    for url in ("https://host/x", "https://host/x/", "https://host/x/chat/completions"):
        assert address_of(url) == "https://host/x/chat/completions"
        assert address_of(f"{url}?version=1") == "https://host/x/chat/completions?version=1"
    with pytest.raises(ScorerError, match="--key-env: the key holds what no header of HTTP may"):
        ChatJudge("http://localhost/v1", "m", "key\n")


def test_a_judge_is_named_by_texts():
    for given, words in (
        ({"model": " "}, "--model: is empty"),
        ({"model": "a\0b"}, "--model: holds a NUL"),
        ({"model": None}, "model: must be a text, got 'None'"),
        ({"key": 5}, "key: must be a text"),
        ({"attempts": None}, "attempts must be a number, got None"),
    ):
        with pytest.raises(ScorerError, match=words):
            ChatJudge(**{"url": "http://host/v1", "model": "m", **given})


def test_what_does_not_fit_together_names_the_argument(labelled):
    query, grade, scores = labelled
    for make, words in (
        (
            lambda: judge_by_folds(query, scores, np.arange(500) - 1, grade, 20),
            "labelled must be from 0 to 499",
        ),
        (lambda: judge_by_folds(query, scores, np.arange(500), grade, 3), "query must be from 0 to 2, got 3"),
        (lambda: judge_by_folds(query, scores, np.arange(500), grade, 20, folds=1), "folds must be from 2"),
        (lambda: fit_grades(scores[0], grade), r"scores must be \[S, 500\]"),
        (lambda: fit_grades(scores, grade + 1), "grade must be from 0 to 3, got 4"),
    ):
        with pytest.raises(ValueError, match=words):
            make()
