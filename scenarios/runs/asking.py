"""A query of any text, auctioned at once: retrieval, scoring, fusion and prices.

    market = prepare(load_scenario(DEFAULT_SCENARIO))
    page = ask(market, "red kettle")

What is assumed of a text that the world does not have:

- It is asked at the start of the day: opening bids, every budget whole.
- Its true grades are known where every word says what it asks for (`simulator.world.intents`). Elsewhere
  they are unknown, and so is how often users would click.
- A click prediction that is learnt (pctr.kind) has learnt from the pages of the warm-up days, ranked by bid x
  pCTR. Of a text that is new it knows the ads and how they were found.
- One that is a signal predicts, where grades are unknown, the average click rate of each ad over the day's
  traffic; an ad without traffic gets the mean of the others.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple, cast

import numpy as np
import polars as pl

from relevance.errors import UserError
from relevance.oracle import OracleScorer
from relevance.protocol import AnyQuery, score_pairs
from relevance.ranges import check_within
from scenarios.config.scenario import Scenario
from scenarios.errors import quoted
from scenarios.markets.kind import Found
from scenarios.markets.plug_ins import is_own, of_queries, own_scorer
from scenarios.markets.prepared import Prepared, Relevance
from scenarios.markets.scoring import check_scorers, load_scorer
from scenarios.markets.simulation import shared_past, with_settings_of, with_tables
from scenarios.runs.inspection import auctioned, candidates_table, inspect_query
from simulator import journey, pctr
from simulator.arrays import FloatArray, IntArray
from simulator.market import Market
from simulator.retrieval import RECALLS, Candidates
from simulator.serving import FALLBACK

if TYPE_CHECKING:
    from relevance.hcmrm import HcmrmScorer

MOST_LETTERS = 500
"""Of a query."""


@dataclass(frozen=True, slots=True)
class AskedPage:
    """The answer to a query."""

    text: str
    """As it is read: lower-case words separated by single spaces."""
    words: tuple[tuple[str, str], ...]
    """Each word as typed, and as retrieval reads it."""
    scorer: str
    known: bool
    """Whether the world has this very query."""
    graded: bool
    """Whether its true grades are known."""
    ads: pl.DataFrame
    """As of `inspect_query`, with two columns more: bid_keyword, which brings the ad, and match, one of
    simulator.retrieval.RECALLS. Where grades are not known, grade and p_click are null."""
    markers: pl.DataFrame | None = None
    """What the frames of each ad say of the query, for an HCMRM with frame markers: ad, token (a word, or a
    piece of a word that the model's vocabulary lacks), and marker, log P(token | frames) - log P(token | no
    frames) within +-6. In the order of `ads`."""


def ask(
    prepared: Prepared, text: str, scorer: str | None = None, settings: Mapping[str, object] | None = None
) -> AskedPage:
    """Auction a query of any text. To ask several, make one `Asker`, which loads the scorer once.

    Args:
        scorer: replaces the scenario's.
        settings: fields to replace in the scenario, e.g. `{"fusion.relevance": 2.0}`.

    Raises:
        CheckpointError, MissingExtraError, PluginError, ScorerError: the scorer cannot be had, or fails.
        ScenarioError: the market has no texts, or see `scenarios.simulate`.
        UserError: the text holds no word, or is too long; or the scorer is the oracle, and the true grades of
            the query are not known.
    """
    return Asker(prepared, scorer).ask(text, settings)


def known_page(
    prepared: Prepared, relevance: Relevance, query: int, settings: Mapping[str, object] | None = None
) -> AskedPage:
    """The page of a query 0 .. U-1 of the world, from scores that `relevance_of` has given.

    It has no markers, which would take the model. For `settings` and errors see `inspect_query`.
    """
    check_within("query", query, 0, prepared.corpus.n_queries - 1, whole=True)
    text = prepared.corpus.query_text[query]
    found = prepared.source.find(text, prepared.scenario)
    ads = _with_keywords(inspect_query(prepared, relevance, query, settings), found)
    return AskedPage(text, found.words, relevance.scorer, known=True, graded=True, ads=ads)


class Asker:
    """Answers queries in one market by one scorer, which is loaded once."""

    def __init__(self, prepared: Prepared, scorer: str | None = None) -> None:
        """Load the scorer, and the cheap ones that the scenario names; raises what `ask` raises for them."""
        scenario = prepared.scenario
        self._prepared, self.scorer = with_tables(prepared), scorer or scenario.scorer
        self._number = {text: query for query, text in enumerate(prepared.corpus.query_text)}
        check_scorers(scenario, [self.scorer])
        names = {self.scorer, *prepared.cheap}
        self._loaded = {name: load_scorer(prepared, name) for name in sorted(names)}

    def ask(self, text: str, settings: Mapping[str, object] | None = None) -> AskedPage:
        """Auction a query; see `scenarios.ask`."""
        text = _words_of(text)
        prepared = self._prepared
        scenario = with_settings_of(prepared, settings)
        found = prepared.source.find(text, prepared.scenario)
        query, graded = self._number.get(text), True
        known = query is not None
        past = shared_past(prepared, scenario) if scenario.pctr.learnt else None
        if query is None:
            query = len(self._number)
            if past is not None and past.prediction is not None:
                number = np.append(np.arange(query), -1)
                past = past._replace(prediction=past.prediction.of_queries(number))
            prepared, graded = self._with_query(text, found)
        asked = _Asked(text, prepared, query, known, graded)
        score, probabilities = self._score(self.scorer, asked)
        relevance = Relevance(
            self.scorer,
            asked.table(score),
            None if probabilities is None else asked.table(probabilities),
        )
        market, batch = auctioned(prepared, relevance, query, settings, past=past)
        if not graded:
            batch = batch._replace(category=None)
            if not scenario.pctr.learnt:
                batch = batch._replace(pctr=_average_ctr(asked, market, scenario))
        ads = candidates_table(prepared, relevance, query, market, batch)
        if not graded:
            ads = ads.with_columns(pl.lit(None, ads[name].dtype).alias(name) for name in ("grade", "p_click"))
        ads = _with_keywords(ads, found)
        return AskedPage(text, found.words, self.scorer, known, graded, ads, self._markers(text, ads))

    def _with_query(self, text: str, found: Found) -> tuple[Prepared, bool]:
        """The prepared market with the query as its last, and whether its grades are known."""
        prepared = self._prepared
        source, graded = prepared.source.with_query(text)
        row = Candidates(
            np.full((1, prepared.candidate.shape[1]), -1),
            np.zeros((1, prepared.candidate.shape[1]), dtype=np.int8),
        )
        row.ad[0, : found.ad.size], row.recall[0, : found.ad.size] = found.ad, found.match
        together = Candidates(
            np.concatenate((prepared.found.ad, row.ad)), np.concatenate((prepared.found.recall, row.recall))
        )
        wider = replace(prepared, source=source, candidates=together)
        asked = _Asked(text, wider, len(self._number), False, graded)

        def with_scores(table: FloatArray, name: str) -> FloatArray:
            return np.concatenate((table, asked.table(self._score(name, asked)[0])[-1:]))

        cheap = {name: with_scores(table, name) for name, table in prepared.cheap_tables.items()}
        return replace(wider, cheap=cheap), graded

    def _score(self, name: str, asked: _Asked) -> tuple[FloatArray, FloatArray | None]:
        """Relevance F[n] of the candidates by a scorer, and its P(grade) F[n, 4] if it has them."""
        ad, scorer = asked.ad, self._loaded[name]
        query = np.full(ad.size, asked.query)
        if name == "oracle":
            if not asked.graded and ad.size:
                what = (
                    "ask a query of the corpus"
                    if asked.prepared.source.world is None
                    else "name one product of the world, and a colour and a brand at most"
                )
                raise UserError(
                    f"the oracle does not know what {quoted(asked.text)} asks for",
                    remedy=f"{what}, or take another scorer",
                )
            scorer = OracleScorer(asked.prepared.source.grade)
        elif is_own(name):
            again = of_queries(scorer, (asked.text,), name)
            if again is not None:
                scorer, query = again, np.zeros_like(ad)
            elif not asked.known:  # it knows the queries of its corpus alone
                corpus = replace(asked.prepared.corpus, query_text=(asked.text,), query_id=())
                scorer, query = own_scorer(name, corpus), np.zeros_like(ad)
        elif isinstance(scorer, AnyQuery):
            scorer, query = scorer.of_queries((asked.text,)), np.zeros_like(ad)
            if name == "hcmrm":
                return cast("HcmrmScorer", scorer).read(query, ad)
        return score_pairs(scorer, query, ad, name), None

    def _markers(self, text: str, ads: pl.DataFrame) -> pl.DataFrame | None:
        if self.scorer != "hcmrm" or not len(ads):
            return None
        scorer = cast("HcmrmScorer", self._loaded["hcmrm"]).of_queries((text,))
        found = scorer.frame_markers(0, ads["ad"].to_numpy())
        if found is None:
            return None
        tokens, marker = found
        ad = ads["ad"].to_numpy().repeat(len(tokens))
        return pl.DataFrame({"ad": ad, "token": tokens * len(ads), "marker": marker.reshape(-1)})


class _Asked(NamedTuple):
    """A query in a market that has it."""

    text: str
    prepared: Prepared
    query: int
    known: bool
    graded: bool

    @property
    def ad(self) -> IntArray:
        """Its candidates [n]."""
        row: IntArray = self.prepared.candidate[self.query]
        return np.compress(row >= 0, row)

    def table(self, values: FloatArray) -> FloatArray:
        """A table [U, K, ...] of all pairs that holds values [n, ...] of the candidates, and 0 elsewhere."""
        candidate = self.prepared.candidate
        table = np.zeros((*candidate.shape, *values.shape[1:]))
        table[self.query, candidate[self.query] >= 0] = values
        return table


def _with_keywords(ads: pl.DataFrame, found: Found) -> pl.DataFrame:
    """The table of an auction with the keyword that brings each ad, and how it matches."""
    matched = pl.DataFrame(
        {
            "ad": found.ad.tolist(),
            "bid_keyword": found.keyword,
            "match": [RECALLS[match] for match in found.match],
        },
        schema={"ad": pl.Int64, "bid_keyword": pl.String, "match": pl.String},
    )
    return ads.join(matched, on="ad", how="left", maintain_order="left")


def _words_of(text: str) -> str:
    """A query as corpora have it: lower-case words separated by single spaces, without punctuation.

    Raises:
        UserError: there is no word, or too much text.
    """
    words = " ".join(re.sub(r"[^\w\s'-]", " ", text.lower()).split())
    if not words:
        raise UserError("the text of the query holds no word", remedy="ask for something, like 'red sofa'")
    if len(words) > MOST_LETTERS:
        raise UserError(f"the text of the query is longer than {MOST_LETTERS} letters", remedy="shorten it")
    return words


def _average_ctr(asked: _Asked, market: Market, scenario: Scenario) -> FloatArray:
    """Predicted P(click | examined) F[1, K] of the candidates where nothing is known of the pairs."""
    prepared = asked.prepared
    candidate, popularity = prepared.candidate, prepared.popularity
    everything = replace(market, query=np.arange(len(candidate)), arrival_s=np.zeros(len(candidate)))
    of_all = journey.gather(everything, market.value, everything.query, served=FALLBACK)
    average = pctr.ad_average([(of_all.attraction, candidate, popularity)], market.advertiser.size)
    average = np.where(average > 0, average, average[average > 0].mean() if average.any() else 0.0)
    row = candidate[[asked.query]]
    model = pctr.CtrModel(signal=0.0, bias=scenario.pctr.bias, sigma=0.0)
    own = np.where(row >= 0, average[row], 0.0)
    return pctr.predict(model, own, own, np.zeros(row.shape))
