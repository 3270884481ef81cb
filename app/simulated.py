"""Days of markets under settings, each simulated once; and other worlds, opened beside the pages."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from pathlib import Path

from app import jobs
from app.jobs import Job
from app.setting import Setting, market_settings
from scenarios import (
    MarketDays,
    PairTotals,
    Prepared,
    Relevance,
    Scenario,
    dump_scenario,
    prepare,
    scenario_key,
    totals_of,
)

METRICS_KEPT = 2000
"""Of so many days metrics are kept in memory, some KB each; those of others are read from disk again."""

TOTALS_KEPT = 48
"""Of so many days what queries and ads brought is kept in memory, some MB each: of four settings and more."""

PREPARE = "prepare"
"""The kind of job that draws frames and scores pairs."""

Day = tuple[Setting, int | None, int]
"""What is simulated: a setting, on so many queries (None: all), on day 0, 1, 2, ... of a market."""


class NotScoredError(Exception):
    """A neural model has not scored the pairs of a market yet."""


class SimulatedDays:
    """What has been simulated on a market. Metrics are on disk, too, so that a second start finds them."""

    def __init__(self, market: Prepared, root: Path) -> None:
        self._seed, self._days = market.scenario.seed, MarketDays(market, root)
        self.metrics: OrderedDict[Day, dict[str, float]] = OrderedDict()
        """The day that nobody has asked for longest comes first."""
        self.totals: dict[Day, PairTotals] = {}
        self._sought: set[Day] = set()

    def has(self, key: Day, relevance: Callable[[], Relevance]) -> bool:
        """Whether `metrics` has a day, now or from an earlier start."""
        if key not in self.metrics and key not in self._sought:
            found = self._days.read(relevance(), self._settings(key), key[1])
            self._sought.add(key)
            if found is not None:
                self._keep(key, found)
        try:
            self.metrics.move_to_end(key)
        except KeyError:
            return False
        return True

    def ensure(self, key: Day, relevance: Relevance) -> None:
        """Simulate a day unless it is known."""
        if not self.has(key, lambda: relevance):
            self._keep(key, self._days.simulate(relevance, self._settings(key), key[1]).metrics)

    def simulate(self, key: Day, relevance: Relevance) -> None:
        """Simulate a day, and keep what queries and ads brought beside its metrics."""
        run = self._days.simulate(relevance, self._settings(key), key[1])
        while len(self.totals) >= TOTALS_KEPT:
            self.totals.pop(next(iter(self.totals)), None)
        self.totals[key] = totals_of(run)
        self._keep(key, run.metrics)

    def _keep(self, key: Day, metrics: dict[str, float]) -> None:
        self.metrics[key] = metrics
        while len(self.metrics) > METRICS_KEPT:
            self._sought.discard(self.metrics.popitem(last=False)[0])
        if len(self._sought) > 2 * METRICS_KEPT:
            self._sought.clear()

    def _settings(self, key: Day) -> dict[str, object]:
        return {**market_settings(key[0]), "seed": self._seed + key[2]}


class OtherWorld:
    """The market of a scenario in another world, which is not that of a stored result."""

    def __init__(
        self,
        scenario: Scenario,
        root: Path,
        simulated: Callable[[Prepared, str], SimulatedDays],
        relevance: Callable[[Prepared, str, str], Relevance],
    ) -> None:
        """Nothing is prepared yet.

        Args:
            root: the results folder.
            simulated: gives the days of a market.
            relevance: gives a scorer's relevance on it, or raises NotScoredError.
        """
        self.scenario, self._root = scenario, root
        self._simulated, self._relevance = simulated, relevance
        self.prepared: Prepared | None = None
        """The market, once it is open."""
        self.fault = ""
        """Why it cannot be opened."""

    def open(self, scorers: Sequence[str], superseded: Callable[[], bool]) -> None:
        """Prepare the market, and score its pairs; what takes long is a command of its own.

        Raises:
            NotScoredError: somebody has stopped that command, or wants something else meanwhile.
            ValueError: the market or a scorer cannot be had.
        """
        try:
            market = self.prepared or prepare(self.scenario, cache=self._root)
            for scorer in scorers:
                try:
                    self._relevance(market, scorer, str(self._root))
                except NotScoredError:
                    self._score(scorer, superseded)
                    self._relevance(market, scorer, str(self._root))
        except (ValueError, OSError) as error:
            self.fault = str(error)
            raise
        self.prepared, self.fault = market, ""

    def ensure(self, key: Day) -> None:
        """Simulate a day of the open market unless it is known."""
        assert self.prepared is not None, "opened by the task before"
        root = str(self._root)
        self._simulated(self.prepared, root).ensure(key, self._relevance(self.prepared, key[0].scorer, root))

    def job(self) -> Job | None:
        """The command that prepares the market, unless it has come to a good end."""
        for job in jobs.all_jobs(self._root):
            ours = job.kind == PREPARE and job.subject.endswith(f"-{scenario_key(self.scenario)}")
            if ours and jobs.outcome(job).state != "done":
                return job
        return None

    def _score(self, scorer: str, superseded: Callable[[], bool]) -> None:
        job = scoring(self._root, self.scenario, scorer)
        while jobs.is_alive(job):
            if superseded():
                raise NotScoredError
            time.sleep(0.5)
        if jobs.outcome(job).state != "done":
            raise NotScoredError  # the page shows how it has ended
        jobs.forget(job)


def scoring(root: Path, scenario: Scenario, scorer: str) -> Job:
    """The command that prepares a market and scores its pairs: the last one, or else a new one.

    Raises:
        StoreError: its folder cannot be written.
    """
    subject = f"{scorer}-{scenario_key(scenario)}"
    if (job := jobs.latest(root, PREPARE, subject)) is not None:
        return job
    arguments = [PREPARE, f"{jobs.HERE}/scenario.yaml", "--scorer", scorer, "--out", str(root)]
    return jobs.start(root, PREPARE, subject, arguments, {"scenario.yaml": dump_scenario(scenario)})
