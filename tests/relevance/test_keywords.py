"""How words are found where they are not written apart, and that a checkpoint keeps its own way."""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path

import pytest

from relevance import words
from relevance.errors import CheckpointError
from relevance.extras import MissingExtraError
from relevance.keywords import extractor_from, fit_extractor, split_characters, split_jieba

ADS = ("红色 马克杯 限时 特价", "蓝色沙发限时特价 sofa", "户外帐篷限时特价")


def test_pairs_of_characters_by_hand() -> None:
    assert split_characters("红色马克杯 Sale50 杯 a") == ["红色", "色马", "马克", "克杯", "sale50", "杯", "a"]
    assert split_characters("iPhone手机壳") == ["iphone", "手机", "机壳"]
    assert split_characters("コーヒーmug") == ["コー", "ーヒ", "ヒー", "mug"]
    assert split_characters("") == []


def test_keywords_without_spaces_are_what_is_rare() -> None:
    extract = dataclasses.replace(fit_extractor("characters", ADS), n_words=3)
    # 限时, 时特 and 特价 stand in the two of three that write them in one run, 限时 and 特价 in all three.
    assert extract("户外帐篷限时特价") == ("户外", "外帐", "帐篷")
    stored = json.loads(json.dumps({"extractor": extract.name, **extract.as_dict()}))
    assert extractor_from(stored)("户外帐篷限时特价") == ("户外", "外帐", "帐篷")


def test_jieba_finds_words() -> None:
    pytest.importorskip("jieba")
    assert split_jieba("户外帐篷 Sale") == ["户外", "帐篷", "sale"]
    extract = dataclasses.replace(fit_extractor("jieba", ADS), n_words=2)
    assert extract("户外帐篷限时特价") == ("户外", "帐篷")


def test_without_jieba_a_chinese_title_among_others_is_read_in_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jieba", None)
    words._cut.cache_clear()
    assert words.words_of("HP 高效能系列 硬碟 40GB") == ["HP", "高效", "效能", "能系", "系列", "硬碟", "40GB"]
    assert words.words_of("caf\u00e9 HP硬碟") == ["caf\u00e9", "HP", "硬碟"]


def test_without_jieba_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jieba", None)
    with pytest.raises(MissingExtraError, match=r"jieba is not installed; pip install 'relbid\[chinese\]'"):
        fit_extractor("jieba", ADS)


def test_a_checkpoint_reads_with_the_extractor_that_it_was_trained_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("torch")
    from safetensors.torch import load_file, save_file

    from relevance.hcmrm import Checkpoint
    from relevance.hcmrm.training.train import train

    from .tiny import TINY_TRAINING, tiny_corpus

    data = tiny_corpus()
    titles = tuple(("红色马克杯", "蓝色沙发", "户外帐篷")[i % 3] for i in range(24))
    data = dataclasses.replace(data, corpus=dataclasses.replace(data.corpus, ad_title=titles))
    config = dataclasses.replace(TINY_TRAINING, text="characters", align_steps=1, finetune_steps=1)
    train(data, tmp_path, config)
    checkpoint = Checkpoint.load(tmp_path)
    assert checkpoint.keywords.name == "characters"
    assert {"红色", "马克"} <= set(checkpoint.keywords(data.corpus.ad_text(0)))

    # Weights that do not say which texts they belong to, as of an older version.
    weights = tmp_path / "model.safetensors"
    save_file(load_file(weights), weights, metadata={"format": "pt"})
    path = tmp_path / "keywords.json"
    stored = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**stored, "extractor": "yake"}))
    with pytest.raises(CheckpointError, match=r"keywords\.json: keyword extractor 'yake': there is no such"):
        Checkpoint.load(tmp_path)
    path.write_text(json.dumps({**stored, "extractor": "jieba"}))
    monkeypatch.setitem(sys.modules, "jieba", None)
    with pytest.raises(CheckpointError, match=r"keywords\.json: keyword extractor 'jieba': jieba is not"):
        Checkpoint.load(tmp_path)
