"""Hostile input, made of the schemas, options, files and plug-ins that the program itself has.

`python -m benchmarks.fuzz --cases 20000` (`make fuzz`) is the same with more of it; RELBID_FUZZ sets how many
cases are tried here.
"""

import os
import subprocess
import sys

import pytest

from benchmarks.fuzz import universe
from benchmarks.fuzz.cases import Case, commands, options_of, schema_fields, training_fields
from benchmarks.fuzz.referee import finding_of
from benchmarks.fuzz.runs import run_cases
from benchmarks.fuzz.workplace import COMMANDS, Workplace
from tests.scenarios.test_cli import REPOSITORY

CASES = int(os.environ.get("RELBID_FUZZ", "2000"))


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    made = Workplace(tmp_path_factory.mktemp("fuzz") / "place")
    made.make()
    return made


@pytest.mark.timeout(1800)
def test_hostile_input_is_refused_in_words_and_leaves_nothing(tmp_path):
    report = run_cases(tmp_path, CASES, seed=1, workers=1)
    # Half a character, of which some cases are, would end the processes that run the tests.
    assert not report.findings, report.text().encode("utf-8", "backslashreplace").decode()
    assert sum(report.tried.values()) == CASES


def test_a_process_that_is_done_first_waits_for_the_others(tmp_path):
    report = run_cases(tmp_path, 21, seed=3, workers=2, only="options")
    assert sum(report.tried.values()) == 21, report.text()


def test_every_number_that_a_user_may_give_has_a_range():
    models = [model for model, *_ in universe.models().values()]
    fields = [one for model in models for one in schema_fields(model)] + list(training_fields())
    assert len(fields) > 300
    assert not [one.name for one in fields if one.unbounded]
    options = [option for path, command in commands() for option in options_of(path, command)]
    assert not [(option.command, option.name) for option in options if option.unbounded]


def test_every_command_and_every_file_is_tried(place):
    assert {path for path, _ in commands()} == set(COMMANDS), (
        "benchmarks/fuzz/workplace.py has a whole one of each"
    )
    unread = [name for name in place.files() if universe.reader_of(place, name) is None]
    assert not unread, "benchmarks/fuzz/workplace.py says which command reads a file"
    cases = universe.universe(place)
    assert len(cases) > 20_000
    chosen = universe.sample(cases, 2000, seed=1)
    assert len(chosen) == 2000
    assert {(one.group, one.what) for one in chosen} == {(one.group, one.what) for one in cases}
    assert {(one.group, one.kind) for one in chosen} == {(one.group, one.kind) for one in cases}


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("raise KeyError('x')", "traceback: KeyError"),
        ("sys.exit(3)", "exit code: 3"),
        ("print('relbid: no file', file=sys.stderr); sys.exit(2)", "names none of"),
        ("print('relbid: tiny.yaml: [Errno 2] x', file=sys.stderr); sys.exit(2)", "speaks Python"),
        ("print('relbid: tiny.yaml: ' + 'x' * 3000, file=sys.stderr); sys.exit(2)", "characters"),
        (
            "open('left', 'w'); print('relbid: tiny.yaml: no', file=sys.stderr); sys.exit(2)",
            "leftovers: left",
        ),
        ("return", "accepted a value out of its range"),
        ("print('relbid: tiny.yaml: no', file=sys.stderr); sys.exit(2)", None),
    ],
)
def test_the_referee_finds_what_it_looks_for(place, monkeypatch, body, words):
    import scenarios.cli.main as module

    names: dict = {"sys": sys}
    text = f"def main():\n    {body}\n"
    exec(text, names)
    monkeypatch.setattr(module, "main", names["main"])
    found = finding_of(Case("group", "field", "kind", ("run",), names=("tiny.yaml",), refuse=True), place)
    assert found is None if words is None else words in str(found)
    assert not (place.folder / "left").exists(), "the folder is put back"


@pytest.mark.timeout(1800)
def test_in_processes_of_their_own_commands_answer_as_in_this_one(place):
    """A sample of the cases as a user runs them."""
    cases = [one for one in universe.universe(place) if one.refuse and not one.argv[0].startswith("@")]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"}
    for case in universe.sample(cases, 6, seed=11):
        if case.change is not None:
            case.change(place.folder)
        before = place.listing()
        command = [sys.executable, "-m", "scenarios.cli", *case.argv]
        done = subprocess.run(
            command,
            cwd=place.folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
        after = place.listing()
        place.put_back(after)
        assert done.returncode == 2, (case.title, done.stderr)
        assert "Traceback" not in done.stderr
        assert {name for name in set(after) - set(before) if not name.startswith(("results", "plug_"))} <= {
            "__pycache__"
        }, case.title


def test_a_finding_is_told_with_its_case():
    """The report names the command that can be typed again."""
    from benchmarks.fuzz.runs import Report

    report = Report()
    report.tried["files"] += 2
    report.findings.append(("files | a.json | deep | relbid run a.yaml", "traceback: x"))
    assert "1 findings in 2 cases" in report.text()
    assert "relbid run a.yaml" in report.text()
