"""The one method that a relevance scorer has.

With it, a checker for scorers of your own, and how such a one is loaded by name.
"""

from __future__ import annotations

import importlib
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from .corpus import Corpus
from .errors import PluginError, ScorerError

IntArray = NDArray[np.int64]
FloatArray = NDArray[np.float64]


class RelevanceScorer(Protocol):
    """Says how relevant ads are to queries."""

    def score(self, query: IntArray, ad: IntArray) -> FloatArray:
        """Relevance of P pairs.

        Args:
            query: [P], indices of the corpus's queries.
            ad: [P], indices of the corpus's ads.

        Returns:
            float64 [P] in [0, 1], more for the more relevant. The score of a pair depends on that pair alone:
            not on the order of the pairs, nor on which others come with it, nor on what was scored before.
        """
        ...


def score_pairs(scorer: RelevanceScorer, query: IntArray, ad: IntArray, name: str) -> FloatArray:
    """Score pairs and refuse what is no relevance score.

    Raises:
        ScorerError: wrong length, NaN, or a value outside [0, 1]; names the scorer and the first
            offending pair.
    """
    score = np.asarray(scorer.score(query, ad), dtype=np.float64)
    if score.shape != query.shape:
        raise ScorerError(
            f"scorer '{name}': returned shape {score.shape} for {len(query)} pairs; "
            "it must return one score a pair"
        )
    wrong = ~((score >= 0.0) & (score <= 1.0))
    if wrong.any():
        i = int(np.argmax(wrong))
        raise ScorerError(
            f"scorer '{name}': score {score[i]} for query {query[i]} and ad {ad[i]}; "
            "scores must be numbers in [0, 1]"
        )
    return score


def check_scorer(
    scorer: RelevanceScorer,
    corpus: Corpus,
    rng: np.random.Generator,
    *,
    n_pairs: int = 64,
    tolerance: float = 1e-5,
) -> list[str]:
    """Try a scorer on random pairs of a corpus; an empty list means that it may rank ads.

    Args:
        tolerance: differences up to this are taken for rounding (batches may change the last digits of
            a neural score).

    Returns:
        What is wrong, a sentence each.
    """
    query = rng.integers(0, corpus.n_queries, n_pairs)
    ad = rng.integers(0, corpus.n_ads, n_pairs)
    try:
        score = score_pairs(scorer, query, ad, type(scorer).__name__)
    except ScorerError as error:
        return [str(error)]
    except Exception as error:  # whatever a stranger's code raises belongs into the verdict
        return [f"score() raised {type(error).__name__}: {error}"]
    problems = []

    def differs(other: Any) -> bool:
        other = np.asarray(other, dtype=np.float64)
        return other.shape != score.shape or bool((np.abs(other - score) > tolerance).any())

    order = rng.permutation(n_pairs)
    shuffled = np.empty_like(score)
    shuffled[order] = scorer.score(query[order], ad[order])
    if differs(shuffled):
        problems.append("the score of a pair depends on the order of the pairs")
    if differs(np.concatenate([scorer.score(query[i : i + 1], ad[i : i + 1]) for i in range(n_pairs)])):
        problems.append("the score of a pair depends on which other pairs come with it")
    if differs(scorer.score(query, ad)):
        problems.append("the same pairs score differently the second time")
    if np.asarray(scorer.score(query[:0], ad[:0])).shape != (0,):
        problems.append("no pairs must give no scores: an array of shape (0,)")
    return problems


def load_object(name: str, kind: str) -> Any:
    """The object that "module:attr" names.

    Args:
        kind: what it is to be, for the messages ("scorer", "fusion rule").

    Raises:
        PluginError: the name is not of that form, or the module or the attribute cannot be had.
    """
    module_name, colon, attribute = name.partition(":")
    if not colon or not module_name or not attribute:
        raise PluginError(f"{kind} '{name}': write it as 'module:attr', like 'my_package.my_module:MyScorer'")
    try:
        found: Any = importlib.import_module(module_name)
    except Exception as error:  # a stranger's module may raise anything while it is imported
        raise PluginError(
            f"{kind} '{name}': cannot import module '{module_name}' ({type(error).__name__}: {error})"
        ) from error
    for part in attribute.split("."):
        if not hasattr(found, part):
            raise PluginError(f"{kind} '{name}': module '{module_name}' has no '{attribute}'")
        found = getattr(found, part)
    return found
