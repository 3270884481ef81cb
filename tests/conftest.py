"""Shared by all tests."""

import os

import pytest
from hypothesis import settings

# Models in tests are tiny. Threads that wait for each other cost more than they bring.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# Without deadlines, because machines differ in speed.
settings.register_profile("relbid", deadline=None, derandomize=True)
settings.load_profile("relbid")

SLOW = (
    "app/test_comparison.py",
    "app/test_contrast.py",
    "app/test_dashboard_command.py",
    "app/test_experiments.py",
    "app/test_jobs.py",
    "app/test_kinds.py",
    "app/test_lab.py",
    "app/test_pages.py",
    "app/test_sweeps_page.py",
    "app/test_tour.py",
    "app/test_trade_off.py",
    "app/test_walk.py",
    "app/test_worlds.py",
    "relevance/test_comparisons.py",
    "relevance/test_damaged_checkpoints.py",
    "relevance/test_hcmrm.py",
    "relevance/test_pretrained.py",
    "relevance/test_ranks.py",
    "relevance/test_stages.py",
    "relevance/test_train.py",
    "scenarios/test_ablations.py",
    "scenarios/test_asking.py::test_hcmrm",
    "scenarios/test_asking.py::test_frames",
    "scenarios/test_capacity.py",
    "scenarios/test_cli.py",
    "scenarios/test_corpora.py::test_a_training_on_the_exported_world",
    "scenarios/test_corpora.py::test_the_embedded_world_as_tables",
    "scenarios/test_experiment_cli.py",
    "scenarios/test_faults.py",
    "scenarios/test_fuzz.py",
    "scenarios/test_gpu_command.py",
    "scenarios/test_judge.py",
    "scenarios/test_load.py::test_whatever_a_file_says",
    "scenarios/test_offline.py",
    "scenarios/test_own_scorer.py",
    "scenarios/test_progress.py",
    "scenarios/test_public_models.py",
    "scenarios/test_reproducible.py",
    "scenarios/test_retention.py",
    "scenarios/test_rules.py::test_tuning_keeps_the_bound",
    "scenarios/test_score.py",
    "scenarios/test_serving.py",
    "scenarios/test_shipped.py",
    "scenarios/test_sweep_engines.py",
    "scenarios/test_sweep_search.py",
    "scenarios/test_sweeps_cli.py",
    "scenarios/test_training.py",
    "test_wheel.py",
    "test_work_counts.py",
    "world/test_openmoji.py::test_a_model_learns",
    "world/test_openmoji.py::test_a_scenario_runs",
)
"""What `make quick` leaves out: trainings, kills, whole commands, fuzzing, pages of the dashboard."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what is listed as slow, and say what stays in one process of `--dist loadgroup`.

    First, since pytest-xdist reads the groups in a hook of the same name.
    """
    slow = tuple(f"tests/{name}" for name in SLOW)
    for item in items:
        if item.nodeid.startswith(slow):
            item.add_marker(pytest.mark.slow)
        # Tests of a file share what they make. Those of the dashboard share a result, and two browsers at
        # once wait for each other longer than one alone.
        file = item.nodeid.partition("::")[0]
        item.add_marker(pytest.mark.xdist_group("tests/app" if file.startswith("tests/app/") else file))


def pytest_collection_finish(session: pytest.Session) -> None:
    """Stop where groups are not kept: two browsers at once are no failure, but slow and unsteady."""
    if getattr(session.config.option, "loadgroup", False):
        assert all("@" in item.nodeid for item in session.items), (
            "pytest-xdist does not see the groups of tests"
        )
