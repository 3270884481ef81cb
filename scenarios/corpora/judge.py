"""`relbid judge`: grades of pairs by scorers, or by a model behind an endpoint.

What is finished is kept line by line in `<out>.part`. Killed at any moment, the same command continues after
it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from relevance.chat_judge import ChatJudge
from relevance.corpus import N_GRADES, Corpus, LabelledCorpus
from relevance.errors import ScorerError
from relevance.judging import Judged, judge_by_folds
from relevance.lexical import Bm25Scorer
from relevance.pretrained import load_pretrained, model_folder, model_key, pretrained_of
from relevance.protocol import RelevanceScorer, score_pairs
from scenarios.corpora.kept_answers import REMEDY, KeptAnswers
from scenarios.corpora.pair_scores import read_pairs
from scenarios.errors import UserError, quoted
from scenarios.markets.checkpoints import SHIPPED_CHECKPOINT, checkpoint_hash
from scenarios.markets.kind import Progress, stage_of
from scenarios.markets.plug_ins import code_of, is_own, own_scorer
from scenarios.storage.parquet import check_replaced, parquet_notes, read_stored, write_parquet
from scenarios.storage.whole import alone, check_replaceable, whole_path, writing
from simulator.arrays import FloatArray, IntArray

JUDGE = "judge"
"""Name of the note in the table that says who judged."""
CHUNK = 512
"""Pairs that a scorer is given at once, and that are kept together."""


class Judges(NamedTuple):
    """Who judges: scorers by name, or a model behind an endpoint."""

    scorers: tuple[str, ...] = ()
    chat: ChatJudge | None = None
    concurrent: int = 1
    """Requests at once."""
    checkpoint: Path = SHIPPED_CHECKPOINT
    """Of the scorer hcmrm."""
    device: str = "cpu"

    @property
    def source(self) -> str:
        return "+".join(self.scorers) if self.chat is None else self.chat.model


@dataclass(frozen=True, slots=True)
class JudgedPairs:
    """P judged pairs of a corpus, by query, then ad; `labelled` [L] are those that people graded.

    `scores` [S, P] and their mean P(relevant) [P] are there for scorers alone.
    """

    data: LabelledCorpus
    query: IntArray
    ad: IntArray
    judged: Judged
    labelled: IntArray
    grade: IntArray  # [L] people's
    scores: FloatArray | None = None
    mean: FloatArray | None = None


def judge_corpus(
    folder: Path,
    judges: Judges,
    out: Path,
    *,
    pairs: Path | None = None,
    nearest: int = 0,
    progress: Progress | None = None,
) -> JudgedPairs:
    """Judge the labelled pairs of a corpus, and others, and write them to the Parquet file `out`.

    Its columns, query and ad (ids of the corpus), grade, confidence and source, are those of `market.grades`.

    Args:
        pairs: a table with query_id and ad_id of further pairs.
        nearest: also judge so many ads of each query, the best by BM25.

    Raises:
        CheckpointError, CorpusError, PluginError, ScorerError: the corpus or a judge cannot be used, or the
            judge fails; what is finished stays.
        UserError: the table of pairs cannot be read; `out` belongs to something else, or cannot be written.
    """
    check_replaceable(out, REMEDY)
    columns = ("query", "ad", "grade", "confidence", "source")
    check_replaced(out, columns, REMEDY)
    data = LabelledCorpus.load(folder)
    scorers = {name: _scorer(name, judges, data.corpus) for name in judges.scorers}
    _check_own(out, judges)
    query, ad = _wanted(data, pairs, nearest)
    place = {pair: i for i, pair in enumerate(zip(query.tolist(), ad.tolist(), strict=True))}
    labels = data.labels
    labelled = np.array(
        [place[pair] for pair in zip(labels.query.tolist(), labels.ad.tolist(), strict=True)], dtype=np.int64
    )
    if judges.chat is None and not len(labels):
        raise UserError(
            "has no labels to fit a scorer's grades on", file=folder, remedy="take a judge with --endpoint"
        )
    identity = {"corpus": data.corpus.fingerprint(), "judge": [*_identity(judges), *_own_code(judges)]}
    is_answer = _is_score if judges.chat is None else _is_grade
    with (
        writing(out, REMEDY),
        alone(out, "judge"),
        KeptAnswers(out.with_name(f"{out.name}.part"), identity, is_answer) as kept,
    ):
        if judges.chat is None:
            scores = _scores(scorers, data.corpus, query, ad, kept, progress)
            judged, mean = judge_by_folds(
                query, scores, labelled, labels.grade, data.corpus.n_queries, name=judges.source
            )
            result = JudgedPairs(data, query, ad, judged, labelled, labels.grade, scores, mean)
        else:
            judged = _asked(judges, data.corpus, query, ad, kept, progress)
            result = JudgedPairs(data, query, ad, judged, labelled, labels.grade)
        with whole_path(out, remedy=REMEDY) as unfinished:
            write_parquet(_table(result, judges.source), unfinished, {JUDGE: _told(judges)})
        kept.remove()
    return result


def _is_score(answer: Sequence[Any]) -> bool:
    return len(answer) == 1 and isinstance(answer[0], float) and math.isfinite(answer[0])


def _is_grade(answer: Sequence[Any]) -> bool:
    if len(answer) != 2 or type(answer[0]) is not int or not isinstance(answer[1], float):
        return False
    return 0 <= answer[0] < N_GRADES and 0 <= answer[1] <= 1


def _check_own(out: Path, judges: Judges) -> None:
    """Refuse to replace the grades of another judge, which may have cost money or hours.

    Raises:
        UserError: names the file, and that judge; or it cannot be read.
    """
    if not (out.is_file() and out.stat().st_size):
        return
    held = read_stored(out, REMEDY)["source"].to_list()
    if others := [name for name in held if name != judges.source]:
        told = quoted(str(others[0]))
        raise UserError(f"holds grades of another judge, {told}", file=out, remedy=REMEDY)
    if parquet_notes(out).get(JUDGE, told := _told(judges)) != told:
        reason = f"holds grades of another {quoted(judges.source)}, at another address or with other weights"
        raise UserError(reason, file=out, remedy=REMEDY)


def _told(judges: Judges) -> str:
    """Who judges, as it stands in the table that the judge has written."""
    return json.dumps(_identity(judges))


def _own_code(judges: Judges) -> list[str]:
    """What one's own scorers are made of: scores of other code are not continued."""
    return [code_of(name) for name in judges.scorers if is_own(name)]


def _wanted(data: LabelledCorpus, pairs: Path | None, nearest: int) -> tuple[IntArray, IntArray]:
    """The pairs to judge, each once, by query, then ad."""
    corpus, n_ads = data.corpus, max(data.corpus.n_ads, 1)
    keys = [data.labels.query * n_ads + data.labels.ad]
    if pairs is not None:
        for query, ad in (found.T for found in read_pairs(pairs, corpus)):
            keys.append(query * n_ads + ad)
        if len(keys) == 1:
            raise UserError("has no rows", file=pairs, remedy="leave --pairs out")
    if nearest:
        scorer, every = Bm25Scorer(corpus), np.arange(corpus.n_ads)
        for query in range(corpus.n_queries):
            score = scorer.score(np.full_like(every, query), every)
            best = np.argsort(-score, kind="stable")[:nearest]
            keys.append(query * n_ads + best[score[best] > score.min()])
    key = np.unique(np.concatenate(keys))
    return key // n_ads, key % n_ads


def _identity(judges: Judges) -> list[Any]:
    """What decides a judge's answers."""
    if judges.chat is not None:
        return ["chat", judges.chat.url, judges.chat.model]
    found: list[Any] = []
    for name in judges.scorers:
        of_model = ""
        if pretrained_of(name):
            of_model = model_key(model_folder(name))
        elif name == "hcmrm":
            of_model = checkpoint_hash(judges.checkpoint)
        found.append([name, of_model])
    return found


def _scorer(name: str, judges: Judges, corpus: Corpus) -> RelevanceScorer:
    if pretrained_of(name):
        return load_pretrained(name, corpus, device=judges.device)
    if name == "hcmrm":
        from relevance.hcmrm import HcmrmScorer

        return HcmrmScorer.load(corpus, judges.checkpoint, device=judges.device)
    if name == "bm25":
        return Bm25Scorer(corpus)
    if is_own(name):
        return own_scorer(name, corpus)
    raise UserError(
        f"'{name}' judges no pairs",
        field="--by",
        remedy="name bm25, hcmrm, minilm, bi_encoder=FOLDER, cross_encoder=FOLDER or module:attr",
    )


def _scores(
    scorers: dict[str, RelevanceScorer],
    corpus: Corpus,
    query: IntArray,
    ad: IntArray,
    kept: KeptAnswers,
    progress: Progress | None,
) -> FloatArray:
    """Plain scores [S, P], those that are kept and those that are missing."""
    scores = np.full((len(scorers), query.size), np.nan)
    for row, (name, scorer) in enumerate(scorers.items()):
        for i, pair in enumerate(zip(query.tolist(), ad.tolist(), strict=True)):
            scores[row, i] = kept.found.get((name, *pair), [np.nan])[0]
        missing = np.flatnonzero(np.isnan(scores[row]))
        if not missing.size:
            continue
        stage = stage_of(progress, f"scoring with {name}")
        for start in range(0, missing.size, CHUNK):
            part = missing[start : start + CHUNK]
            found = score_pairs(scorer, query[part], ad[part], name, corpus=corpus)
            scores[row, part] = found
            kept.add(
                [name, int(query[i]), int(ad[i]), float(one)] for i, one in zip(part, found, strict=True)
            )
            if stage is not None:
                stage(query.size - missing.size + start + part.size, query.size)
    return scores


def _asked(
    judges: Judges,
    corpus: Corpus,
    query: IntArray,
    ad: IntArray,
    kept: KeptAnswers,
    progress: Progress | None,
) -> Judged:
    """Grades by the endpoint, those that are kept and those that are missing, some requests at once."""
    chat = judges.chat
    assert chat is not None
    stage = stage_of(progress, f"asking {chat.model}")
    pairs = list(zip(query.tolist(), ad.tolist(), strict=True))
    missing = iter([pair for pair in pairs if (chat.model, *pair) not in kept.found])
    done = sum((chat.model, *pair) in kept.found for pair in pairs)

    def ask(pair: tuple[int, int]) -> tuple[tuple[int, int], tuple[int, float]]:
        return pair, chat.grade(corpus.query_text[pair[0]], corpus.ad_text(pair[1]))

    with ThreadPoolExecutor(judges.concurrent) as pool:
        waiting: set[Future[Any]] = set()
        fault: ScorerError | None = None
        while True:
            for pair in missing if fault is None else ():
                waiting.add(pool.submit(ask, pair))
                if len(waiting) >= judges.concurrent:
                    break
            if not waiting:
                break
            finished, waiting = wait(waiting, return_when=FIRST_COMPLETED)
            for one in finished:
                try:
                    pair, (grade, confidence) = one.result()
                except ScorerError as error:  # what is under way may still end well
                    fault = fault or error
                    continue
                kept.add([[chat.model, *pair, grade, confidence]])
                done += 1
                if stage is not None:
                    stage(done, len(pairs))
    if fault is not None:
        raise fault
    found = [kept.found[chat.model, *pair] for pair in pairs]
    grades, confidences = zip(*found, strict=True) if found else ((), ())
    return Judged(np.array(grades, dtype=np.int64), np.array(confidences, dtype=np.float64))


def _table(result: JudgedPairs, source: str) -> pl.DataFrame:
    query, ad = result.data.corpus.query_ids(), result.data.corpus.ad_ids()
    return pl.DataFrame(
        {
            "query": [query[i] for i in result.query.tolist()],
            "ad": [ad[i] for i in result.ad.tolist()],
            "grade": result.judged.grade,
            "confidence": result.judged.confidence,
            "source": [source] * result.query.size,
        }
    )
