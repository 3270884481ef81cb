import ast
import copy
from collections.abc import Iterator
from dataclasses import replace
from math import isnan, nan
from pathlib import Path
from types import ModuleType

import numpy as np
import polars as pl
import pytest

from simulator.clock.engine import simulate
from simulator.fusion import Product
from simulator.log import SimulationLog
from simulator.market import hand_market, with_settings
from simulator.measures import market_metrics as schema
from simulator.measures.market_metrics import (
    MEASURED_METRICS,
    METRICS,
    RUN_METRICS,
    TOTALS,
    market_metrics,
    with_rates,
)
from simulator.serving import ServingModel
from simulator.users import UserModel
from tests.simulator.markets import random_market

USERS = UserModel(
    examination=(1.0, 0.5),
    value_of_seeing=(-0.2, -0.1, 0.1, 0.6),
    worth_of_click=(0.1, 0.4, 1.0, 2.0),
)
BROWSING = replace(USERS, click_model="cascade")
MEASURED = ServingModel(scoring="live", clock="measured", timeout_s=1.0, price_per_hour=0.9)
MARKET = with_settings(hand_market([4.0, 3.0, 1.0], users=USERS), days=1)

PAGES = SimulationLog(
    # Shown: four ads to query 0, 1 and 3 of four; ads 0, 1, 2 are worth 4, 3 and 1 a click.
    query_index=np.array([0, 0, 1, 3, 3]),
    time_s=np.array([0.0, 0.0, 1.0, 3.0, 3.0]),
    query=np.zeros(5, dtype=np.int64),
    slot=np.array([0, 1, 0, 0, 1]),
    ad=np.array([0, 1, 1, 2, 0]),
    recall=np.zeros(5, dtype=np.int8),
    advertiser=np.array([0, 1, 1, 2, 0]),
    bid_micros=np.array([4_000_000, 3_000_000, 3_000_000, 1_000_000, 4_000_000]),
    pctr=np.ones(5),
    relevance=np.ones(5),
    score=np.ones(5),
    price_micros=np.array([3_000_000, 1_000_000, 2_000_000, 500_000, 700_000]),
    examined=np.array([True, False, True, True, True]),
    clicked=np.array([True, False, True, False, True]),
    charged_micros=np.array([3_000_000, 0, 2_000_000, 0, 700_000]),
    satisfied=np.zeros(5, dtype=np.bool_),
    conversion_s=np.array([np.inf, np.inf, 7.5, np.inf, np.inf]),
    grade=np.array([0, 1, 3, 2, 0], dtype=np.int8),
    # Four queries: answered by the scorer, by its cache, by nobody, by the fallback.
    arrival=np.arange(4),
    arrival_s=np.array([0.0, 1.0, 2.0, 3.0]),
    arrival_query=np.zeros(4, dtype=np.int64),
    answered_s=np.array([0.5, 1.25, 3.0, 3.25]),
    served=np.array([0, 1, 3, 2], dtype=np.int8),
    scored_pairs=np.array([3, 0, 0, 3]),
    n_eligible=np.array([3, 3, 0, 3]),
    n_shown=np.array([2, 1, 0, 2]),
    budget_micros=np.full(3, 10_000_000),
    spent_micros=np.array([3_700_000, 2_000_000, 0]),
    ran_out=np.array([False, True, False]),
    busy_s=np.array([1.5, 0.5]),
)
KNOWN = {
    "queries": 4,
    "impressions": 5,
    "clicks": 3,
    "conversions": 1,
    "revenue": 3 + 2 + 0.7,
    "revenue_rpm": 5.7 / 4 * 1000,
    "irrelevant_share": 2 / 5,
    "irrelevant_share_weighted": (1 + 0.5) / (1 + 0.5 + 1 + 1 + 0.5),
    "ctr": 3 / 5,
    "fill": 5 / 8,
    "mean_price": 5.7 / 3,
    # Ad 0 is worth 4 x .1 for each of its two clicks (grade 0), ad 1 3 x 2 (grade 3).
    "advertiser_surplus": (0.4 - 3) + (6 - 2) + (0.4 - 0.7),
    "user_utility": -0.2 + 0.5 * -0.1 + 0.6 + 0.1 + 0.5 * -0.2,
    "welfare": 0.4 + 6 + 0.4 + 0.35,
    "ran_out_share": 1 / 3,
    "mean_latency_s": (0.5 + 0.25 + 1 + 0.25) / 4,
    "latency_p50_s": 0.25,
    "latency_p95_s": 1.0,
    "latency_p99_s": 1.0,
    "timeout_share": 2 / 4,
    "cache_hit_share": 1 / 4,
    "scored_pairs": 6,
    "grade_0_share": 2 / 5,
    "grade_1_share": 1 / 5,
    "grade_2_share": 1 / 5,
    "grade_3_share": 1 / 5,
}
LOOKED_AT = {  # where looking depends on the ads above, what was looked at counts: all but the second ad
    **KNOWN,
    "irrelevant_share_weighted": 2 / 4,
    "user_utility": -0.2 + 0.6 + 0.1 - 0.2,
    "welfare": 0.4 + 6 + 0.4 + 0.3,
}
MEASURED_PAGES = {  # 2 of 4 are served, at .5 and .25 s, in a day of 6 s in which two servers work for 2 s
    **KNOWN,
    "utilisation": 2 / 12,
    "served_per_s": 2 / 6,
    "in_target_per_s": 2 / 6,
    "capacity_per_s": 2 / (2 / 2),
    "cost_per_million": 0.9 * 2 * (6 / 3600) / 2 * 1e6,
}
TIGHT = {"in_target_per_s": 1 / 6, "cost_per_million": nan}  # .25 s are within a target of as much
UNTARGETED = {"in_target_per_s": nan}
NOTHING = {  # of no query, no ad and no advertiser
    **{name: 0.0 if metric.total or metric.unit == "money" else nan for name, metric in RUN_METRICS.items()},
    "revenue_rpm": nan,
    "mean_price": nan,
}
QUEUE = replace(  # latencies of 1 to 1000 s: the least that 50, 95 and 99% of them do not exceed
    PAGES,
    arrival=np.arange(1000),
    arrival_s=np.zeros(1000),
    answered_s=np.arange(1000.0, 0.0, -1.0),
    served=np.zeros(1000, dtype=np.int8),
)
PERCENTILES = {"mean_latency_s": 500.5, "latency_p50_s": 500, "latency_p95_s": 950, "latency_p99_s": 990}


def empty(log: SimulationLog) -> SimulationLog:
    return SimulationLog(**{name: getattr(log, name)[:0] for name in log.__dataclass_fields__})


def check_known_answers(module: ModuleType) -> None:
    """All metrics of hand-made logs, by hand; `module` computes them."""
    tight = replace(MEASURED, latency_target_s=0.25, price_per_hour=None)
    for serving, users, log, known in (
        (ServingModel(), USERS, PAGES, KNOWN),
        (ServingModel(), BROWSING, PAGES, LOOKED_AT),
        (ServingModel(), USERS, empty(PAGES), NOTHING),
        (ServingModel(), USERS, QUEUE, PERCENTILES),
        (MEASURED, USERS, PAGES, MEASURED_PAGES),
        (tight, USERS, PAGES, TIGHT),
        (replace(MEASURED, timeout_s=None), USERS, PAGES, UNTARGETED),
        # Answers that come after the last day lengthen the time.
        (MEASURED, USERS, replace(PAGES, answered_s=PAGES.answered_s + 8.75), {"served_per_s": 2 / 12}),
    ):
        found = module.market_metrics(log, replace(MARKET, users=users, serving=serving))
        if len(known) > 5:
            assert list(found) == list(known), "every metric has a known answer"
        for name, value in known.items():
            assert found[name] == pytest.approx(value, nan_ok=True), name
    rates = {f"{name}_rpm": 250 * KNOWN[name] for name in TOTALS if name != "queries"}
    assert module.with_rates(KNOWN) == pytest.approx(rates | KNOWN)
    totals = module.Totals(MARKET)
    totals.add(PAGES)
    facts = totals.facts(PAGES)
    assert {name: metric.of(facts) for name, metric in module.METRICS.items()} == pytest.approx(rates | KNOWN)
    shares = {name: module.is_share(name) for name in ("ctr", "utilisation", "revenue", "no metric")}
    assert shares == {"ctr": True, "utilisation": True, "revenue": False, "no metric": False}


def test_every_metric_by_hand() -> None:
    check_known_answers(schema)


def test_metrics_of_a_run_by_hand() -> None:
    """Two slots, three bidders, three queries; everybody who looks clicks, and slot 0 is always looked at."""
    market = hand_market(
        [4.0, 3.0, 1.0], n_queries=3, users=USERS, rule=Product(relevance=0.0), grade=[0, 3, 2]
    )
    log = simulate(market)
    clicks_below = int(log.clicked[log.slot == 1].sum())
    metrics = market_metrics(log, market)
    assert metrics["impressions"] == 6
    assert metrics["clicks"] == 3 + clicks_below
    assert metrics["revenue"] == 3 * 3.0 + clicks_below * 1.0
    assert metrics["revenue_rpm"] == pytest.approx(1000 * metrics["revenue"] / 3)
    assert metrics["irrelevant_share"] == 1 / 2
    assert metrics["irrelevant_share_weighted"] == pytest.approx(1.0 / 1.5)
    assert metrics["grade_3_share"] == 1 / 2
    assert metrics["fill"] == 1.0
    assert metrics["ctr"] == metrics["clicks"] / 6
    assert metrics["mean_price"] == metrics["revenue"] / metrics["clicks"]
    # Ad 0 is worth 4 x .1 a click, ad 1 (grade 3) 3 x 2.
    assert metrics["advertiser_surplus"] == pytest.approx(3 * (0.4 - 3.0) + clicks_below * (6.0 - 1.0))
    assert metrics["user_utility"] == pytest.approx(3 * (1.0 * -0.2 + 0.5 * 0.6))
    assert metrics["welfare"] == pytest.approx(3 * 0.4 + clicks_below * 6.0 + metrics["user_utility"])
    assert metrics["ran_out_share"] == 0.0
    assert metrics["mean_latency_s"] == 0.0


def test_the_schema_names_what_is_computed_in_its_order() -> None:
    market = hand_market([4.0, 3.0])
    found = market_metrics(simulate(market), market)
    assert list(found) == list(RUN_METRICS)
    assert list(with_rates(found)) == list(METRICS)
    assert all(name == metric.name and metric.definition for name, metric in METRICS.items())


@pytest.mark.parametrize("name", [*RUN_METRICS, *MEASURED_METRICS])
def test_known_answers_notice_a_metric_that_is_wrong(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    kind = "RUN_METRICS" if name in RUN_METRICS else "MEASURED_METRICS"
    metrics = getattr(schema, kind)
    metric = metrics[name]
    for wrong in (lambda facts: 2 * metric.of(facts), lambda facts: metric.of(facts) + 0.01):
        monkeypatch.setattr(schema, kind, {**metrics, name: metric._replace(of=wrong)})
        with pytest.raises(AssertionError, match=name):
            check_known_answers(schema)


OPERATORS: dict[type[ast.AST], ast.AST] = {
    ast.Add: ast.Sub(),
    ast.Sub: ast.Add(),
    ast.Mult: ast.Div(),
    ast.Div: ast.Mult(),
    ast.GtE: ast.Gt(),
    ast.Eq: ast.NotEq(),
}
UNCHANGED = ("minlength", "dtype")  # arguments that say how something is computed, not what


def wrong_modules() -> Iterator[tuple[str, ast.Module]]:
    """The module with one operator exchanged, or one number raised, at a time."""
    tree = ast.parse(Path(schema.__file__).read_text())
    skipped = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.keyword) and node.arg in UNCHANGED
        for inner in ast.walk(node)
    }
    for place, node in enumerate(ast.walk(tree)):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.BinOp | ast.AugAssign):
            changes = {"op": OPERATORS.get(type(node.op))}
        elif isinstance(node, ast.Compare) and type(node.ops[0]) in OPERATORS:
            changes = {"ops": [OPERATORS[type(node.ops[0])]]}
        elif isinstance(node, ast.Constant) and type(node.value) in (int, float):
            changes = {"value": node.value + 1}
        else:
            continue
        if None in changes.values():
            continue
        other = copy.deepcopy(tree)
        changed = list(ast.walk(other))[place]
        for field, value in changes.items():
            setattr(changed, field, value)
        yield f"line {node.lineno}: {ast.unparse(changed)}", other


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_known_answers_notice_any_changed_operator_or_number() -> None:
    survivors, tried = [], 0
    as_it_is = ModuleType(schema.__name__)
    exec(compile(Path(schema.__file__).read_text(), "unchanged", "exec"), vars(as_it_is))
    check_known_answers(as_it_is)
    for what, tree in wrong_modules():
        tried += 1
        module = ModuleType(schema.__name__)
        try:
            exec(compile(tree, "changed", "exec"), vars(module))
            check_known_answers(module)
        except Exception:
            continue
        survivors.append(what)
    assert tried > 30
    assert survivors == []


def test_an_empty_page_has_no_shares() -> None:
    market = hand_market([1.0], reserve=2.0)
    metrics = market_metrics(simulate(market), market)
    assert metrics["fill"] == 0.0
    assert metrics["revenue"] == 0.0
    assert isnan(metrics["irrelevant_share"])
    assert isnan(metrics["ctr"])


def test_log_as_tables() -> None:
    market = random_market(1, n_queries=300)
    log = simulate(market)
    shown, queries, accounts = log.impressions(), log.queries(), log.accounts()
    assert shown.columns == [
        *("query_index", "time_s", "query", "slot", "ad", "recall", "advertiser", "bid_micros", "pctr"),
        *("relevance", "score", "price_micros", "examined", "clicked", "charged_micros", "satisfied"),
        *("conversion_s", "grade"),
    ]
    assert shown.schema["price_micros"] == pl.Int64
    assert queries.height == 300
    assert queries["n_shown"].sum() == shown.height
    assert (queries["n_shown"] == np.minimum(queries["n_eligible"], 3)).all()
    assert accounts["spent"].sum() == pytest.approx(shown["charged_micros"].sum() / 1e6)
    fused = shown["bid_micros"] / 1e6 * shown["pctr"] * shown["relevance"]
    assert fused.to_numpy() == pytest.approx(shown["score"].to_numpy())


def test_settings_change_a_copy() -> None:
    market = hand_market([1.0])
    assert with_settings(market, seed=9).seed == 9
    assert market.seed == 5
