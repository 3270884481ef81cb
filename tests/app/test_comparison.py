"""Two rankings of one query: the joined table, its HTML, its figure, and the page."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from streamlit.testing.v1 import AppTest

from app.figures import auction_figures as figures
from app.parts import comparison
from app.setting import market_settings
from scenarios import (
    Scenario,
    inspect_query,
    override,
    prepare,
    relevance_of,
    run_scenario,
    write_result,
)
from tests.app.test_pages import MAIN, PATIENCE_S, chart, dashboard as dashboard, html, own_setting

FACTS = {
    "score": 0.07,
    "rival_score": 0.08,
    "bid": 1.0,
    "needed": 1.5,
    "reserve": 2.0,
    "slot": 1,
    "price": 0.5,
}


def auction(slots: dict[str, int | None]) -> pl.DataFrame:
    """Ads "a", "b", … with these slots, in the order of a ranking."""
    rows = [
        {
            "ad": ord(name) - ord("a"),
            "title": f"<{name}>",
            "grade": 2,
            "bid": 1.0,
            "pctr": 0.1,
            "relevance": 0.5,
            "score": 0.07,
            "slot": slot,
            "price": None if slot is None else 0.5,
            "p_click": None if slot is None else 0.1,
            "reason": "beaten" if slot is None else "pays_bid",
            "facts": FACTS,
        }
        for name, slot in slots.items()
    ]
    return pl.DataFrame(rows, schema_overrides={"slot": pl.Int64, "price": pl.Float64, "p_click": pl.Float64})


FIRST = auction({"a": 1, "b": 2, "c": 3, "d": None, "e": None})
SECOND = auction({"b": 1, "a": 2, "d": 3, "c": None, "e": None})
BOTH = comparison.compare(FIRST, SECOND)
PICTURES = {ad: np.zeros((1, 4, 4, 3), dtype=np.uint8) for ad in range(5)}


def test_rankings_are_joined_by_the_ad() -> None:
    assert BOTH["ad"].to_list() == [0, 1, 2, 3, 4]
    assert BOTH["slot_1"].to_list() == [1, 2, 3, None, None]
    assert BOTH["slot_2"].to_list() == [2, 1, None, 3, None]
    assert BOTH["rank_2"].to_list() == [2, 1, 4, 3, 5]
    assert comparison.moves(BOTH) == 4
    assert comparison.moves(comparison.compare(FIRST, FIRST)) == 0


def test_revenue_counts_clicks_or_impressions() -> None:
    assert comparison.revenue(FIRST, "click") == pytest.approx(1000 * 3 * 0.5 * 0.1)
    assert comparison.revenue(FIRST, "impression") == pytest.approx(1000 * 3 * 0.5)


def test_every_move_is_told_in_words() -> None:
    page = comparison.side_by_side(BOTH.rows(named=True), PICTURES, ("one", "<two>"))
    assert "&lt;a&gt;" in page
    assert "<a>" not in page
    assert "&lt;two&gt;" in page
    moves = [part.partition("</td>")[0] for part in page.split("<td class='rb-move'>")[1:]]
    assert ["down 1" in moves[0], "up 1" in moves[1], "leaves" in moves[2], "enters" in moves[3]] == [
        True
    ] * 4
    assert moves[4] == ""
    assert page.count("pays 0.50 per click") == 6
    assert page.count("it bids 1.00 and would need 1.50") == 4


def test_a_line_for_each_ad_and_its_slots_as_numbers() -> None:
    drawn = figures.slots(BOTH, ("one", "two"))
    assert len(drawn.data) == 5
    assert [list(trace.y) for trace in drawn.data] == [[1, 2], [2, 1], [3, 4], [4, 3], [5, 5]]
    assert list(drawn.data[0].text) == ["<b>1</b>", "<b>2</b>"]
    assert list(drawn.data[3].text) == ["", "<b>3</b>"]
    assert sum(trace.showlegend for trace in drawn.data) == 1  # one grade


def test_the_inspector_shows_a_and_b_side_by_side(
    dashboard: AppTest, tiny_scenario: Scenario, results: Path
) -> None:
    at = own_setting(dashboard.run())
    at.switch_page("views/inspector_page.py").run()
    assert not at.exception
    prepared, opened = prepare(tiny_scenario, cache=results), at.session_state["opened"]
    query = at.selectbox(key="query").value
    page = html(at)
    assert "rb-table rb-compare" in page
    assert (opened.a.scorer, opened.b.scorer) == ("none", "oracle")
    revenues = []
    for setting in (opened.a, opened.b):
        relevance = relevance_of(prepared, setting.scorer, cache=results)
        found = inspect_query(prepared, relevance, query, market_settings(setting))
        revenues.append(comparison.revenue(found, "click"))
        for row in found.drop_nulls("slot").iter_rows(named=True):
            assert f"pays {row['price']:.2f} per click" in page
            assert row["why"].partition(". ")[2].partition(" (")[0] in page
            assert f"ad {row['ad']}</span>" in page, "reasons name rivals by these numbers"
    assert "relevance is not used" in page, "A has no relevance to speak of"
    assert chart(at, "The same candidates under A and B")["data"]
    was, now = revenues
    assert any(f"{was:,.0f} → {now:,.0f}" in text.value for text in at.markdown)
    at.session_state["sides"] = "a"
    at.run()
    assert "rb-table rb-compare" not in html(at)
    assert "<article" in html(at)


def test_where_a_is_b_there_is_one_ranking(dashboard: AppTest) -> None:
    at = dashboard.run()
    next(button for button in at.button if button.label == "Copy A to B").click().run()
    at.switch_page("views/inspector_page.py").run()
    assert not at.exception
    assert "rb-table rb-compare" not in html(at)


def test_a_scorer_that_cannot_be_had_is_explained(
    tiny_scenario: Scenario, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = run_scenario(tiny_scenario, cache=tmp_path)
    missing = {"compare": ["oracle", "hcmrm"], "hcmrm.checkpoint": str(tmp_path / "no-checkpoint")}
    write_result(tmp_path, override(tiny_scenario, missing), run.metrics, run.points, run.log)
    monkeypatch.setenv("RELBID_RESULTS", str(tmp_path))
    at = AppTest.from_file(MAIN, default_timeout=PATIENCE_S).run()
    at.switch_page("views/inspector_page.py").run()
    at.selectbox(key="scorer").set_value("hcmrm").run()
    assert not at.exception
    assert "HCMRM cannot rank." in at.error[0].value
    assert "no-checkpoint" in at.error[0].value
    assert "Choose another relevance scorer above." in [text.value for text in at.markdown]
