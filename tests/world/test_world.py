"""The embedded world keeps what it promises: one seed, disjoint splits, a truth as defined, and no leaks."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import replace
from hashlib import blake2b
from itertools import combinations

import numpy as np
import PIL
import pytest
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression

from relevance.metrics import auc
from simulator.market import retrieve_candidates
from simulator.world import (
    LabelledWorlds,
    Truth,
    World,
    WorldConfig,
    build_world,
    graded_pairs,
    label_pairs,
    labelled_corpus,
    load_catalog,
)
from simulator.world.catalog import N_FOLDS
from simulator.world.labels import ALL_SPLITS, MOST_TEST_QUERIES
from simulator.world.queries import draw_queries, product_popularity, query_popularity

SMALL = WorldConfig(train_advertisers=400, validation_advertisers=36, test_advertisers=180, query_pool=6000)


def _world(config: WorldConfig, split: str) -> World:
    """A world with empty frames: most tests do not look at them, and drawing takes long."""
    n_ads = config.ads(split)  # type: ignore[arg-type]
    frames = np.zeros((n_ads, config.frames, config.frame_size, config.frame_size, 3), dtype=np.uint8)
    return build_world(config, split, frames=frames)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def worlds() -> dict[str, World]:
    return {split: _world(SMALL, split) for split in ("train", "validation", "test")}


def test_grades_as_defined() -> None:
    # Category 0 sells products 0 and 1, category 1 sells product 2.
    ads = {"product": [0, 0, 1, 2], "colour": [4, 5, 4, 4], "brand": [1, 1, 1, 9]}
    truth = Truth(
        query_product=np.array([0, 0, 0, 0]),
        query_colour=np.array([-1, 4, -1, 4]),
        query_brand=np.array([-1, -1, 2, 1]),
        **{f"ad_{name}": np.array(values) for name, values in ads.items()},
        category_of_product=np.array([0, 0, 1]),
    )
    grades = truth.grade(np.arange(4)[:, None], np.arange(4)[None, :])
    assert grades.tolist() == [
        [3, 3, 1, 0],  # no attribute asked for: every ad of the product meets the query
        [3, 2, 1, 0],  # the colour: one ad has it
        [2, 2, 1, 0],  # a brand that no ad is of
        [3, 2, 1, 0],  # colour and brand
    ]


def test_catalog() -> None:
    catalog = load_catalog()
    assert (catalog.n_products, len(catalog.categories), len(set(catalog.brands))) == (124, 18, 54)
    assert len(set(catalog.names)) == len(set(catalog.code_point)) == 124
    owners: dict[str, int] = {}
    for product, terms in enumerate(catalog.terms):
        for term in terms:
            assert owners.setdefault(term, product) == product, f"'{term}' stands for two products"


def test_one_seed_one_world() -> None:
    config = WorldConfig(test_advertisers=18, query_pool=300)
    first, again = build_world(config, "test"), build_world(config, "test")
    assert first.corpus.fingerprint() == again.corpus.fingerprint()
    assert first.keyword == again.keyword
    assert (first.query_popularity == again.query_popularity).all()
    other = build_world(dataclasses.replace(config, seed=8), "test")
    assert other.corpus.fingerprint() != first.corpus.fingerprint()


@pytest.mark.parametrize(
    ("split", "texts", "frames"),
    [
        ("train", "ac98cf636f27d411", "106c235db067d83c"),
        ("test", "8c91832b3db76390", "857ae69ae3bf4fd6"),
    ],
)
def test_glyph_worlds_stay_as_they_are(split: str, texts: str, frames: str) -> None:
    """To the last bit: texts and keywords, and for the version of Pillow that drew them the frames."""
    config = WorldConfig(train_advertisers=36, test_advertisers=36, query_pool=3000, negative_share=0.2)
    world = build_world(config, split)  # type: ignore[arg-type]
    corpus = world.corpus
    said = (
        corpus.query_text,
        corpus.ad_texts(),
        world.keyword,
        world.keyword_ad.tolist(),
        world.negative_keywords,
    )
    assert blake2b(json.dumps(said).encode(), digest_size=8).hexdigest() == texts
    if PIL.__version__ == "13.0.0":
        assert blake2b(corpus.frames.tobytes(), digest_size=8).hexdigest() == frames


def test_frames_differ_from_texts_alone() -> None:
    """Difficulty of the frames is a setting of its own: the texts stay word for word."""
    config = WorldConfig(test_advertisers=18, query_pool=300)
    plain, lifestyle = (
        build_world(dataclasses.replace(config, lifestyle_share=s), "test") for s in (0.0, 1.0)
    )
    assert plain.corpus.ad_texts() == lifestyle.corpus.ad_texts()
    assert (plain.corpus.frames != lifestyle.corpus.frames).any(axis=(2, 3, 4)).mean() > 0.8


def test_splits_share_no_query(worlds: dict[str, World]) -> None:
    texts = [set(world.corpus.query_text) for world in worlds.values()]
    assert all(texts)
    assert all(first.isdisjoint(second) for first, second in combinations(texts, 2))


def test_folds_are_fixed_and_take_one_product_of_a_category_each() -> None:
    catalog = load_catalog()
    assert set(catalog.fold.tolist()) == set(range(N_FOLDS))
    pairs = set(zip(catalog.category.tolist(), catalog.fold.tolist(), strict=True))
    assert len(pairs) == catalog.n_products
    # By name, for ever: a checkpoint says only the fold's number.
    first = [name for name, fold in zip(catalog.names, catalog.fold, strict=True) if fold == 0]
    assert first == [
        "burger", "socks", "sofa", "shower head", "computer mouse", "television", "wrench", "highlighter",
        "minibus", "spray paint", "baseball bat",
    ]  # fmt: skip


def test_a_fold_has_no_labels_but_in_the_test(worlds: dict[str, World]) -> None:
    for split in ("train", "validation"):
        world = worlds[split]
        labels = graded_pairs(world, split, fold=3)
        fold, truth = world.catalog.fold, world.truth
        assert not (fold[truth.query_product[labels.query]] == 3).any()
        assert not (fold[truth.ad_product[labels.ad]] == 3).any()
        assert (fold[truth.ad_product] == 3).any()
        assert len(graded_pairs(world, split)) > len(labels) > 0
    world = worlds["test"]
    whole, labels = graded_pairs(world, "test"), graded_pairs(world, "test", fold=3)
    asked = world.catalog.fold[world.truth.query_product[labels.query]]
    for column in ("query", "ad", "grade"):
        assert np.array_equal(getattr(whole, column), getattr(labels, column))
    assert len(labels.of("held_out")) == (asked == 3).sum() > 0
    assert len(labels.of("test")) == (asked != 3).sum() > 0
    assert not len(whole.of("held_out"))


def test_many_test_queries_are_a_sample_that_is_even_over_products() -> None:
    world = _world(dataclasses.replace(SMALL, query_pool=8000), "test")
    assert world.corpus.n_queries > 2 * MOST_TEST_QUERIES
    labels = graded_pairs(world, "test")
    product = world.truth.query_product[np.unique(labels.query)]
    assert product.size <= MOST_TEST_QUERIES
    assert np.bincount(product).max() <= -(-MOST_TEST_QUERIES // load_catalog().n_products) + 1


def test_several_worlds_share_the_training_advertisers() -> None:
    config = dataclasses.replace(SMALL, train_advertisers=36, validation_advertisers=18)
    worlds = LabelledWorlds((3, 4), None, config, ("train", "validation"))
    data = labelled_corpus(worlds)
    halves = [build_world(worlds.world(seed), "train") for seed in (3, 4)]
    assert [half.n_advertisers for half in halves] == [18, 18]
    assert data.pretraining_ads().size == sum(half.corpus.n_ads for half in halves)
    assert data.corpus.ad_texts()[: halves[0].corpus.n_ads] == halves[0].corpus.ad_texts()
    assert np.array_equal(data.corpus.frames[:180], halves[0].corpus.frames)
    own = graded_pairs(halves[1], "train")
    rows = data.labels.of("train").take(data.labels.of("train").query >= halves[0].corpus.n_queries)
    first = rows.query.min() - own.query.min()
    assert [data.corpus.query_text[q] for q in rows.query[:50]] == [
        halves[1].corpus.query_text[q] for q in rows.query[:50] - first
    ]
    assert np.array_equal(rows.grade, own.grade)
    assert data.source["worlds"] == [3, 4]
    assert data.source["fold"] is None
    assert "seed" not in data.source["world"]


def test_ads_without_labels_are_of_all_products_and_nobody_asks_for_them() -> None:
    world = _world(SMALL, "unlabelled")
    assert world.corpus.n_queries == 0
    assert np.unique(world.truth.ad_product).size > 0.9 * world.catalog.n_products


def test_only_training_and_unlabelled_ads_are_there_for_pretraining() -> None:
    config = dataclasses.replace(
        SMALL, train_advertisers=36, validation_advertisers=18, test_advertisers=36, unlabelled_advertisers=18
    )
    data = labelled_corpus(LabelledWorlds((config.seed,), 0, config, ALL_SPLITS))
    ads = data.pretraining_ads()
    of_split = {split: np.unique(data.labels.of(split).ad) for split in ("validation", "test", "held_out")}
    for graded in of_split.values():
        assert not np.isin(ads, graded).any()
    n_train, n_unlabelled = config.train_advertisers * 10, 18 * 10
    n_kept_back = np.unique(np.concatenate(list(of_split.values()))).size
    assert len(ads) == n_train + n_unlabelled == data.corpus.n_ads - n_kept_back
    part = data.pretraining_ads(0.25, np.random.default_rng(1))
    graded = np.unique(data.labels.of("train").ad)
    assert np.isin(graded, part).all()
    assert part.size == graded.size + round(0.25 * (ads.size - graded.size))
    assert np.isin(part, data.pretraining_ads(0.5, np.random.default_rng(1))).all()
    # The texts of those without labels are the last ones.
    unlabelled = _world(config, "unlabelled").corpus
    assert data.corpus.ad_texts()[-n_unlabelled:] == unlabelled.ad_texts()


def test_shares_are_what_the_settings_say(worlds: dict[str, World]) -> None:
    world = worlds["train"]
    truth = world.truth
    brand_named = [
        world.catalog.brands[b] in text
        for b, text in zip(truth.ad_brand, world.corpus.ad_texts(), strict=True)
    ]
    assert np.mean(brand_named) == pytest.approx(SMALL.brand_word_share, abs=0.02)
    colour, brand = truth.query_colour >= 0, truth.query_brand >= 0
    assert np.mean(colour & ~brand) == pytest.approx(SMALL.colour_share, abs=0.05)
    assert world.query_popularity.sum() == pytest.approx(1.0)
    assert world.stuffed.mean() == pytest.approx(SMALL.stuffed_share, abs=0.06)


def test_queries_of_one_intent_ask_for_the_same(worlds: dict[str, World]) -> None:
    world = worlds["test"]
    intent, truth = world.query_intent, world.truth
    asked = list(zip(truth.query_product, truth.query_colour, truth.query_brand, strict=True))
    assert len(set(intent.tolist())) == len(set(asked)) < len(asked)
    assert len(set(zip(intent.tolist(), asked, strict=True))) == len(set(asked))


def test_labels_are_balanced(worlds: dict[str, World]) -> None:
    world = worlds["train"]
    query, ad, grade = label_pairs(world, 4, np.random.default_rng(0))
    assert (world.truth.grade(query, ad) == grade).all()
    assert len(np.unique(np.stack((query, ad)), axis=1).T) == len(query)
    counts = np.stack([np.bincount(query[grade == g], minlength=world.corpus.n_queries) for g in range(4)])
    attributes = (world.truth.query_colour >= 0) | (world.truth.query_brand >= 0)
    graded = counts.sum(axis=0) > 0
    # As many of each grade per query, up to the few that are drawn twice.
    assert np.abs(counts[:2] - counts[3])[:, graded & attributes].mean() < 0.3
    stuffed = [world.stuffed[ad[grade == g]].mean() for g in range(4)]
    assert max(stuffed) - min(stuffed) < 0.08


@pytest.mark.parametrize("side", ["query", "ad"])
def test_neither_side_alone_gives_the_grade_away(worlds: dict[str, World], side: str) -> None:
    """A linear model on all words of one side stays near chance.

    The words of the query, or those of the ad with its true product, colour and brand.
    """

    def features(world: World, query: np.ndarray, ad: np.ndarray) -> list[str]:
        if side == "query":
            return [world.corpus.query_text[q] for q in query]
        truth = world.truth
        return [
            f"{world.corpus.ad_text(a)} p{truth.ad_product[a]} c{truth.ad_colour[a]} b{truth.ad_brand[a]}"
            for a in ad
        ]

    words = CountVectorizer(min_df=3, token_pattern=r"\S+")
    query, ad, grade = label_pairs(worlds["train"], 4, np.random.default_rng(0))
    model = LogisticRegression(max_iter=200, C=0.1).fit(
        words.fit_transform(features(worlds["train"], query, ad)), grade >= 2
    )
    query, ad, grade = label_pairs(worlds["test"], 4, np.random.default_rng(0))
    score = model.decision_function(words.transform(features(worlds["test"], query, ad)))
    assert auc(grade >= 2, score) == pytest.approx(0.5, abs=0.04)


def test_negative_keywords_keep_wrong_brands_and_siblings_away() -> None:
    plain = _world(SMALL, "test")
    careful = _world(dataclasses.replace(SMALL, negative_share=0.5), "test")
    assert plain.negative_keywords == ()
    assert careful.keyword == plain.keyword
    assert careful.corpus.fingerprint() == plain.corpus.fingerprint()
    ads = {ad for _, ad, _ in careful.negative_keywords}
    assert len({careful.advertiser[ad] for ad in ads}) / careful.n_advertisers == pytest.approx(0.5, abs=0.1)
    wanted = set(zip(careful.keyword, careful.keyword_ad.tolist(), strict=True))
    assert not wanted & {(text, ad) for text, ad, _ in careful.negative_keywords}

    before, after = (retrieve_candidates(world, 32).ad for world in (plain, careful))
    truth, query = plain.truth, np.arange(plain.corpus.n_queries)[:, None]

    def wrong_brand(candidate: np.ndarray) -> np.ndarray:
        brand = truth.query_brand[query]
        own = truth.category_of_product[truth.ad_product[candidate]]
        asked = truth.category_of_product[truth.query_product[query]]
        wrong = (brand >= 0) & (truth.ad_brand[candidate] != brand) & (own == asked)
        return wrong & (candidate >= 0) & np.isin(candidate, sorted(ads))

    assert wrong_brand(before).sum() > 200
    assert wrong_brand(after).sum() < 0.1 * wrong_brand(before).sum(), "but for misspelt brands"


@pytest.mark.parametrize("seed", [7, 8])
def test_traffic_is_as_wide_as_a_platforms(seed):
    """No query or product carries the market, and a day of 100,000 queries has a tail."""
    config = WorldConfig(seed=seed)
    catalog, rng = load_catalog(), np.random.default_rng(seed)
    of_product = product_popularity(config, catalog.n_products, rng)
    queries = draw_queries(config, catalog, "test", rng)
    share = query_popularity(config, queries, of_product, rng)
    assert share.sum() == pytest.approx(1.0)
    assert np.bincount(queries.product, weights=share) == pytest.approx(of_product)
    assert of_product.max() <= 0.03
    assert share.max() <= 0.01
    assert 1.0 / (share**2).sum() >= 2000
    assert (1.0 - np.exp(-100_000 * share)).sum() >= 20_000, "expected distinct queries"


def test_frequent_queries_are_those_written_often():
    config = replace(SMALL, query_exponent=0.83)
    catalog, rng = load_catalog(), np.random.default_rng(1)
    of_product = product_popularity(config, catalog.n_products, rng)
    queries = draw_queries(config, catalog, "test", rng)
    share = query_popularity(config, queries, of_product, rng)
    words = np.array([len(text.split()) for text in queries.text])
    head = share >= np.quantile(share, 0.99)
    assert words[head].mean() < words.mean() - 0.3


def test_the_market_is_uneven_and_what_models_learn_from_is_not():
    config = replace(SMALL, size_sigma=1.0)
    market, learnt = (np.bincount(_world(config, split).advertiser) for split in ("test", "train"))
    assert market.sum() == config.ads("test")
    assert market.min() >= 1
    assert market.max() > 4 * np.median(market)
    assert (learnt == config.ads_per_advertiser).all()
