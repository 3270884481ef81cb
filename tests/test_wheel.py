"""The wheel works outside the source tree, with no more than its own dependencies.

The bare environment has what `pip install relbid` brings. The second one stands for `relbid[hcmrm]`:
it has the wheel, and reads all other packages from the environment that runs this test, so that torch is not
installed again.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

from scenarios.replay.example import write_example
from tests.test_safety import REPOSITORY

PACKAGES = ("app", "relevance", "scenarios", "simulator")
TABLE = """\
schema: 1
name: own
market: {kind: table, auctions: auctions.parquet}
fusion: {rule: gate}
sweep: {field: fusion.threshold, values: [0.2, 0.4]}
"""
SMALL = (
    "world.test_advertisers=36",
    "world.ads_per_advertiser=4",
    "world.query_pool=3000",
    "retrieval.candidates=12",
    "traffic.n_queries=500",
)
FORMULA = """
from simulator.auction import run_auction
from simulator.fusion import check_rule
sold = run_auction([10, 4, 2], Bonus(), slots=2, relevance=[0.5, 1, 1])
assert (sold.winners, sold.prices) == ((0, 1), (16 / 3, 2.0)), sold
assert check_rule(Bonus()) == [], check_rule(Bonus())
assert check_rule(lambda: None) != []
"""
LIGHT = """
import importlib.util, json
import app, relevance, scenarios, simulator
for name in scenarios.__all__: getattr(scenarios, name)
print(json.dumps({
    "files": [package.__file__ for package in (app, relevance, scenarios, simulator)],
    "there": [name for name in %r if importlib.util.find_spec(name)],
}))
"""
HEAVY = ("torch", "transformers", "streamlit", "plotly", "sklearn", "PIL", "bm25s", "optuna", "ray", "av")

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """The wheel, built of the packages alone and outside the source tree, which gets no build folder so."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    for package in PACKAGES:
        shutil.copytree(
            REPOSITORY / package, source / package, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info")
        )
    for name in ("pyproject.toml", "README.md", "LICENSE", "NOTICE"):
        shutil.copy(REPOSITORY / name, source)
    build = ["wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(folder), str(source)]
    pip(sys.executable, *build)
    [built] = folder.glob("relbid-*.whl")
    return built


@pytest.fixture(scope="module")
def bare(wheel, tmp_path_factory) -> Path:
    """The commands of an environment with the wheel and its dependencies."""
    commands = environment(tmp_path_factory.mktemp("bare"))
    pip(commands / "python", "install", str(wheel), "-c", str(REPOSITORY / "constraints.txt"))
    return commands


@pytest.fixture(scope="module")
def with_hcmrm(wheel, tmp_path_factory) -> Path:
    """The commands of an environment with the wheel, and the packages of the one that runs this test."""
    commands = environment(tmp_path_factory.mktemp("hcmrm"))
    pip(commands / "python", "install", "--no-deps", str(wheel))
    [site] = (commands.parent / "lib").glob("python*/site-packages")
    (site / "others.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return commands


def environment(folder: Path) -> Path:
    venv.create(folder / "env", with_pip=True, symlinks=True)
    return folder / "env" / "bin"


def pip(python: str | Path, *arguments: str) -> None:
    done = subprocess.run(
        [str(python), "-m", "pip", "--disable-pip-version-check", "--quiet", *arguments],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


def run(command: str | Path, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run a command as in a shell that knows nothing of the source tree."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    return subprocess.run(
        [str(command), *arguments], cwd=cwd, env={**kept, "NO_COLOR": "1"}, capture_output=True, text=True
    )


def metrics_of(done: subprocess.CompletedProcess[str], cwd: Path) -> bytes:
    assert done.returncode == 0, done.stderr
    [found] = (cwd / "results").glob("*/metrics.json")
    return found.read_bytes()


def test_the_wheel_has_every_file_of_the_packages(wheel, tmp_path):
    shutil.unpack_archive(wheel, tmp_path, "zip")
    for package in PACKAGES:
        here = {path.relative_to(REPOSITORY) for path in (REPOSITORY / package).rglob("*") if path.is_file()}
        here = {path for path in here if not {"__pycache__", ".cache"} & set(path.parts)}
        assert here <= {path.relative_to(tmp_path) for path in (tmp_path / package).rglob("*")}


def test_the_bare_environment_has_nothing_heavy_and_every_public_name(bare, tmp_path):
    done = run(bare / "python", "-c", LIGHT % (HEAVY,), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["there"] == []
    assert all(Path(path).is_relative_to(bare.parent) for path in found["files"])


def test_the_bare_environment_tests_the_formula_of_the_readme(bare, tmp_path):
    readme = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    [bonus] = [
        block for block in re.findall(r"```python\n(.*?)```", readme, re.DOTALL) if "class Bonus" in block
    ]
    done = run(bare / "python", "-c", bonus + FORMULA, cwd=tmp_path)
    assert done.returncode == 0, done.stderr


def test_the_bare_environment_runs_a_table_as_this_one_does(bare, tmp_path):
    written = {}
    for name, command in (
        ("bare", [bare / "relbid"]),
        ("here", [sys.executable, "-P", "-m", "scenarios.cli"]),
    ):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "own.yaml").write_text(TABLE)
        write_example(folder / "auctions.parquet", n_rows=400, seed=1)
        written[name] = metrics_of(run(*command, "run", "own.yaml", cwd=folder), folder)
    assert written["bare"] == written["here"]


def test_the_bare_environment_says_what_the_default_scenario_and_the_dashboard_need(bare, tmp_path):
    scenario = bare.parent / "lib" / f"python{sys.version_info.major}.{sys.version_info.minor}"
    scenario = scenario / "site-packages" / "scenarios" / "default.yaml"
    for arguments, message in (
        (["run", str(scenario)], "HCMRM: torch is not installed; pip install 'relbid[hcmrm]'"),
        (
            ["run", str(scenario), "--set", "compare=[none]", "--set", "sweep=null", "--scorer", "none"],
            "the embedded world: fontawesomefree is not installed; pip install 'relbid[world]'",
        ),
        (["app"], "the dashboard: streamlit is not installed; pip install 'relbid[app]'"),
    ):
        done = run(bare / "relbid", *arguments, cwd=tmp_path)
        assert done.stderr.splitlines()[-1] == f"relbid: {message}"
        assert done.returncode == 2


def test_with_hcmrm_the_default_scenario_runs(with_hcmrm, tmp_path):
    where = "import scenarios; print(scenarios.DEFAULT_SCENARIO)"
    scenario = run(with_hcmrm / "python", "-c", where, cwd=tmp_path).stdout.strip()
    assert Path(scenario).is_relative_to(with_hcmrm.parent)
    small = [part for setting in SMALL for part in ("--set", setting)]
    done = run(with_hcmrm / "relbid", "run", scenario, *small, "--no-sweep", cwd=tmp_path)
    metrics = json.loads(metrics_of(done, tmp_path))
    assert metrics["revenue_rpm"] > 0
    assert re.search(r"^ HCMRM  ", done.stdout, re.MULTILINE)
