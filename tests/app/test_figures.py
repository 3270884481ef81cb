"""Figures, wording, settings and cards: pure functions."""

from __future__ import annotations

import base64
import io
import math
from dataclasses import replace

import numpy as np
import plotly.graph_objects as go
import polars as pl
import pytest
from PIL import Image

from app import wording
from app.figures import auction_figures, formula_figures, trade_off_figures
from app.language import t
from app.parts import cards
from app.setting import (
    Setting,
    chosen_scenario,
    in_words,
    market_settings,
    scenario_setting,
    setting_at,
)
from scenarios import (
    GRADE_DEFINITIONS,
    SCORERS,
    Scenario,
    dump_scenario,
    iso_scores,
    judge_formula,
    load_scenario,
    override,
)
from scenarios.reporting.theme import GRADE_COLOURS, ON_GRADE, scorer_style

FIELD = "fusion.relevance"


def metrics(revenue: float = 100.0, irrelevant: float = 0.1, **more: float) -> dict[str, float]:
    return {
        "queries": 2000.0,
        "revenue": 2.0 * revenue,
        "revenue_rpm": revenue,
        "irrelevant_share": irrelevant,
        "ctr": 0.06,
        "mean_price": 0.5,
        "advertiser_surplus": 300.0,
        "user_utility": 10.0,
        "welfare": 310.0 + 2.0 * revenue,
        "grade_0_share": irrelevant,
        "grade_1_share": 0.1,
        "grade_2_share": 0.3,
        "grade_3_share": 0.6 - irrelevant,
        **more,
    }


def points(*rows: tuple[str, str, float, float, float, bool]) -> pl.DataFrame:
    columns = ["kind", "scorer", "value", "irrelevant_share", "revenue_rpm", "pareto"]
    table = pl.DataFrame(rows, schema=columns, orient="row")
    return table.with_columns(pl.lit(FIELD).alias("field"))


POINTS = points(
    ("compare", "none", 1.0, 0.10, 100.0, True),
    ("compare", "bm25", 1.0, 0.06, 80.0, False),
    ("sweep", "bm25", 2.0, 0.05, 60.0, False),
    ("sweep", "bm25", 1.0, 0.06, 80.0, False),
    ("sweep", "oracle", 1.0, 0.0, 95.0, True),
    ("sweep", "oracle", 2.0, 0.0, 94.0, False),
)


def trace(figure: go.Figure, name: str) -> go.Scatter:
    return next(found for found in figure.data if found.name == name)


def test_trade_off_draws_one_line_per_scorer_in_order_of_the_swept_value() -> None:
    figure = trade_off_figures.trade_off(POINTS)
    assert {found.name for found in figure.data} == {"Pareto front", "BM25", "oracle", "no relevance"}
    assert list(trace(figure, "BM25").x) == pytest.approx([6.0, 5.0])
    assert list(trace(figure, "BM25").y) == [80.0, 60.0]
    assert [row[0] for row in trace(figure, "BM25").customdata] == [
        f"bm25|{FIELD}|1.0",
        f"bm25|{FIELD}|2.0",
    ]
    assert list(trace(figure, "no relevance").x) == pytest.approx([10.0])


def test_trade_off_front_is_a_staircase_over_the_points_on_the_front() -> None:
    front = trace(trade_off_figures.trade_off(POINTS), "Pareto front")
    assert list(front.x) == pytest.approx([0.0, 10.0])
    assert list(front.y) == [95.0, 100.0]
    assert front.line.shape == "hv"


def test_trade_off_marks_the_chosen_point() -> None:
    figure = trade_off_figures.trade_off(POINTS, trade_off_figures.ChosenPoint("here", metrics(77.0, 0.02)))
    star = trace(figure, "your setting")
    assert list(star.x) == pytest.approx([2.0])
    assert list(star.y) == [77.0]
    assert star.marker.color not in {trace(figure, name).marker.color for name in ("BM25", "oracle")}


def test_trade_off_labels_leave_out_what_would_cover_another() -> None:
    near, far = (
        trace(trade_off_figures.trade_off(POINTS), "oracle"),
        trace(trade_off_figures.trade_off(POINTS), "BM25"),
    )
    assert list(near.text) == [" 1", ""]
    assert list(far.text) == [" 1", " 2"]


def test_trade_off_survives_empty_and_undefined_points() -> None:
    assert trade_off_figures.trade_off(POINTS.clear()).data
    undefined = POINTS.with_columns(pl.lit(math.nan).alias("irrelevant_share"))
    assert not any(len(found.x) for found in trade_off_figures.trade_off(undefined).data)


def test_trade_off_without_a_sweep_shows_the_comparison() -> None:
    figure = trade_off_figures.trade_off(POINTS.filter(pl.col("kind") == "compare"))
    assert list(trace(figure, "BM25").y) == [80.0]


@pytest.mark.parametrize("value", [0.25, 1.0, 1e-9, 3.3333333333333335])
def test_point_ids_come_back_whole(value: float) -> None:
    assert trade_off_figures.parse_point_id(trade_off_figures.point_id("my.module:Scorer", FIELD, value)) == (
        "my.module:Scorer",
        FIELD,
        value,
    )


@pytest.mark.parametrize("data", [["a|b|1.0"], {"0": "a|b|1.0"}])
def test_selected_id_reads_lists_and_mappings(data: object) -> None:
    assert trade_off_figures.selected_id({"selection": {"points": [{"customdata": data}]}}) == "a|b|1.0"


@pytest.mark.parametrize(
    "event",
    [
        None,
        {},
        {"selection": {"points": []}},
        {"selection": {"points": [{}]}},
        {"selection": {"points": [{"customdata": [1]}]}},
    ],
)
def test_selected_id_is_none_for_what_is_no_stored_point(event: object) -> None:
    assert trade_off_figures.selected_id(event) is None


def test_who_gains_shows_changes_per_thousand_queries() -> None:
    bars = trade_off_figures.who_gains(metrics(90.0), metrics(100.0, advertiser_surplus=280.0)).data[0]
    assert list(bars.x) == pytest.approx([-10.0, 10.0, 0.0, -10.0])
    assert bars.text[0] == "−10.0"


def test_grade_mix_stacks_to_all_shown_ads() -> None:
    figure = trade_off_figures.grade_mix({"a": metrics(), "b": metrics(irrelevant=0.3)})
    assert [bar.name for bar in figure.data] == ["0 irrelevant", "1 weak", "2 relevant", "3 strong"]
    assert np.sum([bar.x for bar in figure.data], axis=0) == pytest.approx([100.0, 100.0])


def auction(**columns: list[object]) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "ad": [7, 8, 9],
            "title": ["a", "b", "c"],
            "grade": [3, 0, 2],
            "bid": [1.0, 2.0, 0.5],
            "pctr": [0.1, 0.1, 0.1],
            "relevance": [1.0, 0.5, 0.4],
            "slot": [1, 2, None],
            **columns,
        }
    )


@pytest.mark.parametrize("exponent", [0.0, 1.0, 2.5])
def test_ranking_draws_the_curve_of_the_last_slots_score(exponent: float) -> None:
    border = trace(auction_figures.ranking(auction(), exponent=exponent), "score of the last slot")
    score = border.x / 1000 * np.asarray(border.y) ** exponent
    assert score == pytest.approx(np.full(len(border.x), 0.2 * 0.5**exponent))


def test_ranking_numbers_the_slots_and_draws_the_threshold() -> None:
    figure = auction_figures.ranking(auction(), exponent=1.0, threshold=0.45)
    assert list(trace(figure, "3 strong").text) == ["<b>1</b>"]
    assert list(trace(figure, "2 relevant").text) == [""]
    assert min(trace(figure, "score of the last slot").y) == pytest.approx(0.45)
    assert figure.layout.shapes[0].y0 == 0.45


def test_ranking_without_shown_ads_has_no_curve() -> None:
    figure = auction_figures.ranking(auction(slot=[None, None, None]), exponent=1.0)
    assert "score of the last slot" not in {found.name for found in figure.data}


def test_every_figure_has_a_title_and_titled_axes_with_units() -> None:
    drawn = [
        trade_off_figures.trade_off(POINTS),
        trade_off_figures.who_gains(metrics(), metrics()),
        trade_off_figures.grade_mix({"a": metrics()}),
        auction_figures.ranking(auction(), exponent=1.0),
    ]
    for figure in drawn:
        assert figure.layout.title.text
        assert any(unit in figure.layout.xaxis.title.text for unit in ("(%)", "(currency units"))


def test_okabe_ito_colours_and_readable_grade_labels() -> None:
    okabe_ito = {"#000000", "#E69F00", "#56B4E9", "#009E73", "#F0E442", "#0072B2", "#D55E00", "#CC79A7"}
    assert set(GRADE_COLOURS) <= okabe_ito
    assert len({scorer_style(name).symbol for name in (*SCORERS, "own:Scorer")}) == len(SCORERS) + 1
    assert len(ON_GRADE) == len(GRADE_COLOURS) == len(GRADE_DEFINITIONS)
    for grade, definition in enumerate(GRADE_DEFINITIONS):
        name, meaning = wording.grade_name(grade), t(f"grades.meaning_{grade}")
        assert definition == f"{grade} {name}: {meaning}"


def test_lines_of_equal_score_are_those_of_the_rule() -> None:
    verdict = judge_formula("b * q * r^2")
    table = iso_scores(verdict.rule, 0.05, (0.5, 1.0))
    assert table["bid"].to_list() == pytest.approx((table["line"] / table["relevance"] ** 2).to_list())
    assert table["relevance"].min() == pytest.approx(0.01)  # at 0 no bid would do
    figure = formula_figures.iso_scores(table, 0.05)
    assert [trace.name for trace in figure.data] == ["bid 0.5 at relevance 1", "bid 1 at relevance 1"]
    assert max(max(trace.y) for trace in figure.data) <= 12


def test_a_formula_is_a_star_among_the_rules() -> None:
    rules = {
        "product": metrics(100.0, 0.1),
        "gate": metrics(90.0, 0.05),
        "none shown": metrics(0.0, math.nan),
    }
    squares, star = formula_figures.among_rules(rules, metrics(95.0, 0.07)).data
    assert list(squares.text) == ["gate", "product"]  # from left to right
    assert (star.x[0], star.y[0]) == pytest.approx((7.0, 95.0))
    assert len(formula_figures.among_rules(rules, None).data) == 1


# Wording


def test_answer_says_what_changes() -> None:
    assert wording.answer(metrics(95.0, 0.02), metrics(100.0, 0.1), "HCMRM") == (
        "With HCMRM, revenue falls by 5.0% and the share of irrelevant ads falls from 10.0% to 2.0%."
    )
    assert wording.answer(metrics(), metrics(), "X") == (
        "With X, revenue stays as it is and the share of irrelevant ads stays at 10.0%."
    )
    nothing = wording.answer(metrics(0.0, math.nan), metrics(), "X")
    assert nothing == "With X, no ad is shown, so there is nothing to compare."
    before = wording.answer(metrics(), metrics(0.0, math.nan), "X")
    assert before == "Without relevance, no ad earns anything, so there is nothing to compare X with."
    ungraded = metrics(irrelevant=math.nan)
    assert wording.answer(metrics(95.0, math.nan), ungraded, "X") == (
        "With X, revenue falls by 5.0%; how many ads are irrelevant is not known, for there are no true "
        "grades."
    )


def test_key_figures_know_what_is_better() -> None:
    worse = {f.label: f for f in wording.key_figures(metrics(90.0, 0.2), metrics(100.0, 0.1))}
    assert worse["Revenue per 1,000 queries"].difference == "-10.00 (-10.0%)"
    assert worse["Revenue per 1,000 queries"].better is False
    assert worse["Irrelevant share"].difference == "+10.00 points"
    assert worse["Irrelevant share"].better is False
    assert worse["Mean price per click"].difference == "no change"
    undefined = wording.key_figures(metrics(ctr=math.nan), metrics())
    assert undefined[2].value == wording.MISSING


# Settings


def test_a_setting_without_a_threshold_is_a_product_and_with_one_a_gate(tiny_scenario: Scenario) -> None:
    own = scenario_setting(tiny_scenario)
    assert own == Setting("oracle", 1.0, 0.0, tiny_scenario.auction.reserve)
    product = override(tiny_scenario, market_settings(replace(own, exponent=2.0), tiny_scenario))
    assert (product.fusion.rule, product.fusion.relevance) == ("product", 2.0)
    gate = override(tiny_scenario, market_settings(replace(own, threshold=0.4), tiny_scenario))
    assert (gate.fusion.rule, gate.fusion.threshold, gate.fusion.within.relevance) == ("gate", 0.4, 1.0)


@pytest.mark.parametrize("rule", ["product", "gate", "linear", "tiers"])
@pytest.mark.parametrize("threshold", [0.0, 0.4])
def test_a_chosen_scenario_is_one_that_relbid_run_reads(
    tiny_scenario: Scenario, rule: str, threshold: float, tmp_path_factory: pytest.TempPathFactory
) -> None:
    scenario = override(tiny_scenario, {"sweep": None, "fusion.rule": rule})
    scenario = override(scenario, {"sweep": {"field": "auction.reserve", "values": [0.1]}})
    own = replace(scenario_setting(scenario), scorer="bm25", threshold=threshold)
    chosen = chosen_scenario(own, scenario)
    assert chosen.scorer == "bm25"
    assert chosen.sweep == scenario.sweep
    path = tmp_path_factory.mktemp("chosen") / "scenario.yaml"
    path.write_text(dump_scenario(chosen))
    assert load_scenario(path) == chosen


def test_a_chosen_scenario_sweeps_the_exponent_of_the_rule_that_it_has(tiny_scenario: Scenario) -> None:
    own = scenario_setting(tiny_scenario)
    for threshold, field in ((0.0, FIELD), (0.4, "fusion.within.relevance")):
        chosen = chosen_scenario(replace(own, threshold=threshold), tiny_scenario)
        assert chosen.sweep is not None
        assert chosen.sweep.field == field


def test_the_setting_at_a_stored_point(tiny_scenario: Scenario) -> None:
    own = scenario_setting(tiny_scenario)
    moved = replace(own, threshold=0.7, reserve=1.0)
    assert setting_at(moved, tiny_scenario, "bm25", FIELD, 2.0) == replace(own, scorer="bm25", exponent=2.0)
    assert setting_at(moved, tiny_scenario, "none", FIELD, 1.0) == replace(own, scorer="none")
    assert setting_at(own, tiny_scenario, "bm25", "auction.reserve", 0.3) == replace(
        own, scorer="bm25", reserve=0.3
    )
    assert setting_at(own, tiny_scenario, "bm25", "users.appeal_sigma", 0.3) is None


def test_settings_in_words() -> None:
    assert in_words(Setting("none", 2.0, 0.5, 0.1)) == "no relevance"
    assert in_words(Setting("bm25", 1.5, 0.0, 0.1)) == "BM25 at exponent 1.5"
    assert "relevance of at least 0.4" in in_words(Setting("bm25", 1.5, 0.4, 0.1))


# Cards

FRAMES = np.arange(2 * 4 * 4 * 3, dtype=np.uint8).reshape(2, 4, 4, 3)
ROW = {
    "ad": 7,
    "title": "<script>alert(1)</script>",
    "ocr": "5 > 3 & more",
    "asr": "",
    "keywords": "red shoe",
    "grade": 2,
    "p0": 0.1,
    "p1": 0.0,
    "p2": 0.7,
    "p3": 0.2,
    "relevance": 0.5,
    "bid": 1.25,
    "pctr": 0.1234,
    "score": 0.07,
    "slot": 1,
    "price": 0.75,
    "p_click": 0.1,
    "bid_keyword": "<i>shoe",
    "match": "phrase",
    "reason": "beaten",
    "facts": {"score": 0.07, "rival_score": 0.08, "bid": 1.25, "needed": 1.5},
}


def test_cards_escape_every_text() -> None:
    for html in (
        cards.auction_cards([ROW], {7: FRAMES}, (1.0, 1.0, 1.0)),
        cards.rest_table([ROW], {7: FRAMES}),
    ):
        assert "<script>" not in html
        assert "<i>shoe" not in html
        assert "&lt;script&gt;" in html
        assert "&lt;i&gt;shoe (phrase match)" in html
        assert "score 0.07 is below the last slot&#x27;s 0.08; it bids 1.25 and would need 1.50." in html


def test_cards_of_a_corpus_name_its_texts_and_no_keyword() -> None:
    row = {**ROW, "asr": "a long description"}
    html = cards.auction_cards([row], {7: FRAMES}, (1.0, 1.0, 1.0), of_corpus=True)
    assert "Second text" in html
    assert "Third text" in html
    rest = cards.rest_table([ROW], {7: FRAMES}, of_corpus=True)
    for name in ("OCR", "ASR", "Bid keyword", "phrase match", t(f"grades.meaning_{ROW['grade']}")):
        assert name not in html
        assert name not in rest
    assert t(f"grades.meaning_{ROW['grade']}") in cards.rest_table([ROW], {7: FRAMES})


def test_cards_say_what_frames_say_and_what_is_not_known() -> None:
    unknown = {**ROW, "grade": None, "p_click": None}
    html = cards.auction_cards(
        [unknown], {7: FRAMES}, (1.0, 1.0, 1.0), markers={7: [("red", 1.26), ("<b>", -6.0)]}
    )
    assert "red <b>+1.3</b>" in html
    assert "&lt;b&gt; <b>-6.0</b>" in html
    assert "grade unknown" in html
    assert "It is clicked by" not in html


def test_cards_show_the_numbers_and_the_probabilities() -> None:
    html = cards.auction_cards([ROW], {7: FRAMES}, (1.0, 1.0, 2.0))
    assert "12.34%" in html
    assert "0.50<sup>2</sup>" in html
    assert "irrelevant 10%, weak 0%, relevant 70%, strong 20%" in html
    assert html.count("<img") == 2
    without = cards.auction_cards([{**ROW, "p0": None}], {7: FRAMES}, (1.0, 1.0, 0.0))
    assert "P(grade)" not in without
    assert "ignored" in without


def test_the_rest_says_who_is_not_eligible() -> None:
    assert "not eligible" in cards.rest_table([{**ROW, "score": None}], {7: FRAMES})


def test_pictures_are_the_frames_pixel_by_pixel() -> None:
    data = base64.b64decode(cards.png(FRAMES[1]).removeprefix("data:image/png;base64,"))
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(data))), FRAMES[1])
