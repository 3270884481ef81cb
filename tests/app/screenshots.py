"""Pictures of the dashboard for the documentation, at two widths, light and dark.

make run
.venv/bin/python -m tests.app.screenshots [--results results] [--out docs/screenshots]
"""

from __future__ import annotations

import argparse
from pathlib import Path

from tests.app.server import browser, dashboard, wait_until_drawn

PAGES = {"trade-off": "", "inspector": "inspector"}
VIEWS = [("1440", 1440, "light"), ("800", 800, "light"), ("1440-dark", 1440, "dark")]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--results", type=Path, default=Path("results"))
    parser.add_argument("--out", type=Path, default=Path("docs/screenshots"))
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    with dashboard(arguments.results.absolute()) as address, browser() as chromium:
        for view, width, scheme in VIEWS:
            page = chromium.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)  # type: ignore[arg-type]
            for name, path in PAGES.items():
                page.goto(f"{address}/{path}")
                page.wait_for_selector(".js-plotly-plot .main-svg", timeout=120_000)
                wait_until_drawn(page)
                # Streamlit scrolls inside the page: a window as high as its content shows all of it.
                height = page.evaluate(
                    "document.querySelector('[data-testid=stMainBlockContainer]').getBoundingClientRect().height"
                )
                page.set_viewport_size({"width": width, "height": min(int(height) + 20, 4000)})
                page.wait_for_timeout(800)
                page.screenshot(path=arguments.out / f"{name}-{view}.png")
                if width == 1440:
                    chart = page.get_by_test_id("stPlotlyChart").first
                    chart.screenshot(path=arguments.out / f"{name}-{view}-chart.png")
                page.set_viewport_size({"width": width, "height": 900})
            page.close()


if __name__ == "__main__":
    main()
