"""What a user has named or typed is shown to the letter, wherever it goes."""

from __future__ import annotations

import string
from html import unescape
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from markdown_it import MarkdownIt

from app.language import t, t_html, t_plain
from app.texts import JOINER, Html, Markdown, code, html, markdown, message
from tests.app import server

if TYPE_CHECKING:
    from playwright.sync_api import Page

HOSTILE = "*x* [a](http://b) $y$ :red[z] <b>q</b> ![i](http://j) `c` ~~d~~ :smile: :material/home: %{x} &lt;"
BEGINNINGS = (
    "#",
    "# g",
    "## h",
    "- x",
    "+ x",
    "---",
    "===",
    "1. x",
    "2) x",
    "> x",
    "    code",
    "\tcode",
    "| a |",
)
BETWEEN = tuple(f"a{sign}b{sign}{sign}c" for sign in string.punctuation)
LINES = ("a\n\nb", "a\n---", "a\n# b", "a\r\n- b", "a\\\nb", "[x]: http://y", "a  \nb")

reader = MarkdownIt("commonmark").enable(["table", "strikethrough"])


def shown(source: str) -> str:
    """What a reader sees of a text in Markdown, as one paragraph of text and nothing else."""
    tokens = reader.parse(source)
    assert [token.type for token in tokens] == ["paragraph_open", "inline", "paragraph_close"], source
    parts = tokens[1].children or []
    assert {part.type for part in parts} <= {"text"}, source
    return "".join(part.content for part in parts).replace(JOINER, "")


@pytest.mark.parametrize("text", [HOSTILE, *string.punctuation, *BEGINNINGS, *BETWEEN, *LINES])
def test_markdown_shows_a_text_to_the_letter(text: str) -> None:
    expected = text.replace("\r\n", "\n")
    assert shown(markdown(text)) == expected
    assert shown(f"{markdown(text)} and more") == f"{expected} and more"
    assert "\n" not in markdown(text)  # or it would end a heading


@pytest.mark.parametrize(
    "text",
    [":a:", ":streamlit:", ":material_x:", "http://b", "HTTPS://b", "www.b.c", "a@b.c", "->", "x <-> y"],
)
def test_what_streamlit_looks_for_once_markdown_is_read_is_parted(text: str) -> None:
    assert text not in markdown(text).replace("\\", "")
    assert shown(markdown(text)) == text


def test_what_streamlit_reads_before_markdown_is_not_in_it() -> None:
    assert "\\$y\\$" in markdown("$y$")
    assert "\\:red\\[z\\]" in markdown(":red[z]")
    assert ":material/" not in markdown(":material/home:") + code(":material/home:")


@pytest.mark.parametrize("text", ["b*q*r^0.5", "a `b` c", "``", "`", "relbid run a.yaml", "a\n\nb"])
def test_code_is_code(text: str) -> None:
    (part,) = reader.parse(code(text))[1].children or []
    assert part.type == "code_inline"
    assert part.content == " ".join(text.split())


def test_messages_keep_their_lines() -> None:
    assert reader.render(message("a\n\n  - b\n*c*\n")) == "<p>a<br />\n- b<br />\n*c*</p>\n"


@pytest.mark.parametrize("text", [HOSTILE, string.punctuation])
def test_html_shows_a_text_to_the_letter(text: str) -> None:
    assert unescape(html(text)) == text
    assert not set(html(text)) & set("<>\"'{")


def test_texts_of_the_catalogue_escape_what_fills_them() -> None:
    assert t("uplift.done", title="*x*") == r"\*x\*: see the page Experiments."
    assert t("uplift.done", title=Markdown("*x*")) == "*x*: see the page Experiments."
    assert t_html("uplift.done", title="<b>") == "&lt;b&gt;: see the page Experiments."
    assert t_html("uplift.done", title=Html("<b>")) == "<b>: see the page Experiments."
    assert t_plain("uplift.done", title="*x*") == "*x*: see the page Experiments."
    assert t("setting.exponent", scorer="_", exponent=0.5) == r"\_ at exponent 0.5"


SCRIPT = """
import plotly.graph_objects as go
import streamlit as st
from app.texts import html, markdown, message
text = {text!r}
shown = markdown(text)
st.title(shown)
st.subheader(shown)
st.markdown(f"#### {{shown}}")
st.markdown(f"**{{shown}}** and {{shown}}")
for draw in (st.write, st.caption, st.info, st.warning, st.error, st.success):
    draw(message(text))
st.button(shown)
st.expander(shown)
st.popover(shown)
st.text_input(shown)
st.radio("options", [0], format_func=lambda _: shown)
st.metric(shown, 1)
st.progress(0.5, shown)
st.html(f"<p class='own'>{{html(text)}}</p>")
figure = go.Figure(go.Scatter(x=[1], y=[html(text)], mode="text", text=[html(text)], name=html(text)))
figure.update_layout(title=html(text), showlegend=True, height=600)
st.plotly_chart(figure)
st.code("the end")
"""
"""What the pages draw texts with: 19 times by Streamlit, and 4 times by plotly."""


@pytest.mark.browser
def test_a_reader_sees_the_very_characters(page: Page, tmp_path: Path) -> None:
    script = tmp_path / "texts.py"
    script.write_text(SCRIPT.format(text=HOSTILE))
    with server.dashboard(tmp_path, script=script) as address:
        page.goto(address)
        page.get_by_text("the end", exact=True).wait_for()
        server.wait_until_drawn(page)
        for place in ("h1", "h3", "h4", ".stCaption", ".stAlert", "button", "summary", "label", ".own"):
            for found in page.locator(place).filter(has_text="*x*").all():
                assert found.inner_text().replace(JOINER, "").count(HOSTILE) == 1, place
        assert page.locator(".stMain").inner_text().replace(JOINER, "").count(HOSTILE) == 19 + 4
        assert page.locator(".stMain a:not([href^='#']), .stMain img, .stMain .katex").count() == 0
        for place in (".gtitle", ".ytick text", ".legendtext", ".textpoint text"):
            assert page.locator(place).first.text_content() == HOSTILE, place
