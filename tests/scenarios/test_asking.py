"""Queries of any text: what the inspector shows for those of the world, and what is said of all others."""

import sys

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from relevance.errors import PluginError, UserError
from scenarios import Asker, ask, inspect_query, override, prepare, relevance_of, simulate
from scenarios.cli.main import main
from scenarios.errors import ScenarioError
from scenarios.markets.simulation import market_of, shared_past
from scenarios.reporting import asked_tables
from simulator.retrieval import RECALLS
from simulator.world.intents import read_intent


def words_of(prepared, query):
    return prepared.corpus.query_text[query]


@pytest.mark.parametrize("scorer", ["none", "bm25", "oracle"])
def test_a_query_of_the_world_is_auctioned_as_the_inspector_does_it(prepared, scorer):
    asker, relevance = Asker(prepared, scorer), relevance_of(prepared, scorer)
    settings = {"fusion.relevance": 2.0, "auction.reserve": 0.2}
    for query in range(12):
        page = asker.ask(words_of(prepared, query).upper() + " !", settings)
        assert page.known
        assert page.graded
        expected = inspect_query(prepared, relevance, query, settings)
        assert_frame_equal(page.ads.drop("bid_keyword", "match"), expected)


def test_a_scorer_that_there_is_not_is_refused_in_python_too(prepared):
    with pytest.raises(ScenarioError, match=r"scorer: unknown scorer 'bm52'; did you mean 'bm25'"):
        relevance_of(prepared, "bm52")


def test_a_sample_of_no_queries_is_refused(prepared):
    with pytest.raises(ScenarioError, match="n_queries: must be at least 1, got -5"):
        simulate(prepared, relevance_of(prepared, "none"), {}, n_queries=-5)


def test_numbers_of_numpy_are_settings_as_any_others(prepared):
    made = override(prepared.scenario, {"fusion.relevance": np.float32(0.5), "pctr.sigma": np.int64(0)})
    assert made == override(prepared.scenario, {"fusion.relevance": 0.5, "pctr.sigma": 0})


def test_a_text_like_a_query_of_the_world_has_its_grades_and_values(prepared):
    """Only the noise of the click prediction belongs to the query itself."""
    still = prepare(override(prepared.scenario, {"pctr.sigma": 0.0}))
    text = next(text for text in still.corpus.query_text if text.endswith(" sofa") and len(text.split()) == 2)
    first = ask(still, text, "oracle").ads
    page = ask(still, f"{text.split()[0]}  sofaa", "oracle")  # which the world does not have
    assert not page.known
    assert page.words[1] == ("sofaa", "sofa")
    both = page.ads.join(first, on="ad", suffix="_first")
    assert len(both)
    for column in ("grade", "relevance", "bid", "pctr", "bid_keyword", "match"):
        assert both[column].to_list() == both[f"{column}_first"].to_list(), column


def test_every_intent_that_is_read_is_the_true_one(prepared):
    world, read = prepared.world, 0
    truth = world.truth
    for query, text in enumerate(world.corpus.query_text):
        wider, known = prepared.source.with_query(text)
        if known:
            found = wider.world.truth
            for name in ("query_product", "query_colour", "query_brand"):
                assert getattr(found, name)[-1] == getattr(truth, name)[query], text
            read += 1
    assert read > 0.95 * world.corpus.n_queries


@pytest.mark.parametrize(
    "text", ["", "cheap", "red", "sofa tent", "red blue sofa", "broken sofa", "zelan", "sofa sofa"]
)
def test_what_is_not_clearly_said_is_no_intent(prepared, text):
    assert read_intent(prepared.world.catalog, tuple(text.split())) is None


def test_where_the_grade_is_not_known_nothing_is_guessed(prepared):
    asker = Asker(prepared, "bm25")
    page = asker.ask("broken sofa")
    assert not page.graded
    assert len(page.ads)
    assert page.ads["grade"].null_count() == page.ads["p_click"].null_count() == len(page.ads)
    # The platform predicts what an ad gets over the day, so the same for every such text.
    other = asker.ask("unusual sofa").ads.join(page.ads, on="ad", suffix="_first")
    assert other["pctr"].to_list() == other["pctr_first"].to_list()
    biased = asker.ask("broken sofa", {"pctr.bias": 0.1}).ads.join(page.ads, on="ad", suffix="_first")
    np.testing.assert_allclose(biased["pctr"] / biased["pctr_first"], np.exp(0.1))
    with pytest.raises(UserError, match="does not know what 'broken sofa' asks for"):
        ask(prepared, "broken sofa", "oracle")


def test_the_average_click_rate_is_that_of_the_days_traffic(prepared):
    page = ask(prepared, "broken sofa", "none")
    market = market_of(prepared, relevance_of(prepared, "none"))
    popularity = prepared.world.query_popularity
    for row in page.ads.head(5).iter_rows(named=True):
        query, column = np.nonzero(prepared.candidate == row["ad"])
        weight = popularity[query]
        expected = (weight * market.attraction[query, column]).sum() / weight.sum()
        assert row["pctr"] == pytest.approx(expected)


def test_keywords_and_how_they_match(prepared):
    page = ask(prepared, "scarlet sofaa near me", "bm25")
    assert page.words == (("scarlet", "scarlet"), ("sofaa", "sofa"), ("near", "near"), ("me", "me"))
    by_words = page.ads.filter(pl.col("match").is_in(["exact", "phrase", "broad"]))
    assert 0 < len(by_words) < len(page.ads)
    for row in by_words.iter_rows(named=True):
        assert set(row["bid_keyword"].split()) <= {word for _, word in page.words}
        assert row["match"] in ("phrase", "broad")
    by_words_alone = prepare(override(prepared.scenario, {"retrieval.reach": 0.0}))
    assert set(ask(by_words_alone, "sofa", "bm25").ads["match"]) == {"exact"}


def test_no_candidates_is_an_answer(prepared, capsys, tiny_file, monkeypatch, tiny_cache):
    page = ask(prepared, "xyzzy", "bm25")
    assert not len(page.ads)
    assert page.ads.schema == ask(prepared, "sofa", "bm25").ads.schema
    assert not len(ask(prepared, "xyzzy", "oracle").ads)
    monkeypatch.setattr(
        sys, "argv", ["relbid", "ask", "xyzzy", str(tiny_file), "--scorer", "bm25", "--out", str(tiny_cache)]
    )
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 0
    assert "no advertiser bids on these words" in capsys.readouterr().out


@pytest.mark.parametrize(("limit", "left_out"), [(0, True), (1000, False)])
def test_the_table_says_where_it_leaves_ads_out(prepared, monkeypatch, limit, left_out):
    monkeypatch.setattr(asked_tables, "NOT_SHOWN", limit)
    one_slot = prepare(override(prepared.scenario, {"users.examination": [1.0]}))
    page = ask(one_slot, "sofa", "bm25")
    assert len(page.ads.drop_nulls("slot")) < len(page.ads)
    [auction, *_] = asked_tables.asked_tables(page)
    assert (f"the first {limit} are listed" in auction.note) == left_out


@pytest.mark.parametrize(("text", "message"), [(" ?! ", "holds no word"), ("a " * 400, "longer than 500")])
def test_what_cannot_be_asked_is_refused(prepared, text, message):
    with pytest.raises(UserError, match=message):
        ask(prepared, text, "bm25")


def test_cheap_scorers_see_the_text_too(prepared):
    two = prepare(override(prepared.scenario, {"serving.first_stage": "bm25", "serving.first_stage_keep": 3}))
    page = ask(two, "navy sofa", "none")
    assert not page.known
    kept = page.ads.filter(pl.col("reason") != "not_scored")
    assert len(kept) <= 3
    relevance = ask(prepared, "navy sofa", "bm25").ads
    best = relevance.with_columns(cheap=pl.col("bid") * pl.col("pctr") * pl.col("relevance"))
    assert set(kept["ad"]) == set(best.sort("cheap", descending=True).head(3)["ad"])


@pytest.mark.parametrize("text", ["navy sofa", "broken sofa", None])
def test_a_learnt_click_prediction_knows_the_ads_of_any_text(prepared, text):
    """A text that is new has the effects of its ads, their owners and shelves, and of how they were found."""
    known, text = text is None, text or words_of(prepared, 0)
    learning = prepare(override(prepared.scenario, {"pctr.kind": "learnt", "traffic.warm_up_days": 2}))
    page = ask(learning, text, "bm25")
    assert page.known == known
    past = shared_past(learning, learning.scenario)
    effect, ads = past.prediction.effects, page.ads["ad"].to_numpy()
    recall = np.array([RECALLS.index(match) for match in page.ads["match"]])
    known_of = past.prediction.features
    log_odds = effect["all"] + effect["recall"][recall] + effect["ad"][ads]
    log_odds += effect["advertiser"][known_of.advertiser[ads]] + effect["category"][known_of.ad_category[ads]]
    found = page.ads["pctr"].to_numpy()
    expected = 1.0 / (1.0 + 19.0 * np.exp(-log_odds))
    if known:
        assert np.abs(found / expected - 1.0).max() > 0.01
        relevance = relevance_of(learning, "bm25")
        assert_frame_equal(
            inspect_query(learning, relevance, 0).select("ad", "pctr"), page.ads.select("ad", "pctr")
        )
    else:
        np.testing.assert_allclose(found, expected)
    assert list(learning.pasts.values()) == [past], "the warm-up was simulated once"


@pytest.mark.parametrize("text", ["navy sofa", "broken sofa", None])
def test_a_market_that_is_ranked_live_answers_alike(prepared, text):
    text = text or words_of(prepared, 0)
    live = prepare(override(prepared.scenario, {"serving.scoring": "live", "serving.fallback": "bm25"}))
    assert_frame_equal(ask(live, text, "bm25").ads, ask(prepared, text, "bm25").ads)


OWN = """
import numpy as np

class Letters:
    '''Relevance by the letters that query and title share.'''
    def __init__(self, corpus):
        self.corpus = corpus

    def score(self, query, ad):
        texts, titles = self.corpus.query_text, self.corpus.ad_title
        shared = [len(set(texts[q]) & set(titles[a])) / 30 for q, a in zip(query, ad)]
        return np.array(shared)

class Leaving(Letters):
    def of_queries(self, texts):
        raise SystemExit(0)

class Without(Letters):
    def of_queries(self, texts):
        return None
"""


def test_a_scorer_of_ones_own_reads_the_text(prepared, tmp_path, monkeypatch):
    (tmp_path / "letters_of.py").write_text(OWN)
    monkeypatch.syspath_prepend(str(tmp_path))
    page = ask(prepared, "navy sofa", "letters_of:Letters")
    assert not page.known
    for row in page.ads.iter_rows(named=True):
        assert row["relevance"] == pytest.approx(len(set("navy sofa") & set(row["title"])) / 30)
    for scorer, words in (
        ("Leaving", "raised SystemExit: 0"),
        ("Without", "gives nothing, which has no method"),
    ):
        with pytest.raises(PluginError, match=rf"scorer 'letters_of:{scorer}': of_queries\(\) {words}"):
            ask(prepared, "navy sofa", f"letters_of:{scorer}")


# HCMRM


@pytest.fixture(scope="module")
def shipped(prepared):
    pytest.importorskip("torch")
    return Asker(prepared, "hcmrm")


def test_hcmrm_scores_a_query_of_the_world_as_the_table_has_it(prepared, shipped, tiny_cache):
    relevance = relevance_of(prepared, "hcmrm", cache=tiny_cache)
    for query in range(8):
        page = shipped.ask(words_of(prepared, query))
        expected = inspect_query(prepared, relevance, query)
        assert page.ads["ad"].to_list() == expected["ad"].to_list()
        assert page.ads["slot"].to_list() == expected["slot"].to_list()
        for column in ("relevance", "score", "price", "p3"):
            np.testing.assert_allclose(
                page.ads[column].to_numpy(), expected[column].to_numpy(), rtol=1e-4, atol=1e-6
            )


def test_hcmrm_reads_no_table_of_scores(prepared, shipped, monkeypatch):
    monkeypatch.setattr("relevance.cached.ScoreTable.load", lambda path: pytest.fail("a table was read"))
    pages = [shipped.ask(f"navy {name}") for name in prepared.world.catalog.names]
    ads = pl.concat([page.ads for page in pages if not page.known])
    assert ads["relevance"].n_unique() > 20
    assert ads["p0"].null_count() == 0


def test_frames_that_show_a_product_say_so(prepared, shipped):
    names = [name for name in prepared.world.catalog.names if " " not in name]
    pages = [page for name in names if len((page := shipped.ask(f"navy {name}")).ads)]
    for page in pages:
        assert page.markers["ad"].unique(maintain_order=True).to_list() == page.ads["ad"].to_list()
    read = pl.concat(
        page.markers.join(page.ads, on="ad").select("token", "marker", "grade") for page in pages
    )
    mean = {
        good: read.filter(pl.col("token").is_in(names), (pl.col("grade") >= 2) == good)["marker"].mean()
        for good in (True, False)
    }
    assert mean[True] > mean[False] + 1
