"""Scorers of one's own that fail: who is to blame is said, and what was finished is kept and marked."""

import json
import os
import re
import subprocess
import sys
from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from relevance.errors import PluginError, ScorerError
from relevance.protocol import score_pairs
from scenarios import StoreError, list_results, load_scenario, prepare, read_result
from scenarios.markets import scoring
from scenarios.markets.plug_ins import own_scorer
from scenarios.runs.results import result_folder
from scenarios.runs.scenario_run import incomplete, run_to_folder
from tests.scenarios.test_cli import REPOSITORY

SCORERS = """
import numpy as np

class Half:
    def __init__(self, corpus):
        self.corpus = corpus

    def score(self, query, ad):
        return np.full(query.shape, 0.5)


class Late(Half):
    # Well-behaved on the few pairs that it is tried on, then not.
    asked = 0

    def score(self, query, ad):
        Late.asked += 1
        score = super().score(query, ad)
        return self.spoil(score, query, ad) if Late.asked > 69 and len(query) > 20 else score

class LateNaN(Late):
    def spoil(self, score, query, ad):
        score[7] = np.nan
        return score

class LateLarge(Late):
    def spoil(self, score, query, ad):
        score[7] = 1.5
        return score

class LateShort(Late):
    def spoil(self, score, query, ad):
        return score[:-1]

class Marked(Half):
    # Stumbles over one ad, whenever it comes.
    marked = None

    def score(self, query, ad):
        if Marked.marked is not None and (ad == Marked.marked).any():
            raise KeyError("no such video")
        return super().score(query, ad)
"""


@pytest.fixture
def own(tmp_path, monkeypatch):
    (tmp_path / "own_scorers_for_tests.py").write_text(SCORERS)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(scoring, "OWN_CHUNK", 50)
    import own_scorers_for_tests as module

    module.Late.asked = 0
    yield module
    sys.modules.pop("own_scorers_for_tests", None)


def failing(scorer: str, tiny_file, out) -> str:
    scenario = load_scenario(tiny_file, [f"compare=[none, bm25, 'own_scorers_for_tests:{scorer}']"])
    with pytest.raises(ScorerError) as caught:
        run_to_folder(scenario, out)
    return str(caught.value)


CONSTANT = """
import numpy as np

class Half:
    def __init__(self, corpus):
        pass

    def score(self, query, ad):
        return np.full(query.shape, 0.5)
"""
PAIR = r"query '[a-z0-9 ]+' \(\d+\) and ad '\d+'"


@pytest.mark.parametrize(
    ("scorer", "words"),
    [
        ("LateNaN", rf"score nan for {PAIR}; scores must be numbers in \[0, 1\]"),
        ("LateLarge", rf"score 1\.5 for {PAIR}; scores must be numbers in \[0, 1\]"),
        ("LateShort", rf"returned shape \(49,\) for 50 pairs, the first pair being {PAIR}; it must return"),
    ],
)
def test_what_was_finished_is_kept_and_marked_incomplete(own, tiny_file, tmp_path, scorer, words):
    out = tmp_path / "results"
    message = failing(scorer, tiny_file, out)
    assert re.match(rf"scorer 'own_scorers_for_tests:{scorer}': {words}", message), message
    [folder] = out.glob("tiny-*")
    assert folder.name.endswith(".incomplete")
    assert f"what was finished until then is in {folder}/" in message

    facts = json.loads((folder / "incomplete.json").read_text())
    assert facts["incomplete"] is True
    assert facts["finished"] == ["oracle", "none", "bm25"]
    assert facts["failed"] == f"own_scorers_for_tests:{scorer}"
    rows = pl.read_parquet(folder / "finished.parquet")
    assert set(rows.filter(kind="compare")["scorer"]) == {"oracle", "none", "bm25"}
    assert 0 <= facts["pairs_scored"] < facts["pairs"]

    # Nobody takes it for a result.
    assert list_results(out) == []
    with pytest.raises(StoreError, match="is of a run that failed, and incomplete"):
        read_result(folder)


def test_the_pair_that_makes_a_scorer_raise_is_found(own, tiny_file, tmp_path, prepared):
    query, column = np.nonzero(prepared.candidate >= 0)
    ad = prepared.candidate[query, column]
    tried = np.random.default_rng(0)  # what `check_scorer` draws
    tried.integers(0, prepared.world.corpus.n_queries, 64)
    known = set(tried.integers(0, prepared.world.corpus.n_ads, 64).tolist())
    place = next(i for i in range(120, len(ad)) if ad[i] not in known and ad[i] not in ad[:i])
    own.Marked.marked = ad[place]
    out = tmp_path / "results"
    message = failing("Marked", tiny_file, out)
    text = prepared.world.corpus.query_text[query[place]]
    assert message.startswith(
        "scorer 'own_scorers_for_tests:Marked': score() raised KeyError: 'no such video' "
        f"for query '{text}' ({query[place]}) and ad '{ad[place]}'; mend it"
    )
    [folder] = out.glob("tiny-*")
    scores = pl.read_parquet(folder / "scores.parquet")
    assert len(scores) == place // 50 * 50, "whole chunks before the one that failed"
    assert scores["score"].unique().to_list() == [0.5]

    # Mended, the same command makes the whole result, and the incomplete one goes.
    own.Marked.marked = None
    scenario = load_scenario(tiny_file, ["compare=[none, bm25, 'own_scorers_for_tests:Marked']"])
    _, whole = run_to_folder(scenario, out)
    assert whole == result_folder(out, scenario)
    assert list_results(out) == [whole]
    assert not incomplete(whole).exists()


class _Answers:
    def __init__(self, answer):
        self.score = answer


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (lambda q, a: np.where(q == 5, np.inf, 0.5), "score inf for query 5 and ad 7"),
        (lambda q, a: np.where(q == 5, -0.0001, 0.5), "score -0.0001 for query 5 and ad 7"),
        (lambda q, a: [0.5], r"returned shape \(1,\) for 3 pairs, the first pair being query 3 and ad 6"),
        (lambda q, a: np.full((len(q), 2), 0.5), r"returned shape \(1, 2\) for 1 pair for query 3 and ad 6"),
        (lambda q, a: 1 / 0, "score\\(\\) raised ZeroDivisionError: division by zero for query 3 and ad 6"),
        (lambda q, a: ["x"] * len(q), "returned a list for query 3 and ad 6; it must return an array"),
        (lambda q, a: None, "returned nothing for query 3 and ad 6"),
    ],
)
def test_every_kind_of_answer_that_is_none(answer, words):
    with pytest.raises(ScorerError, match=f"scorer 'mine': {words}"):
        score_pairs(_Answers(answer), np.array([3, 4, 5]), np.array([6, 7, 7]), "mine")


def test_a_scorer_that_fails_at_once_is_found_when_it_is_tried(own, tiny_file, tmp_path, prepared):
    own.Marked.marked = np.arange(prepared.world.corpus.n_ads).max()  # never equal to a whole array: raises
    own.Marked.score = lambda self, query, ad: 1 / 0
    scenario = load_scenario(tiny_file, ["scorer='own_scorers_for_tests:Marked'", "sweep=null"])
    with pytest.raises(PluginError, match=rf"Marked': score\(\) raised ZeroDivisionError.* for {PAIR}"):
        run_to_folder(scenario, tmp_path / "results")
    assert prepare(scenario).scenario == scenario


def test_modules_of_the_user_s_folder_replace_none_of_python_s(tiny_file, tmp_path):
    for name in ("random", "json", "numpy"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('not the real one')")
    (tmp_path / "mine.py").write_text(CONSTANT)
    (tmp_path / "swept.yaml").write_text(
        "schema: 1\nname: swept\nscenario: tiny.yaml\nover: {scorer: ['mine:Half', 'random:Half', none]}\n"
    )
    # -P: as the installed command `relbid` begins.
    line = [sys.executable, "-P", "-m", "scenarios.cli", "sweep", "swept.yaml", "--workers", "2"]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run(line, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.strip().endswith(
        "scorer 'random:Half': module 'random' has no 'Half'; "
        "an installed module is called 'random', too; rename yours"
    )
    file = tmp_path / "swept.yaml"
    file.write_text(file.read_text().replace("'random:Half', ", ""))
    done = subprocess.run(line, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert len(list((tmp_path / "results" / "sweeps").glob("swept-*/points.parquet"))) == 1
    assert "Sweep: results/sweeps/swept-" in done.stdout


WRITING = """
import numpy as np

class Plain:
    def __init__(self, corpus):
        corpus.frames[:] = 0
"""


def test_a_scorer_cannot_change_the_frames_that_others_see(tmp_path, monkeypatch, prepared):
    (tmp_path / "writing_scorer_for_tests.py").write_text(WRITING)
    monkeypatch.syspath_prepend(str(tmp_path))
    corpus = replace(prepared.corpus, frames=prepared.corpus.frames.copy())
    with pytest.raises(PluginError, match=r"making it failed: ValueError: .* read-only"):
        own_scorer("writing_scorer_for_tests:Plain", corpus)
    assert corpus.frames.flags.writeable
    assert np.array_equal(corpus.frames, prepared.corpus.frames)
