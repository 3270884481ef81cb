"""A run over time: the tables add up to the run, and the figures draw them."""

from __future__ import annotations

from pathlib import Path

import plotly.graph_objects as go
import polars as pl
import pytest

from app import day
from app.figures import market_figures as figures
from scenarios import Scenario, Simulation, override, prepare, relevance_of, simulate
from scenarios.reporting.theme import line_style


@pytest.fixture(scope="module")
def scenario(tiny_scenario: Scenario) -> Scenario:
    policies = [{"policy": "shading", "share": 0.5}, {"policy": "pid_pacing", "share": 0.5}]
    return override(
        tiny_scenario,
        {"sweep": None, "bidders.policies": policies, "serving.service_s": 0.5, "serving.timeout_s": 10.0},
    )


@pytest.fixture(scope="module")
def simulation(scenario: Scenario, results: Path) -> Simulation:
    prepared = prepare(scenario, cache=results)
    return simulate(prepared, relevance_of(prepared, "oracle", cache=results))


def test_parts_of_the_day_add_up_to_the_run(simulation: Simulation) -> None:
    table = day.over_time(simulation)
    assert table.height == 24
    queries = table["queries_per_hour"]
    assert queries.sum() == simulation.metrics["queries"]
    mean = (table["revenue_rpm"] * queries).sum() / queries.sum()
    assert mean == pytest.approx(simulation.metrics["revenue_rpm"])
    assert (table["fill"] * queries).sum() / queries.sum() == pytest.approx(simulation.metrics["fill"])
    assert (table["latency_p95_s"] >= table["latency_p50_s"]).all()
    assert table["latency_p50_s"].min() >= 0.5


def test_the_last_share_of_a_group_is_what_it_has_spent(simulation: Simulation, scenario: Scenario) -> None:
    owners = day.accounts(simulation, scenario)
    assert set(owners["group"]) == {"shading", "pid pacing"}
    assert owners["spent"].sum() == pytest.approx(simulation.metrics["revenue"])
    curve = day.spending(simulation, owners)
    for (group,), rows in curve.group_by("group"):
        own = owners.filter(pl.col("group") == group)
        assert rows.sort("time")["share"][-1] == pytest.approx(own["spent"].sum() / own["budget"].sum())
        assert rows.sort("time")["share"].diff().drop_nulls().min() >= 0
        assert rows["share"].min() == 0.0


def test_prices_are_means_by_slot(simulation: Simulation) -> None:
    shown = simulation.log.impressions()
    table = day.prices(simulation)
    assert table.height == 24 * simulation.market.n_slots
    first = shown.filter((pl.col("slot") == 0) & (pl.col("time_s") < 3600))
    assert table.filter(pl.col("slot") == 1)["price"][0] == pytest.approx(first["price_micros"].mean() / 1e6)


def test_the_clock_is_in_days_hours_or_minutes(
    tiny_scenario: Scenario, scenario: Scenario, results: Path
) -> None:
    prepared = prepare(tiny_scenario, cache=results)
    none = relevance_of(prepared, "none", cache=results)
    for settings, unit, n, end in (
        ({"traffic.days": 4, "traffic.n_queries": 200}, "day", 32, 4.0),
        ({"traffic.horizon_s": 600}, "minute", 24, 10.0),
        ({}, "hour", 24, 24.0),
    ):
        clock = day.clock(simulate(prepared, none, settings))
        assert (clock.unit, clock.n) == (unit, n)
        assert clock.end[-1] == pytest.approx(end)


def test_every_figure_has_a_title_and_units(simulation: Simulation, scenario: Scenario) -> None:
    table, owners = day.over_time(simulation), day.accounts(simulation, scenario)
    drawn: list[go.Figure] = [
        figures.traffic(table, "hour"),
        figures.fill(table, "hour"),
        figures.revenue(table, "hour"),
        figures.latency(table, "hour", 10.0),
        figures.timeouts(table, "hour"),
        figures.spending(day.spending(simulation, owners), "hour"),
        figures.accounts(owners),
        figures.prices(day.prices(simulation), "hour", "click"),
    ]
    for figure in drawn:
        assert figure.layout.title.text
        assert "(" in figure.layout.xaxis.title.text
        assert figure.layout.yaxis.title.text
        assert figure.layout.paper_bgcolor is None  # the page's theme decides
    for figure in (drawn[0], drawn[5]):  # parts by their middles, and by their ends
        assert list(figure.layout.xaxis.range) == pytest.approx([0.0, 24.0])
    assert [trace.name for trace in drawn[-1].data] == ["slot 1", "slot 2", "slot 3", "slot 4"]
    assert {trace.name for trace in drawn[6].data} == {"shading", "pid pacing"}


def test_lines_side_by_side_are_told_apart_without_colour() -> None:
    styles = [line_style(number) for number in range(12)]
    assert len({(style["color"], style["dash"]) for style in styles}) == 12
    assert len({style["dash"] for style in styles[:4]}) == 4
