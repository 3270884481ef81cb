"""Importing a package brings no more than it needs, and exports exactly what it says."""

import json
import subprocess
import sys

import pytest

import scenarios
import simulator.world


def modules_after(statement: str) -> set[str]:
    """Top-level names and full names in sys.modules of a fresh interpreter after a statement."""
    program = f"{statement}\nimport json, sys\nprint(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout.splitlines()[-1]))


@pytest.mark.parametrize(
    "package", ["relevance", "simulator", "scenarios", "scenarios.runs.scenario_run", "simulator.world"]
)
def test_torch_is_not_imported_without_hcmrm(package):
    loaded = modules_after(f"import {package}")
    assert package in loaded
    assert not loaded & {"torch", "transformers", "streamlit"}


def test_every_public_name_of_scenarios_resolves_without_torch():
    loaded = modules_after("import scenarios\nfor name in scenarios.__all__: getattr(scenarios, name)")
    assert "scenarios.runs.scenario_run" in loaded
    assert not loaded & {"torch", "transformers", "streamlit"}


def test_import_scenarios_is_light():
    assert not modules_after("import scenarios") & {"numpy", "polars", "pydantic", "yaml", "typer"}


def test_help_of_the_command_line_is_light():
    loaded = modules_after(
        "import sys, contextlib, io\nfrom scenarios.cli.main import main\nsys.argv = ['relbid', '--help']\n"
        "with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit): main()"
    )
    assert "typer" in loaded
    heavy = {
        "numpy",
        "polars",
        "pydantic",
        "rich",
        "scipy",
        "simpy",
        "simulator",
        "streamlit",
        "torch",
        "yaml",
    }
    assert not loaded & heavy
    ours = {name for name in loaded if name.startswith(("scenarios.", "relevance", "app"))}
    assert all(name.startswith("scenarios.cli") for name in ours)


def test_scenarios_has_no_other_public_names():
    with pytest.raises(AttributeError, match="nothing"):
        _ = scenarios.nothing


def test_the_public_names_of_the_world_are_these():
    assert simulator.world.__all__ == [
        "GRADE_DEFINITIONS",
        "Catalog",
        "LabelledWorlds",
        "Split",
        "Truth",
        "World",
        "WorldConfig",
        "build_world",
        "graded_pairs",
        "label_pairs",
        "labelled_corpus",
        "load_catalog",
    ]
