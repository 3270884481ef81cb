"""Who makes the difference: the sentence, the picture, the table, and the way into the inspector."""

from __future__ import annotations

import math

import polars as pl
import pytest
from streamlit.testing.v1 import AppTest

from app.figures import why_figures as figures
from app.parts import why
from scenarios import Division
from scenarios.reporting.theme import BETTER, WORSE
from tests.app.test_pages import as_read, chart, dashboard as dashboard


def division(shares: list[float], low: float, high: float, metric: str = "irrelevant_share") -> Division:
    whole = -0.04
    parts = pl.DataFrame(
        {
            "group": list(range(len(shares))),
            "part": [whole * share for share in shares],
            "low": [whole * share - 0.001 for share in shares],
            "high": [whole * share + 0.001 for share in shares],
            "share": shares,
            "before": [0.01] * len(shares),
            "after": [0.0] * len(shares),
            "traffic": [0.02] * len(shares),
        }
    )
    return Division(metric, "query", 0.10, 0.06, low, high, 6, parts)


def rows(of: Division) -> list[dict[str, object]]:
    return [{"name": f"query {row['group']}", **row} for row in of.parts.iter_rows(named=True)]


def test_the_sentence_says_difference_interval_and_how_much_the_first_make() -> None:
    clear = division([0.5, 0.25, 0.2, 0.05], -0.05, -0.03)
    assert as_read(why.in_a_sentence(clear, rows(clear)[:3])) == (
        "Irrelevant share: 10.00% under A, 6.00% under B, -4.000 points [-5.00, -3.00]. "
        "The 3 queries that move it most make together 95% of it. The other makes 5%."
    )
    assert clear.warns
    unclear = division([0.5, 0.5], -0.05, 0.01)
    assert not unclear.warns
    assert "Over these 6 days that is no clear difference" in why.in_a_sentence(unclear, rows(unclear))
    assert "Nothing differs" in why.in_a_sentence(division([], math.nan, math.nan), [])


def test_bars_are_coloured_by_whether_they_make_it_better() -> None:
    found = division([0.7, -0.3], -0.05, -0.03)
    drawn = figures.responsible(found, rows(found))
    assert list(drawn.data[0].marker.color) == [BETTER, WORSE]
    assert list(drawn.data[0].x) == pytest.approx([-2.8, 1.2])
    assert [note.text for note in drawn.layout.annotations] == ["70.0%", "-30.0%"]
    assert list(drawn.data[0].error_x.array) == pytest.approx([0.1, 0.1])
    money = division([1.0], -0.05, -0.03, "revenue_rpm")
    assert list(figures.responsible(money, rows(money)).data[0].marker.color) == [WORSE]


def test_long_names_that_begin_alike_keep_bars_of_their_own() -> None:
    found = division([0.6, 0.4], -0.05, -0.03)
    alike = [{**row, "name": "a name that is longer than its bar has room for"} for row in rows(found)]
    assert len(set(figures.responsible(found, alike).data[0].y)) == 2


def test_the_page_divides_the_difference_of_its_setting(dashboard: AppTest) -> None:
    at = dashboard.run()
    assert not at.exception
    drawn = chart(at, "Parts of the difference, B minus A")
    assert drawn["data"]
    tables = (one.value for one in at.dataframe)
    table = next(one for one in tables if {"Queries", "A"} & {*one.columns})
    assert len(table) == 10
