"""What a table of one's own auctions holds: one row per query event and candidate ad.

The checks (`reading`), the JSON schema and docs/how-to/log.md follow COLUMNS.
"""

from __future__ import annotations

import math
from typing import Any, Literal, NamedTuple

RELEVANCE = "relevance_"
"""Prefix of the names of relevance columns."""


class Column(NamedTuple):
    """What a column holds. Numbers are from `least` to `most`."""

    name: str
    kind: Literal["id", "text", "number", "whole", "flag"]
    meaning: str
    required: bool = False
    nullable: bool = False
    least: float = 0.0
    most: float = math.inf


COLUMNS = (
    Column("query_id", "id", "the query event (one page view); its rows share it", required=True),
    Column("ad_id", "id", "the candidate ad, once in an event", required=True),
    Column("advertiser_id", "id", "whose ad it is; one ad of an advertiser in an event", required=True),
    Column("bid", "number", "currency per click, as it stood in this auction", required=True, most=1e6),
    Column("pctr", "number", "predicted chance of a click if the slot is looked at", required=True, most=1.0),
    Column("time_s", "number", "seconds from any start; the same in all rows of an event", most=1e12),
    Column("query", "text", "what was searched for; the same in all rows of an event", nullable=True),
    Column("grade", "whole", "judged relevance 0..3, 0: irrelevant; null: not judged", nullable=True, most=3),
    Column("position", "whole", "slot in which it was shown, from 1; null: not shown",
           nullable=True, least=1, most=20),
    Column("clicked", "flag", "true, false, 1 or 0 where it was shown, otherwise null", nullable=True),
    Column("price", "number", "currency per click that it was shown at; otherwise null",
           nullable=True, most=1e6),
    Column("click_rate", "number", "chance of a click by which users of a simulation click; pctr without it",
           most=1.0),
)  # fmt: skip
RELEVANCE_COLUMN = Column(f"{RELEVANCE}<name>", "number", "a relevance score; any number of them", most=1.0)

BUDGET_COLUMNS = (
    Column("advertiser_id", "id", "as in the auctions", required=True),
    Column("budget", "number", "currency per day; null: unlimited", required=True, nullable=True, most=1e9),
)
"""Columns of the optional table of advertisers. An advertiser that is not in it has no limit."""

WANTED = {
    "id": "a text or a whole number",
    "text": "a text",
    "number": "a number",
    "whole": "a whole number",
    "flag": "true, false, 1 or 0",
}
"""The values of each kind, in words."""


def is_relevance(name: str) -> bool:
    """Whether a column of this name is a relevance column."""
    return name.startswith(RELEVANCE) and name != RELEVANCE


def json_schema() -> dict[str, Any]:
    """JSON schema (2020-12) of one row of a table of auctions."""
    types = {
        "id": ["string", "integer"],
        "text": ["string"],
        "number": ["number"],
        "whole": ["integer"],
        "flag": ["boolean", "integer"],
    }

    def entry(column: Column) -> dict[str, Any]:
        found: dict[str, Any] = {"description": column.meaning}
        found["type"] = types[column.kind] + (["null"] if column.nullable else [])
        if column.kind in ("number", "whole"):
            found["minimum"] = column.least
            if math.isfinite(column.most):
                found["maximum"] = column.most
        elif column.kind == "flag":
            found["minimum"], found["maximum"] = 0, 1
        return found

    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "One candidate ad of one query event",
        "type": "object",
        "required": [column.name for column in COLUMNS if column.required],
        "properties": {column.name: entry(column) for column in COLUMNS},
        "patternProperties": {f"^{RELEVANCE}.+$": entry(RELEVANCE_COLUMN)},
    }
