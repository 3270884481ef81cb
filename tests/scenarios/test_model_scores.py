"""Several models of a world are scored beside one another, and give what each gives alone."""

from dataclasses import replace

import numpy as np
import pytest

from relevance.errors import CheckpointError
from scenarios import load_scenario, prepare, relevance_of
from scenarios.markets import scoring
from scenarios.markets.scoring import scores_kept
from scenarios.storage import machine
from scenarios.studies import model_scores, replicates
from scenarios.studies.model_scores import keep_scores


@pytest.fixture
def two(tiny_file):
    fields = ["scorer=hcmrm", "hcmrm.score="]
    return [load_scenario(tiny_file, [fields[0], fields[1] + score]) for score in ("gain", "positive")]


@pytest.fixture
def processor(monkeypatch):
    monkeypatch.setattr(model_scores, "cores", lambda: 2)
    monkeypatch.setattr(model_scores, "BYTES", 1)


def test_what_processes_score_is_what_one_scores(two, processor, tmp_path, monkeypatch):
    prepared = prepare(two[0], cache=tmp_path)
    alone = [relevance_of(replace(prepared, scenario=one), "hcmrm").score for one in two]
    monkeypatch.setattr(scoring, "_score", lambda *_: pytest.fail("scored by the command itself"))
    told = []
    shared = replicates.share_world(two, cache=tmp_path, progress=lambda *stage: told.append(stage))
    for one, score in zip(two, alone, strict=True):
        np.testing.assert_array_equal(shared.relevances[replicates.model_of(one)].score, score)
    assert [stage[1:] for stage in told if stage[2] == 2] == [(1, 2), (2, 2)]


def test_one_model_or_too_little_memory_takes_no_process(two, processor, tmp_path, monkeypatch):
    prepared = prepare(two[0], cache=tmp_path)
    monkeypatch.setattr(model_scores, "work_through", lambda *_: pytest.fail("processes were started"))
    keep_scores(prepared, two[:1], tmp_path)
    monkeypatch.setattr(model_scores, "BYTES", 2**60)
    keep_scores(prepared, two, tmp_path)


def test_a_model_that_no_process_can_read_is_told_by_the_command(two, processor, tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "model.safetensors").write_bytes(b"x" * 99)
    settings = two[1].hcmrm.model_copy(update={"checkpoint": str(tmp_path / "model")})
    broken = two[1].model_copy(update={"hcmrm": settings})
    with pytest.raises(CheckpointError, match="model"):
        replicates.share_world([two[0], broken], cache=tmp_path)
    assert scores_kept(prepare(two[0], cache=tmp_path), "hcmrm", tmp_path)


@pytest.mark.parametrize(("said", "threads"), [("1", 1), ("3", 3), ("0", 1), ("many", 5), ("9" * 5000, 5)])
def test_a_model_has_the_threads_that_a_user_names(monkeypatch, said, threads):
    monkeypatch.setattr(machine, "cores", lambda: 5)
    monkeypatch.setenv("OMP_NUM_THREADS", said)
    assert machine.threads() == threads
