# ruff: noqa: E501
"""Text reads on what is behind it: WCAG 2.2's contrast of 4.5 at least, on every page, light and dark."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.app import server
from tests.app.conftest import PATIENCE_MS
from tests.app.screenshots import PAGES

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = pytest.mark.browser

LEAST = 4.5

PAIRS = """() => {
  // Any CSS colour as [r, g, b, a], read back from a canvas.
  const canvas = document.createElement("canvas").getContext("2d", {willReadFrequently: true});
  const known = new Map();
  const read = text => {
    if (!known.has(text)) {
      canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = "#000"; canvas.fillStyle = text; canvas.fillRect(0, 0, 1, 1);
      const [r, g, b, a] = canvas.getImageData(0, 0, 1, 1).data;
      known.set(text, [r, g, b, a / 255]);
    }
    return known.get(text);
  };
  const over = (top, below) => [0, 1, 2].map(i => top[i] * top[3] + below[i] * (1 - top[3])).concat(1);
  const light = ([r, g, b]) => {
    const [x, y, z] = [r, g, b].map(c => (c /= 255) <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
    return 0.2126 * x + 0.7152 * y + 0.0722 * z;
  };
  const ratio = (a, b) => { const [x, y] = [light(a), light(b)].sort((p, q) => q - p); return (x + 0.05) / (y + 0.05); };
  const backdrop = node => {
    const layers = [];
    for (; node; node = node.parentElement) {
      const style = getComputedStyle(node);
      if (style.backgroundImage !== "none") return null;
      layers.push(read(style.backgroundColor));
      if (layers.at(-1)[3] === 1) break;
    }
    return layers.reduceRight((below, top) => over(top, below), [255, 255, 255, 1]);
  };
  // A number on a marker of a figure has the marker behind it, which is not its parent.
  const marker = (node, {x, y, width, height}, below) => {
    for (const point of node.closest(".trace")?.querySelectorAll("path.point") ?? []) {
      const box = point.getBoundingClientRect(), style = getComputedStyle(point), fill = [...read(style.fill)];
      const holds = (from, size, at) => from <= at && at <= from + size;
      if (!below || !holds(box.x, box.width, x + width / 2) || !holds(box.y, box.height, y + height / 2)) continue;
      fill[3] *= opacity(point) * style.fillOpacity;
      return over(fill, below);
    }
    return below;
  };
  const opacity = node => { let o = 1; for (; node; node = node.parentElement) o *= +getComputedStyle(node).opacity; return o; };
  const found = [];
  const walker = document.createTreeWalker(document.querySelector("[data-testid=stApp]"), NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const text = walker.currentNode.textContent.trim(), node = walker.currentNode.parentElement;
    if (!text || !node.checkVisibility({opacityProperty: true, visibilityProperty: true})) continue;
    const box = node.getBoundingClientRect();
    if (!box.width || !box.height || node.closest("style, script, .stSlider, [disabled], [aria-disabled=true], [data-testid=stStatusWidget]")) continue;
    const style = getComputedStyle(node), behind = marker(node, box, backdrop(node));
    if (!behind) continue;
    const colour = [...read(node instanceof SVGElement ? style.fill : style.color)];
    colour[3] *= opacity(node);
    found.push([text.slice(0, 40), ratio(over(colour, behind), behind), style.color, node.className.baseVal ?? node.className]);
  }
  return found;
}"""


@pytest.fixture(scope="module")
def address(chromium: Browser, results: Path) -> Iterator[str]:
    with server.dashboard(results) as found:
        yield found


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", PAGES)
def test_text_reads(chromium: Browser, address: str, name: str, scheme: Any) -> None:
    page = chromium.new_page(viewport={"width": 1440, "height": 900}, color_scheme=scheme)
    page.set_default_timeout(PATIENCE_MS)
    page.goto(f"{address}/{PAGES[name]}")
    page.locator("[data-testid=stMainBlockContainer] h1").first.wait_for()
    page.get_by_text("Simulating the curve").wait_for(state="detached")
    server.wait_until_drawn(page)
    page.wait_for_timeout(500)  # what is drawn anew is faint for a moment
    pairs = page.evaluate(PAIRS)
    page.close()
    assert len(pairs) > 10
    faint = {(text, round(ratio, 2), str(kind)[:60]) for text, ratio, _, kind in pairs if ratio < LEAST}
    assert not faint
