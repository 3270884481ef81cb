"""The page Sweeps, on real small sweeps: what it shows, and what its buttons start."""

from __future__ import annotations

import json
import re
from dataclasses import asdict
from pathlib import Path

import polars as pl
import pytest
from streamlit.testing.v1 import AppTest

from app import export, files, jobs, language
from app.figures import sweep_figures as figures
from app.figures.sweep_figures import SCALE
from app.language import catalogue
from app.parts import sweep_tables
from app.views import sweeps_page
from scenarios import (
    Status,
    SweepResult,
    load_scenario,
    load_sweep,
    point_scenario,
    read_status,
    read_sweep,
    run_scenario,
    run_sweep,
    sensitivity,
    sweep_folder,
)
from scenarios.studies.estimate import Estimate
from tests.app.test_pages import MAIN, PATIENCE_S, as_read, chart, until_ended

SCENARIO = """\
schema: 1
name: small
world: {test_advertisers: 36, ads_per_advertiser: 4, query_pool: 3000}
traffic: {n_queries: 500}
retrieval: {candidates: 12}
scorer: oracle
"""
EXPONENTS = """\
# Exponents of relevance by two scorers.
# A second line of the same paragraph.
schema: 1
name: exponents
scenario: small.yaml
over:
  fusion.relevance: [0, 0.5, 1, 2]
  scorer: [bm25, oracle]
seeds: 2
"""
RULES = """\
schema: 1
name: rules
scenario: small.yaml
over:
  fusion: [{rule: product, relevance: 1}, {rule: gate, threshold: 0.5}]
constraints:
  - {metric: irrelevant_share, at_most: 0.05}
"""
BROKEN = """\
schema: 1
name: broken
scenario: small.yaml
over:
  scorer: [oracle, "missing_module:Scorer"]
"""
HUNT = """\
schema: 1
name: hunt
scenario: small.yaml
over:
  fusion.relevance: {uniform: [0, 2]}
  auction.reserve: [0, 0.1]
method: nsga2
points: 8
generation: 4
constraints: [irrelevant_share <= 40%, fill >= 0.01]
further: {user_utility_rpm: maximise}
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with sweep files, two of them run."""
    here = tmp_path_factory.mktemp("project")
    texts = {"small": SCENARIO, "exponents": EXPONENTS, "rules": RULES, "broken": BROKEN}
    for name, text in texts.items():
        (here / f"{name}.yaml").write_text(text)
    for name in ("rules", "exponents"):
        run_sweep(load_sweep(here / f"{name}.yaml"), here / "results", workers=1)
    return here


@pytest.fixture
def page(project: Path, monkeypatch: pytest.MonkeyPatch) -> AppTest:
    monkeypatch.setenv("RELBID_RESULTS", str(project / "results"))
    monkeypatch.setenv("PYTHONPATH", str(Path(MAIN).parents[1]))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.chdir(project)
    at = AppTest.from_file(MAIN, default_timeout=PATIENCE_S).run()
    at.switch_page("views/sweeps_page.py").run()
    assert not at.exception
    return at


@pytest.fixture
def exponents(project: Path) -> SweepResult:
    return read_sweep(sweep_folder(project / "results", load_sweep(project / "exponents.yaml")))


def choose(at: AppTest, name: str) -> AppTest:
    (wanted,) = (option for option in at.selectbox(key="sweep").options if option.startswith(name))
    at.selectbox(key="sweep").set_value(wanted).run()
    assert not at.exception
    return at


def texts(at: AppTest) -> str:
    return as_read("\n".join(found.value for kind in (at.markdown, at.caption, at.info) for found in kind))


def press(at: AppTest, label: str) -> AppTest:
    next(button for button in at.button if button.label == label).click().run()
    assert not at.exception
    return at


def test_a_sweep_is_shown_with_front_sensitivity_and_parallel_coordinates(
    page: AppTest, exponents: SweepResult
) -> None:
    at = choose(page, "exponents")
    assert "Finished: 16 of 16 simulations done" in texts(at)
    assert "8 of 8 points so far, the mean over 2 seeds each" in texts(at)
    front = chart(at, "Revenue per 1,000 queries against irrelevant share")
    named = {trace["name"]: trace for trace in front["data"]}
    assert set(named) == {"Pareto front", "BM25", "oracle"}
    assert [len(named[name]["x"]) for name in ("BM25", "oracle")] == [4, 4]
    assert front["layout"]["xaxis"]["title"]["text"] == "Irrelevant share (%), less to the left"
    assert front["layout"]["yaxis"]["title"]["text"] == "Revenue per 1,000 queries (currency units)"
    bars = chart(at, "Which field moves what")["data"]
    strengths = {(one.field, one.metric): one.strength for one in sensitivity(exponents)}
    assert bars[0]["x"][bars[0]["y"].index("relevance")] == pytest.approx(
        strengths["fusion.relevance", "revenue_rpm"]
    )
    parallel = chart(at, "Every point as a line")["data"][0]
    labels = [axis["label"] for axis in parallel["dimensions"]]
    assert labels[:4] == ["relevance", "scorer", "Revenue", "Irrelevant share (%)"]
    assert [stop for stop, _ in parallel["line"]["colorscale"]] == [stop for stop, _ in SCALE]
    assert all(len(axis["values"]) == 8 for axis in parallel["dimensions"])


def test_best_points_keep_to_the_bound_and_say_when_there_is_none(
    page: AppTest, exponents: SweepResult
) -> None:
    at = choose(page, "exponents")
    at.number_input(key="sweep-bound").set_value(1.0).run()
    assert not at.exception
    table = next(found.value for found in at.dataframe if "Irrelevant share (%)" in found.value.columns)
    kept = exponents.points.filter(pl.col("irrelevant_share") <= 0.01)
    assert len(table) == len(kept) > 0
    assert table["Irrelevant share (%)"].max() <= 1.0
    best = kept.sort("revenue_rpm", descending=True).row(0, named=True)
    press(at, f"Open the best, point {best['point']}")
    assert f"Point {best['point']}: relevance" in texts(at)
    choose(page, "rules")
    page.number_input(key="sweep-bound").set_value(0.0).run()
    if not page.dataframe:
        assert "Raise the bound" in texts(page)


def test_an_opened_point_gives_its_exact_scenario(
    page: AppTest, exponents: SweepResult, tmp_path: Path, project: Path
) -> None:
    at = choose(page, "exponents")
    at.selectbox(key="sweep-point").set_value(5).run()
    assert not at.exception
    row = exponents.points.filter(pl.col("point") == 5).row(0, named=True)
    shown = {metric.label: metric.value for metric in at.metric}
    assert shown["Revenue per 1,000 queries"] == f"{row['revenue_rpm']:,.2f}"
    assert at.selectbox(key="sweep-seed").options == ["1", "2"]
    star = chart(at, "Revenue per 1,000 queries against")["data"][-1]
    assert star["name"] == "the opened point"

    one = exponents.replicates.filter((pl.col("point") == 5) & (pl.col("seed") == 2)).row(0, named=True)
    text = export.scenario_text(point_scenario(exponents, 5, 2), one, ("revenue_rpm", "irrelevant_share"))
    (tmp_path / "point.yaml").write_text(text)
    assert f"# revenue_rpm: {one['revenue_rpm']!r}" in text
    outcome = run_scenario(load_scenario(tmp_path / "point.yaml"), cache=project / "results")
    assert outcome.metrics["revenue_rpm"] == one["revenue_rpm"]
    assert outcome.metrics["irrelevant_share"] == one["irrelevant_share"]


def test_a_clicked_point_is_opened(page: AppTest) -> None:
    def click() -> None:  # AppTest knows no clicks on charts: this runs what a click calls
        from app.parts import sweep_point

        sweep_point.open_clicked()

    script = AppTest.from_function(click, default_timeout=PATIENCE_S)
    script.session_state["chart-sweep-front"] = {"selection": {"points": [{"customdata": {"0": "3"}}]}}
    script.run()
    assert not script.exception
    assert script.session_state["sweep-point"] == 3


def test_two_sweeps_stand_beside_one_another(page: AppTest) -> None:
    at = choose(page, "exponents")
    (other,) = at.selectbox(key="sweep-other").options
    at.selectbox(key="sweep-other").set_value(other).run()
    assert not at.exception
    names = [trace["name"] for trace in chart(at, "Two sweeps")["data"]]
    assert sum(name.startswith("front of rules") for name in names) == 1
    assert sum(name.startswith("front of exponents") for name in names) == 1
    assert "Best of rules" in texts(at)


def test_a_half_finished_sweep_goes_on_and_its_failures_are_told_and_run_again(
    page: AppTest, project: Path
) -> None:
    root = project / "results"
    at = page
    at.selectbox(key="sweep-file").set_value("broken.yaml").run()
    press(at, "Start")
    job = jobs.latest(root, "sweep")
    assert job is not None
    outcome = until_ended(job)
    assert outcome.state == "failed"
    assert "missing_module" in outcome.message
    at.run()
    assert not at.exception
    assert any("missing_module" in as_read(found.value) for found in at.error)
    (project / "missing_module.py").write_text(
        "import numpy as np\n\n\nclass Scorer:\n    def __init__(self, corpus): pass\n\n"
        "    def score(self, query, ad): return np.ones(len(query))\n"
    )
    press(at, "Continue it")
    job = jobs.latest(root, "sweep")
    assert job is not None
    assert until_ended(job).state == "done"
    at.run()
    assert "Finished: 2 of 2 simulations done" in texts(at)


def test_points_that_failed_are_listed_with_their_errors(page: AppTest, exponents: SweepResult) -> None:
    folder = exponents.folder
    status = json.loads((folder / "progress.json").read_text())
    (folder / "progress.json").write_text(json.dumps({**status, "done": 15, "failed": 1}))
    failure = {"key": "k", "point": 3, "seed": 2, "settings": {"scorer": "oracle"}, "error": "E: bad\n\nmore"}
    (folder / "failures").mkdir(exist_ok=True)
    (folder / "failures" / "k.json").write_text(json.dumps(failure))
    try:
        at = choose(page, "exponents")
        at.run()
        assert any(button.label == "Run what failed again" for button in at.button)
        table = next(found.value for found in at.dataframe if "Error" in found.value.columns)
        assert table.to_dict("records") == [
            {"Point": 3, "Seed": 2, "Settings": "scorer oracle", "Error": "E: bad"}
        ]
        press(at, "Run what failed again")
        job = jobs.latest(folder.parents[1], "sweep", folder.name)
        assert job is not None
        assert "--retry-failed" in job.command
        assert until_ended(job).state == "done"
        assert not list((folder / "failures").glob("*.json"))
    finally:
        (folder / "failures" / "k.json").unlink(missing_ok=True)


def test_the_estimate_counts_and_times(page: AppTest, project: Path) -> None:
    page.selectbox(key="sweep-file").set_value("rules.yaml").run()
    press(page, "Count its points and estimate the time")
    job = jobs.latest(project / "results", "estimate")
    assert job is not None
    assert until_ended(job).state == "done"
    page.run()
    assert not page.exception
    assert "2 points x 1 seed = 2 simulations, 2 of them done. About" in texts(page)
    page.radio(key="language").set_value("zh").run()
    assert not page.exception
    assert "2 个数据点 × 1 个随机种子 = 2 次模拟，其中 2 次已完成。" in texts(page)


def test_an_estimate_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    found = Estimate(points=800, seeds=2, done=3, worlds=2, models=("bm25", "hcmrm"), job_s=0.5)
    facts = {**asdict(found), "workers": 2, "left_s": found.left_s(2)}
    assert sweep_tables.estimate_text(facts) == (
        "800 points x 2 seeds = 1,600 simulations, 3 of them done. About 7 min with 2 processes at 0.5 s "
        "each, after scoring 2 worlds with BM25, HCMRM where that is not done yet."
    )
    assert "of them done" not in sweep_tables.estimate_text({**facts, "done": 0})
    monkeypatch.setattr(language, "current", lambda: "zh")
    assert "2 个进程、每次 0.5 秒，约需 7 分钟" in sweep_tables.estimate_text(facts)


def test_the_page_in_chinese(page: AppTest) -> None:
    at = choose(page, "exponents")
    at.radio(key="language").set_value("zh").run()
    at.selectbox(key="sweep-point").set_value(5).run()
    assert not at.exception
    assert at.title[0].value == "一次比较多种设置：哪些最好？"
    assert "运行完毕：已完成 16 / 16 次模拟" in texts(at)
    assert "目前有 8 / 8 个数据点，每点为 2 个随机种子的均值。场景 small，网格。" in texts(at)
    front = chart(at, "千次查询收入与不相关广告占比")
    assert {trace["name"] for trace in front["data"]} == {
        "帕累托前沿",
        "BM25",
        "真值（oracle）",
        "已打开的数据点",
    }
    table = next(found.value for found in at.dataframe if "位于前沿" in found.value.columns)
    assert set(table["scorer"]) <= {
        "BM25",
        "真值（oracle）",
    }  # named by the script, not by a thread of Polars
    latin = re.compile(r"\b(the|of|and|point|seed|sweep|it)\b", re.IGNORECASE)
    shown = [element.label for kind in (at.button, at.selectbox, at.metric, at.expander) for element in kind]
    shown += [found.value for kind in (at.caption, at.info) for found in kind]
    assert not [text for text in shown if "`" not in text and latin.search(text)]  # but for commands


def test_files_are_offered_from_the_package_and_the_project_alone(project: Path, tmp_path: Path) -> None:
    (tmp_path / "outside.yaml").write_text(EXPONENTS)
    (project / "link.yaml").symlink_to(tmp_path / "outside.yaml")
    found = files.offered(files.SWEEPS, project)
    (project / "link.yaml").unlink()
    own = [name for name in found if "shipped" not in name]
    assert own == ["broken.yaml", "exponents.yaml", "rules.yaml"]  # not the scenario, nor what lies outside
    assert {"exponent-threshold (shipped)", "retention (shipped)"} <= set(found)
    assert files.about(found["exponents.yaml"]) == (
        "Exponents of relevance by two scorers. A second line of the same paragraph."
    )
    assert set(files.offered(files.EXPERIMENTS, project)) == {
        "exponent (shipped)",
        "gate (shipped)",
        "headline (shipped)",
        "headline-additions (shipped)",
        "headline-additions-gain (shipped)",
        "headline-additions-hidden (shipped)",
        "headline-additions-linear (shipped)",
        "headline-gain (shipped)",
        "headline-gate (shipped)",
        "interference (shipped)",
        "searched (shipped)",
    }


def test_what_a_file_indents_stays_in_lines(tmp_path: Path) -> None:
    path = tmp_path / "own.yaml"
    path.write_text("# One sentence\n# in two lines.\n#   A: this\n#   B: that\n# And more.\nschema: 1\n")
    assert files.about(path) == "One sentence in two lines.\n\n    A: this\n    B: that\n\nAnd more."


def test_shipped_files_are_described_in_both_languages() -> None:
    for kind in (files.SWEEPS, files.EXPERIMENTS):
        for name, path in files.offered(kind, Path("/nowhere")).items():
            assert files.about_key(path) in catalogue("en"), name


def test_a_sweep_whose_folder_was_deleted_is_not_offered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RELBID_RESULTS", str(tmp_path))
    job = tmp_path / ".jobs" / "20260101-000000-aaaaaa"
    job.mkdir(parents=True)
    own = {"kind": "sweep", "subject": "gone-1", "command": ["relbid", "sweep", "x.yaml"], "pid": 2**22 + 1}
    (job / "job.json").write_text(json.dumps({**own, "started": 0.0}))
    (job / "progress.json").write_text(json.dumps({"state": "done", "stage": "", "started": 0.0}))
    assert [one.subject for one in jobs.all_jobs(tmp_path)] == ["gone-1"]
    assert sweeps_page._folders() == {}


def test_without_a_sweep_the_page_says_how_to_start_one(
    results: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RELBID_RESULTS", str(results))
    at = AppTest.from_file(MAIN, default_timeout=PATIENCE_S).run()
    at.switch_page("views/sweeps_page.py").run()
    assert not at.exception
    assert "No sweep has been run yet" in at.info[0].value
    assert any(button.label == "Start" for button in at.button)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.1 + 0.2, "0.3"),
        ("hcmrm", "HCMRM"),
        ('{"rule": "soft_gate", "threshold": 0.3, "floor": 0.2}', "soft gate, threshold 0.3, floor 0.2"),
        ("[1.0, 0.7]", "1, 0.7"),
        ("true", "true"),
        ("my_rules:Bonus", "my_rules:Bonus"),
    ],
)
def test_values_of_fields_in_words(value: object, text: str) -> None:
    assert sweep_tables.value_text(value) == text


def test_states_in_words() -> None:
    status = Status("stopped", 10, 4, 1, 0, 2, 1, 0.0, 60.0)
    assert sweep_tables.state_text(status, running=False) == (
        "Half-finished: 4 of 10 simulations done, 1 failed."
    )
    assert sweep_tables.state_text(None, running=False) == "Nothing of it has been run yet."


def test_the_opened_point_is_drawn_and_infeasible_ones_are_hollow(project: Path) -> None:
    rules = read_sweep(sweep_folder(project / "results", load_sweep(project / "rules.yaml")))
    figure = figures.sweep_front(rules, opened=int(rules.points["point"][0]), bound=0.05)
    markers = next(trace for trace in figure.data if trace.name == "points").marker
    hollow = [str(symbol).endswith("-open") for symbol in markers.symbol]
    assert hollow == [not feasible for feasible in rules.points["feasible"]]
    assert read_status(rules.folder) is not None
    assert figure.data[-1].name == "the opened point"


def test_a_search_is_shown_with_all_its_objectives_and_begins_with_its_own_bound(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "small.yaml").write_text(SCENARIO)
    (tmp_path / "hunt.yaml").write_text(HUNT)
    folder = run_sweep(load_sweep(tmp_path / "hunt.yaml"), tmp_path / "results", workers=1)
    found = read_sweep(folder)
    monkeypatch.setenv("RELBID_RESULTS", str(tmp_path / "results"))
    monkeypatch.chdir(tmp_path)
    at = AppTest.from_file(MAIN, default_timeout=PATIENCE_S).run()
    at.switch_page("views/sweeps_page.py").run()
    assert not at.exception
    assert f"{len(found.points)} of {len(found.points)} points so far" in texts(at)
    assert at.number_input(key="sweep-bound").value == 40.0
    assert "constraints, too: irrelevant_share <= 0.4 and fill >= 0.01" in texts(at)
    assert "better in one of" in texts(at)
    front = chart(at, "Revenue per 1,000 queries against irrelevant share")
    assert "Pareto front" not in {
        trace["name"] for trace in front["data"]
    }  # no line: it has three objectives
    table = next(frame.value for frame in at.dataframe if "Irrelevant share (%)" in frame.value.columns)
    assert any(name.startswith("User utility") for name in table.columns)
    labels = [axis["label"] for axis in chart(at, "Every point as a line")["data"][0]["dimensions"]]
    assert any(label.startswith("User utility") for label in labels)
    # Without a bound of the reader's, the sweep's own constraints decide.
    at.number_input(key="sweep-bound").set_value(None).run()
    assert not at.exception
    at.selectbox(key="sweep-point").set_value(int(found.points["point"][0])).run()
    assert not at.exception
    assert any(metric.label.startswith("User utility") for metric in at.metric)

    # Stopped after its first generation, it has more to come than it has asked for.
    status = json.loads((folder / "progress.json").read_text())
    (folder / "progress.json").write_text(json.dumps({**status, "state": "stopped", "total": 8, "done": 4}))
    asked = json.loads((folder / "asked.json").read_text())
    (folder / "asked.json").write_text(json.dumps(asked[:1]))
    found.replicates.filter(pl.col("point") < 4).write_parquet(folder / "points.parquet")
    at.run()
    assert not at.exception
    assert "4 of 8 points so far" in texts(at)
