"""Replays of logs whose truth is known: the simulator's own, and pages of which every click is drawn here."""

import json
from dataclasses import fields, replace as changed

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings, strategies as st
from hypothesis.extra.numpy import arrays

from benchmarks.replay_bias import KINDS, WAYS, biases, summary
from scenarios.cli.main import main
from scenarios.errors import ScenarioError
from scenarios.markets.table.auctions import Auctions, to_arrays
from scenarios.markets.table.reading import read_auctions
from scenarios.replay.click_rates import fitted_rates
from scenarios.replay.estimates import (
    Logged,
    Pages,
    effective_sample_size,
    estimate,
    examination_by_pairs,
    examination_by_pctr,
    gain,
)
from scenarios.replay.example import as_table, make_example
from scenarios.replay.pages import logged_pages
from scenarios.replay.replay_run import replay
from scenarios.replay.ways import Entry, entries
from simulator.auction import AuctionModel
from simulator.clock.engine import simulate
from simulator.fusion import Gate, Product
from simulator.market import with_relevance, with_rule
from simulator.pctr import CtrModel
from simulator.users import UserModel

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
    assert row["fill"] == pytest.approx(log.ad.size / auctions.candidate.shape[0] / 4)
    assert row["irrelevant_share"] == pytest.approx((log.grade == 0).mean())


def test_the_log_itself_is_the_first_row(example, auctions):
    log = example.log
    first = replay(auctions, [OWN], auction=RESERVE, examination=LOOKS).points.row(0, named=True)
    assert first["kind"] == "log"
    assert first["clicks"] == log.clicked.sum()
    assert first["revenue"] == pytest.approx(log.charged_micros.sum() / 1e6)
    assert first["mean_price"] == pytest.approx(first["revenue"] / first["clicks"])
    assert first["fill"] == pytest.approx(log.ad.size / auctions.candidate.shape[0] / 4)


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
    assert row["fill"] == pytest.approx(log.ad.size / auctions.candidate.shape[0] / 4)
    assert row["irrelevant_share"] == pytest.approx((log.grade == 0).mean())
    for kind in ("fitted", "ips", "sn", "dr"):
        # The run is as random as the estimate: the errors of both.
        assert abs(row[f"clicks_{kind}"] - clicks) < 4 * np.hypot(row["clicks_ips_se"], np.sqrt(clicks))
        assert abs(row[f"revenue_{kind}"] - revenue) < 4 * np.sqrt(2) * row["revenue_ips_se"]
    assert 0.3 < row["covered"] <= 1.0


def test_examination_is_found_in_the_log(auctions):
    found = replay(auctions, [OWN], auction=RESERVE)
    assert found.examination_is == "from ads seen in several slots"
    assert found.examination == pytest.approx(LOOKS, abs=0.16)  # four standard errors of 12,000 queries


def test_examination_covers_the_slots_of_the_log(auctions):
    with pytest.raises(
        ScenarioError, match="needs a probability for each of the 4 slots that the log shows, has 3"
    ):
        replay(auctions, [OWN], auction=RESERVE, examination=LOOKS[:3])


def test_a_pctr_that_is_half_of_the_truth_is_told_and_undone(auctions):
    halved = changed(auctions, pctr=auctions.pctr / 2)
    way = Entry("none", "product", Product(relevance=0.0))
    (right,) = points(auctions, way)
    (wrong,) = points(halved, way)
    assert wrong["clicks_model"] == pytest.approx(right["clicks_model"] / 2)
    for kind in ("fitted", "ips", "sn", "dr"):
        assert wrong[f"clicks_{kind}"] == pytest.approx(right[f"clicks_{kind}"], rel=1e-4), kind
    result = replay(halved, [way], auction=RESERVE, examination=LOOKS)
    assert any("times the clicks that its pCTR expects" in text for text in result.warnings)
    assert not replay(auctions, [way], auction=RESERVE, examination=LOOKS).warnings
    longer = changed(auctions, time_s=auctions.time_s * 1000)
    result = replay(longer, [way], auction=RESERVE, examination=LOOKS)
    assert "days: is time_s in seconds, or in milliseconds?" in result.warnings[0]
    cents = changed(auctions, price=auctions.price * 100)
    result = replay(cents, [way], auction=RESERVE, examination=LOOKS)
    assert "times the bids, in the middle: are both in the same currency unit?" in result.warnings[0]


# With a pCTR that is not true


@pytest.fixture(scope="module")
def imperfect(tmp_path_factory):
    """Logs with the default pCTR: example and auctions of two seeds."""
    found = []
    for seed in (1, 2):
        made = make_example(8000, seed=seed)
        path = tmp_path_factory.mktemp("table") / "log.parquet"
        as_table(made).write_parquet(path)
        found.append((made, to_arrays(read_auctions(path))))
    return found


def test_ads_that_the_log_passed_over_have_fewer_clicks_than_pctr_says(imperfect):
    """Without relevance, ads are shown whose relevance kept them out before; the fitted rates know that."""
    sums = []
    for example, auctions in imperfect:
        market, met = example.market, example.market.candidate >= 0
        rate = logged_pages(auctions, np.array(LOOKS)).rate
        by_ad = np.zeros((3, market.advertiser.size))
        of_pairs = market.attraction[met], market.pctr[met], rate[auctions.candidate >= 0]
        by_ad[:, market.candidate[met]] = of_pairs
        now = simulate(with_rule(market, Product(relevance=0.0)))
        new = ~np.isin(now.ad, example.log.ad) & (now.relevance < 0.05)
        weight = now.price_micros[new] * np.array(LOOKS)[now.slot[new]]
        sums.append((by_ad[:, now.ad[new]] * weight).sum(axis=1))
    true, pctr, fitted = np.sum(sums, axis=0)
    assert pctr > 1.25 * true
    assert fitted == pytest.approx(true, rel=0.15)


@pytest.mark.slow
def test_estimates_are_right_with_the_default_pctr():
    """The bias of each estimator of `benchmarks.replay_bias` is within its standard error, pCTR's is not."""
    keen = UserModel(attraction=(0.05, 0.15, 0.4, 0.7))  # five times the clicks: less noise
    table = summary(biases(range(1, 9), 4000, users=keen))
    for row in table.iter_rows(named=True):
        for kind in KINDS[1:]:
            assert abs(row[kind]) < 2.5 * row[f"{kind}_se"], (row["way"], kind)
    assert len(table) == len(WAYS)
    worst = max(table.iter_rows(named=True), key=lambda row: abs(row["model"]))
    assert abs(worst["model"]) > 4 * worst["model_se"]
    for kind in KINDS[1:]:
        assert abs(worst[kind]) < 0.5 * abs(worst["model"]), kind


def test_rates_fitted_to_a_log_by_hand():
    """Two kinds of ads, told apart by a relevance: pCTR is too high for one and too low for the other."""
    rng = np.random.default_rng(4)
    good = rng.random((20_000, 2)) < 0.5
    auctions = Auctions(
        **dict.fromkeys((f.name for f in fields(Auctions)), None)
        | {
            "candidate": np.arange(good.size).reshape(good.shape),
            "pctr": np.full(good.shape, 0.1),
            "relevance": {"model": good.astype(float)},
            "clicked": rng.random(good.shape) < 0.5 * np.where(good, 0.2, 0.05),
            "pair": None,
        }
    )
    shown = np.broadcast_to([0.5, 0.0], good.shape)  # the second column is never shown
    clicked = auctions.clicked & (shown > 0)
    rate = fitted_rates(changed(auctions, clicked=clicked), shown)
    assert rate[good].mean() == pytest.approx(0.2, rel=0.06)
    assert rate[~good].mean() == pytest.approx(0.05, rel=0.12)
    assert rate[good].std() < 0.01, "folds differ by noise alone"
    # A pair's own click does not move its rate.
    other = clicked.copy()
    other[7, 0] = ~other[7, 0]
    again = fitted_rates(changed(auctions, clicked=other), shown)
    assert again[7, 0] == rate[7, 0]
    assert not np.array_equal(again, rate)
    # Without clicks pCTR is all that is known.
    assert (fitted_rates(changed(auctions, clicked=np.zeros_like(clicked)), shown) == 0.1).all()


# Estimates, by hand and by simulation


def test_effective_sample_size_by_hand():
    assert effective_sample_size(np.full(7, 3.0)) == pytest.approx(7.0)
    assert effective_sample_size(np.array([3.0, 1.0])) == pytest.approx(1.6)
    assert effective_sample_size(np.zeros(0)) == 0.0


def test_estimates_by_hand():
    # Two pages of two slots: an ad moved up from an examination of 1/2, one that stays, one never shown. The
    # first two are pairs 0 and 2; both events have one query, and the second showed pair 0 in slot 1 too.
    looks = np.array([1.0, 0.5])
    pages = Pages(
        price=np.array([[2.0, 1.0], [4.0, 0.0]]),
        expected=np.array([[0.2, 0.1], [0.3, 0.0]]),
        fitted=np.array([[0.4, 0.2], [0.2, 0.0]]),
        looked_at=np.array([[1.0, 0.5], [1.0, 0.0]]),
        pair=np.array([[0, 1], [2, 0]]),
        weight=np.array([[2.0, 0.0], [1.0, 0.0]]),
        clicked=np.array([[True, False], [False, False]]),
    )
    log = Logged(
        looked_at=np.array([looks[::-1], looks[:2]]),
        clicked=np.array([[True, False], [False, False]]),
        rate=np.array([[0.4, 0.1], [0.2, 0.4]]),
        pair=np.array([[0, 3], [2, 0]]),
    )
    clicks = estimate(pages, log, clip=10.0)
    assert clicks.model.total == pytest.approx(0.6)
    assert clicks.fitted.total == pytest.approx(0.8)
    assert clicks.ips.total == pytest.approx(2.0 + 0.2)
    assert clicks.sn.total == pytest.approx(0.8 * 2.0 / 0.6)
    # Pair 0: the new pages look once, the log twice a half; one click, of 0.4 that the rates expect. Pair 2:
    # once and once, no click of 0.2. Pair 1 was not shown, pair 3 is not shown now.
    assert clicks.dr.total == pytest.approx(0.8 + 1.0 * (1 - 0.4) + 1.0 * (0 - 0.2))
    assert clicks.dr.error == pytest.approx(np.std([0.6 + 0.8, 0.2 - 0.2 - 0.2], ddof=1) * np.sqrt(2))
    revenue = estimate(pages, log, clip=10.0, worth=pages.price)
    assert revenue.model.total == pytest.approx(0.4 + 0.1 + 1.2)
    assert revenue.fitted.total == pytest.approx(0.8 + 0.2 + 0.8)
    assert revenue.ips.total == pytest.approx(4.0 + 0.2)
    assert revenue.dr.total == pytest.approx(1.8 + 2.0 * (1 - 0.4) + 4.0 * (0 - 0.2))
    # Capped at 1: half the click of the first ad is lost, and half of what the rates expect of it.
    capped = estimate(pages, log, clip=1.0)
    assert capped.ips.total == pytest.approx(1.0 + 0.2)
    assert capped.sn.total == pytest.approx(0.8 * 1.0 / (0.2 + 0.2))
    half = log._replace(looked_at=log.looked_at / 2)
    assert estimate(pages, half, clip=1.0).dr.total == pytest.approx(0.8 + 1.0 * (1 - 0.2) + 1.0 * (0 - 0.1))
    # Per page 2.2 and 0: the standard error of their sum.
    assert clicks.ips.error == pytest.approx(np.std([2.2, 0.0], ddof=1) * np.sqrt(2))
    assert gain(pages, 10.0, np.array([1.0, 0.0])).total == pytest.approx(3.2)


def drawn(rng, attraction, before, now, rate):
    """Pages whose ads change places, each a pair of its own, and the log that showed them before."""
    clicked = rng.random(attraction.shape) < before * attraction
    shape, pair = attraction.shape, np.arange(attraction.size).reshape(attraction.shape)
    looks = np.broadcast_to(now, shape), np.broadcast_to(before, shape)
    weight = np.broadcast_to(now / before, shape)
    pages = Pages(np.ones(shape), now * rate, now * rate, looks[0], pair, weight, clicked)
    return pages, Logged(looks[1], clicked, rate, pair)


def test_ips_is_right_on_average_and_the_cap_costs_what_it_says():
    rng = np.random.default_rng(1)
    attraction = rng.uniform(0.05, 0.3, (500, 2))
    before, now = np.array([0.2, 1.0]), np.array([1.0, 0.5])  # the ads of each page change places
    truth = (now * attraction).sum()
    totals = []
    for _ in range(300):
        pages, log = drawn(rng, attraction, before, now, attraction)
        found, capped = (estimate(pages, log, clip) for clip in (10.0, 2.0))
        totals.append((found.ips.total, found.ips.error, capped.ips.total, capped.sn.total, capped.dr.total))
    ips, error, capped, sn, dr = np.array(totals).T
    assert abs(ips.mean() - truth) < 4 * ips.std() / np.sqrt(300)
    assert error.mean() == pytest.approx(ips.std(), rel=0.2)
    kept = (np.minimum(now / before, 2.0) * before * attraction).sum()
    assert abs(capped.mean() - kept) < 4 * capped.std() / np.sqrt(300)
    assert abs(sn.mean() - truth) < 4 * sn.std() / np.sqrt(300)
    assert sn.std() < ips.std()
    assert abs(dr.mean() - truth) < 4 * dr.std() / np.sqrt(300), "right rates make up for the cap"


def test_dr_is_right_where_the_rates_or_the_propensities_are():
    rng = np.random.default_rng(2)
    attraction = rng.uniform(0.05, 0.3, (500, 2))
    before, now = np.array([0.2, 1.0]), np.array([1.0, 0.5])
    truth = (now * attraction).sum()

    def bias(rate, clip, shown=1.0):
        totals = []
        for _ in range(200):
            pages, log = drawn(rng, attraction, before, now, rate)
            log = log._replace(looked_at=log.looked_at * shown, clicked=log.clicked & (shown > 0))
            totals.append(estimate(pages, log, clip).dr.total)
        return np.mean(totals) - truth, 4 * np.std(totals) / np.sqrt(200)

    wrong = attraction * rng.uniform(0.5, 3.0, attraction.shape)
    off, error = bias(wrong, clip=10.0)
    assert abs(off) < error, "wrong rates, right propensities"
    some = (rng.random(attraction.shape) < 0.7).astype(float)
    off, error = bias(attraction, clip=10.0, shown=some)
    assert abs(off) < error, "right rates, ads that the log never showed"
    off, error = bias(wrong, clip=10.0, shown=some)
    assert abs(off) > error, "neither"


@settings(max_examples=50, deadline=None)
@given(
    expected=arrays(np.float64, (6, 3), elements=st.floats(0.01, 1)),
    clicked=arrays(np.bool_, (6, 3)),
    factor=st.floats(0.1, 10),
)
def test_pages_as_logged_keep_their_clicks(expected, clicked, factor):
    ones, pair = np.ones((6, 3)), np.arange(18).reshape(6, 3)
    pages, log = (
        Pages(ones, expected, expected, ones, pair, ones, clicked),
        Logged(ones, clicked, expected, pair),
    )
    found = estimate(pages, log, clip=1.0)
    for kind in (found.ips, found.sn, found.dr):
        assert kind.total == pytest.approx(clicked.sum())
    scaled = pages._replace(fitted=expected * factor), log._replace(rate=expected * factor)
    assert estimate(*scaled, clip=1.0).sn.total == pytest.approx(found.sn.total)
    assert estimate(*scaled, clip=1.0).dr.total == pytest.approx(found.sn.total)


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
    few = as_table(example).filter(pl.col("query_id") <= 60)
    few.write_ndjson(path)
    command = ["relbid", "replay", str(path), "--relevance", "model", "--rule", "gate", "--reserve", "0.05"]
    monkeypatch.setattr(
        "sys.argv", [*command, "--examination", "1,0.7,0.5,0.35", "--out", str(tmp_path / "r")]
    )
    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == 0
    said = capsys.readouterr().out
    assert f"{few['query_id'].n_unique()} queries auctioned again" in said
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
