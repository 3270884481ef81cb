"""The arena: its leaderboard and what leaving a policy brings are those of the replicates."""

from __future__ import annotations

import json
import math
from types import SimpleNamespace

import numpy as np
import pytest

from scenarios import load_scenario
from scenarios.errors import ScenarioError
from scenarios.replay.example import write_example
from scenarios.reporting.experiment_tables import size_text
from scenarios.studies import arena
from scenarios.studies.arena import SHARES, arena_plan, standings
from scenarios.studies.experiments.experiment_run import check_experiment, run_experiment
from tests.scenarios.test_sweeps_cli import relbid

SMALL = """\
schema: 1
name: small
world: {train_advertisers: 36, validation_advertisers: 36, test_advertisers: 36, query_pool: 1500}
traffic: {n_queries: 1500, warm_up_days: 0}
retrieval: {candidates: 8}
scorer: none
"""


@pytest.fixture
def scenario(tmp_path):
    path = tmp_path / "small.yaml"
    path.write_text(SMALL)
    return path


def test_standings_are_those_of_the_replicates(scenario):
    policies = ["fixed", "shading"]
    plan = arena_plan(load_scenario(scenario), policies, seats=0.5, worlds=2, days=2, exploit=True)
    check_experiment(plan)
    result = run_experiment(plan)
    found = {one.policy: one for one in standings(result, policies)}
    values = result.replicates
    for policy, one in found.items():
        own = values.filter(values["arm"] == policy)
        assert one.surplus.value == pytest.approx(own["seat_surplus"].mean())
        stays = own["deviant_surplus"].to_numpy()
        gains = {
            share: (values.filter(values["arm"] == f"{policy}-x{share:g}")["deviant_surplus"] - stays).mean()
            for share in SHARES
        }
        assert one.share == max(gains, key=gains.__getitem__)
        assert one.gain is not None
        assert one.gain.value == pytest.approx(max(gains.values()))
        assert one.gain.low < one.gain.value < one.gain.high
    assert found["fixed"].lead is None
    lead = found["shading"].lead
    assert lead is not None
    assert lead.value == pytest.approx(found["shading"].surplus.value - found["fixed"].surplus.value)
    # Shading by .8 is one of the shares that are tried: nobody loses by leaving for the best of them.
    assert found["shading"].gain.value >= -1e-12
    order = [one.surplus.value for one in standings(result, policies)]
    assert order == sorted(order, reverse=True)


@pytest.mark.parametrize(
    ("worlds", "trainings", "days", "said"),
    [
        ((1,), 1, 1, "1 world x 1 day"),
        ((1, 2), 3, 2, "2 worlds x 3 trainings x 2 days"),
        ((None,), 1, 5, "5 days"),
    ],
)
def test_the_size_of_an_experiment_is_said_in_words(worlds, trainings, days, said):
    plan = SimpleNamespace(worlds=worlds, n_trainings=trainings)
    assert size_text(SimpleNamespace(plan=plan, seeds=range(days))) == said


def test_the_command_prints_a_leaderboard_and_keeps_the_replicates(scenario):
    options = ("--only", "--policy", "truthful", "--policy", "shading", "--worlds", 2, "--seats", 0.5)
    ran = relbid("arena", "small.yaml", *options, "--workers", 1, cwd=scenario.parent)
    assert ran.returncode == 0, ran.stderr
    assert "truthful" in ran.stdout
    assert "surplus" in ran.stdout
    assert "leaving" not in ran.stdout
    [folder] = scenario.parent.glob("results/arena-*")
    summary = json.loads((folder / "summary.json").read_text())
    assert "seat_surplus" in json.dumps(summary)


@pytest.mark.parametrize(
    ("policies", "options", "says"),
    [
        (["shading"], {}, "two different policies"),
        (["shading", "shading"], {}, "two different policies"),
        (["shading", "shadow"], {}, "unknown bid policy 'shadow'"),
        (["shading", "truthful"], {"seats": 2.0}, "share"),
        (["shading", "truthful"], {"budget": -1.0}, "budget"),
    ],
)
def test_what_cannot_be_compared_is_refused(scenario, policies, options, says):
    with pytest.raises(ScenarioError, match=says):
        arena_plan(load_scenario(scenario), policies, **options)


def test_a_table_of_auctions_has_no_seats(tmp_path):
    write_example(tmp_path / "log.parquet", n_rows=100)
    file = tmp_path / "table.yaml"
    file.write_text("schema: 1\nname: table\nmarket: {kind: table, auctions: log.parquet}\nscorer: none\n")
    with pytest.raises(ScenarioError, match=r"table.yaml, market.kind: is table, whose bids are its own"):
        arena_plan(load_scenario(file), ["shading", "truthful"])


def test_more_simulations_than_a_study_can_have_are_refused(scenario):
    plan = arena_plan(load_scenario(scenario), ["shading", "truthful"], worlds=1000, days=1000)
    with pytest.raises(ScenarioError, match="1,000 worlds x 1,000 days x 2 simulations of each is 2,000,000"):
        check_experiment(plan)


def test_a_policy_that_spends_nothing_has_no_return(recwarn):
    nothing = np.empty((0, 1))
    assert math.isnan(arena._mean(nothing))
    assert arena._mean(np.array([1.0, 3.0])) == 2.0
    gain, _ = arena._gain({(arm, "deviant_surplus"): nothing for arm in ("a", f"a-x{SHARES[0]:g}")}, "a")
    assert gain is not None
    assert math.isnan(gain.value)
    assert not recwarn.list


BAD_DAY = """
from simulator.policies import Shading

class Moody(Shading):
    def __init__(self):
        super().__init__(0.5)

    def start(self, budget, value):
        if budget.size > 12:  # more than it is tried with
            raise RuntimeError("a bad day")
        return super().start(budget, value)
"""


def test_replicates_that_fail_end_it_with_code_1_and_can_run_again(scenario, tmp_path):
    (tmp_path / "moody.py").write_text(BAD_DAY)
    line = ("arena", scenario, "--only", "--policy", "moody:Moody", "--policy", "truthful", "--worlds", "1")
    more = ("--seats", "0.9", "--workers", "2")
    ran = relbid(*line, *more, "--retry-failed", cwd=tmp_path)
    assert ran.returncode == 1, ran.stderr
    assert "2 replicates failed, see results/.cache/experiments/" in ran.stderr
    assert ran.stderr.endswith("/failures/; the same command runs them again\n")


def test_figures_of_seats_need_seats(scenario, tmp_path):
    path = tmp_path / "seats.yaml"
    path.write_text(
        "schema: 1\nname: seats\nscenario: small.yaml\nbaseline: A\nmetrics: [seat_surplus, revenue_rpm]\n"
        "arms: {A: {}, B: {fusion.relevance: 1}}\n"
    )
    ran = relbid("experiment", "seats.yaml", cwd=tmp_path)
    assert ran.returncode == 2
    assert "seat_surplus needs advertisers with a seat" in ran.stderr
    assert "Traceback" not in ran.stderr
