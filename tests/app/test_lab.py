"""The page Relevance lab, its tables and its figures."""

from __future__ import annotations

from pathlib import Path
from typing import get_args, get_type_hints

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from app.figures import offline_figures as figures
from app.language import t
from app.parts import gallery, offline_scores as offline
from scenarios import (
    Labels,
    OfflineScores,
    Reliability,
    Scenario,
    evaluate_offline,
    gap_of,
    offline_pairs,
    offline_scores,
    prepare,
    reliability_of,
)
from scenarios.markets.checkpoints import Doubt
from tests.app.test_figures import FRAMES, ROW
from tests.app.test_pages import as_read, chart, dashboard as dashboard, html

# Two queries with an ad of each grade. "good" orders both; "bad" puts query 1's grade 0 on top.
LABELS = Labels(
    query=np.repeat([0, 1], 4),
    ad=np.tile([0, 1, 2, 3], 2),
    grade=np.tile([0, 1, 2, 3], 2),
    split=np.full(8, 2),
)
GOOD = OfflineScores("good", *(np.tile([0.1, 0.2, 0.7, 0.9], 2),) * 2, None)
BAD = OfflineScores("own:Bad", *(np.array([0.1, 0.2, 0.7, 0.9, 0.95, 0.2, 0.7, 0.9]),) * 2, None)
SCORES = {"good": GOOD, "own:Bad": BAD}
GAPS = {name: gap_of(LABELS, found) for name, found in SCORES.items()}


@pytest.fixture
def lab(dashboard: AppTest) -> AppTest:
    """The page with two scorers that need no model: HCMRM cannot read the frames of so small a world."""
    at = dashboard.run()
    at.switch_page("views/relevance_lab_page.py")
    at.session_state["lab-scorers"] = ["bm25", "oracle"]
    return at.run()


def captions(at: AppTest) -> str:
    return " ".join(one.value for one in at.caption)


def test_tables_hold_what_was_measured() -> None:
    table = offline.metrics_table(evaluate_offline(LABELS, SCORES, n_resamples=20), GAPS)
    good, bad = table.rows(named=True)
    assert good["auc"] == 1.0
    assert bad["auc"] == 12 / 16  # the wrong one beats all four positives
    assert good["auc_lead"] is None
    assert bad["auc_lead"] == 4 / 16
    assert bad["auc_lead_low"] <= bad["auc_lead"] <= bad["auc_lead_high"]
    quantiles = offline.score_quantiles(LABELS, SCORES)
    assert quantiles.filter(scorer="own:Bad", grade=0)["q50"].item() == pytest.approx(0.525)
    assert quantiles["count"].to_list() == [2] * 8
    curves = offline.reliability_table({name: reliability_of(LABELS, s) for name, s in SCORES.items()})
    assert curves.group_by("scorer").agg(n=curves["count"].sum())["n"].to_list() == [16, 16]


def test_the_reliability_diagram_draws_bins_as_large_as_their_pairs() -> None:
    curve = Reliability(
        low=np.array([0.0, 0.9]),
        high=np.array([0.1, 1.0]),
        predicted=np.array([0.05, 0.95]),
        observed=np.array([0.1, 0.9]),
        count=np.array([400, 100]),
    )
    drawn = figures.reliability(offline.reliability_table({"bm25": curve}))
    diagonal, line, counts = drawn.data
    assert list(diagonal.x) == list(diagonal.y) == [0, 1]
    assert line.name == "BM25: ECE 0.050"
    assert list(line.x) == [0.05, 0.95]
    assert list(line.y) == [0.1, 0.9]
    # Wilson's interval of 40 in 400 is [0.074, 0.133].
    assert 0.1 - line.error_y.arrayminus[0] == pytest.approx(0.0743, abs=1e-4)
    assert 0.1 + line.error_y.array[0] == pytest.approx(0.1334, abs=1e-4)
    assert list(counts.y) == [400, 100]
    assert line.marker.size[0] == pytest.approx(2 * line.marker.size[1])
    assert drawn.layout.title.text
    assert "P(positive)" in drawn.layout.xaxis.title.text


def test_distributions_are_drawn_by_grade_with_the_gap_beside() -> None:
    drawn = figures.score_distributions(offline.score_quantiles(LABELS, SCORES), GAPS)
    medians = [trace for trace in drawn.data if trace.mode == "markers"]
    assert [trace.name for trace in medians] == ["0 irrelevant", "1 weak", "2 relevant", "3 strong"]
    assert list(medians[3].x) == [0.9, 0.9]
    assert [note.text for note in drawn.layout.annotations] == ["gap +0.50", "gap −0.03"]
    assert list(drawn.layout.yaxis.ticktext) == ["good", "Bad"]


def test_the_gallery_escapes_every_text_and_shows_every_frame() -> None:
    row = {**ROW, "query": "<b>shoe</b>", "error": -0.4, "positive": 0.1}
    page = gallery.gallery([row | {"score": 0.2}], {7: FRAMES}, "own<Scorer>")
    assert "<script>" not in page
    assert "&lt;b&gt;shoe&lt;/b&gt;" in page
    assert "own&lt;Scorer&gt; says <b>0.20</b>" in page
    assert "off by −0.40" in page
    assert page.count("<img") == len(FRAMES)


def test_the_lab_measures_the_chosen_scorers(lab: AppTest, tiny_scenario: Scenario, results: Path) -> None:
    assert not lab.exception
    assert not lab.error
    prepared = prepare(tiny_scenario, cache=results)
    labels = offline_pairs(prepared, "meeting", 150)
    scores = {name: offline_scores(prepared, labels, name, cache=results) for name in ("bm25", "oracle")}
    expected = {one.scorer: one.metrics for one in evaluate_offline(labels, scores, n_resamples=2)}
    table = lab.dataframe[0].value
    assert table["Scorer"].tolist() == ["BM25", "oracle"]
    assert table["AUC"].tolist() == [round(expected["bm25"].auc, 3), 1.0]
    assert table["PNR"].tolist()[1] == "∞"
    assert f"{len(labels)} pairs of {np.unique(labels.query).size} queries" in captions(lab)
    assert {trace.get("name") for trace in chart(lab, "Does a predicted probability")["data"]} >= {
        "perfectly calibrated"
    }
    assert chart(lab, "Scores by true grade")["data"]


def test_worst_errors_are_shown_with_their_pictures(lab: AppTest, tiny_scenario: Scenario) -> None:
    page = html(lab)
    assert page.count('<article class="rb-tile"') == 12
    assert page.count("<img") == 12 * tiny_scenario.world.frames
    assert "0 irrelevant" in page
    assert "3 strong" not in page
    lab.radio(key="lab-kind").set_value("under").run()
    assert not lab.exception
    assert "3 strong" in html(lab)
    assert "0 irrelevant" not in html(lab)


def test_the_oracle_makes_no_errors_and_the_page_says_so(lab: AppTest) -> None:
    lab.selectbox(key="lab-errors").set_value("oracle").run()
    assert "oracle makes no such error" in lab.info[0].value
    assert "<article" not in html(lab)


def test_other_pairs_and_fewer_queries(lab: AppTest) -> None:
    before = lab.dataframe[0].value["AUC"].tolist()
    lab.selectbox(key="lab-pairs").set_value("graded")
    lab.select_slider(key="lab-queries").set_value(50).run()
    assert not lab.exception
    assert "of 50 queries" in captions(lab)
    assert lab.dataframe[0].value["AUC"].tolist() != before


def test_pairs_that_a_checkpoint_does_not_have_are_explained(lab: AppTest) -> None:
    lab.selectbox(key="lab-pairs").set_value("held_out").run()
    assert not lab.exception
    assert "has no split 'held_out'" in as_read(lab.error[0].value)
    assert "relbid train --fold 0" in lab.error[0].value


@pytest.mark.parametrize("kind", get_args(get_type_hints(Doubt)["kind"]))
def test_every_doubt_has_words(kind: str) -> None:
    words = t(f"lab.doubt_{kind}", checkpoint="models/mine", field="world.frames", trained="1", here="3")
    assert words.startswith("models/mine")


def test_no_scorer_and_a_scorer_that_cannot_be_had_are_explained(lab: AppTest) -> None:
    lab.multiselect(key="lab-scorers").set_value(["shipped", "bm25"]).run()
    assert not lab.exception
    assert "HCMRM (shipped) cannot score" in lab.error[0].value
    assert "48x48" in lab.error[0].value
    assert lab.dataframe[0].value["Scorer"].tolist() == ["BM25"]
