"""The documents for those who carry on name files that are there."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from benchmarks import tables, users
from tests.test_safety import REPOSITORY

PAGES = [
    REPOSITORY / "README.md",
    REPOSITORY / "CONTRIBUTING.md",
    *sorted((REPOSITORY / "docs").glob("**/*.md")),
]
GUIDES = [
    path for path in PAGES if path.name in ("CONTRIBUTING.md", "architecture.md") or "decisions" in path.parts
]
FOLDERS = ("app", "benchmarks", "docs", "relevance", "scenarios", "simulator", "tests", ".ci")
FILES = [REPOSITORY / "pyproject.toml", *(REPOSITORY / "tests").glob("*.py")]
FILES += [
    path for folder in FOLDERS for path in (REPOSITORY / folder).rglob("*") if "__pycache__" not in path.parts
]
NAMES = {f"/{path.relative_to(REPOSITORY).as_posix()}" for path in FILES}


def name_of(path: Path) -> str:
    return str(path.relative_to(REPOSITORY))


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_to_files(page):
    for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text(encoding="utf-8")):
        if not target.startswith(("http:", "https:")):
            made = "reference/" in target  # by docs/generate.py; the strict build of the site checks those
            assert made or (page.parent / target).exists(), target


@pytest.mark.slow
def test_the_site_builds_without_a_warning(tmp_path):
    """Strictly: a page that is not listed, a dead link or a dead anchor ends the build.

    The program is called as `make docs` calls it: `python -m` would put the folder on the path of modules.
    """
    done = subprocess.run(
        [Path(sys.executable).with_name("mkdocs"), "build", "--quiet", "--site-dir", str(tmp_path / "site")],
        cwd=REPOSITORY, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    fields = (tmp_path / "site" / "reference" / "scenario.html").read_text(encoding="utf-8")
    assert "<code>candidates</code>" in fields
    assert "from 1 to 1000" in fields


def test_the_page_of_benchmarks_has_every_entry_with_its_target_and_where_it_was_measured(tmp_path):
    suite = [
        {"name": "fast", "what": "auctions", "unit": "/s", "least": 5},
        {"name": "slow", "what": "a run", "unit": "s", "most": 2},
        {"name": "new", "what": "a thing", "unit": "s"},
    ]
    where = {"date": "2026-01-01", "commit": "abc", "processor": "P", "cores": 2, "load": 0.25, "python": "3"}
    found = {
        name: {"figure": figure, "also": {"x": 1.5}, "measured": where}
        for name, figure in (("fast", 6), ("slow", 3))
    }
    said = tables.speed_table(suite, found)
    assert "| at least 5: met | x 1.5 | [1] |" in said
    assert "at most 2: MISSED" in said
    assert "not measured yet: `--only 'new'`" in said
    assert said.count("2026-01-01, commit abc: P, 2 cores, load average 0.2; Python 3") == 1
    assert tables.gpu_tables(tmp_path) == ""
    (tmp_path / "ranks.json").write_text(
        '{"device": "G", "torch": "2", "commit": "4433ed0d0", "error": "none"}'
    )
    assert tables.gpu_tables(tmp_path) == "G, torch 2, commit 4433ed0.\n\nStep ranks failed: none.\n"
    page = tables.page()
    for entry in yaml.safe_load(tables.SUITE.read_text(encoding="utf-8")):
        assert f"**{entry['name']}**" in page


def test_the_page_on_users_has_the_clicks_of_the_defaults():
    found = users.clicks()
    text = " ".join((REPOSITORY / "docs/users.md").read_text(encoding="utf-8").split())
    four, other = ([found[model, page] for model in ("position", "cascade", "dbn")] for page in users.PAGES)
    a, b, c = (f"{clicked.sum():.3f}" for _, clicked in four)
    assert f"have {a} clicks a page under `position`, {b} under `cascade`, {c} under `dbn`" in text
    a, b, c = (f"{clicked.sum():.3f}" for _, clicked in other)
    assert f"with a grade 0 on top {a}, {b} and {c}" in text
    (a, b), (c, d) = ([f"{looked[1]:.2f}"[1:] for looked, _ in page[1:]] for page in (other, four))
    assert f"looked at with {a} and {b} instead of {c} and {d}" in text


def test_the_readme_is_short():
    assert len((REPOSITORY / "README.md").read_text(encoding="utf-8").splitlines()) <= 120


@pytest.mark.parametrize("page", GUIDES, ids=name_of)
def test_files_that_guides_name_are_there(page):
    """A path may leave out the folders above that the sentence before has named."""
    named = re.findall(r"`([\w./*-]+)`", page.read_text(encoding="utf-8"))
    paths = [
        one
        for one in named
        if re.search(r"/|\.(py|pyi|toml|yaml)$", one) and not re.search(r"NAME|\*|^results", one)
    ]
    assert not [one for one in paths if not any(name.endswith(f"/{one.rstrip('/')}") for name in NAMES)]


def test_the_architecture_says_where_the_commonest_extensions_go():
    table = (REPOSITORY / "docs" / "architecture.md").read_text(encoding="utf-8").rpartition("| a new |")[2]
    for new in ("fusion rule", "kind of market", "study command", "metric", "scorer", "page", "extra"):
        assert f"| {new} |" in table
