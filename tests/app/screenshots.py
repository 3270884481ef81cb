"""Pictures of the dashboard for the documentation, at two widths, light and dark.

make run
.venv/bin/python -m tests.app.screenshots [--results results] [--out docs/screenshots] [--page market]
"""

from __future__ import annotations

import argparse
import io
import re
from pathlib import Path

from PIL import Image

from tests.app.server import browser, dashboard, wait_until_drawn

PAGES = {
    "trade-off": "",
    "inspector": "inspector",
    "relevance-lab": "relevance_lab",
    "market": "market",
    "health": "health",
    "formula": "formula",
    "experiments": "experiments",
    "sweeps": "sweeps",
}
VIEWS = [(f"{width}{'-dark' * (scheme == 'dark')}", width, scheme)
         for width in (1440, 800) for scheme in ("light", "dark")]  # fmt: skip
COLOURS = 256
"""Of a stored picture, which makes it a third of the size."""


def save(png: bytes, path: Path) -> None:
    """Write a picture with a palette of its own."""
    picture = Image.open(io.BytesIO(png)).convert("RGB")
    picture.quantize(COLOURS, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE).save(path, optimize=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--results", type=Path, default=Path("results"))
    parser.add_argument("--out", type=Path, default=Path("docs/screenshots"))
    parser.add_argument("--page", choices=PAGES, help="this page only")
    arguments = parser.parse_args()
    wanted = {name: path for name, path in PAGES.items() if arguments.page in (None, name)}
    arguments.out.mkdir(parents=True, exist_ok=True)
    with dashboard(arguments.results.absolute()) as address, browser() as chromium:
        for view, width, scheme in VIEWS:
            page = chromium.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)  # type: ignore[arg-type]
            for name, path in wanted.items():
                page.goto(f"{address}/{path}")
                page.locator(".js-plotly-plot .main-svg:visible").first.wait_for(timeout=600_000)
                page.get_by_text("Simulating the curve").wait_for(state="detached", timeout=600_000)
                if name == "trade-off":  # the other worlds, which take minutes the first time
                    page.get_by_text(re.compile(r"Means over \d+ worlds")).wait_for(timeout=3_600_000)
                wait_until_drawn(page)
                if (name, view) == ("trade-off", "1440"):  # README shows it
                    save(page.screenshot(), arguments.out / "first-screen.png")
                # Streamlit scrolls inside the page: a window as high as its content shows all of it.
                height = page.evaluate(
                    "document.querySelector('[data-testid=stMainBlockContainer]').getBoundingClientRect().height"
                )
                page.set_viewport_size({"width": width, "height": min(int(height) + 20, 4000)})
                page.wait_for_timeout(800)
                save(page.screenshot(), arguments.out / f"{name}-{view}.png")
                page.set_viewport_size({"width": width, "height": 900})
            page.close()


if __name__ == "__main__":
    main()
