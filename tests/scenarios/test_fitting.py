"""Markets fitted to logs whose truth is known: made by hand, drawn here, or the simulator's own."""

import json
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
import yaml

from benchmarks.backtest_coverage import LOOKS, OTHER, OWN, covered, log_of_example, summary
from scenarios import load_scenario
from scenarios.cli.main import main
from scenarios.errors import ScenarioError, TableError
from scenarios.fitting import clicks, pacing
from scenarios.fitting.arrivals import PARTS, Arrivals, draw_counts, exposures, fit_arrivals, interval
from scenarios.fitting.auction_log import cluster_weights, log_of, read_log
from scenarios.fitting.backtest import LARGEST, SPEND, _prediction, backtest, observed_figures
from scenarios.fitting.budgets import (
    ERROR,
    DaysOfAdvertisers,
    advertiser_days,
    fit_budgets,
    summary as budgets_of,
)
from scenarios.fitting.fit_run import backtest_files, fit_file
from scenarios.fitting.market import fit_market, put_back
from scenarios.fitting.ranking import Ranking, fusion_block
from scenarios.fitting.values import respond, shading
from scenarios.markets.table.auctions import DAY_S, table_market
from scenarios.markets.table.reading import read_auctions
from scenarios.markets.table.table_market import read_market
from scenarios.replay.example import as_table, make_example
from scenarios.replay.ways import Entry, entries
from simulator.auction import AuctionModel
from simulator.clock.engine import simulate
from simulator.fusion import Product
from simulator.market import with_settings

UNRANKED = Entry("none", "product", Product(relevance=0.0))


@pytest.fixture(scope="module")
def example():
    """Two days of 700 queries, ranked by bid x pCTR x relevance."""
    return make_example(700, seed=3, days=2)


@pytest.fixture(scope="module")
def file(example, tmp_path_factory):
    path = tmp_path_factory.mktemp("table") / "log.parquet"
    as_table(example).write_parquet(path)
    return path


def run(monkeypatch, capsys, *command: str) -> tuple[int, str, str]:
    monkeypatch.setattr("sys.argv", ["relbid", *command])
    with pytest.raises(SystemExit) as caught:
        main()
    said = capsys.readouterr()
    return int(caught.value.code or 0), said.out, said.err


# Arrivals


def test_exposure_counts_parts_of_days_that_lie_in_a_span():
    seen = exposures(1.5 * 3600, DAY_S + 1800)
    assert seen.shape == (2, PARTS)
    assert seen[0, :3].tolist() == [0.0, 0.5, 1.0]
    assert seen[1, :2].tolist() == [0.5, 0.0]
    assert seen.sum() == pytest.approx((DAY_S + 1800 - 5400) / 3600)


def test_rates_are_counts_over_how_often_a_part_was_seen(tmp_path):
    """Two queries in the first hour of each of two days, one in the second hour of the first alone."""
    times = [0, 1800, 4000, DAY_S, DAY_S + 1800, DAY_S + 3600]
    found = fit_arrivals(hand_log(tmp_path, [{"time_s": float(time)} for time in times]))
    assert found.queries[:2].tolist() == [4, 1]
    assert found.rate[:2].tolist() == [2.0, 1.0]
    assert found.rate[2] == 0.0


def test_the_interval_covers_a_poisson_sum_as_often_as_it_says():
    rng = np.random.default_rng(1)
    weight, mean = np.array([1.0, 0.5, 2.0]), np.array([4.0, 10.0, 2.0])
    hits = 0
    for counts in rng.poisson(mean, size=(2000, 3)):
        low, high = interval(counts, weight, 1.0)
        hits += low <= weight @ mean <= high
    assert 0.945 <= hits / 2000 <= 0.995  # conservative: the counts are whole


def test_drawn_days_have_the_mean_and_scatter_of_the_logs_days():
    """Rates are well known here, so that the variance over the mean is the days' dispersion."""
    found = Arrivals(np.full(PARTS, 40_000), np.full(PARTS, 1000.0), dispersion=3.0, days=1000)
    seen = np.ones((1, PARTS))
    totals = [draw_counts(found, seen, np.random.default_rng(one)).sum() for one in range(1500)]
    assert np.mean(totals) == pytest.approx(40 * PARTS, rel=0.01)
    assert np.var(totals) / np.mean(totals) == pytest.approx(3.0, rel=0.2)
    assert draw_counts(found._replace(exposure=np.zeros(PARTS)), seen, np.random.default_rng(1)) is None


# Clicks


def test_the_planted_factor_and_slope_of_pctr_are_found():
    rng = np.random.default_rng(2)
    pctr = np.exp(rng.normal(-2.5, 0.7, 60_000))
    looks = rng.choice(LOOKS, pctr.size)
    drawn = rng.random(pctr.size) < looks * 1.5 * pctr**0.8
    feature = np.stack([np.ones(pctr.size), np.log(pctr)], axis=1)
    found = clicks.clustered(feature, looks * pctr, drawn.astype(float), np.arange(pctr.size))
    error = np.sqrt(np.diag(found.covariance))
    assert np.abs(found.beta - [np.log(1.5), -0.2]).max() < 4 * error.max()
    assert error[1] < 0.03


def test_rows_that_repeat_within_a_cluster_are_no_more_evidence():
    rng = np.random.default_rng(3)
    feature = np.ones((500, 1))
    drawn, cluster = (rng.random(500) < 0.1).astype(float), np.arange(500)
    once = clicks.clustered(feature, np.full(500, 0.1), drawn, cluster)
    again = np.repeat(np.arange(500), 4)
    four = clicks.clustered(feature[again], np.full(2000, 0.1), drawn[again], cluster[again])
    assert four.covariance == pytest.approx(once.covariance)
    loose = clicks.clustered(feature[again], np.full(2000, 0.1), drawn[again], np.arange(2000))
    assert loose.covariance[0, 0] == pytest.approx(once.covariance[0, 0] / 4, rel=0.02)


def test_a_pctr_that_is_half_of_the_truth_has_twice_the_factor(file):
    def factor(table):
        log = log_of(table)
        model = clicks.fit_clicks(log, np.asarray(LOOKS))
        found = clicks.findings(log, np.asarray(LOOKS), "given", model)
        return next(one for one in found if one.name == "factor of pCTR"), model.rates().sum()

    table = read_auctions(file)
    right, rates = factor(table)
    halved, same = factor(replace(table, frame=table.frame.with_columns(pl.col("pctr") / 2)))
    assert right.low < right.value < right.high
    assert halved.value == pytest.approx(2 * right.value)
    assert same == pytest.approx(rates, rel=1e-4)  # the market's click rates do not depend on it


def test_an_advertiser_that_is_clicked_twice_as_often_has_a_higher_rate():
    shape = 2000, 2
    rng = np.random.default_rng(4)
    model = clicks.ClickModel(
        feature=np.ones((*shape, 1)),
        pctr=np.full(shape, 0.1),
        examined=np.ones(shape),
        clicks=(rng.random(shape) < [0.1, 0.2]).astype(float),
        advertiser=np.tile([0, 1], (2000, 1)),
        n_advertisers=3,
        strength=2.0,
    )
    rates = model.rates()
    assert rates[0] == pytest.approx([0.1, 0.2], abs=0.03)
    assert model.factors(np.full(shape, 0.15))[2] == 1.0  # nothing is known of it
    drawn = np.array([model.rates(np.random.default_rng(one))[0, 0] for one in range(300)])
    assert drawn.std() == pytest.approx(np.sqrt(0.1 / 2000), rel=0.25)


# Budgets


def hand_log(tmp_path, changes: list[dict]):
    """A log of one ad an event, of which each row changes something."""
    plain = {
        "ad_id": "a",
        "advertiser_id": "A",
        "bid": 1.0,
        "pctr": 0.5,
        "query": "shoes",
        "position": 1,
        "clicked": True,
        "price": 0.5,
    }
    rows = [{"query_id": number, **plain, **change} for number, change in enumerate(changes)]
    pl.DataFrame(rows, infer_schema_length=None).write_parquet(tmp_path / "hand.parquet")
    return read_log(tmp_path / "hand.parquet")


def stopping_log(tmp_path, days: tuple[int, ...] = (10, 20), stays: int = 20):
    """An event an hour for 20 hours of each day; A leaves after so many of them, B is in all."""
    rows = []
    for day, last in enumerate(days):
        for hour in range(stays):
            event = {"query_id": f"{day}.{hour}", "time_s": day * DAY_S + 3600.0 * hour}
            if hour < last:
                rows.append(event)
            rows.append(event | {"ad_id": "b", "advertiser_id": "B", "position": 2 - (hour >= last)})
    return hand_log(tmp_path, rows)


def test_who_stops_though_its_queries_come_ran_out(tmp_path):
    log = stopping_log(tmp_path)
    found = fit_budgets(log)
    names = log.auctions.advertiser_id.to_list()
    a, b = names.index("A"), names.index("B")
    assert found.known[a] == pytest.approx(10 * 0.5)  # ten clicks on the day on which it ran out
    assert found.days_out.tolist() == [1 if name == "A" else 0 for name in names]
    assert np.isnan(found.known[b])
    assert found.at_least[b] == pytest.approx(20 * 0.5)
    chance = found.rows.chance[(found.rows.advertiser == a) & (found.rows.day == 0)]
    assert chance == pytest.approx(1 / 184_756)  # 20 over 10
    assert found.rows.stopped_s[found.rows.ran_out].tolist() == [9 * 3600.0]


def test_who_stops_two_queries_before_the_end_may_have_been_lucky(tmp_path):
    found = fit_budgets(stopping_log(tmp_path, days=(18, 20)))
    assert not found.rows.ran_out.any()
    assert found.rows.chance.min() == pytest.approx(1 / 190)


def test_who_never_comes_back_has_left_and_no_budget_is_known(tmp_path):
    found = fit_budgets(stopping_log(tmp_path, days=(10, 0)))
    assert found.rows.chance.min() < ERROR
    assert not found.rows.ran_out.any()


def test_the_rule_errs_as_seldom_as_it_says():
    """An advertiser that takes part by chance all day, and so never runs out."""
    rng = np.random.default_rng(5)
    n_days, n = 4000, 40
    part = rng.random((n_days, n)) < 0.3
    found = advertiser_days(
        advertiser=np.where(part.ravel(), 0, -1)[:, None],
        shown_cost=np.ones((n_days * n, 1)),
        cluster=np.zeros(n_days * n, dtype=np.int64),
        day=np.repeat(np.arange(n_days), n),
        time_s=np.arange(n_days * n, dtype=float),
        last_day=n_days - 1,
    )
    for level in (0.2, 0.05, 0.01):
        assert (found.chance < level).mean() <= level + 3 * np.sqrt(level / n_days)
    assert (found.chance < 0.2).mean() > 0.05  # and it is not so cautious as to say nothing


def test_budgets_known_and_bounded_give_back_their_distribution():
    rng = np.random.default_rng(6)
    budget, demand = np.exp(rng.normal(1.0, 0.5, 3000)), np.exp(rng.normal(1.3, 0.8, 3000))
    out = demand > budget
    rows = advertiser_days_of(np.minimum(budget, demand), out)
    found = budgets_of(rows, 3000)
    assert found.log_mean == pytest.approx(1.0, abs=0.05)
    assert found.log_sigma == pytest.approx(0.5, abs=0.05)
    assert np.log(np.minimum(budget, demand)).mean() < 0.9  # what was spent would mislead


def advertiser_days_of(spent, out):
    n = spent.size
    zeros = np.zeros(n, dtype=np.int64)
    return DaysOfAdvertisers(np.arange(n), zeros, spent, np.where(out, 0.0, 1.0), np.zeros(n), out)


def test_candidates_that_ran_out_are_put_back_as_they_stood_last(tmp_path):
    log = stopping_log(tmp_path)
    full = put_back(log, fit_budgets(log))
    added = full.table.frame.height - log.table.frame.height
    assert added == 10
    assert (full.auctions.candidate >= 0).sum(axis=1).tolist() == [2] * 40
    assert full.shown.sum() == log.shown.sum()
    assert full.day.tolist() == log.day.tolist()


# Ranking and market


def test_the_rule_of_the_log_is_found_with_its_reserve(file):
    fitted, _ = fit_file(file, examination=LOOKS)
    ranking = fitted.ranking
    assert (ranking.way.scorer, ranking.way.rule) == ("model", "product")
    assert (ranking.same_slot, ranking.same_price) == (1.0, 1.0)
    assert ranking.auction.reserve == 0.05
    wrong, _ = fit_file(file, examination=LOOKS, relevance="bm25", rule="gate", thresholds=[0.6])
    assert wrong.ranking.same_slot < 0.5
    assert "no known rule ranks as the log does" in " ".join(wrong.warnings)


def test_the_mechanism_is_found_by_its_prices(example):
    market = with_settings(example.market, auction=AuctionModel(mechanism="first_price"))
    log = log_of_example(replace(example, market=market, log=simulate(market)))
    fitted = fit_market(log, examination=LOOKS, ways=[OWN], valued=False)
    assert fitted.ranking.auction.mechanism == "first_price"
    assert fitted.ranking.same_price > 0.99
    told = fit_market(log, examination=LOOKS, ways=[OWN], mechanism="gsp", valued=False)
    assert told.ranking.auction.mechanism == "gsp"
    assert told.ranking.same_price < 0.5
    with pytest.raises(ScenarioError, match="mechanism vcg"):
        fit_market(log, examination=(0.5, 0.7, 0.5, 0.3), ways=[OWN], mechanism="vcg", valued=False)


def test_rules_are_written_as_a_scenario_names_them(file, tmp_path):
    for way in entries(read_log(file).auctions, scorers=["model"])[1:]:
        fields = {"schema": 1, "name": "x", "fusion": fusion_block(way)}
        (tmp_path / "x.yaml").write_text(yaml.safe_dump(fields))
        assert load_scenario(tmp_path / "x.yaml").fusion.build() == way.fusion


def test_users_of_a_simulation_click_by_the_column_click_rate(tmp_path):
    rows = [{"query_id": n, "ad_id": "a", "advertiser_id": 1, "bid": 1.0, "pctr": 0.01} for n in range(300)]
    pl.DataFrame(rows).with_columns(click_rate=pl.lit(1.0)).write_parquet(tmp_path / "t.parquet")
    auctions = read_market(tmp_path / "t.parquet")
    market = table_market(auctions, np.ones(auctions.candidate.shape), seed=1, rule=Product())
    assert simulate(market).clicked.all()
    assert (market.pctr == 0.01).all()


def test_the_market_that_is_written_earns_what_the_log_did(file, tmp_path, monkeypatch, capsys):
    out = tmp_path / "fitted"
    code, said, _ = run(
        monkeypatch, capsys, "fit", str(file), "--examination", "1,.7,.5,.35", "--out", str(out)
    )
    assert code == 0
    assert "factor of pCTR" in said
    assert sorted(path.name for path in out.iterdir()) == [
        "advertisers.parquet",
        "auctions.parquet",
        "fit.json",
        "fitted.yaml",
    ]
    scenario = load_scenario(out / "fitted.yaml")
    assert scenario.users.examination == LOOKS
    written, log = read_market(out / "auctions.parquet", out / "advertisers.parquet"), read_log(file)
    users, auction = scenario.users, scenario.auction
    market = table_market(
        written, written.relevance["model"], seed=1, rule=Product(), auction=auction, users=users
    )
    assert (simulate(market).ad.size, written.days) == (log.shown.sum(), 2)
    total = [simulate(replace(market, seed=seed)).clicked.sum() for seed in range(10)]
    logged = log.auctions.clicked.sum()
    assert abs(np.mean(total) - logged) < 4 * np.sqrt(logged / 10)
    facts = json.loads((out / "fit.json").read_text())
    assert len(facts["traffic"]["shape"]) == 24
    assert {one["station"] for one in facts["estimates"]} == {
        "arrivals",
        "clicks",
        "budgets",
        "ranking",
        "pacing",
        "values",
    }
    assert yaml.safe_load((out / "fitted.yaml").read_text())["fusion"] == {"rule": "product"}
    code, _, error = run(monkeypatch, capsys, "fit", str(file), "--out", str(out))
    assert (code, "is there already" in error) == (2, True)


def test_a_log_that_cannot_be_fitted_is_refused(file, tmp_path):
    table = read_auctions(file)
    with pytest.raises(TableError, match="no column clicked and price, which a fit needs"):
        fit_market(log_of(replace(table, frame=table.frame.drop("clicked", "price"))))
    none = table.frame.with_columns(clicked=pl.when(pl.col("clicked").is_not_null()).then(False))
    with pytest.raises(TableError, match="has no click"):
        fit_market(log_of(replace(table, frame=none)), examination=LOOKS)
    with pytest.raises(TableError, match="check that times are in seconds"):
        log_of(replace(table, frame=table.frame.with_columns(pl.col("time_s") * 1000 * 4)))
    few = table.frame.filter(pl.col("query_id").is_in(table.frame["query_id"].unique().head(3).implode()))
    with pytest.raises(ScenarioError, match="3 query events are too few"):
        fit_market(log_of(replace(table, frame=few)), examination=LOOKS)
    timeless = log_of(replace(table, frame=table.frame.drop("time_s")))
    fitted = fit_market(timeless, examination=LOOKS, ways=[OWN], valued=False)
    assert fitted.arrivals is None
    assert fitted.budgets is None
    assert "no column time_s" in fitted.warnings[-1]


# Pacing


def bids(values: list[float]) -> pl.DataFrame:
    return pl.DataFrame({"who": 0, "ad": "a", "text": 0, "day": 0, "bid": values})


def test_bids_that_stand_still_drift_or_are_drawn_anew_are_told_apart():
    rng = np.random.default_rng(7)
    still = pacing.moves(bids([1.0] * 10))
    assert still.spread.tolist() == [0.0]
    drift = pacing.moves(bids(np.exp(np.cumsum(rng.normal(0, 0.1, 2000))).tolist()))
    noise = pacing.moves(bids(np.exp(rng.normal(0, 0.3, 2000)).tolist()))
    assert noise.spread[0] == pytest.approx(0.3, rel=0.1)
    assert noise.memory == pytest.approx(-0.5, abs=0.08)
    assert drift.memory == pytest.approx(0.0, abs=0.08)


# Values


def auctions_of(rivals: np.ndarray, own: float, looked_at: tuple[float, ...]):
    """What an advertiser gets that bids `own` in auctions against rivals F[R, K]."""
    bid = np.concatenate([np.full((rivals.shape[0], 1), own), rivals], axis=1)
    ones = np.ones_like(bid)
    return respond(
        Product(),
        AuctionModel(reserve=0.0),
        bid=bid,
        pctr=ones,
        relevance=ones,
        rate=ones,
        present=ones > 0,
        column=np.zeros(rivals.shape[0], dtype=np.int64),
        looked_at=np.asarray(looked_at),
        tie_break=np.zeros_like(bid),
    )


def test_with_one_slot_the_marginal_click_costs_the_bid():
    """A second-price auction: between scales of 0.9 and 1.1, clicks cost what rivals bid, 1 on average."""
    rivals = np.linspace(0.5, 1.5, 1001)[:, None]
    found = auctions_of(rivals, 1.0, (1.0,))
    assert shading(np.ones(1001), found, 0, 2) == pytest.approx(1.0, abs=0.01)
    assert shading(np.ones(1001), found, 1, 2) == pytest.approx(1 / 1.05, abs=0.01)
    assert shading(np.ones(1001), found, 0, 1) == pytest.approx(1 / 0.95, abs=0.01)


def test_with_two_slots_half_a_click_more_costs_one_and_a_half():
    """From slot 2 (0.5 clicks at 1) to slot 1 (1 click at 2), past a rival who bids 2."""
    found = auctions_of(np.array([[2.0, 1.0]]), 1.95, (1.0, 0.5))
    assert found.clicks.tolist() == [[0.5, 0.5, 1.0]]
    assert found.cost.tolist() == [[0.5, 0.5, 2.0]]
    assert shading(np.array([1.95]), found, 0, 2) == pytest.approx(1.95 * 0.5 / 1.5)
    assert np.isnan(shading(np.array([1.95]), found, 0, 1))  # no click is lost


# Backtest


def test_clusters_are_drawn_whole():
    cluster = np.array([0, 0, 1, 2, 2, 2])
    weight = cluster_weights(cluster, np.random.default_rng(1))
    assert [np.unique(weight[cluster == one]).size for one in range(3)] == [1, 1, 1]
    assert sum(weight[[0, 2, 3]]) == 3


def test_an_interval_is_the_kth_smallest_and_largest_draw():
    drawn = list(range(1, 80))
    found = _prediction("x", drawn, 78.0)
    assert (found.low, found.predicted, found.high) == (2.0, 40.0, 78.0)
    assert found.covered
    assert not _prediction("x", drawn, 78.5).covered
    assert np.isnan(_prediction("x", drawn[:38], 1.0).low)


def test_figures_of_a_log_are_those_of_the_run_that_made_it(example, file):
    log = read_log(file)
    names = log.auctions.advertiser_id
    found = observed_figures(log, names, 4)
    revenue = example.log.charged_micros.sum() / 1e6
    assert found["clicks"] == example.log.clicked.sum()
    assert found["revenue per 1000 queries"] == pytest.approx(1000 * revenue / log.cluster.size)
    assert found["irrelevant share"] == pytest.approx((example.log.grade == 0).mean())
    assert sum(found[SPEND + name] for name in names) == pytest.approx(revenue)


def test_intervals_cover_the_second_day(capsys):
    """Of six logs; benchmarks.backtest_coverage does more. Also where the second day has another rule."""
    for other in (False, True):
        table = covered(range(1, 4), 400, draws=39, other_rule=other)
        found = summary(table)
        assert found["logs"].to_list() == [3] * found.height
        assert found.height == 7 + LARGEST
        assert table["covered"].mean() >= 0.85
        assert (table["low"] <= table["predicted"]).all()


def test_another_rule_that_is_not_told_is_noticed_and_told_is_predicted(example):
    first, _ = log_of_example(example).split(DAY_S)
    _, other = log_of_example(example, OTHER.fusion).split(DAY_S)
    fitted = fit_market(first, examination=LOOKS, ways=[OWN], valued=False)
    untold = backtest(fitted, other, draws=39)
    assert "the second part was not ranked so" in untold.warnings[-1]
    told = backtest(fitted, other, ranked=Ranking(OTHER, fitted.ranking.auction), draws=39)
    assert not told.warnings
    fill = {name: next(one for one in found.predictions if one.figure == "fill")
            for name, found in (("told", told), ("untold", untold))}  # fmt: skip
    assert fill["told"].covered
    assert not fill["untold"].covered


def test_the_same_seed_gives_the_same_prediction(example):
    first, second = log_of_example(example).split(DAY_S)
    fitted = fit_market(first, examination=LOOKS, ways=[OWN], valued=False)
    once, again, other = (backtest(fitted, second, draws=39, seed=seed) for seed in (1, 1, 2))
    assert once.predictions == again.predictions
    assert once.predictions != other.predictions


def test_a_log_within_one_day_takes_the_number_of_queries_as_known(file):
    found = backtest_files(file, split=50_000.0, examination=LOOKS, draws=39)
    names = [one.figure for one in found.predictions]
    assert "queries" not in names  # the first part has not seen the evening
    assert "taken as known" in found.warnings[-1]
    whole = backtest_files(file, train_days=1, examination=LOOKS, draws=39)
    assert whole.predictions[0].figure == "queries"
    given = backtest_files(file, other=file, known_queries=True, examination=LOOKS, draws=39)
    assert given.predictions[0].figure != "queries"


def test_a_log_without_times_cannot_be_split(file, tmp_path):
    pl.read_parquet(file).drop("time_s").write_parquet(tmp_path / "log.parquet")
    with pytest.raises(TableError, match="has no column time_s to split it by; add it, or use --other"):
        backtest_files(tmp_path / "log.parquet", draws=39)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--split", "0"), "--split 0.0: leaves no event before it"),
        (("--train-days", "2"), "--train-days 2: leaves no event"),
        (("--train-days", "1", "--split", "5"), "name one way to split"),
        (("--rule", "gate"), "names 2 rankings"),
        (("--relevance", "nobody"), "has no column relevance_nobody"),
        (("--draws", "10"), "draws"),
    ],
)
def test_what_cannot_be_predicted_is_refused_with_a_remedy(file, monkeypatch, capsys, options, message):
    code, said, error = run(monkeypatch, capsys, "backtest", str(file), *options)
    assert code == 2
    assert not said
    assert message in error


def test_the_command_prints_predictions(file, monkeypatch, capsys):
    code, said, _ = run(
        monkeypatch, capsys, "backtest", str(file), "--draws", "39", "--examination", "1,.7,.5,.35",
        "--rule", "gate", "--thresholds", "0.3", "--reserve", "0.1",
    )  # fmt: skip
    assert code == 0
    assert "revenue per 1000 queries" in said
    assert "second part ranked by model, gate 0.3, reserve 0.1, gsp" in said
    assert "was not ranked so" in said


def test_an_example_of_several_days_is_written(tmp_path, monkeypatch, capsys):
    path = tmp_path / "days.parquet"
    code, _, _ = run(monkeypatch, capsys, "replay", "--example", str(path), "--rows", "600", "--days", "3")
    assert code == 0
    assert read_log(path).day[-1] >= 1
    code, _, told = run(monkeypatch, capsys, "replay", str(path), "--days", "3")
    assert code == 2
    assert "--rows, --days: are of an example; name it with --example" in told


def test_the_budget_of_a_simulated_market_is_found(tmp_path):
    """Three advertisers on three slots for two days; A has 20 a day, and leaves when that is spent."""
    n = 600
    rows = [
        {
            "query_id": event,
            "time_s": event * DAY_S * 2 / n,
            "query": "shoes",
            "ad_id": name,
            "advertiser_id": name,
            "bid": bid,
            "pctr": 0.4,
        }
        for event in range(n)
        for name, bid in (("A", 1.5), ("B", 1.0), ("C", 0.5))
    ]
    pl.DataFrame(rows).write_parquet(tmp_path / "t.parquet")
    pl.DataFrame({"advertiser_id": ["A"], "budget": [20.0]}).write_parquet(tmp_path / "b.parquet")
    auctions = read_market(tmp_path / "t.parquet", tmp_path / "b.parquet")
    market = table_market(auctions, np.ones(auctions.candidate.shape), seed=1, rule=Product())
    log = simulate(market)
    shown = pl.DataFrame(
        {
            "query_id": log.query,
            "ad_id": auctions.ad_id[log.ad],
            "position": log.slot + 1,
            "clicked": log.clicked,
            "price": log.price_micros / 1e6,
        }
    )
    table = pl.DataFrame(rows).join(shown, on=["query_id", "ad_id"], how="left", maintain_order="left")
    table.filter(pl.col("position").is_not_null()).write_parquet(tmp_path / "log.parquet")
    fitted = fit_market(read_log(tmp_path / "log.parquet"), examination=LOOKS, valued=False)
    names = fitted.log.auctions.advertiser_id.to_list()
    assert fitted.budgets.days_out.tolist() == [2 if name == "A" else 0 for name in names]
    assert 20 - 1.0 <= fitted.budgets.known[names.index("A")] <= 20
    assert fitted.put_back == 3 * n - log.ad.size  # where only A was missing
    assert fitted.budget_micros[names.index("B")] == 10**15
    first, second = read_log(tmp_path / "log.parquet").split(DAY_S)
    fitted = fit_market(first, examination=LOOKS, ways=[UNRANKED], valued=False)
    found = {one.figure: one for one in backtest(fitted, second, draws=39).predictions}
    assert found["spend of A"].covered
    assert found["spend of A"].low > 20 - 1.0  # as the second day also spends the budget
    assert found["spend of C"].low < found["spend of C"].high


def test_a_reserve_and_columns_in_another_unit_are_told(file, tmp_path, monkeypatch, capsys):
    code, _, error = run(
        monkeypatch, capsys, "fit", str(file), "--reserve", "1000", "--out", str(tmp_path / "f")
    )
    assert code == 2
    assert "relbid: --reserve 1000: is above every price of the log, of which the highest is " in error
    log = pl.read_parquet(file)
    for column, factor, told in (("price", 100, "same currency unit?"), ("time_s", 1000, "in milliseconds?")):
        log.with_columns(pl.col(column) * factor).write_parquet(tmp_path / "log.parquet")
        fitted, _ = fit_file(tmp_path / "log.parquet", examination=LOOKS)
        assert told in fitted.warnings[0]
