"""Scorers of one's own, named as "module:attr": loaded, and tried before they rank."""

from __future__ import annotations

import hashlib
import inspect
from dataclasses import replace

import numpy as np

from relevance.corpus import Corpus
from relevance.errors import PluginError
from relevance.plug_in import Plugin
from relevance.pretrained import pretrained_of
from relevance.protocol import RelevanceScorer, check_scorer, kind_of_answer, load_object


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
        raise PluginError(
            f"scorer '{name}': must be a class or function that takes the corpus and gives a scorer"
        )
    plugin = Plugin(f"scorer '{name}'")
    frames = corpus.frames.view()
    frames.flags.writeable = False  # other scorers see the same ones
    scorer: RelevanceScorer = plugin.ask("making it failed:", factory, replace(corpus, frames=frames))
    _check_method(scorer, plugin, "it")
    faults = check_scorer(scorer, corpus, np.random.default_rng(0), name=name)
    if faults:
        raise PluginError(f"scorer '{name}': {'; '.join(faults)}")
    return scorer


def code_of(plug_in: str) -> str:
    """Hash of the source file that holds one's own code; what that imports in turn is not looked at.

    Raises:
        PluginError: it cannot be loaded.
    """
    found = load_object(plug_in, "code")
    module = inspect.getmodule(found) or inspect.getmodule(type(found))
    try:
        source = inspect.getsource(module) if module is not None else ""
    except (OSError, TypeError):  # no source: a module of compiled code
        source = ""
    return hashlib.blake2b(source.encode(), digest_size=12).hexdigest()


def of_queries(scorer: RelevanceScorer, texts: tuple[str, ...], name: str) -> RelevanceScorer | None:
    """A scorer of one's own for the same ads and these queries; None where it cannot give one.

    Raises:
        PluginError: what it gives is no scorer, or it fails.
    """
    plugin = Plugin(f"scorer '{name}'")
    method = plugin.ask("of_queries cannot be had:", getattr, scorer, "of_queries", None)
    if method is None:
        return None
    found: RelevanceScorer = plugin.ask("of_queries() raised", method, texts)
    _check_method(found, plugin, "of_queries()")
    return found


def _check_method(scorer: object, plugin: Plugin, made_by: str) -> None:
    """PluginError where something has no method score."""
    if not callable(plugin.ask("score cannot be had:", getattr, scorer, "score", None)):
        raise PluginError(
            f"{made_by} gives {kind_of_answer(scorer)}, which has no method score(query, ad)",
            file=plugin.name,
        )
