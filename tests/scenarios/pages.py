"""What a page with a plotly figure draws."""

import json
import re


def traces_in(page: str) -> list[dict]:
    """The traces of the one figure of an HTML page."""
    [call] = re.finditer(r'Plotly\.newPlot\(\s*"[^"]+",\s*(?=\[)', page)
    traces, _ = json.JSONDecoder().raw_decode(page, call.end())
    return traces


def markers_in(page: str) -> list[tuple[str, str]]:
    """Number and symbol of each point that the figure of a sweep's page draws."""
    return [
        (number, symbol)
        for trace in traces_in(page)
        if trace["mode"] == "markers"
        for (number,), symbol in zip(trace["customdata"], trace["marker"]["symbol"], strict=True)
    ]
