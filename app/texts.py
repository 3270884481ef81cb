"""Texts of others, shown to the letter: what a user has named, typed or stored is never markup.

Streamlit reads Markdown in nearly all that it shows; plotly, and our own tables and cards, read HTML. So such
a text is escaped by where it goes. `app.language` does it for what fills the catalogue's texts. What goes to
Streamlit without one goes through `markdown`, `message` or `code`, and what goes to plotly through `html`.
Widgets' options, tables, blocks of code and files take texts as they are.
"""

from __future__ import annotations

import re
from numbers import Number

JOINER = "\u2060"
"""Has no width. It parts characters that Streamlit makes something else of, escaped or not."""

_BECOMES = re.compile(
    r"(?<=:)(?=[\w+-]+:)"  # :smile:, :streamlit:
    r"|(?<=:material)(?=/)"  # :material/home:
    r"|(?<=http)(?=://)|(?<=https)(?=://)|(?<=www)(?=\.)|(?<=[-.\w+])(?=@[-\w])"  # links without brackets
    r"|(?:(?<=\s[-<>~])|(?<=^[-<>~]))(?=(?:[-=>]|->)(?:\s|$))",  # -> and >= between blanks: one character
    re.IGNORECASE,
)
_SIGNS = re.compile(r"[\\`*_\[\]<>&$~:|!]")
_BEGINS = re.compile(r"[#+=-](?=[#=\s-]|$)|\d+[.)](?=\s|$)")  # a heading, a list, a line below a heading
_ENTITIES = str.maketrans(
    {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&#34;", "'": "&#x27;", "{": "&#123;"}  # plotly knows these
)


class Markdown(str):
    """A text that is Markdown already."""

    __slots__ = ()


class Html(str):
    """A text that is HTML already, for our own tables or for plotly."""

    __slots__ = ()


def markdown(text: object) -> Markdown:
    """What Markdown shows as this very text, in one line; numbers and Markdown as they are."""
    if isinstance(text, Markdown | Number):
        return Markdown(text)
    plain = _BECOMES.sub(JOINER, re.sub(r"\r\n?", "\n", str(text)))
    begins = _BEGINS.match(plain)
    escaped = _SIGNS.sub(r"\\\g<0>", plain)
    if begins:
        at = begins.end() - 1
        escaped = f"{escaped[:at]}\\{escaped[at:]}"
    elif plain[:1].isspace():
        escaped = f"&#{ord(plain[0])};{escaped[1:]}"  # or it might be a block of code
    return Markdown(escaped.replace("\n", "&#10;"))


def message(text: object) -> Markdown:
    """As `markdown`, each line of the text in one of its own: for messages, not for headings and labels."""
    return Markdown("  \n".join(markdown(line.strip()) for line in str(text).splitlines() if line.strip()))


def code(text: object) -> Markdown:
    """A text to be typed as it stands, such as a command, between backticks."""
    plain = " ".join(str(text).split()).replace(":material/", f":{JOINER}material/")
    fence = "`" * (1 + max(map(len, re.findall("`+", plain)), default=0))
    inside = f" {plain} " if plain[:1] == "`" or plain[-1:] == "`" else plain
    return Markdown(f"{fence}{inside}{fence}" if plain else "")


def html(text: object) -> Html:
    """What HTML and plotly show as this very text, without tags, links and fields of a template."""
    if isinstance(text, Html | Number):
        return Html(text)
    return Html(str(text).translate(_ENTITIES))


def plotted(field: str) -> Html:
    """A value of the point at the pointer, in the text that plotly shows there: `x:.2f`, `customdata[0]`."""
    return Html(f"%{{{field}}}")
