"""What is open in the dashboard: a stored result, its market, and what has been simulated on it.

Everything that takes time is kept by Streamlit's caches, shared by all who look at the dashboard.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar, cast

import psutil
import streamlit as st

from app.background import Worker
from app.files import WORLDS, results_root as results_root, worlds_compared
from app.jobs import Job
from app.language import t
from app.parts import waiting
from app.setting import BASELINE as BASELINE, Setting, market_settings
from app.simulated import Day, NotScoredError, OtherWorld, SimulatedDays
from relevance.pretrained import pretrained_of
from scenarios import (
    Asker,
    Labels,
    OfflineScores,
    PairSet,
    PairTotals,
    Prepared,
    Progress,
    Relevance,
    Replay,
    Scenario,
    ScorerEvaluation,
    Simulation,
    Status,
    StoredExperiment,
    StoredResult,
    SweepResult,
    evaluate_offline,
    frames_kept,
    offline_pairs,
    offline_scores as score_offline,
    other_worlds,
    prepare,
    read_experiment,
    read_replay,
    read_result,
    read_sweep,
    relevance_of,
    scenario_key,
    scores_kept,
    simulate,
)

LIVE_QUERIES = 100_000
"""A slider simulates at most this many of the day's queries, so that it answers within about a second."""
MARKETS = 2 * max(worlds_compared(), WORLDS)
"""Markets that stay in memory with what was simulated on them: all worlds of two results."""

KEYS: dict[str | type, Callable[[Any], Any]] = {
    Scenario: scenario_key,
    Prepared: lambda market: scenario_key(market.scenario),
}
"""How Streamlit's caches tell scenarios and markets apart."""

Stored = TypeVar("Stored")


@dataclass(frozen=True, slots=True)
class Opened:
    """A stored result with its market, and the two settings of the bar: A is today's, B is mine."""

    result: StoredResult
    prepared: Prepared
    a: Setting
    b: Setting

    @property
    def scenario(self) -> Scenario:
        return self.result.scenario


def sweep(folder: Path) -> SweepResult:
    """A stored sweep, finished or not.

    Raises:
        ValueError: it has no finished points, or its files are damaged.
    """
    return _read(folder, read_sweep, "points.parquet", "failures")


def seems_at_work(status: Status | None) -> bool:
    """Whether the process that wrote a sweep's status has not said that it ended, and still lives."""
    if status is None or status.state not in ("preparing", "running"):
        return False
    return bool(psutil.pid_exists(status.pid))


def experiment(folder: Path) -> StoredExperiment:
    """A stored experiment.

    Raises:
        ValueError: it is missing, incomplete, or of another version.
    """
    return _read(folder, read_experiment, "experiment.yaml")


def result(folder: Path) -> StoredResult:
    """A stored result.

    Raises:
        StoreError: it is missing or incomplete.
    """
    return _read(folder, read_result, "points.parquet")


def replay(folder: Path) -> Replay:
    """A stored replay.

    Raises:
        StoreError: it is missing, damaged, or of another version.
    """
    return _read(folder, read_replay, "replay.parquet", "replay.json")


def prepared(scenario: Scenario) -> Prepared:
    """A scenario's world and candidates. Where frames must be drawn first, the page shows that and ends."""
    if not frames_kept(scenario, results_root()):
        waiting.prepare_first(results_root(), scenario, scenario.scorer)
    with st.spinner(t("spinner.market")):
        return _prepared(scenario, str(results_root()))


def relevance(market: Prepared, scorer: str) -> Relevance:
    """A scorer's relevance of every pair that can meet.

    Where a neural model must score first, the page shows that and ends. The other scorers take no time.

    Raises:
        ValueError: the scorer cannot be had; the message says why and what to do.
    """
    try:
        with st.spinner(t("spinner.scoring")):
            return _had(market, scorer)
    except NotScoredError:
        waiting.prepare_first(results_root(), market.scenario, scorer)
    with st.spinner(t("spinner.scoring")):
        return relevance_of(market, scorer, cache=results_root())


def asker(market: Prepared, scorer: str) -> Asker:
    """What answers queries of any text by a scorer, which is loaded once.

    Raises:
        ValueError: the scorer cannot be had; the message says why and what to do.
    """
    with st.spinner(t("spinner.loading")):
        return _asker(market, scorer)


def metrics(market: Prepared, setting: Setting, *, whole: bool = False, day: int = 0) -> dict[str, float]:
    """Metrics of a setting on a day: 0 is the scenario's own, 1, 2, ... those of the seeds after it.

    All settings meet the same queries and the same random draws on each day.

    Args:
        whole: on all queries, however many there are; without, a preview on `live_queries` of them.

    Raises:
        ValueError: the scorer cannot be had; the message says why and what to do.
    """
    key = setting, None if whole else live_queries(market), day
    if not is_known(market, setting, whole=whole, day=day):
        _simulate_day(market, key)
    return _simulated(market).metrics[key]


def who_brought_what(market: Prepared, setting: Setting) -> list[PairTotals]:
    """What queries and ads brought on each of the days of `metrics`."""
    totals = _simulated(market).totals
    sample = live_queries(market)
    found = []
    for day in range(n_days(market)):
        key = setting, sample, day
        if key not in totals:
            _simulate_day(market, key)
        found.append(totals[key])
    return found


def simulate_later(
    market: Prepared,
    wanted: Sequence[tuple[Setting, int]],
    *,
    whole: bool,
    elsewhere: Sequence[Setting] = (),
) -> None:
    """Simulate settings on days beside the page, in the place of what was wanted before; see `is_known`.

    Args:
        elsewhere: settings that are simulated in other worlds then, on all days; see `worlds`.
    """
    scorers = {setting.scorer for setting in (*(one for one, _ in wanted), *elsewhere)}
    scored = {scorer: relevance(market, scorer) for scorer in scorers}
    simulated, sample = _simulated(market), None if whole else live_queries(market)
    days, worker_ = range(n_days(market)), worker()
    tasks = [
        partial(simulated.ensure, (setting, sample, day), scored[setting.scorer]) for setting, day in wanted
    ]
    for scenario in _others(market) if elsewhere else ():
        world = _other_world(scenario, str(results_root()))
        tasks.append(partial(world.open, sorted(scorers), worker_.superseded))
        tasks += [partial(world.ensure, (one, sample, day)) for one in elsewhere for day in days]
    worker_.want(tasks)


def worlds(market: Prepared) -> list[Prepared] | None:
    """The market, and the same in other worlds; None while one of these is not open.

    What has taken long to prepare in the background is then only asked for.
    """
    others = [_other_world(scenario, str(results_root())).prepared for scenario in _others(market)]
    return None if None in others else [market, *(one for one in others if one is not None)]


def n_worlds(market: Prepared) -> int:
    """Over how many worlds settings are compared, once the others are open; 1 where there are no others."""
    return 1 + len(_others(market))


def world_job(market: Prepared) -> tuple[int, Job] | None:
    """The command that prepares another world for this market and has not come to a good end, if any."""
    for scenario in _others(market):
        if (job := _other_world(scenario, str(results_root())).job()) is not None:
            return scenario.world.seed, job
    return None


def world_fault(market: Prepared) -> str:
    """Why another world cannot be opened; nothing where none was refused."""
    faults = (_other_world(scenario, str(results_root())).fault for scenario in _others(market))
    return next(filter(None, faults), "")


def _others(market: Prepared) -> list[Scenario]:
    scenario = market.scenario
    several = scenario.market.kind == "world" and scenario.serving.scoring == "table" and n_days(market) > 1
    return other_worlds(scenario, worlds_compared() - 1) if several else []


def _simulate_day(market: Prepared, key: Day) -> None:
    """Simulate a day, and keep its metrics and, of the newest days, what queries and ads brought."""
    scored = relevance(market, key[0].scorer)
    with worker().resting():
        _simulated(market).simulate(key, scored)


def _simulated(market: Prepared) -> SimulatedDays:
    return _simulated_days(market, str(results_root()))


@st.cache_resource(show_spinner=False)
def worker() -> Worker:
    """What simulates beside the pages."""
    return Worker()


def is_known(market: Prepared, setting: Setting, *, whole: bool, day: int) -> bool:
    """Whether `metrics` need not simulate."""
    key = setting, None if whole else live_queries(market), day
    return _simulated(market).has(key, partial(relevance, market, setting.scorer))


def known_days(market: Prepared, settings: Sequence[Setting]) -> list[list[dict[str, float]]] | None:
    """Metrics of settings over all days, where these are known; None otherwise. Nothing is simulated."""
    simulated, sample = _simulated(market), live_queries(market)
    keys = [[(setting, sample, day) for day in range(n_days(market))] for setting in settings]
    try:
        if not all(simulated.has(key, partial(_had, market, key[0].scorer)) for own in keys for key in own):
            return None
    except (NotScoredError, ValueError, OSError):
        return None
    return [[simulated.metrics[key] for key in own] for own in keys]


def n_days(market: Prepared) -> int:
    """Over how many days settings are compared: 1 of a table, or where servers queue."""
    several = market.source.has_other_days and market.scenario.serving.instant
    return market.scenario.days_compared if several else 1


Sample = tuple[PairSet, int | None]
"""Which pairs of the relevance lab, and of how many queries (None: of all)."""


@st.cache_resource(show_spinner=False, max_entries=16, hash_funcs=KEYS)
def offline_labels(market: Prepared, sample: Sample) -> Labels:
    """The graded pairs of a sample.

    Raises:
        ValueError: there are none; the message says why.
    """
    return offline_pairs(market, *sample)


def offline_scores(
    market: Prepared, labels: Labels, sample: Sample, scorer: str, progress: Progress
) -> OfflineScores:
    """A scorer's scores of a sample.

    Raises:
        ValueError: the scorer cannot be had; the message says why and what to do.
    """
    kept = _kept_offline_scores(scenario_key(market.scenario))
    if (sample, scorer) not in kept:
        progress("", 0, len(labels))  # a model is loaded and looks at the frames before its first pairs
        kept[sample, scorer] = score_offline(market, labels, scorer, cache=results_root(), progress=progress)
    return kept[sample, scorer]


@st.cache_resource(show_spinner=False, max_entries=64, hash_funcs=KEYS)
def offline_evaluation(
    market: Prepared,
    sample: Sample,
    scorers: tuple[str, ...],
    _labels: Labels,
    _scores: Mapping[str, OfflineScores],
) -> list[ScorerEvaluation]:
    """Offline metrics of scorers, the first of which is the reference: the names of `_scores`."""
    return evaluate_offline(_labels, _scores)


def whole_day(market: Prepared, setting: Setting | None = None) -> Simulation:
    """The run of a setting on all queries of the scenario's own day; without one, the scenario's own run.

    Raises:
        ValueError: its scorer cannot be had; the message says why and what to do.
    """
    relevance(market, market.scenario.scorer if setting is None else setting.scorer)
    with st.spinner(t("spinner.day")):
        return _whole_day(market, setting)


def total_queries(market: Prepared) -> int:
    """How many queries come, over all days; of a table, its events."""
    return market.source.n_queries(market.scenario)


def live_queries(market: Prepared, most: int = LIVE_QUERIES) -> int | None:
    """How many of the queries a slider simulates; None for all: servers would have less to do with a part."""
    total = total_queries(market)
    return None if total <= most or not market.scenario.serving.instant else most


def open_for_pages(opened: Opened) -> None:
    """Hand what is open to the page that runs next."""
    st.session_state["opened"] = opened


def current() -> Opened:
    """What is open."""
    return cast(Opened, st.session_state["opened"])


def _read(folder: Path, reader: Callable[[str], Stored], *files: str) -> Stored:
    """What a folder holds, read again when one of these files has changed."""
    stamps = [path.stat().st_mtime_ns for name in files if (path := folder / name).exists()]
    return cast(Stored, _stored(str(folder), stamps, reader))


@st.cache_resource(show_spinner=False, max_entries=20)
def _stored(folder: str, stamps: list[int], _reader: Callable[[str], object]) -> object:
    return _reader(folder)


@st.cache_resource(show_spinner=False, max_entries=2, hash_funcs=KEYS)
def _prepared(scenario: Scenario, root: str) -> Prepared:
    return prepare(scenario, cache=Path(root))


@st.cache_resource(show_spinner=False, max_entries=40, hash_funcs=KEYS)
def _relevance(market: Prepared, scorer: str, root: str) -> Relevance:
    neural = scorer == "hcmrm" or pretrained_of(scorer)
    if neural and not scores_kept(market, scorer, Path(root)):
        raise NotScoredError
    return relevance_of(market, scorer, cache=Path(root))


@st.cache_resource(show_spinner=False, max_entries=4, hash_funcs=KEYS)
def _asker(market: Prepared, scorer: str) -> Asker:
    return Asker(market, scorer)


def _had(market: Prepared, scorer: str) -> Relevance:
    """As `relevance`, once that has waited for it: nothing is drawn, so what is cached may ask for it."""
    return _relevance(market, scorer, str(results_root()))


@st.cache_resource(show_spinner=False, max_entries=MARKETS, hash_funcs=KEYS)
def _simulated_days(market: Prepared, root: str) -> SimulatedDays:
    """What has been simulated on a market, filled by `metrics` and `who_brought_what`."""
    return SimulatedDays(market, Path(root))


@st.cache_resource(show_spinner=False, max_entries=MARKETS, hash_funcs=KEYS)
def _other_world(scenario: Scenario, root: str) -> OtherWorld:
    """A market in another world, which `simulate_later` opens."""
    return OtherWorld(scenario, Path(root), _simulated_days, _relevance)


@st.cache_resource(show_spinner=False, max_entries=2)
def _kept_offline_scores(key: str) -> dict[tuple[Sample, str], OfflineScores]:
    """A scenario's scores, filled by `offline_scores`: a cached function may not draw progress."""
    return {}


@st.cache_resource(show_spinner=False, max_entries=2, hash_funcs=KEYS)
def _whole_day(market: Prepared, setting: Setting | None) -> Simulation:
    scorer = market.scenario.scorer if setting is None else setting.scorer
    return simulate(market, _had(market, scorer), None if setting is None else market_settings(setting))
