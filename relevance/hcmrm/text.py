"""From words to token sequences: [CLS] query [SEP] keyword sequence [SEP]."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from relevance.arrays import BoolArray, IntArray
from relevance.hcmrm.model import TextBatch

PAD, UNKNOWN, CLS, SEP, MASK = range(5)
MAX_QUERY = 16
"""Tokens of a query that are read."""
SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


def train_tokenizer(
    texts: Iterable[str], vocab_size: int, *, least: int = 3, longest_piece: int = 4
) -> PreTrainedTokenizerFast:
    """A WordPiece vocabulary from texts: common words whole, then common pieces of words.

    Equal texts give equal vocabularies. (The trainer of the tokenizers library breaks ties at random.)

    Args:
        least: how often a word must occur to be kept whole.
        longest_piece: letters of the longest piece; pieces spell rare and misspelt words.
    """
    pre_tokenizer, normalizer = pre_tokenizers.BertPreTokenizer(), normalizers.BertNormalizer()
    words = Counter(
        word for text in texts for word, _ in pre_tokenizer.pre_tokenize_str(normalizer.normalize_str(text))
    )
    pieces: Counter[str] = Counter()
    for word, count in words.items():
        for start in range(len(word)):
            for end in range(start + 1, min(start + longest_piece, len(word)) + 1):
                pieces[word[start:end] if start == 0 else f"##{word[start:end]}"] += count
    letters = sorted(piece for piece in pieces if len(piece.removeprefix("##")) == 1)
    whole = sorted(
        (word for word, count in words.items() if count >= least), key=lambda word: (-words[word], word)
    )
    rest = sorted(pieces, key=lambda piece: (-pieces[piece], piece))
    vocabulary = list(dict.fromkeys((*SPECIAL_TOKENS, *letters, *whole, *rest)))[:vocab_size]
    model = models.WordPiece({token: number for number, token in enumerate(vocabulary)}, unk_token="[UNK]")
    tokenizer = Tokenizer(model)
    tokenizer.normalizer, tokenizer.pre_tokenizer = normalizer, pre_tokenizer
    return wrap_tokenizer(tokenizer)


def wrap_tokenizer(tokenizer: Tokenizer) -> PreTrainedTokenizerFast:
    """The tokenizer as transformers has it, with its special tokens named."""
    names = ("pad_token", "unk_token", "cls_token", "sep_token", "mask_token")
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, **dict(zip(names, SPECIAL_TOKENS, strict=True))
    )


@dataclass(frozen=True, slots=True)
class TokenTable:
    """Every text of a corpus, tokenised once: int64 `query` [Q, Lq] and `keywords` [A, Lk], padded with 0.

    `cls` and `sep` are the numbers of [CLS] and [SEP]; a BERT's are others than those of a vocabulary
    trained here.
    """

    query: IntArray
    keywords: IntArray
    cls: int = CLS
    sep: int = SEP

    @staticmethod
    def build(
        tokenizer: PreTrainedTokenizerFast,
        query_text: Sequence[str],
        keywords: Sequence[tuple[str, ...]],
        *,
        max_query: int = MAX_QUERY,
        max_keywords: int = 32,
    ) -> TokenTable:
        """Tokenise queries and keyword sequences; what is longer than the maxima is cut."""
        number = tokenizer.get_vocab()
        return TokenTable(
            token_ids(tokenizer, query_text, max_query),
            token_ids(tokenizer, [" ".join(words) for words in keywords], max_keywords),
            number["[CLS]"],
            number["[SEP]"],
        )

    def pairs(
        self,
        query: IntArray | None,
        ad: IntArray,
        *,
        markers: bool = True,
        without_keywords: BoolArray | None = None,
    ) -> TextBatch:
        """Token sequences of P query-ad pairs, padded to the longest of them.

        Args:
            query: None for keyword sequences without a query.
            markers: mark tokens that query and keywords share (token types 2 and 3 instead of 0 and 1).
            without_keywords: bool [P], pairs to read without the ad's text.
        """
        first = np.full((len(ad), 1), PAD) if query is None else self.query[query]
        second = self.keywords[ad]
        if without_keywords is not None:
            second = np.where(without_keywords[:, None], PAD, second)
        return join_texts(first, second, markers=markers, cls=self.cls, sep=self.sep)


def join_texts(
    first: IntArray, second: IntArray, *, markers: bool = True, cls: int = CLS, sep: int = SEP
) -> TextBatch:
    """[CLS] first [SEP] second [SEP] for P pairs of token rows [P, L1] and [P, L2].

    Padding may be anywhere in the rows; in the result it is at the end.

    Args:
        markers: mark tokens that both have (token types 2 and 3 instead of 0 and 1).
    """
    p = len(first)
    start, end = np.full((p, 1), cls), np.full((p, 1), sep)
    ids = np.concatenate((start, first, end, second, end), axis=1)
    token_type = np.concatenate(
        (np.zeros((p, first.shape[1] + 2)), np.ones((p, second.shape[1] + 1))), axis=1
    )
    if markers:
        shared = (first[:, :, None] == second[:, None, :]) & (first[:, :, None] != PAD)
        token_type[:, 1 : 1 + first.shape[1]] += 2 * shared.any(axis=2)
        token_type[:, 2 + first.shape[1] : -1] += 2 * shared.any(axis=1)
    # Close the gaps: tokens first, in their order, then padding.
    order = np.argsort(ids == PAD, axis=1, kind="stable")[:, : int((ids != PAD).sum(axis=1).max(initial=1))]
    ids = np.take_along_axis(ids, order, axis=1)
    token_type = np.take_along_axis(token_type, order, axis=1).astype(np.int64)
    return TextBatch(
        torch.from_numpy(ids),
        torch.from_numpy((ids != PAD).astype(np.int64)),
        torch.from_numpy(token_type),
    )


def token_ids(tokenizer: PreTrainedTokenizerFast, texts: Sequence[str], limit: int) -> IntArray:
    """Token ids of each text without special tokens, [len(texts), longest], padded with 0."""
    ids = tokenizer(list(texts), add_special_tokens=False)["input_ids"] if texts else []
    longest = min(limit, max((len(row) for row in ids), default=1))
    table = np.full((len(texts), max(longest, 1)), PAD, dtype=np.int64)
    for row, tokens in zip(table, ids, strict=True):
        row[: len(tokens[:longest])] = tokens[:longest]
    return table
