"""The embedded world: no download, everything from one seed."""

from simulator.world.build import World as World, build_world as build_world
from simulator.world.catalog import Catalog as Catalog, load_catalog as load_catalog
from simulator.world.labels import (
    graded_pairs as graded_pairs,
    label_pairs as label_pairs,
    labelled_corpus as labelled_corpus,
)
from simulator.world.truth import GRADE_DEFINITIONS as GRADE_DEFINITIONS, Truth as Truth
from simulator.world.world_config import Split as Split, WorldConfig as WorldConfig
