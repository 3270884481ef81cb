"""Station 2, retrieval: which ads may answer a query."""

from simulator.retrieval.expansion import Associations, neighbours
from simulator.retrieval.keywords import (
    BROAD,
    EXACT,
    PHRASE,
    RECALLS,
    Candidates,
    KeywordIndex,
    NegativeKeyword,
    build_index,
    correct,
    matching_keywords,
    retrieve,
)

__all__ = [
    "BROAD",
    "EXACT",
    "PHRASE",
    "RECALLS",
    "Associations",
    "Candidates",
    "KeywordIndex",
    "NegativeKeyword",
    "build_index",
    "correct",
    "matching_keywords",
    "neighbours",
    "retrieve",
]
