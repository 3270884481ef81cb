"""The walk of somebody who owns a ranking formula, in a real chromium, on a desk, a tablet and a phone."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.app import server
from tests.app.conftest import PATIENCE_MS
from tests.app.test_browser import open_page, revenue, type_formula
from tests.app.test_journey import card, days_row, metrics_of, relbid, save

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def address(chromium: Browser, results: Path) -> Iterator[str]:
    with server.dashboard(results) as found:
        yield found


@pytest.fixture(params=[1440, 800, 390])
def screen(chromium: Browser, request: pytest.FixtureRequest) -> Iterator[Page]:
    tabs = chromium.new_context(viewport={"width": request.param, "height": 900}, accept_downloads=True)
    tabs.set_default_timeout(PATIENCE_MS)
    yield tabs.new_page()
    tabs.close()


def headline(page: Page) -> str:
    return page.get_by_text("irrelevant ads instead of").first.inner_text()


def test_from_a_formula_to_the_same_figures_in_a_terminal(screen: Page, address: str, tmp_path: Path) -> None:
    page = screen
    open_page(page, address)
    page.get_by_text("irrelevant ads instead of").first.wait_for()

    # the formula, and what it costs with its interval
    type_formula(page, "b*q*r^0.3")
    said = headline(page)
    assert re.search(
        r"About \d+\.\d% irrelevant ads instead of \d+\.\d% \(-\d+\.\d \[[-+]\d+\.\d, [-+]\d+\.\d\] points\)",
        said,
    )
    assert re.search(r"\[[-+]?\d+\.\d, [-+]?\d+\.\d\].* revenue|revenue \(.*\[", said)

    # a bound, and the formula that is suggested under it
    bound = page.get_by_role("spinbutton", name="At most so many irrelevant ads")
    bound.fill("1.0")
    bound.press("Enter")
    page.get_by_text("Under 1.0%").wait_for()
    page.get_by_text("Simulating the curve").wait_for(state="hidden")
    server.wait_until_drawn(page)
    take = page.get_by_role("button", name="Take b*q*r")
    take.click()
    page.get_by_text("is the cheapest of the curve with at most 1.0%").wait_for()
    server.wait_until_drawn(page)
    mine = page.get_by_role("textbox", name="Mine (B)").input_value()
    assert mine != "b*q*r^0.3"
    shown = revenue(page), card(page, "Irrelevant share"), card(page, "Click-through rate")
    assert float(shown[1].rstrip("%")) <= 1.0

    # the same view in a second tab
    parameters = parse_qs(urlsplit(page.url).query)
    assert parameters["b"] == [mine]
    assert parameters["bound"] == ["1"]
    second = page.context.new_page()
    open_page(second, page.url)
    second.get_by_text("is the cheapest of the curve with at most 1.0%").wait_for()
    server.wait_until_drawn(second)
    assert headline(second) == headline(page)
    assert (revenue(second), card(second, "Irrelevant share"), card(second, "Click-through rate")) == shown
    second.close()

    # taken away, and run
    file = save(page, "This setting as a scenario", tmp_path / "mine.yaml")
    out = relbid("run", file.name, cwd=tmp_path)
    assert days_row(out, "oracle")[0] == shown[0]
    head = dict(re.findall(r"^# (\w+): (\S+)$", file.read_text(), re.MULTILINE))
    found = metrics_of(out, tmp_path)
    assert {name: float(text) for name, text in head.items()} == {name: found[name] for name in head}

    # the query that makes most of the difference
    page.locator(
        "[class*=st-key-figures-why] .bars .point path, [class*=st-key-figures-why] .barlayer .point path"
    ).first.click(force=True)
    page.get_by_role("heading", name="One auction, from query to price").wait_for()
    server.wait_until_drawn(page)
    assert parse_qs(urlsplit(page.url).query)["query"][0].isdecimal()
    page.go_back()  # one step
    server.wait_until_drawn(page)
    page.get_by_role("heading", name="What does relevance cost").wait_for()
    server.wait_until_drawn(page)
    assert page.get_by_role("textbox", name="Mine (B)").input_value() == mine
