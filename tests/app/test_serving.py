"""How queries are served: figures of a run, and what another server is worth."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from app.parts import serving
from scenarios import Scenario, override, prepare, relevance_of, run_scenario, simulate, write_result
from tests.app.test_pages import MAIN, PATIENCE_S

BUSY = {"serving.service_s": 0.4, "serving.batch_size": 1, "serving.timeout_s": 5.0, "traffic.horizon_s": 600}


@pytest.fixture
def busy(tiny_scenario: Scenario) -> Scenario:
    return override(tiny_scenario, {**BUSY, "name": "busy", "sweep": None, "compare": ["oracle"]})


def test_the_share_of_time_that_servers_work(busy: Scenario, tmp_path: Path) -> None:
    prepared = prepare(busy, cache=tmp_path)
    run = simulate(prepared, relevance_of(prepared, "oracle", cache=tmp_path), n_queries=200)
    figures = serving.serving_figures(run)
    span_s = max(600.0, float(np.max(run.log.answered_s)))
    assert figures["utilisation"] == pytest.approx(0.4 * 200 / span_s, rel=0.02)


def test_what_another_server_is_worth_is_said() -> None:
    own = {"revenue_rpm": 90.0, "latency_p95_s": 1.5, "timeout_share": 0.2, "irrelevant_share": math.nan}
    more = {"revenue_rpm": 95.5, "latency_p95_s": 0.4, "timeout_share": 0.01, "irrelevant_share": math.nan}
    said = serving.in_a_sentence(own, more, 0.1)
    assert "changes revenue by +5.50 per 1,000 queries" in said
    assert "from 1500 to 400 ms" in said
    assert "from 20.00% to 1.00%" in said
    assert said.endswith("It costs 0.10 an hour.")
    table = serving.table({1: own, 2: more})
    assert table["Servers"].to_list() == [1, 2]
    assert table["Latency, 95th percentile"].to_list() == ["1500 ms", "400 ms"]
    assert table["Irrelevant share"].to_list() == ["–", "–"]


def test_the_market_page_says_what_another_server_is_worth(
    busy: Scenario, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = run_scenario(busy, cache=tmp_path)
    write_result(tmp_path, busy, run.metrics, run.points, run.log)
    monkeypatch.setenv("RELBID_RESULTS", str(tmp_path))
    at = AppTest.from_file(MAIN, default_timeout=PATIENCE_S).run()
    at.switch_page("views/market_page.py").run()
    assert not at.exception
    next(button for button in at.button if button.label == "What is another server worth?").click().run()
    assert not at.exception
    assert any("One server more changes revenue" in text.value for text in at.markdown)
