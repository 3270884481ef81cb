"""Kinds of market: each has an entry, and whoever uses one asks what it can do, not which it is."""

import pickle
from dataclasses import dataclass
from typing import ClassVar, get_args

import polars as pl
import pytest

from scenarios import ScenarioError, inspect_event, inspect_query, prepare, relevance_of, simulate
from scenarios.config.market_kinds import MarketSettings
from scenarios.markets.embedded import EmbeddedWorld
from scenarios.markets.kind import MarketSource
from scenarios.markets.registry import SOURCES
from scenarios.runs.scenario_run import run_scenario


@dataclass(frozen=True)
class TextsAlone(MarketSource):
    """A kind that has texts and grades of its own, and is no embedded world."""

    inner: EmbeddedWorld
    called: ClassVar[str] = "a folder of texts"

    @classmethod
    def read(cls, scenario, cache, progress):
        return cls(EmbeddedWorld.read(scenario, cache, progress))

    @property
    def corpus(self):
        return self.inner.corpus

    def candidates(self, scenario):
        return self.inner.candidates(scenario)

    def grade(self, query, ad):
        return self.inner.grade(query, ad)

    def market(self, candidate, relevance, scenario, rule):
        return self.inner.market(candidate, relevance, scenario, rule)

    def n_queries(self, scenario):
        return self.inner.n_queries(scenario)

    def known(self, metrics):
        return {name: value for name, value in metrics.items() if name != "welfare"}

    def named(self, log):
        return log.impressions().with_columns(owner=pl.lit("mine"))


def test_every_kind_that_a_scenario_may_name_has_an_entry():
    union, *_ = get_args(MarketSettings)
    assert set(SOURCES) == {kind.model_fields["kind"].annotation.__args__[0] for kind in get_args(union)}


def test_a_new_kind_takes_its_class_and_its_entry_alone(prepared, monkeypatch, tmp_path):
    usual = run_scenario(prepared.scenario, cache=tmp_path)
    monkeypatch.setitem(SOURCES, "world", TextsAlone)
    result = run_scenario(prepared.scenario, cache=tmp_path)
    assert result.points.equals(usual.points.select(result.points.columns))
    assert "welfare" in usual.metrics
    assert "welfare" not in result.metrics
    assert set(result.log["owner"]) == {"mine"}
    own = prepare(prepared.scenario, cache=tmp_path)
    oracle = relevance_of(own, "oracle")
    assert inspect_query(own, oracle, 0).equals(inspect_query(prepared, relevance_of(prepared, "oracle"), 0))
    with pytest.raises(ScenarioError, match="which a folder of texts does not have"):
        _ = own.world
    with pytest.raises(ValueError, match="the market is a folder of texts, and no table of auctions"):
        inspect_event(own, simulate(own, oracle), 0)


def test_a_market_without_frames_is_small_and_simulates_alike(prepared):
    bare = prepared.without_frames()
    assert len(pickle.dumps(bare)) < len(pickle.dumps(prepared)) - prepared.corpus.frames.nbytes // 2
    oracle = relevance_of(prepared, "oracle")
    assert simulate(bare, oracle).metrics == simulate(prepared, oracle).metrics
    assert bare.corpus.frames.shape[1] == 0
