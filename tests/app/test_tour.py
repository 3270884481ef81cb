"""The guided tour of a newcomer, in a real chromium."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.app import server
from tests.app.test_browser import open_page

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.browser


@pytest.fixture
def address(
    chromium: Browser, results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[str]:
    monkeypatch.setenv("RELBID_TOUR", "1")
    shutil.copytree(results, tmp_path / "results")
    with server.dashboard(tmp_path / "results") as found:
        yield found


def press(page: Page, name: str) -> None:
    page.get_by_role("button", name=name).click()
    server.wait_until_drawn(page)


def test_five_steps_that_do_not_come_back(page: Page, address: str) -> None:
    open_page(page, address)
    page.get_by_text("Step 1 of 5").wait_for()
    for step, heading in enumerate(
        ("What does relevance cost", "What does relevance cost", "One auction", "Is my formula fit"), start=2
    ):
        press(page, "Next")
        page.get_by_text(f"Step {step} of 5").wait_for()
        page.get_by_role("heading", name=heading).wait_for()
    press(page, "Done")
    assert page.get_by_text("Step 5 of 5").count() == 0
    open_page(page, address)  # as a new visitor
    assert page.get_by_text("of 5:").count() == 0

    # again, and skipped, in Chinese
    open_page(page, f"{address}/?lang=zh")
    page.get_by_test_id("stPopover").last.get_by_role("button").click()
    press(page, "导览")
    page.keyboard.press("Escape")  # closes the gear
    page.get_by_text("第 1 步，共 5 步").wait_for()
    press(page, "跳过")
    assert page.get_by_text("第 1 步").count() == 0
    page.reload()
    page.wait_for_selector(".js-plotly-plot .main-svg")
    server.wait_until_drawn(page)
    assert page.get_by_text("第 1 步").count() == 0
