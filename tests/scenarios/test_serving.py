"""Serving from a scenario file: measured profiles, fallbacks, two stages, sweeps."""

import json
from pathlib import Path

import numpy as np
import pytest

from scenarios import ScenarioError, load_scenario, prepare, relevance_of, simulate
from scenarios.models.profiling import measure_profile
from scenarios.runs.results import result_folder
from scenarios.runs.scenario_run import run_scenario
from simulator import serving

PROFILE = {
    "kind": "service profile",
    "schema": 1,
    "scorer": "hcmrm",
    "scenario": "default",
    "machine": {"processor": "an abacus"},
    "repeats": 3,
    "points": [[1, 0.5], [100, 20.0]],
    "quartiles": [[0.4, 0.6], [19.0, 21.0]],
}


@pytest.fixture
def profile_file(tmp_path: Path) -> Path:
    path = tmp_path / "profile.json"
    path.write_text(json.dumps(PROFILE))
    return path


def test_points_of_a_profile_are_part_of_the_scenario_and_its_name_is_not(tiny_file, profile_file):
    named = load_scenario(tiny_file, [f"serving.profile={profile_file}"])
    inlined = load_scenario(tiny_file, ["serving.profile=[[1, 0.5], [100, 20.0]]"])
    assert named == inlined
    assert named.serving.profile == ((1.0, 0.5), (100.0, 20.0))
    profile_file.write_text(json.dumps({**PROFILE, "points": [[1, 0.5], [100, 21.0]]}))
    slower = load_scenario(tiny_file, [f"serving.profile={profile_file}"])
    assert len({result_folder(Path(), scenario) for scenario in (named, inlined, slower)}) == 2


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            None,
            r"tiny.yaml, serving.profile: .*profile.json: no such file; relbid profile SCENARIO --out FILE",
        ),
        ("{", "profile.json, line 1: not valid YAML"),
        (json.dumps({**PROFILE, "points": [[1, 0.5]]}), "profile.json, line 1, points: needs at least 2"),
        (json.dumps({**PROFILE, "points": [[1, 0.5], [2, 0.4]]}), "points: .*never fall"),
        (json.dumps({**PROFILE, "points": [[1, "fast"], [2, 0.4]]}), r"points\[0\].*: needs a number"),
        (json.dumps({**PROFILE, "quartiles": [[0.4, 0.6]]}), "quartiles: 1 pairs for 2 points"),
        (json.dumps({**PROFILE, "quartiles": [[0.4, 0.6], [3, 2]]}), "lower quartile is above its upper"),
    ],
)
def test_damaged_profile_is_refused_in_words(tiny_file, profile_file, content, message):
    profile_file.unlink() if content is None else profile_file.write_text(content)
    with pytest.raises(ScenarioError, match=message):
        load_scenario(tiny_file, [f"serving.profile={profile_file}"])


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("serving.fallback=bm52", "did you mean 'bm25'.* or 'skip' for no ads"),
        ("serving.first_stage=hcrm", "did you mean 'hcmrm'"),
        ("serving.servers=1.5", "serving.servers=1.5: needs a whole number"),
        ("serving.timeout_s=0", "serving.timeout_s=0: must be greater than 0"),
        ("serving={timeout_s: 0.01, window_s: 0.02}", "must be longer than window_s"),
    ],
)
def test_wrong_setting_is_refused_in_words(tiny_file, setting, message):
    with pytest.raises(ScenarioError, match=message):
        load_scenario(tiny_file, [setting])


def test_measuring_a_profile_with_a_clock_of_ones_own(tiny_file, tiny_cache):
    """Batches of a size take one, two and three seconds: the median is two, and larger ones never less."""
    steps = iter([0, 1, 0, 2, 0, 3, 0, 1, 0, 1, 0, 1])
    scenario = load_scenario(tiny_file, scorer="bm25")
    measured = measure_profile(
        scenario, repeats=3, sizes=(4, 8), cache=tiny_cache, clock=lambda: float(next(steps))
    )
    assert measured.points == ((4.0, 2.0), (8.0, 2.0))
    assert measured.quartiles == ((1.5, 2.5), (1.5, 2.5))
    assert measured.scorer == "bm25"
    with pytest.raises(ScenarioError, match="'oracle' takes no time"):
        measure_profile(load_scenario(tiny_file), cache=tiny_cache)


BUSY = [
    "serving.service_per_pair_s=20", "serving.batch_size=4", "serving.timeout_s=300", "scorer=oracle",
    "compare=[oracle]", "bidders.paced_share=0", "bidders.budget_multiple=1000",
]  # fmt: skip


def test_fallback_and_first_stage_rank_by_the_scorers_that_are_named(tiny_file, tiny_cache):
    scenario = load_scenario(
        tiny_file, [*BUSY, "serving.speed=0.4", "serving.fallback=bm25", "serving.first_stage=bm25"]
    )
    prepared = prepare(scenario, cache=tiny_cache)
    oracle, bm25 = (relevance_of(prepared, name, cache=tiny_cache) for name in ("oracle", "bm25"))
    log = simulate(prepared, oracle).log
    by_bm25 = simulate(prepared, bm25, {"serving.timeout_s": None}).log
    late = log.served == serving.FALLBACK
    assert 0.05 < late.mean() < 0.95
    shown, expected = late[log.query_index], late[by_bm25.query_index]
    assert log.ad[shown].tolist() == by_bm25.ad[expected].tolist()

    two = simulate(prepared, oracle, {"serving.first_stage_keep": 5, "serving.timeout_s": None})
    assert (
        two.metrics["scored_pairs"]
        < simulate(prepared, oracle, {"serving.timeout_s": None}).metrics["scored_pairs"]
    )
    assert two.log.scored_pairs.max() == 5
    with pytest.raises(ScenarioError, match=r"serving\.fallback: is scored before a run"):
        simulate(prepared, oracle, {"serving.fallback": "hcmrm"})


def test_a_sweep_varies_the_servers(tiny_file, tiny_cache):
    sweep = ["sweep.field=serving.servers", "sweep.values=[1, 2, 8]", "sweep.scorers=[oracle]"]
    points = run_scenario(load_scenario(tiny_file, [*BUSY, *sweep]), cache=tiny_cache).points
    swept = points.filter(points["kind"] == "sweep")
    assert swept["value"].to_list() == [1.0, 2.0, 8.0]
    for metric in ("timeout_share", "latency_p95_s", "mean_latency_s"):
        assert (np.diff(swept[metric].to_numpy()) <= 0).all()
    assert (np.diff(swept["fill"].to_numpy()) >= 0).all(), "late queries show no ads"
    assert swept["latency_p99_s"].max() <= 300.0 + 1e-6
