"""The command `relbid`, run as a user runs it."""

import functools
import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import polars as pl
import pytest
import yaml

from relevance.plug_in import WAITING
from scenarios import DEFAULT_SCENARIO, ScenarioError, load_scenario, prepare
from scenarios.cli.__main__ import run
from scenarios.cli.main import _message, _watch_threads, main, thread_failed

REPOSITORY = Path(__file__).parents[2]


def relbid(*arguments: object, cwd: Path, width: int = 200) -> subprocess.CompletedProcess[str]:
    environment = {
        **os.environ,
        "PYTHONPATH": str(REPOSITORY),
        "COLUMNS": str(width),
        "OMP_NUM_THREADS": "1",
        "NO_COLOR": "1",
    }
    command = [sys.executable, "-m", "scenarios.cli", *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=300)


def refused(done: subprocess.CompletedProcess[str]) -> str:
    """The one message of a run that was refused."""
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    assert done.stderr.startswith("relbid: ")
    return done.stderr.removeprefix("relbid: ").rstrip("\n")


@pytest.fixture(scope="module")
def ran(tmp_path_factory, tiny_text):
    folder = tmp_path_factory.mktemp("run")
    (folder / "tiny.yaml").write_text(tiny_text)
    return folder, relbid("run", "tiny.yaml", cwd=folder)


def test_run_prints_the_comparison_the_sweep_and_where_the_results_are(ran):
    folder, done = ran
    assert done.returncode == 0, done.stderr
    lines = [line.strip() for line in done.stdout.splitlines()]
    assert any(line.startswith("tiny: 2,000 queries") for line in lines)
    for name in ("no relevance", "BM25", "oracle"):
        assert any(line.startswith(name) and "%" in line for line in lines), name
    assert any(line.startswith("Sweep of fusion.relevance") for line in lines)
    for value in ("0.5", "1", "2"):
        assert any(line.split()[:1] == [value] for line in lines)
    assert "…" not in done.stdout
    [result] = (folder / "results").glob("tiny-*")
    assert f"Results: results/{result.name}/" in done.stdout
    assert sorted(path.name for path in result.iterdir()) == [
        "comparison.parquet", "log.parquet", "metrics.json", "points.parquet", "scenario.yaml",
    ]  # fmt: skip
    assert load_scenario(result / "scenario.yaml") == load_scenario(folder / "tiny.yaml")
    comparison = pl.read_parquet(result / "comparison.parquet")
    assert f"{comparison['baseline_mean'][0]:.2f}" in done.stdout
    assert "95% intervals over 5 days of this world" in done.stdout


def test_a_narrow_terminal_cuts_no_numbers(ran):
    folder, _ = ran
    done = relbid("run", "tiny.yaml", "--no-sweep", "--out", "narrow", cwd=folder, width=40)
    assert done.returncode == 0, done.stderr
    assert "…" not in done.stdout
    assert "Sweep" not in done.stdout


def test_a_stored_scenario_runs_to_the_same_bytes(ran, tmp_path):
    folder, _ = ran
    [result] = (folder / "results").glob("tiny-*")
    done = relbid("run", result / "scenario.yaml", "--out", "again", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    for path in result.iterdir():
        assert (tmp_path / "again" / result.name / path.name).read_bytes() == path.read_bytes(), path.name


def test_seed_scorer_and_set_reach_the_scenario(ran, tmp_path):
    folder, _ = ran
    options = (
        "--seed",
        8,
        "--scorer",
        "bm25",
        "--set",
        "auction.reserve=0.2",
        "--set",
        "compare=[none]",
        "--no-sweep",
    )
    done = relbid("run", folder / "tiny.yaml", *options, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    [result] = (tmp_path / "results").glob("tiny-*")
    scenario = load_scenario(result / "scenario.yaml")
    assert (scenario.seed, scenario.scorer, scenario.auction.reserve, scenario.compare) == (
        8,
        "bm25",
        0.2,
        ("none",),
    )
    assert json.loads((result / "metrics.json").read_text())["queries"] == 2000


def test_show_prints_yaml_with_every_default(tmp_path):
    done = relbid("show", DEFAULT_SCENARIO, "--set", "seed=5", cwd=tmp_path)
    assert done.returncode == 0
    shown = yaml.safe_load(done.stdout)
    assert shown["seed"] == 5
    assert shown["users"]["examination"][0] == 1.0
    (tmp_path / "shown.yaml").write_text(done.stdout)
    assert load_scenario(tmp_path / "shown.yaml") == load_scenario(DEFAULT_SCENARIO, seed=5)


def test_schema_is_json_that_knows_the_default_scenario(tmp_path):
    schema = json.loads(relbid("schema", cwd=tmp_path).stdout)
    assert set(yaml.safe_load(DEFAULT_SCENARIO.read_text())) <= set(schema["properties"])
    assert schema["additionalProperties"] is False


@pytest.mark.parametrize("command", ["run", "show", "schema", "train", "evaluate", "app"])
def test_every_command_has_help(tmp_path, command):
    assert command in relbid("--help", cwd=tmp_path).stdout
    done = relbid(command, "--help", cwd=tmp_path)
    assert done.returncode == 0
    assert done.stdout.startswith("Usage: ")


# Refusals


def nothing_was_written(folder: Path) -> bool:
    return not [
        path for path in folder.rglob("*") if path.suffix in (".parquet", ".json") or ".writing" in path.name
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["run", "other.txt"],
            "other.txt: no such file; relbid run scenarios/default.yaml runs the built-in one",
        ),
        (["run", "tinny.yaml"], "tinny.yaml: no such file; did you mean 'tiny.yaml'?"),
        (["run", "."], ".: is a folder; name a scenario file in it"),
        (["run", "empty.yaml"], "empty.yaml: is empty; a scenario needs at least 'schema: 1' and a 'name'"),
        (["run", "latin1.yaml"], "latin1.yaml, line 1: not UTF-8 (byte 0xe9); save it with UTF-8 encoding"),
        (
            ["run", "tiny.yaml", "--set", "fusion.relevnace=2"],
            "tiny.yaml, --set fusion.relevnace=2: unknown key; did you mean 'relevance'?",
        ),
        (
            ["show", "tiny.yaml", "--set", "auction.reserve=.nan"],
            "tiny.yaml, --set auction.reserve=.nan: needs a finite number, got .nan",
        ),
        (
            ["run", "tiny.yaml", "--scorer", "hcmr"],
            "tiny.yaml, --scorer hcmr: unknown scorer 'hcmr'; did you mean 'hcmrm'? "
            "(there are none, bm25, hcmrm, oracle, minilm, {bi_encoder: FOLDER}, {cross_encoder: FOLDER}, "
            "and your own as module:attr)",
        ),
        (
            ["run", "tiny.yaml", "--set", "fusion.rule=linaer"],
            "tiny.yaml, --set fusion.rule=linaer: unknown rule 'linaer'; did you mean 'linear'? "
            "(there are product, gate, soft_gate, linear, tiers, exponential, learnt, formula, custom)",
        ),
        (
            ["run", "tiny.yaml", "--out", "empty.yaml/results"],
            "empty.yaml/results: cannot be written (Not a directory); choose another folder with --out",
        ),
        (
            ["run", "tiny.yaml", "--out", "empty.yaml"],
            "empty.yaml: cannot be written (is a file); choose another folder with --out",
        ),
        (
            ["run", "tiny.yaml", "--out", "/proc/relbid"],
            "/proc/relbid: cannot be written (No such file or directory); choose another folder with --out",
        ),
        (
            ["run", "tiny.yaml", "--scorer", "no_such_module:Scorer"],
            "scorer 'no_such_module:Scorer': there is no module 'no_such_module' in the folder where you "
            "stand, nor among what is installed",
        ),
        (
            ["run", "tiny.yaml", "--scorer", "hcmrm", "--set", "hcmrm.checkpoint=nowhere"],
            "tiny.yaml, hcmrm.checkpoint 'nowhere': nowhere/model.safetensors: not found; "
            "make it with 'relbid train --out nowhere'",
        ),
        (
            ["run", "tiny.yaml", "--scorer", "hcmrm", "--set", "hcmrm.checkpoint=tiny.yaml"],
            "tiny.yaml, hcmrm.checkpoint 'tiny.yaml': tiny.yaml: a checkpoint is a folder, this is none; "
            "name its folder",
        ),
        (
            ["prepare", "tiny.yaml", "--scorer", "bm52"],
            "--scorer: unknown scorer 'bm52'; did you mean 'bm25'? "
            "(there are none, bm25, hcmrm, oracle, minilm, {bi_encoder: FOLDER}, {cross_encoder: FOLDER}, "
            "and your own as module:attr)",
        ),
        (
            ["show", "tiny.yaml", "--set", "Fusion.relevance=2"],
            "tiny.yaml, --set Fusion.relevance=2, Fusion: unknown key; did you mean 'fusion'?",
        ),
        (
            ["evaluate", "--corpus", "nowhere"],
            "nowhere/queries.jsonl: not found; a corpus folder holds it (relbid corpus import makes one)",
        ),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_input_gets_one_message_and_leaves_nothing(tmp_path, tiny_file, arguments, message):
    (tmp_path / "empty.yaml").write_text("")
    (tmp_path / "latin1.yaml").write_bytes(b"name: caf\xe9\n")
    assert refused(relbid(*arguments, cwd=tmp_path)) == message
    assert nothing_was_written(tmp_path)


def test_a_world_without_queries_is_refused(tiny_file):
    few = ("query_pool=1", "validation_advertisers=1", "ads_per_advertiser=1")
    scenario = load_scenario(tiny_file, [*(f"world.{one}" for one in few), "split=validation"])
    with pytest.raises(ScenarioError, match="none of 1 queries belongs to the split"):
        prepare(scenario)


def test_an_empty_address_of_the_dashboard_is_refused(tmp_path):
    done = relbid("app", "--server.address=", cwd=tmp_path)
    assert done.returncode == 2
    assert "--server.address: is empty; give a value, or leave it out" in done.stderr


def test_a_file_that_is_read_is_not_written_over(tmp_path, tiny_file):
    text = tiny_file.read_text()
    done = relbid("run", tiny_file.name, "--progress", "./tiny.yaml", cwd=tmp_path)
    assert done.returncode == 2
    assert "--progress ./tiny.yaml: the command reads this file; name another" in done.stderr
    assert tiny_file.read_text() == text


def test_a_file_that_the_command_does_not_name_is_not_written_over_either(tmp_path, tiny_file):
    (tmp_path / "mine.json").write_text('{"mine": 1}')
    for arguments, message in (
        (("run", "--progress", "mine.json"), "mine.json: is there, and holds no progress; name another file"),
        (
            ("profile", "--out", "mine.json"),
            "mine.json: is there, and is no service profile; name another file",
        ),
    ):
        assert refused(relbid(arguments[0], tiny_file.name, *arguments[1:], cwd=tmp_path)) == message
    assert (tmp_path / "mine.json").read_text() == '{"mine": 1}'


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--days", "2.5"], "Invalid value for '--days': needs a whole number"),
        (["--days", "1"], "Invalid value for '--days': must be at least 2"),
        (["--seats", "10%"], "Invalid value for '--seats': needs a number"),
        (["--seats", "2"], "Invalid value for '--seats': must be at most 1"),
    ],
)
def test_an_option_that_is_no_number_of_its_range_is_said_in_plain_words(
    monkeypatch, capsys, arguments, message
):
    monkeypatch.setattr(sys, "argv", ["relbid", "arena", *arguments])
    with pytest.raises(SystemExit):
        main()
    assert capsys.readouterr().err.strip().endswith(f"Error: {message}")


@pytest.mark.parametrize(
    "arguments", [["profile", "scenarios/default.yaml", "--out"], ["evaluate", "--card"]]
)
def test_a_folder_where_a_file_is_to_be_written_is_refused_before_the_work(
    monkeypatch, capsys, tmp_path, arguments
):
    monkeypatch.setattr(sys, "argv", ["relbid", *arguments, str(tmp_path)])
    with pytest.raises(SystemExit):
        main()
    assert capsys.readouterr().err == f"relbid: {tmp_path}: is a folder, not a file; name another file\n"


def test_a_thread_of_a_plugin_that_goes_on_is_said_to_be_waited_for(monkeypatch, capsys):
    monkeypatch.setenv(WAITING, "0.05")
    handler, ended = signal.getsignal(signal.SIGINT), threading.Event()
    before = threading.enumerate()
    thread = threading.Thread(target=ended.wait)
    thread.start()
    said = ""
    try:
        _watch_threads([*before, thread])  # it was there before the command
        assert threading.active_count() == len(before) + 1  # nothing waits
        _watch_threads(before)
        while not said:
            time.sleep(0.01)
            said = capsys.readouterr().err
    finally:
        ended.set()
        signal.signal(signal.SIGINT, handler)
    assert said.startswith("relbid: waiting for threads that a plug-in has begun, 0.")
    thread.join()
    while threading.active_count() > len(before):  # what has waited ends, too
        time.sleep(0.01)


def test_a_thread_of_a_plug_in_that_fails_is_told_in_a_line_and_once(capsys, monkeypatch):
    monkeypatch.setattr(threading, "excepthook", functools.partial(thread_failed, set()))
    for _ in range(3):
        thread = threading.Thread(target=lambda: 1 / 0)
        thread.start()
        thread.join()
    said = capsys.readouterr().err
    begun = (
        "relbid: a thread that a plug-in has begun failed: ZeroDivisionError: division by zero (test_cli.py, "
    )
    assert said.startswith(begun)
    assert said.count("\n") == 1
    monkeypatch.setattr("scenarios.cli.main.OURS", ("tests",))  # of the program's own, a defect is told whole
    monkeypatch.setattr("scenarios.cli.main.PACKAGES", Path(__file__).parents[2])
    thread = threading.Thread(target=lambda: 1 / 0)
    thread.start()
    thread.join()
    assert "Traceback (most recent call last)" in capsys.readouterr().err


def test_a_standard_output_that_a_plugin_has_closed_is_said(monkeypatch):
    closed = io.StringIO()
    closed.close()
    monkeypatch.setattr(sys, "stdout", closed)
    with pytest.raises(ValueError, match="closed") as caught:
        print("a table")
    assert _message(caught.value) == "relbid: standard output: a plug-in has closed it"


def test_an_interrupt_outside_of_any_command_ends_without_a_traceback(monkeypatch):
    def interrupted():
        raise KeyboardInterrupt

    monkeypatch.setattr("scenarios.cli.main.main", interrupted)
    with pytest.raises(SystemExit) as end:
        run()
    assert end.value.code == 130


def test_a_library_that_lacks_memory_or_threads_is_told_without_a_traceback(tmp_path, tiny_file, monkeypatch):
    for said in ("can't start new thread", "libtorch.so: failed to map segment from shared object"):
        assert _message(RuntimeError(said)).startswith("relbid: not enough memory")
    monkeypatch.setenv("POLARS_MAX_THREADS", "0")
    done = relbid("run", tiny_file.name, cwd=tmp_path)
    assert (done.returncode, "Traceback" in done.stderr) == (2, False)
    assert "relbid: Polars stopped (Worker threads cannot be set to 0); it may lack" in done.stderr


def test_a_plugin_is_found_beside_the_user(tmp_path, tiny_file):
    (tmp_path / "mine.py").write_text(
        "import numpy as np\n"
        "class Scorer:\n"
        "    def __init__(self, corpus): pass\n"
        "    def score(self, query, ad): return np.full(len(query), 0.5)\n"
    )
    done = relbid("run", tiny_file.name, "--scorer", "mine:Scorer", "--no-sweep", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "mine:Scorer" in done.stdout


@pytest.mark.parametrize(
    "arguments", [["run"], ["run", "a.yaml", "b.yaml"], ["fly"], ["run", "a.yaml", "--sed", "1"]]
)
def test_wrong_usage_exits_with_2(tmp_path, arguments):
    done = relbid(*arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert "Usage: " in done.stderr
    assert "Traceback" not in done.stderr
