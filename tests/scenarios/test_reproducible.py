"""The same scenario and seed give the same bytes, whoever computes them and in what portions."""

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from scenarios import load_scenario, load_sweep, run_scenario, run_sweep, write_result
from tests.scenarios.test_cli import REPOSITORY


def digests(folder: Path) -> dict[str, str]:
    """File -> hash; the scenario itself, which names what was changed, is left out."""
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.iterdir())
        if path.is_file() and path.name != "scenario.yaml"
    }


def result(tiny_file, root: Path, cache: Path | None, *overrides: str) -> dict[str, str]:
    scenario = load_scenario(tiny_file, ["sweep=null", *overrides])
    ran = run_scenario(scenario, cache=cache)
    found = digests(write_result(root, scenario, ran.metrics, ran.points, ran.log))
    assert set(found) == {"log.parquet", "metrics.json", "points.parquet"}
    return found


def test_repeated_runs_and_the_cache_change_nothing(tiny_file, tiny_cache, tmp_path):
    first = result(tiny_file, tmp_path / "a", None)
    assert result(tiny_file, tmp_path / "b", tmp_path / "cold") == first
    assert result(tiny_file, tmp_path / "c", tmp_path / "cold") == first
    assert result(tiny_file, tmp_path / "d", tiny_cache, "seed=4") != first


@pytest.mark.parametrize("size", [1, 7, 4096])
def test_micro_batches_change_nothing(tiny_file, tiny_cache, tmp_path, size):
    plain = result(tiny_file, tmp_path / "plain", tiny_cache)
    assert result(tiny_file, tmp_path / "size", tiny_cache, f"serving.batch_size={size}") == plain


def test_the_number_of_processes_changes_nothing(tiny_file, tiny_cache, tmp_path):
    file = tmp_path / "s.yaml"
    file.write_text(
        f"schema: 1\nname: s\nscenario: {tiny_file.name}\nseeds: 2\n"
        "over: {fusion.relevance: [0.5, 1, 2], scorer: [bm25, oracle]}\n"
    )
    tables = []
    for workers in (1, 2, 3):
        out = tmp_path / str(workers)
        shutil.copytree(tiny_cache / ".cache", out / ".cache", ignore=shutil.ignore_patterns("replicates"))
        folder = run_sweep(load_sweep(file), out, workers=workers)
        tables.append((folder / "points.parquet").read_bytes())
    assert tables[0] == tables[1] == tables[2]


PROGRAM = """
import sys
from pathlib import Path
from scenarios import load_scenario, run_scenario, write_result
scenario = load_scenario(sys.argv[1], ["sweep=null"])
ran = run_scenario(scenario)
print(write_result(Path(sys.argv[2]), scenario, ran.metrics, ran.points, ran.log))
"""
NEEDED = "array_api_compat, bm25s, fontawesomefree, numpy, PIL, polars, pydantic, pyarrow, scipy, simpy, yaml"


def other_pythons() -> list[str]:
    """Interpreters of another version that have what relbid needs (torch is not needed)."""
    own = f"{sys.version_info.major}.{sys.version_info.minor}"
    named = os.environ.get("RELBID_OTHER_PYTHON", "").split(os.pathsep)
    known = [shutil.which(f"python3.{minor}") for minor in range(11, 16)]
    program = (
        f"import sys, {NEEDED}; assert sys.version_info >= (3, 11); print('%d.%d' % sys.version_info[:2])"
    )
    found = []
    for python in filter(None, [*named, *known]):
        try:
            done = subprocess.run(
                [python, "-c", program], capture_output=True, text=True, timeout=60, check=False
            )
        except OSError:
            continue
        if done.returncode == 0 and done.stdout.strip() != own:
            found.append(python)
    return found


def test_another_version_of_python_changes_nothing(tiny_file, tmp_path):
    others = other_pythons()
    if not others:
        pytest.skip(
            "no other version of Python with relbid's packages is at hand; RELBID_OTHER_PYTHON may name one"
        )
    first = result(tiny_file, tmp_path / "own", None)
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"}
    for number, python in enumerate(others):
        command = [python, "-c", PROGRAM, str(tiny_file), str(tmp_path / str(number))]
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=300, check=False
        )
        assert done.returncode == 0, done.stderr
        assert digests(Path(done.stdout.strip())) == first, python
