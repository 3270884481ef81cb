"""Who makes the difference between two rankings: parts that sum to the whole, and the command."""

import math

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from typer.testing import CliRunner

from scenarios import (
    ScenarioError,
    inspect_query,
    known_page,
    load_scenario,
    other_worlds,
    override,
    pareto_front,
    prepare,
    relevance_of,
    simulate,
)
from scenarios.cli.main import app
from scenarios.studies.difference import (
    DIVIDED,
    GROUPINGS,
    PairTotals,
    division_rows,
    explain_scenarios,
    narrowed,
    responsible_for,
    totals_of,
)
from simulator.measures.market_metrics import with_rates
from simulator.measures.query_totals import RATIOS
from tests.scenarios.test_query_effects import SCENARIO


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("small") / "small.yaml"
    path.write_text(SCENARIO)
    return path


@pytest.fixture(scope="module")
def compared(file):
    scenario = load_scenario(file)
    other = override(scenario, {"fusion.relevance": 3.0})
    return explain_scenarios(scenario, other, days=3), (scenario, other)


def totals(rows):
    """One day of queries 0, 1, ..., each with an ad of its own."""
    table, nobody = np.array(rows, dtype=float), np.full(len(rows), -1)
    arrivals, shown = np.zeros_like(table), table.copy()
    arrivals[:, 0], shown[:, 0] = table[:, 0], 0
    own = np.arange(len(rows))
    ads = np.concatenate([nobody, own])
    return PairTotals(np.concatenate([own, own]), ads, ads, np.minimum(ads, 0), np.vstack([arrivals, shown]))


def row(arrivals, shown, irrelevant, clicks, revenue):
    return [arrivals, shown, irrelevant, clicks, revenue * 1e6, 0, 0, shown * 1e6, irrelevant * 1e6]


def test_a_query_that_alone_differs_is_the_whole_difference():
    before = [totals([row(100, 300, 30, 10, 5.0), row(900, 2700, 0, 90, 45.0)])]
    after = [totals([row(100, 300, 0, 10, 4.0), row(900, 2700, 0, 90, 45.0)])]
    money = responsible_for(before, after, "revenue_rpm", "query")
    assert (money.before, money.after) == pytest.approx((50.0, 49.0))
    assert money.parts["group"].to_list() == [0], "who has no part is left out"
    assert money.parts.row(0, named=True)["share"] == pytest.approx(1.0)
    assert money.parts["traffic"][0] == pytest.approx(0.1)
    assert money.clear
    assert money.warns
    assert math.isnan(money.low), "one day has no interval"
    ads = responsible_for(before, after, "irrelevant_share", "query")
    assert ads.difference == pytest.approx(-0.01)
    assert ads.parts["part"][0] == pytest.approx(-0.01)
    assert (ads.parts["before"][0], ads.parts["after"][0]) == pytest.approx((0.01, 0.0))


def test_the_interval_of_a_part_is_over_days_and_a_difference_that_comes_and_goes_is_not_clear():
    same = [totals([row(100, 300, 30, 10, 5.0)])] * 3
    days = [totals([row(100, 300, 30, 10, 5.0 + more)]) for more in (-1.0, 0.0, 1.5)]
    found = responsible_for(same, days, "revenue_rpm", "query")
    part = found.parts.row(0, named=True)
    # Differences -10, 0, 15 a thousand queries: mean 5/3, standard deviation 12.58, t(2) = 4.303.
    assert part["part"] == pytest.approx(5 / 3)
    assert part["high"] - part["part"] == pytest.approx(4.3027 * 12.5831 / math.sqrt(3), rel=1e-4)
    assert (part["low"], part["high"]) == pytest.approx((found.low, found.high))
    assert not found.clear
    assert not found.warns


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_parts_sum_to_the_difference(data):
    groups, days = data.draw(st.integers(1, 6)), data.draw(st.integers(1, 4))
    count = st.integers(0, 50)

    def day():
        rows = []
        for _ in range(groups):
            shown = data.draw(count)
            clicks, irrelevant = (data.draw(st.integers(0, shown)) for _ in range(2))
            rows.append(row(data.draw(st.integers(1, 50)), shown, irrelevant, clicks, data.draw(count)))
        rows[0][1] += 1  # something is shown
        return totals(rows)

    before, after = ([day() for _ in range(days)] for _ in range(2))
    for metric in ("revenue_rpm", "irrelevant_share", "clicks_rpm"):
        found = responsible_for(before, after, metric, "query")
        assert found.parts["part"].sum() == pytest.approx(found.difference, abs=1e-9)
        assert found.parts["part"].abs().is_sorted(descending=True)


@pytest.mark.parametrize("grouping", GROUPINGS)
def test_the_parts_of_a_run_sum_to_the_difference_of_its_metrics(compared, grouping):
    (prepared, before, after), scenarios = compared
    relevance = relevance_of(prepared, "oracle")

    def day(scenario, seed):
        found = simulate(prepared, relevance, {"fusion": scenario.fusion.model_dump(), "seed": seed})
        return with_rates(found.metrics)

    metrics = [[day(one, one.seed + later) for later in range(3)] for one in scenarios]
    for metric in DIVIDED:
        found = responsible_for(before, after, metric, grouping)
        a, b = (np.mean([day[metric] for day in days]) for days in metrics)
        assert (found.before, found.after) == pytest.approx((a, b), rel=1e-5)
        assert found.parts["part"].sum() == pytest.approx(found.difference, abs=1e-9)


def test_groups_have_names(compared):
    (prepared, before, after), _ = compared
    found = responsible_for(before, after, "revenue_rpm", "query")
    rows = division_rows(prepared, found, 3)
    assert [one["name"] for one in rows] == [prepared.corpus.query_text[one["group"]] for one in rows]
    matches = responsible_for(before, after, "revenue_rpm", "match")
    assert {one["name"] for one in division_rows(prepared, matches, 9)} <= {
        "exact",
        "phrase",
        "broad",
        "expanded",
    }


def test_of_an_ad_its_own_queries_are_found(compared):
    (_, before, after), _ = compared
    whole = responsible_for(before, after, "revenue_rpm", "ad").parts.row(0, named=True)
    own = [[narrowed(day, "ad", whole["group"]) for day in days] for days in (before, after)]
    queries = responsible_for(*own, "revenue_rpm", "query")
    assert queries.parts["part"].sum() == pytest.approx(whole["part"])


def test_a_difference_needs_days_of_both(file):
    day = totals_of(_run(file))
    with pytest.raises(ValueError, match="got 1 and 0"):
        responsible_for([day], [], "revenue_rpm", "query")


def _run(file):
    prepared = prepare(load_scenario(file))
    return simulate(prepared, relevance_of(prepared, "oracle"))


def test_every_metric_that_is_divided_is_a_ratio_of_sums():
    assert set(DIVIDED) <= set(RATIOS)


def test_scenarios_of_different_markets_are_refused(file):
    scenario = load_scenario(file)
    with pytest.raises(ScenarioError, match=r"seed: is too large for 3 days, whose seeds follow it"):
        explain_scenarios(*[override(scenario, {"seed": 2**63 - 2})] * 2, days=3)
    for settings_ in ({"retrieval.candidates": 8}, {"seed": 9}, {"traffic.n_queries": 300}):
        with pytest.raises(ScenarioError, match=rf"is not that of the first scenario, {file};") as error:
            explain_scenarios(scenario, override(scenario, settings_))
        assert error.value.field == next(iter(settings_)).split(".")[0]


def test_the_command_prints_who_makes_the_difference(file, tmp_path):
    other = tmp_path / "other.yaml"
    other.write_text(SCENARIO + "fusion: {rule: product, relevance: 3.0}\n")
    arguments = [
        "why",
        str(file),
        str(other),
        "--days",
        "2",
        "--top",
        "4",
        "--out",
        str(tmp_path / "results"),
    ]
    done = CliRunner().invoke(app, [*arguments, "--by", "match"])
    assert done.exit_code == 0, done.output
    assert "revenue, other against small" in " ".join(done.output.split())
    assert done.output.count("parts sum to the difference") == 2


def test_arguments_are_named(compared):
    (prepared, before, after), (scenario, _) = compared
    relevance = relevance_of(prepared, scenario.scorer)
    for make, words in (
        (lambda: responsible_for(before, after, "nope", "query"), "metric must be one of revenue_rpm"),
        (lambda: responsible_for(before, after[:1], "revenue_rpm", "query"), "before and after must have"),
        (lambda: narrowed(before[0], "nope", 1), "grouping must be one of query"),
        (lambda: inspect_query(prepared, relevance, -1), "query must be from 0"),
        (lambda: known_page(prepared, relevance, 10**9), "query must be from 0"),
        (lambda: override(scenario, {5: 1}), "settings must have names of fields as keys, got 5"),
        (lambda: pareto_front(np.ones(1), np.ones(2)), r"gain and harm must both be \[P\]"),
        (lambda: other_worlds(scenario, -1), "n must be from 0"),
    ):
        with pytest.raises((ValueError, TypeError), match=words):
            make()
