"""Two processes on halves of every batch give what one process gives on the whole of it."""

# ruff: noqa: E402

from __future__ import annotations

import dataclasses
import json
import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from relevance.hcmrm import Checkpoint
from relevance.hcmrm.training.ranks import Ranks
from relevance.hcmrm.training.train import TrainProgress, train
from relevance.hcmrm.training.train_config import TrainError

from .tiny import TINY_TRAINING, tiny_corpus

REPOSITORY = Path(__file__).parents[2]


class _Two(Ranks):
    """The first of two processes, for what needs no other."""

    def __init__(self, index: int = 0) -> None:
        super().__init__()
        self.index, self.count = index, 2


def test_rows_of_all_processes_are_all_rows() -> None:
    for n in range(6):
        rows = [list(range(n))[_Two(index).mine(n)] for index in (0, 1)]
        assert rows[0] + rows[1] == list(range(n))
        assert abs(len(rows[0]) - len(rows[1])) <= 1


def test_alone_nothing_is_gathered() -> None:
    alone, rows = Ranks(), torch.ones(3, 2, requires_grad=True)
    assert alone.first
    assert alone.joined(rows) is rows
    assert (alone.mine(5), alone.share(0)) == (slice(0, 5), 1.0)


@pytest.mark.parametrize("changes", [{"loss": "ranknet"}, {"align_batch": 7}])
def test_what_cannot_be_shared_is_refused(tmp_path: Path, changes: dict[str, object]) -> None:
    with pytest.raises(TrainError, match="2 processes: they must divide align_batch"):
        train(tiny_corpus(), tmp_path, dataclasses.replace(TINY_TRAINING, **changes), ranks=_Two())


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def test_two_processes_train_as_one(tmp_path: Path) -> None:
    pytest.importorskip("accelerate")
    data = tiny_corpus(66)
    titles = tuple(f"{title} brand{i}" for i, title in enumerate(data.corpus.ad_title))
    data = dataclasses.replace(data, corpus=dataclasses.replace(data.corpus, ad_title=titles))
    config = dataclasses.replace(
        TINY_TRAINING,
        rehearsal_ads=7,
        ads_per_step=5,  # three of one process, two of the other
        word_batch=11,
        word_rate=1e-4,
        align_rate=1e-4,
        rate=1e-4,
        finetune_steps=3,
        pqvm_weight=1.0,
        pqvm_ads=7,
        momentum=0.9,
        queue=12,
        learn_temperature=True,
        bf16=False,
        # Without convolutions, whose norms are of one process's rows.
        model={**TINY_TRAINING.model, "conv_stem": ()},
    )
    losses: list[tuple[str, float]] = []

    def note(at: TrainProgress) -> None:
        losses.append((f"{at.stage} {at.step}/{at.steps}", at.loss))

    alone = train(data, tmp_path / "alone", config, progress=note)

    data.save(tmp_path / "corpus")
    (tmp_path / "settings.json").write_text(json.dumps(dataclasses.asdict(config)))
    launch = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2"]
    launch += ["--master_port", str(_free_port()), "-m", "relevance.hcmrm.training.train"]
    launch += ["--corpus", "corpus", "--out", "both", "--settings", "settings.json"]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(launch, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("2 processes\n") == 1
    both = re.findall(r"^(\w+ \d+/\d+): loss (\d+\.\d+)$", done.stderr, flags=re.MULTILINE)
    assert [at for at, _ in both] == [at for at, _ in losses]
    np.testing.assert_allclose([float(x) for _, x in both], [x for _, x in losses], atol=1e-5)
    one, two = alone.model.state_dict(), Checkpoint.load(tmp_path / "both").model.state_dict()
    for name, value in one.items():
        torch.testing.assert_close(two[name], value, atol=1e-3, rtol=1e-3)
