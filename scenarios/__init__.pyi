"""Scenarios as validated data, and the runs, comparisons and sweeps made of them.

This is the public surface, listed once: `__init__.py` imports each name from its home on first use.
"""

from .config.fusion_text import (
    fusion_block as fusion_block,
    fusion_text as fusion_text,
)
from .config.load import (
    dump_scenario as dump_scenario,
    override as override,
    scenario_key as scenario_key,
)
from .config.scenario import (
    SCORERS as SCORERS,
    Scenario as Scenario,
)
from .errors import (
    ScenarioError as ScenarioError,
    StoreError as StoreError,
    UserError as UserError,
)
from .markets.kind import (
    Progress as Progress,
)
from .markets.loading import (
    DEFAULT_SCENARIO as DEFAULT_SCENARIO,
    load_scenario as load_scenario,
)
from .markets.prepared import (
    Prepared as Prepared,
    Relevance as Relevance,
)
from .markets.scoring import (
    check_scorers as check_scorers,
    relevance_of as relevance_of,
    scores_kept as scores_kept,
)
from .markets.simulation import (
    FALLBACK as FALLBACK,
    METRICS as METRICS,
    MICROS as MICROS,
    Simulation as Simulation,
    frames_kept as frames_kept,
    is_share as is_share,
    prepare as prepare,
    simulate as simulate,
)
from .models.offline import (
    PAIR_SETS as PAIR_SETS,
    Labels as Labels,
    OfflineScores as OfflineScores,
    PairSet as PairSet,
    Reliability as Reliability,
    ScorerEvaluation as ScorerEvaluation,
    evaluate_offline as evaluate_offline,
    gap_of as gap_of,
    offline_doubts as offline_doubts,
    offline_pairs as offline_pairs,
    offline_scorers as offline_scorers,
    offline_scores as offline_scores,
    reliability_of as reliability_of,
    worst_errors as worst_errors,
)
from .replay.replay_run import (
    Replay as Replay,
)
from .replay.stored_replays import (
    list_replays as list_replays,
    read_replay as read_replay,
)
from .runs.asking import (
    AskedPage as AskedPage,
    Asker as Asker,
    ask as ask,
    known_page as known_page,
)
from .runs.formula_verdict import (
    SHIPPED_RULES as SHIPPED_RULES,
    Fault as Fault,
    FormulaError as FormulaError,
    RuleTraits as RuleTraits,
    Verdict as Verdict,
    iso_scores as iso_scores,
    judge_formula as judge_formula,
    judge_rule as judge_rule,
)
from .runs.inspection import (
    GRADE_DEFINITIONS as GRADE_DEFINITIONS,
    REASONS as REASONS,
    inspect_event as inspect_event,
    inspect_query as inspect_query,
)
from .runs.points import (
    pareto_front as pareto_front,
    simulate_points as simulate_points,
)
from .runs.results import (
    StoredResult as StoredResult,
    list_results as list_results,
    read_result as read_result,
    result_folder as result_folder,
    write_result as write_result,
)
from .runs.scenario_run import (
    RunResult as RunResult,
    run_scenario as run_scenario,
)
from .runs.tuning import (
    Tuned as Tuned,
    tune_fusion as tune_fusion,
)
from .storage.command_progress import (
    CommandProgress as CommandProgress,
    read_progress as read_progress,
)
from .storage.whole import (
    write_whole_file as write_whole_file,
)
from .studies.difference import (
    DIVIDED as DIVIDED,
    GROUPINGS as GROUPINGS,
    Division as Division,
    PairTotals as PairTotals,
    division_rows as division_rows,
    narrowed as narrowed,
    responsible_for as responsible_for,
    totals_of as totals_of,
)
from .studies.experiments.experiment import (
    load_experiment as load_experiment,
    other_worlds as other_worlds,
)
from .studies.experiments.experiment_run import (
    ExperimentResult as ExperimentResult,
    run_experiment as run_experiment,
    write_experiment as write_experiment,
)
from .studies.experiments.statistics import (
    Comparison as Comparison,
    Estimate as Estimate,
    compare as compare,
    t_interval as t_interval,
    t_quantile as t_quantile,
)
from .studies.experiments.stored import (
    StoredExperiment as StoredExperiment,
    list_experiments as list_experiments,
    read_experiment as read_experiment,
)
from .studies.market_days import (
    MarketDays as MarketDays,
)
from .studies.study import (
    Status as Status,
    StudyError as StudyError,
    read_failures as read_failures,
    read_status as read_status,
)
from .studies.sweeps.analysis import (
    Sensitivity as Sensitivity,
    behind as behind,
    best_points as best_points,
    front as front,
    point_scenario as point_scenario,
    sensitivity as sensitivity,
)
from .studies.sweeps.folder import (
    SweepResult as SweepResult,
    list_sweeps as list_sweeps,
    read_sweep as read_sweep,
    sweep_folder as sweep_folder,
)
from .studies.sweeps.sweep import (
    Sweep as Sweep,
    load_sweep as load_sweep,
    sweep_points as sweep_points,
)
from .studies.sweeps.sweep_run import (
    run_sweep as run_sweep,
)
