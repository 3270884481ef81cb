"""The embedded world: no download, everything from one seed."""

from .build import World, build_world
from .catalog import Catalog, load_catalog
from .config import Split, WorldConfig
from .labels import graded_pairs, label_pairs, labelled_corpus
from .truth import GRADE_DEFINITIONS, Truth

__all__ = [
    "GRADE_DEFINITIONS",
    "Catalog",
    "Split",
    "Truth",
    "World",
    "WorldConfig",
    "build_world",
    "graded_pairs",
    "label_pairs",
    "labelled_corpus",
    "load_catalog",
]
