"""Both pages on a small stored result, without a browser."""

from __future__ import annotations

import json
import re
import time
import tomllib
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from streamlit.testing.v1 import AppTest

from app import jobs
from app.bar import welcome
from app.bar.formula_bar import KEYS
from app.language import catalogue
from app.texts import JOINER
from scenarios import (
    SHIPPED_RULES,
    Scenario,
    ask,
    dump_scenario,
    inspect_query,
    list_results,
    override,
    prepare,
    read_result,
    relevance_of,
    run_scenario,
    simulate,
    write_result,
)

MAIN = str(Path(__file__).parents[2] / "app" / "main.py")
PATIENCE_S = 240


@pytest.fixture
def dashboard(results: Path, monkeypatch: pytest.MonkeyPatch) -> AppTest:
    monkeypatch.setenv("RELBID_RESULTS", str(results))
    return AppTest.from_file(MAIN, default_timeout=PATIENCE_S)


def until_ended(job: jobs.Job) -> jobs.Outcome:
    """Wait for a job."""
    end = time.monotonic() + PATIENCE_S
    while jobs.is_alive(job):
        assert time.monotonic() < end
        time.sleep(0.05)
    return jobs.outcome(job)


def cards(at: AppTest) -> dict[str, str]:
    return {metric.label: metric.value for metric in at.metric}


def chart(at: AppTest, title: str) -> dict[str, object]:
    for found in at.get("plotly_chart"):
        figure = json.loads(found.proto.spec)
        if figure["layout"]["title"]["text"].startswith(title):
            return figure
    raise AssertionError(f"no figure is titled {title!r}")


def as_read(source: str) -> str:
    """What a reader sees of escaped Markdown, see `app.texts`."""
    return re.sub(r"\\([!-/:-@\[-`{-~])", r"\1", source).replace(JOINER, "")


def html(at: AppTest) -> str:
    return "".join(found.proto.body for found in at.get("html"))


def own_setting(at: AppTest, label: str = "The scenario's own") -> AppTest:
    """My formula becomes the scenario's own."""
    next(button for button in at.button if button.label == label).click()
    return at.run()


def mean_of(results: Path, scenario: Scenario, fields: dict[str, object], scorer: str) -> dict[str, float]:
    """Metrics of a scenario's days, as `relbid run` compares them."""
    prepared = prepare(scenario, cache=results)
    scores = relevance_of(prepared, scorer, cache=results)
    days = [
        simulate(prepared, scores, {"sweep": None, **fields, "seed": scenario.seed + day}).metrics
        for day in range(scenario.days_compared)
    ]
    return {name: float(np.mean([day[name] for day in days])) for name in days[0]}


def test_trade_off_shows_the_means_of_the_scenarios_days(
    dashboard: AppTest, tiny_scenario: Scenario, results: Path
) -> None:
    at = own_setting(dashboard.run())
    assert not at.exception
    assert at.title[0].value == "What does relevance cost, and what does it earn?"
    expected = mean_of(results, tiny_scenario, {}, "oracle")
    assert cards(at)["Revenue per 1,000 queries"] == f"{expected['revenue_rpm']:,.2f}"
    assert cards(at)["Irrelevant share"] == f"{expected['irrelevant_share']:.2%}"
    stored = chart(at, "Revenue against irrelevant ads, one line per relevance scorer")
    assert {trace["name"] for trace in stored["data"]} >= {"BM25", "oracle", "no relevance", "your setting"}


def test_it_opens_at_the_stored_point_with_the_most_revenue_under_the_bound(
    dashboard: AppTest, results: Path
) -> None:
    at = dashboard.run()
    points = read_result(list_results(results)[0]).points.filter(pl.col("field") == "fusion.relevance")
    baseline = points.filter(pl.col("scorer") == "none")["irrelevant_share"][0]
    swept = points.filter((pl.col("kind") == "sweep") & (pl.col("scorer") == "oracle"))
    bound = at.number_input(key="bound").value
    least = swept["irrelevant_share"].min()
    assert bound / 100 == pytest.approx(baseline - 0.75 * (baseline - least), abs=0.001)
    under = swept.filter(pl.col("irrelevant_share") <= bound / 100).sort("revenue_rpm")
    exponent = under["value"][-1]
    assert at.text_input(key="formula").value == ("b*q*r" if exponent == 1 else f"b*q*r^{exponent:g}")


def test_the_bar_simulates_at_once(dashboard: AppTest, tiny_scenario: Scenario, results: Path) -> None:
    at = dashboard.run()
    at.selectbox(key="scorer").set_value("bm25")
    at.slider(key="exponent").set_value(2.0)
    at.slider(key="threshold").set_value(0.3)
    at.slider(key="reserve").set_value(0.2).run()
    assert not at.exception
    assert at.text_input(key="formula").value == "b*q*r^2"
    fields: dict[str, object] = {
        "fusion.rule": "gate",
        "fusion.threshold": 0.3,
        "fusion.within.relevance": 2.0,
        "auction.reserve": 0.2,
    }
    expected = mean_of(results, tiny_scenario, fields, "bm25")
    assert cards(at)["Revenue per 1,000 queries"] == f"{expected['revenue_rpm']:,.2f}"
    assert cards(at)["Irrelevant share"] == f"{expected['irrelevant_share']:.2%}"


def test_a_typed_formula_moves_the_sliders_and_a_free_one_is_simulated(
    dashboard: AppTest, tiny_scenario: Scenario, results: Path
) -> None:
    at = dashboard.run()
    at.text_input(key="formula").set_value("Bid × pCTR · r＾0.3").run()
    assert not at.exception
    assert at.text_input(key="formula").value == "b*q*r^0.3"
    assert at.slider(key="exponent").value == 0.3
    at.text_input(key="formula").set_value("b*q + 0.1*r").run()
    assert at.slider(key="exponent").disabled
    free: dict[str, object] = {"fusion": {"rule": "formula", "expression": "b*q + 0.1*r"}}
    expected = mean_of(results, tiny_scenario, free, "oracle")
    assert cards(at)["Revenue per 1,000 queries"] == f"{expected['revenue_rpm']:,.2f}"


def test_no_relevance_is_the_baseline_itself(dashboard: AppTest) -> None:
    at = dashboard.run()
    next(button for button in at.button if button.label == "Copy A to B").click().run()
    assert not at.exception
    assert at.selectbox(key="scorer").value == "none"
    assert all(metric.delta == "no change" for metric in at.metric)
    assert at.slider(key="exponent").disabled


def test_a_and_b_are_swapped(dashboard: AppTest) -> None:
    at = own_setting(dashboard.run())
    before = at.session_state["opened"]
    at.button(key="swap").click().run()
    after = at.session_state["opened"]
    assert (after.a, after.b) == (before.b, before.a)
    assert at.text_input(key="a_formula").value == "b*q*r"


def test_a_clicked_point_moves_the_sliders(dashboard: AppTest) -> None:
    at = dashboard.run()
    at.slider(key="threshold").set_value(0.5).run()

    def click() -> None:  # AppTest knows no clicks on charts: this runs what a click calls
        from app.views import trade_off_page as trade_off

        trade_off.choose_clicked()

    script = AppTest.from_function(click, default_timeout=PATIENCE_S)
    for key in ("opened", *KEYS):
        script.session_state[key] = at.session_state[key]
    script.session_state["trade-off"] = {
        "selection": {"points": [{"customdata": {"0": "bm25|fusion.relevance|2.0"}}]}
    }
    script.run()
    assert not script.exception
    assert script.session_state["scorer"] == "bm25"
    assert script.session_state["formula"] == "b*q*r^2"
    assert script.session_state["exponent"] == 2.0
    assert script.session_state["threshold"] == 0.0


def test_back_to_the_scenarios_setting(dashboard: AppTest) -> None:
    at = own_setting(dashboard.run())
    before = cards(at)
    at.slider(key="exponent").set_value(2.0).run()
    assert cards(at) != before
    assert cards(own_setting(at)) == before


def test_inspector_shows_the_most_popular_query(
    dashboard: AppTest, tiny_scenario: Scenario, results: Path
) -> None:
    at = own_setting(dashboard.run())
    at.session_state["sides"] = "b"
    at.switch_page("views/inspector_page.py").run()
    assert not at.exception
    prepared = prepare(tiny_scenario, cache=results)
    query = int(prepared.world.query_popularity.argmax())
    assert at.selectbox(key="query").value == query
    auction = inspect_query(prepared, relevance_of(prepared, "oracle", cache=results), query)
    shown = auction.drop_nulls("slot")
    page = html(at)
    for row in shown.iter_rows(named=True):
        assert row["title"] in page
        assert f"pays <b>{row['price']:.2f}</b>" in page
    assert page.count("<article") == len(shown)
    assert page.count("<img") == len(auction) * tiny_scenario.world.frames


def test_inspector_ranks_anew_when_a_slider_moves(dashboard: AppTest) -> None:
    at = dashboard.run()
    at.switch_page("views/inspector_page.py").run()
    before = html(at)
    at.selectbox(key="scorer").set_value("bm25")
    at.slider(key="exponent").set_value(4.0).run()
    assert not at.exception
    assert html(at) != before


def test_inspector_says_what_to_do_when_nothing_may_be_shown(dashboard: AppTest) -> None:
    at = dashboard.run()
    at.session_state["sides"] = "b"
    at.switch_page("views/inspector_page.py").run()
    at.selectbox(key="scorer").set_value("bm25")  # no text is as like a query as itself
    at.slider(key="threshold").set_value(1.0).run()
    assert not at.exception
    assert "Lower the reserve" in at.info[0].value
    assert "<article" not in html(at)


def test_inspector_says_when_nobody_bids(dashboard: AppTest, tiny_scenario: Scenario, results: Path) -> None:
    prepared = prepare(tiny_scenario, cache=results)
    lonely = np.flatnonzero((prepared.candidate < 0).all(axis=1))
    at = asked(results, prepared.corpus.query_text[lonely[0]])
    assert not at.exception
    assert "No advertiser bids" in at.info[0].value


def asked(results: Path, text: str, **choices: str) -> AppTest:
    """The inspector with a typed query. AppTest cannot type into a selectbox, nor run again with a text."""
    at = AppTest.from_file(MAIN, default_timeout=PATIENCE_S).run()
    at.session_state["query"] = text
    for key, choice in choices.items():
        at.session_state[key] = choice
    at.switch_page("views/inspector_page.py").run()
    assert not at.exception
    return at


def test_inspector_answers_any_text(dashboard: AppTest, tiny_scenario: Scenario, results: Path) -> None:
    at = asked(results, "navy  sofaa", formula="b*q*r", sides="b")
    page = ask(prepare(tiny_scenario, cache=results), "navy sofaa", "oracle")
    assert not page.known
    shown = page.ads.drop_nulls("slot")
    drawn = html(at)
    assert drawn.count("<article") == len(shown) > 0
    for row in shown.iter_rows(named=True):
        assert f"pays <b>{row['price']:.2f}</b>" in drawn
        match = catalogue("en")[f"cards.match_{row['match']}"]
        assert f"{row['bid_keyword']} ({match})" in drawn
    assert "Retrieval reads “sofaa” as “sofa”." in at.info[0].value
    assert at.session_state["query"] == "navy  sofaa"


def test_inspector_says_what_is_not_known_of_a_text(dashboard: AppTest, results: Path) -> None:
    assert "does not know what 'broken sofa' asks for" in asked(results, "broken sofa").error[0].value
    at = asked(results, "broken sofa", scorer="bm25")
    assert "What these words ask for is not known" in at.info[0].value
    assert "grade unknown" in html(at)
    assert "It is clicked by" not in html(at)
    assert "rb-table rb-compare" in html(asked(results, "broken sofa", scorer="bm25", second="none"))
    assert "No advertiser bids" in asked(results, "xyzzy").info[0].value


def test_a_typed_query_of_the_world_is_that_query(
    dashboard: AppTest, tiny_scenario: Scenario, results: Path
) -> None:
    world = prepare(tiny_scenario, cache=results).world
    at = dashboard.run()
    at.switch_page("views/inspector_page.py").run()
    popular = world.corpus.query_text[at.selectbox(key="query").value]
    assert html(asked(results, popular)) == html(at)


def test_random_query_and_the_query_is_kept_between_pages(dashboard: AppTest) -> None:
    at = dashboard.run()
    at.switch_page("views/inspector_page.py").run()
    next(button for button in at.button if button.label == "Random query").click().run()
    assert not at.exception
    query = at.selectbox(key="query").value
    at.switch_page("views/trade_off_page.py").run()
    at.switch_page("views/inspector_page.py").run()
    assert at.selectbox(key="query").value == query


def test_pages_say_nothing_of_their_code() -> None:
    """Streamlit would show any text that stands on a line of its own in a page."""
    config = (Path(MAIN).parent / ".streamlit" / "config.toml").read_text()
    assert tomllib.loads(config)["runner"]["magicEnabled"] is False


def test_market_shows_the_day_under_the_formula_of_the_bar(dashboard: AppTest, results: Path) -> None:
    at = dashboard.run()
    at.slider(key="exponent").set_value(2.0).run()
    at.switch_page("views/market_page.py").run()
    assert not at.exception
    points = read_result(list_results(results)[0]).points
    twice = points.filter(pl.col("scorer") == "oracle", pl.col("value") == 2.0, pl.col("kind") == "sweep")
    assert cards(at)["Revenue per 1,000 queries"] == f"{twice['revenue_rpm'][0]:,.2f}"
    at.text_input(key="formula").set_value("b*q*r").run()  # the scenario's own
    stored = json.loads((list_results(results)[0] / "metrics.json").read_text())
    assert cards(at)["Revenue per 1,000 queries"] == f"{stored['revenue_rpm']:,.2f}"
    assert cards(at)["Small advertisers: spend"] == f"{stored['small_spend_share']:.1%}"
    assert cards(at)["Advertisers with a loss"] == f"{stored['loss_share']:.1%}"
    assert cards(at)["AUC of pCTR"] == f"{stored['pctr_auc']:.3f}"
    assert cards(at)["AUC of pCTR as relevance"] == f"{stored['pctr_relevance_auc']:.3f}"
    assert cards(at)["Calibration error"] == f"{stored['pctr_calibration_error']:.1%}"
    found = at.dataframe[0].value
    assert found["Match"].tolist() == ["exact", "phrase", "broad", "expansion"]
    assert found["Shown ads"].tolist()[0] == f"{stored['exact_impression_share']:.1%}"
    assert "Newcomers: impressions" not in cards(at), "nobody joins"
    assert len(chart(at, "When queries come")["data"]) == 1
    assert {trace["name"] for trace in chart(at, "How the budgets are spent")["data"]} == {
        "even spending", "paces its bids", "does not pace",
    }  # fmt: skip
    at.switch_page("views/trade_off_page.py").run()
    assert at.slider(key="exponent").value == 1.0


def test_a_formula_has_two_verdicts_lines_and_a_point(
    dashboard: AppTest, tiny_scenario: Scenario, results: Path
) -> None:
    at = dashboard.run()
    at.text_input(key="formula").set_value("b * q * r^2").run()
    at.switch_page("views/formula_page.py").run()
    assert not at.exception
    assert "Fit for auctions" in html(at)
    assert re.search(r"irrelevant share -[0-9.]+ points \[-[0-9.]+, -[0-9.]+\]", html(at))
    assert len(chart(at, "Ads on one line score alike")["data"]) == 4
    built_in, star = chart(at, "What the formula earns")["data"]
    assert set(built_in["text"]) == set(SHIPPED_RULES)
    prepared = prepare(tiny_scenario, cache=results)
    product = {"sweep": None, "fusion": {"rule": "product", "relevance": 2.0}}
    expected = simulate(prepared, relevance_of(prepared, "oracle", cache=results), product).metrics
    assert star["y"] == pytest.approx([expected["revenue_rpm"]])


def test_a_formula_that_harms_the_market_looks_it(dashboard: AppTest) -> None:
    at = dashboard.run()
    at.text_input(key="formula").set_value("b*q/max(r,0.01)").run()
    at.switch_page("views/formula_page.py").run()
    assert not at.exception
    assert "Fit for auctions" in html(at)
    assert "Harmful for the market" in html(at)


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        ("b * q * z", "Character 9: unknown name 'z'"),
        ("", "Character 1: expected a number"),
        ("min(b, 5) * q", "the score does not rise strictly in the bid"),
        ("linear(cost=-1)", "must be at least 0"),
        ("tiers(nonsense)", "needs settings such as name=value"),
        ("custom(object=os:getcwd)", "a rule of your own stands in a scenario's file only"),
    ],
)
def test_a_formula_that_is_none_is_explained(dashboard: AppTest, expression: str, words: str) -> None:
    at = dashboard.run()
    before = at.session_state["opened"].b
    at.text_input(key="formula").set_value(expression).run()
    assert not at.exception
    assert words in as_read(at.error[0].value)
    assert at.session_state["opened"].b == before


def test_the_address_holds_both_formulas(dashboard: AppTest) -> None:
    at = dashboard.run()
    assert at.query_params["b"].startswith("b*q")
    at.text_input(key="formula").set_value("b*q*r^0.3")
    at.selectbox(key="scorer").set_value("bm25")
    at.slider(key="threshold").set_value(0.2)
    at.text_input(key="a_formula").set_value("b").run()
    assert {name: at.query_params[name] for name in ("b", "scorer", "gate", "a")} == {
        "b": "b*q*r^0.3", "scorer": "bm25", "gate": "0.2", "a": "b",
    }  # fmt: skip
    again = AppTest.from_file(MAIN, default_timeout=PATIENCE_S)
    for name in at.query_params:
        again.query_params[name] = at.query_params[name]
    again.run()
    assert not again.exception
    assert not again.info
    opened, same = at.session_state["opened"], again.session_state["opened"]
    assert (same.a, same.b) == (opened.a, opened.b)
    assert cards(again) == cards(at)


@pytest.mark.parametrize(
    "address",
    [
        {"b": "b*(q"},
        {"b": "custom(object=os:getcwd)"},
        {"scorer": "nobody", "a_scorer": "os:system"},
        {"gate": "7", "reserve": "-1", "a_gate": "nan"},
        {"bound": "many", "whole": "perhaps"},
        {"b": "b" * 5000},
    ],
)
def test_what_an_address_cannot_say_is_left_out_with_a_word(
    dashboard: AppTest, address: dict[str, str]
) -> None:
    for name, value in address.items():
        dashboard.query_params[name] = value
    at = dashboard.run()
    assert not at.exception
    text, _, names = as_read(at.info[0].value).rstrip(".").partition(": ")
    assert text == "Left out of the address, as it cannot be used here"
    assert set(names.split(", ")) == set(address)
    assert AppTest.from_file(MAIN, default_timeout=PATIENCE_S).run().session_state["opened"].b == (
        at.session_state["opened"].b
    )


def test_a_scorer_that_cannot_be_had_is_explained_and_the_rest_still_works(
    tiny_scenario: Scenario, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = run_scenario(tiny_scenario, cache=tmp_path)
    asks = override(tiny_scenario, {"scorer": "hcmrm", "hcmrm.checkpoint": str(tmp_path / "no-checkpoint")})
    write_result(tmp_path, asks, run.metrics, run.points, run.log)
    monkeypatch.setenv("RELBID_RESULTS", str(tmp_path))
    at = AppTest.from_file(MAIN, default_timeout=PATIENCE_S).run()
    assert not at.exception
    assert "no-checkpoint" in at.error[0].value
    assert chart(at, "Revenue against irrelevant ads")["data"]
    at.switch_page("views/inspector_page.py").run()
    assert not at.exception
    assert "no-checkpoint" in at.error[0].value
    at.selectbox(key="scorer").set_value("bm25").run()
    assert not at.exception
    assert not at.error
    assert "rb-compare" in html(at)


def test_a_damaged_result_is_explained(
    results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "damaged"
    folder.mkdir()
    (folder / "points.parquet").write_bytes(b"no parquet")
    monkeypatch.setenv("RELBID_RESULTS", str(tmp_path))
    at = AppTest.from_file(MAIN, default_timeout=PATIENCE_S).run()
    assert not at.exception
    assert "cannot be opened" in at.error[0].value


def test_a_newcomer_is_told_what_to_do_and_can_run_it_here(
    tiny_scenario: Scenario, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scenario = tmp_path / "tiny.yaml"
    scenario.write_text(dump_scenario(tiny_scenario))
    monkeypatch.setattr(welcome, "DEFAULT_SCENARIO", scenario)
    monkeypatch.setenv("RELBID_RESULTS", str(tmp_path / "results"))
    at = AppTest.from_file(MAIN, default_timeout=PATIENCE_S).run()
    assert not at.exception
    assert at.code[0].value == f"relbid run {scenario} --out {tmp_path / 'results'}"
    at.button[0].click().run()
    assert not at.exception
    (job,) = jobs.all_jobs(tmp_path / "results")
    if jobs.is_alive(job):
        assert any(button.label == "Stop" for button in at.button)
    until_ended(job)
    at.run()
    assert not at.exception
    assert at.title[0].value == "What does relevance cost, and what does it earn?"
    assert len(list_results(tmp_path / "results")) == 1


def test_the_run_from_here_leaves_out_scorers_that_cannot_be_had(
    tiny_scenario: Scenario, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asks = override(
        tiny_scenario,
        {
            "scorer": "hcmrm",
            "hcmrm.checkpoint": str(tmp_path / "no-checkpoint"),
            "compare": ["none", "hcmrm"],
            "sweep.scorers": ["hcmrm"],
        },
    )
    scenario = tmp_path / "tiny.yaml"
    scenario.write_text(dump_scenario(asks))
    monkeypatch.setattr(welcome, "DEFAULT_SCENARIO", scenario)
    monkeypatch.setenv("RELBID_RESULTS", str(tmp_path / "results"))
    at = AppTest.from_file(MAIN, default_timeout=PATIENCE_S).run()
    at.button[0].click().run()
    until_ended(jobs.all_jobs(tmp_path / "results")[0])
    at.run()
    assert not at.exception
    assert "Left out HCMRM" in at.warning[0].value
    at.radio(key="language").set_value("zh").run()  # said in the reader's language, not the starter's
    assert at.warning[0].value.startswith("已略去 HCMRM。")
    assert at.selectbox(key="scorer").value == "oracle"
