"""The whole way of a new user, in a real chromium: from the first page to a file that relbid runs."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl
import pytest

from scenarios import (
    Scenario,
    load_scenario,
    load_sweep,
    override,
    read_sweep,
    run_scenario,
    sweep_folder,
    write_result,
)
from tests.app import server
from tests.app.test_browser import choose, open_page, revenue, type_formula
from tests.app.test_sweeps_page import SCENARIO

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.browser

SLOW = """\
# Fourteen points of a market that takes its time.
schema: 1
name: slow
scenario: small.yaml
common: {traffic.n_queries: 800000}
over: {fusion.relevance: [0, 0.3, 0.6, 0.9, 1.2, 1.5, 2], scorer: [bm25, oracle]}
seeds: [3]
"""


def relbid(*arguments: object, cwd: Path) -> str:
    """Run the command line as a user does, in a folder of theirs."""
    command = [sys.executable, "-m", "scenarios.cli", *map(str, arguments)]
    environment = {
        **os.environ,
        "PYTHONPATH": str(server.REPOSITORY),
        "OMP_NUM_THREADS": "1",
        "COLUMNS": "150",
        "NO_COLOR": "1",
    }
    ran = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=300)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def metrics_of(out: str, cwd: Path) -> dict[str, float]:
    """metrics.json of the folder that `relbid run` names."""
    folder = re.search(r"^Results: (\S+)/", out, re.MULTILINE)
    assert folder is not None
    found: dict[str, float] = json.loads((cwd / folder[1] / "metrics.json").read_text())
    return found


def card(page: Page, label: str) -> str:
    return page.get_by_test_id("stMetric").filter(has_text=label).get_by_test_id("stMetricValue").inner_text()


def save(page: Page, label: str, path: Path) -> Path:
    with page.expect_download() as download:
        page.get_by_role("button", name=label).click()
    download.value.save_as(path)
    return path


@pytest.fixture(scope="module")
def address(chromium: Browser, results: Path) -> Iterator[str]:
    with server.dashboard(results) as found:
        yield found


def days_row(out: str, scorer: str) -> list[str]:
    """The row of a scorer in the first table of `relbid run`, the means over its days."""
    row = re.search(rf"^ {scorer} +(\S.*)$", out, re.MULTILINE)
    assert row is not None
    return row[1].split()


def test_from_the_first_page_to_the_same_figures_in_a_terminal(
    page: Page, address: str, tmp_path: Path
) -> None:
    open_page(page, address)
    choose(page, "Relevance r by", "BM25")
    before = revenue(page)
    type_formula(page, "b*q*r^0.7")
    assert revenue(page) != before
    shown = revenue(page), card(page, "Irrelevant share"), card(page, "Click-through rate")
    page.get_by_role("link", name="Auction inspector").click()
    page.get_by_role("heading", name="One auction, from query to price").wait_for()
    page.get_by_text("Ranked by BM25 at exponent 0.7").wait_for()
    server.wait_until_drawn(page)
    assert page.locator(".rb-compare img").first.is_visible()
    page.get_by_role("link", name="Trade-off").click()
    page.get_by_text("irrelevant ads instead of").first.wait_for()
    server.wait_until_drawn(page)
    assert (revenue(page), card(page, "Irrelevant share"), card(page, "Click-through rate")) == shown

    file = save(page, "This setting as a scenario", tmp_path / "mine.yaml")
    out = relbid("run", file.name, cwd=tmp_path)
    text = file.read_text()
    assert days_row(out, "BM25")[0] == shown[0]
    assert f"#   revenue_rpm {shown[0]}"[:-1] in text
    assert "on 5 days of 2,000 queries, seeds 1 to 5" in text
    found = metrics_of(out, tmp_path)
    head = dict(re.findall(r"^# (\w+): (\S+)$", text, re.MULTILINE))
    assert {name: float(text) for name, text in head.items()} == {
        name: found[name] for name in ("revenue_rpm", "irrelevant_share")
    }


def test_a_preview_is_called_one_and_is_not_exported(
    page: Page, chromium: Browser, tiny_scenario: Scenario, tmp_path: Path
) -> None:
    """More queries than a slider simulates: the file must give what is shown, so all are simulated first."""
    root = tmp_path / "results"
    settings = {"traffic.n_queries": 110_000, "sweep": None, "compare": ["none", "bm25"], "scorer": "bm25"}
    large = override(tiny_scenario, settings)
    run = run_scenario(large, cache=root)
    write_result(root, large, run.metrics, run.points, run.log)
    with server.dashboard(root) as address:
        open_page(page, address)
        page.get_by_text("A preview: means of 5 days, 100,000 queries each").wait_for()
        preview = revenue(page)
        button = page.get_by_role("button", name="This setting as a scenario")
        assert button.is_disabled()
        page.get_by_text("Simulate all 110,000 queries").click()
        page.get_by_text("Means of 5 days of this world, 110,000 queries each").wait_for()
        server.wait_until_drawn(page)
        assert revenue(page) != preview
        file = save(page, "This setting as a scenario", tmp_path / "chosen.yaml")
    head = dict(re.findall(r"^# (\w+): (\S+)$", file.read_text(), re.MULTILINE))
    chosen = load_scenario(file)
    assert float(head["revenue_rpm"]) == run_scenario(chosen, cache=root).metrics["revenue_rpm"]
    assert chosen.traffic.n_queries == 110_000


def test_a_sweep_is_started_left_stopped_continued_and_a_point_of_it_taken_away(
    page: Page, chromium: Browser, results: Path, tmp_path: Path
) -> None:
    (tmp_path / "small.yaml").write_text(SCENARIO)
    (tmp_path / "slow.yaml").write_text(SLOW)
    root = tmp_path / "results"
    sweep = load_sweep(tmp_path / "slow.yaml")
    folder = sweep_folder(root, sweep)
    relbid("run", "small.yaml", "--set", "compare=[none,oracle]", cwd=tmp_path)
    with server.dashboard(root, cwd=tmp_path) as address:
        page.goto(f"{address}/sweeps")
        choose(page, "Sweep file", "slow.yaml")
        page.get_by_text("Fourteen points of a market that takes its time.", exact=True).wait_for()
        page.get_by_role("button", name="Start", exact=True).click()
        page.get_by_text(f"Sweep {folder.name}").wait_for()
        page.goto("about:blank")  # the page is closed; nobody looks

        page.goto(f"{address}/sweeps")  # and somebody comes back
        page.get_by_text(re.compile(r"^[1-9]\d* of 14$")).wait_for()
        page.get_by_role("button", name="Stop").click()
        page.get_by_text(re.compile(r"^Half-finished: \d+ of 14 simulations done")).wait_for()
        server.wait_until_drawn(page)
        kept = {path.name: path.stat().st_mtime_ns for path in (root / ".cache/replicates").glob("*.json")}
        assert 0 < len(kept) < 14

        page.get_by_role("button", name="Continue it").click()
        page.get_by_text("Finished: 14 of 14 simulations done").wait_for(timeout=180_000)
        page.get_by_text("14 of 14 points so far").wait_for()
        server.wait_until_drawn(page)
        assert all((root / ".cache/replicates" / name).stat().st_mtime_ns == at for name, at in kept.items())

        chart = page.locator(".js-plotly-plot").filter(has_text="Revenue per 1,000 queries against")
        chart.locator(".scatterlayer .trace").nth(2).locator(".point").first.click(force=True)
        heading = page.get_by_role("heading", name=re.compile(r"^Point \d+: "))
        heading.wait_for()
        server.wait_until_drawn(page)
        point = int(heading.inner_text().split()[1].rstrip(":"))
        row = read_sweep(folder).replicates.filter(pl.col("point") == point).row(0, named=True)
        assert row["scorer"] == "oracle"
        assert card(page, "Revenue per 1,000 queries") == f"{row['revenue_rpm']:,.2f}"
        file = save(page, "Its exact scenario", tmp_path / "point.yaml")
    found = metrics_of(relbid("run", file.name, "--out", "elsewhere", cwd=tmp_path), tmp_path)
    assert found["revenue_rpm"] == row["revenue_rpm"]
    assert found["irrelevant_share"] == row["irrelevant_share"]
