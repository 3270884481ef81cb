"""Scenario files: what they may say, and what a user is told who says something else."""

import pickle
import re
from dataclasses import fields
from pathlib import Path

import pytest
import yaml
from hypothesis import given, strategies as st

from scenarios import (
    DEFAULT_SCENARIO,
    ScenarioError,
    dump_scenario,
    load_experiment,
    load_scenario,
    load_sweep,
    override,
)
from scenarios.config.fusion_rules import RULE_SETTINGS
from scenarios.config.scenario import Scenario
from scenarios.config.yaml_file import dump_yaml, read_value
from simulator import fusion
from simulator.world import WorldConfig

HEAD = "schema: 1\nname: s\n"


def load(tmp_path: Path, text: str | bytes, *overrides: str, **named) -> Scenario:
    path = tmp_path / "s.yaml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return load_scenario(path, overrides, **named)


def refusal(tmp_path: Path, text: str | bytes, *overrides: str, **named) -> str:
    with pytest.raises(ScenarioError) as caught:
        load(tmp_path, text, *overrides, **named)
    return str(caught.value).replace(str(tmp_path) + "/", "")


def test_the_default_scenario_says_what_it_shows():
    scenario = load_scenario(DEFAULT_SCENARIO)
    assert scenario.traffic.n_queries == 100_000
    assert scenario.compare == ("none", "bm25", "hcmrm", "oracle")
    assert scenario.scorer == "hcmrm"
    assert scenario.sweep is not None
    assert scenario.sweep.field == "fusion.relevance"
    # What the file spells out for the reader are the defaults.
    written = yaml.safe_load(DEFAULT_SCENARIO.read_text())
    bare = Scenario(schema=1, name="default").model_dump(mode="json", by_alias=True)
    del written["traffic"]["warm_up_days"]  # the market learns before the day that counts
    for block in ("fusion", "auction", "retrieval", "traffic"):
        assert written[block].items() <= bare[block].items()


def test_dump_and_load_give_the_same_scenario(tmp_path):
    scenario = load_scenario(
        DEFAULT_SCENARIO, ["fusion.rule=tiers", "sweep=null", "auction.reserve=1e-7", "seed=9"]
    )
    path = tmp_path / "again.yaml"
    path.write_text(dump_scenario(scenario))
    assert load_scenario(path) == scenario


def test_a_scenario_is_frozen():
    scenario = Scenario(schema=1, name="s")
    with pytest.raises(ValueError, match="frozen"):
        scenario.seed = 2


def test_every_fusion_rule_can_be_written_and_is_built(tmp_path):
    assert set(RULE_SETTINGS) == set(fusion.RULES)
    for name, rule in fusion.RULES.items():
        built = load(tmp_path, f"{HEAD}fusion: {{rule: {name}}}").fusion.build()
        assert built == rule(), "a block has the rule's own defaults"
        assert isinstance(built, rule)


def test_blocks_of_rules_have_the_ranges_and_sentences_of_the_simulator():
    found = Scenario.model_json_schema()["$defs"]["ProductRule"]["properties"]
    assert list(found) == ["rule", "bid", "pctr", "relevance"]
    assert (found["bid"]["exclusiveMinimum"], found["bid"]["maximum"]) == (0, 10)
    assert found["relevance"]["description"] == "0 ignores relevance."


def test_scenarios_with_any_rule_reach_other_processes():
    for name in fusion.RULES:
        scenario = override(Scenario(schema=1, name="s"), {"fusion": {"rule": name}})
        assert pickle.loads(pickle.dumps(scenario)) == scenario


def test_the_world_s_settings_are_those_of_the_simulator():
    scenario = Scenario(schema=1, name="s")
    assert scenario.world == WorldConfig()
    assert {field.name for field in fields(scenario.world)} == set(scenario.model_dump()["world"])


# Values set over the file


def test_what_is_set_makes_no_file_of_another_kind(tmp_path):
    assert "--set over.x=1, over: unknown key" in refusal(tmp_path, HEAD, "over.x=1")


def test_later_overrides_win_and_create_blocks(tmp_path):
    scenario = load(tmp_path, HEAD, "auction.reserve=0.5", "auction.reserve=0.25", "world.seed=8")
    assert (scenario.auction.reserve, scenario.world.seed) == (0.25, 8)


def test_numbers_with_exponents_are_numbers_on_the_command_line(tmp_path):
    assert load(tmp_path, HEAD, "auction.reserve=1e-3").auction.reserve == 0.001


def test_seed_and_scorer_have_their_own_arguments(tmp_path):
    scenario = load(tmp_path, HEAD + "seed: 1\n", seed=7, scorer="my_module:Scorer")
    assert (scenario.seed, scenario.scorer) == (7, "my_module:Scorer")


def test_another_rule_drops_the_keys_of_the_former(tmp_path):
    text = HEAD + "fusion: {rule: product, relevance: 2}\n"
    scenario = load(tmp_path, text, "fusion.rule=gate", "fusion.threshold=0.4")
    assert scenario.fusion.build() == fusion.Gate(threshold=0.4)
    assert load(tmp_path, text, "fusion.rule=product").fusion.build() == fusion.Product(relevance=2.0)


def test_a_sweep_that_is_left_out_is_not_looked_at(tiny_file):
    rule = ["fusion={rule: formula, expression: b * q}"]
    with pytest.raises(ScenarioError, match="leave the sweep out with --set sweep=null"):
        load_scenario(tiny_file, rule)
    assert load_scenario(tiny_file, rule, sweep=False).sweep is None


def test_override_validates_anew_and_keeps_what_is_fixed():
    scenario = load_scenario(DEFAULT_SCENARIO)
    assert override(scenario, {"fusion.relevance": 2.0}).fusion.build() == fusion.Product(relevance=2.0)
    with pytest.raises(ScenarioError, match=r"default, fusion\.relevance=-1: must be at least 0"):
        override(scenario, {"fusion.relevance": -1})
    with pytest.raises(ScenarioError, match=r"world\.seed: decides which queries and ads there are"):
        override(scenario, {"world.seed": 2}, fixed=("world",))


@pytest.mark.parametrize("text", ["fusion.relevance", "=3", "fusion.=3", ".a=1"])
def test_an_override_without_field_or_value_is_explained(tmp_path, text):
    assert "needs the form field=value" in refusal(tmp_path, HEAD, text)


def test_a_name_of_too_many_parts_is_refused(tmp_path):
    long = "fusion." + "a." * 300 + "b"
    assert "has 302 parts, and no field has more than 16" in refusal(tmp_path, HEAD, f"{long}=1")


def test_an_override_below_a_value_is_refused(tmp_path):
    message = refusal(tmp_path, HEAD + "seed: 1\n", "seed.x=3")
    assert message == "--set seed.x=3: 'seed' holds a value, not a block of keys"


# Refusals: (text, the whole message)

SWEEP = "; change sweep.field or sweep.values, or leave the sweep out with --set sweep=null"

MESSAGES = {
    "unknown key": (
        HEAD + "fusion:\n  relevnace: 1\n",
        "s.yaml, line 4, fusion.relevnace: unknown key; did you mean 'relevance'?",
    ),
    "unknown key at the top": (
        HEAD + "fussion: {}\n",
        "s.yaml, line 3, fussion: unknown key; did you mean 'fusion'?",
    ),
    "unknown key of a dataclass": (
        HEAD + "auction: {reserv: 1}\n",
        "s.yaml, line 3, auction.reserv: unknown key; did you mean 'reserve'?",
    ),
    "key of another block": (
        HEAD + "auction: {examination: [1]}\n",
        "s.yaml, line 3, auction.examination: unknown key; 'examination' belongs under 'users'",
    ),
    "text for a number": (
        HEAD + "auction: {reserve: cheap}\n",
        's.yaml, line 3, auction.reserve: needs a number, got the text "cheap"',
    ),
    "quoted number": (
        HEAD + 'auction: {reserve: "0.1"}\n',
        's.yaml, line 3, auction.reserve: needs a number, got the text "0.1"; remove the quotes',
    ),
    "a block that is of another rule": (
        HEAD + "fusion: {threshold: 0.3}\n",
        "s.yaml, line 3, fusion.threshold: unknown key where rule is 'product'; 'threshold' belongs to gate, "
        "soft_gate",
    ),
    "too many of a list": (
        HEAD + "users: {attraction: [0.1, 0.2, 0.3, 0.4, 0.5]}\n",
        "s.yaml, line 3, users.attraction: takes at most 4 value(s), got 5",
    ),
    "an empty text": (
        HEAD + "market: {kind: corpus, folder: ''}\n",
        "s.yaml, line 3, market.folder: must not be empty",
    ),
    "true for a text": (
        "schema: 1\nname: true\n",
        "s.yaml, line 2, name: needs a text, got the value true; put it in quotes",
    ),
    "hours for a number": (
        HEAD + "traffic: {n_queries: 12:30}\n",
        's.yaml, line 3, traffic.n_queries: needs a whole number, got the text "12:30"',
    ),
    "a name that is a number": (
        "schema: 1\nname: 12\n",
        "s.yaml, line 2, name: needs a text, got the value 12; put it in quotes",
    ),
    "fraction for a count": (
        HEAD + "traffic: {n_queries: 1.5}\n",
        "s.yaml, line 3, traffic.n_queries: needs a whole number, got the value 1.5",
    ),
    "thousands apart": (
        HEAD + "traffic: {n_queries: '20,000'}\n",
        's.yaml, line 3, traffic.n_queries: needs a whole number, got the text "20,000"; write 20000',
    ),
    "blanks in a number": (
        HEAD + "traffic: {n_queries: 1 200 000}\n",
        's.yaml, line 3, traffic.n_queries: needs a whole number, got the text "1 200 000"; write 1200000',
    ),
    "a count with an exponent": (
        HEAD + "traffic: {n_queries: 1e4}\n",
        "s.yaml, line 3, traffic.n_queries: needs a whole number, got the value 10000.0; write 10000",
    ),
    "a percentage": (
        HEAD + "auction: {reserve: 5%}\n",
        's.yaml, line 3, auction.reserve: needs a number, got the text "5%"; write 0.05',
    ),
    "a decimal comma": (
        HEAD + "auction:\n  reserve: 0,25\n",
        's.yaml, line 4, auction.reserve: needs a number, got the text "0,25"; write 0.25',
    ),
    "a home folder": (
        HEAD + "market: {kind: corpus, folder: ~/corpus}\n",
        "s.yaml, line 3, market.folder: '~' stands for no folder here; write the whole path",
    ),
    "a sweep": (
        HEAD + "over: {auction.reserve: [0, 1]}\n",
        "s.yaml: is a sweep, not a scenario; relbid sweep takes it",
    ),
    "an experiment": (
        HEAD + "arms: {A: {}}\n",
        "s.yaml: is an experiment, not a scenario; relbid experiment takes it",
    ),
    "a profile's curve": (
        HEAD + "quartiles: []\n",
        "s.yaml: is a service profile, not a scenario; serving.profile names it",
    ),
    "true for a number": (
        HEAD + "auction: {reserve: true}\n",
        "s.yaml, line 3, auction.reserve: needs a number, got the value true",
    ),
    "nothing for a number": (
        HEAD + "auction:\n  reserve:\n",
        "s.yaml, line 4, auction.reserve: needs a number, got nothing",
    ),
    "nothing for a block": (
        HEAD + "auction:\n",
        "s.yaml, line 3, auction: needs a block of keys, got nothing",
    ),
    "list for a block": (HEAD + "users: [1]\n", "s.yaml, line 3, users: needs a block of keys, got a list"),
    "text for a list": (
        HEAD + "compare: bm25\n",
        's.yaml, line 3, compare: needs a list, got the text "bm25"',
    ),
    "not a number": (
        HEAD + "auction: {reserve: .nan}\n",
        "s.yaml, line 3, auction.reserve: needs a finite number, got .nan",
    ),
    "infinite": (
        HEAD + "auction: {reserve: -.inf}\n",
        "s.yaml, line 3, auction.reserve: needs a finite number, got -.inf",
    ),
    "too small": (
        HEAD + "fusion: {bid: 0}\n",
        "s.yaml, line 3, fusion.bid: must be greater than 0, got the value 0",
    ),
    "too large": (
        HEAD + "fusion: {rule: gate, threshold: 2}\n",
        "s.yaml, line 3, fusion.threshold: must be at most 1, got the value 2",
    ),
    "out of the simulator's range": (
        HEAD + "auction: {reserve: -1}\n",
        "s.yaml, line 3, auction.reserve: must be at least 0, got the value -1",
    ),
    "out of the world's range": (
        HEAD + "world:\n  seed: 2\n  colour_share: 1.5\n",
        "s.yaml, line 5, world.colour_share: must be at most 1, got the value 1.5",
    ),
    "a world that does not fit": (
        HEAD + "world: {frame_size: 2000}\n",
        "s.yaml, line 3, world.frame_size: all frames would take 670.6 GiB, the limit is 4",
    ),
    "more ads than any machine holds, of frames that take little": (
        HEAD + "world: {frames: 1, frame_size: 1, glyph_min: 1, glyph_max: 1, test_advertisers: 1000000,\n"
        "  test_ads_per_advertiser: 1000}\n",
        "s.yaml, line 4, world.test_ads_per_advertiser: 1,000,000 advertisers would have 1,000,000,000 ads, "
        "the limit is 4,000,000",
    ),
    "unknown rule": (
        HEAD + "fusion:\n  rule: prodct\n",
        "s.yaml, line 4, fusion.rule: unknown rule 'prodct'; did you mean 'product'? "
        "(there are product, gate, soft_gate, linear, tiers, exponential, learnt, formula, custom)",
    ),
    "unknown scorer": (
        HEAD + "scorer: hcmr\n",
        "s.yaml, line 3, scorer: unknown scorer 'hcmr'; did you mean 'hcmrm'? "
        "(there are none, bm25, hcmrm, oracle, minilm, {bi_encoder: FOLDER}, {cross_encoder: FOLDER}, "
        "and your own as module:attr)",
    ),
    "unknown scorer in a list": (
        HEAD + "compare:\n  - none\n  - oracel\n",
        "s.yaml, line 5, compare[1]: unknown scorer 'oracel'; did you mean 'oracle'? "
        "(there are none, bm25, hcmrm, oracle, minilm, {bi_encoder: FOLDER}, {cross_encoder: FOLDER}, "
        "and your own as module:attr)",
    ),
    "unknown mechanism": (
        HEAD + "auction: {mechanism: gps}\n",
        "s.yaml, line 3, auction: unknown auction mechanism 'gps': known are gsp, vcg, first_price",
    ),
    "unknown split": (
        HEAD + "split: tets\n",
        "s.yaml, line 3, split: must be 'train', 'validation' or 'test', got the text \"tets\"; "
        "did you mean 'test'?",
    ),
    "too few numbers": (
        HEAD + "users: {attraction: [0.1, 0.2, 0.3]}\n",
        "s.yaml, line 3, users.attraction: needs a 4th value",
    ),
    "item of a list": (
        HEAD + "sweep:\n  values: [1, two]\n",
        's.yaml, line 4, sweep.values[1]: needs a number, got the text "two"',
    ),
    "empty list": (HEAD + "sweep: {values: []}\n", "s.yaml, line 3, sweep.values: needs at least 1 value(s)"),
    "thresholds that fall": (
        HEAD + "fusion: {rule: tiers, thresholds: [0.6, 0.3]}\n",
        "s.yaml, line 3, fusion.thresholds: must rise from one number to the next",
    ),
    "sweep of an unknown field": (
        HEAD + "sweep: {field: fusion.relevnace}\n",
        "s.yaml, line 3, sweep: fusion.relevnace=0.25: unknown key; did you mean 'relevance'?" + SWEEP,
    ),
    "sweep out of range": (
        HEAD + "sweep: {values: [1, -1]}\n",
        "s.yaml, line 3, sweep: fusion.relevance=-1: must be at least 0, got the value -1" + SWEEP,
    ),
    "sweep of the world": (
        HEAD + "sweep: {field: world.seed}\n",
        "s.yaml, line 3, sweep: world.seed: decides which queries and ads there are; set it in the scenario"
        + SWEEP,
    ),
    "the same key twice": (
        HEAD + "seed: 1\nseed: 2\n",
        "s.yaml, line 4, seed: is there twice; remove one (YAML would silently take the last)",
    ),
    "missing schema": ("name: s\n", "s.yaml, schema: is missing; add it"),
    "a name with a space": (
        "schema: 1\nname: my market\n",
        "s.yaml, line 2, name: must begin with a letter or digit, hold nothing but letters (A to Z), digits "
        'and _ . -, and have at most 64 characters, got the text "my market"',
    ),
    "no name": (
        "schema: 1\nname: x\nhcmrm: {checkpoint: ''}\n",
        "s.yaml, line 3, hcmrm.checkpoint: must not be empty",
    ),
    "newer schema": ("schema: 2\nname: s\n", "s.yaml, line 1, schema: must be 1, got the value 2"),
    "true is no schema": ("schema: true\nname: s\n", "s.yaml, line 1, schema: must be 1, got the value true"),
    "empty": ("", "s.yaml: is empty; a scenario needs at least 'schema: 1' and a 'name'"),
    "only comments": ("# nothing\n", "s.yaml: is empty; a scenario needs at least 'schema: 1' and a 'name'"),
    "a list": ("- a\n", "s.yaml: needs 'key: value' lines at the top, found a list"),
    "a text": ("hello\n", "s.yaml: needs 'key: value' lines at the top, found the text \"hello\""),
    "two documents": (
        HEAD + "---\nname: t\n",
        "s.yaml, line 3: not valid YAML: a second document begins here with '---'; a file holds one",
    ),
    "tab": (
        HEAD + "fusion:\n\trelevance: 1\n",
        "s.yaml, line 4: not valid YAML: a tab where a line or value begins; indent with spaces, not tabs",
    ),
    "open bracket": (
        HEAD + "compare: [none\n",
        "s.yaml, line 3: not valid YAML: the bracket that opens here is never closed; ']' is missing",
    ),
    "no comma": (
        HEAD + "compare: ['none' 'bm25']\n",
        "s.yaml, line 3: not valid YAML: a comma or ']' is missing here",
    ),
    "open quote": (
        HEAD + "split: 'test\nseed: 1\n",
        "s.yaml, line 3: not valid YAML: the quote that opens here is never closed",
    ),
    "a value indented as a key": (
        HEAD + "seed: 1\n  split: test\n",
        "s.yaml, line 4: not valid YAML: a ': ' where no key can stand; indent the line as those "
        "above, or put a text that holds ': ' in quotes",
    ),
    "an item after keys": (
        HEAD + "- seed: 1\n",
        "s.yaml, line 3: not valid YAML: does not go on as the lines above it begin; check its "
        "indentation, and "
        "whether a '-' or a 'key:' is missing",
    ),
    "lines of a merge": (
        HEAD + "<<<<<<< HEAD\nseed: 1\n=======\n",
        "s.yaml, line 3: not valid YAML: needs 'key: value'; there is no ': ' after the key",
    ),
    "two values of JSON": (
        '{"schema": 1}\n{"name": "s"}\n',
        "s.yaml, line 2: not valid YAML: something follows after the end of the value; a file "
        "holds one block of "
        "keys",
    ),
    "an alias of nothing": (
        HEAD + "compare: *all\n",
        "s.yaml, line 3: not valid YAML: the alias *all has no anchor &all above it",
    ),
    "another version": (
        "%YAML 1.3\n---\n" + HEAD,
        "s.yaml: not valid YAML: '%YAML' names another version than 1.1 or 1.2; leave it out",
    ),
    "a space of a web page": (
        "schema:\u00a01\nname: s\nseed: 1\n",
        "s.yaml, line 1: not valid YAML: the sign U+00A0 after a key; type a plain space",
    ),
    "a colon of a Chinese keyboard": (
        "schema: 1\nname\uff1as\nseed: 1\n",
        "s.yaml, line 2: not valid YAML: the sign U+FF1A after a key; type ':' and a space",
    ),
    "a list of rules": (
        HEAD + "fusion: {rule: [gate, linear]}\n",
        "s.yaml, line 3, fusion.rule: must be one of product, gate, soft_gate, linear, tiers, "
        "exponential, learnt, "
        "formula, custom, got a list",
    ),
    "no rule": (
        HEAD + "fusion: {rule: null, within: {rule: 5}}\n",
        "s.yaml, line 3, fusion.rule: must be one of product, gate, soft_gate, linear, tiers, "
        "exponential, learnt, "
        "formula, custom, got nothing",
    ),
    "no kind of market": (
        HEAD + "market: {folder: x}\n",
        "s.yaml, line 3, market: needs the key 'kind' to say which kind it is; it is one of "
        "corpus, table, world",
    ),
    "an unknown key in a list": (
        HEAD + "bidders: {policies: [{name: fixed, policy: fixed, share: 1}]}\n",
        "s.yaml, line 3, bidders.policies[0].name: unknown key; there are policy, share, settings",
    ),
    "digits of another script": (
        HEAD + "auction: {reserve: \u0660.\u0661}\n",
        's.yaml, line 3, auction.reserve: needs a number, got the text "\\u0660.\\u0661"',
    ),
    "a profile without a name": (
        HEAD + "serving: {profile: ''}\n",
        "s.yaml, line 3, serving.profile: is empty; name the file that relbid profile writes, "
        "or leave it out",
    ),
    "per cent of a whole number": (
        HEAD + "traffic: {n_queries: 10%}\n",
        's.yaml, line 3, traffic.n_queries: needs a whole number, got the text "10%"',
    ),
    "a decimal comma between braces": (
        HEAD + "auction: {reserve: 0,05}\n",
        "s.yaml, line 3, auction.05: a comma begins another key here; write 0.05 for 0,05, and "
        "1000 for 1,000",
    ),
    "values in a list of lists": (
        HEAD + "serving: {profile: [[a, 1], [b, 2]]}\n",
        's.yaml: 2 problems\n  s.yaml, line 3, serving.profile[0][0]: needs a number, got the text "a"\n'
        '  s.yaml, line 3, serving.profile[1][0]: needs a number, got the text "b"',
    ),
    "a list as key": (HEAD + "[1, 2]: 3\n", "s.yaml, line 3: a key must be a plain word"),
    "unsafe tag": (
        HEAD + "seed: !!python/object/apply:os.system [true]\n",
        "s.yaml, line 3, seed: the tag !!python/object/apply:os.system has no meaning here; leave it out",
    ),
    "an escape of no character": (
        HEAD + 'split: "\\UFFFFFFFF"\n',
        "s.yaml, line 3: not valid YAML: an escape of no character",
    ),
    "alias to itself": (
        HEAD + "compare: &a [*a]\n",
        "s.yaml, line 3, compare[0]: the alias refers to itself; write the value out",
    ),
    "not UTF-8": (
        b"schema: 1\nname: caf\xe9\n",
        "s.yaml, line 2: not UTF-8 (byte 0xe9); save it with UTF-8 encoding",
    ),
    "UTF-32": (HEAD.encode("utf-32"), "s.yaml: is in UTF-32; save it with UTF-8 encoding"),
    "UTF-16": (HEAD.encode("utf-16"), "s.yaml: is in UTF-16; save it with UTF-8 encoding"),
}


@pytest.mark.parametrize(("text", "message"), MESSAGES.values(), ids=MESSAGES.keys())
def test_refusals_name_line_field_and_remedy(tmp_path, text, message):
    assert refusal(tmp_path, text) == message


@pytest.mark.parametrize(
    ("written", "value"),
    [("010", 10), ("1e3", 1000.0), ("5", 5), ("0x10", 16)],
)
def test_numbers_are_those_of_yaml_1_2(tmp_path, written, value):
    assert load(tmp_path, f"{HEAD}auction: {{reserve: {written}}}\n").auction.reserve == value


@pytest.mark.parametrize("word", ["no", "yes", "on", "off", "n", "y"])
def test_words_that_yaml_1_1_took_for_true_or_false_are_texts(tmp_path, word):
    assert load(tmp_path, f"schema: 1\nname: {word}\n").name == word


TEXTS = ["no", "on", "y", "010", "12:30", "1e-3", "0o10", "09", "-.5", "1_0", "true", "null", "~", "", ".inf"]
TEXTS += [
    "2020-01-01",
    "=",
    "<<",
    "a: b",
    " x ",
    "#",
    "'",
    '"',
    "a\nb\n",
    "\u2028",
    "\ufeff",
    "\U0001f600",
    "-",
]


@pytest.mark.parametrize("text", TEXTS)
def test_a_text_is_written_so_that_yaml_1_1_and_1_2_read_it_back(text):
    written = dump_yaml({"key": text, "list": [text]})
    assert yaml.safe_load(written) == {"key": text, "list": [text]}
    assert read_value(written) == {"key": text, "list": [text]}


signs = st.characters(exclude_characters="\x85", exclude_categories=["Cs"])  # PyYAML folds U+0085 as a break
plain = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(signs, max_size=8)


@given(
    data=st.recursive(
        plain, lambda inner: st.lists(inner) | st.dictionaries(st.text(signs, min_size=1), inner)
    )
)
def test_whatever_is_written_reads_back(data):
    try:
        assert read_value(dump_yaml({"key": data})) == {"key": data}
    except ScenarioError as error:
        assert re.search("NUL or half|plain word", str(error))


def test_merge_keys_take_what_the_block_does_not_say(tmp_path):
    text = (
        HEAD + "auction: &a {reserve: 0.5}\nserving: {}\nfusion: {<<: [{relevance: 2}, {bid: 3}], bid: 1}\n"
    )
    fusion = load(tmp_path, text).fusion
    assert (fusion.relevance, fusion.bid) == (2, 1)


def test_all_problems_are_told_at_once_in_the_order_of_the_file(tmp_path):
    message = refusal(tmp_path, "schema: 1\nname: s\nseed: x\nauction: {reserve: .inf}\n", "fusion.x=1")
    assert message.splitlines() == [
        "s.yaml: 3 problems",
        '  s.yaml, line 3, seed: needs a whole number, got the text "x"',
        "  s.yaml, line 4, auction.reserve: needs a finite number, got .inf",
        "  s.yaml, --set fusion.x=1: unknown key where rule is 'product'; there are rule, bid, pctr, "
        "relevance",
    ]


def test_aliases_that_expand_a_thousandfold_are_refused_before_they_do(tmp_path):
    levels = "".join(f"l{i}: &l{i} [{', '.join([f'*l{i - 1}'] * 9)}]\n" for i in range(1, 9))
    assert "more than 10000 values" in refusal(tmp_path, HEAD + "l0: &l0 [x]\n" + levels)


def test_a_deep_nest_is_refused(tmp_path):
    assert "nested too deeply" in refusal(tmp_path, HEAD + "x: " + "[" * 5000 + "]" * 5000)


def test_a_huge_file_is_refused_unread(tmp_path):
    said = refusal(tmp_path, "#" * 1_000_001)
    assert "too long for a scenario" in said
    assert said.count("s.yaml") == 1


def test_a_byte_order_mark_is_no_trouble(tmp_path):
    assert load(tmp_path, b"\xef\xbb\xbf" + HEAD.encode()).name == "s"


def test_missing_files_and_folders_are_named(tmp_path):
    (tmp_path / "default.yaml").write_text(HEAD)
    for path, words in {
        "defualt.yaml": r"no such file; did you mean 'default.yaml'\?",
        "other.txt": r"no such file; relbid run scenarios/default.yaml runs the built-in one",
        "": r"is a folder; name a scenario file in it",
    }.items():
        with pytest.raises(ScenarioError, match=re.escape(str(tmp_path / path)) + ": " + words):
            load_scenario(tmp_path / path)
    (tmp_path / "astray.yaml").symlink_to("gone.yaml")
    with pytest.raises(ScenarioError, match=r"astray\.yaml: no such file; (?!did you mean 'astray)"):
        load_scenario(tmp_path / "astray.yaml")


def test_files_of_relbid_are_found_in_any_folder_by_the_name_that_they_have_in_a_clone(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert load_scenario("scenarios/default.yaml") == load_scenario(DEFAULT_SCENARIO)
    assert load_experiment("scenarios/experiments/gate.yaml").experiment.name == "gate"
    assert load_sweep("scenarios/sweeps/retention.yaml").scenario.name == "retention"  # by ../retention.yaml
    with pytest.raises(ScenarioError, match=r"^scenarios/none.yaml: no such file"):
        load_scenario("scenarios/none.yaml")
    (tmp_path / "scenarios").mkdir()
    (tmp_path / "scenarios" / "default.yaml").write_text(HEAD)
    assert load_scenario("scenarios/default.yaml").name == "s"  # one's own comes first


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@given(data=st.dictionaries(st.sampled_from([*Scenario.model_json_schema()["properties"], "x"]), values))
def test_whatever_a_file_says_the_answer_is_a_scenario_or_one_message(tmp_path_factory, data):
    path = tmp_path_factory.getbasetemp() / "any.yaml"
    path.write_text(yaml.safe_dump(data, allow_unicode=True), encoding="utf-8")
    try:
        assert isinstance(load_scenario(path), Scenario)
    except ScenarioError as error:
        assert str(path) in str(error)


@given(raw=st.binary(max_size=60))
def test_whatever_bytes_a_file_holds_the_answer_is_one_message(tmp_path_factory, raw):
    path = tmp_path_factory.getbasetemp() / "bytes.yaml"
    path.write_bytes(raw)
    with pytest.raises(ScenarioError, match=r"bytes\.yaml"):
        load_scenario(path)


@given(text=st.text(max_size=30))
def test_whatever_is_set_the_answer_is_a_scenario_or_one_message(text):
    try:
        load_scenario(DEFAULT_SCENARIO, [f"fusion.relevance={text}"])
    except ScenarioError as error:
        assert "fusion.relevance" in str(error)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["users.return_elasticity=2"], "traffic.sessions.population: must be above 0"),
        (
            ["users.conversion_rate=0", "bidders.churn.least_return=1"],
            "users.conversion_rate=0: must be above 0: bidders.churn.least_return",
        ),
        (
            ["users.conversion_rate=0", "bidders.policies=[{policy: target_cpa, share: 1.0}]"],
            "must be above 0: target_cpa looks at",
        ),
        (["users.conversion_rate=0"], "must be above 0: bidders.match_bids.learn looks at conversions"),
    ],
)
def test_blocks_that_need_one_another_say_so(settings, message):
    with pytest.raises(ScenarioError, match=re.escape(message)):
        load_scenario(DEFAULT_SCENARIO, settings)
