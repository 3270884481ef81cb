"""Sweep files and their points, what is simulated, kept and repeated, and what a finished sweep says."""

import html
import importlib
import json
import linecache
import math
import re
import shutil
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import yaml
from hypothesis import given, strategies as st
from scipy.stats import spearmanr

from scenarios import (
    ScenarioError,
    StoreError,
    dump_scenario,
    list_sweeps,
    load_scenario,
    load_sweep,
    point_scenario,
    prepare,
    read_sweep,
    relevance_of,
    run_sweep,
    simulate,
    sweep_points,
)
from scenarios.markets.plug_ins import code_of
from scenarios.reporting.sweep_report import report_html
from scenarios.reporting.sweep_tables import sweep_tables
from scenarios.reporting.words import estimate_text
from scenarios.runs.points import pareto_front
from scenarios.storage.whole import alone
from scenarios.studies import pool, replicates
from scenarios.studies.replicates import (
    Job,
    ReplicateWorker,
    share_world,
    simulate_job,
)
from scenarios.studies.study import Task, read_status
from scenarios.studies.sweeps import axes as sweep_axes
from scenarios.studies.sweeps.analysis import behind, best_points, rank_correlation, rank_ratio, sensitivity
from scenarios.studies.sweeps.folder import field_values, sweep_folder
from scenarios.studies.sweeps.sweep import dump_sweep, samples, simulations
from scenarios.studies.sweeps.sweep_run import estimate
from tests.scenarios.pages import markers_in

SHIPPED = sorted((Path(__file__).parents[2] / "scenarios" / "sweeps").glob("*.yaml"))
BASE = """\
schema: 1
name: small
world: {test_advertisers: 36, ads_per_advertiser: 4, query_pool: 3000}
traffic: {n_queries: 300}
retrieval: {candidates: 12}
scorer: oracle
"""
HEAD = "schema: 1\nname: s\nscenario: small.yaml\n"
SMALL = HEAD + "over: {fusion.relevance: [0.5, 2], scorer: [none, oracle]}\nseeds: 2\n"


def write(folder: Path, text: str) -> Path:
    (folder / "small.yaml").write_text(BASE)
    path = folder / "s.yaml"
    path.write_text(text)
    return path


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """A finished sweep: (sweep, results folder, sweep's folder)."""
    root = tmp_path_factory.mktemp("sweep")
    sweep = load_sweep(write(root, SMALL))
    return sweep, root / "results", run_sweep(sweep, root / "results", workers=2)


# Files


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_shipped_sweeps_are_valid(path):
    sweep = load_sweep(path)
    assert sweep.name == path.stem
    scenarios = {point.scenario.model_dump_json() for point in sweep.points}
    assert len(scenarios) == len(sweep.points), "points differ"
    assert simulations(sweep) >= 16
    assert len(samples(sweep)) >= 8


def test_a_grid_has_every_combination(tmp_path):
    text = "over:\n  fusion.relevance: {from: 0, to: 0.3, step: 0.1}\n  scorer: [bm25, oracle]\n"
    text += "  auction.reserve: {from: 0.1, to: 1.6, count: 3, log: true}\n"
    points = sweep_points(load_sweep(write(tmp_path, HEAD + text)))
    assert len(points) == 4 * 2 * 3
    assert {p["fusion.relevance"] for p, _ in points} == {0.0, 0.1, 0.2, 0.3}
    assert {p["auction.reserve"] for p, _ in points} == {0.1, 0.4, 1.6}
    for settings, scenario in points:
        assert scenario.scorer == settings["scorer"]
        assert scenario.fusion.relevance == settings["fusion.relevance"]
        assert scenario.auction.reserve == settings["auction.reserve"]


def test_the_rule_is_set_before_its_settings(tmp_path):
    text = "over: {fusion.threshold: [0.1, 0.2], fusion.rule: [gate, soft_gate]}\n"
    points = sweep_points(load_sweep(write(tmp_path, HEAD + text)))
    assert [(s.fusion.rule, s.fusion.threshold) for _, s in points] == [
        ("gate", 0.1), ("soft_gate", 0.1), ("gate", 0.2), ("soft_gate", 0.2),
    ]  # fmt: skip


def test_whole_blocks_and_lists_are_values(tmp_path):
    text = "over:\n  fusion: [{rule: linear, cost: 0.7}, {rule: tiers}]\n"
    text += "  users.examination: [[1.0], [1.0, 0.5]]\n"
    sweep = load_sweep(write(tmp_path, HEAD + text))
    assert [s.fusion.rule for _, s in sweep_points(sweep)] == ["linear", "linear", "tiers", "tiers"]
    assert [len(s.users.examination) for _, s in sweep_points(sweep)] == [1, 2, 1, 2]
    assert field_values(sweep)["users.examination"] == ["[1.0]", "[1.0, 0.5]"] * 2


@pytest.mark.parametrize("method", ["latin_hypercube", "sobol"])
def test_drawn_points_fill_the_box_evenly(tmp_path, method):
    text = (
        f"method: {method}\npoints: 16\nover:\n  fusion.relevance: {{uniform: [1, 3]}}\n"
        "  auction.reserve: {loguniform: [0.01, 1]}\n  serving.servers: {uniform: [1, 4], whole: true}\n"
    )
    path = write(tmp_path, HEAD + text)
    points = [settings for settings, _ in sweep_points(load_sweep(path))]
    assert points == [settings for settings, _ in sweep_points(load_sweep(path))], "the same draw every time"
    assert len(points) == 16
    # Both designs have exactly one point in every sixteenth of each axis.
    relevance = np.array([point["fusion.relevance"] for point in points])
    assert sorted(np.floor((relevance - 1) * 8).astype(int)) == list(range(16))
    reserve = np.log(np.array([point["auction.reserve"] for point in points])) / math.log(100) + 1
    assert sorted(np.floor(reserve * 16).astype(int)) == list(range(16))
    servers = [point["serving.servers"] for point in points]
    assert {kind: servers.count(kind) for kind in set(servers)} == {1: 4, 2: 4, 3: 4, 4: 4}


@given(st.integers(0, 1000), st.integers(1, 60), st.integers(1, 50))
def test_ranges_end_where_they_say(low, n, denominator):
    step = 1 / denominator
    found = sweep_axes.steps(low / denominator, (low + n) / denominator, step)
    assert len(found) == n + 1
    assert found[-1] == pytest.approx((low + n) / denominator)


def test_constraints_on_fields_leave_points_out(tmp_path):
    text = "over: {fusion.relevance: [1, 2, 3]}\nconstraints: [{field: fusion.relevance, at_most: 2}]\n"
    assert [p["fusion.relevance"] for p, _ in sweep_points(load_sweep(write(tmp_path, HEAD + text)))] == [
        1,
        2,
    ]


def test_a_written_sweep_reads_back(tmp_path):
    for path in SHIPPED:
        sweep = load_sweep(path)

        (tmp_path / "scenario.yaml").write_text(dump_scenario(sweep.scenario))
        (tmp_path / "sweep.yaml").write_text(dump_sweep(sweep))
        again = load_sweep(tmp_path / "sweep.yaml")
        assert again.points == sweep.points
        assert sweep_folder(tmp_path, again) == sweep_folder(tmp_path, sweep), "the same folder"


MESSAGES = {
    "a ratio that is no number": (
        "over: {fusion.relevance: {from: 1.0e-300, to: 1.0e+12, count: 3, log: true}}\n",
        "over.fusion.relevance: has ends that lie too far apart for their ratio to be a number",
    ),
    "unknown key": ("ovr: {}\n", "s.yaml, line 4, ovr: unknown key; did you mean 'over'?"),
    "unknown field": (
        "over:\n  fusion.relevnace: [1]\n",
        "s.yaml, line 5, over.fusion.relevnace: at the point fusion.relevnace=1: fusion.relevnace=1: unknown "
        "key; did you mean 'relevance'?",
    ),
    "value out of range": (
        "over:\n  scorer: [oracle]\n  fusion.relevance: [1, -1]\n",
        "s.yaml, line 6, over.fusion.relevance: at the point scorer=oracle, fusion.relevance=-1: "
        "fusion.relevance=-1: must be at least 0, got the value -1",
    ),
    "seed as a field": (
        "over: {seed: [1, 2]}\n",
        "s.yaml, line 4, over.seed: cannot be swept; 'seeds' says which there are",
    ),
    "a range of other keys": (
        "over: {fusion.relevance: {start: 1, to: 2, step: 1}}\n",
        "s.yaml, line 4, over.fusion.relevance.start: unknown key; there are choice, from, to, "
        "step, count, log, "
        "uniform, loguniform, whole",
    ),
    "blocks in each other": (
        "over: {auction: {reserve: [0, 1]}}\n",
        "s.yaml, line 4, over.auction: needs the field's whole name as one key: with a dot before 'reserve'",
    ),
    "a scenario": (
        "auction: {reserve: 1}\n",
        "s.yaml: is a scenario, not a sweep; relbid run takes it",
    ),
    "a number as a bound": (
        "over: {fusion.relevance: [1]}\nconstraints: [5]\n",
        "s.yaml, line 5, constraints[0]: needs NAME <= NUMBER or NAME >= NUMBER, for instance "
        "irrelevant_share <= 0.02, got the value 5",
    ),
    "no values": ("over: {fusion.relevance: []}\n", "needs at least 1 value(s)"),
    "a plain number": ("over: {fusion.relevance: 2}\n", "needs a list of values, or a block such as"),
    "half a range": ("over: {fusion.relevance: {from: 1, to: 2}}\n", "needs a list, {from, to, step}"),
    "a falling range": (
        "over: {fusion.relevance: {from: 2, to: 1, step: 1}}\n",
        "must rise from the first number to the second",
    ),
    "whole numbers of a list": (
        "over: {fusion.relevance: {choice: [0.5, 0.7], whole: true}}\n",
        "over.fusion.relevance.whole: a list holds the numbers that it holds; leave whole out",
    ),
    "a block and a field of it": (
        "over: {auction: [{reserve: 0.1}, {reserve: 0.5}], auction.reserve: [0.2, 0.3]}\n",
        "s.yaml, line 4, over: auction.reserve is set by values of auction, too; remove one of them",
    ),
    "a seed beside seeds": (
        "over: {fusion.relevance: [1]}\nseeds: 2\ncommon: {seed: 9}\n",
        "s.yaml, line 6, common.seed: has no effect here: 'seeds' says which there are; leave it out",
    ),
    "bounds that nothing keeps": (
        "over: {fusion.relevance: [1]}\nconstraints: [fill >= 0.9, fill <= 0.1]\n",
        "s.yaml, line 5, constraints: fill >= 0.9 and fill <= 0.1: nothing keeps to both",
    ),
    "a per cent of money": (
        "over: {fusion.relevance: [1]}\nconstraints: [revenue_rpm >= 5%]\n",
        "s.yaml, line 5, constraints[0]: revenue_rpm is no share, so it has no per cent of anything",
    ),
    "no whole number": (
        "over: {traffic.n_queries: {uniform: [10.2, 10.8], whole: true}}\nmethod: sobol\npoints: 2\n",
        "over.traffic.n_queries.whole: there is no whole number from 10.2 to 10.8",
    ),
    "a logarithm that is none": (
        "over: {auction.reserve: {from: 1, to: 2, count: 3, log: false}}\n",
        "over.auction.reserve.log: must be true, got the value false",
    ),
    "a field that is set twice": (
        "over: {auction.reserve: [1]}\ncommon: {traffic.days: 1, traffic: {days: 2}}\n",
        "s.yaml, line 5, common: sets traffic.days twice, with dots and as a block; remove one",
    ),
    "a logarithm of 0": (
        "over: {fusion.relevance: {from: 0, to: 1, count: 3, log: true}}\n",
        "needs numbers above 0, since it takes their logarithm",
    ),
    "a distribution in a grid": (
        "over: {fusion.relevance: {uniform: [1, 2]}}\n",
        "fusion.relevance is a distribution, of which a grid has no list",
    ),
    "points of a grid": (
        "over: {fusion.relevance: [1]}\npoints: 3\n",
        "s.yaml, line 5, points: a grid has all its points; leave it out, or take another method",
    ),
    "no points": (
        "over: {fusion.relevance: [1]}\nmethod: sobol\n",
        "is missing: how many points sobol draws",
    ),
    "an uneven sobol": (
        "over: {fusion.relevance: [1]}\nmethod: sobol\npoints: 100\n",
        "s.yaml, line 6, points: a sobol design needs a power of 2, for instance 128",
    ),
    "too many points": (
        "over:\n  fusion.relevance: {from: 0, to: 1, step: 0.001}\n"
        "  auction.reserve: {from: 0, to: 1, step: 0.001}\n",
        "the grid has 1,002,001 points, at most 100,000",
    ),
    "a constraint on what is not swept": (
        "over: {fusion.relevance: [1]}\nconstraints: [{field: fusion.relevanc, at_most: 1}]\n",
        "s.yaml, line 5, constraints[0].field: 'fusion.relevanc' is not swept; did you mean "
        "'fusion.relevance'?",
    ),
    "a constraint on no metric": (
        "over: {fusion.relevance: [1]}\nconstraints: [{metric: revenu_rpm, at_least: 1}]\n",
        "s.yaml, line 5, constraints[0].metric: unknown metric 'revenu_rpm'; did you mean 'revenue_rpm'?",
    ),
    "an objective that there is not": (
        "over: {fusion.relevance: [1]}\nminimise: irrelevant_shares\n",
        "s.yaml, line 5, minimise: unknown metric 'irrelevant_shares'; did you mean 'irrelevant_share'?",
    ),
    "a constraint without a bound": (
        "over: {fusion.relevance: [1]}\nconstraints: [{metric: revenue_rpm}]\n",
        "needs at_most, at_least or both",
    ),
    "no point left": (
        "over: {fusion.relevance: [1]}\nconstraints: [{field: fusion.relevance, at_least: 3}]\n",
        "s.yaml, line 5, constraints: no point keeps to them; loosen a bound",
    ),
    "rules of different settings": (
        "over: {fusion.rule: [gate, product], fusion.threshold: [0.2]}\n",
        "where the rules take different settings, list whole blocks under 'fusion'",
    ),
    "one metric as both objectives": (
        "over: {fusion.relevance: [1]}\nmaximise: irrelevant_share\n",
        "s.yaml, minimise: irrelevant_share cannot be minimised and maximised; name another",
    ),
    "more simulations than a study can have": (
        "over: {fusion.relevance: {from: 1, to: 20, step: 1}}\nseeds: 100000\n",
        "s.yaml, line 5, seeds: 20 points x 100,000 seeds is 2,000,000 simulations, at most 1,000,000",
    ),
    "no seed": (
        "over: {fusion.relevance: [1]}\nseeds: 0\n",
        "s.yaml, line 5, seeds: must be from 1 to 100000",
    ),
}


@pytest.mark.parametrize("case", MESSAGES)
def test_what_is_wrong_with_a_file_is_said(tmp_path, case):
    text, message = MESSAGES[case]
    with pytest.raises(ScenarioError) as caught:
        load_sweep(write(tmp_path, HEAD + text))
    assert message in str(caught.value).replace(f"{tmp_path}/", "")


# Runs


def test_a_sweep_that_could_not_begin_says_which_files_are_at_fault_and_leaves_no_folder(tmp_path):
    sweep = load_sweep(write(tmp_path, HEAD + "over: {serving.scoring: [live]}\n"))
    with pytest.raises(
        ScenarioError, match=r"s\.yaml \(scenario .*\), serving\.scoring: this needs the relevance"
    ):
        run_sweep(sweep, tmp_path / "results", engine="here")
    assert not list((tmp_path / "results").glob("sweeps/[!.]*"))


def test_a_point_has_the_metrics_of_its_scenario(ran):
    sweep, out, folder = ran
    result = read_sweep(folder)
    assert list(result.replicates.select("point", "seed").iter_rows()) == [
        (point, seed) for point in range(4) for seed in (1, 2)
    ]
    for row in result.replicates.iter_rows(named=True):
        scenario = sweep.points[row["point"]].scenario.model_copy(update={"seed": row["seed"]})
        prepared = prepare(scenario, cache=out)
        metrics = simulate(prepared, relevance_of(prepared, scenario.scorer)).metrics
        assert metrics == pytest.approx({name: row[name] for name in metrics}, rel=0, abs=0, nan_ok=True)
        assert row["revenue_rpm"] == pytest.approx(1000 * metrics["revenue"] / metrics["queries"])


def test_the_number_of_processes_does_not_change_a_byte(ran, tmp_path):
    sweep, _, folder = ran
    alone = run_sweep(sweep, tmp_path, workers=1)
    assert alone.name == folder.name
    for name in ("points.parquet", "sweep.yaml", "scenario.yaml"):
        assert (alone / name).read_bytes() == (folder / name).read_bytes()


def test_points_are_means_over_seeds(ran):
    result = read_sweep(ran[2])
    for row in result.points.iter_rows(named=True):
        of = result.replicates.filter(pl.col("point") == row["point"])["revenue_rpm"].to_numpy()
        assert row["revenue_rpm"] == pytest.approx(of.mean())
        assert row["revenue_rpm_se"] == pytest.approx(of.std(ddof=1) / math.sqrt(2))
        assert row["seeds"] == 2
    front = pareto_front(
        result.points["revenue_rpm"].to_numpy(), result.points["irrelevant_share"].to_numpy()
    )
    assert result.points["pareto"].to_list() == list(front)
    assert list_sweeps(ran[1]) == [ran[2]]


def test_what_is_there_is_not_done_again(ran, monkeypatch):
    sweep, out, folder = ran
    before = (folder / "points.parquet").read_bytes()
    tasks = []
    monkeypatch.setattr(
        pool, "work_through", lambda work, batches, workers: iter(tasks.extend(*batches) or ())
    )
    run_sweep(sweep, out)
    status = read_status(folder)
    assert (tasks, status.state, status.done, status.reused) == ([], "done", 8, 8)
    assert (folder / "points.parquet").read_bytes() == before

    # A larger sweep over the same scenario simulates only what is new, whatever its folder.
    text = SMALL.replace("[0.5, 2]", "[0.5, 1, 2]").replace("name: s", "name: larger")
    wider = load_sweep(write(out.parent, text))
    run_sweep(wider, out)
    assert len(tasks) == 4, "the others are those of the smaller sweep"
    assert {note.scenarios for note in (task.data for task in tasks)} == {(2,), (3,)}
    # One that is damaged, for instance by a crash of the machine, is done again.
    tasks.clear()
    damaged = next((out / ".cache" / "replicates").glob("*.json"))
    text = damaged.read_text()
    damaged.write_text(text[:40])
    run_sweep(sweep, out)
    damaged.write_text(text)
    assert [task.key for task in tasks] == [damaged.stem]
    run_sweep(sweep, out)
    assert (folder / "points.parquet").read_bytes() == before


def test_a_point_whose_process_died_before_it_could_say_so_is_not_done_again(prepared, tmp_path):
    # What a killed process leaves may be a whole result of which the command knows nothing.
    kept = tmp_path / "key.json"
    task = Task("key", kept, Job("full", 1, (0,)), (tmp_path / "removed", tmp_path / "removed"))
    kept.write_text('[{"revenue": 1.0}]')
    ReplicateWorker()(task)
    assert kept.read_text() == '[{"revenue": 1.0}]'
    kept.write_text('[{"revenue')
    with pytest.raises(FileNotFoundError):  # it is simulated again, and misses what points share
        ReplicateWorker()(task)


def test_all_code_that_simulates_a_market_decides_its_key(prepared):
    run, folder = set(), Path(replicates.__file__).parents[1]
    shared = share_world([prepared.scenario])

    def note(frame, *_):
        file = Path(frame.f_code.co_filename)
        if file.is_relative_to(folder):
            run.add(str(file.relative_to(folder)))

    sys.setprofile(note)
    try:
        for kind in ("full", "simulated"):
            simulate_job(Job(kind, 1, (prepared.scenario,)), shared)
    finally:
        sys.setprofile(None)
    hashed = tuple(name.removeprefix("scenarios.") for name in replicates.MARKET_CODE)
    assert {"markets/simulation.py", "config/fusion_rules.py", "studies/designs.py"} <= run
    assert all(file.startswith(hashed) for file in run)


def test_other_code_of_ones_own_is_another_point(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))
    rule = "from simulator.fusion import Product\n\n\ndef make():\n    return Product(relevance={})\n"
    (tmp_path / "own_rule_of_a_sweep.py").write_text(rule.format(1.0))
    text = HEAD + "over:\n  fusion: [{rule: custom, object: 'own_rule_of_a_sweep:make'}]\n"

    load_sweep(write(tmp_path, text))
    first = code_of("own_rule_of_a_sweep:make")

    (tmp_path / "own_rule_of_a_sweep.py").write_text(rule.format("1.0 + 1.0"))

    linecache.clearcache()
    importlib.invalidate_caches()
    del sys.modules["own_rule_of_a_sweep"]
    assert code_of("own_rule_of_a_sweep:make") != first


def test_failures_are_kept_and_retried_on_request(tmp_path, monkeypatch):
    (tmp_path / "moody_rule.py").write_text(
        "from pathlib import Path\nfrom simulator.fusion import Product\n\n\n"
        "def make(exponent):\n"
        f"    if exponent == 2 and not Path({str(tmp_path / 'mended')!r}).exists():\n"
        "        raise RuntimeError('a bad day')\n"
        "    return Product(relevance=exponent)\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    text = "over:\n  fusion:\n" + "".join(
        f"    - {{rule: custom, object: 'moody_rule:make', settings: {{exponent: {n}}}}}\n" for n in (1, 2)
    )
    sweep = load_sweep(write(tmp_path, HEAD + text + "seeds: 2\n"))
    folder = run_sweep(sweep, tmp_path / "results", workers=2)
    result = read_sweep(folder)
    assert result.replicates["point"].to_list() == [0, 0]
    assert [(one["point"], one["seed"]) for one in sorted(result.failures, key=lambda one: one["seed"])] == [
        (1, 1), (1, 2),
    ]  # fmt: skip
    assert all("a bad day" in one["error"] for one in result.failures)
    status = read_status(folder)
    assert (status.state, status.done, status.failed, status.total) == ("done", 2, 2, 4)

    (tmp_path / "mended").touch()
    run_sweep(sweep, tmp_path / "results", workers=1)
    assert read_status(folder).failed == 2, "not without being asked"
    run_sweep(sweep, tmp_path / "results", workers=1, retry_failed=True)
    assert (read_status(folder).done, read_status(folder).failed) == (4, 0)
    assert read_sweep(folder).failures == ()


def test_a_second_command_keeps_out(ran):

    words = r"another relbid sweep \(process \d+\) is at work on it; wait for it, stop it, or choose"
    with alone(ran[2], "sweep"), pytest.raises(StoreError, match=words):
        run_sweep(ran[0], ran[1])


def test_a_folder_that_is_none(tmp_path):
    with pytest.raises(StoreError, match="not a sweep's folder"):
        read_sweep(tmp_path)


def test_a_table_of_other_points_than_the_sweeps_is_refused(ran, tmp_path):
    folder = Path(shutil.copytree(ran[2], tmp_path / "copy"))
    table, sweep = pl.read_parquet(folder / "points.parquet"), read_sweep(folder).sweep
    assert read_sweep(folder).replicates.equals(table)
    field = next(name for name in sweep.fields if table.schema[name] == pl.Float64)
    gain = sweep.file.maximise
    changes = {
        r"row 1: has a point \d+, and the sweep has 4": pl.col("point") + 4,
        r"row 1: has a seed \d+, which is none of the sweep's": pl.col("seed") + 50,
        rf"row 1: {field} is [\d.]+, and [\d.]+ at point 0 of the sweep; .* run the sweep again": pl.col(
            field
        )
        + 7,
        f"column '{field}' needs numbers": pl.when(pl.col("point") > 0).then(field),
        f"column '{gain}' needs numbers": pl.col(gain) / 0,
        f"has a column '{gain}_se', which is made of the others": pl.lit(1.0).alias(f"{gain}_se"),
    }
    for message, change in changes.items():
        table.with_columns(change).write_parquet(folder / "points.parquet")
        with pytest.raises(StoreError, match=message):
            read_sweep(folder)


def test_what_is_swept_cannot_be_set_for_all_points(tmp_path):
    path = write(tmp_path, SMALL)
    with pytest.raises(
        ScenarioError, match=r"--set fusion.relevance=3: is swept, so it has no effect; leave it out"
    ):
        load_sweep(path, ["fusion.relevance=3"])


def test_an_estimate_counts_without_running(tmp_path):
    sweep = load_sweep(write(tmp_path, SMALL))
    found = estimate(sweep, tmp_path / "results", clock=iter([10.0, 14.0]).__next__)
    assert (found.points, found.jobs, found.done, found.worlds, found.job_s) == (4, 8, 0, 1, 2.0)
    assert found.left_s(2) == 8.0
    assert not sweep_folder(tmp_path / "results", sweep).exists()
    text = estimate_text(found, 2)
    assert "4 points x 2 seeds = 8 simulations" in text
    assert "About 8 s with 2 processes" in text


# What it says


def test_rank_correlation_is_spearmans():
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=40), rng.normal(size=40)
    assert rank_correlation(x, y) == pytest.approx(spearmanr(x, y).statistic)
    assert rank_correlation(x, np.exp(x)) == pytest.approx(1.0)
    assert math.isnan(rank_correlation(x, np.ones(40)))


def test_correlation_ratio_of_groups():
    groups = np.array(["a", "a", "b", "b"])
    assert rank_ratio(groups, np.array([1.0, 2.0, 3.0, 4.0])) == pytest.approx(math.sqrt(4 / 5))
    assert rank_ratio(groups, np.array([1.0, 4.0, 2.0, 3.0])) == pytest.approx(0.0)
    assert rank_ratio(groups, np.array([1.0, 1.0, 9.0, 9.0])) == pytest.approx(1.0)
    assert math.isnan(rank_ratio(np.array(["a"] * 4), np.arange(4.0)))


def test_sensitivity_names_what_matters(ran):
    found = {(one.field, one.metric): one for one in sensitivity(read_sweep(ran[2]))}
    assert found["scorer", "irrelevant_share"].strength > 0.8, "the oracle shows fewer irrelevant ads"
    assert not found["scorer", "revenue_rpm"].ordered
    assert found["fusion.relevance", "revenue_rpm"].ordered


def test_best_points_keep_to_the_bound(ran):
    result = read_sweep(ran[2])
    bound = float(result.points["irrelevant_share"].median())
    best = best_points(result, bound)
    assert (best["irrelevant_share"] <= bound).all()
    assert best["revenue_rpm"].is_sorted(descending=True)
    kept = result.points.filter(pl.col("irrelevant_share") <= bound)
    assert best["revenue_rpm"][0] == kept["revenue_rpm"].max()


def test_what_is_no_point_or_metric_is_named(ran):
    result = read_sweep(ran[2])
    for make, words in (
        (lambda: point_scenario(result, 99), "index must be from 0"),
        (lambda: best_points(result, n=0), "n must be from 1"),
        (lambda: best_points(result, 2.0), "max_irrelevant must be from 0 to 1"),
        (lambda: behind(result, 0, "nope"), "metric must be a column of the points, got nope"),
    ):
        with pytest.raises((ValueError, TypeError), match=words):
            make()


def test_points_are_held_against_the_best_day_by_day(ran):
    result = read_sweep(ran[2])
    best = best_points(result)["point"][0]
    rows = {row["point"]: row for row in behind(result, best, "revenue_rpm").iter_rows(named=True)}
    assert (rows[best]["difference"], rows[best]["se"]) == (0.0, 0.0)
    days = result.replicates.sort("seed").group_by("point", maintain_order=True).agg("revenue_rpm")
    by_point = dict(days.iter_rows())
    other = next(point for point in rows if point != best)
    paired = np.subtract(by_point[other], by_point[best])
    assert rows[other]["difference"] == pytest.approx(paired.mean())
    assert rows[other]["se"] == pytest.approx(paired.std(ddof=1) / len(paired) ** 0.5)


def test_the_report_stands_alone_and_holds_exact_scenarios(ran, tmp_path):
    result = read_sweep(ran[2])
    page = report_html(result, max_irrelevant=1.0)
    markup = re.sub(r"<script.*?</script>", "", page, flags=re.S)
    assert not re.search(r'(src|href)="(?!#)', markup), "nothing is fetched"
    assert not re.search(r"<script[^>]*src", page)
    assert "plotly.js v" in page, "the script that draws is in the page"
    assert sorted(int(number) for number, _ in markers_in(page)) == result.points["point"].to_list()

    texts = [html.unescape(text) for text in re.findall(r"<pre>(.*?)</pre>", page, re.S)]
    assert len(texts) == len(result.points)
    file = tmp_path / "scenario.yaml"
    for text in texts:
        file.write_text(text)
        scenario = load_scenario(file)
        index = int(yaml.safe_load(text)["name"].rpartition("-")[2])
        assert scenario == point_scenario(result, index)
        row = result.replicates.filter(point=index, seed=scenario.seed).row(0, named=True)
        prepared = prepare(scenario, cache=ran[1])
        assert (
            simulate(prepared, relevance_of(prepared, scenario.scorer)).metrics["revenue"] == row["revenue"]
        )


def test_tables_hold_the_front(ran):
    front, strengths = sweep_tables(read_sweep(ran[2]))
    assert front.table.row_count == read_sweep(ran[2]).points["pareto"].sum()
    assert strengths.table.row_count == 2


def test_metric_constraints_mark_points(ran, tmp_path):
    _, out, _ = ran
    text = SMALL + "constraints: [{metric: irrelevant_share, at_most: 0.02}]\nmaximise: welfare\n"
    sweep = load_sweep(write(tmp_path, text))
    points = read_sweep(run_sweep(sweep, out)).points
    kept = points.filter("feasible")
    front = pareto_front(kept["welfare"].to_numpy(), kept["irrelevant_share"].to_numpy())
    assert kept["pareto"].to_list() == list(front)
    assert points["feasible"].to_list() == [share <= 0.02 for share in points["irrelevant_share"]]
    assert not points.filter(~pl.col("feasible"))["pareto"].any()


def test_progress_is_json_that_pollers_read(ran):
    data = json.loads((ran[2] / "progress.json").read_text())
    assert {"state", "done", "failed", "total", "started", "rate_per_s", "left_s", "pid"} <= set(data)
    assert data["total"] == data["done"] == 8


def test_points_of_one_scenario_are_simulated_once_and_counted_once(tmp_path):
    sweep = load_sweep(write(tmp_path, HEAD + "over: {fusion.relevance: [1, 1.0, 0]}\n"))
    folder = run_sweep(sweep, tmp_path / "results", workers=1)
    status = read_status(folder)
    assert (status.state, status.done, status.total) == ("done", 2, 2)
    rows = read_sweep(folder).replicates
    assert rows["point"].to_list() == [0, 1, 2]
    assert rows["revenue"][0] == rows["revenue"][1] != rows["revenue"][2]
