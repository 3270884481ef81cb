"""Capacity planning: numbers that queueing theory knows, what a server is worth, and the command."""

import json
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from scipy.stats import poisson

from scenarios import DEFAULT_SCENARIO, ScenarioError, load_scenario, override
from scenarios.cli.main import main
from scenarios.reporting.capacity_tables import answer_of, capacity_tables
from scenarios.studies import replicates
from scenarios.studies.capacity import Target, capacity_of, next_servers, run_capacity, write_capacity

RATE, SECONDS = 10.0, 600.0


def queue(tiny_file, service_s, **more):
    """Poisson arrivals at RATE, answered one by one in constant time: M/D/c."""
    fields = {
        "scorer": "bm25",
        "traffic.n_queries": int(RATE * SECONDS),
        "traffic.fixed_count": False,
        "traffic.horizon_s": SECONDS,
        "traffic.shape": [1.0],
        "bidders.pacing_tick_s": 60.0,
        "serving.batch_size": 1,
        "serving.service_s": service_s,
        **more,
    }
    return override(load_scenario(tiny_file), fields)


def answered_in(services, offered, servers, most=300):
    """P(latency <= services x D) in M/D/c with so much offered work, rate x D.

    Within D every query in service leaves, and nobody who came meanwhile: with N present, max(N - c, 0) +
    Poisson(offered) are present D later. Who finds fewer than services x c present is done in services x D
    (Crommelin 1932, "Delay probability formulae when the holding times are constant").
    """
    come = poisson.pmf(np.arange(most), offered)
    move = np.zeros((most, most))
    for present in range(most):
        left = max(present - servers, 0)
        move[present, left:] = come[: most - left]
    move[:, -1] += 1.0 - move.sum(axis=1)
    return np.linalg.matrix_power(move, 2**14)[0, : services * servers].sum()


def test_the_known_answer_is_that_of_one_server():
    """P(no wait) in M/D/1 is 1 - load."""
    assert answered_in(1, 0.6, 1) == pytest.approx(0.4)


@pytest.mark.parametrize(
    ("offered", "services", "percentile", "needed"),
    [(0.6, 1, 95, 3), (0.6, 2, 99, 2), (2.5, 1, 50, 4), (2.5, 1, 99, 8), (4.2, 1, 95, 9), (4.2, 2, 95, 6)],
)
def test_queues_need_as_many_servers_as_theory_says(
    tiny_file, tiny_cache, offered, services, percentile, needed
):
    assert (
        answered_in(services, offered, needed) > percentile / 100 > answered_in(services, offered, needed - 1)
    )
    service_s = offered / RATE
    target = Target(services * service_s * (1 + 1e-6), percentile)
    asked = capacity_of(queue(tiny_file, service_s), target, seeds=3)
    (found,) = run_capacity(asked, tiny_cache, engine="here").machines
    assert found.needed.servers == needed
    assert found.next.servers == needed + 1
    assert [step.kept for step in found.steps] == [step.servers >= needed for step in found.steps]


@pytest.mark.parametrize("needed", [1, 2, 3, 5, 8, 13, 100])
def test_the_search_ends_at_the_smallest_number_and_one_more(needed):
    target, tried = Target(0.05), {}
    while (servers := next_servers(tried, target, 256)) is not None:
        assert servers not in tried
        latency = 0.04 if servers >= needed else 1.0 / servers + 1.0
        tried[servers] = [{target.metric: latency, "timeout_share": 0.0}]
    assert {needed, needed + 1} <= set(tried)
    assert needed == 1 or needed - 1 in tried
    assert len(tried) <= 2 * np.ceil(np.log2(needed + 1)) + 2


def test_the_search_stops_where_more_servers_change_nothing_and_at_the_most():
    target, slow = Target(0.05), [{"latency_p99_s": 0.2, "timeout_share": 0.0}]
    assert next_servers({1: slow}, target, 256) == 2
    assert next_servers({1: slow, 2: slow}, target, 256) is None
    slower = [{"latency_p99_s": 0.3, "timeout_share": 0.0}]
    assert next_servers({1: slower, 2: slow}, target, 3) == 3
    assert next_servers({1: slower, 2: slow, 3: slow}, target, 3) is None


def test_queries_that_the_fallback_answers_in_time_are_not_answered():
    target = Target(0.05, 95)
    assert target.is_kept([{"latency_p95_s": 0.05, "timeout_share": 0.05}])
    assert not target.is_kept([{"latency_p95_s": 0.05, "timeout_share": 0.06}])
    assert not target.is_kept([{"latency_p95_s": 0.051, "timeout_share": 0.0}])


def test_what_a_server_is_worth_is_paired_by_day(tiny_file, tiny_cache):
    """Too few servers leave queries to a fallback without ads, so the next one earns revenue."""
    scenario = queue(tiny_file, 0.25, **{"serving.timeout_s": 0.4, "world.test_ads_per_advertiser": 12})
    asked = capacity_of(scenario, Target(0.41, 99), seeds=3, prices=[36.0])
    result = run_capacity(asked, tiny_cache, engine="here")
    (found,) = result.machines
    first, second = found.steps[:2]
    assert (second.servers, second.against) == (2, 1)
    gained = [b["revenue_rpm"] - a["revenue_rpm"] for a, b in zip(first.days, second.days, strict=True)]
    worth = second.worth["revenue_rpm"].difference
    assert worth.value == pytest.approx(np.mean(gained))
    half = 4.302653 * np.std(gained, ddof=1) / np.sqrt(3)  # Student's quantile for 2 degrees of freedom
    assert worth.t_high - worth.value == pytest.approx(half, rel=1e-5)
    assert worth.t_low > 0
    # 36 an hour is a hundredth a second; 600 seconds serve about 6000 queries.
    queries = np.mean([day["queries"] for day in second.days])
    assert second.cost_per_million == pytest.approx(2 * 0.01 * 600 / queries * 1e6)
    answer, needed = answer_of(result), found.needed
    assert answer.startswith(f"{needed.servers} servers of tiny answer 99% of the queries within 410 ms")
    assert "kept on 3 of 3 days" in answer
    assert f"for {needed.cost_per_million:,.2f} per million queries" in answer
    (table,) = capacity_tables(result)
    assert table.table.row_count == len(found.steps)


def test_a_target_below_the_service_time_is_out_of_reach(tiny_file, tiny_cache):
    asked = capacity_of(queue(tiny_file, 0.06), Target(0.05, 50), seeds=2)
    result = run_capacity(asked, tiny_cache, engine="here")
    (found,) = result.machines
    assert found.needed is None
    assert found.next is None
    assert "Not even" in answer_of(result)
    assert answer_of(result).endswith("no query waits, a batch alone takes so long. Take faster servers.")
    waiting = capacity_of(
        queue(tiny_file, 0.4, **{"serving.timeout_s": 0.5}), Target(0.41, 99), seeds=2, most=1
    )
    assert answer_of(run_capacity(waiting, tiny_cache, engine="here")).endswith("time out.")
    folder = write_capacity(tiny_cache, result, answer_of(result))
    assert json.loads((folder / "capacity.json").read_text())["machines"][0]["needed"] is None


def test_what_is_simulated_is_kept(tiny_file, tiny_cache, monkeypatch):
    asked = capacity_of(queue(tiny_file, 0.11), Target(0.12, 50), seeds=2)
    first = run_capacity(asked, tiny_cache, engine="here")
    monkeypatch.setattr(replicates, "simulate_job", lambda *_: pytest.fail("simulated again"))
    assert run_capacity(asked, tiny_cache, engine="here") == first


def test_where_nobody_waits_there_is_nothing_to_plan(tiny_file):
    for fields in (
        {},
        {"serving.cache_queries": 9},
        {"serving.scoring": "live", "serving.clock": "measured"},
    ):
        with pytest.raises(ScenarioError, match=r"takes a server no time.*--profile"):
            capacity_of(override(load_scenario(tiny_file), fields), Target(0.05))
    with pytest.raises(ScenarioError, match=r"a\.json, --profile: is named twice"):
        capacity_of(load_scenario(tiny_file), Target(0.05), profiles=[Path("a.json"), Path("a.json")])
    path = profile_file(tiny_file.parent / "p.json", 0.1)
    path.write_text(path.read_text().replace("bm25", "bm52"))
    with pytest.raises(ScenarioError, match=r"p\.json, line 1, scorer: .*unknown scorer 'bm52'"):
        capacity_of(load_scenario(tiny_file), Target(0.05), profiles=[path])
    with pytest.raises(ScenarioError, match="--price-per-hour: 2 prices for 1 kinds of servers"):
        capacity_of(queue(tiny_file, 0.1), Target(0.05), prices=[1.0, 2.0])


def profile_file(path, seconds):
    points = [[1, seconds], [64, seconds]]
    data = {
        "kind": "service profile", "schema": 1, "scorer": "bm25", "scenario": "tiny", "machine": {},
        "repeats": 1, "points": points, "quartiles": [[seconds, seconds]] * 2,
    }  # fmt: skip
    path.write_text(json.dumps(data))
    return path


def test_the_command_compares_kinds_of_servers(tiny_file, tmp_path, tiny_cache, monkeypatch, capsys):
    pytest.importorskip("plotly")
    slow, fast = (profile_file(tmp_path / f"{name}.json", s) for name, s in (("slow", 0.25), ("fast", 0.06)))
    fields = ["traffic.n_queries=6000", "traffic.horizon_s=600", "traffic.shape=[1]", "serving.batch_size=1"]
    command = ["relbid", "capacity", str(tiny_file), "--latency-ms", "251", "--percentile", "95"]
    command += ["--profile", str(slow), "--profile", str(fast), "--seeds", "2", "--workers", "1"]
    command += ["--price-per-hour", "1", "--price-per-hour", "3", "--out", str(tiny_cache)]
    command += [part for field in fields for part in ("--set", field)]
    monkeypatch.setattr(sys, "argv", command)
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 0
    out = " ".join(capsys.readouterr().out.split())
    (folder,) = (path.parent for path in tiny_cache.glob("tiny-capacity-*/scenario-2.yaml"))
    stored = json.loads((folder / "capacity.json").read_text())
    needed = {machine["name"]: machine["needed"] for machine in stored["machines"]}
    assert needed["slow"] > needed["fast"] == 1
    assert f"{needed['slow']} servers of slow answer 95% of the queries within 251 ms" in out
    assert "1 server of fast answers 95% of the queries within 251 ms" in out
    assert "fast costs least." in out
    assert load_scenario(folder / "scenario-1.yaml").serving.servers == needed["slow"]
    days = pl.read_parquet(folder / "days.parquet").filter(machine="slow")
    latency = {
        n: days.filter(servers=n)["latency_p95_s"].mean() for n in (needed["slow"] - 1, needed["slow"])
    }
    assert [value <= 0.251 for value in latency.values()] == [False, True]
    assert (folder / "capacity.svg").exists() or (folder / "capacity.html").exists()


def test_the_picture_has_the_target_as_a_line_and_a_star_where_it_is_kept(tiny_file, tiny_cache):
    pytest.importorskip("plotly")
    from scenarios.reporting.capacity_picture import picture

    asked = capacity_of(queue(tiny_file, 0.25), Target(0.251, 50), seeds=3)
    result = run_capacity(asked, tiny_cache, engine="here")
    figure = picture(result)
    steps = result.machines[0].steps
    traces = {(trace.name, trace.xaxis): trace for trace in figure.data}
    assert list(traces["target 251 ms", "x"].y) == [251.0, 251.0]
    latency = traces["tiny", "x"]
    assert list(latency.x) == [step.servers for step in steps]
    assert latency.y[0] == pytest.approx(1000 * np.mean([day["latency_p50_s"] for day in steps[0].days]))
    for axis in ("x", "x2", "x3"):
        assert list(traces["needed", axis].x) == [4]
    revenue = traces["tiny", "x2"]
    assert revenue.error_y.array[[step.servers for step in steps].index(4)] == 0.0
    assert revenue.error_y.array[0] >= 0.0


def test_scenarios_are_keys_of_the_search():
    assert hash(load_scenario(DEFAULT_SCENARIO)) == hash(load_scenario(DEFAULT_SCENARIO))


@pytest.mark.parametrize(
    "fusion",
    [
        {"rule": "exponential", "gain": 0},
        {"rule": "custom", "object": "simulator.fusion:Exponential", "settings": {"gain": 1}},
    ],
)
def test_rules_with_settings_have_their_servers_counted(tiny_file, tiny_cache, fusion):
    scenario = override(queue(tiny_file, 0.25), {"fusion": fusion})
    result = run_capacity(capacity_of(scenario, Target(0.251, 50), seeds=1), tiny_cache, engine="here")
    assert result.machines[0].needed is not None
