"""Scenarios as validated data, and the runs, comparisons and sweeps made of them.

Names are imported on first use, so that `import scenarios` costs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from scenarios.errors import ScenarioError, StoreError, UserError
    from scenarios.experiments.run import ExperimentResult, run_experiment, write_experiment
    from scenarios.experiments.schema import load_experiment
    from scenarios.experiments.stored import StoredExperiment, list_experiments, read_experiment
    from scenarios.formula import SHIPPED_RULES, Fault, FormulaError, Verdict, iso_scores, judge_formula
    from scenarios.inspection import GRADE_DEFINITIONS, REASONS, inspect_query
    from scenarios.load import DEFAULT_SCENARIO, dump_scenario, load_scenario, override
    from scenarios.market import Prepared, Progress, Relevance, Settled, prepare, relevance_of, settle
    from scenarios.offline import (
        PAIR_SETS,
        Labels,
        OfflineScores,
        PairSet,
        Reliability,
        ScorerEvaluation,
        evaluate_offline,
        gap_of,
        offline_pairs,
        offline_scorers,
        offline_scores,
        reliability_of,
        worst_errors,
    )
    from scenarios.replay.inspection import inspect_event
    from scenarios.run import RunResult, run_scenario
    from scenarios.schema import SCORERS, Scenario
    from scenarios.store import StoredResult, list_results, read_result, write_result
    from scenarios.sweep import pareto_front, settle_points
    from scenarios.sweeps.engine import run_sweep
    from scenarios.sweeps.folder import SweepResult, list_sweeps, read_sweep
    from scenarios.sweeps.schema import Sweep, load_sweep, sweep_points
    from scenarios.tuning import Tuned, tune_fusion

__all__ = [
    "DEFAULT_SCENARIO",
    "GRADE_DEFINITIONS",
    "PAIR_SETS",
    "REASONS",
    "SCORERS",
    "SHIPPED_RULES",
    "ExperimentResult",
    "Fault",
    "FormulaError",
    "Labels",
    "OfflineScores",
    "PairSet",
    "Prepared",
    "Progress",
    "Relevance",
    "Reliability",
    "RunResult",
    "Scenario",
    "ScenarioError",
    "ScorerEvaluation",
    "Settled",
    "StoreError",
    "StoredExperiment",
    "StoredResult",
    "Sweep",
    "SweepResult",
    "Tuned",
    "UserError",
    "Verdict",
    "dump_scenario",
    "evaluate_offline",
    "gap_of",
    "inspect_event",
    "inspect_query",
    "iso_scores",
    "judge_formula",
    "list_experiments",
    "list_results",
    "list_sweeps",
    "load_experiment",
    "load_scenario",
    "load_sweep",
    "offline_pairs",
    "offline_scorers",
    "offline_scores",
    "override",
    "pareto_front",
    "prepare",
    "read_experiment",
    "read_result",
    "read_sweep",
    "relevance_of",
    "reliability_of",
    "run_experiment",
    "run_scenario",
    "run_sweep",
    "settle",
    "settle_points",
    "sweep_points",
    "tune_fusion",
    "worst_errors",
    "write_experiment",
    "write_result",
]

_HOMES = {
    "errors": ("ScenarioError", "StoreError", "UserError"),
    "experiments.run": ("ExperimentResult", "run_experiment", "write_experiment"),
    "experiments.schema": ("load_experiment",),
    "offline": (
        "PAIR_SETS",
        "Labels",
        "OfflineScores",
        "PairSet",
        "Reliability",
        "ScorerEvaluation",
        "evaluate_offline",
        "gap_of",
        "offline_pairs",
        "offline_scorers",
        "offline_scores",
        "reliability_of",
        "worst_errors",
    ),
    "replay.inspection": ("inspect_event",),
    "experiments.stored": ("StoredExperiment", "list_experiments", "read_experiment"),
    "formula": ("SHIPPED_RULES", "Fault", "FormulaError", "Verdict", "iso_scores", "judge_formula"),
    "inspection": ("GRADE_DEFINITIONS", "REASONS", "inspect_query"),
    "load": ("DEFAULT_SCENARIO", "dump_scenario", "load_scenario", "override"),
    "market": ("Prepared", "Progress", "Relevance", "Settled", "prepare", "relevance_of", "settle"),
    "run": ("RunResult", "run_scenario"),
    "schema": ("SCORERS", "Scenario"),
    "store": ("StoredResult", "list_results", "read_result", "write_result"),
    "sweep": ("pareto_front", "settle_points"),
    "sweeps.engine": ("run_sweep",),
    "sweeps.folder": ("SweepResult", "list_sweeps", "read_sweep"),
    "sweeps.schema": ("Sweep", "load_sweep", "sweep_points"),
    "tuning": ("Tuned", "tune_fusion"),
}


def __getattr__(name: str) -> object:
    for module, names in _HOMES.items():
        if name in names:
            return getattr(import_module(f"scenarios.{module}"), name)
    raise AttributeError(f"module 'scenarios' has no attribute '{name}'")
