"""Public models as scorers: what they return, where they are found, and how scores become probabilities."""

import dataclasses
import shutil

import numpy as np
import polars as pl
import pytest

from relevance.calibrated import CalibratedScorer, FoldedCalibration, fit_by_folds, query_folds
from relevance.calibration import TemperatureCalibration
from relevance.corpus import Corpus
from relevance.errors import CheckpointError, ScorerError
from relevance.extras import MissingExtraError
from relevance.lexical import Bm25Scorer
from relevance.metrics import evaluate
from relevance.pretrained import PACKAGED, load_pretrained, model_folder, model_key, pretrained_of
from relevance.protocol import AnyQuery, check_scorer
from tests.relevance import public_models as models
from tests.relevance.tiny import tiny_corpus
from tests.scenarios import miniature

pytest.importorskip("sentence_transformers", reason="the extra pretrained is not installed")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("models")


@pytest.fixture(scope="module")
def made(folder):
    """Names of tiny models."""
    return {
        "bi": f"bi_encoder={models.bi_encoder(folder / 'bi')}",
        "dot": f"bi_encoder={models.bi_encoder(folder / 'dot', 'dot')}",
        "plain": f"bi_encoder={models.bert(folder / 'plain')}",
        "clip": f"bi_encoder={models.clip(folder / 'clip')}",
        "cross": f"cross_encoder={models.bert(folder / 'cross', labels=1)}",
    }


@pytest.fixture(scope="module")
def corpus():
    corpus = tiny_corpus().corpus
    title = (*corpus.ad_title[:-3], "", "my new cheap red tent sale " * 9, "look at my sofa")
    return dataclasses.replace(corpus, ad_title=title)


@pytest.mark.parametrize("kind", ["bi", "dot", "plain", "clip", "cross"])
def test_the_score_of_a_pair_depends_on_that_pair_alone(made, corpus, kind):
    scorer = load_pretrained(made[kind], corpus)
    tolerance = 1e-6
    assert check_scorer(scorer, corpus, np.random.default_rng(1), tolerance=tolerance) == []
    assert isinstance(scorer, AnyQuery)
    some = np.arange(8)
    other = scorer.of_queries(("red sofa", "cheap tent"))
    assert np.ptp(scorer.score(some, some)) > 1e-4
    assert (other.score(some % 2, some) != scorer.score(some % 2, some)).any()
    text = tuple(corpus.query_text[one] for one in some)
    assert np.abs(scorer.of_queries(text).score(some, some) - scorer.score(some, some)).max() <= tolerance


def test_a_bi_encoder_is_the_cosine_of_the_library_and_a_cross_encoder_its_logit(made, corpus):
    from sentence_transformers import CrossEncoder, SentenceTransformer

    query, ad = np.arange(6), np.arange(6) + 1
    texts = [corpus.query_text[i] for i in query], [corpus.ad_text(i) for i in ad]
    library = SentenceTransformer(made["bi"].partition("=")[2], device="cpu")
    cosine = library.similarity_pairwise(*(library.encode(part) for part in texts)).numpy()
    np.testing.assert_allclose(
        load_pretrained(made["bi"], corpus).score(query, ad), (1 + cosine) / 2, atol=1e-6
    )
    library = SentenceTransformer(made["dot"].partition("=")[2], device="cpu")
    dot = library.similarity_pairwise(*(library.encode(part) for part in texts)).numpy()
    np.testing.assert_allclose(
        load_pretrained(made["dot"], corpus).score(query, ad), (1 + dot / (1 + abs(dot))) / 2, atol=1e-6
    )
    reader = CrossEncoder(made["cross"].partition("=")[2], device="cpu")
    np.testing.assert_allclose(
        load_pretrained(made["cross"], corpus).score(query, ad),
        reader.predict(list(zip(*texts, strict=True))),
        atol=1e-6,
    )


def test_a_model_that_takes_pictures_sees_the_frames_and_black_ones_are_none(made, corpus):
    scorer = load_pretrained(made["clip"], corpus)
    assert scorer.reads_frames
    assert not load_pretrained(made["bi"], corpus).reads_frames
    query = ad = np.arange(4)
    seen = scorer.score(query, ad)
    black = scorer.of_corpus(dataclasses.replace(corpus, frames=np.zeros_like(corpus.frames)))
    none = scorer.of_corpus(dataclasses.replace(corpus, frames=corpus.frames[:, :0]))
    np.testing.assert_array_equal(black.score(query, ad), none.score(query, ad))
    assert (np.abs(seen - black.score(query, ad)) > 1e-4).all()


def test_a_name_says_form_and_place():
    assert pretrained_of("bi_encoder=models/a") == ("bi_encoder", "models/a")
    assert pretrained_of("cross_encoder=owner/name") == ("cross_encoder", "owner/name")
    assert pretrained_of("minilm") == ("bi_encoder", "")
    for other in ("bm25", "bi_encoder", "bi_encoder=", "module:attr", "encoder=x"):
        assert pretrained_of(other) is None


def test_what_is_no_model_is_refused_in_one_sentence(folder, made, corpus, monkeypatch):
    import huggingface_hub

    def refuse(*_, local_files_only, **__):
        raise OSError("offline") if local_files_only else ConnectionError("no route")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", refuse)
    (folder / "empty").mkdir()
    four = models.bert(folder / "four", labels=4)
    for name, words in (
        (f"bi_encoder={folder}/nowhere", "nowhere: no such folder; name the folder of a model"),
        (
            "bi_encoder=owner/model",
            "owner/model: no such folder, and the Hugging Face hub does not give a model of this name; ",
        ),
        (f"bi_encoder={folder / 'empty'}", "holds no bi-encoder that sentence-transformers can read"),
        (f"cross_encoder={folder / 'empty'}", "holds no cross-encoder"),
        (f"cross_encoder={models.bert(folder / 'plain')}", "without the head of a cross-encoder"),
        (f"cross_encoder={four}", "one output, which rises with relevance, got 4"),
    ):
        with pytest.raises(CheckpointError, match=words):
            load_pretrained(name, corpus)


def test_a_model_of_the_hub_is_read_from_where_the_library_keeps_it(made, monkeypatch):
    import huggingface_hub

    place = made["bi"].partition("=")[2]
    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda *_, **__: place)
    assert str(model_folder("bi_encoder=owner/model")) == place


def test_packaged_weights_must_be_the_pinned_ones(tmp_path, monkeypatch):
    pinned = PACKAGED["minilm"]._replace(package="weights-for-a-test", folder="weights_for_a_test")
    monkeypatch.setitem(PACKAGED, "minilm", pinned)
    with pytest.raises(
        MissingExtraError, match=r"the scorer minilm: weights-for-a-test is not installed; .*relbid\[minilm\]"
    ):
        model_folder("minilm")
    monkeypatch.syspath_prepend(str(tmp_path))
    about = tmp_path / "weights_for_a_test-0.1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: weights-for-a-test\nVersion: 0.1.0\n")
    folder = tmp_path / "weights_for_a_test"
    folder.mkdir()
    (folder / "__init__.py").write_text("raise RuntimeError('its code must not run')")
    with pytest.raises(CheckpointError, match=r"model\.safetensors: cannot be read"):
        model_folder("minilm")
    (folder / "model.safetensors").write_bytes(b"other weights")
    with pytest.raises(CheckpointError, match="not the weights of minilm: SHA-256 must be 53aa5117"):
        model_folder("minilm")
    monkeypatch.setitem(PACKAGED, "minilm", pinned._replace(version="0.2.0"))
    with pytest.raises(CheckpointError, match=r"weights-for-a-test: needs version 0\.2\.0, got 0\.1\.0"):
        model_folder("minilm")


def test_the_key_of_a_model_follows_its_files(made, tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(made["bi"].partition("=")[2], folder)
    before = model_key(folder)
    (folder / "README.md").write_text("a card decides nothing")
    assert model_key(folder) == before
    config = folder / "1_Pooling" / "config.json"
    config.write_text(config.read_text().replace("mean", "cls"))
    assert model_key(folder) != before


@pytest.fixture(scope="module")
def labelled():
    """Scores of 12 queries with 20 ads each, and whether each pair is relevant."""
    rng = np.random.default_rng(3)
    query, score = np.repeat(np.arange(12), 20), rng.random(240)
    return query, score, rng.random(240) < score**2


def test_calibration_by_folds_gives_no_query_a_map_that_saw_its_labels(labelled):
    query, score, positive = labelled
    fitted = fit_by_folds(query, score, positive, n_queries=14)
    assert sorted(np.bincount(query_folds(query, 14)[:12])) == [2, 2, 2, 3, 3]
    probability = fitted(query, score)
    for one in range(12):
        own = query == one
        flipped = np.where(own, ~positive, positive)
        np.testing.assert_array_equal(
            fit_by_folds(query, score, flipped, n_queries=14)(query, score)[own], probability[own]
        )
        assert (np.argsort(probability[own]) == np.argsort(score[own])).all()
    assert abs(probability.mean() - positive.mean()) < 0.03
    np.testing.assert_array_equal(fitted(np.array([12, 13, 99]), score[:3]), fitted.whole(score[:3]))
    with pytest.raises(ScorerError, match="scorer 'm': a calibration needs pairs of both kinds"):
        fit_by_folds(query, score, np.zeros(240, dtype=bool), n_queries=12, name="m")


def test_a_calibrated_scorer_keeps_a_querys_map_where_it_is_asked_as_a_text(made, corpus):
    fold = np.arange(corpus.n_queries) % 2
    maps = TemperatureCalibration(0.1, -3.0), TemperatureCalibration(0.2, 0.5)
    calibration = FoldedCalibration(TemperatureCalibration(1.0, 0.0), maps, fold)
    plain = load_pretrained(made["bi"], corpus)
    scorer = CalibratedScorer(plain, calibration, corpus.query_text)
    query = ad = np.arange(6)
    expected = np.where(query % 2 == 0, maps[0](plain.score(query, ad)), maps[1](plain.score(query, ad)))
    np.testing.assert_array_equal(scorer.score(query, ad), expected)
    known, new = corpus.query_text[3], "a tent"
    asked = scorer.of_queries((known, new)).score(np.array([0, 1]), np.array([3, 3]))
    assert asked[0] == expected[3]
    own = plain.of_queries((new,)).score(np.zeros(1, dtype=int), np.array([3]))[0]
    assert asked[1] == pytest.approx(own, abs=1e-12)


def test_minilm_ranks_real_products_better_than_bm25():
    """Titles of Chorus, pairs of its development queries; docs/real-data.md has the same figures."""
    try:
        model_folder("minilm")
    except MissingExtraError as error:
        pytest.skip(str(error))
    folder = miniature.real_chorus()
    if folder is None:
        pytest.skip("the data is not at hand")
    products, ratings = pl.read_parquet(folder / "products.parquet"), pl.read_csv(folder / "ratings.csv")
    texts = tuple(sorted(set(ratings["query"].to_list())))
    ids = products["id"].to_list()
    place, number = {one: i for i, one in enumerate(ids)}, {text: i for i, text in enumerate(texts)}
    empty = ("",) * len(ids)
    frames = np.zeros((len(ids), 0, 8, 8, 3), dtype=np.uint8)
    corpus = Corpus(texts, tuple(products["title"].fill_null("").to_list()), empty, empty, frames)
    query = np.array([number[text] for text in ratings["query"].to_list()])
    ad = np.array([place[str(one)] for one in ratings["product_id"].to_list()])
    grade = ratings["grade"].to_numpy().astype(np.int64)
    found = {
        name: evaluate(query, grade, scorer.score(query, ad))
        for name, scorer in (("minilm", load_pretrained("minilm", corpus)), ("bm25", Bm25Scorer(corpus)))
    }
    assert found["minilm"].auc == pytest.approx(0.905, abs=0.002)
    assert found["minilm"].auc > found["bm25"].auc
