"""What pages show is true: commands and options exist, files are read, code runs and prints what is said."""

import ast
import builtins
import contextlib
import io
import re
import shlex
from pathlib import Path

import pytest
import yaml
from typer.main import get_command

from scenarios import load_experiment, load_scenario, load_sweep
from scenarios.cli.main import app
from tests.test_docs import PAGES, name_of
from tests.test_safety import REPOSITORY

COMMANDS = get_command(app).commands  # type: ignore[attr-defined]
WITH_CODE = ("README.md", "how-to/formula.md", "how-to/bidder.md", "how-to/model.md", "auctions.md")
"""Pages whose definitions run in a moment, and tests in them."""


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)


def command_lines(page: Path) -> list[list[str]]:
    """The words of every `relbid ...` of a page, in blocks and in sentences, without comments."""
    text = page.read_text(encoding="utf-8")
    shown = [
        *re.findall(r"^```\w*\n(.*?)^```", text, re.MULTILINE | re.DOTALL),
        *re.findall(r"(?m)^ {4}.*$", text),
    ]
    found = [line for block in shown for line in re.findall(r"(?m)^ *(relbid .*)$", block)]
    found += re.findall(r"`(relbid [^`]*)`", text)
    return [shlex.split(re.sub(r"\s#.*", "", line)) for line in found]


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_commands_and_options_that_are_shown_exist(page):
    for _, *words in command_lines(page):
        if words[0].startswith("-") or words[0].isupper() or words[0] in ("...", "app"):
            continue  # options of all; any command; app hands its own on to streamlit
        command = COMMANDS[words[0]]
        below = getattr(command, "commands", {})
        if below and len(words) > 1 and words[1] in below:
            command = below[words[1]]
        known = {name for one in command.params for name in (*one.opts, *one.secondary_opts)} | {"--help"}
        shown = {word.partition("=")[0] for word in words if word.startswith("--")}
        assert not shown - known, " ".join(words)
        assert not re.search(r"-[0-9a-f]{8}\b", " ".join(words)), "a hash of defaults, which change"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_code_that_is_shown_can_be_read(page):
    for block in blocks(page, "python"):
        compile(block, str(page), "exec")


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_files_that_are_shown_are_read(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    texts = blocks(page, "yaml")
    texts += [
        re.sub(r"(?m)^ {4}", "", one) for one in re.findall(r"((?:^ {4}.*\n)+)", page.read_text(), re.M)
    ]
    for text in texts:
        if not text.startswith("schema: 1"):
            continue
        file = tmp_path / "shown.yaml"
        file.write_text(text)
        shown = yaml.safe_load(text)
        if "over" in shown:
            assert load_sweep(file).points
        elif "arms" in shown:
            if "models/" not in text:  # of one's own
                assert load_experiment(file).arms
        elif "market" not in shown:  # whose tables are made on the page
            load_scenario(file)


@pytest.mark.parametrize("name", WITH_CODE)
def test_code_runs_and_prints_what_stands_below_it(name, tmp_path, monkeypatch):
    """Blocks that are files of one's own become modules; the others run where they stand."""
    page = REPOSITORY / name if name == "README.md" else REPOSITORY / "docs" / name
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.chdir(tmp_path)
    text, scope, ran = page.read_text(encoding="utf-8"), {}, 0
    for match in re.finditer(r"```python\n(.*?)```\n(?:\n```\n(.*?)```)?", text, re.DOTALL):
        block, printed = match[1], match[2]
        if re.search(r"prepare|PPO|MarketEnv", block):
            continue  # a market, or what has been trained
        named = re.findall(r"`(\w+)\.py`", text[: match.start()])
        if named:
            (tmp_path / f"{named[-1]}.py").write_text(block)
        said = io.StringIO()
        with contextlib.redirect_stdout(said):
            exec(block, scope)
            for test in [value for key, value in scope.items() if key.startswith("test_")]:
                test()
        assert printed is None or said.getvalue() == printed
        ran += 1
    assert ran


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_a_class_that_is_shown_is_a_file_of_its_own(page):
    """Who copies it alone needs its imports: the blocks before it are of other files."""
    for block in blocks(page, "python"):
        tree = ast.parse(block)
        if not any(isinstance(node, ast.ClassDef) for node in tree.body):
            continue
        names = [node for node in ast.walk(tree) if isinstance(node, ast.Name)]
        used = {node.id for node in names if isinstance(node.ctx, ast.Load)}
        made = {node.id for node in names if isinstance(node.ctx, ast.Store)} | {*dir(builtins)}
        for node in ast.walk(tree):
            if isinstance(node, (ast.ClassDef, ast.FunctionDef)):
                made.add(node.name)
            elif isinstance(node, ast.arg):
                made.add(node.arg)
            elif isinstance(node, (ast.Import, ast.ImportFrom)):
                made |= {one.asname or one.name for one in node.names}
        assert not used - made
