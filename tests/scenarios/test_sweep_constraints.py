"""Bounds in words, fronts of many objectives, and the area below a front."""

import itertools
import json
import re

import numpy as np
import polars as pl
import pytest
from hypothesis import given, strategies as st
from hypothesis.extra import numpy as arrays
from pydantic import ValidationError

from benchmarks.search import hypervolume
from scenarios import ScenarioError, load_sweep, read_sweep, run_sweep
from scenarios.config.constraints import Constraint
from scenarios.reporting.sweep_report import report_html
from scenarios.runs.points import undominated
from scenarios.studies.sweeps.analysis import best_points
from scenarios.studies.sweeps.axes import AxisSettings
from scenarios.studies.sweeps.sweep import dump_sweep
from scenarios.studies.sweeps.sweep_file import SweepFile
from tests.scenarios.pages import markers_in
from tests.scenarios.test_sweeps import HEAD, write

FILE = {"schema": 1, "name": "s", "over": {"fusion.relevance": [1]}}


def constraint(written: object) -> Constraint:
    return SweepFile.model_validate_json(json.dumps({**FILE, "constraints": [written]})).constraints[0]


@pytest.mark.parametrize(
    ("written", "same"),
    [
        ("irrelevant_share <= 0.02", {"metric": "irrelevant_share", "at_most": 0.02}),
        ("irrelevant_share<=2%", {"metric": "irrelevant_share", "at_most": 0.02}),
        (" fill ≥ 0.9 ", {"metric": "fill", "at_least": 0.9}),
        ("fusion.relevance >= 1e-1", {"field": "fusion.relevance", "at_least": 0.1}),
        ("advertiser_surplus >= -3", {"metric": "advertiser_surplus", "at_least": -3}),
    ],
)
def test_a_bound_in_words_is_one_in_a_block(written, same):
    assert constraint(written) == constraint(same)


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("irrelevant_share < 0.02", "needs NAME <= NUMBER or NAME >= NUMBER"),
        ("irrelevant_share", "needs NAME <= NUMBER or NAME >= NUMBER"),
        ("0.02 >= irrelevant_share", "needs NAME <= NUMBER or NAME >= NUMBER"),
        ("irrelevant_share <= few", "needs a number after <=, got 'few'"),
        ("irrelevant_share <= nan", "finite number"),
        ("irrelevant_share <= 2", "a share, from 0 to 1 or 0% to 100%; write 2% where that is meant"),
        ("irrelevant_share <= 150%", "irrelevant_share is a share, from 0 to 1 or 0% to 100%"),
        ("irrelevant_share <= -0.1", "irrelevant_share is a share, from 0 to 1 or 0% to 100%"),
        ({"metric": "ctr", "at_least": 0.5, "at_most": 0.1}, "at_least 0.5 is above at_most 0.1"),
    ],
)
def test_a_bound_that_is_none_is_refused(written, message):
    with pytest.raises(ValidationError, match=re.escape(message)):
        constraint(written)


MESSAGES = {
    "a metric that there is not": (
        "constraints: [irrelevant_shar <= 0.02]\n",
        "s.yaml, line 5, constraints[0].metric: unknown metric 'irrelevant_shar'; did you mean "
        "'irrelevant_share'?",
    ),
    "a field that is not swept": (
        "constraints: [fusion.threshold <= 0.5]\n",
        "s.yaml, line 5, constraints[0].field: 'fusion.threshold' is not swept",
    ),
    "a field without numbers": (
        "constraints: [{field: scorer, at_most: 2}]\n",
        "s.yaml, line 5, constraints[0].field: 'scorer' has values that are no numbers",
    ),
    "nonsense": ("constraints: [fill]\n", "s.yaml, line 5, constraints[0]: needs NAME <= NUMBER"),
    "an objective that there is not": (
        "further: {user_utilty: maximise}\n",
        "s.yaml, line 5, further.user_utilty: unknown metric 'user_utilty'; did you mean 'user_utility'?",
    ),
    "an objective twice": (
        "further: {revenue_rpm: minimise}\n",
        "s.yaml, line 5, further: needs metrics that are no objectives yet",
    ),
    "a direction that there is not": ("further: {fill: up}\n", "s.yaml, line 5, further.fill: "),
}


@pytest.mark.parametrize("case", MESSAGES)
def test_what_is_wrong_is_said(tmp_path, case):
    text, message = MESSAGES[case]
    with pytest.raises(ScenarioError) as caught:
        load_sweep(write(tmp_path, HEAD + "over: {fusion.relevance: [1], scorer: [none, oracle]}\n" + text))
    assert message in str(caught.value).replace(f"{tmp_path}/", "")


NUMBERS = st.floats(-1e6, 1e6).map(lambda x: round(x, 3))


@given(NUMBERS, st.none() | NUMBERS, st.none() | NUMBERS)
def test_to_keep_a_bound_is_to_exceed_it_by_nothing(value, low, high):
    if low is None and high is None:
        return
    if low is not None and high is not None:
        low, high = sorted((low, high))
    bound = Constraint(metric="mean_price", at_least=low, at_most=high)
    assert bound.holds(value) == (bound.excess(value) <= 0)


def test_excess_is_in_parts_of_the_bound():
    assert Constraint(metric="fill", at_most=0.02).excess(0.03) == pytest.approx(0.5)
    assert Constraint(metric="fill", at_least=0.8).excess(0.6) == pytest.approx(0.25)
    assert Constraint(metric="fill", at_least=0.8, at_most=0.9).excess(0.99) == pytest.approx(0.1)
    assert Constraint(metric="fill", at_most=0.0).excess(0.3) == pytest.approx(0.3)


def test_a_bound_prints_as_it_is_written():
    for text in ("irrelevant_share <= 0.02", "fill >= 0.9"):
        assert str(constraint(text)) == text
    assert str(Constraint(metric="fill", at_least=0.5, at_most=0.9)) == "0.5 <= fill <= 0.9"


@given(arrays.arrays(float, st.tuples(st.integers(1, 12), st.integers(1, 3)), elements=st.integers(0, 4)))
def test_the_front_is_who_nobody_beats(gains):
    beaten = [any((one >= mine).all() and (one > mine).any() for one in gains) for mine in gains]
    assert undominated(gains).tolist() == [not lost for lost in beaten]


def test_who_has_no_figure_is_not_on_the_front():
    gains = np.array([[1.0, np.nan], [0.0, 0.0], [np.nan, np.nan]])
    assert undominated(gains).tolist() == [False, True, False]


def test_hypervolume_by_hand():
    # Two boxes from the reference (0, 1): 2 x 0.5, and 0.5 x 0.25 that the second adds below the first.
    assert hypervolume(np.array([2.0, 0.5]), np.array([0.5, 0.25]), 0.0, 1.0) == pytest.approx(1.125)
    assert hypervolume(np.array([2.0, 1.0]), np.array([0.5, 0.6]), 0.0, 1.0) == pytest.approx(1.0)
    assert hypervolume(np.array([-1.0, 3.0]), np.array([0.1, 1.5]), 0.0, 1.0) == 0.0
    assert hypervolume(np.array([np.nan, 2.0]), np.array([0.1, np.nan]), 0.0, 1.0) == 0.0
    assert hypervolume(np.array([]), np.array([]), 0.0, 1.0) == 0.0


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), max_size=8))
def test_hypervolume_counts_the_cells_that_points_dominate(points):
    gain, harm = (np.array([point[i] for point in points], dtype=float) for i in (0, 1))
    cells = sum(
        any(g >= x + 1 and h <= y for g, h in points) for x, y in itertools.product(range(6), range(6))
    )
    assert hypervolume(gain, harm, 0.0, 6.0) == cells


def levels(axis: object) -> tuple:
    return (
        SweepFile.model_validate_json(
            json.dumps({**FILE, "method": "sobol", "points": 2, "over": {"a.b": axis}})
        )
        .over["a.b"]
        .levels()
    )


def test_a_search_moves_through_a_distribution_from_end_to_end():
    found = levels({"uniform": [0, 4]})
    assert (len(found), found[0], found[-1]) == (1001, 0, 4)
    assert np.diff(found) == pytest.approx(0.004)
    found = levels({"loguniform": [0.05, 0.8]})
    assert (found[0], found[-1]) == (0.05, 0.8)
    assert np.diff(np.log(found)) == pytest.approx(np.log(16) / 1000, rel=0.02)
    assert levels({"uniform": [1, 4], "whole": True}) == (1, 2, 3, 4)
    assert levels({"loguniform": [1, 5000], "whole": True})[-1] == 5000
    assert levels({"choice": ["a", "b"]}) == ("a", "b")
    assert levels([3, 1]) == (3, 1)
    assert isinstance(AxisSettings(choice=(1,)).levels(), tuple)


def test_the_front_and_the_best_points_keep_to_constraints(tmp_path):
    text = HEAD + "over: {fusion.relevance: [0, 1, 3], scorer: [bm25, oracle]}\n"
    text += "constraints: [irrelevant_share <= 2%, fusion.relevance <= 2, small_spend_share >= 1%]\n"
    text += "further: {user_utility_rpm: maximise, loss_share: minimise}\n"
    sweep = load_sweep(write(tmp_path, text))
    assert {point.settings["fusion.relevance"] for point in sweep.points} == {0, 1}
    (tmp_path / "scenario.yaml").write_text((tmp_path / "small.yaml").read_text())
    (tmp_path / "again.yaml").write_text(dump_sweep(sweep))
    assert load_sweep(tmp_path / "again.yaml").file.constraints == sweep.file.constraints

    result = read_sweep(run_sweep(sweep, tmp_path / "results", workers=1))
    points = result.points
    kept = (points["irrelevant_share"] <= 0.02) & (points["small_spend_share"] >= 0.01)
    assert points["feasible"].to_list() == kept.to_list()
    assert points["feasible"].any()
    assert not points["feasible"].all()
    kept = points.filter("feasible")
    gains = kept.select(
        "revenue_rpm", -pl.col("irrelevant_share"), "user_utility_rpm", -pl.col("loss_share")
    ).to_numpy()
    assert kept["pareto"].to_list() == undominated(gains).tolist()
    assert not points.filter(~pl.col("feasible"))["pareto"].any()
    assert set(best_points(result)["point"]) == set(kept["point"])
    assert "user_utility_rpm_se" in points.columns

    page = report_html(result)
    bounds = "irrelevant_share &lt;= 0.02", "small_spend_share &gt;= 0.01"
    assert f"Best points with {' and '.join(bounds)}</h2>" in page
    assert f"{kept.height} of the points keep to {', '.join(bounds)}." in page
    hollow = [number for number, symbol in markers_in(page) if symbol.endswith("-open")]
    assert len(hollow) == points.height - kept.height
    assert "user_utility_rpm" in page
    page = report_html(result, max_irrelevant=0.0)
    assert f"Best points with {' and '.join(bounds)} and at most 0% irrelevant ads</h2>" in page
