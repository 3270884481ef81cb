"""The one method of a relevance scorer, a check of scorers of your own, and how one is loaded by name."""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np

from relevance.arrays import FloatArray, IntArray
from relevance.corpus import Corpus
from relevance.errors import PluginError, ScorerError, did_you_mean, quoted
from relevance.plug_in import Plugin, class_name, raised, text_of
from relevance.ranges import check_columns, check_within


class RelevanceScorer(Protocol):
    """Says how relevant ads are to queries."""

    def score(self, query: IntArray, ad: IntArray) -> FloatArray:
        """Relevance of P pairs.

        Args:
            query: [P], indices of the corpus's queries.
            ad: [P], indices of the corpus's ads.

        Returns:
            float64 [P] in [0, 1], larger for more relevant ads. The score of a pair depends on that pair
            alone: not on the order of the pairs, nor on the other pairs, nor on what was scored before.
        """
        ...


@runtime_checkable
class AnyQuery(RelevanceScorer, Protocol):
    """A scorer that can be asked about queries that its corpus does not have, without being made anew."""

    def of_queries(self, texts: tuple[str, ...]) -> RelevanceScorer:
        """A scorer of the same ads whose queries 0, 1, ... are these texts; it shares what is kept of ads.

        Args:
            texts: lower-case words separated by single spaces.
        """
        ...


def score_pairs(
    scorer: RelevanceScorer,
    query: IntArray,
    ad: IntArray,
    name: str,
    *,
    corpus: Corpus | None = None,
    chunk: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> FloatArray:
    """Score P pairs, and refuse results that are no relevance scores.

    Args:
        chunk: pairs to score at once, so that the chunks before a failure are kept; all of them by default.
        corpus: gives messages the owner's names of queries and ads.
        progress: called with (pairs scored, pairs in all).

    Raises:
        ScorerError: it raised something, or returned a wrong length, NaN, or a value outside [0, 1]; names
            the scorer and the first offending pair, and holds the scores before that (`done`).
        ValueError: query, ad or chunk is of another kind, or out of its range.
    """
    check_columns(query=query, ad=ad)
    if corpus is not None:
        check_within("query", query, 0, corpus.n_queries - 1, whole=len(query) > 0)
        check_within("ad", ad, 0, corpus.n_ads - 1, whole=len(ad) > 0)
    if chunk is not None:
        check_within("chunk", chunk, 1, 1e12, whole=True)
    score, plugin = np.full(len(query), np.nan), Plugin(f"scorer '{name}'")
    chunk = chunk or max(len(query), 1)
    for start in range(0, max(len(query), 1), chunk):
        rows = slice(start, min(start + chunk, len(query)))
        found, fault = _try(scorer, query[rows], ad[rows], plugin)
        if fault is not None:
            reason = _blame(scorer, query[rows], ad[rows], fault, corpus, plugin)
            error = ScorerError(reason, file=f"scorer '{name}'")
            error.done = score
            raise error from fault.cause
        score[rows] = found
        if progress is not None:
            progress(rows.stop, len(query))
    return score


class _Fault(NamedTuple):
    """What is wrong with a scorer's answer, and what to do."""

    what: str
    remedy: str
    pair: int | None = None
    """The pair at fault, if the answer says which."""
    cause: Exception | None = None


def _try(
    scorer: RelevanceScorer, query: IntArray, ad: IntArray, plugin: Plugin
) -> tuple[FloatArray, _Fault | None]:
    """A scorer's answer, and what is wrong with it."""
    nothing = np.empty(0)
    try:
        with plugin:
            answer = scorer.score(query.copy(), ad.copy())  # which a stranger may change in place
            score = as_numbers(answer)
    except ScorerError as error:  # which says what is wrong; a stranger may have changed its parts
        name = None if getattr(error, "file", None) else plugin.name
        raise ScorerError(text_of(error), file=name) from error
    except MemoryError as error:
        reason, remedy = f"score() raised {raised(error)}", "take fewer queries, candidates or ads"
        raise ScorerError(reason, file=plugin.name, remedy=remedy) from error
    except Exception as error:  # a stranger's code may raise anything
        return nothing, _Fault(f"score() raised {raised(error)}", "mend it", cause=error)
    if score is None:
        return nothing, _Fault(f"returned {kind_of_answer(answer)}", "it must return an array of numbers")
    if score.shape != query.shape:
        what = f"returned shape {score.shape} for {len(query)} pair{'s' * (len(query) != 1)}"
        return nothing, _Fault(what, "it must return one score a pair")
    wrong = ~((score >= 0.0) & (score <= 1.0))
    if wrong.any():
        pair = int(np.argmax(wrong))
        return nothing, _Fault(f"score {score[pair]}", "scores must be numbers in [0, 1]", pair)
    return score, None


def as_numbers(answer: Any) -> FloatArray | None:
    """A plug-in's answer as an array of numbers; None where it is none: complex ones, texts, masked ones."""
    try:
        array = np.asarray(answer)
        hidden = isinstance(answer, np.ma.MaskedArray) and bool(np.ma.getmaskarray(answer).any())
        return None if hidden or array.dtype.kind not in "fiub" else array.astype(np.float64)
    except (TypeError, ValueError):  # lists of different lengths
        return None


def kind_of_answer(answer: Any) -> str:
    """What a plug-in has returned that is no array of numbers, in words."""
    if inspect.iscoroutine(answer):  # of an `async def`; Python warns of one that is neither run nor closed
        answer.close()
    if isinstance(answer, np.ndarray):
        hidden = isinstance(answer, np.ma.MaskedArray)
        return "an array with masked values" if hidden else f"an array of {answer.dtype}"
    return "nothing" if answer is None else f"a {class_name(answer)}"


def _blame(
    scorer: RelevanceScorer,
    query: IntArray,
    ad: IntArray,
    fault: _Fault,
    corpus: Corpus | None,
    plugin: Plugin,
) -> str:
    """A fault in words, with the first pair that causes it."""
    if fault.pair is not None:
        first: int | None = fault.pair
    else:
        low, high = 0, len(query)  # the pairs before `high` fail, those before `low` do not
        while high - low > 1:
            middle = (low + high) // 2
            if _try(scorer, query[low:middle], ad[low:middle], plugin)[1] is None:
                low = middle
            else:
                high = middle
        alone = _try(scorer, query[low:high], ad[low:high], plugin)[1]
        first, fault = (low, alone) if alone is not None and high > low else (None, fault)
    where = ""
    if first is not None:
        where = f" for {_in_words(query[first], ad[first], corpus)}"
    elif len(query):
        where = f", the first pair being {_in_words(query[0], ad[0], corpus)}"
    return f"{fault.what}{where}; {fault.remedy}"


def _in_words(query: int, ad: int, corpus: Corpus | None) -> str:
    if corpus is None:
        return f"query {query} and ad {ad}"
    return f"query {quoted(corpus.query_text[query])} ({query}) and ad {quoted(corpus.ad_ids()[ad])}"


def check_scorer(
    scorer: RelevanceScorer,
    corpus: Corpus,
    rng: np.random.Generator,
    *,
    name: str | None = None,
    n_pairs: int = 64,
    tolerance: float = 1e-5,
) -> list[str]:
    """Try a scorer on random pairs of a corpus; an empty list means that it may rank ads.

    Args:
        name: what messages call it; by default its class's name.
        tolerance: differences up to this count as rounding (batches may change the last digits of a neural
            score).

    Returns:
        What is wrong, a sentence each.
    """
    check_within("n_pairs", n_pairs, 1, 1e9, whole=True)
    check_within("tolerance", tolerance, 0, 1)
    query = rng.integers(0, corpus.n_queries, n_pairs)
    ad = rng.integers(0, corpus.n_ads, n_pairs)

    def ask(rows: IntArray | slice) -> FloatArray:
        return score_pairs(scorer, query[rows], ad[rows], name or class_name(scorer), corpus=corpus)

    problems = []
    try:
        score = ask(slice(None))

        def differs(other: FloatArray) -> bool:
            return bool((np.abs(other - score) > tolerance).any())

        order = rng.permutation(n_pairs)
        shuffled = np.empty_like(score)
        shuffled[order] = ask(order)
        if differs(shuffled):
            problems.append("the score of a pair depends on the order of the pairs")
        if differs(np.concatenate([ask(slice(i, i + 1)) for i in range(n_pairs)])):
            problems.append("the score of a pair depends on which other pairs come with it")
        if differs(ask(slice(None))):
            problems.append("the same pairs score differently the second time")
        if _try(scorer, query[:0], ad[:0], Plugin("scorer"))[1] is not None:
            problems.append("no pairs must give no scores: an array of shape (0,)")
    except ScorerError as error:
        return [str(error.at())]
    return problems


FORM = "write it as 'module:attr'"


def names_object(text: str) -> bool:
    """Whether a text has the form "module:attr", dots in both."""
    module, _, attribute = text.partition(":")
    return all(part.isidentifier() for part in (*module.split("."), *attribute.split(".")))


def load_object(name: str, kind: str) -> Any:
    """The object that "module:attr" names.

    Args:
        kind: what it should be ("scorer", "fusion rule"), for messages.

    Raises:
        PluginError: the name has another form, or there is no such module or attribute.
    """
    plugin = Plugin(f"{kind} '{name}'")
    if not names_object(name):
        raise PluginError(f"{FORM}, like 'my_package.my_module:MyClass'", file=plugin.name)
    module_name, _, attribute = name.partition(":")
    if module_name.endswith(".py"):
        remedy = f"write {module_name.removesuffix('.py')}:{attribute}"
        raise PluginError("needs a module's name, not a file's", file=plugin.name, remedy=remedy)
    # The folder where you stand; last, or a random.py there would be taken for Python's.
    if "" not in sys.path:
        sys.path.append("")
    try:
        found = plugin.ask(f"cannot import module '{module_name}':", importlib.import_module, module_name)
    except PluginError as error:
        missing = error.__cause__.name if isinstance(error.__cause__, ModuleNotFoundError) else None
        if not missing or not f"{module_name}.".startswith(f"{missing}."):  # the module itself imports it
            raise
        raise PluginError(
            f"there is no module '{missing}' in the folder where you stand, nor among what is installed",
            file=plugin.name,
        ) from None
    for part in attribute.split("."):
        try:  # a module may compute its attributes
            found = plugin.ask("cannot be had:", getattr, found, part)
        except PluginError as error:
            if not isinstance(error.__cause__, AttributeError):
                raise
            top = module_name.partition(".")[0]
            loaded = plugin.ask("cannot be had:", getattr, sys.modules.get(top), "__file__", None)
            hidden = Path(f"{top}.py").exists() and loaded not in (None, str(Path(f"{top}.py").resolve()))
            has = plugin.ask("cannot be had:", dir, found)
            raise PluginError(
                f"module '{module_name}' has no '{attribute}'{did_you_mean(part, has)}",
                file=plugin.name,
                remedy=f"an installed module is called '{top}', too; rename yours" if hidden else None,
            ) from None
    return found
