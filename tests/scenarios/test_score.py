"""`relbid score`, and commands on corpora and weights, as a user runs them."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from relevance.corpus import Corpus, LabelledCorpus, Labels
from relevance.hcmrm import HcmrmScorer
from relevance.oracle import GRADE_GAIN
from scenarios.cli.main import main
from scenarios.corpora import pair_scores
from scenarios.corpora.own import export_corpus_tables, import_corpus
from scenarios.corpora.pair_scores import score_pairs_table
from scenarios.errors import UserError
from scenarios.markets.checkpoints import SHIPPED_CHECKPOINT
from tests.relevance.test_importing import ALBEF
from tests.relevance.test_public_weights import write_bert, write_efficient_net
from tests.relevance.tiny import tiny_corpus
from tests.scenarios.test_cli import REPOSITORY


@pytest.fixture
def relbid(tmp_path, monkeypatch, capsys):
    """The command in this process and in `tmp_path`: (exit code, stdout, stderr)."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["relbid", *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            main()
        out, err = capsys.readouterr()
        return stop.value.code or 0, out, err

    return run


def refused(done):
    code, out, err = done
    assert (code, out) == (2, ""), err
    return err.removeprefix("relbid: ").rstrip("\n")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A corpus with names of its own, and pairs in three formats."""
    root = tmp_path_factory.mktemp("score")
    data = tiny_corpus()
    corpus = data.corpus
    named = Corpus(
        corpus.query_text,
        corpus.ad_title,
        corpus.ad_ocr,
        corpus.ad_asr,
        corpus.frames,
        tuple(f"q{i}" for i in range(corpus.n_queries)),
        tuple(f"a{i}" for i in range(corpus.n_ads)),
    )
    LabelledCorpus(named, data.labels).save(root / "corpus")
    rng = np.random.default_rng(1)
    pairs = pl.DataFrame(
        {
            "query_id": [f"q{i}" for i in rng.integers(0, corpus.n_queries, 50)],
            "ad_id": [f"a{i}" for i in rng.integers(0, corpus.n_ads, 50)],
        }
    )
    pairs.write_parquet(root / "pairs.parquet")
    pairs.write_ndjson(root / "pairs.jsonl")
    pairs.write_csv(root / "pairs.csv")
    return root


def score(folder, pairs, out, **settings):
    return score_pairs_table(folder / "corpus", folder / pairs, out, SHIPPED_CHECKPOINT, **settings)


def same(table, other):
    """The same rows; scores but for rounding, which depends on the batch."""
    assert table.columns == other.columns
    names, numbers = table.columns[:2], table.columns[2:]
    assert table.select(names).equals(other.select(names))
    np.testing.assert_allclose(table.select(numbers), other.select(numbers), atol=1e-5)


def test_a_table_of_pairs_gets_scores_and_probabilities(folder, tmp_path):
    seen = []
    out = tmp_path / "scores.parquet"
    assert score(folder, "pairs.parquet", out, chunk=20, progress=lambda *at: seen.append(at)) == 50
    assert [at for at in seen if at[0] == "scoring pairs"] == [
        ("scoring pairs", done, 50) for done in (20, 40, 50)
    ]
    table = pl.read_parquet(out)
    asked = pl.read_parquet(folder / "pairs.parquet")
    assert table.columns == ["query_id", "ad_id", "score", "p0", "p1", "p2", "p3"]
    assert table.select("query_id", "ad_id").equals(asked)
    scorer = HcmrmScorer.load(LabelledCorpus.load(folder / "corpus").corpus)
    query, ad = (np.array([int(name[1:]) for name in asked[column]]) for column in ("query_id", "ad_id"))
    np.testing.assert_allclose(table["score"], scorer.score(query, ad), atol=1e-5)
    np.testing.assert_allclose(table.select("p0", "p1", "p2", "p3").to_numpy() @ GRADE_GAIN, table["score"])
    assert not out.with_name("scores.parquet.parts").exists()
    for name in ("pairs.jsonl", "pairs.csv"):
        score(folder, name, tmp_path / "other.parquet", chunk=20)
        same(pl.read_parquet(tmp_path / "other.parquet"), table)


def test_with_little_memory_the_scores_are_the_same(folder, tmp_path, monkeypatch):
    score(folder, "pairs.parquet", tmp_path / "much.parquet")
    monkeypatch.setattr(pair_scores, "MEMORY", 1)
    score(folder, "pairs.parquet", tmp_path / "little.parquet")
    much, little = (pl.read_parquet(tmp_path / f"{name}.parquet") for name in ("much", "little"))
    same(much, little)


def test_killed_it_goes_on_where_it_was(folder, tmp_path):
    whole = tmp_path / "whole.parquet"
    score(folder, "pairs.parquet", whole, chunk=2)
    command = [
        sys.executable, "-m", "scenarios.cli", "score", str(folder / "corpus"), str(folder / "pairs.parquet"),
        "--chunk", "2", "--out", "killed.parquet",
    ]  # fmt: skip
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command, cwd=tmp_path, env=environment, stderr=subprocess.DEVNULL)
    parts = tmp_path / "killed.parquet.parts"
    while process.poll() is None and not (parts / "000001.parquet").is_file():
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "killed.parquet").exists()
    first = (parts / "000000.parquet").stat().st_mtime_ns
    kept = {path.name for path in parts.glob("*.parquet")}
    assert len(kept) < 25
    seen = []

    def look(stage, done, total):
        seen.append(stage)
        if (parts / "000000.parquet").is_file():
            assert (parts / "000000.parquet").stat().st_mtime_ns == first

    score(folder, "pairs.parquet", tmp_path / "killed.parquet", chunk=2, progress=look)
    assert "reading pairs" not in seen  # read once, before
    same(pl.read_parquet(tmp_path / "killed.parquet"), pl.read_parquet(whole))
    assert not parts.exists()


def test_parts_of_something_else_are_not_taken(folder, tmp_path):
    def stop(stage, done, total):
        if stage == "scoring pairs":
            raise KeyboardInterrupt

    out = tmp_path / "scores.parquet"
    with pytest.raises(KeyboardInterrupt):
        score(folder, "pairs.parquet", out, chunk=20, progress=stop)
    assert not out.exists()
    with pytest.raises(UserError, match=r"scores.parquet.parts: belongs to the scoring of other pairs"):
        score(folder, "pairs.csv", out, chunk=20)
    pairs = tmp_path / "scores.parquet.parts" / "pairs.bin"
    whole = pairs.read_bytes()
    pairs.write_bytes(b"")
    with pytest.raises(UserError, match=r"pairs\.bin: damaged; remove "):
        score(folder, "pairs.parquet", out, chunk=20)
    pairs.write_bytes(whole)
    assert score(folder, "pairs.parquet", out, chunk=20) == 50


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"query_id": ["q0"], "ad_id": ["a1"], "score": [0.5]}, "damaged: has other columns or rows"),
        ({"score": [0.5]}, "damaged: has other columns or rows"),
        (
            {"query_id": ["q0"], "ad_id": ["a0"], "score": [float("nan")]},
            "damaged: holds a score that is not",
        ),
        ({"query_id": ["q0"], "ad_id": ["a0"], "score": [True]}, "damaged: holds a score that is not"),
        ({"query_id": ["q0"], "ad_id": ["a0"], "score": [None]}, "damaged: holds a score that is not"),
    ],
)
def test_a_part_of_other_pairs_or_without_scores_is_refused(tmp_path, columns, message):
    part = tmp_path / "000000.parquet"
    pl.DataFrame(columns).write_parquet(part)
    with pytest.raises(UserError, match=message):
        pair_scores._check_part(part, {"query_id": ["q0"], "ad_id": ["a0"]}, "remove it")
    with pytest.raises(UserError, match=r"state.json: missing: it says of which pairs the parts are"):
        pair_scores._open_parts(tmp_path, {"chunk": 1})


def test_scores_are_written_as_what_their_name_says(folder, tmp_path):
    with pytest.raises(UserError, match=r"scores\.csv, --out: the table is written as Parquet"):
        score(folder, "pairs.csv", tmp_path / "scores.csv")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", "query_id,ad_id\nq0,a0\nq0,a99\n", "a.csv, row 2, column 'ad_id': the corpus has no ad"),
        ("a.csv", "query_id,query_id,ad_id\nq0,q1,a0\n", "a.csv: has the column 'query_id' twice"),
        ("a.csv", "query_id,ad\nq0,a0\n", "a.csv: has no column 'ad_id'; it has 'query_id', 'ad'"),
        ("a.csv", "query_id,ad_id\n", "a.csv: has no rows"),
        (
            "a.jsonl",
            '{"query_id": "q0", "ad_id": "a0"}\n{"query_id": "q0"}\n',
            "a.jsonl, row 2, column 'ad_id': is empty",
        ),
        ("a.jsonl", '{"query_id": ["q0"], "ad_id": "a0"}\n', "must be a text, is [\"q0\"]"),
        ("a.csv", "query_id,ad_id\nq0,a0,q1\n", "a.csv, line 2: has 3 cells, but there are 2 columns"),
        ("a.csv", 'query_id,ad_id\n"q0,a0\n', "a.csv, line 2: a quote opens a cell here and is never closed"),
        ("a.parquet", "no table", "a.parquet: cannot be read"),
    ],
)  # fmt: skip
def test_pairs_that_cannot_be_scored_are_named(folder, tmp_path, name, content, message):
    (tmp_path / name).write_text(content)
    with pytest.raises(UserError) as caught:
        score_pairs_table(folder / "corpus", tmp_path / name, tmp_path / "out.parquet", SHIPPED_CHECKPOINT)
    assert message in str(caught.value)
    assert not (tmp_path / "out.parquet").exists()


def test_the_commands_from_tables_to_scores(relbid, tmp_path):
    """Tables in; a corpus; a training on it; the scores of pairs."""
    export_corpus_tables(tiny_corpus(), tmp_path / "tables")
    code, out, _ = relbid("corpus", "import", "tables", "--out", "corpus")
    assert (code, out) == (0, "Corpus: corpus/  (12 queries, 24 ads, 288 labels)\n")
    steps = ("--word-steps", 1, "--align-steps", 1, "--steps", 1)
    assert relbid("train", "--corpus", "corpus", *steps, "--out", "model")[:2] == (0, "Checkpoint: model/\n")
    (tmp_path / "pairs.csv").write_text("query_id,ad_id\n3,5\n0,1\n")
    code, out, _ = relbid("score", "corpus", "pairs.csv", "--checkpoint", "model")
    assert (code, out) == (0, "Scores: scores.parquet  (2 pairs)\n")
    assert pl.read_parquet(tmp_path / "scores.parquet")["ad_id"].to_list() == ["5", "1"]
    assert relbid("score", "corpus", "pairs.csv", "--checkpoint", "shipped", "--out", "a.parquet")[0] == 0
    assert relbid("score", "corpus", "pairs.csv", "--out", "b.parquet")[0] == 0
    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()


def test_a_corpus_of_texts_alone_is_trained_on_texts(relbid, tmp_path):
    data = tiny_corpus()
    corpus = data.corpus
    empty = np.zeros((corpus.n_ads, 0, 48, 48, 3), dtype=np.uint8)
    grade = np.where(data.labels.grade == 1, 0, data.labels.grade)  # as WANDS: nothing has grade 1
    labels = Labels(data.labels.query, data.labels.ad, grade, data.labels.split)
    texts = Corpus(corpus.query_text, corpus.ad_title, corpus.ad_ocr, corpus.ad_asr, empty)
    LabelledCorpus(texts, labels).save(tmp_path / "corpus")
    steps = ("--corpus", "corpus", "--word-steps", 1, "--align-steps", 1, "--steps", 1)
    message = refused(relbid("train", *steps, "--out", "model"))
    assert message == "the corpus has no frames; train with --modality text"
    assert relbid("train", *steps, "--modality", "text", "--out", "model")[0] == 0
    # Beside the shipped one, which looks at no frames then.
    assert relbid("evaluate", "--corpus", "corpus", "--against", "text=model")[0] == 0


def test_import_weights(relbid, tmp_path):
    options = ("--albef", ALBEF, "--heads", 4, "--visual-heads", 3)
    code, out, err = relbid("import-weights", *options, "--out", "a")
    assert (code, out) == (0, "Checkpoint: a/\n")
    assert "it has no tokenizer" in err
    assert json.loads((tmp_path / "a" / "config.json").read_text())["visual_heads"] == 3
    for wrong, message in (
        (("--albef", ALBEF, "--heads", 4), "a: is there already"),
        (("--albef", ALBEF), "--heads: give the number of attention heads"),
        (("--vision", "x"), "give --albef FILE; or --bert FOLDER, with --vision PATH"),
        ((*options, "--text-layers", 1), "--text-layers: has no effect with an ALBEF; leave it out"),
        (("--bert", "x", "--heads", 4), "--heads: has no effect with a BERT; leave it out"),
        (("--bert", "x", "--image-size", 4), "--image-size: has no effect with a BERT without --vision"),
        ((*options, "--tokenizer", "nowhere"), "nowhere: no such folder; name the folder of the BERT whose"),
        ((*options, "--vision", "x"), "give --albef FILE; or --bert FOLDER, with --vision PATH"),
    ):
        assert message in refused(relbid("import-weights", *wrong, "--out", "a"))
    message = refused(relbid("import-weights", *options[:2], "--heads", 7, "--out", "b"))
    assert (
        message
        == f"{ALBEF}: 7 text heads do not divide the width 48 (num_heads, hidden_size); give the right number"
    )
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").touch()
    assert "full: is there already" in refused(relbid("train", "--export", "full", "--worlds", 1))
    words = [*("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "red", "mug"), *(f"word{i}" for i in range(113))]
    (tmp_path / "vocab.txt").write_text("\n".join(words))
    done = relbid("import-weights", *options, "--tokenizer", ".", "--frames", 2, "--out", "b")
    assert done == (0, "Checkpoint: b/\n", "")
    # What was imported scores pairs: 32 pixels, 2 frames, and the BERT's own words.
    rng = np.random.default_rng(0)
    frames = rng.integers(0, 255, (2, 2, 32, 32, 3)).astype(np.uint8)
    corpus = Corpus(("red mug", "mug"), ("a red mug", "word3"), ("", ""), ("", ""), frames)
    LabelledCorpus(corpus, Labels(*(np.zeros(0, dtype=np.int64),) * 4)).save(tmp_path / "corpus")
    (tmp_path / "pairs.csv").write_text("query_id,ad_id\n0,0\n1,1\n")
    assert relbid("score", "corpus", "pairs.csv", "--checkpoint", "b")[0] == 0
    scores = pl.read_parquet(tmp_path / "scores.parquet")
    assert scores["score"].is_between(0, 1).all()
    assert scores["score"].n_unique() == 2


def test_a_training_starts_from_public_weights(relbid, tmp_path):
    write_bert(tmp_path / "bert")
    write_efficient_net(tmp_path / "net.pth")
    data = tiny_corpus()
    data.save(tmp_path / "corpus")
    start = ("train", "--corpus", "corpus", "--from-bert", "bert")
    few = ("--align-steps", 1, "--steps", 2, "--set", "align_batch=6", "--set", "pqvm_common=0.9")
    done = (0, "Checkpoint: text/\n")
    assert relbid(*start, *few, "--out", "text")[:2] == done
    training = json.loads((tmp_path / "text" / "training.json").read_text())
    assert training["frozen"] == ["text_encoder"]
    assert training["pqvm_weight"] == 1.0
    assert training["finetune_steps"] == 2
    assert relbid(*start, *few, "--out", "text")[:2] == done  # nothing is left to do
    # With frames: three of 64 pixels, as the corpus has.
    frames = np.zeros((data.corpus.n_ads, 3, 64, 64, 3), dtype=np.uint8)
    frames[:, :, 10:30, 10:30] = 200
    seen = replace(data, corpus=replace(data.corpus, frames=frames))
    seen.save(tmp_path / "seen")
    line = ("train", "--corpus", "seen", "--from-bert", "bert", "--from-vision", "net.pth", *few)
    assert relbid(*line, "--out", "both")[0] == 0
    config = json.loads((tmp_path / "both" / "config.json").read_text())
    assert (config["backbone"], config["image_size"], config["n_frames"]) == ("efficientnet_lite0", 64, 3)
    (tmp_path / "pairs.csv").write_text("query_id,ad_id\n3,5\n0,1\n")
    assert relbid("score", "seen", "pairs.csv", "--checkpoint", "both")[0] == 0
    # What cannot be meant.
    message = refused(relbid(*line, "--out", "text"))
    assert "text/start: is of other public weights; remove the folder" in message
    alone = refused(relbid("train", "--corpus", "seen", "--from-vision", "x"))
    assert alone == "--from-vision: needs a BERT beside it; add --from-bert FOLDER"
    both = refused(relbid(*start, "--init", "text", "--out", "new"))
    assert "--init and --from-bert: a training starts from one of them" in both
    wide = relbid(*start, "--set", "model.hidden_size=32", "--out", "new")
    assert "leave its sizes as they are" in refused(wide)
    assert not (tmp_path / "new").exists()
    none = np.zeros((data.corpus.n_ads, 0, 48, 48, 3), dtype=np.uint8)
    replace(data, corpus=replace(data.corpus, frames=none)).save(tmp_path / "none")
    line = ("train", "--corpus", "none", "--from-bert", "bert", "--from-vision", "net.pth")
    assert "--from-vision: the corpus has no frames" in refused(relbid(*line, "--out", "new"))


def test_what_does_not_fit_is_refused(relbid, folder, tmp_path):
    assert "has neither tables" in refused(relbid("corpus", "import", ".", "--out", "x"))
    export_corpus_tables(tiny_corpus(), tmp_path / "tables")
    import_corpus(tmp_path / "tables", tmp_path / "corpus", size=64)
    message = refused(relbid("score", "corpus", folder / "pairs.csv"))
    assert "reads 3 frames of 48x48 pixels, the ads of the corpus have 3 of 64x64" in message
