"""HCMRM from public weights on real queries with human grades, by five folds over the queries.

    python -m benchmarks.real_folds --corpus FOLDER --bert FOLDER --out results/real-folds

FOLDER of --corpus: a corpus folder (`relbid corpus import`). FOLDER of --bert: a sentence encoder, or
`minilm`. docs/real-data.md has the design.

Every cell (a pre-training, or a fine-tuning of one arm on one fold with one seed) is stored when it is done;
the same command continues with the next one, and `--report` prints the tables of the cells that are there.
One thread. A pre-training takes no labels, so the folds of a seed share it.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from relevance.arrays import FloatArray, IntArray
from relevance.corpus import SPLITS, Corpus, LabelledCorpus, Labels
from relevance.hcmrm.checkpoint import Checkpoint
from relevance.hcmrm.importing import import_bert, write_imported
from relevance.hcmrm.text import TokenTable
from relevance.hcmrm.training.frozen_pairs import FrozenPairs, score_frozen
from relevance.hcmrm.training.train import train
from relevance.hcmrm.training.train_config import PUBLIC, TrainConfig
from relevance.hcmrm.vocabulary import read_tokenizer
from relevance.lexical import Bm25Scorer
from relevance.metrics import Interval, auc_by_weight, difference_interval, ndcg_by_query
from relevance.pretrained import PACKAGED, packaged_folder
from scenarios.storage.whole import write_whole_file

FOLDS = 5
SEEDS = (0, 1, 2)
TEXT_TOKENS = 40
"""Tokens of a product's text that the models read."""
WHOLE_TEXT = 160
"""The same for the sentence encoder alone, which is also measured on texts that are not cut."""
MLM_BATCH = 44
"""Texts of a step without PQVM, chosen by the processor time of a step with it (24 texts and 48 pairs), since
masked words cost more than matching. The report prints the time of both."""

PRETRAININGS: Mapping[str, dict[str, Any]] = {
    "mlm": {"pqvm_weight": 0.0, "align_batch": MLM_BATCH},
    "mlm+pqvm": {},
}


class Arm(NamedTuple):
    """One way of training: its pre-training on the catalogue, if any, and differences from the settings."""

    pretraining: str | None
    settings: Mapping[str, Any] = {}


ARMS: Mapping[str, Arm] = {
    "HCMRM (mlm+pqvm)": Arm("mlm+pqvm"),
    "mlm": Arm("mlm"),
    "labels alone": Arm(None),
    "prior alone": Arm(None, {"finetune_steps": 0}),
}
"""The prior alone weighs what the sentence encoder says of a pair and trains no layer."""


def read_corpus(folder: Path) -> LabelledCorpus:
    """A corpus folder, its ads without frames."""
    data = LabelledCorpus.load(folder)
    return replace(data, corpus=replace(data.corpus, frames=black(data.corpus.n_ads)))


def graded_ads(data: LabelledCorpus) -> LabelledCorpus:
    """The same labels on a corpus of the ads that have any; fine-tuning reads no others."""
    ads, place = np.unique(data.labels.ad, return_inverse=True)
    columns = (data.corpus.ad_title, data.corpus.ad_ocr, data.corpus.ad_asr)
    texts = (tuple(column[ad] for ad in ads) for column in columns)
    corpus = Corpus(data.corpus.query_text, *texts, data.corpus.frames[ads])
    return LabelledCorpus(corpus, replace(data.labels, ad=place))


def black(n_ads: int) -> np.ndarray[Any, Any]:
    """One frame an ad that takes no memory; a model of texts alone never looks at it."""
    return np.broadcast_to(np.uint8(0), (n_ads, 1, 16, 16, 3))


def folds_of_queries(texts: Sequence[str], n_folds: int, seed: int) -> IntArray:
    """The fold of each query, I[Q]. Queries that differ by a plural "s" alone are in the same one."""
    stem = {text: " ".join(word.removesuffix("s") for word in text.split()) for text in texts}
    groups = sorted(set(stem.values()))
    order = np.random.default_rng((seed, 61)).permutation(len(groups))
    fold = {groups[group]: place % n_folds for place, group in enumerate(order)}
    return np.array([fold[stem[text]] for text in texts], dtype=np.int64)


def splits_of_fold(data: LabelledCorpus, fold_of_query: IntArray, fold: int, seed: int) -> Labels:
    """Labels with the splits of one outer fold: its queries are `test`; a quarter of the others validates.

    Raises:
        ValueError: a query is in two splits.
    """
    texts = np.array(data.corpus.query_text)
    graded = np.unique(data.labels.query)
    inner = graded[fold_of_query[graded] != fold]
    validation = inner[folds_of_queries(texts[inner].tolist(), 4, 1000 * (fold + 1) + seed) == 0]
    code = np.full(len(texts), SPLITS.index("train"))
    code[validation] = SPLITS.index("validation")
    code[graded[fold_of_query[graded] == fold]] = SPLITS.index("test")
    labels = replace(data.labels, split=code[data.labels.query])
    check_apart(labels)
    return labels


def check_apart(labels: Labels) -> None:
    """Refuse labels of which a query is in two splits.

    Raises:
        ValueError: names such a query.
    """
    pairs = np.unique(np.stack((labels.query, labels.split)), axis=1)
    query, count = np.unique(pairs[0], return_counts=True)
    if (count > 1).any():
        raise ValueError(f"query {query[count > 1][0]} is in more than one split")


class Study:
    """The cells of the study in a folder."""

    def __init__(self, data: LabelledCorpus, bert: Path, out: Path, settings: Mapping[str, Any]) -> None:
        """`settings`: differences from `PUBLIC`, for a small trial."""
        self.data, self.graded = data, graded_ads(data)
        self.bert, self.out = bert, out
        self.config = replace(TrainConfig(), **{**PUBLIC, "model": {"text_tokens": TEXT_TOKENS}, **settings})
        self.fold = folds_of_queries(data.corpus.query_text, FOLDS, 0)
        self.kept: FrozenPairs | None = None

    def run(self, seeds: Sequence[int], log: Callable[[str], None]) -> None:
        """Compute the cells that are missing."""
        cells = [(seed, fold, name) for seed in seeds for name in ARMS for fold in range(FOLDS)]
        missing = [cell for cell in cells if not self.scores_file(*cell).is_file()]
        start = self.start_folder()
        for number, (seed, fold, name) in enumerate(missing):
            before = time.process_time()
            self._fine_tune(seed, fold, name, start)
            took = time.process_time() - before
            log(f"cell {number + 1} of {len(missing)}: seed {seed}, fold {fold}, {name}: {took:.0f} s")

    def start_folder(self) -> Path:
        """The imported public weights, rounded as every checkpoint's are."""
        folder = self.out / "start"
        if not (folder / "training.json").is_file():
            part = self.out / ".start"
            part.mkdir(parents=True, exist_ok=True)
            write_imported(import_bert(self.bert), read_tokenizer(self.bert), {"bert": self.bert.name}, part)
            Checkpoint.load(part).save(folder)
            shutil.rmtree(part)
        return folder

    def scores_file(self, seed: int, fold: int, name: str) -> Path:
        return self.out / f"scores-{seed}-{fold}-{name.replace(' ', '_')}.json"

    def pretrained(self, name: str, seed: int, start: Path) -> Path:
        """The checkpoint of a pre-training on the texts of the catalogue; no label and no query is read."""
        folder = self.out / f"pretrained-{name}-{seed}"
        if not (folder / "seconds.json").is_file():
            before = time.process_time()
            config = replace(self.config, init=str(start), seed=seed, stages=("align",), **PRETRAININGS[name])
            config = replace(config, align_batch=min(config.align_batch, self.data.corpus.n_ads))
            train(self.data, folder, config, save_every_s=None)
            write_whole_file(folder / "seconds.json", json.dumps(time.process_time() - before))
        return folder

    def _fine_tune(self, seed: int, fold: int, name: str, start: Path) -> None:
        arm = ARMS[name]
        init = start if arm.pretraining is None else self.pretrained(arm.pretraining, seed, start)
        data = replace(self.graded, labels=splits_of_fold(self.graded, self.fold, fold, seed))
        config = replace(self.config, init=str(init), seed=seed, stages=("finetune",), **arm.settings)
        folder = self.out / "now"
        shutil.rmtree(folder, ignore_errors=True)
        before = time.process_time()
        kept = self._kept(start)
        trained = train(data, folder, config, save_every_s=None, kept=kept)
        seconds = time.process_time() - before
        test = data.labels.of("test")
        cell = {
            "query": test.query.tolist(),
            "ad": test.ad.tolist(),
            "score": score_frozen(trained.model, kept, test.query, test.ad).tolist(),
            "seconds": seconds,
            "log": trained.training["log"],
        }
        write_whole_file(self.scores_file(seed, fold, name), json.dumps(cell))
        shutil.rmtree(folder)

    def _kept(self, start: Path) -> FrozenPairs:
        """What the frozen text encoder says of every labelled pair, for all cells."""
        if self.kept is None:
            checkpoint, labels = Checkpoint.load(start), self.graded.labels
            self.kept = FrozenPairs(self._tables(checkpoint, TEXT_TOKENS))
            self.kept.of(checkpoint.model, labels.query, labels.ad)
        return self.kept

    def _tables(self, checkpoint: Checkpoint, tokens: int) -> TokenTable:
        corpus = self.graded.corpus
        sequences = [checkpoint.keywords(text) for text in corpus.ad_texts()]
        return TokenTable.build(checkpoint.tokenizer, corpus.query_text, sequences, max_keywords=tokens)

    def zero_shot(self, tokens: int = TEXT_TOKENS) -> FloatArray:
        """Scores of the untrained start, which rise with the sentence encoder's cosine; of every pair.

        Args:
            tokens: of an ad's text that are read.
        """
        file = self.out / f"zero-shot-{tokens}.json"
        if not file.is_file():
            checkpoint, labels = Checkpoint.load(self.start_folder()), self.graded.labels
            kept = FrozenPairs(self._tables(checkpoint, tokens))
            scores = score_frozen(checkpoint.model, kept, labels.query, labels.ad)
            write_whole_file(file, json.dumps(scores.tolist()))
        return np.array(json.loads(file.read_text(encoding="utf-8")))

    def scores(self, name: str, seed: int) -> FloatArray | None:
        """Scores of all labelled pairs, each by a model that did not see its query; None: cells missing."""
        labels = self.graded.labels
        place = {
            pair: row for row, pair in enumerate(zip(labels.query.tolist(), labels.ad.tolist(), strict=True))
        }
        score = np.full(len(labels), np.nan)
        for fold in range(FOLDS):
            path = self.scores_file(seed, fold, name)
            if not path.is_file():
                return None
            cell = json.loads(path.read_text(encoding="utf-8"))
            for query, ad, value in zip(cell["query"], cell["ad"], cell["score"], strict=True):
                score[place[query, ad]] = value
        return score


def mean_auc(labels: Labels, fold: IntArray, score: FloatArray) -> Callable[[FloatArray], float]:
    """AUC of positive against negative pairs within a fold, mean over the folds, by weights of pairs [P]."""
    parts = [
        (rows, auc_by_weight(labels.grade[rows] >= 2, score[rows]))
        for rows in (np.flatnonzero(fold[labels.query] == one) for one in range(FOLDS))
    ]
    return lambda weight: float(np.nanmean([of(weight[rows]) for rows, of in parts]))


def mean_ndcg(labels: Labels, score: FloatArray) -> Callable[[FloatArray], float]:
    """NDCG@10, mean over the queries that have any gain, by weights of pairs [P]."""
    query, ndcg = ndcg_by_query(labels.query, labels.grade, score)
    first = np.array([np.flatnonzero(labels.query == one)[0] for one in query])
    return lambda weight: float(np.average(ndcg, weights=weight[first]))


def compared(
    labels: Labels, fold: IntArray, ours: Sequence[FloatArray], other: Sequence[FloatArray], metric: str
) -> tuple[float, Interval]:
    """A metric of scores, mean over their seeds, and its lead over other scores, paired over queries."""
    make = (lambda s: mean_auc(labels, fold, s)) if metric == "AUC" else (lambda s: mean_ndcg(labels, s))
    first, second = ([make(score) for score in scores] for scores in (ours, other))

    def lead(weight: FloatArray) -> float:
        return float(np.mean([of(weight) for of in first]) - np.mean([of(weight) for of in second]))

    every = np.ones(len(labels))
    interval = difference_interval(labels.query, lead, rng=np.random.default_rng(0), n_resamples=2000)
    return float(np.mean([of(every) for of in first])), interval


def report(study: Study, seeds: Sequence[int]) -> str:
    """Tables in Markdown, of the arms and seeds whose folds are all there."""
    labels, fold = study.data.labels, study.fold
    found = {name: [s for seed in seeds if (s := study.scores(name, seed)) is not None] for name in ARMS}
    scores: dict[str, list[FloatArray]] = {name: made for name, made in found.items() if made}
    scores["zero-shot cosine"] = [study.zero_shot()]
    scores["zero-shot cosine, whole texts"] = [study.zero_shot(WHOLE_TEXT)]
    scores["BM25"] = [Bm25Scorer(study.data.corpus).score(study.data.labels.query, study.data.labels.ad)]
    reference = next(iter(scores))
    lines = []
    for metric in ("AUC", "NDCG@10"):
        lines += [
            f"| {metric} | mean | by seed | lead of {reference} [95% interval over queries] |",
            "|---|---|---|---|",
        ]
        for name, made in scores.items():
            value, _ = compared(labels, fold, made, made, metric)
            each = " ".join(f"{compared(labels, fold, [s], [s], metric)[0]:.3f}" for s in made)
            _, lead = compared(labels, fold, scores[reference], made, metric)
            shown = "" if name == reference else f"{lead.value:+.3f} [{lead.low:+.3f}, {lead.high:+.3f}]"
            lines.append(f"| {name} | {value:.3f} | {each} | {shown} |")
        lines.append("")
    for name in PRETRAININGS:
        files = [study.out / f"pretrained-{name}-{seed}" / "seconds.json" for seed in seeds]
        seconds = [json.loads(file.read_text()) for file in files if file.is_file()]
        if seconds:
            lines.append(f"{name}: {np.mean(seconds):.0f} s of processor time a pre-training")
    return "\n".join(lines)


def main() -> None:
    """Run the study, or print what is there of it."""
    parser = argparse.ArgumentParser(prog="benchmarks.real_folds", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--corpus", type=Path, required=True)
    parser.add_argument("--bert", type=Path, required=True, help="a sentence encoder's folder, or minilm")
    parser.add_argument("--out", type=Path, default=Path("results/real-folds"))
    parser.add_argument("--seeds", type=int, nargs="+", default=list(SEEDS))
    parser.add_argument("--report", action="store_true", help="print the tables of what is there")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    name = str(arguments.bert)
    bert = packaged_folder(name) if name in PACKAGED else arguments.bert
    study = Study(read_corpus(arguments.corpus), bert, arguments.out, {})
    if not arguments.report:
        study.run(arguments.seeds, lambda line: print(f"{time.strftime('%H:%M:%S')} {line}", flush=True))
    text = report(study, arguments.seeds)
    write_whole_file(arguments.out / "report.md", text + "\n")
    print(text)


if __name__ == "__main__":
    sys.exit(main())
