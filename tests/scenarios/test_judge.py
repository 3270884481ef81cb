"""`relbid judge`: scorers and an endpoint that a local stub stands for; kills, errors, students, markets."""

import importlib
import json
import linecache
import re
import shutil
import sys
import threading
import time
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner

from relevance.chat_judge import ChatJudge
from relevance.corpus import SPLITS, LabelledCorpus
from relevance.errors import ScorerError
from relevance.hcmrm import Checkpoint, HcmrmScorer
from relevance.hcmrm.training.train import train
from relevance.protocol import score_pairs
from scenarios import load_scenario, prepare
from scenarios.cli.main import app
from scenarios.corpora import judge as judging
from scenarios.corpora.judge import Judges, judge_corpus
from scenarios.corpora.judge_agreement import agreements
from scenarios.corpora.judge_student import write_student
from scenarios.corpora.own import import_corpus
from scenarios.errors import UserError
from tests.relevance.tiny import TINY_TRAINING, tiny_corpus
from tests.scenarios import miniature


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    root = tmp_path_factory.mktemp("judge")
    import_corpus(miniature.write_prepared(root / "source"), root / "corpus")
    return root / "corpus"


class Stub:
    """A server of the chat protocol.

    `reply` says what comes on a request: a status, seconds, a text, or a status with its body.
    """

    def __init__(self):
        self.requests, self.reply, self.most, self.now = [], lambda number, body: None, 0, 0
        self.lock = threading.Lock()
        stub = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                with stub.lock:
                    stub.requests.append((self.path, dict(self.headers), body))
                    number = len(stub.requests)
                    stub.now += 1
                    stub.most = max(stub.most, stub.now)
                found = stub.reply(number, body)
                if isinstance(found, float):
                    time.sleep(found)
                    found = None
                text = (
                    found
                    if isinstance(found, str)
                    else json.dumps({"grade": grade_of(body), "confidence": 0.75})
                )
                refusal = found if isinstance(found, tuple) else None
                answer = (
                    refusal[1]
                    if refusal
                    else (
                        text
                        if text.startswith(("<", "["))
                        else json.dumps({"choices": [{"message": {"content": text}}]})
                    )
                )
                with stub.lock:
                    stub.now -= 1
                try:
                    self.send_response(refusal[0] if refusal else found if isinstance(found, int) else 200)
                    if found == 302:
                        self.send_header("Location", f"{stub.url}/elsewhere")
                    self.end_headers()
                    self.wfile.write(answer.encode())
                except OSError:  # who asked has gone
                    pass

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server.server_address[1]}/v1"


def content_of(body) -> str:
    """The pair that a request asks about, as text."""
    return body["messages"][1]["content"]


def grade_of(body) -> int:
    """The stub's own judgement: 3 where query and ad share a word."""
    query, ad = re.fullmatch(r"Query: (.*)\nAd: (.*)", content_of(body), re.S).groups()
    return 3 if set(query.lower().split()) & set(ad.lower().split()) else 0


@pytest.fixture
def stub():
    server = Stub()
    yield server
    server.server.shutdown()
    server.server.server_close()


def chat(stub, **options) -> Judges:
    waited = options.pop("waited", [])
    concurrent = options.pop("concurrent", 1)
    return Judges(chat=ChatJudge(stub.url, "stub-1", sleep=waited.append, **options), concurrent=concurrent)


def test_scorers_grade_pairs_and_agreement_is_told(corpus, tmp_path):
    result = judge_corpus(corpus, Judges(("bm25",)), tmp_path / "judged.parquet")
    table = pl.read_parquet(tmp_path / "judged.parquet")
    assert table.columns == ["query", "ad", "grade", "confidence", "source"]
    assert set(table["source"]) == {"bm25"}
    assert table["confidence"].is_between(0, 1).all()
    assert len(table) == len(LabelledCorpus.load(corpus).labels) == 50
    assert not (tmp_path / "judged.parquet.part").exists()
    found = agreements(result, corpus)
    assert list(found) == [
        ("labels", "judge"), ("rater 1", "judge"), ("rater 2", "judge"), ("rater 3", "judge"),
        ("rater 1", "rater 2"), ("rater 1", "rater 3"), ("rater 2", "rater 3"),
    ]  # fmt: skip
    assert found["labels", "judge"].kappa.value > 0.5


def test_a_market_takes_the_grades_of_a_judge(corpus, tmp_path):
    result = judge_corpus(corpus, Judges(("bm25",)), tmp_path / "judged.parquet", nearest=8)
    assert result.query.size > 50
    (tmp_path / "own.yaml").write_text(
        f"schema: 1\nname: own\nmarket: {{kind: corpus, folder: {corpus}, grades: judged.parquet}}\n"
        "scorer: bm25\npctr: {kind: signal}\n"
    )
    prepared = prepare(load_scenario(tmp_path / "own.yaml"))
    pairs = prepared.source.pairs
    assert pairs.key.size == result.query.size
    assert pairs.by_person.sum() == 50


def test_an_endpoint_is_asked_for_each_pair_once_and_no_more_at_once_than_allowed(corpus, stub, tmp_path):
    stub.reply = lambda number, _: 0.02
    result = judge_corpus(corpus, chat(stub, key="secret-1", concurrent=3), tmp_path / "j.parquet")
    assert len(stub.requests) == 50
    assert 1 < stub.most <= 3
    path, headers, body = stub.requests[0]
    assert path == "/v1/chat/completions"
    assert headers["Authorization"] == "Bearer secret-1"
    assert (body["model"], body["temperature"]) == ("stub-1", 0)
    table = pl.read_parquet(tmp_path / "j.parquet")
    assert set(table["source"]) == {"stub-1"}
    assert set(table["confidence"]) == {0.75}
    assert agreements(result, corpus)["labels", "judge"].counts.sum() == 50


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (500, "HTTP status 500"),
        (429, "HTTP status 429"),
        (4.0, "timed out"),
        ("I would say it fits", "no JSON object with a grade"),
        ('{"grade": 7, "confidence": 1}', "the grade must be 0, 1, 2 or 3, is 7"),
        ("<html>busy</html>", "not of the chat protocol: '<html>busy</html>'"),
        ("[" * 100_000, "not of the chat protocol: '[[["),
    ],
)
def test_a_passing_fault_is_tried_again_and_a_lasting_one_told_once(corpus, stub, tmp_path, fault, words):
    waited = []
    timeout_s = 2.0 if fault == 4.0 else 60.0  # a loaded machine adds no fault of its own
    judges = chat(stub, waited=waited, timeout_s=timeout_s, attempts=3, wait_s=2.0, concurrent=2)

    def passing(number, body):  # at the second and the fifth pair, not when they are asked again
        asked = [content_of(earlier) for _, _, earlier in stub.requests[:number]]
        return fault if asked.count(content_of(body)) == 1 and len(set(asked)) in (2, 5) else None

    stub.reply = passing
    judge_corpus(corpus, judges, tmp_path / "ok.parquet")
    assert len(stub.requests) == 52
    assert waited == [2.0, 2.0]
    stub.requests.clear()
    waited.clear()
    stub.reply = lambda number, _: fault if number > 10 else None
    with pytest.raises(
        ScorerError, match=r"/v1: no usable answer for query '.*' and ad '.*' in 3 attempts"
    ) as caught:
        judge_corpus(corpus, judges, tmp_path / "j.parquet")
    assert words in str(caught.value)
    assert str(caught.value).endswith(
        "; mend the endpoint; the same command continues after the pairs that it has judged"
    )
    assert {2.0, 4.0} >= set(waited)
    assert not (tmp_path / "j.parquet").exists()
    kept = (tmp_path / "j.parquet.part").read_bytes()
    (tmp_path / "j.parquet.part").write_bytes(kept + b'["stub-1", 0,')  # a kill may leave half a line
    stub.requests.clear()
    stub.reply = lambda *_: None
    judge_corpus(corpus, judges, tmp_path / "j.parquet")
    asked = {content_of(body) for _, _, body in stub.requests}
    assert len(asked) == 50 - (kept.count(b"\n") - 1) == 40
    assert pl.read_parquet(tmp_path / "j.parquet").equals(pl.read_parquet(tmp_path / "ok.parquet"))


@pytest.mark.parametrize("answer", ["7, 0.9", "2, 95.0", '"2", 0.9', "2.0, 0.9", "true, 0.9", "2", "2, NaN"])
def test_kept_grades_that_cannot_be_are_no_answers(corpus, stub, tmp_path, answer):
    stub.reply = lambda number, _: 401 if number > 3 else None
    with pytest.raises(ScorerError):
        judge_corpus(corpus, chat(stub), tmp_path / "j.parquet")
    part = tmp_path / "j.parquet.part"
    first, *lines = part.read_text().splitlines()
    who, query, ad, *_ = json.loads(lines[0])
    part.write_text("\n".join([first, f'["{who}", {query}, {ad}, {answer}]', *lines[1:], ""]))
    with pytest.raises(UserError, match=r"j.parquet.part: damaged \(.*; remove it, or choose another --out"):
        judge_corpus(corpus, chat(stub), tmp_path / "j.parquet")
    assert not (tmp_path / "j.parquet").exists()


def test_scores_of_other_code_are_not_continued(corpus, tmp_path, monkeypatch):
    def write(score):
        head = "class Own:\n    def __init__(self, corpus): ...\n    def score(self, query, ad):\n"
        code = f"{head}        {score}\n"
        (tmp_path / "own_judges.py").write_text(code)
        monkeypatch.delitem(sys.modules, "own_judges", raising=False)
        linecache.clearcache()
        importlib.invalidate_caches()

    def fails_by_bm25(scorer, query, ad, name, **options):
        if name == "bm25":
            raise ScorerError("stopped")
        return score_pairs(scorer, query, ad, name, **options)

    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    judges = Judges(("own_judges:Own", "bm25"))
    write("return (query % 2) / 1.0")
    with monkeypatch.context() as patched:
        patched.setattr(judging, "score_pairs", fails_by_bm25)
        with pytest.raises(ScorerError, match="stopped"):
            judge_corpus(corpus, judges, tmp_path / "j.parquet")
    assert (tmp_path / "j.parquet.part").exists()
    write("return (ad % 3) / 2.0")
    with pytest.raises(UserError, match=r"part: belongs to another corpus or another judge; remove it"):
        judge_corpus(corpus, judges, tmp_path / "j.parquet")
    write("return (query % 2) / 1.0")
    judge_corpus(corpus, judges, tmp_path / "j.parquet")


def test_grades_of_another_endpoint_are_not_replaced(corpus, stub, tmp_path):
    judge_corpus(corpus, chat(stub), tmp_path / "j.parquet")
    other = chat(stub)
    other = other._replace(chat=replace(other.chat, url=f"{other.chat.url}/other"))
    with pytest.raises(UserError, match=r"parquet: holds grades of another 'stub-1', at another address or"):
        judge_corpus(corpus, other, tmp_path / "j.parquet")
    judge_corpus(corpus, chat(stub), tmp_path / "j.parquet")  # its own are


def test_a_key_that_is_echoed_is_in_no_message(corpus, stub, tmp_path):
    key = "sk-abcdefghijklmnopqrstuvwxyz0123456789" * 2
    for reply in (f"<{key} is no key", json.dumps({"grade": f"of {key}"})):
        stub.reply = lambda *_, reply=reply: reply
        with pytest.raises(ScorerError) as caught:
            judge_corpus(corpus, chat(stub, key=key), tmp_path / "j.parquet")
        assert "sk-abc" not in str(caught.value)


def test_what_will_not_pass_is_not_tried_again(corpus, stub, tmp_path):
    stub.reply = lambda *_: 401
    with pytest.raises(ScorerError, match=r"in 1 attempt \(HTTP status 401\)") as caught:
        judge_corpus(corpus, chat(stub, key="secret-2"), tmp_path / "j.parquet")
    assert "secret-2" not in str(caught.value)
    assert len(stub.requests) == 1
    refusals = {
        '{"error": {"message": "no model stub-1 for secret-2"}}': "404: 'no model stub-1 for ...')",
        '{"error": "busy\\u001b"}': r"404: 'busy\u001b')",
        '{"detail": []}': "404)",
        "[" * 100_000: "404)",
    }
    stub.reply = lambda *_: "<html>you sent Bearer secret-2</html>"
    with pytest.raises(ScorerError, match=r"'<html>you sent Bearer \.\.\.</html>'"):
        judge_corpus(corpus, chat(stub, key="secret-2", attempts=1), tmp_path / "j.parquet")
    for body, words in refusals.items():
        stub.reply = lambda *_, body=body: (404, body)
        with pytest.raises(ScorerError) as caught:
            judge_corpus(corpus, chat(stub, key="secret-2"), tmp_path / "j.parquet")
        assert words in str(caught.value)
    nobody = Judges(chat=ChatJudge("http://127.0.0.1:9/v1", "m", attempts=2, sleep=lambda _: None))
    with pytest.raises(ScorerError, match=r"127.0.0.1:9/v1: .* in 2 attempts \(.*refused"):
        judge_corpus(corpus, nobody, tmp_path / "k.parquet")


def test_scores_are_kept_as_they_come_and_belong_to_one_judge(corpus, tmp_path, monkeypatch):
    out, calls = tmp_path / "j.parquet", []
    score = judging.score_pairs

    def stops(scorer, query, ad, name, **options):
        calls.append(query.size)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return score(scorer, query, ad, name, **options)

    monkeypatch.setattr(judging, "CHUNK", 20)
    monkeypatch.setattr(judging, "score_pairs", stops)
    with pytest.raises(KeyboardInterrupt):
        judge_corpus(corpus, Judges(("bm25",)), out)
    with pytest.raises(
        UserError, match="belongs to another corpus or another judge; remove it, or choose another --out"
    ):
        judge_corpus(corpus, Judges(("relevance.lexical:Bm25Scorer",)), out)
    calls.clear()
    result = judge_corpus(corpus, Judges(("bm25",)), out)
    assert calls == [10]
    monkeypatch.undo()
    whole = judge_corpus(corpus, Judges(("bm25",)), tmp_path / "whole.parquet")
    np.testing.assert_array_equal(result.scores, whole.scores)


def test_a_student_learns_from_the_judges_grades_alone(corpus, tmp_path):
    result = judge_corpus(corpus, Judges(("bm25",)), tmp_path / "j.parquet", nearest=6)
    n = write_student(result, tmp_path / "student")
    student, people = LabelledCorpus.load(tmp_path / "student"), LabelledCorpus.load(corpus).labels
    train, rest = student.labels.of("train"), people.split != SPLITS.index("train")
    assert len(train) == n > 0
    assert not np.isin(train.query, people.query[rest]).any()
    for name in SPLITS[1:]:
        assert sorted(student.labels.of(name).grade) == sorted(people.of(name).grade)
    assert student.corpus.query_text == result.data.corpus.query_text
    with pytest.raises(
        UserError, match=r"--least-confidence 1\.1: .* is as sure: the surest has 0\..*lower one"
    ):
        write_student(result, tmp_path / "other", least_confidence=1.1)
    assert not (tmp_path / "other").exists()


def test_hcmrm_learns_from_a_judge(tmp_path):
    people = tiny_corpus()
    people.save(tmp_path / "corpus")
    result = judge_corpus(tmp_path / "corpus", Judges(("bm25",)), tmp_path / "j.parquet")
    write_student(result, tmp_path / "student")
    student = LabelledCorpus.load(tmp_path / "student")
    judged, labels = student.labels.of("train"), people.labels.of("train")
    assert (judged.grade != labels.grade).any()  # it is the judge who teaches
    assert np.mean((judged.grade >= 2) == (labels.grade >= 2)) > 0.9
    train(student, tmp_path / "model", TINY_TRAINING)
    scorer = HcmrmScorer(Checkpoint.load(tmp_path / "model"), student.corpus)
    assert np.isfinite(scorer.score(labels.query[:5], labels.ad[:5])).all()


def test_the_command_prints_tables_and_says_what_is_wrong(corpus, stub, tmp_path, monkeypatch):
    command = ["judge", str(corpus), "--out", str(tmp_path / "j.parquet")]
    done = CliRunner().invoke(app, [*command, "--by", "bm25", "--student", str(tmp_path / "student")])
    assert done.exit_code == 0, done.output
    for words in (
        "Pairs by the label's grade",
        "judge (bm25)",
        "rater 1",
        "grade 3",
        "Grades: ",
        "relbid train",
    ):
        assert words in done.output
    for option, place, message in (
        ("--student", "student", "is there already; remove it, or choose another place with --student"),
        ("--student", "j.parquet", "is there already"),
        ("--out", "j.csv", "the table is written as Parquet; name it"),
    ):
        done = CliRunner().invoke(app, [*command, "--by", "bm25", option, str(tmp_path / place)])
        assert message in str(done.exception)
    monkeypatch.setenv("STUB_KEY", "secret-3")
    asked = ["--endpoint", stub.url, "--model", "stub-1", "--key-env", "STUB_KEY"]
    before = (tmp_path / "j.parquet").read_bytes()
    done = CliRunner().invoke(app, [*command, *asked])
    told = "j.parquet: holds grades of another judge, 'bm25'; choose another --out"
    assert str(done.exception).endswith(told)
    assert (tmp_path / "j.parquet").read_bytes() == before
    done = CliRunner().invoke(app, [*command, "--by", "nobody"])
    assert "'nobody' judges no pairs" in str(done.exception)  # the judge first, then whose grades are there
    nobody = tmp_path / "nobody.parquet"
    pl.read_parquet(tmp_path / "j.parquet").with_columns(source=pl.lit(None, pl.String)).write_parquet(nobody)
    done = CliRunner().invoke(app, [*command[:-1], str(nobody), "--by", "bm25"])
    assert str(done.exception).endswith("holds grades of another judge, 'None'; choose another --out")
    damaged = bytearray(before)
    damaged[4:200] = b"x" * 196
    (tmp_path / "damaged.parquet").write_bytes(damaged)
    done = CliRunner().invoke(app, [*command[:-1], str(tmp_path / "damaged.parquet"), "--by", "bm25"])
    assert isinstance(done.exception, UserError)
    done = CliRunner().invoke(app, [*command[:-1], str(tmp_path / "asked.parquet"), *asked])
    assert done.exit_code == 0, done.output
    assert "secret-3" not in done.output
    alone = ["--by", "bm25", "--least-confidence", "0.5"]
    assert CliRunner().invoke(app, [*command, *alone]).exit_code == 2
    for wrong in ([], ["--by", "bm25", *asked], ["--endpoint", stub.url], [*asked[:-1], "NOT_SET_HERE"]):
        assert CliRunner().invoke(app, [*command, *wrong]).exit_code == 2
    mine = Path(shutil.copytree(corpus, tmp_path / "mine")) / "offers.parquet"
    pl.DataFrame({"ad": ["a"]}).write_parquet(mine)
    done = CliRunner().invoke(app, ["judge", str(mine.parent), "--by", "bm25", "--out", str(mine)])
    assert "offers.parquet: is there, and is no table of query, ad, grade, confidence, source; " in str(
        done.exception
    )
    done = CliRunner().invoke(app, [*command[:-1], str(tmp_path / "o.parquet"), "--by", "oracle"])
    assert isinstance(done.exception, UserError)
    assert str(done.exception).startswith("--by: 'oracle' judges no pairs; name bm25")


def test_a_redirection_is_told_and_not_followed(stub):
    stub.reply = lambda number, body: 302
    judge = ChatJudge(stub.url, "stub-1", "secret", sleep=lambda s: None)
    with pytest.raises(ScorerError, match=r"HTTP status 302, redirected to 'http.*/elsewhere': name it"):
        judge.grade("red mug", "a red mug")
    assert len(stub.requests) == 1  # the key went nowhere else


@pytest.mark.parametrize(
    "wrong", [{"attempts": 0}, {"timeout_s": -1.0}, {"timeout_s": float("nan")}, {"wait_s": -1.0}]
)
def test_a_judge_without_an_attempt_or_time_is_refused(wrong):
    [name] = wrong
    with pytest.raises(ScorerError, match=f"{name} must be (at least|greater than)"):
        ChatJudge("http://localhost/v1", "stub-1", **wrong)
