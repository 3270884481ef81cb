"""The embedded world: no download, everything from one seed."""

from simulator.world.build import World, build_world
from simulator.world.catalog import Catalog, load_catalog
from simulator.world.labels import LabelledWorlds, graded_pairs, label_pairs, labelled_corpus
from simulator.world.truth import GRADE_DEFINITIONS, Truth
from simulator.world.world_config import Split, WorldConfig

__all__ = [
    "GRADE_DEFINITIONS",
    "Catalog",
    "LabelledWorlds",
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
