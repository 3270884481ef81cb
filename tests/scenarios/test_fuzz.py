"""Damaged files by the thousand: each is read, or refused by one message; never a traceback.

`python -m benchmarks.fuzz --files 10000` is the same with more of them; RELBID_FUZZ sets how many are tried
here.
"""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

from benchmarks.fuzz import fault_of, kinds, mutated, neighbours, torment
from scenarios import load_scenario, override, prepare, relevance_of, simulate
from scenarios.errors import UserError
from tests.scenarios.test_cli import REPOSITORY

FILES = int(os.environ.get("RELBID_FUZZ", "2000"))


def test_every_damaged_file_is_read_or_refused_in_words(tmp_path):
    tally, faults = torment(FILES, seed=1, folder=tmp_path)
    assert not faults, faults[:5]
    assert len(tally) == len(kinds()), "every kind of file was damaged"
    # Nothing was written beside the files that were there before.
    left = {path.name for path in (tmp_path / "files").iterdir()}
    assert left == {"tiny.yaml", "auctions.parquet", "budgets.jsonl", "queries.csv", "labels.csv"}


def test_the_harness_finds_what_it_looks_for(tmp_path):
    """A reader that stumbles, one that says no file, and one that says no line are all found out."""
    [kind] = [kind for kind in kinds() if kind.name == "scenario.yaml"]

    def answering(error: Exception):
        def read(path: Path):
            raise error

        return type(kind)(kind.name, read, kind.files)

    path = tmp_path / kind.name
    assert "KeyError" in str(fault_of(answering(KeyError("x")), path))
    assert "names no file" in str(fault_of(answering(UserError("seed: must be a number")), path))
    assert "names no line" in str(fault_of(answering(UserError(f"{path}, seed: must be a number")), path))
    assert fault_of(answering(UserError(f"{path}, line 3, seed: must be a number")), path) is None


COMMANDS = {
    "scenario.yaml": "run",
    "table.yaml": "run",
    "sweep.yaml": "sweep",
    "experiment.yaml": "experiment",
    "rows.parquet": "replay",
    "rows.jsonl": "replay",
}


def test_the_command_line_refuses_with_one_message_and_code_2_and_writes_nothing(tmp_path):
    """Damaged files through `relbid` itself, all in one process that starts it anew for each."""
    folder = tmp_path / "files"
    neighbours(folder)
    all_kinds, chosen, number = kinds(), [], 0
    while len(chosen) < 40:
        kind, content = mutated(7, number, all_kinds)
        path = folder / f"{number}-{kind.name}"
        number += 1
        if kind.name not in COMMANDS:
            continue
        path.write_bytes(content)
        try:
            kind.read(path)
        except Exception:
            chosen.append((COMMANDS[kind.name], path))
        else:
            path.unlink()
    before = sorted(path.name for path in folder.iterdir())
    program = (
        "import sys, io, contextlib, json\n"
        "from scenarios.cli.main import main\n"
        "for line in sys.stdin:\n"
        "    command, path = json.loads(line)\n"
        "    sys.argv = ['relbid', command, path]\n"
        "    out, err = io.StringIO(), io.StringIO()\n"
        "    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):\n"
        "        try:\n"
        "            main()\n"
        "            code = 0\n"
        "        except SystemExit as end:\n"
        "            code = end.code\n"
        "    print(json.dumps([code, out.getvalue(), err.getvalue()]))\n"
    )
    environment = {
        **os.environ,
        "PYTHONPATH": str(REPOSITORY),
        "OMP_NUM_THREADS": "1",
        "POLARS_MAX_THREADS": "1",
    }
    done = subprocess.run(
        [sys.executable, "-c", program],
        input="".join(json.dumps([command, path.name]) + "\n" for command, path in chosen),
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(answers) == len(chosen)
    for (command, path), (code, out, err) in zip(chosen, answers, strict=True):
        assert code == 2, (command, path.name, err)
        assert out == ""
        assert err.startswith("relbid: "), (command, path.name, err)
        assert path.name in err
        assert not re.search("Traceback|Error:", err), err
    assert sorted(path.name for path in folder.iterdir()) == before, "nothing is written"


def test_what_is_read_also_runs(prepared, tiny_cache, tmp_path):
    """Damaged scenarios that are still scenarios simulate a day, or say in words why they cannot."""
    [kind] = [kind for kind in kinds() if kind.name == "scenario.yaml"]
    kind = type(kind)(kind.name, kind.read, kind.files[-1:])
    neighbours(tmp_path / "files")
    path, ran, number = tmp_path / "files" / kind.name, 0, 0
    while ran < 15:
        _, content = mutated(3, number, (kind,))
        number += 1
        path.write_bytes(content)
        try:
            scenario = load_scenario(path)
        except UserError:
            continue
        if scenario.world != prepared.scenario.world or scenario.traffic.days > 7:
            continue
        if scenario.scorer == "hcmrm":  # is tried elsewhere
            continue
        ran += 1
        try:
            own = prepare(override(scenario, {"traffic.n_queries": 200}), cache=tiny_cache)
            metrics = simulate(own, relevance_of(own, scenario.scorer, cache=tiny_cache)).metrics
        except (UserError, ValueError) as error:
            assert str(error), content
        else:
            assert metrics["revenue"] >= 0, content
