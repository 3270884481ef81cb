"""Scorers of one's own, named as "module:attr": loaded, and tried before they rank anything."""

from __future__ import annotations

import numpy as np

from relevance.corpus import Corpus
from relevance.errors import PluginError
from relevance.plug_in import Plugin
from relevance.pretrained import pretrained_of
from relevance.protocol import RelevanceScorer, check_scorer, load_object


def is_own(scorer: str) -> bool:
    """Whether a scorer's name is "module:attr"."""
    return ":" in scorer and pretrained_of(scorer) is None


def own_scorer(name: str, corpus: Corpus) -> RelevanceScorer:
    """Make the scorer that "module:attr" names, and try it.

    Raises:
        PluginError: it cannot be loaded, or is no scorer.
    """
    factory = load_object(name, "scorer")
    if not callable(factory):
        raise PluginError(f"scorer '{name}': must be a callable that takes the corpus and returns a scorer")
    scorer: RelevanceScorer = Plugin(f"scorer '{name}'").ask("making it failed:", factory, corpus)
    faults = check_scorer(scorer, corpus, np.random.default_rng(0))
    if faults:
        raise PluginError(f"scorer '{name}': {'; '.join(faults)}")
    return scorer
