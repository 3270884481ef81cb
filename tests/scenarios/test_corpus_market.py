"""A market on a corpus of one's own: what it says, what is modelled; what nobody judged is not irrelevant."""

import json
import shutil
import zipfile
from functools import partial
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from relevance.corpus import CorpusError
from relevance.files import MOST_BYTES, MOST_VALUES
from relevance.metrics import Interval
from scenarios import ScenarioError, load_scenario, prepare, relevance_of, simulate
from scenarios.cli.main import app
from scenarios.corpora.own import export_corpus_tables, import_corpus
from scenarios.markets.corpus.graded import UNGRADED, GradedPairs
from scenarios.markets.corpus.offers import MarketCorpus
from scenarios.markets.corpus.owners import popularity
from scenarios.models.judged import evaluate_scorers, graded_by_people, rater_ceiling
from scenarios.replay.example import write_example
from scenarios.replay.replay_run import replay_file
from scenarios.runs.scenario_run import run_scenario
from scenarios.studies import kept_points
from simulator.arrays import MICROS
from tests.scenarios import miniature

WRITERS = {
    "chorus": miniature.write_clone,
    "prepared": miniature.write_prepared,
    "esci": miniature.write_esci,
    "wands": miniature.write_wands,
    "own": miniature.write_own,
}


@pytest.fixture(scope="module")
def corpora(tmp_path_factory) -> dict[str, Path]:
    """A corpus folder from each form of the miniature."""
    root = tmp_path_factory.mktemp("corpora")
    for name, write in WRITERS.items():
        import_corpus(write(root / "source" / name), root / name)
    return {name: root / name for name in WRITERS}


def scenario_of(folder: Path, tmp_path: Path, **blocks):
    """A small scenario on a corpus folder."""
    market = {"kind": "corpus", "folder": str(folder), **blocks.pop("market", {})}
    plain = {"schema": 1, "name": "own", "market": market, "scorer": "none", "compare": ["none"]}
    blocks = {"traffic": {"n_queries": 400}, "pctr": {"kind": "signal"}, **blocks}
    path = tmp_path / "own.yaml"
    path.write_text(json.dumps({**plain, **blocks}))
    return load_scenario(path)


def run(folder: Path, tmp_path: Path, scorer: str = "none", **blocks):
    prepared = prepare(scenario_of(folder, tmp_path, **blocks))
    return prepared, simulate(prepared, relevance_of(prepared, scorer))


@pytest.mark.parametrize("name", WRITERS)
def test_every_source_becomes_a_market(name, corpora, tmp_path):
    prepared, simulation = run(corpora[name], tmp_path)
    data = MarketCorpus.load(corpora[name])
    n_ads = 25 if name == "esci" else 30  # of ESCI those alone that have a label
    assert (data.corpus.n_queries, data.corpus.n_ads, len(data.labels)) == (5, n_ads, 50)
    assert simulation.metrics["judged_share"] == 1.0
    assert simulation.metrics["revenue"] > 0
    log = simulation.log
    assert set(log.grade.tolist()) == {0, 3}
    assert (prepared.source.grade(log.query, log.ad) == log.grade).all()
    brands = len(miniature.MAKES)
    assert prepared.source.owners.told.startswith(
        "modelled: the corpus names none" if name == "wands" else f"modelled: {brands} brands are split"
    )
    has_prices = data.offers.price is not None
    assert has_prices == (name not in ("esci", "wands"))
    assert any(("median price" in note) == has_prices for note in prepared.source.notes if "values" in note)


def test_a_clone_and_its_prepared_tables_are_the_same_corpus(corpora):
    clone, prepared = (MarketCorpus.load(corpora[name]) for name in ("chorus", "prepared"))
    assert clone.fingerprint() == prepared.fingerprint()
    assert clone.offers.brand == prepared.offers.brand
    assert clone.offers.price.tolist() == prepared.offers.price.tolist()
    assert clone.offers.price[:3].tolist() == [10.0, 15.0, 20.0]  # from cents
    for data in (clone, prepared):
        assert data.raters.names == ("1", "2", "3")
        assert len(data.raters.grade) == 3 * len(data.labels)
    assert np.bincount(clone.raters.grade[clone.raters.rater == 2], minlength=4).tolist() == [0, 25, 25, 0]


def test_the_import_says_what_it_left_out(tmp_path, capsys):
    clone = miniature.write_clone(tmp_path / "clone")
    (ratings,) = clone.rglob("*.csv")
    ratings.write_text(ratings.read_text() + ratings.read_text().splitlines()[1] + "\n")
    app(["corpus", "import", str(clone), "--out", str(tmp_path / "corpus")], standalone_mode=False)
    printed = capsys.readouterr().out
    assert "(5 queries, 30 ads, 50 labels)" in printed
    assert "Left out: 2 ratings without a grade, of products that are not there, or given twice" in printed


def test_tables_that_are_exported_keep_owners_prices_weights_and_raters(tmp_path):
    ads = [
        {"id": "a", "title": "one", "advertiser": "x", "price": 2.5, "bid": 0.5},
        {"id": "b", "title": "two", "advertiser": "y", "price": None, "bid": 0.25},
    ]
    queries = [{"id": "q", "text": "one", "weight": 3}]
    labels = [
        {"query_id": "q", "ad_id": "a", "grade": 3, "rater_ann": 3, "rater_bob": None},
        {"query_id": "q", "ad_id": "b", "grade": 0, "rater_ann": 1, "rater_bob": 0},
    ]
    miniature.write_own(tmp_path / "own", ads=ads, queries=queries, labels=labels)
    before = import_corpus(tmp_path / "own", tmp_path / "corpus")
    export_corpus_tables(MarketCorpus.load(tmp_path / "corpus"), tmp_path / "tables")
    again = import_corpus(tmp_path / "tables", tmp_path / "again")
    for data in (before, again, MarketCorpus.load(tmp_path / "again")):
        assert data.offers.advertiser == ("x", "y")
        np.testing.assert_array_equal(data.offers.price, [2.5, np.nan])
        assert data.offers.bid.tolist() == [0.5, 0.25]
        assert data.offers.weight.tolist() == [3.0]
        rows = zip(
            data.raters.ad.tolist(), data.raters.rater.tolist(), data.raters.grade.tolist(), strict=True
        )
        assert sorted(rows) == [(0, 0, 3), (1, 0, 1), (1, 1, 0)]
    halves = [{**row, "split": split} for row, split in zip(labels, ("train", "test"), strict=True)]
    miniature.write_own(tmp_path / "halves", ads=ads, queries=queries, labels=halves)
    with pytest.raises(
        CorpusError, match="row 2, column 'split': is test, and a row before has its query in train"
    ):
        import_corpus(tmp_path / "halves", tmp_path / "none")
    misspelt = [{"query_id": "q", "ad_id": "a", "grade": 3, "Rater_ann": 3}]
    miniature.write_own(tmp_path / "misspelt", ads=ads, queries=queries, labels=misspelt)
    with pytest.raises(CorpusError, match=r"has a column 'Rater_ann'.*did you mean 'rater_ann'"):
        import_corpus(tmp_path / "misspelt", tmp_path / "none")
    assert not (tmp_path / "none").exists()


# Known answers: one query, two ads with bids, exact predictions, no spread of anything.

ALIKE = {
    "users": {"appeal_sigma": 0.0, "examination": [1.0, 0.5]},
    "pctr": {"kind": "signal", "signal": 1.0, "bias": 0.0, "sigma": 0.0},
    "bidders": {"paced_share": 0.0, "budget_multiple": 1000.0, "budget_sigma": 0.0},
}
TWO = [
    {"id": "good", "title": "red kettle", "advertiser": "x", "bid": 1.0},
    {"id": "bad", "title": "blue tent", "advertiser": "y", "bid": 2.0},
    {"id": "unseen", "title": "kettle", "advertiser": "z", "bid": 5.0},
]
ASKED = [{"id": "q", "text": "kettle"}]
JUDGED = [{"query_id": "q", "ad_id": "good", "grade": 3}, {"query_id": "q", "ad_id": "bad", "grade": 0}]


@pytest.fixture
def two(tmp_path):
    miniature.write_own(tmp_path / "two", ads=TWO, queries=ASKED, labels=JUDGED)
    import_corpus(tmp_path / "two", tmp_path / "corpus")
    return tmp_path / "corpus"


def test_a_market_worked_by_hand(two, tmp_path):
    """Good: 1 x .12, bad: 2 x .02. So good pays 2 x .02 / .12 = 1/3, and bad the reserve."""
    _, found = run(two, tmp_path, **ALIKE, auction={"reserve": 0.05})
    log = found.log
    assert log.slot.tolist() == [0, 1] * 400
    assert log.ad.tolist() == [0, 1] * 400
    assert set(log.price_micros[log.slot == 0].tolist()) == {333_333}
    assert set(log.price_micros[log.slot == 1].tolist()) == {MICROS // 20}
    clicks = [int((log.clicked & (log.slot == slot)).sum()) for slot in (0, 1)]
    assert found.metrics["revenue"] == pytest.approx(clicks[0] * 0.333333 + clicks[1] * 0.05, abs=1e-9)
    assert found.metrics["irrelevant_share"] == 0.5
    assert found.metrics["judged_share"] == 1.0
    # A value is the bid over shading: 1 / 0.8 and 2 / 0.8.
    assert found.market.value[:2].tolist() == [1.25, 2.5]
    _, by_truth = run(two, tmp_path, "oracle", **ALIKE)
    assert set(by_truth.log.ad.tolist()) == {0}
    assert by_truth.metrics["irrelevant_share"] == 0.0


def test_what_nobody_judged_is_not_irrelevant(two, tmp_path):
    """The ad with the highest bid has no grade: it never meets, and no metric counts it."""
    prepared, found = run(two, tmp_path, **ALIKE)
    assert prepared.source.grade(np.array([0]), np.array([2])).tolist() == [UNGRADED]
    assert 2 not in found.log.ad
    assert found.metrics["grade_0_share"] == 0.5
    assert found.metrics["fill"] == 1.0


def write_grades(path: Path, *rows: tuple[str, str, int, float]) -> Path:
    names = ["query", "ad", "grade", "confidence"]
    pl.DataFrame(rows, names, orient="row").with_columns(source=pl.lit("judge-1")).write_parquet(path)
    return path


def test_a_judges_grade_lets_a_pair_meet_and_is_marked(two, tmp_path):
    grades = write_grades(tmp_path / "g.parquet", ("q", "unseen", 2, 0.9), ("q", "bad", 3, 0.9))
    market = {"grades": str(grades)}
    prepared, found = run(two, tmp_path, market=market, **ALIKE)
    log = found.log
    # unseen: 5 x .08, good: 1 x .12, and bad, whose grade a person gave, is as bad as before: 2 x .02.
    assert log.ad.tolist() == [2, 0] * 400
    assert log.grade.tolist() == [2, 3] * 400
    assert found.metrics["judged_share"] == 0.5
    assert prepared.source.named(log)["judged"].to_list() == [False, True] * 400
    assert any(
        "2 of 3 pairs have a person's grade, the others one of judge-1" in n for n in prepared.source.notes
    )
    sure = {**market, "least_confidence": 0.95}
    _, without = run(two, tmp_path, market=sure, **ALIKE)
    assert without.metrics["judged_share"] == 1.0
    assert 2 not in without.log.ad


def test_scored_live_is_the_same(corpora, tmp_path):
    _, tables = run(corpora["own"], tmp_path, "bm25")
    _, live = run(corpora["own"], tmp_path, "bm25", serving={"scoring": "live"})
    assert live.log.impressions().equals(tables.log.impressions())
    assert live.metrics["judged_share"] == 1.0


def test_the_click_prediction_is_learnt_in_the_warm_up(corpora, tmp_path):
    traffic = {"n_queries": 2000, "warm_up_days": 1}
    _, found = run(corpora["own"], tmp_path, traffic=traffic, pctr={"kind": "learnt"})
    assert found.metrics["pctr_calibration"] == pytest.approx(1.0, abs=0.15)
    assert found.metrics["pctr_relevance_auc"] > 0.6


def test_no_seller_of_a_brand_has_two_ads_for_one_query(corpora, tmp_path):
    prepared, _ = run(corpora["own"], tmp_path)
    source = prepared.source
    assert (prepared.candidate >= 0).sum() == 50  # so none is left out
    owner = source.owners.advertiser
    for row in prepared.candidate:
        ads = row[row >= 0]
        assert np.unique(owner[ads]).size == ads.size
    for ad, product in enumerate(miniature.PRODUCTS):
        assert source.owners.names[owner[ad]].split(" (")[0] == product["supplier"]


def test_one_ad_of_an_advertiser_whatever_its_grade(tmp_path):
    ads = [{"id": str(number), "title": "tent", "advertiser": "x"} for number in range(40)]
    queries = [{"id": str(number), "text": f"tent {number}"} for number in range(40)]
    labels = [
        {"query_id": query["id"], "ad_id": ad["id"], "grade": 3 * (int(ad["id"]) % 2)}
        for query in queries
        for ad in ads
    ]
    miniature.write_own(tmp_path / "own", ads=ads, queries=queries, labels=labels)
    import_corpus(tmp_path / "own", tmp_path / "corpus")
    prepared = prepare(scenario_of(tmp_path / "corpus", tmp_path))
    assert (prepared.candidate >= 0).sum(axis=1).tolist() == [1] * 40
    good = prepared.candidate[:, 0] % 2
    assert 0.25 < good.mean() < 0.75


def test_dearer_products_are_worth_more_a_click(corpora, tmp_path):
    flat = {"value_sigma": 0.0}
    for exponent in (0.0, 0.5, 1.0):
        _, found = run(corpora["own"], tmp_path, market={"price_exponent": exponent}, bidders=flat)
        price = np.array([product["price"] for product in miniature.PRODUCTS])
        met = np.unique(found.log.ad)
        judged = np.unique([int(one["product"]) - 1000 for one in miniature.RATINGS])
        expected = (price / np.median(price[judged])) ** exponent
        np.testing.assert_allclose(found.market.value[met], expected[met])


def test_traffic_is_by_weights_or_by_a_law_over_queries_that_have_grades():
    texts, asked = ("a", "b", "c", "d"), np.array([0, 1, 3])
    share, told = popularity(np.array([1.0, 2.0, 5.0, 1.0]), texts, asked, 0.83)
    assert share.tolist() == [0.25, 0.5, 0.0, 0.25]
    assert told == "weights of the corpus"
    share, told = popularity(None, texts, asked, 1.0)
    assert sorted(share[asked].tolist()) == pytest.approx([2 / 11, 3 / 11, 6 / 11])
    assert share[2] == 0
    assert "Zipf's law with exponent 1" in told
    assert popularity(None, texts, asked, 0.0)[0].tolist() == pytest.approx([1 / 3, 1 / 3, 0, 1 / 3])


def test_a_split_of_the_queries(corpora, tmp_path):
    data = MarketCorpus.load(corpora["own"])
    splits = {name: np.unique(data.labels.of(name).query) for name in ("train", "validation", "test")}
    name = max(splits, key=lambda one: splits[one].size)
    _, found = run(corpora["own"], tmp_path, market={"queries": name})
    assert set(found.log.arrival_query.tolist()) == set(splits[name].tolist())
    with pytest.raises(CorpusError, match="no graded pair in its split 'held_out'"):
        run(corpora["own"], tmp_path, market={"queries": "held_out"})


def test_one_query_with_one_ad_is_a_market(tmp_path):
    miniature.write_own(tmp_path / "own", ads=TWO[:1], queries=ASKED, labels=JUDGED[:1])
    import_corpus(tmp_path / "own", tmp_path / "corpus")
    _, found = run(tmp_path / "corpus", tmp_path, **ALIKE)
    assert found.metrics["irrelevant_share"] == 0.0
    assert found.metrics["impressions"] == 400


# What cannot be used.


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"market": {"folder": "nowhere"}}, "no such folder"),
        ({"market": {"grades": "nowhere.parquet"}}, "not found"),
        ({"world": {"seed": 3}}, "describes the embedded world, and market.kind is corpus"),
        ({"split": "train"}, "market.queries chooses one of the corpus"),
        ({"market": {"digest": "0"}}, "has changed since"),
        ({"market": {"price_exponent": -1}}, "price_exponent"),
    ],
)
def test_scenarios_that_cannot_be(change, message, corpora, tmp_path):
    with pytest.raises((ScenarioError, CorpusError), match=message):
        scenario_of(corpora["own"], tmp_path, **change)


@pytest.mark.parametrize("target", ["nowhere", "judged.parquet", "/dev/zero"])
def test_a_link_that_leads_nowhere_is_named_itself(target, corpora, tmp_path):
    (tmp_path / "judged.parquet").symlink_to(target)
    with pytest.raises((ScenarioError, CorpusError), match=r"judged\.parquet"):
        scenario_of(corpora["own"], tmp_path, market={"grades": "judged.parquet"})


def test_what_is_set_over_a_scenario_is_blamed_and_not_its_file(tmp_path):
    path = tmp_path / "market.yaml"
    path.write_text("schema: 1\nname: own\nmarket: {kind: corpus, folder: nowhere}\n")
    with pytest.raises(ScenarioError, match=r"market.yaml, --set world.size_sigma=0, world: describes"):
        load_scenario(path, ["world.size_sigma=0"])


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (("q", "nobody", 2, 0.9), "row 1, column 'ad': no ad has the id 'nobody'"),
        (("p", "unseen", 2, 0.9), "row 1, column 'query': no query has the id 'p'"),
        (("q", "unseen", 4, 0.9), "row 1, column 'grade': must be 0, 1, 2 or 3, is 4"),
        (("q", "unseen", 2, 1.5), "row 1, column 'confidence': must be a number from 0 to 1, is 1.5"),
    ],
)
def test_grades_that_cannot_be(row, message, two, tmp_path):
    grades = write_grades(tmp_path / "g.parquet", row)
    with pytest.raises(CorpusError) as caught:
        run(two, tmp_path, market={"grades": str(grades)})
    assert message in str(caught.value)
    assert str(grades) in str(caught.value)


def test_a_table_of_grades_without_rows_is_refused(two, tmp_path):
    grades = write_grades(tmp_path / "g.parquet")
    with pytest.raises(CorpusError, match=r"g.parquet: has no rows; grade pairs with relbid judge"):
        run(two, tmp_path, market={"grades": str(grades)})


def test_a_damaged_table_of_offers_names_file_row_and_column(two, tmp_path):
    broken = tmp_path / "broken"
    shutil.copytree(two, broken)
    table = pl.read_parquet(broken / "offers.parquet").with_columns(bid=pl.Series([1.0, -2.0, 3.0]))
    table.write_parquet(broken / "offers.parquet")
    with pytest.raises(CorpusError, match=r"offers.parquet, row 2, column 'bid': must be a number from 0"):
        run(broken, tmp_path)
    table.head(2).write_parquet(broken / "offers.parquet")
    with pytest.raises(CorpusError, match="must have one row for each ad"):
        run(broken, tmp_path)
    (broken / "offers.parquet").unlink()
    ids = MarketCorpus.load(two).corpus.query_ids()
    pl.DataFrame({"query": ids, "weight": [0.0] * len(ids)}).write_parquet(broken / "traffic.parquet")
    with pytest.raises(CorpusError, match=r"traffic.parquet: column 'weight': needs one above 0"):
        run(broken, tmp_path)


def test_raters_must_have_graded_what_is_labelled_and_once(corpora, tmp_path):
    broken = tmp_path / "broken"
    shutil.copytree(corpora["chorus"], broken)
    raters = pl.read_parquet(broken / "raters.parquet")
    pl.concat([raters, raters.head(1)]).write_parquet(broken / "raters.parquet")
    with pytest.raises(CorpusError, match=r"raters.parquet, row 151, column 'rater': the same rater grades"):
        MarketCorpus.load(broken)
    other = MarketCorpus.load(corpora["chorus"]).corpus.ad_ids()[-1]
    raters.with_columns(ad=pl.lit(other)).write_parquet(broken / "raters.parquet")
    with pytest.raises(CorpusError, match=r"raters.parquet, row 1, column 'ad': labels.npz has no grade of"):
        MarketCorpus.load(broken)
    (broken / "raters.parquet").unlink()
    (broken / "raters.parquet").mkdir()
    with pytest.raises(CorpusError, match=r"raters.parquet: is a folder, not a file"):
        MarketCorpus.load(broken)


def pack(clone: Path, texts: dict[str, str]) -> None:
    """Fill the first archive of a clone with texts, by their names in it."""
    with zipfile.ZipFile(next(clone.rglob("1.json.zip")), "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in texts.items():
            archive.writestr(name, text)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda clone: (clone / "katas").rename(clone / "other"), "has neither"),
        (lambda clone: shutil.rmtree(clone / "data-encoder"), "has neither|has no archive"),
        (lambda clone: next(clone.rglob("1.json.zip")).write_bytes(b"zip"), "is no archive of a JSON list"),
        (
            lambda clone: pack(clone, {"1.json": "[" + "0," * MOST_VALUES + "0]"}),
            "values, at most 10,000,000",
        ),
        (
            lambda clone: pack(clone, {f"{name}.json": " " * (MOST_BYTES // 2) for name in "abc"}),
            "bytes when unpacked, at most",
        ),
        (
            lambda clone: _replace(next(clone.rglob("*.csv")), "final_rating", "rating"),
            "no column 'final_rating'",
        ),
        (lambda clone: _replace(next(clone.rglob("*.csv")), ",0,0,1,0", ",0,0,1,7"), "must be 0, 1, 2 or 3"),
    ],
)
def test_a_damaged_clone(damage, message, tmp_path):
    clone = miniature.write_clone(tmp_path / "clone")
    damage(clone)
    with pytest.raises(CorpusError, match=message):
        import_corpus(clone, tmp_path / "corpus", schema="chorus")
    assert not (tmp_path / "corpus").exists()


def test_labels_that_cannot_be_name_the_file(two, tmp_path):
    with np.load(two / "labels.npz") as arrays:
        labels = dict(arrays)
    for change, message in (
        ({"grade": labels["grade"] + 1}, "'grade' must lie in 0..3"),
        (
            {"grade": labels["grade"][:1]},
            "'grade' must have a number for each of 2 pairs, as 'query' has; it has 1",
        ),
        ({"query": labels["query"] + 1}, "'query' must lie in 0..0"),
        ({"ad": labels["ad"] * 0}, "query q and ad good are graded twice"),
    ):
        np.savez(two / "labels.npz", **{**labels, **change})
        with pytest.raises(CorpusError) as caught:
            run(two, tmp_path)
        assert str(caught.value).startswith(f"{two / 'labels.npz'}: {message}")


def test_a_damaged_folder_is_read_or_refused_in_words(corpora, tmp_path):
    rng, refused = np.random.default_rng(0), 0
    scenario = scenario_of(corpora["chorus"], tmp_path)
    for _ in range(120):
        folder = tmp_path / "damaged"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(corpora["chorus"], folder)
        path = sorted(folder.iterdir())[rng.integers(len(list(folder.iterdir())))]
        content = bytearray(path.read_bytes())
        if rng.random() < 0.4:
            content = content[: rng.integers(len(content))]
        else:
            content[rng.integers(len(content))] = rng.integers(256)
        path.write_bytes(content)
        market = scenario.market.model_copy(update={"folder": str(folder)})
        try:
            prepared = prepare(scenario.model_copy(update={"market": market}))
            rater_ceiling(prepared, n_resamples=2)
        except CorpusError as error:
            refused += 1
            assert str(folder) in str(error)
    assert refused > 40


def _replace(path: Path, old: str, new: str) -> None:
    path.write_text(path.read_text().replace(old, new))


def test_people_win_over_a_judge():
    from relevance.corpus import Labels

    one = np.array([0])
    people, judge = (Labels(one, one, np.array([grade]), one) for grade in (0, 3))
    pairs = GradedPairs.of(2, 2, people, judge)
    assert pairs.grade_of(np.array([0, 1]), np.array([0, 0])).tolist() == [0, UNGRADED]
    assert pairs.judged(np.array([0, 2, 1]), np.array([0, 0, 0])).tolist() == [True, True, False]


# Scorers and raters on the graded pairs.


def test_scorers_and_raters_by_hand(corpora, tmp_path):
    """All words of a query are in the titles of the good products alone, so BM25 makes no mistake."""
    prepared = prepare(scenario_of(corpora["chorus"], tmp_path))
    labels = graded_by_people(prepared)
    assert (np.diff(labels.query * 30 + labels.ad) > 0).all()
    none, bm25 = evaluate_scorers(prepared, ["none", "bm25"], n_resamples=50)
    assert bm25[1:] == (Interval(1.0, 1.0, 1.0),) * 2
    assert none.auc == Interval(0.5, 0.5, 0.5)
    assert none.ndcg_10.value < 1.0
    first, second, third = rater_ceiling(prepared, n_resamples=50)
    assert [one.pairs for one in (first, second, third)] == [50] * 3
    assert {one.auc for one in (first, second, third)} == {Interval(1.0, 1.0, 1.0)}
    # 25 pairs each: rater 1 says 3 and 0, the mean of the others, 2.5 and 0.5, is rounded to 3 and 1.
    # Apart by 1 in half of the pairs: 0.5; by chance: (0 + 4 + 9 + 1) / 4.
    assert first.kappa.value == second.kappa.value == pytest.approx(1 - 0.5 / 3.5)
    # Rater 3 says 2 and 1, the others 3 and 0: apart by 1 in all pairs; by chance: (1 + 4 + 4 + 1) / 4.
    assert third.kappa.value == pytest.approx(1 - 1 / 2.5)


def test_a_rater_counts_where_all_have_graded_and_a_judge_does_not(two, tmp_path):
    grades = write_grades(tmp_path / "g.parquet", ("q", "unseen", 2, 0.9))
    prepared = prepare(scenario_of(two, tmp_path, market={"grades": str(grades)}))
    assert len(graded_by_people(prepared)) == 2
    assert rater_ceiling(prepared) == []
    (row,) = evaluate_scorers(prepared, ["none"])
    assert np.isnan([row.auc.low, row.auc.high]).all()  # of one query there is no interval


def test_the_command_prints_both_tables(corpora, tmp_path, capsys):
    scenario_of(corpora["chorus"], tmp_path)
    command = ["corpus", "evaluate", str(tmp_path / "own.yaml"), "--scorer", "bm25"]
    app([*command, "--out", str(tmp_path / "res")], standalone_mode=False)
    printed = capsys.readouterr().out
    assert "own: 50 pairs of 5 queries that people graded" in printed
    assert "BM25" in printed
    assert "The ceiling: one rater against the others" in printed


def test_relbid_run_says_what_is_modelled(corpora, tmp_path, capsys):
    scenario_of(corpora["chorus"], tmp_path, compare=["none", "bm25"], days_compared=2)
    app(["run", str(tmp_path / "own.yaml"), "--out", str(tmp_path / "res")], standalone_mode=False)
    printed = capsys.readouterr().out
    assert "The same over queries" in printed
    assert "100.0%" in printed.split("The same over queries")[1].split("judged:")[0]
    assert "grades: 50 of 50 pairs have a person's grade; pairs without a grade never meet" in printed
    assert "advertisers: modelled: 3 brands are split into" in printed
    (metrics,) = (tmp_path / "res").glob("own-*/metrics.json")
    assert json.loads(metrics.read_text())["judged_share"] == 1.0
    log = pl.read_parquet(metrics.parent / "log.parquet")
    assert log["judged"].all()
    assert set(log["query_id"]) == set(miniature.THINGS)


def test_one_day_says_what_was_judged_too(corpora, tmp_path, capsys):
    scenario_of(corpora["own"], tmp_path, days_compared=1)
    app(["run", str(tmp_path / "own.yaml"), "--out", str(tmp_path / "res")], standalone_mode=False)
    printed = capsys.readouterr().out
    assert "judged: share of the shown ads whose grade a person gave" in printed
    assert "The same over queries" not in printed


def test_points_that_are_kept_say_what_was_judged(corpora, tmp_path, monkeypatch):
    monkeypatch.setattr(kept_points, "SMALL", 1)
    scenario = scenario_of(corpora["own"], tmp_path, compare=["none", "bm25"])
    points = partial(kept_points.keep_points, cache=tmp_path)
    found = run_scenario(scenario, points=points)
    assert list(tmp_path.rglob("points/*")), "they were kept"
    assert found.points["judged_share"].to_list() == [1.0, 1.0]


@pytest.mark.parametrize("command", [["corpus", "evaluate"], ["replay", "--example", "x.parquet"]])
def test_what_needs_a_corpus_refuses_another_market(command, tmp_path):
    (tmp_path / "world.yaml").write_text("{schema: 1, name: w}")
    with pytest.raises(ScenarioError, match="is world; this needs a corpus"):
        app([*command, str(tmp_path / "world.yaml"), "--out", str(tmp_path)], standalone_mode=False)


def test_auctions_of_a_corpus_can_be_replayed(two, tmp_path):
    grades = write_grades(tmp_path / "g.parquet", ("q", "unseen", 2, 0.9))
    scenario_of(two, tmp_path, market={"grades": str(grades)}, scorer="bm25", compare=["none", "bm25"])
    path = tmp_path / "auctions.parquet"
    assert write_example(path, n_rows=90, file=tmp_path / "own.yaml") == 90
    table = pl.read_parquet(path)
    by_ad = {ad: rows for (ad,), rows in table.group_by("ad_id")}
    assert {ad: rows["advertiser_id"].unique().to_list() for ad, rows in by_ad.items()} == {
        "good": ["x"], "bad": ["y"], "unseen": ["z"],
    }  # fmt: skip
    assert {ad: rows["grade"].unique().to_list() for ad, rows in by_ad.items()} == {
        "good": [3], "bad": [0], "unseen": [None],  # a judge's
    }  # fmt: skip
    replayed, _ = replay_file(path, scorers=["bm25"], rules=["product"])
    assert replayed.points["queries"][0] == 30


@pytest.mark.skipif(miniature.real_chorus() is None, reason="the data is not at hand")
def test_the_real_data_where_it_is_at_hand(tmp_path):
    """Relevance pays on it: by grades, fewer irrelevant ads than by BM25, and so fewer than without."""
    import_corpus(miniature.real_chorus(), tmp_path / "corpus", schema="chorus")
    scenario = scenario_of(tmp_path / "corpus", tmp_path, retrieval={"candidates": 1000})
    prepared = prepare(scenario)
    data = MarketCorpus.load(tmp_path / "corpus")
    assert (prepared.candidate >= 0).sum() == len(data.labels)
    found = {}
    for scorer in ("none", "bm25", "oracle"):
        metrics = simulate(prepared, relevance_of(prepared, scorer)).metrics
        assert metrics["judged_share"] == 1.0
        found[scorer] = metrics["irrelevant_share"]
    assert found["oracle"] < found["bm25"] < found["none"]
