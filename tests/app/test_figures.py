"""Figures, wording, settings and cards: pure functions."""

from __future__ import annotations

import base64
import io
import math
from dataclasses import replace
from html import unescape

import numpy as np
import plotly.graph_objects as go
import polars as pl
import pytest
from PIL import Image

from app import wording
from app.days import Days
from app.figures import auction_figures, formula_figures, trade_off_figures
from app.language import t
from app.opening import bound_of
from app.parts import cards
from app.setting import (
    Setting,
    chosen_scenario,
    fault_of,
    in_words,
    market_settings,
    normal,
    scenario_setting,
    setting_at,
    without_relevance,
)
from scenarios import (
    GRADE_DEFINITIONS,
    SCORERS,
    Scenario,
    ScenarioError,
    compare,
    dump_scenario,
    iso_scores,
    judge_formula,
    load_scenario,
    override,
)
from scenarios.reporting.theme import BETTER, GRADE_COLOURS, GREY, ON_GRADE, WORSE, scorer_style

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


def days(*of: dict[str, float]) -> Days:
    return Days(of)


def test_who_gains_shows_changes_per_thousand_queries_with_their_intervals() -> None:
    a, b = days(metrics(100.0, advertiser_surplus=280.0)), days(metrics(90.0))
    changes = trade_off_figures.changes_by_side(a, b)
    assert changes["side"].to_list() == [
        "Platform: revenue", "All advertisers: surplus", "Users: utility", "All together: welfare",
    ]  # fmt: skip
    assert changes["change"].to_list() == pytest.approx([-10.0, 10.0, 0.0, -10.0])
    figure = trade_off_figures.who_gains(changes)
    assert list(figure.data[0].marker.color) == [WORSE, BETTER, BETTER, GREY]
    assert figure.layout.annotations[0].text == "−10.0"
    several = trade_off_figures.changes_by_side(
        days(metrics(), metrics(90.0)), days(metrics(98.0), metrics(87.0))
    )
    value, low, high = several.row(0)[1:]
    assert value == pytest.approx(-2.5)
    assert (low, high) == pytest.approx((-2.5 - 12.7062 * 0.5, -2.5 + 12.7062 * 0.5), abs=1e-3)


def test_surplus_of_small_and_large_advertisers_is_what_clicks_are_worth_beyond_their_spend() -> None:
    own = {"small_spend_share": 0.2, "small_return": 1.5, "large_spend_share": 0.5, "large_return": 0.9}
    changes = trade_off_figures.changes_by_side(days(metrics(0.0, **own)), days(metrics(100.0, **own)))
    by_side = dict(zip(changes["side"], changes["change"], strict=True))
    assert by_side["Small advertisers: surplus"] == pytest.approx(10.0)
    assert by_side["Large advertisers: surplus"] == pytest.approx(-5.0)


def test_grades_are_seen_on_a_scale_on_which_a_small_slice_is_told_from_none() -> None:
    both = {
        "A": days(metrics(irrelevant=0.3)),
        "B": days(metrics(irrelevant=0.003), metrics(irrelevant=0.005)),
    }
    figure = trade_off_figures.grades_seen(both)
    mine = trace(figure, "B")
    assert mine.x[0] == pytest.approx(0.4)
    assert mine.text[0] == "0.40%"
    assert figure.layout.xaxis.type == "log"
    table = trade_off_figures.grade_table(both)
    assert table.filter(ranked_by="A", grade=0)["share"].item() == pytest.approx(0.3)
    none = trade_off_figures.grades_seen({"A": days(metrics(irrelevant=0.0))})
    assert min(trace(none, "A").x) > 0


def test_the_curve_has_means_with_intervals_against_a_and_marks_the_cheapest() -> None:
    a = days(metrics(100.0, 0.10), metrics(80.0, 0.12))
    own = Setting("bm25", "b*q*r^0.5", 0.0, 0.05)
    half = trade_off_figures.CurvePoint("half", days(metrics(99.0, 0.05), metrics(78.0, 0.06)), a, own)
    mine = trade_off_figures.CurvePoint("mine", days(metrics(90.0, 0.01), metrics(71.0, 0.02)), a, own)
    figure = trade_off_figures.curve([half], mine, "no relevance", half, 0.06)
    line = trace(figure, "b*q*r^x by BM25; numbers are x")
    assert (line.x[0], line.y[0]) == pytest.approx((5.5, 100 * (177 / 180 - 1)))
    assert line.error_x.array[0] == pytest.approx(12.7062 * 0.5, abs=1e-3)
    assert trade_off_figures.selected_id({"selection": {"points": [{"customdata": line.customdata[0]}]}}) == (
        own.formula
    )
    ring = trace(figure, "the cheapest under the bound")
    assert list(ring.x) == list(line.x)
    assert figure.layout.shapes[0].x1 == pytest.approx(6.0)
    least, most = figure.layout.xaxis.range  # no whisker is cut off
    assert least < line.x[0] - line.error_x.arrayminus[0] < line.x[0] + line.error_x.array[0] < most


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


def test_titles_with_markup_are_shown_as_they_are() -> None:
    title = "<script>x</script> **b** $x$ <a href='javascript:y'>z</a> %{x}"
    figure = auction_figures.ranking(auction(title=[title, title, title]), exponent=1.0)
    shown = [row[1] for drawn in figure.data if drawn.customdata is not None for row in drawn.customdata]
    assert len(shown) == 3
    for text in shown:
        assert "<" not in text
        assert "{" not in text
        assert unescape(text) == title


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
        trade_off_figures.who_gains(trade_off_figures.changes_by_side(days(metrics()), days(metrics()))),
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


def test_names_of_rules_that_are_close_are_not_written_over_another() -> None:
    close = {f"rule {n}": metrics(100.0 + 0.01 * n, 0.05) for n in range(6)}
    figure = formula_figures.among_rules({"far": metrics(60.0, 0.2), **close}, None)
    low, high = figure.layout.yaxis.range
    pixels = formula_figures.PLOT_PX / (high - low)
    right = sorted(pixels * one.y - one.ay for one in figure.layout.annotations if one.xanchor == "left")
    assert len(right) == 6
    assert min(np.diff(right)) >= formula_figures.LABEL_PX - 1e-6


def test_heights_are_spread_no_more_than_they_need() -> None:
    assert formula_figures.spread([30.0, 0.0, 90.0], 10) == [30.0, 0.0, 90.0]
    assert formula_figures.spread([5.0, 5.0, 40.0], 10) == [0.0, 10.0, 40.0]
    assert formula_figures.spread([10.0, 0.0, 4.0], 10) == pytest.approx([44 / 3, -16 / 3, 14 / 3])


# Wording


def test_answer_says_what_changes_on_one_day() -> None:
    assert wording.answer(metrics(95.0, 0.02), metrics(100.0, 0.1)) == (
        "About 2.0% irrelevant ads instead of 10.0%, for 5.0% of revenue."
    )
    assert wording.answer(metrics(), metrics()) == (
        "About 10.0% irrelevant ads instead of 10.0%, at about the same revenue (0.0%)."
    )
    assert wording.answer(metrics(0.0, math.nan), metrics()) == (
        "B shows no ad, so there is nothing to compare."
    )
    assert wording.answer(metrics(), metrics(0.0, math.nan)) == (
        "A earns nothing, so there is nothing to compare B with."
    )
    assert wording.answer(metrics(95.0, math.nan), metrics(irrelevant=math.nan)) == (
        "How many ads are irrelevant is not known, for there are no true grades; for 5.0% of revenue."
    )


def test_answer_over_days_has_intervals_and_claims_no_change_that_is_none() -> None:
    falls = compare(np.array([100.0, 80.0, 90.0]), np.array([96.0, 77.0, 86.0]))
    fewer = compare(np.array([0.060, 0.058, 0.059]), np.array([0.014, 0.012, 0.013]))
    same = compare(np.array([0.060, 0.058, 0.059]), np.array([0.060, 0.059, 0.058]))
    said = wording.answer_over_days(falls, fewer, 0.059, 0.013)
    assert said.startswith("About 1.3% irrelevant ads instead of 5.9% (-4.6 [-4.6, -4.6] points), for 4.1% [")
    unclear = compare(np.array([100.0, 80.0, 90.0]), np.array([96.0, 84.0, 90.0]))
    said = wording.answer_over_days(unclear, same, 0.059, 0.059)
    assert "(+0.0 [-0.2, +0.2] points)" in said
    assert "at about the same revenue (+0.0% [-" in said
    nothing = compare(np.full(3, math.nan), np.full(3, math.nan))
    assert "nothing to compare" in wording.answer_over_days(nothing, nothing, math.nan, math.nan)


def test_figures_over_days_call_better_only_what_is_told_from_chance() -> None:
    a = [metrics(100.0, 0.1), metrics(90.0, 0.11), metrics(95.0, 0.1)]
    b = [metrics(97.0, 0.05), metrics(88.0, 0.06), metrics(97.0, 0.05)]
    cards_ = {one.label: one for one in wording.figures_over_days(a, b)}
    assert cards_["Irrelevant share"].value == "5.33%"
    assert cards_["Irrelevant share"].better is True
    assert cards_["Revenue per 1,000 queries"].better is None
    assert cards_["Click-through rate"].difference == "no change"
    assert wording.figures_over_days(a[:1], b[:1]) == wording.key_figures(b[0], a[0])


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
    assert own == Setting("oracle", "b*q*r", 0.0, tiny_scenario.auction.reserve)
    product = override(tiny_scenario, market_settings(replace(own, formula="b*q*r^2")))
    assert (product.fusion.rule, product.fusion.relevance) == ("product", 2.0)
    gate = override(tiny_scenario, market_settings(replace(own, threshold=0.4)))
    assert (gate.fusion.rule, gate.fusion.threshold, gate.fusion.within.relevance) == ("gate", 0.4, 1.0)
    free = override(tiny_scenario, market_settings(replace(own, threshold=0.4, formula="b*q + r")))
    assert free.fusion.within.expression == "b*q + r"


@pytest.mark.parametrize("rule", ["product", "gate", "linear", "tiers", "exponential", "learnt"])
def test_a_chosen_scenario_is_one_that_relbid_run_reads(
    tiny_scenario: Scenario, rule: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    scenario = override(tiny_scenario, {"sweep": None, "fusion.rule": rule})
    own = replace(scenario_setting(scenario), scorer="bm25")
    assert fault_of(own, scenario) is None
    chosen = chosen_scenario(own, scenario)
    assert chosen.scorer == "bm25"
    assert chosen.fusion == scenario.fusion
    assert chosen.compare == ("none", "bm25")
    path = tmp_path_factory.mktemp("chosen") / "scenario.yaml"
    path.write_text(dump_scenario(chosen))
    assert load_scenario(path) == chosen


def test_the_setting_at_a_stored_point(tiny_scenario: Scenario) -> None:
    own = scenario_setting(tiny_scenario)
    two = replace(own, scorer="bm25", formula="b*q*r^2")
    assert setting_at(tiny_scenario, "bm25", FIELD, 2.0) == two
    assert setting_at(tiny_scenario, "none", FIELD, 1.0) == replace(own, scorer="none")
    reserve = replace(own, scorer="bm25", reserve=0.3)
    assert setting_at(tiny_scenario, "bm25", "auction.reserve", 0.3) == reserve
    assert setting_at(tiny_scenario, "bm25", "users.appeal_sigma", 0.3) is None


def test_what_a_result_compares_with_is_bid_times_pctr(tiny_scenario: Scenario) -> None:
    squashed = override(tiny_scenario, {"sweep": None, "fusion.pctr": 0.5})
    assert without_relevance(squashed) == Setting("none", "b*q^0.5", 0.0, tiny_scenario.auction.reserve)
    gated = override(tiny_scenario, {"sweep": None, "fusion": {"rule": "gate", "threshold": 0.4}})
    assert without_relevance(gated).formula == "b*q"
    assert without_relevance(gated).threshold == 0.0


def test_a_gate_that_is_typed_is_the_threshold() -> None:
    typed = Setting("bm25", "gate(threshold=0.4, within=b*q*r^0.5)", 0.0, 0.1)
    assert normal(typed) == Setting("bm25", "b*q*r^0.5", 0.4, 0.1)
    within = "{rule: product, bid: x}"
    for inside in ("threshold=x", "threshold=[1]", "within=7", f"within={within}"):
        with pytest.raises(ScenarioError):  # the bar says so, see `fault_of`
            normal(replace(typed, formula=f"gate({inside})"))


def test_settings_in_words() -> None:
    assert in_words(Setting("none", "b*q", 0.0, 0.1)) == "no relevance"
    assert in_words(Setting("bm25", "b*q*r^1.5", 0.0, 0.1)) == "BM25 at exponent 1.5"
    assert "relevance of at least 0.4" in in_words(Setting("bm25", "b*q*r^1.5", 0.4, 0.1))
    assert in_words(Setting("bm25", "b*q/r", 0.0, 0.1)) == "b*q/r (BM25)"


def test_the_bound_leaves_a_quarter_of_what_the_best_point_avoids() -> None:
    assert bound_of(0.12, [0.02, 0.04, math.nan]) == pytest.approx(0.045)
    assert bound_of(0.1201, [0.02]) == pytest.approx(0.046)  # in steps of 0.1%
    assert bound_of(0.02, [0.05]) == pytest.approx(0.02)
    assert math.isnan(bound_of(math.nan, [0.02]))
    assert math.isnan(bound_of(0.1, []))


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
