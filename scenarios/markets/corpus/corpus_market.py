"""A corpus of one's own as a market: what it says, and what is modelled because it does not say it.

Candidates are the pairs with a grade. Of a pair without one nothing is known, so it never meets.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from relevance.corpus import Corpus, CorpusError, LabelledCorpus, Labels
from relevance.files import check_file
from scenarios.config.market_kinds import CorpusMarket
from scenarios.config.scenario import Scenario
from scenarios.errors import ScenarioError
from scenarios.markets.corpus.graded import GradedPairs
from scenarios.markets.corpus.offers import OFFERS, RATERS, TRAFFIC, Offers, read_grades
from scenarios.markets.corpus.owners import Owners, owners, popularity
from scenarios.markets.kind import (
    CalibrationPairs,
    Found,
    MarketSource,
    Progress,
    absolute,
    drawn_by,
    leave_out,
)
from simulator.arrays import FloatArray, GradeArray, IntArray
from simulator.fusion import FusionRule
from simulator.log import Impressions
from simulator.market import Market, Retrieval, Supply, draw_market
from simulator.random import text_key
from simulator.retrieval import Candidates
from simulator.scoring import RelevanceSource

if TYPE_CHECKING:
    import polars as pl

FILES = ("ads.jsonl", "queries.jsonl", "labels.npz", OFFERS, TRAFFIC, RATERS)
"""Files of the folder that the digest is of. Frames are too large to be read whenever a scenario is."""


@dataclass(frozen=True, slots=True)
class CorpusOfOnesOwn(MarketSource):
    """U queries and A ads of a corpus, of which some pairs have grades."""

    settings: CorpusMarket
    pairs: GradedPairs
    labels: Labels
    """People's grades that scores are calibrated on: of other queries, or else of the market's own."""
    owners: Owners
    price: FloatArray | None
    bid: FloatArray | None
    corpus: Corpus = field()  # the base class has properties of these names, which are no defaults
    popularity: FloatArray = field()
    notes: tuple[str, ...] = field()
    called: ClassVar[str] = "a corpus of one's own"

    @classmethod
    def refuse_meaningless(cls, scenario: Scenario) -> None:
        reasons = {
            "world": "describes the embedded world",
            "split": "is of the embedded world; market.queries chooses one of the corpus",
        }
        for name, reason in reasons.items():
            if getattr(scenario, name) != Scenario.model_fields[name].default:
                raise leave_out(scenario, name, f"{reason}, and market.kind is corpus")
        if scenario.auction.category_score_reserve:
            raise leave_out(scenario, "auction.category_score_reserve", "a corpus has no categories")

    @classmethod
    def completed(cls, scenario: Scenario, folder: Path) -> Scenario:
        """The scenario with its paths and its digest.

        Raises:
            ScenarioError: a block has no meaning here, or the files have changed since the digest was taken.
            CorpusError: there is no such folder or file.
        """
        given = settings_of(scenario)
        cls.refuse_meaningless(scenario)
        where = absolute(folder / given.folder)
        grades = None if given.grades is None else absolute(folder / given.grades)
        if not where.is_dir():
            reason = "is a file, not a folder" if where.exists() else "no such folder"
            raise CorpusError(reason, file=where, remedy="make it with 'relbid corpus import'")
        digest = _digest([where / name for name in FILES], grades)
        if given.digest not in (None, digest):
            raise ScenarioError(
                f"{where} has changed since",
                file=scenario.place,
                field="market.digest",
                remedy="remove the digest to take it",
            )
        paths: dict[str, Any] = {"folder": str(where), "grades": None if grades is None else str(grades)}
        return scenario.model_copy(update={"market": given.model_copy(update={**paths, "digest": digest})})

    @classmethod
    def read(cls, scenario: Scenario, cache: Path | None, progress: Progress | None) -> Self:
        given = settings_of(scenario)
        folder = Path(given.folder)
        data = LabelledCorpus.load(folder)
        corpus, labels = data.corpus, data.labels
        offers = Offers.read(folder, corpus)
        judge, sources = None, tuple[str, ...]()
        if given.grades is not None:
            judge, sources = read_grades(Path(given.grades), corpus, given.least_confidence)
        known = labels
        if given.queries != "all":
            labels = labels.of(given.queries)
            others = known.take(~np.isin(known.query, labels.query))
            known = others if np.unique(others.grade >= 2).size == 2 else labels
            if judge is not None:  # a judge's grades are of the queries that the split has
                judge = judge.take(np.isin(judge.query, labels.query))
        if not len(labels) and (judge is None or not len(judge)):
            kind = "" if given.queries == "all" else f" in its split '{given.queries}'"
            raise CorpusError(f"has no graded pair{kind}, so nothing can be shown", file=folder)
        pairs = GradedPairs.of(corpus.n_queries, corpus.n_ads, labels, judge)
        who = owners(offers, corpus.ad_ids(), pairs)
        asked = np.unique(pairs.query)
        share, traffic = popularity(offers.weight, corpus.query_text, asked, given.query_exponent)
        notes = _notes(scenario, offers, pairs, who, traffic, sources, corpus.n_queries - asked.size)
        return cls(given, pairs, known, who, offers.price, offers.bid, corpus, share, notes)

    def candidates(self, scenario: Scenario) -> Candidates:
        return self.pairs.candidates(self._keys, self.owners.advertiser, scenario.retrieval.candidates)

    def grade(self, query: IntArray, ad: IntArray) -> GradeArray:
        """Grades of pairs I[P]; `graded.UNGRADED` where nobody has judged them."""
        return self.pairs.grade_of(query, ad)

    def calibrated_on(self, scenario: Scenario) -> str:
        if self._knows_others:
            return f"the {len(self.labels):,} labels of the corpus's other queries"
        return (
            f"{len(self.labels):,} labels of the corpus by folds over queries, each query by a map that saw "
            "none of its own"
        )

    def calibration_pairs(self, scenario: Scenario, *, frames: bool) -> CalibrationPairs:
        return CalibrationPairs(self.corpus, self.labels, own=not self._knows_others)

    @property
    def _knows_others(self) -> bool:
        return not np.isin(self.labels.query, self.pairs.query).any()

    def market(
        self, candidate: Candidates | int, relevance: RelevanceSource, scenario: Scenario, rule: FusionRule
    ) -> Market:
        found: Candidates | Retrieval
        if isinstance(candidate, int):  # all of them fit into memory, since each was judged
            every = self.candidates(scenario)
            found = Retrieval(every.of, every.ad.shape[1])
        else:
            found = candidate
        return draw_market(self._supply(), found, relevance, **drawn_by(scenario, rule))

    def find(self, text: str, scenario: Scenario) -> Found:
        """The ads with a grade for a query of the corpus; of any other text, the best ads by BM25."""
        k, words = scenario.retrieval.candidates, tuple((word, word) for word in text.split())
        if text in self.corpus.query_text:
            row = self.candidates(scenario).ad[self.corpus.query_text.index(text)]
            ad = np.compress(row >= 0, row)
        else:
            ad = self._nearest(text, k)
        return Found(words, ad, (text,) * ad.size, np.zeros(ad.size, dtype=np.int8))

    def with_query(self, text: str) -> tuple[Self, bool]:
        corpus = self.corpus
        ids = (*corpus.query_id, f"{text} (typed)") if corpus.query_id else ()
        wider = replace(corpus, query_text=(*corpus.query_text, text), query_id=ids)
        pairs = replace(self.pairs, n_queries=wider.n_queries)
        return replace(self, corpus=wider, pairs=pairs, popularity=np.append(self.popularity, 0.0)), False

    def named(self, log: Impressions) -> pl.DataFrame:
        """One row per shown ad, with the corpus's own ids, and whether a person has graded the pair."""
        import polars as pl

        query, ad = self.corpus.query_ids(), self.corpus.ad_ids()
        return log.impressions().with_columns(
            pl.Series("query_id", [query[i] for i in log.query.tolist()], dtype=pl.String),
            pl.Series("ad_id", [ad[i] for i in log.ad.tolist()], dtype=pl.String),
            pl.Series(
                "advertiser_id", [self.owners.names[i] for i in log.advertiser.tolist()], dtype=pl.String
            ),
            pl.Series("judged", self.pairs.judged(log.query, log.ad)),
        )

    def without_frames(self) -> Self:
        frames = self.corpus.frames[:, :0].copy()
        return replace(self, corpus=replace(self.corpus, frames=frames))

    @property
    def _keys(self) -> IntArray:
        """Hashes of the queries' texts."""
        return np.array([text_key(text) for text in self.corpus.query_text], dtype=np.uint64)

    def _supply(self) -> Supply:
        factor = None
        if self.price is not None:
            met = self.price[np.unique(self.pairs.ad)]
            middle = float(np.median(met[met > 0])) if (met > 0).any() else 1.0
            known = self.price > 0  # False for NaN
            factor = np.where(known, self.price / middle, 1.0) ** self.settings.price_exponent
        return Supply(
            grade=partial(_shown_grade, self.pairs),
            query_popularity=self.popularity,
            advertiser=self.owners.advertiser,
            n_advertisers=len(self.owners.names),
            value_factor=factor,
            bid=self.bid,
            judged=self.pairs.judged,
        )

    def _nearest(self, text: str, k: int) -> IntArray:
        """The best `k` ads I[n] of a text by BM25 that share a word with it, one of each advertiser."""
        from relevance.lexical import Bm25Scorer  # imports numba where that is installed

        every = np.arange(self.corpus.n_ads)
        floor = 0.0
        score = Bm25Scorer(self.corpus, floor).of_queries((text,)).score(np.zeros_like(every), every)
        best = np.argsort(-score, kind="stable")
        best = best[score[best] > floor]
        first = np.sort(np.unique(self.owners.advertiser[best], return_index=True)[1])
        return best[first][:k]


def _shown_grade(pairs: GradedPairs, query: IntArray, ad: IntArray) -> GradeArray:
    """Grades of candidates. All of them have one; in padding, and for a text that was typed, nobody looks."""
    return np.maximum(pairs.grade_of(query, ad), 0)


def settings_of(scenario: Scenario) -> CorpusMarket:
    """The block market of a scenario that has a corpus."""
    assert isinstance(scenario.market, CorpusMarket)
    return scenario.market


def _notes(
    scenario: Scenario,
    offers: Offers,
    pairs: GradedPairs,
    who: Owners,
    traffic: str,
    sources: tuple[str, ...],
    unasked: int,
) -> tuple[str, ...]:
    """What the corpus says and what is modelled, in sentences."""
    given = settings_of(scenario)
    by_people = int(pairs.by_person.sum())
    judged = f"{by_people:,} of {pairs.key.size:,} pairs have a person's grade"
    if by_people < pairs.key.size:
        judged += f", the others one of {', '.join(sources)}"
    if unasked:
        judged += f"; {unasked:,} queries have no graded pair and get no traffic"
    if offers.bid is not None and not np.isnan(offers.bid).any():
        value = "bids of the corpus over bidders.shading"
    elif offers.price is not None:
        value = f"modelled: lognormal (block bidders) times (price / median price)^{given.price_exponent:g}"
    else:
        value = "modelled: lognormal (block bidders); the corpus has neither prices nor bids"
    return (
        f"grades: {judged}; pairs without a grade never meet",
        f"advertisers: {who.told}",
        f"values per click: {value}; budgets and bids: modelled (block bidders)",
        f"traffic: {traffic}; when: modelled (block traffic)",
        "users: modelled, they click by the grade (block users)",
    )


def _digest(files: list[Path], grades: Path | None) -> str:
    """Hash of the bytes of some files; those that are missing count as empty, except for `grades`."""
    found = hashlib.blake2b(digest_size=8)
    for path in (*files, *([] if grades is None else [grades])):
        if path != grades and not path.exists() and not path.is_symlink():
            found.update(b"none")
            continue
        check_file(path, CorpusError)
        with path.open("rb") as file:
            found.update(hashlib.file_digest(file, "blake2b").digest())
    return found.hexdigest()
