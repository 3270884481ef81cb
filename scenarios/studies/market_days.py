"""Days of one prepared market under many settings, each simulated once and its metrics kept.

All settings meet the same draws on a day: the same queries, users, values and budgets. These are drawn once
for each day. Metrics are kept where those of a run's points are, by a hash of all that decides them.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from pathlib import Path

from scenarios.config.scenario import Scenario
from scenarios.errors import StoreError
from scenarios.markets.prepared import Prepared, Relevance
from scenarios.markets.simulation import (
    Simulation,
    market_of,
    rule_of,
    simulate_market,
    thin,
    with_settings_of,
)
from scenarios.storage.whole import whole_path
from scenarios.studies.replicates import (
    ModelKey,
    World,
    model_of,
    plug_ins,
    read_metrics,
    replicates_folder,
    share_scored,
)
from simulator.market import Market, with_relevance, with_rule
from simulator.measures.market_metrics import with_rates, without_rates

DRAWN_KEPT = 6
"""Days whose draws stay in memory, some ten MB each."""


class MarketDays:
    """Simulates days of a market, and reads and keeps their metrics."""

    def __init__(self, prepared: Prepared, root: Path) -> None:
        """Nothing is simulated yet.

        Args:
            root: the results folder, under which metrics are kept.
        """
        self.prepared, self._root = prepared, root
        self._worlds: dict[ModelKey, World] = {}
        self._drawn: dict[str, Market] = {}

    def read(
        self, relevance: Relevance, settings: Mapping[str, object], n_queries: int | None = None
    ) -> dict[str, float] | None:
        """The kept metrics of a day; None where it has not been simulated, or is never kept.

        Args:
            settings, n_queries: as of `scenarios.simulate`.
        """
        path = self._path(relevance, with_settings_of(self.prepared, settings), n_queries)
        found = None if path is None else read_metrics(path)
        return None if found is None else without_rates(found[0])

    def simulate(
        self, relevance: Relevance, settings: Mapping[str, object], n_queries: int | None = None
    ) -> Simulation:
        """Simulate a day as `scenarios.simulate` does, and keep its metrics where the disk takes them.

        Raises:
            ScenarioError: see `scenarios.simulate`.
        """
        scenario = with_settings_of(self.prepared, settings)
        market = self._market(relevance, scenario)
        run = simulate_market(self.prepared, market if n_queries is None else thin(market, n_queries))
        if (path := self._path(relevance, scenario, n_queries)) is not None:
            with contextlib.suppress(StoreError), whole_path(path, flush=False) as part:
                part.write_text(json.dumps([with_rates(run.metrics)]))
        return run

    def _market(self, relevance: Relevance, scenario: Scenario) -> Market:
        """The market of a scenario; what its ranking does not decide is drawn once."""
        plain = {"name": "drawn", "scorer": "none", "compare": (), "sweep": None}
        fusion = type(scenario).model_fields["fusion"].get_default(call_default_factory=True)
        key = scenario.model_copy(update={**plain, "fusion": fusion}).model_dump_json()
        drawn = self._drawn.get(key)
        if drawn is None or scenario.serving.scoring == "live":
            drawn = market_of(self.prepared, relevance, scenario)
            while len(self._drawn) >= DRAWN_KEPT:
                self._drawn.pop(next(iter(self._drawn)), None)
            self._drawn[key] = drawn
        return with_rule(with_relevance(drawn, relevance.score), rule_of(scenario))

    def _path(self, relevance: Relevance, scenario: Scenario, n_queries: int | None) -> Path | None:
        """Where the metrics of a day are kept; None where not all that decides them is known."""
        scenario = scenario.model_copy(update={"scorer": relevance.scorer})
        live = scenario.serving.scoring == "live" or scenario.serving.clock == "measured"
        if live or plug_ins(scenario):
            return None
        key = model_of(scenario)
        if key not in self._worlds:
            shared = share_scored(self.prepared, {relevance.scorer: relevance}, [scenario])
            self._worlds[key] = World(shared, self._root, replicates_folder(self._root))
        kind = "simulated" if n_queries is None else f"simulated on {n_queries}"
        return self._worlds[key].path_of(scenario, kind)
