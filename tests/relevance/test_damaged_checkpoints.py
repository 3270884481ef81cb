"""Checkpoints that are damaged, of other sizes, other words or another version; and pickles."""

import json
import pickle
import shutil
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from relevance.errors import CheckpointError
from relevance.hcmrm.checkpoint import SHIPPED, Checkpoint
from relevance.hcmrm.training.state_file import read_state, write_state


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    """The shipped checkpoint as it is written today."""
    folder = tmp_path_factory.mktemp("checkpoint") / "model"
    Checkpoint.load(SHIPPED).save(folder)
    return folder


@pytest.fixture
def model(whole, tmp_path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "model"))


def refusal(folder: Path) -> str:
    with pytest.raises(CheckpointError) as caught:
        Checkpoint.load(folder)
    assert str(folder) in str(caught.value)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_what_was_written_says_its_version_and_loads(model):
    with safe_open(model / "model.safetensors", "pt") as file:
        assert file.metadata()["schema"] == "1"
    assert Checkpoint.load(model).model.config.vocab_size > 0


@pytest.mark.parametrize("keep", [0, 7, 100, -1000, -1])
def test_truncated_weights(model, keep):
    weights = model / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:keep])
    assert "damaged checkpoint" in refusal(model)


def rewrite(model: Path, change, **header: str) -> None:
    path = model / "model.safetensors"
    with safe_open(path, "pt") as file:
        before = file.metadata()
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path, metadata={**before, **header})


def test_weights_of_other_shapes(model):
    def narrow(tensors):
        tensors["grade_head.weight"] = tensors["grade_head.weight"][:, :-1].contiguous()

    rewrite(model, narrow)
    assert "damaged checkpoint" in refusal(model)


def test_weights_that_are_missing_or_too_many(model):
    rewrite(model, lambda tensors: tensors.pop("grade_head.bias"))
    assert "damaged checkpoint" in refusal(model)
    rewrite(model, lambda tensors: tensors.update({"other": torch.zeros(1)}))
    assert "damaged checkpoint" in refusal(model)


def test_weights_that_are_no_numbers(model):
    rewrite(model, lambda tensors: tensors["grade_head.bias"].fill_(float("nan")))
    assert "not finite" in refusal(model)


def test_another_version(model):
    rewrite(model, lambda tensors: None, schema="2")
    assert "has the schema version 2, this relbid reads 1" in refusal(model)


def test_another_vocabulary_of_the_same_size(model):
    """Two words that change places: every shape fits, and every text would be read as another."""
    path = model / "tokenizer.json"
    tokenizer = json.loads(path.read_text())
    words = tokenizer["model"]["vocab"]
    a, b = list(words)[-2:]
    words[a], words[b] = words[b], words[a]
    path.write_text(json.dumps(tokenizer))
    assert "tokenizer.json or keywords.json belong to other weights" in refusal(model)


def test_a_vocabulary_of_another_size(model):
    rewrite(model, lambda tensors: None, texts="")
    path = model / "tokenizer.json"
    tokenizer = json.loads(path.read_text())
    tokenizer["model"]["vocab"]["zzzzz"] = max(tokenizer["model"]["vocab"].values()) + 1
    path.write_text(json.dumps(tokenizer))
    assert "belong to other weights" in refusal(model)


def test_weights_that_say_nothing_are_taken_as_they_are():
    """Those that were written before weights said their version."""
    assert Checkpoint.load(SHIPPED)


class _Harm:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_a_pickle_is_never_run(model, tmp_path):
    mark = tmp_path / "was run"
    for name in ("model.safetensors", "training.json", "keywords.json", "tokenizer.json"):
        whole = (model / name).read_bytes()
        (model / name).write_bytes(pickle.dumps(_Harm(mark)))
        refusal(model)
        torch.save({"x": _Harm(mark)}, model / name)
        refusal(model)
        (model / name).write_bytes(whole)
    assert not mark.exists()
    state = tmp_path / "training-state.safetensors"
    torch.save({"x": _Harm(mark)}, state)
    with pytest.raises(CheckpointError, match="damaged"):
        read_state(state)
    assert not mark.exists()


def test_a_state_reads_back_as_it_was(tmp_path):
    state = {
        "model": {"a": torch.arange(6.0).reshape(2, 3), "b": torch.tensor(3)},
        "optimizer": {
            "state": {0: {"step": torch.tensor(1.0)}},
            "groups": [{"betas": (0.9, 0.98), "lr": 1e-3}],
        },
        "slow": None,
        "step": 7,
        "stage": "align",
        "half": torch.ones(2, dtype=torch.bfloat16),
    }
    write_state(tmp_path / "state.safetensors", state)
    back = read_state(tmp_path / "state.safetensors")
    assert list(back) == list(state)
    assert back["optimizer"]["groups"] == state["optimizer"]["groups"]
    assert back["optimizer"]["state"][0]["step"] == 1.0
    assert torch.equal(back["model"]["a"], state["model"]["a"])
    assert back["half"].dtype == torch.bfloat16
    assert (back["slow"], back["step"], back["stage"]) == (None, 7, "align")
    for keep in (0, 5, -1):
        damaged = tmp_path / "damaged.safetensors"
        damaged.write_bytes((tmp_path / "state.safetensors").read_bytes()[:keep])
        with pytest.raises(CheckpointError, match="damaged"):
            read_state(damaged)


@pytest.mark.parametrize(
    ("file", "change", "says"),
    [
        ("config.json", {"hidden_size": "16"}, "model.hidden_size: input should be a valid integer, got 16"),
        ("config.json", {"match_head": "no"}, "model.match_head: input should be a valid boolean, got no"),
        ("config.json", {"model_type": "bert"}, "'model_type' is 'bert', needs 'hcmrm'"),
        ("config.json", {"num_heads": 5}, "5 text heads do not divide the width"),
        ("config.json", {"grade_tree": [[0, 0], [2, 3]]}, "every branch needs grades, and they must rise"),
        ("training.json", {"corpora": None}, "corpora: needs a list of corpora"),
        ("training.json", {"corpora": [7]}, "corpora: needs a list of corpora"),
    ],
)
def test_a_value_that_cannot_be_is_told_with_its_file(model, file, change, says):
    path = model / file
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    said = refusal(model)
    assert said.startswith(str(path))
    assert says in said
    assert "train it again or restore it from git" in said


def test_weights_of_another_model_are_told_by_their_first_tensor(model):
    def other(tensors):
        kept = dict(tensors)
        tensors.clear()
        tensors.update({f"bert.{name}": value for name, value in kept.items()})

    rewrite(model, other)
    said = refusal(model)
    assert said.startswith(str(model / "model.safetensors"))
    assert "lacks the tensor '" in said
    assert "which the sizes in config.json ask for" in said
    assert "state_dict" not in said


def test_a_folder_whose_name_stands_in_the_reason_is_named_all_the_same(model, monkeypatch):
    rewrite(model, lambda tensors: tensors.popitem())
    folder = model.rename(model.parent / "checkpoint")
    monkeypatch.chdir(folder.parent)
    assert refusal(Path("checkpoint")).startswith("checkpoint/model.safetensors: damaged checkpoint")


def test_a_vocabulary_without_a_token_for_unknown_words(model):
    path = model / "tokenizer.json"
    tokenizer = json.loads(path.read_text())
    tokenizer["model"]["unk_token"] = "[NONE]"
    path.write_text(json.dumps(tokenizer))
    weights = model / "model.safetensors"
    save_file(load_file(weights), weights)  # of no texts in particular
    assert refusal(model).startswith(f"{path}: damaged tokenizer")


def test_a_file_in_the_place_of_a_folder(tmp_path):
    (tmp_path / "model.zip").write_bytes(b"PK")
    said = refusal(tmp_path / "model.zip")
    assert said == f"{tmp_path / 'model.zip'}: is a file, not a folder; name a folder"
