"""Replays of logs whose truth is known: the simulator's own, and pages of which every click is drawn here."""

import json
from dataclasses import replace as changed

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings, strategies as st
from hypothesis.extra.numpy import arrays

from scenarios.cli.main import main
from scenarios.markets.table.auctions import to_arrays
from scenarios.markets.table.reading import read_auctions
from scenarios.replay.estimates import (
    Pages,
    effective_sample_size,
    estimate,
    examination_by_pairs,
    examination_by_pctr,
    gain,
)
from scenarios.replay.example import as_table, make_example
from scenarios.replay.replay_run import replay
from scenarios.replay.ways import Entry, entries
from simulator.auction import AuctionModel
from simulator.clock.engine import simulate
from simulator.fusion import Gate, Product
from simulator.market import with_relevance, with_rule
from simulator.pctr import CtrModel

TRUTH = CtrModel(signal=1.0, sigma=0.0)
LOOKS = (1.0, 0.7, 0.5, 0.35)
RESERVE = AuctionModel(reserve=0.05)


@pytest.fixture(scope="module")
def example():
    """A log of 12,000 queries ranked by bid x pCTR x relevance, with a pCTR that is true."""
    return make_example(12_000, seed=5, ctr=TRUTH)


@pytest.fixture(scope="module")
def auctions(example, tmp_path_factory):
    path = tmp_path_factory.mktemp("table") / "log.parquet"
    as_table(example).write_parquet(path)
    return to_arrays(read_auctions(path))


def points(auctions, *ways: Entry, **settings) -> list[dict]:
    """The rows of these ways, without the log's."""
    settings = {"auction": RESERVE, "examination": LOOKS} | settings
    return replay(auctions, ways, **settings).points.rows(named=True)[1:]


OWN = Entry("model", "product", Product())


# Held against the simulator


def test_the_logged_rule_gives_back_the_log(example, auctions):
    log = example.log
    revenue = log.charged_micros.sum() / 1e6
    (row,) = points(auctions, OWN)
    assert row["same_slot"] == row["covered"] == 1.0
    # Clicks that were logged come back as they are; those of the model agree in expectation.
    assert row["revenue_ips"] == pytest.approx(revenue)
    assert row["clicks_ips"] == log.clicked.sum()
    assert row["change"] == pytest.approx(0.0, abs=1e-9)
    assert row["effective_impressions"] == log.ad.size
    assert abs(row["revenue_model"] - revenue) < 4 * row["revenue_ips_se"]
    assert abs(row["clicks_model"] - log.clicked.sum()) < 4 * row["clicks_ips_se"]
    assert row["fill"] == pytest.approx(log.ad.size / (12_000 * 4))
    assert row["irrelevant_share"] == pytest.approx((log.grade == 0).mean())


def test_the_log_itself_is_the_first_row(example, auctions):
    log = example.log
    first = replay(auctions, [OWN], auction=RESERVE, examination=LOOKS).points.row(0, named=True)
    assert first["kind"] == "log"
    assert first["clicks"] == log.clicked.sum()
    assert first["revenue"] == pytest.approx(log.charged_micros.sum() / 1e6)
    assert first["mean_price"] == pytest.approx(first["revenue"] / first["clicks"])
    assert first["fill"] == pytest.approx(log.ad.size / (12_000 * 4))


@pytest.mark.parametrize(
    ("scorer", "rule"),
    [("none", Product(relevance=0.0)), ("model", Gate(threshold=0.5)), ("bm25", Product(relevance=1.0))],
)
def test_another_rule_earns_what_the_simulator_says_it_earns(example, auctions, scorer, rule):
    market = with_rule(example.market, rule)
    if scorer != "model":
        shape = market.relevance.shape
        other = np.ones(shape) if scorer == "none" else example.relevance[scorer]
        market = with_relevance(market, other)
    log = simulate(market)
    clicks, revenue = log.clicked.sum(), log.charged_micros.sum() / 1e6
    (row,) = points(auctions, Entry(scorer, "another", rule))
    assert row["fill"] == pytest.approx(log.ad.size / (12_000 * 4))
    assert row["irrelevant_share"] == pytest.approx((log.grade == 0).mean())
    for kind in ("ips", "sn"):
        # The run is as random as the estimate: the errors of both.
        assert abs(row[f"clicks_{kind}"] - clicks) < 4 * np.hypot(row[f"clicks_{kind}_se"], np.sqrt(clicks))
        assert abs(row[f"revenue_{kind}"] - revenue) < 4 * np.sqrt(2) * row[f"revenue_{kind}_se"]
    assert 0.3 < row["covered"] <= 1.0


def test_examination_is_found_in_the_log(auctions):
    found = replay(auctions, [OWN], auction=RESERVE)
    assert found.examination_is == "from ads seen in several slots"
    assert found.examination == pytest.approx(LOOKS, abs=0.16)  # four standard errors of 12,000 queries


def test_a_pctr_that_is_half_of_the_truth_is_told_and_undone(auctions):
    halved = changed(auctions, pctr=auctions.pctr / 2)
    way = Entry("none", "product", Product(relevance=0.0))
    (right,) = points(auctions, way)
    (wrong,) = points(halved, way)
    assert wrong["clicks_model"] == pytest.approx(right["clicks_model"] / 2)
    assert wrong["clicks_sn"] == pytest.approx(right["clicks_sn"])
    result = replay(halved, [way], auction=RESERVE, examination=LOOKS)
    assert any("times the clicks that its pCTR expects" in text for text in result.warnings)
    assert not replay(auctions, [way], auction=RESERVE, examination=LOOKS).warnings


# Estimates, by hand and by simulation


def test_effective_sample_size_by_hand():
    assert effective_sample_size(np.full(7, 3.0)) == pytest.approx(7.0)
    assert effective_sample_size(np.array([3.0, 1.0])) == pytest.approx(1.6)
    assert effective_sample_size(np.zeros(0)) == 0.0


def test_estimates_by_hand():
    # Two pages of two slots: an ad moved up from an examination of 1/2, one that stays, one never shown.
    pages = Pages(
        price=np.array([[2.0, 1.0], [4.0, 0.0]]),
        expected=np.array([[0.2, 0.1], [0.3, 0.0]]),
        weight=np.array([[2.0, 0.0], [1.0, 0.0]]),
        clicked=np.array([[True, False], [False, False]]),
    )
    clicks = estimate(pages, clip=10.0)
    assert clicks.model.total == pytest.approx(0.6)
    assert clicks.ips.total == pytest.approx(2.0 + 0.1)
    assert clicks.sn.total == pytest.approx(0.6 * 2.0 / 0.5)
    revenue = estimate(pages, clip=10.0, worth=pages.price)
    assert revenue.model.total == pytest.approx(0.4 + 0.1 + 1.2)
    assert revenue.ips.total == pytest.approx(4.0 + 0.1)
    # Capped at 1: half the click of the first ad is lost, and half of what the model expects of it.
    capped = estimate(pages, clip=1.0)
    assert capped.ips.total == pytest.approx(1.0 + 0.1)
    assert capped.sn.total == pytest.approx(0.6 * 1.0 / (0.1 + 0.3))
    # Per page 2.1 and 0: the standard error of their sum.
    assert clicks.ips.error == pytest.approx(np.std([2.1, 0.0], ddof=1) * np.sqrt(2))
    assert gain(pages, 10.0, np.array([1.0, 0.0])).total == pytest.approx(3.1)


def test_ips_is_right_on_average_and_the_cap_costs_what_it_says():
    rng = np.random.default_rng(1)
    attraction = rng.uniform(0.05, 0.3, (500, 2))
    before, now = np.array([0.2, 1.0]), np.array([1.0, 0.5])  # the ads of each page change places
    truth = (now * attraction).sum()
    totals = []
    for _ in range(300):
        clicked = rng.random(attraction.shape) < before * attraction
        weight = np.broadcast_to(now / before, attraction.shape)
        pages = Pages(np.ones_like(attraction), now * attraction, weight, clicked)
        found, capped = estimate(pages, clip=10.0), estimate(pages, clip=2.0)
        totals.append((found.ips.total, found.ips.error, capped.ips.total, capped.sn.total))
    ips, error, capped, sn = np.array(totals).T
    assert abs(ips.mean() - truth) < 4 * ips.std() / np.sqrt(300)
    assert error.mean() == pytest.approx(ips.std(), rel=0.2)
    kept = (np.minimum(now / before, 2.0) * before * attraction).sum()
    assert abs(capped.mean() - kept) < 4 * capped.std() / np.sqrt(300)
    assert abs(sn.mean() - truth) < 4 * sn.std() / np.sqrt(300)
    assert sn.std() < ips.std()


@settings(max_examples=50, deadline=None)
@given(
    expected=arrays(np.float64, (6, 3), elements=st.floats(0.01, 1)),
    clicked=arrays(np.bool_, (6, 3)),
    factor=st.floats(0.1, 10),
)
def test_pages_as_logged_keep_their_clicks(expected, clicked, factor):
    pages = Pages(np.ones((6, 3)), expected, np.ones((6, 3)), clicked)
    found = estimate(pages, clip=1.0)
    assert found.ips.total == pytest.approx(clicked.sum())
    assert found.sn.total == pytest.approx(clicked.sum())
    scaled = estimate(pages._replace(expected=expected * factor), clip=1.0)
    assert scaled.sn.total == pytest.approx(found.sn.total)


# Examination


def test_examination_over_pctr_by_hand():
    position = np.array([1, 1, 2, 2, 3, 0])
    pctr = np.full(6, 0.5)
    clicked = np.array([True, True, True, False, False, False])
    # Clicks over pCTR are 2, 1 and 0.
    assert examination_by_pctr(position, clicked, pctr).tolist() == [1.0, 0.5, 0.0]
    assert examination_by_pctr(position, np.zeros(6, dtype=bool), pctr) is None
    # A lower slot with more clicks is noise: the two share their average.
    swapped = np.array([True, False, True, True, False, False])
    assert examination_by_pctr(position, swapped, pctr).tolist() == [1.0, 1.0, 0.0]


def test_ads_that_move_tell_examination_where_a_noisy_pctr_does_not():
    rng = np.random.default_rng(2)
    looks = np.array([1.0, 0.6, 0.3])
    n_pairs, n_views = 3000, 60
    attraction = rng.uniform(0.02, 0.5, n_pairs)
    pctr = attraction * np.exp(0.8 * rng.standard_normal(n_pairs))
    pair = np.repeat(np.arange(n_pairs), n_views)
    # What the pCTR overrates is put on top, more often than not.
    rank = pctr[pair] * np.exp(0.5 * rng.standard_normal(pair.size))
    position = 1 + np.searchsorted(np.quantile(-rank, [1 / 3, 2 / 3]), -rank)
    clicked = rng.random(pair.size) < looks[position - 1] * attraction[pair]
    assert examination_by_pairs(position, clicked, pair) == pytest.approx(looks, rel=0.05)
    assert examination_by_pctr(position, clicked, pctr[pair])[1] > 0.75
    # A pair that stays where it is says nothing.
    assert examination_by_pairs(position, clicked, np.arange(pair.size)) is None


# What is reported


def test_the_default_ways_are_every_scorer_by_every_rule(auctions):
    ways = entries(auctions, rules=("product", "gate"), thresholds=(0.2, 0.4))
    assert [(way.scorer, way.rule) for way in ways] == [
        ("none", "product"),
        *[(s, r) for s in ("bm25", "model", "oracle") for r in ("product", "gate 0.2", "gate 0.4")],
    ]


def test_a_table_without_clicks_or_grades_is_answered_by_its_pctr(auctions):
    bare = changed(auctions, position=None, clicked=None, price=None, grade=None, pair=None)
    result = replay(bare, [OWN], auction=RESERVE)
    log, row = result.points.rows(named=True)
    assert result.examination == LOOKS
    assert result.examination_is == "the simulator's default"
    assert row["revenue_model"] > 0
    assert row["revenue_ips"] is None
    assert row["irrelevant_share"] is None
    assert log["revenue"] is None
    assert "no column position and clicked" in result.warnings[0]


def test_spend_beyond_a_budget_is_not_counted(auctions):
    budget = np.full_like(auctions.budget_micros, 1_000_000)
    (row,) = points(changed(auctions, budget_micros=budget), OWN)
    assert row["revenue_in_budget"] <= budget.size
    assert row["revenue_in_budget"] < row["revenue_model"]
    (free,) = points(auctions, OWN)
    assert free["revenue_in_budget"] == pytest.approx(free["revenue_model"])


def test_grades_of_some_ads_are_shares_of_those(auctions):
    some = changed(auctions, grade=np.where(auctions.position > 0, auctions.grade, -1).astype(np.int8))
    (row,) = points(some, Entry("none", "product", Product(relevance=0.0)))
    assert row["graded_share"] == row["covered"]
    assert 0 < row["irrelevant_share"] < 1


def test_two_replays_are_the_same(auctions):
    ways = [OWN, Entry("bm25", "gate", Gate(threshold=0.3))]
    first, second = (replay(auctions, ways, auction=RESERVE, examination=LOOKS).points for _ in range(2))
    assert first.equals(second)


def test_the_order_of_the_file_does_not_matter(auctions, tmp_path):
    frame = read_auctions(auctions.path).frame.drop("row")
    frame.sample(fraction=1.0, shuffle=True, seed=1).write_parquet(tmp_path / "shuffled.parquet")
    (one,) = points(auctions, OWN)
    (other,) = points(to_arrays(read_auctions(tmp_path / "shuffled.parquet")), OWN)
    assert one == pytest.approx(other)


def test_the_command_prints_its_table_and_writes_a_whole_folder(example, tmp_path, monkeypatch, capsys):
    path = tmp_path / "few.jsonl"
    as_table(example).filter(pl.col("query_id") <= 60).write_ndjson(path)
    command = ["relbid", "replay", str(path), "--relevance", "model", "--rule", "gate", "--reserve", "0.05"]
    monkeypatch.setattr(
        "sys.argv", [*command, "--examination", "1,0.7,0.5,0.35", "--out", str(tmp_path / "r")]
    )
    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == 0
    said = capsys.readouterr().out
    assert "60 queries auctioned again" in said
    assert "as logged" in said
    assert "gate 0.3" in said
    assert "ESS: effective sample size" in said
    assert "effective sample size below 1000 in 3 of 3 rows" in " ".join(said.split())
    (folder,) = [entry for entry in (tmp_path / "r").iterdir() if entry.is_dir()]
    assert folder.name.startswith("replay-few-")
    assert sorted(file.name for file in folder.iterdir()) == ["replay.json", "replay.parquet"]
    assert json.loads((folder / "replay.json").read_text())["examination"] == list(LOOKS)
    assert pl.read_parquet(folder / "replay.parquet")["kind"].to_list() == [
        "log",
        "replay",
        "replay",
        "replay",
    ]
