"""What a run had finished when a scorer of one's own failed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl

from relevance.errors import ScorerError
from scenarios.config.load import dump_scenario
from scenarios.config.scenario import Scenario
from scenarios.markets.prepared import Prepared, Relevance
from scenarios.runs.points import simulate_points
from scenarios.runs.results import INCOMPLETE
from scenarios.storage.parquet import write_parquet
from scenarios.storage.whole import whole_folder


def incomplete(folder: Path) -> Path:
    """Where what a run had finished is kept if it fails."""
    return folder.with_name(folder.name + INCOMPLETE)


def keep_incomplete(
    folder: Path,
    prepared: Prepared,
    relevances: Mapping[str, Relevance],
    scorer: str,
    error: ScorerError,
    *,
    sweep: bool = True,
) -> None:
    """Keep what a run had finished when a scorer failed.

        incomplete.json     which scorers are finished, which one failed, at what, and after how many pairs
        scenario.yaml       the scenario
        finished.parquet    the rows of points.parquet for the finished scorers, if any is
        scores.parquet      query, ad and score of the pairs that the scorer had finished, if any

    Raises:
        StoreError: it cannot be written.
    """
    query, column = np.nonzero(prepared.candidate >= 0)
    ad, score = prepared.candidate[query, column], error.done
    done = np.zeros(query.size, dtype=bool) if score is None else ~np.isnan(score)
    facts = {
        "incomplete": True,
        "finished": list(relevances),
        "failed": scorer,
        "error": str(error),
        "pairs_scored": int(done.sum()),
        "pairs": int(query.size),
    }
    with whole_folder(folder) as part:
        (part / "incomplete.json").write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
        (part / "scenario.yaml").write_text(dump_scenario(prepared.scenario), encoding="utf-8")
        if relevances:
            finished = replace(prepared, scenario=_only(prepared.scenario, relevances))
            write_parquet(simulate_points(finished, relevances, sweep=sweep), part / "finished.parquet")
        if score is not None and done.any():
            corpus = prepared.corpus
            ids = corpus.ad_ids()
            columns = {
                "query": [corpus.query_text[i] for i in query[done].tolist()],
                "ad": [ids[i] for i in ad[done].tolist()],
                "score": score[done],
            }
            write_parquet(pl.DataFrame(columns), part / "scores.parquet")


def _only(scenario: Scenario, scorers: Mapping[str, object]) -> Scenario:
    """A scenario with some of its scorers alone."""
    compare = tuple(name for name in scenario.compare if name in scorers)
    swept = scenario.sweep
    if swept is not None:
        names = tuple(name for name in swept.scorers if name in scorers)
        swept = swept.model_copy(update={"scorers": names}) if names else None
    own = scenario.scorer if scenario.scorer in scorers else next(iter(scorers))
    return scenario.model_copy(update={"scorer": own, "compare": compare, "sweep": swept})
