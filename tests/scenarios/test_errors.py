"""Errors hold their parts; settings and keys of scenarios are data."""

import copy
import pickle

import pytest

from relevance.errors import (
    CheckpointError,
    CorpusError,
    Place,
    PluginError,
    ScorerError,
    TrainError,
    UserError,
    in_words,
)
from scenarios import (
    DEFAULT_SCENARIO,
    ScenarioError,
    StoreError,
    dump_scenario,
    load_scenario,
    override,
    result_folder,
    scenario_key,
)
from scenarios.config import yaml_file
from scenarios.config.load import Source
from scenarios.errors import Setting, TableError

ERROR = ScenarioError(
    "must be at most 1", file="s.yaml", line=3, field="a.b", value="the value 2", remedy="halve it"
)


def test_the_message_is_made_of_the_parts():
    assert str(ERROR) == "s.yaml, line 3, a.b: must be at most 1, got the value 2; halve it"
    assert str(ERROR.at()) == "must be at most 1, got the value 2; halve it"
    assert (
        str(ERROR.at(*Place("t.yaml", None, "c")))
        == "t.yaml, c: must be at most 1, got the value 2; halve it"
    )
    assert str(UserError("no")) == "no"
    assert (
        str(StoreError(ERROR.but(value=None), file="r"))
        == "r: s.yaml, line 3, a.b: must be at most 1; halve it"
    )


def test_a_setting_stands_in_the_place_of_a_line():
    error = ERROR.but(setting=Setting("a.b", 2), value=None, remedy=None)
    assert str(error) == "s.yaml, a.b=2: must be at most 1"
    assert str(error.but(setting=Setting("a", {"b": 2}))) == 's.yaml, a={"b": 2}, a.b: must be at most 1'
    assert (
        str(error.but(setting=Setting("a.b", 2, "--set a.b=2e0")))
        == "s.yaml, --set a.b=2e0: must be at most 1"
    )
    assert str(error.at("t.yaml", 1)) == "t.yaml, line 1: must be at most 1", (
        "a place takes the setting's place"
    )


def test_another_place_leaves_the_error_as_it_was():
    before = str(ERROR)
    ERROR.at("t.yaml", 9, "z").but(remedy="leave it")
    assert str(ERROR) == before


@pytest.mark.parametrize("again", [copy.copy, lambda error: pickle.loads(pickle.dumps(error))])
def test_copies_have_all_parts(again):
    """Workers send errors to the process that started them."""
    several = ScenarioError("2 problems", file="s.yaml", problems=(ERROR, ERROR))
    for error in (ERROR, several, TableError(ERROR, file="t")):
        assert str(again(error)) == str(error)
        assert type(again(error)) is type(error)


@pytest.mark.parametrize(
    "kind",
    [
        CheckpointError,
        CorpusError,
        PluginError,
        ScenarioError,
        ScorerError,
        StoreError,
        TableError,
        TrainError,
    ],
)
def test_every_error_of_a_user_s_has_the_same_base(kind):
    assert str(kind("is damaged", file="f", remedy="write it again")) == "f: is damaged; write it again"
    assert issubclass(kind, UserError)


def test_what_is_wrong_with_a_file_is_told_in_parts_too(tmp_path):
    path = tmp_path / "s.yaml"
    path.write_text("schema: 1\nname: s\nauction: {reserve: '0.1'}\nseed: x\n")
    with pytest.raises(ScenarioError) as caught:
        load_scenario(path)
    reserve, seed = caught.value.problems
    assert (reserve.file, reserve.line, reserve.field) == (str(path), 3, "auction.reserve")
    assert (reserve.reason, reserve.value, reserve.remedy) == (
        "needs a number",
        'the text "0.1"',
        "remove the quotes",
    )
    assert (seed.line, seed.field) == (4, "seed")
    with pytest.raises(ScenarioError) as caught:
        override(load_scenario(DEFAULT_SCENARIO), {"fusion.relevance": -1})
    assert (caught.value.file, caught.value.field) == ("default", "fusion.relevance")
    assert caught.value.setting == Setting("fusion.relevance", -1)


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (
            "Error while deserializing header: header too large",
            "a weights file (.safetensors) is cut off, or of",
        ),
        (
            'Error(s) in loading state_dict for HCMRM: Missing key(s) in state_dict: "a"',
            "holds values of another",
        ),
        (
            "You set `ignore_mismatched_sizes` to `False`, thus raising an error.",
            "holds values of another kind",
        ),
        ("array of shape (1,16) could not be broadcast to (1,99)", "holds values of another kind"),
        ("Input should be a valid tuple", "Input should be a list"),
        ("no rows in the file", "no rows in the file"),
    ],
)
def test_what_libraries_say_is_told_in_plain_words(said, told):
    assert in_words(ValueError(said)).startswith(told)


def test_a_place_takes_the_line_of_the_nearest_value_above():
    source = Source("s.yaml", {("a",): 2, ("a", "b"): 3})
    assert source.at("a", "b", 0) == ("s.yaml", 3, "a.b[0]")
    assert str(source.at("a", "c")) == "s.yaml, line 2, a.c"
    assert str(source.at()) == "s.yaml"


def test_values_that_are_set_never_pass_through_text(monkeypatch):
    scenario = load_scenario(DEFAULT_SCENARIO)

    def fail(*_: object) -> None:
        raise AssertionError("a value was read from a text")

    monkeypatch.setattr(yaml_file, "_parse", fail)
    changed = override(
        scenario,
        {
            "sweep": None,
            "fusion.rule": "gate",
            "fusion.threshold": 0.4,
            "fusion.within.relevance": 1e-7,
            "seed": 5.0,
        },
    )
    assert (changed.seed, changed.fusion.threshold, changed.fusion.within.relevance) == (5, 0.4, 1e-7)


@pytest.mark.parametrize("value", ["1e3", "0.5", "true", "null"])
def test_a_text_that_is_set_stays_a_text(value):
    with pytest.raises(ScenarioError, match=r"fusion\.relevance=\"\w.*: needs a number"):
        override(load_scenario(DEFAULT_SCENARIO), {"fusion.relevance": value})


def test_what_is_set_is_not_changed():
    block = {"within": {"relevance": 1.0}, "rule": "gate"}
    override(load_scenario(DEFAULT_SCENARIO), {"fusion": block, "fusion.threshold": 0.5})
    assert block == {"within": {"relevance": 1.0}, "rule": "gate"}


@pytest.mark.parametrize("value", ["a\0b", "\ud800"])
def test_texts_that_no_file_may_hold_cannot_be_set(value):
    for settings in ({"hcmrm.checkpoint": value}, {"hcmrm": {"checkpoint": value}}):
        with pytest.raises(ScenarioError, match="NUL or half a character"):
            override(load_scenario(DEFAULT_SCENARIO), settings)


def test_equal_scenarios_have_one_key_and_others_have_others(tmp_path):
    scenario = load_scenario(DEFAULT_SCENARIO)
    key = scenario_key(scenario)
    assert scenario_key(load_scenario(DEFAULT_SCENARIO)) == key
    assert result_folder(tmp_path, scenario).name == f"default-{key}"
    assert dump_scenario(scenario) is dump_scenario(scenario), "it is written once"
    for other in (override(scenario, {"seed": 2}), scenario.model_copy(update={"seed": 2})):
        assert scenario_key(other) != key
        assert "seed: 2\n" in dump_scenario(other)
    assert scenario == load_scenario(DEFAULT_SCENARIO), "its text is no part of it"
