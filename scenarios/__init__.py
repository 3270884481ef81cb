"""Scenarios as validated data, and the runs, comparisons and sweeps made of them.

Names are imported on first use, so that `import scenarios` costs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from scenarios.errors import ScenarioError, StoreError, UserError
    from scenarios.experiments.run import ExperimentResult, run_experiment, write_experiment
    from scenarios.experiments.schema import load_experiment
    from scenarios.experiments.statistics import Comparison, compare
    from scenarios.experiments.stored import StoredExperiment, list_experiments, read_experiment
    from scenarios.formula import SHIPPED_RULES, Fault, FormulaError, Verdict, iso_scores, judge_formula
    from scenarios.inspection import GRADE_DEFINITIONS, REASONS, inspect_query
    from scenarios.load import DEFAULT_SCENARIO, dump_scenario, load_scenario, override
    from scenarios.market import (
        Prepared,
        Progress,
        Relevance,
        Settled,
        check_scorers,
        frames_kept,
        prepare,
        relevance_of,
        scores_kept,
        settle,
    )
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
    from scenarios.progress import CommandProgress, read_progress
    from scenarios.replay.inspection import inspect_event
    from scenarios.run import RunResult, run_scenario
    from scenarios.schema import SCORERS, Scenario
    from scenarios.store import (
        StoredResult,
        list_results,
        read_result,
        result_folder,
        write_result,
        write_whole_file,
    )
    from scenarios.sweep import pareto_front, settle_points
    from scenarios.sweeps.analysis import (
        Sensitivity,
        best_points,
        front,
        point_scenario,
        sensitivity,
    )
    from scenarios.sweeps.engine import run_sweep
    from scenarios.sweeps.folder import (
        Status,
        SweepResult,
        list_sweeps,
        read_failures,
        read_status,
        read_sweep,
        sweep_folder,
    )
    from scenarios.sweeps.schema import Sweep, load_sweep, sweep_points
    from scenarios.tuning import Tuned, tune_fusion

__all__ = [
    "DEFAULT_SCENARIO",
    "GRADE_DEFINITIONS",
    "PAIR_SETS",
    "REASONS",
    "SCORERS",
    "SHIPPED_RULES",
    "CommandProgress",
    "Comparison",
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
    "Sensitivity",
    "Settled",
    "Status",
    "StoreError",
    "StoredExperiment",
    "StoredResult",
    "Sweep",
    "SweepResult",
    "Tuned",
    "UserError",
    "Verdict",
    "best_points",
    "check_scorers",
    "compare",
    "dump_scenario",
    "evaluate_offline",
    "frames_kept",
    "front",
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
    "point_scenario",
    "prepare",
    "read_experiment",
    "read_failures",
    "read_progress",
    "read_result",
    "read_status",
    "read_sweep",
    "relevance_of",
    "reliability_of",
    "result_folder",
    "run_experiment",
    "run_scenario",
    "run_sweep",
    "scores_kept",
    "sensitivity",
    "settle",
    "settle_points",
    "sweep_folder",
    "sweep_points",
    "tune_fusion",
    "worst_errors",
    "write_experiment",
    "write_result",
    "write_whole_file",
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
    "experiments.statistics": ("Comparison", "compare"),
    "replay.inspection": ("inspect_event",),
    "experiments.stored": ("StoredExperiment", "list_experiments", "read_experiment"),
    "formula": ("SHIPPED_RULES", "Fault", "FormulaError", "Verdict", "iso_scores", "judge_formula"),
    "inspection": ("GRADE_DEFINITIONS", "REASONS", "inspect_query"),
    "load": ("DEFAULT_SCENARIO", "dump_scenario", "load_scenario", "override"),
    "market": (
        "Prepared",
        "Progress",
        "Relevance",
        "Settled",
        "check_scorers",
        "frames_kept",
        "prepare",
        "relevance_of",
        "scores_kept",
        "settle",
    ),
    "progress": ("CommandProgress", "read_progress"),
    "run": ("RunResult", "run_scenario"),
    "schema": ("SCORERS", "Scenario"),
    "store": (
        "StoredResult",
        "list_results",
        "read_result",
        "result_folder",
        "write_result",
        "write_whole_file",
    ),
    "sweep": ("pareto_front", "settle_points"),
    "sweeps.analysis": ("Sensitivity", "best_points", "front", "point_scenario", "sensitivity"),
    "sweeps.engine": ("run_sweep",),
    "sweeps.folder": (
        "Status",
        "SweepResult",
        "list_sweeps",
        "read_failures",
        "read_status",
        "read_sweep",
        "sweep_folder",
    ),
    "sweeps.schema": ("Sweep", "load_sweep", "sweep_points"),
    "tuning": ("Tuned", "tune_fusion"),
}


def __getattr__(name: str) -> object:
    for module, names in _HOMES.items():
        if name in names:
            return getattr(import_module(f"scenarios.{module}"), name)
    raise AttributeError(f"module 'scenarios' has no attribute '{name}'")
