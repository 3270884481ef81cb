"""The scorers, and the checker that scorers of one's own have to pass."""

from __future__ import annotations

import copy
import dataclasses
import gc
import os
import re
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from relevance.cached import CachedScorer, ScoreTable
from relevance.corpus import Corpus, CorpusError, LabelledCorpus, Labels
from relevance.errors import PluginError, ScorerError
from relevance.keywords import TfIdfKeywords
from relevance.lexical import Bm25Scorer
from relevance.oracle import GRADE_GAIN, OracleScorer
from relevance.plug_in import WAITING, Plugin
from relevance.protocol import AnyQuery, check_scorer, load_object, score_pairs


@pytest.fixture
def corpus() -> Corpus:
    return Corpus(
        query_text=("red coffee mug", "wine", "unheard of"),
        ad_title=("coffee mug today only", "zelan wine", "best seller"),
        ad_ocr=("tap to shop", "red wine", ""),
        ad_asr=("let me show you", "", "sofa"),
        frames=np.zeros((3, 2, 8, 8, 3), dtype=np.uint8),
    )


def test_bm25_knows_words_and_nothing_else(corpus: Corpus) -> None:
    score = Bm25Scorer(corpus, floor=0.1).score(np.array([0, 0, 0, 1, 2]), np.array([0, 1, 2, 1, 0]))
    assert score[0] == 1.0  # best of all
    assert 0.1 < score[1] < 1.0  # one word
    assert score[2] == 0.1  # none
    assert score[3:].tolist() == [1.0, 0.1]


def test_bm25_answers_queries_that_the_corpus_does_not_have(corpus: Corpus) -> None:
    scorer, ads = Bm25Scorer(corpus), np.arange(3)
    assert isinstance(scorer, AnyQuery)
    asked = scorer.of_queries(("wine", "sofa"))
    np.testing.assert_array_equal(
        asked.score(np.zeros(3, dtype=int), ads), scorer.score(np.ones(3, int), ads)
    )
    assert asked.score(np.ones(3, dtype=int), ads).argmax() == 2
    assert scorer.score(np.array([1]), np.array([1])) == 1.0  # which still has its own


def test_bm25_of_a_batch_is_that_of_one_query_against_all_ads_bit_by_bit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As bm25s adds up the words of a query itself, in single precision."""
    bm25s = pytest.importorskip("bm25s")
    rng = np.random.default_rng(3)
    words = [f"w{i}" for i in range(30)]
    texts = [" ".join(rng.choice(words, rng.integers(0, 9))) for _ in range(60)]
    nothing, ads = ("",) * 20, tuple(texts[40:])
    frames = np.zeros((20, 0, 8, 8, 3), dtype=np.uint8)
    corpus = Corpus((*texts[:40], "unknown words", ""), ads, nothing, nothing, frames)
    index = bm25s.BM25(k1=1.5, b=0.75)
    index.index([text.split() for text in corpus.ad_texts()], show_progress=False)
    query, ad = (part.ravel() for part in np.meshgrid(np.arange(42), np.arange(20), indexing="ij"))
    expected = []
    for text in corpus.query_text:
        known = [word for word in text.split() if word in index.vocab_dict]
        raw = index.get_scores(known).astype(float) if known else np.zeros(20)
        expected.append(0.1 + (1.0 - 0.1) * (raw / (raw.max() or 1.0)))
    for cells in (1, 100, 2**18):
        monkeypatch.setattr("relevance.lexical.CELLS_AT_ONCE", cells)
        assert np.array_equal(Bm25Scorer(corpus).score(query, ad), np.ravel(expected))


def test_own_scorers_pass_the_checker(corpus: Corpus) -> None:
    rng = np.random.default_rng(0)
    assert check_scorer(Bm25Scorer(corpus), corpus, rng) == []
    assert check_scorer(OracleScorer(lambda query, ad: (query + ad) % 4), corpus, rng) == []
    every = np.divmod(np.arange(9), 3)
    table = ScoreTable.build(*every, np.linspace(0, 1, 9))
    assert check_scorer(CachedScorer(table), corpus, rng) == []


class _Scorer:
    def __init__(self, score: Any) -> None:
        self._score, self._calls = score, 0

    def score(self, query: Any, ad: Any) -> Any:
        self._calls += 1
        return self._score(query, ad, self._calls)


@pytest.mark.parametrize(
    ("broken", "verdict"),
    [
        (lambda q, a, n: np.full(len(q), np.nan), "numbers in [0, 1]"),
        (lambda q, a, n: np.full(len(q), 1.5), "numbers in [0, 1]"),
        (lambda q, a, n: np.zeros(len(q) + 1), "one score a pair"),
        (lambda q, a, n: 1 / 0, "ZeroDivisionError"),
        (lambda q, a, n: np.arange(len(q)) / max(len(q), 1), "order of the pairs"),
        (lambda q, a, n: a / max(a.max(initial=0), 1), "which other pairs"),
        (lambda q, a, n: np.full(len(q), min(n, 10) / 10), "second time"),
        (lambda q, a, n: np.zeros(max(len(q), 1)), "no pairs must give no scores"),
    ],
)
def test_checker_says_in_words_what_is_wrong(corpus: Corpus, broken: Any, verdict: str) -> None:
    problems = check_scorer(_Scorer(broken), corpus, np.random.default_rng(1))
    assert any(verdict in problem for problem in problems), problems


def test_refused_score_names_scorer_and_first_pair() -> None:
    scorer = _Scorer(lambda q, a, n: np.where(a == 7, -0.1, 0.5))
    with pytest.raises(ScorerError, match=r"scorer 'mine': score -0.1 for query 4 and ad 7"):
        score_pairs(scorer, np.array([3, 4, 5]), np.array([6, 7, 7]), "mine")


def test_arguments_of_score_pairs_are_checked() -> None:
    scorer, two = _Scorer(lambda q, a, n: np.full(len(q), 0.5)), np.array([3, 4])
    for ad, chunk, words in (
        (two[:1], None, "ad must have a value for each of query's 2, has 1"),
        (two, -1, "chunk must be from 1 to 1e\\+12, got -1"),
        (two, 1.5, "chunk must be whole numbers, is float64"),
    ):
        with pytest.raises(ValueError, match=words):
            score_pairs(scorer, two, ad, "mine", chunk=chunk)  # type: ignore[arg-type]


def test_plugins_by_name() -> None:
    assert load_object("relevance.oracle:GRADE_GAIN", "scorer") is GRADE_GAIN
    for name, part in (
        ("nothing", "module:attr"),
        ("no_such_module:x", "no_such_module"),
        ("relevance.oracle:Nope", "Nope"),
        ("relevance.oracle:oraclescorer", "did you mean 'OracleScorer'"),
    ):
        with pytest.raises(PluginError, match=part):
            load_object(name, "scorer")


def test_a_scorer_that_changes_what_it_is_given_changes_a_copy() -> None:
    class Careless:
        def score(self, query: Any, ad: Any) -> Any:
            query[:] = 0
            return np.full(len(query), 0.5)

    query = np.array([1, 2])
    score_pairs(Careless(), query, np.array([3, 4]), "careless")
    assert query.tolist() == [1, 2]


def test_an_error_whose_text_ends_the_program_is_an_error_like_any_other() -> None:
    class MuteError(Exception):
        def __str__(self) -> str:
            raise SystemExit(9)

        def __getattribute__(self, name: str) -> Any:
            raise SystemExit(0)

    def method() -> None:
        raise MuteError

    with pytest.raises(PluginError, match="scorer 'mine:Mute': score\\(\\) raised MuteError"):
        Plugin("scorer 'mine:Mute'").ask("score() raised", method)


def test_an_error_whose_class_has_no_name_is_an_error_like_any_other() -> None:
    class Nameless(type):
        @property
        def __name__(cls) -> str:  # type: ignore[override]
            raise SystemExit(9)

    class OddError(Exception, metaclass=Nameless):
        pass

    def method() -> None:
        raise OddError("at work")

    with pytest.raises(PluginError, match="score\\(\\) raised OddError: at work"):
        Plugin("scorer 'mine:Odd'").ask("score() raised", method)


def test_an_error_of_relbid_s_own_that_a_scorer_raises_is_told_whatever_its_parts_are() -> None:
    def score(query: Any, ad: Any, calls: int) -> Any:
        error = ScorerError("out of order", remedy="\x1b[31mwait")
        error.args, error.reason = (1, 2), 5  # type: ignore[assignment]
        raise error

    with pytest.raises(ScorerError) as caught:
        score_pairs(_Scorer(score), np.array([3]), np.array([6]), "mine")
    assert str(copy.copy(caught.value)) == r"scorer 'mine': 5; \x1b[31mwait"


@pytest.mark.filterwarnings("error")
def test_a_scorer_whose_method_is_async_is_refused_without_a_warning() -> None:
    class Later:
        async def score(self, query: Any, ad: Any) -> Any:
            return query

    with pytest.raises(ScorerError, match="returned a coroutine"):
        score_pairs(Later(), np.array([3]), np.array([6]), "mine")  # type: ignore[arg-type]
    gc.collect()


def test_a_plug_in_that_takes_long_is_said_to_be_waited_for(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(WAITING, "0.01")
    plugin, said = Plugin("scorer 'mine:Slow'"), list[str]()

    def score() -> int:
        for _ in range(6000):  # until it is told; a minute at most
            time.sleep(0.01)
            said.append(capsys.readouterr().err)
            if said[-1]:
                break
        return 7

    assert plugin.ask("score() raised", score) == 7
    assert re.match(r"relbid: waiting for scorer 'mine:Slow', [\d.e-]+ s so far; Ctrl-C ends it\n", said[-1])


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.parametrize("how", ["returns", "raises"])
def test_the_child_of_a_plug_in_s_own_fork_is_no_second_relbid(how: str) -> None:
    def score() -> int:
        child = os.fork()
        if child == 0:
            if how == "raises":
                raise SystemExit(0)
            return 0
        return os.waitpid(child, 0)[1]

    status = Plugin("scorer 'mine:Forks'").ask("score() raised", score)
    assert os.waitstatus_to_exitcode(status) == (how == "raises")


def test_masked_scores_are_called_so() -> None:
    scorer = _Scorer(lambda query, ad, calls: np.ma.masked_all(query.shape))
    with pytest.raises(ScorerError, match="returned an array with masked values"):
        score_pairs(scorer, np.array([3]), np.array([6]), "mine")


def test_score_table_round_trip(tmp_path: Path) -> None:
    query, ad = np.array([2, 0, 2]), np.array([1, 5, 0])
    table = ScoreTable.build(query, ad, np.array([0.3, 0.1, 0.2]), np.eye(4)[:3])
    table.save(tmp_path / "deep" / "scores.npz")
    read = ScoreTable.load(tmp_path / "deep" / "scores.npz")
    assert CachedScorer(read).score(query, ad).tolist() == [0.3, 0.1, 0.2]
    assert read.grade_probabilities is not None
    assert read.grade_probabilities[read.rows(query, ad)].tolist() == np.eye(4)[:3].tolist()
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["scores.npz"]
    with pytest.raises(ScorerError, match="query 0 and ad 4"):
        CachedScorer(read).score(np.array([0]), np.array([4]))


def test_score_table_refuses_doubles_and_damage(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="once"):
        ScoreTable.build(np.array([1, 1]), np.array([2, 2]), np.zeros(2))
    path = tmp_path / "scores.npz"
    ScoreTable.build(np.arange(50), np.arange(50), np.zeros(50)).save(path)
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(ScorerError, match="not a whole score table"):
        ScoreTable.load(path)


def test_keywords_keep_what_is_rare_in_the_order_of_the_text() -> None:
    extract = TfIdfKeywords.fit(["buy now wine", "buy now sofa", "buy now mug"], n_words=2, n_tokens=3)
    # Weights: wine 2 (ln 4/2 + 1) = 3.39; red, never seen, ln 4 + 1 = 2.39; now 2 (ln 4/4 + 1) = 2.
    assert extract("buy wine now red wine now") == ("wine", "red", "wine")
    assert extract("") == ()


def test_bm25_knows_ads_without_any_word(corpus: Corpus) -> None:
    nothing = ("",) * corpus.n_ads
    mute = dataclasses.replace(corpus, ad_title=nothing, ad_ocr=nothing, ad_asr=nothing)
    assert Bm25Scorer(mute).score(np.array([0, 1]), np.array([1, 0])).tolist() == [0.1, 0.1]


def test_corpus_round_trip_and_errors(tmp_path: Path, corpus: Corpus) -> None:
    labels = Labels(*(np.array(column) for column in ([0, 1], [2, 1], [3, 0], [0, 2])))
    LabelledCorpus(corpus, labels).save(tmp_path)
    read = LabelledCorpus.load(tmp_path)
    assert read.corpus.fingerprint() == corpus.fingerprint()
    assert read.labels.of("test").grade.tolist() == [0]
    frames = (tmp_path / "frames.npy").read_bytes()
    np.save(tmp_path / "frames.npy", np.uint8(3))
    with pytest.raises(CorpusError, match=r"frames.npy: .*x width x 3, is no array"):
        LabelledCorpus.load(tmp_path)
    (tmp_path / "frames.npy").write_bytes(frames)
    ads = (tmp_path / "ads.jsonl").read_text()
    (tmp_path / "ads.jsonl").write_text(ads + "\n")  # a blank line at the end is no ad
    assert LabelledCorpus.load(tmp_path).corpus.n_ads == corpus.n_ads
    for text, message in (
        ("", "ads.jsonl: is empty"),
        (ads.splitlines()[0], f"frames.npy: has frames of {corpus.n_ads} ads, ads.jsonl has 1 ads"),
        (ads + '{"title": "", "ocr": "", "asr": "", "id": "7"}', "'id' is missing in the lines before"),
    ):
        (tmp_path / "ads.jsonl").write_text(text)
        with pytest.raises(CorpusError, match=message):
            LabelledCorpus.load(tmp_path)
    (tmp_path / "ads.jsonl").write_text('{"title": "x"}\n')
    with pytest.raises(CorpusError, match=r"ads.jsonl, line 1: needs an object with title, ocr, asr"):
        LabelledCorpus.load(tmp_path)
    (tmp_path / "frames.npy").unlink()
    with pytest.raises(CorpusError, match=r"frames.npy: not found"):
        LabelledCorpus.load(tmp_path)
