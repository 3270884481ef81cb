"""Experiments: what each design measures, and that nothing is lost or half-written."""

import json
import math
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from relevance.errors import CheckpointError
from scenarios import ScenarioError, load_scenario, prepare, relevance_of
from scenarios.markets.checkpoints import KEPT, check_checkpoint, checkpoint_folder, command_for
from scenarios.markets.simulation import market_of, thin
from scenarios.storage import cache as disk
from scenarios.studies import replicates as module
from scenarios.studies.ablations.ablation import load_ablation
from scenarios.studies.designs import arm_of_arrival, budget_split, full, query_split
from scenarios.studies.experiments.experiment import DAYS_OF_A_WORLD, load_experiment
from scenarios.studies.experiments.experiment_run import experiment_folder, run_experiment, write_experiment
from scenarios.studies.experiments.random_effects import Components
from scenarios.studies.experiments.statistics import compare, t_interval
from simulator.arrays import MICROS
from simulator.clock.engine import simulate
from simulator.fusion import Product
from simulator.ledger import UNLIMITED
from simulator.market import with_relevance, with_rule, with_settings

REPOSITORY = Path(__file__).parents[2]
SCENARIO = """\
schema: 1
name: small
seed: 3
world: {test_advertisers: 36, ads_per_advertiser: 4, query_pool: 3000}
traffic: {n_queries: 400}
retrieval: {candidates: 12}
bidders: {pacing_tick_s: 14400.0}
scorer: oracle
"""
HEAD = """\
schema: 1
name: e
scenario: small.yaml
baseline: A
"""
ARMS = "arms: {A: {scorer: none}, B: {}}\n"
METRICS = ("revenue_rpm", "irrelevant_share", "ctr", "welfare_rpm")


@pytest.fixture(scope="session")
def small(tmp_path_factory):
    folder = tmp_path_factory.mktemp("small")
    (folder / "small.yaml").write_text(SCENARIO)
    return prepare(load_scenario(folder / "small.yaml"))


def write(folder: Path, text: str) -> Path:
    (folder / "small.yaml").write_text(SCENARIO)
    path = folder / "e.yaml"
    path.write_text(HEAD + text)
    return path


@pytest.fixture(scope="session")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("experiments")


def plan_of(folder, text, *overrides, seeds=None):
    return load_experiment(write(folder, text), overrides, seeds=seeds)


def day(small, seed=3, scorer="oracle", **changes):
    scenario = small.scenario.model_copy(update={"seed": seed})
    return with_settings(market_of(small, relevance_of(small, scorer), scenario), **changes)


# Designs


def test_common_random_numbers_find_exactly_nothing_between_identical_arms(tmp_path, cache):
    result = run_experiment(plan_of(tmp_path, "arms: {A: {}, B: {}}\nseeds: 3\n"), cache=cache)
    for name in ("value", "t_low", "t_high"):
        assert set(result.summary[f"difference_{name}"]) == {0.0}
    assert result.summary.filter(metric="revenue_rpm")["change_value"][0] == 0.0
    assert result.interference.is_empty()


def test_both_arms_of_a_query_split_are_one_market(small):
    market = day(small)
    whole = simulate(market)
    halves = query_split([market, market])
    assert sum(half.metrics["queries"] for half in halves) == market.query.size
    assert sum(half.metrics["revenue"] for half in halves) == pytest.approx(
        whole.charged_micros.sum() / MICROS
    )
    assert sum(half.metrics["impressions"] for half in halves) == whole.ad.size


def test_the_arms_of_a_query_split_are_ranked_by_their_own_relevance_and_rule(small):
    """With budgets that never bind, no pacing and one slot, the arms do not touch each other."""
    endless = np.full_like(day(small).budget_micros, UNLIMITED)
    nobody = np.zeros(endless.size, dtype=bool)
    plain = day(small, scorer="none", budget_micros=endless, paced=nobody)
    other = with_rule(day(small, budget_micros=endless, paced=nobody), Product(relevance=3.0))
    arm = arm_of_arrival(plain, 2)
    assert 0.4 < arm.mean() < 0.6
    for place, (market, found) in enumerate(zip((plain, other), query_split([plain, other]), strict=True)):
        alone = simulate(market)
        mine = arm[alone.query_index] == place
        assert found.metrics["revenue"] == pytest.approx(alone.charged_micros[mine].sum() / MICROS)
        assert found.metrics["irrelevant_share"] == pytest.approx((alone.grade[mine] == 0).mean())


def test_three_arms_get_a_third_each(small):
    market = day(small)
    assert np.bincount(arm_of_arrival(market, 3)).min() > 100
    assert len(query_split([market] * 3)) == len(budget_split([market] * 3)) == 3


def test_a_budget_split_gives_each_arm_its_part_of_every_budget(small, monkeypatch):
    seen = []
    monkeypatch.setattr(
        "scenarios.studies.designs.simulate",
        lambda market: seen.append(market) or simulate(market),
    )
    market = day(small)
    budget_split([market, market])
    assert sum(half.query.size for half in seen) == market.query.size
    for half in seen:
        np.testing.assert_array_equal(half.budget_micros, market.budget_micros // 2)
    times = np.sort(np.concatenate([half.arrival_s for half in seen]))
    np.testing.assert_array_equal(times, market.arrival_s)


def test_shared_budgets_interfere_and_split_budgets_do_not():
    """One bidder with a budget for half a day at arm A's prices, and arm B where nobody may be shown.

    On the whole market A sells the budget and B nothing. Split by queries, A's half of the day still sells
    the whole budget: its revenue per query is twice the truth. Split budgets give the truth again.
    """
    from simulator.market import hand_market

    a = hand_market([1.0], n_queries=400, budget=[50.0], reserve=0.5)  # 0.5 a query: gone after 100 of 400
    b = with_relevance(a, np.zeros((1, 1)))
    truth = full(a).metrics["revenue_rpm"]
    assert truth == pytest.approx(1000 * 50.0 / 400)
    shared, none = query_split([a, b])
    assert none.metrics["revenue"] == 0.0
    assert shared.metrics["revenue"] == pytest.approx(50.0)
    assert shared.metrics["revenue_rpm"] == pytest.approx(2 * truth, rel=0.15)
    own, _ = budget_split([a, b])
    assert own.metrics["revenue"] == pytest.approx(25.0)
    assert own.metrics["revenue_rpm"] == pytest.approx(truth, rel=0.15)


def test_a_a_experiments_miss_zero_about_as_often_as_they_may(small):
    """A small number of those that benchmarks/aa.py counts, on one day under ever new coins and clicks."""
    experiments, seeds, metrics = 40, 6, ("revenue_rpm", "ctr")
    never = replace(small.scenario.bidders, pacing_tick_s=86_400.0)
    market = thin(day(small, scorer="none", bidders=never), 80)
    found = np.array(
        [
            [half.metrics[metric] for half in query_split([again, again]) for metric in metrics]
            for again in (with_settings(market, seed=seed) for seed in range(experiments * seeds))
        ]
    ).reshape(experiments, seeds, 2, len(metrics))
    for place, metric in enumerate(metrics):
        estimates = [compare(*pairs.T).difference for pairs in found[..., place]]
        t = sum(not e.t_low <= 0 <= e.t_high for e in estimates)
        # The probability of more than 8 of 40 at 5% is 0.0001.
        assert t <= 8, metric


# The whole


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ran")
    plan = plan_of(folder, ARMS + "seeds: 3\ndesign: [query_split, budget_split]\n")
    return plan, folder, run_experiment(plan, cache=folder / "results")


def test_every_design_has_its_truth_beside_it(ran):
    plan, _, result = ran
    assert plan.experiment.designs == ("common", "query_split", "budget_split")
    assert len(result.replicates) == 3 * 3 * 2
    assert list(result.summary["design"].unique(maintain_order=True)) == list(plan.experiment.designs)
    assert set(result.interference["design"]) == {"query_split", "budget_split"}
    row = result.interference.row(0, named=True)
    assert row["error"] == pytest.approx(row["estimate"] - row["truth"])
    assert row["error_low"] < row["error"] < row["error_high"]
    truth = result.summary.filter(design="common", metric=row["metric"]).row(0, named=True)
    assert (row["truth"], row["truth_change"]) == pytest.approx(
        (truth["difference_value"], truth["change_value"])
    )


def test_a_replicate_is_the_scenario_with_its_seed(ran, small):
    _, _, result = ran
    row = result.replicates.filter(design="common", seed=2, arm="B").row(0, named=True)
    assert row["revenue"] == full(day(small, 2)).metrics["revenue"]


def test_finished_replicates_are_not_run_again_and_change_nothing(ran, monkeypatch):
    plan, folder, result = ran
    kept = list((folder / "results" / disk.FOLDER / "replicates").iterdir())
    assert len(kept) == 3 * (2 + 1 + 1)
    kept[0].write_text("[")  # damaged: made again
    ran_again = []
    for name in ("full", "query_split", "budget_split"):
        own = getattr(module, name)
        monkeypatch.setattr(module, name, lambda *a, own=own: ran_again.append(1) or own(*a))
    again = run_experiment(plan, cache=folder / "results")
    assert len(ran_again) == 1
    assert again.replicates.equals(result.replicates)
    assert again.summary.equals(result.summary)


def test_a_sweep_reads_what_an_experiment_has_kept_and_not_the_other_way_round(ran, tmp_path, monkeypatch):
    plan, folder, result = ran
    job = module.Job("full", 2, (plan.arms["B"],))
    shared = module.share_world([plan.arms["B"]])
    kept = folder / "results" / disk.FOLDER / "replicates"
    [task] = module.World(shared, tmp_path, kept).tasks([job])
    row = result.replicates.filter(design="common", seed=2, arm="B").row(0, named=True)
    assert module.ReplicateWorker.read(task)[0]["revenue"] == row["revenue"]
    [asked] = module.World(shared, tmp_path, tmp_path).tasks([job._replace(queries=True)])
    (tmp_path / f"{asked.key}.json").write_text("[{}]")
    assert module.ReplicateWorker.read(asked) is None


def test_a_cache_changes_nothing(ran):
    plan, _, result = ran
    without = run_experiment(plan)
    assert without.replicates.equals(result.replicates)
    assert without.summary.equals(result.summary)


def test_more_seeds_go_on_from_those_that_are_there(ran, monkeypatch):
    _, folder, _ = ran
    seen = []
    own = module.full
    monkeypatch.setattr(module, "full", lambda market: seen.append(market.seed) or own(market))
    more = load_experiment(folder / "e.yaml", seeds=4)
    result = run_experiment(more, cache=folder / "results")
    assert set(seen) == {4}
    assert result.seeds == (1, 2, 3, 4)


def test_other_settings_are_not_mistaken_for_these(ran, monkeypatch):
    _, folder, result = ran
    other = run_experiment(
        load_experiment(folder / "e.yaml", ["auction.reserve=0.2"]), cache=folder / "results"
    )
    assert not other.replicates.equals(result.replicates)


def test_the_result_folder_reads_back_to_the_same_experiment(ran, tmp_path):
    plan, _, result = ran
    folder = write_experiment(tmp_path, result)
    assert sorted(path.name for path in folder.iterdir()) == [
        "experiment.yaml", "replicates.parquet", "scenario.yaml", "summary.json",
    ]  # fmt: skip
    again = load_experiment(folder / "experiment.yaml")
    assert again.arms == plan.arms
    assert write_experiment(tmp_path, replace(result, plan=again)) == folder
    assert pl.read_parquet(folder / "replicates.parquet").equals(result.replicates)
    summary = json.loads((folder / "summary.json").read_text())
    assert [row["metric"] for row in summary["summary"]] == list(result.summary["metric"])


def test_seeds_of_their_own_cost_precision(tmp_path, cache):
    plan = plan_of(tmp_path, "arms: {A: {}, B: {fusion.relevance: 0.9}}\nseeds: 6\ndesign: independent\n")
    summary = run_experiment(plan, cache=cache).summary.filter(metric="revenue_rpm")
    errors = dict(summary.select("design", "difference_standard_error").rows())
    assert errors["common"] < errors["independent"] / 2


def test_until_adds_the_seeds_that_the_pilot_asks_for(tmp_path, cache):
    until = "until: {metric: ctr, of: difference, half_width: %s, max_seeds: %d}\n"
    few = run_experiment(plan_of(tmp_path, ARMS + "seeds: 3\n" + until % (10, 30)), cache=cache)
    assert few.seeds == (1, 2, 3)
    assert few.reached
    first = run_experiment(plan_of(tmp_path, ARMS + "seeds: 5\n"), cache=cache)
    row = first.summary.filter(metric="ctr").row(0, named=True)
    half = (row["difference_t_high"] - row["difference_t_low"]) / 2
    more = run_experiment(plan_of(tmp_path, ARMS + "seeds: 5\n" + until % (0.7 * half, 100)), cache=cache)
    assert len(more.seeds) == math.ceil(5 / 0.7**2)
    row = more.summary.filter(metric="ctr").row(0, named=True)
    assert (row["difference_t_high"] - row["difference_t_low"]) / 2 <= 0.7 * half
    assert more.reached
    capped = run_experiment(plan_of(tmp_path, ARMS + "seeds: 5\n" + until % (0.5 * half, 7)), cache=cache)
    assert (len(capped.seeds), capped.reached) == (7, False)


# Worlds, trainings and queries


@pytest.fixture(scope="module")
def worlds(tmp_path_factory):
    folder = tmp_path_factory.mktemp("worlds")
    plan = plan_of(folder, ARMS + "worlds: 3\nfirst_world: 5\nseeds: 2\n")
    return plan, run_experiment(plan, cache=folder / "results")


def test_a_replicate_of_a_world_is_the_scenario_in_that_world_on_a_day_of_its_own(worlds):
    plan, result = worlds
    assert plan.worlds == (5, 6, 7)
    assert result.replicates.select("world", "seed", "arm").rows() == [
        (world, world * DAYS_OF_A_WORLD + seed, arm) for world in (5, 6, 7) for seed in (1, 2) for arm in "AB"
    ]
    own = plan.arms["B"]
    scenario = own.model_copy(update={"seed": 6_000_002, "world": replace(own.world, seed=6)})
    prepared = prepare(scenario)
    alone = full(market_of(prepared, relevance_of(prepared, "oracle")))
    row = result.replicates.filter(seed=6_000_002, arm="B").row(0, named=True)
    assert row["revenue"] == alone.metrics["revenue"]


def test_intervals_are_over_the_worlds(worlds):
    _, result = worlds
    row = result.summary.filter(metric="revenue_rpm").row(0, named=True)
    assert (row["replicates"], row["difference_df"]) == (3, 2)
    by_world = result.replicates.group_by("world", "arm", maintain_order=True).agg(
        pl.col("revenue_rpm").mean()
    )
    a, b = (by_world.filter(arm=arm)["revenue_rpm"].to_numpy() for arm in "AB")
    low, high = t_interval(b - a)[1:]
    assert (row["difference_t_low"], row["difference_t_high"]) == pytest.approx((low, high))
    assert sum(row[f"share_{name}"] for name in Components._fields) == pytest.approx(1.0)
    change, at_90 = b / a - 1.0, 2.91999  # quantile .95 of t(2)
    half = at_90 * change.std(ddof=1) * math.sqrt(1 + 1 / 3)
    bounds = (change.mean() - half, change.mean() + half)
    assert (row["predicted_low"], row["predicted_high"]) == pytest.approx(bounds, rel=1e-5)


def test_the_queries_of_all_worlds_explain_the_whole_difference(worlds):
    plan, result = worlds
    rows = result.queries.filter(metric="irrelevant_share")
    assert rows["rank"].to_list() == list(range(1, 11))
    assert set(rows["world"]) <= set(plan.worlds)
    assert rows["share"].abs().is_sorted(descending=True)
    assert all(isinstance(query, str) and query for query in rows["query"])
    assert 1 < result.effective_queries < 400
    row = result.summary.filter(metric="irrelevant_share").row(0, named=True)
    assert row["queries_difference_low"] < row["difference_value"] < row["queries_difference_high"]


def test_one_world_that_is_named_is_the_same_world(tmp_path, cache):
    own = run_experiment(plan_of(tmp_path, ARMS + "seeds: [7000001, 7000002]\n"), cache=cache)
    named = run_experiment(plan_of(tmp_path, ARMS + "worlds: [7]\nseeds: 2\n"), cache=cache)
    assert own.replicates.drop("world").equals(named.replicates.drop("world"))
    for name in ("difference_t_low", "change_t_high", "replicates"):
        assert own.summary[name].equals(named.summary[name])


def test_trainings_are_crossed_with_worlds_and_other_arms_are_simulated_once(tmp_path, monkeypatch):
    names = ["one", "two", "three"]
    plan = plan_of(
        tmp_path,
        f"arms: {{A: {{scorer: none}}, B: {{scorer: hcmrm, trainings: [{', '.join(names)}]}}}}\n"
        "worlds: 2\nseeds: 2\n",
    )
    assert [plan.scenario_of("B", 1, n).hcmrm.checkpoint for n in range(3)] == names
    scored, seen = [], []

    def shared_with(scenarios, base, **options):
        """Each training is the oracle with a little noise."""
        prepared = prepare(base)
        truth = relevance_of(prepared, "oracle")
        found = {}
        for number, one in enumerate({module.model_of(s): s for s in scenarios}.values()):
            scored.append(one.hcmrm.checkpoint)
            found[module.model_of(one)] = replace(truth, score=truth.score * (1 - 0.1 * number))
        return module.SharedWorld(prepared, found)

    own = module.full
    monkeypatch.setattr("scenarios.studies.experiments.experiment_run.share_world", shared_with)
    monkeypatch.setattr("scenarios.studies.experiments.experiment_run.check_scorers", lambda *_: None)
    monkeypatch.setattr(module, "full", lambda market: seen.append(1) or own(market))
    result = run_experiment(plan, cache=tmp_path / "results")
    assert scored == [None, *names] * 2
    assert len(seen) == 2 * 2 * (1 + 3)
    assert result.replicates.height == 2 * 3 * 2 * 2
    assert result.summary["replicates"].to_list() == [2] * 8
    a = result.replicates.filter(arm="A", world=1)
    assert a.filter(training=1)["revenue"].equals(a.filter(training=3)["revenue"])


def test_a_second_set_of_worlds_is_another_experiment(tmp_path):
    plan = plan_of(tmp_path, ARMS + "worlds: 3\n")
    again = plan.elsewhere(101)
    assert again.worlds == (101, 102, 103)
    assert experiment_folder(tmp_path, plan) != experiment_folder(tmp_path, again)
    with pytest.raises(ScenarioError, match="worlds from 2 on are in the first set"):
        plan.elsewhere(2)
    with pytest.raises(ScenarioError, match="needs a number of worlds in the file"):
        plan_of(tmp_path, ARMS).elsewhere(101)


# Files


def test_settings_go_over_the_scenario_in_order(tmp_path):
    text = (
        "common: {auction.reserve: 0.2, traffic: {n_queries: 50}}\narms: {A: {}, B: {auction.reserve: 0.4}}\n"
    )
    plan = plan_of(tmp_path, text)
    assert [plan.arms[arm].auction.reserve for arm in "AB"] == [0.2, 0.4]
    assert plan.scenario.traffic.n_queries == 50
    plan = plan_of(tmp_path, text, "auction.reserve=0.3")
    assert [plan.arms[arm].auction.reserve for arm in "AB"] == [0.3, 0.4]


def test_blocks_and_dots_mean_the_same_and_the_rule_comes_first(tmp_path):
    dotted = plan_of(tmp_path, "arms: {A: {}, B: {fusion.threshold: 0.4, fusion.rule: gate}}\n")
    blocks = plan_of(tmp_path, "arms: {A: {}, B: {fusion: {threshold: 0.4, rule: gate}}}\n")
    assert dotted.arms == blocks.arms
    assert dotted.arms["B"].fusion.rule == "gate"


def test_seeds_are_counted_or_listed(tmp_path):
    assert plan_of(tmp_path, ARMS + "seeds: 3\nfirst_seed: 5\n").seeds == (5, 6, 7)
    assert plan_of(tmp_path, ARMS + "seeds: [4, 2]\n").seeds == (4, 2)
    assert plan_of(tmp_path, ARMS + "seeds: [4, 2]\n", seeds=3).seeds == (1, 2, 3)


@pytest.mark.parametrize("path", sorted((REPOSITORY / "scenarios" / "experiments").glob("*.yaml")))
def test_shipped_experiments_are_valid(path):
    plan = load_experiment(path)
    assert plan.experiment.name == path.stem
    names = {arm: scenario.model_dump() for arm, scenario in plan.arms.items()}
    assert len({json.dumps(dump) for dump in names.values()}) == len(names), "arms differ"


@pytest.mark.parametrize("path", sorted((REPOSITORY / "scenarios" / "experiments").glob("headline*.yaml")))
def test_heads_of_experiments_have_the_commands_that_make_their_checkpoints(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # where no checkpoints are
    head = re.sub(r"\\\n#\s+", "", path.read_text())
    for scenario in load_experiment(path).arms.values():
        folder = checkpoint_folder(scenario)
        assert folder.parent.name in KEPT
        assert command_for(folder) in head
        with pytest.raises(CheckpointError, match=r"hcmrm.checkpoint 'models/") as caught:
            check_checkpoint(scenario)
        assert command_for(folder) in str(caught.value)


def test_nothing_but_the_model_differs_in_the_headline():
    plan = load_experiment(REPOSITORY / "scenarios" / "experiments" / "headline.yaml")
    arms = [scenario.model_dump() for scenario in plan.arms.values()]
    models = [arm["hcmrm"].pop("checkpoint") for arm in arms]
    assert len(set(models)) == len(arms)
    assert all(arm == arms[0] for arm in arms)
    # They are those that the trainings of the main group keep, all of them.
    trainings = load_ablation(REPOSITORY / "scenarios" / "ablations" / "evidence.yaml")
    rows = trainings.rows_of("main")
    kept = {f"{trainings.file.keep}/{row.checkpoint}-{seed}" for row in rows for seed in row.seeds}
    assert {name for names in plan.trainings.values() for name in names} == kept
    # None of the worlds was trained on.
    matched = plan.experiment.matched
    assert not {*plan.worlds, *matched.worlds} & {*trainings.train_worlds}


MESSAGES = {
    "unknown key": ("armz: {}\n", "e.yaml, line 5, armz: unknown key; did you mean 'arms'?"),
    "unknown arm field": (
        "arms:\n  A: {}\n  B:\n    fusion.relevnace: 2\n",
        "e.yaml, line 8, arms.B.fusion.relevnace: unknown key; did you mean 'relevance'?",
    ),
    "unknown arm block": (
        "arms:\n  A: {}\n  B: {fussion: 2}\n",
        "e.yaml, line 7, arms.B.fussion: unknown key; did you mean 'fusion'?",
    ),
    "value out of range": (
        "arms:\n  A: {}\n  B: {fusion.relevance: -1}\n",
        "e.yaml, line 7, arms.B.fusion.relevance: must be at least 0, got the value -1",
    ),
    "unknown common field": (
        "common: {auction.reserv: 1}\n" + ARMS,
        "e.yaml, line 5, common.auction.reserv: unknown key; did you mean 'reserve'?",
    ),
    "unknown scorer": (
        "arms: {A: {}, B: {scorer: bm52}}\n",
        "e.yaml, line 5, arms.B.scorer: unknown scorer 'bm52'; did you mean 'bm25'? "
        "(there are none, bm25, hcmrm, oracle, minilm, {bi_encoder: FOLDER}, {cross_encoder: FOLDER}, "
        "and your own as module:attr)",
    ),
    "trainings by name": (
        "arms: {A: {}, B: {scorer: hcmrm, trainings: {a: b}}}\n",
        "e.yaml, line 5, arms.B.trainings: needs a list of at least 3 different checkpoints (the "
        "spread of two "
        "trainings is too uncertain for an interval)",
    ),
    "matched by what arms share": (
        ARMS + "worlds: 2\nmatched: {field: seed, grid: [0, 1], worlds: [50]}\n",
        "e.yaml, line 7, matched: field 'seed' is the same for all arms; name one that may differ",
    ),
    "one arm": ("arms: {A: {}}\n", "e.yaml, line 5, arms: needs at least 2 value(s)"),
    "arm without a map": (
        "arms: {A: {}, B: 2}\n",
        "e.yaml, line 5, arms.B: needs a block of keys, got the value 2",
    ),
    "traffic of its own": (
        "arms: {A: {}, B: {traffic.n_queries: 9}}\n",
        "e.yaml, line 5, arms.B.traffic.n_queries: all arms share it; set it under 'common'",
    ),
    "market of its own": (
        "arms: {A: {}, B: {market.kind: table}}\n",
        "e.yaml, line 5, arms.B.market.kind: all arms share it; set it under 'common'",
    ),
    "seed of its own": (
        "arms: {A: {}, B: {seed: 9}}\n",
        "e.yaml, line 5, arms.B.seed: all arms share it; 'seeds' says which there are",
    ),
    "a seed of all arms": (
        ARMS + "common: {seed: 9}\n",
        "e.yaml, line 6, common.seed: has no effect here: 'seeds' says which there are; leave it out",
    ),
    "a world of all arms": (
        ARMS + "worlds: 2\ncommon: {world: {seed: 9}}\n",
        "e.yaml, line 7, common.world.seed: has no effect here: 'worlds' says which there are; leave it out",
    ),
    "a day that is another world's": (
        ARMS + "worlds: 2\nseeds: [1, 1000001]\n",
        "e.yaml, line 7, seeds: a day of a world must be below 1,000,000, got 1,000,001",
    ),
    "too many seeds": (
        ARMS + "seeds: 100001\n",
        "e.yaml, line 6, seeds: must be from 2 to 100000, got 100001",
    ),
    "no seeds": (
        ARMS + "seeds: 0\n",
        "e.yaml, line 6, seeds: must be from 2 to 100000, got 0 (one replicate has no spread)",
    ),
    "a text for seeds": (
        ARMS + "seeds: many\n",
        "e.yaml, line 6, seeds: needs a number of seeds, or a list of seeds in brackets",
    ),
    "the same seed twice": (
        ARMS + "seeds: [1, 1]\n",
        "e.yaml, line 6, seeds: a list of seeds needs at least two, all different and from 0 to 2^62",
    ),
    "a first seed of a list": (
        ARMS + "seeds: [1, 2]\nfirst_seed: 3\n",
        "e.yaml, line 7, first_seed: says where a number of seeds starts; the seeds are listed, "
        "so leave it out",
    ),
    "unknown design": (
        ARMS + "design: query_splt\n",
        "e.yaml, line 6, design: must be 'common', 'independent', 'query_split' or 'budget_split', "
        "got the text \"query_splt\"; did you mean 'query_split'?",
    ),
    "arms of a query split in other markets": (
        "design: query_split\narms: {A: {}, B: {auction.reserve: 0.2}}\n",
        "e.yaml, line 6, arms.B.auction.reserve: arms of a query_split share one market and may differ in "
        "scorer, hcmrm, fusion only; take another design",
    ),
    "until and worlds": (
        ARMS + "worlds: 3\nuntil: {half_width: 0.1}\n",
        "e.yaml, line 7, until: adds days, which do not tell one world or training from another",
    ),
    "a first world of none": (ARMS + "first_world: 3\n", "e.yaml, line 6, first_world: says where a number"),
    "worlds beyond the last one": (
        ARMS + "worlds: 2\nfirst_world: 1000000\n",
        "e.yaml, line 6, worlds: a world's seed must be from 0 to 1e6",
    ),
    "an arm with a blank": (
        "arms: {A: {}, B C: {}}\n",
        "e.yaml, line 5, arms.B C: must begin with a letter or digit, hold nothing but letters (A to Z), "
        "digits and _ . -, and have at most 32 characters",
    ),
    "two trainings": (
        "arms: {A: {}, B: {scorer: hcmrm, trainings: [a, b]}}\n",
        "e.yaml, line 5, arms.B.trainings: needs a list of at least 3 different checkpoints",
    ),
    "trainings of another scorer": (
        "arms: {A: {}, B: {scorer: bm25, trainings: [a, b, c]}}\n",
        "e.yaml, line 5, arms.B.trainings: only hcmrm is trained; the scorer of this arm is 'bm25'",
    ),
    "unequal trainings": (
        "arms: {A: {scorer: hcmrm, trainings: [a, b, c]}, B: {scorer: hcmrm, trainings: [a, b, c, d]}}\n",
        "e.yaml, line 5, arms.B.trainings: all arms with trainings need equally many",
    ),
    "a narrow pilot": (
        ARMS + "seeds: 9\nuntil: {half_width: 0.1, max_seeds: 5}\n",
        "e.yaml, line 7, until: max_seeds 5 are fewer than the 9 of the pilot",
    ),
    "no half-width": (
        ARMS + "until: {half_width: 0}\n",
        "e.yaml, line 6, until.half_width: must be greater than 0, got the value 0",
    ),
}


def test_a_seed_over_a_study_with_seeds_is_refused(tmp_path):
    with pytest.raises(ScenarioError, match="--set seed: has no effect here: 'seeds' says which there are"):
        plan_of(tmp_path, ARMS, "seed=7")


def test_the_last_worlds_that_there_are_can_be_named(tmp_path):
    plan = load_experiment(write(tmp_path, ARMS + "worlds: 2\nfirst_world: 999999\n"))
    assert plan.worlds == (999_999, 1_000_000)


@pytest.mark.parametrize("case", MESSAGES)
def test_what_is_wrong_with_a_file_is_said(tmp_path, case):
    text, message = MESSAGES[case]
    path = write(tmp_path, text)
    with pytest.raises(ScenarioError) as caught:
        load_experiment(path)
    problems = str(caught.value).replace(f"{tmp_path}/", "").split("\n  ")
    assert message in problems[0] or message in problems


def test_worlds_have_seeds_that_a_world_can_have(tmp_path):
    with pytest.raises(
        ScenarioError, match=r"line \d+, worlds: a world's seed must be from 0 to 1e6, got 1,000,001"
    ):
        load_experiment(write(tmp_path, ARMS + "worlds: [1, 1000001]\n"))


def test_what_is_missing_is_said(tmp_path):
    path = tmp_path / "e.yaml"
    path.write_text("schema: 1\nname: e\nbaseline: C\narms: {A: {}, B: {}}\n")
    with pytest.raises(ScenarioError, match=r"line 3, baseline: no arm is called 'C' \(there are A, B\)"):
        load_experiment(path)
    path.write_text("schema: 1\nname: e\nscenario: smal.yaml\nbaseline: A\narms: {A: {}, B: {}}\n")
    (tmp_path / "small.yaml").write_text(SCENARIO)
    with pytest.raises(ScenarioError, match=r"line 3, scenario: no such file .*did you mean 'small.yaml'\?"):
        load_experiment(path)
    path.write_text(path.read_text().replace("smal.yaml", "''"))
    with pytest.raises(ScenarioError, match=r"line 3, scenario: must not be empty"):
        load_experiment(path)
    with pytest.raises(ScenarioError, match=r"none: no such file; relbid experiment .* built-in one"):
        load_experiment(tmp_path / "none")
    path.write_text("schema: 1\nname: e\n")
    with pytest.raises(ScenarioError, match=r"(?s)2 problems.*baseline: is missing.*arms: is missing"):
        load_experiment(path)


def test_an_unknown_metric_is_found_before_the_work(tmp_path):
    words = r", line \d+, metrics\[0\]: unknown metric 'revenue_rmp'; did you mean 'revenue_rpm'\?"
    with pytest.raises(ScenarioError, match=words):
        plan_of(tmp_path, ARMS + "metrics: [revenue_rmp]\n")


@pytest.mark.parametrize("seeds", [0, 1, 10**9])
def test_seeds_of_the_command_line_are_checked_too(tmp_path, seeds):
    with pytest.raises(ScenarioError, match=f"--seeds {seeds}: must be from 2 to 100000"):
        plan_of(tmp_path, ARMS, seeds=seeds)
