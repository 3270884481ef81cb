"""Arms at equal revenue and at equal irrelevance: where curves come down to a level, and the whole way."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner

from scenarios.cli.main import app
from scenarios.errors import ScenarioError
from scenarios.reporting.experiment_tables import published_table
from scenarios.reporting.matched_picture import picture
from scenarios.studies.experiments.experiment import Rule, load_experiment
from scenarios.studies.experiments.experiment_run import run_experiment
from scenarios.studies.experiments.matched import (
    RULES,
    Chosen,
    choose,
    first_at_most,
    grid_plan,
    plan_at,
    run_matched,
)
from scenarios.studies.experiments.stored import read_experiment
from scenarios.studies.experiments.summary import verdict

TEXT = """\
schema: 1
name: small
scenario: default
common:
  traffic.n_queries: 1500
  world.train_advertisers: 8
  world.validation_advertisers: 2
  world.test_advertisers: 24
  world.unlabelled_advertisers: 2
  world.query_pool: 1200
  fusion.rule: product
baseline: A
arms:
  A: {scorer: bm25}
  B: {scorer: oracle}
worlds: [41, 42]
seeds: 2
metrics: [revenue_rpm, irrelevant_share]
matched: {grid: [0, 0.5, 1, 2], worlds: [31, 32], revenue_cost: 0.05}
"""


PUBLISHED = "published: [{arm: B, metric: irrelevant_share, change: -0.061, rule: equal_revenue}]\n"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "small.yaml"
    path.write_text(TEXT)
    return path


@pytest.mark.parametrize(
    ("curve", "level", "found"),
    [
        ([100, 98, 96, 90], 97, Chosen(1.5, True)),  # half way from 98 to 96
        ([100, 104, 96, 99], 97, Chosen(1.875, True)),  # rises first; later values do not count
        ([100, 98, 97, 90], 97, Chosen(2.0, True)),
        ([97, 98, 99, 99], 97, Chosen(0.0, True)),
        ([100, 98, 98.5, 99], 97, Chosen(1.0, False)),  # never: where it is least
    ],
)
def test_where_a_curve_comes_down_to_a_level(curve: list[float], level: float, found: Chosen) -> None:
    assert first_at_most(np.array([0.0, 1.0, 2.0, 3.0]), np.array(curve, float), level) == found


def test_the_rules_choose_by_hand(file: Path) -> None:
    """Equal revenue: 5% below 100. Equal irrelevance: what A has there, 16%. Equal setting: A's."""
    rows = [
        *((("A"), value, revenue, share) for value, revenue, share in zip(
            (0.0, 0.5, 1.0, 2.0), (100.0, 98.0, 92.0, 80.0), (0.2, 0.18, 0.14, 0.1), strict=True)),
        *((("B"), value, revenue, share) for value, revenue, share in zip(
            (0.0, 0.5, 1.0, 2.0), (100.0, 99.0, 97.0, 93.0), (0.2, 0.12, 0.08, 0.02), strict=True)),
    ]  # fmt: skip
    columns = ("arm", "value", "revenue_rpm", "irrelevant_share")
    curves = pl.DataFrame(rows, columns, orient="row")
    found = choose(load_experiment(file), curves)
    values = {rule: {arm: one.value for arm, one in by_arm.items()} for rule, by_arm in found.items()}
    assert values["equal_revenue"] == pytest.approx({"A": 0.75, "B": 1.5})
    assert values["equal_irrelevance"] == pytest.approx({"A": 0.75, "B": 0.25})
    assert values["equal_setting"] == pytest.approx({"A": 0.75, "B": 0.75})


def test_a_grid_is_every_arm_at_every_value(file: Path) -> None:
    plan = load_experiment(file)
    grid = grid_plan(plan)
    assert grid.worlds == (31, 32)
    assert len(grid.arms) == 8
    assert grid.arms["B_0.5"].scorer == "oracle"
    assert grid.arms["B_0.5"].fusion.relevance == 0.5
    # What is stored of a rule's experiment says its settings, and runs again as it is.
    at = plan_at(plan, "equal_revenue", {"A": Chosen(0.75, True), "B": Chosen(1.5, True)})
    assert at.experiment.arms["B"] == {"scorer": "oracle", "fusion.relevance": 1.5}
    assert at.experiment.matched is None


def test_each_rule_runs_with_what_it_chose(file: Path, tmp_path: Path) -> None:
    """Each rule's experiment runs in the worlds of the file, with the settings that were chosen elsewhere."""
    plan = load_experiment(file)
    found = run_matched(plan, lambda one: run_experiment(one, cache=tmp_path / "results"))
    assert set(found.results) == set(RULES)
    for rule, result in found.results.items():
        for arm, chosen in found.chosen[rule].items():
            assert result.plan.arms[arm].fusion.relevance == chosen.value
        assert result.plan.worlds == (41, 42)
    start = found.curves.filter(pl.col("value") == 0)["revenue_rpm"]
    assert start[0] == pytest.approx(start[1])  # without relevance all arms are the same
    own = found.chosen["equal_revenue"]["A"]
    assert found.chosen["equal_setting"] == {"A": own, "B": own}

    drawn = picture(found)
    means = {(arm, value): numbers for _, arm, value, *numbers in found.curves.iter_rows()}
    revenue, irrelevant = means["A", 0.0]
    assert [line.name for line in drawn.data] == ["A", "B"]
    assert drawn.layout.xaxis.title.text == "irrelevant ads against A at 0, %"
    for line in drawn.data:
        of_arm = [means[line.name, value] for value in (0.0, 0.5, 1.0, 2.0)]
        np.testing.assert_allclose(line.y, [100 * (one / revenue - 1) for one, _ in of_arm], atol=1e-9)
        np.testing.assert_allclose(line.x, [100 * (one / irrelevant - 1) for _, one in of_arm], atol=1e-9)
        rows = found.grid.summary.filter(
            pl.col("metric") == "irrelevant_share", pl.col("arm") == f"{line.name}_2"
        )
        assert line.error_x.array[-1] == pytest.approx(
            100 * (rows["change_t_high"] - rows["change_value"])[0]
        )
        assert line.error_x.arrayminus[-1] == pytest.approx(
            100 * (rows["change_value"] - rows["change_t_low"])[0]
        )

    # A change that is undefined, as of a baseline without irrelevant ads, is drawn nowhere.
    undefined = found.grid.summary.with_columns(change_value=pl.lit(None, pl.Float64))
    first, *others = picture(replace(found, grid=replace(found.grid, summary=undefined))).data[0].y
    assert first == 0.0
    assert all(one is None or np.isnan(one) for one in others)


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("[0, 0.5, 1, 2]", "[0, 0.5, 0.5]", "grid.*must rise"),
        ("worlds: [31, 32]", "worlds: [31, 42]", "world 42 is one of those"),
        ("worlds: [41, 42]\n", "", "say which 'worlds' to test in"),
        ("{scorer: bm25}", "{scorer: bm25, fusion.relevance: 1}", "sets fusion.relevance"),
        ("revenue_cost: 0.05", "field: fusion.steepness", "steepness"),
        ("seeds: 2\n", "seeds: 2\ndesign: query_split\n", "needs the design common"),
        ("matched:", PUBLISHED.replace("arm: B", "arm: A") + "matched:", "arm must be one of B, got 'A'"),
        ("matched:", PUBLISHED.replace("irrelevant_share", "ctr") + "matched:", "one of 'metrics'.*'ctr'"),
        (
            "matched:",
            PUBLISHED.replace(", rule: equal_revenue", "") + "matched:",
            "names a rule with 'matched'",
        ),
        ("matched:", PUBLISHED.replace("-0.061", "0") + "matched:", "must not be 0"),
    ],
)
def test_what_does_not_fit_is_refused(file: Path, before: str, after: str, message: str) -> None:
    file.write_text(TEXT.replace(before, after))
    with pytest.raises(ScenarioError, match=message):
        load_experiment(file)


@pytest.mark.parametrize(
    ("published", "interval", "predicted", "said"),
    [
        (-0.06, (-0.10, -0.01), (-0.2, 0.1), "reproduced"),
        (-0.06, (-0.10, -0.01), (-0.05, 0.1), "direction only"),
        (-0.06, (-0.10, 0.01), (-0.2, 0.1), "not reproduced"),
        (-0.06, (0.01, 0.10), (-0.2, 0.1), "not reproduced"),
        (0.014, (0.01, 0.03), (-0.02, 0.05), "reproduced"),
        (0.014, (0.01, 0.03), (0.015, 0.05), "direction only"),
        (0.014, (-0.03, -0.01), (-0.02, 0.05), "not reproduced"),
        (0.014, (np.nan, np.nan), (np.nan, np.nan), "not reproduced"),
    ],
)
def test_what_is_found_says_whether_a_published_change_is_reproduced(
    published: float, interval: tuple[float, float], predicted: tuple[float, float], said: str
) -> None:
    assert verdict(published, interval, predicted) == said


def test_the_command_prints_the_choice_and_each_rule(file: Path, tmp_path: Path) -> None:
    file.write_text(TEXT + PUBLISHED)
    found = CliRunner().invoke(app, ["experiment", str(file), "--out", str(tmp_path / "r"), "--workers", "1"])
    assert found.exit_code == 0, found.output
    assert "chosen in worlds 31, 32" in found.output
    assert len(list((tmp_path / "r").glob("small-grid-*/curves.*"))) == 1
    for rule in RULES:
        assert f"small-{rule}: B against A, 2 worlds x 2 days" in found.output
    stored = {folder.name.split("-")[1]: folder for folder in (tmp_path / "r").glob("small-equal_*")}
    assert set(stored) == set(RULES)
    told = next(line for line in found.output.splitlines() if "-6.10%" in line)
    summary = read_experiment(stored["equal_revenue"]).summary
    row = summary.row(by_predicate=pl.col("metric") == "irrelevant_share", named=True)
    bounds = ("change_t_low", "change_t_high", "predicted_low", "predicted_high")
    assert all(f"{100 * row[name]:+.2f}%" in told for name in ("change_value", *bounds))
    low, high, *predicted = (row[name] for name in bounds)
    assert told.rstrip().endswith(verdict(-0.061, (low, high), (predicted[0], predicted[1])))
    # Where an arm never gets to what the rule asks, the table says so.
    plan = load_experiment(file)
    results = {rule: read_experiment(folder) for rule, folder in stored.items()}

    def said(unmatched: list[tuple[Rule, str]]) -> str:
        (text,) = published_table(plan, results, unmatched).table.columns[-1].cells
        return str(text)

    assert said([("equal_revenue", "B")]) == said([]) + ", not matched"
    assert said([("equal_irrelevance", "B"), ("equal_revenue", "A")]) == said([])
    command = ["experiment", str(file), "--out", str(tmp_path / "r")]
    assert isinstance(CliRunner().invoke(app, [*command, "--confirm", "101"]).exception, ScenarioError)
    dry = CliRunner().invoke(app, [*command, "--dry-run"])
    assert dry.exit_code == 0, dry.output
    assert dry.output.count("small-") == 4
