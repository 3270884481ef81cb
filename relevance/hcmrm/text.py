"""From words to token sequences: [CLS] query [SEP] keyword sequence [SEP]."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable, Sequence
from copy import copy
from dataclasses import dataclass, replace
from threading import Lock

import numpy as np
import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from relevance.arrays import BoolArray, IntArray
from relevance.hcmrm.model import TextBatch
from relevance.words import words_of

PAD, UNKNOWN, CLS, SEP, MASK = range(5)
MAX_QUERY = 16
"""Tokens of a query that are read."""
SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


def train_tokenizer(
    texts: Iterable[str],
    vocab_size: int,
    *,
    least: int = 3,
    longest_piece: int = 4,
    whole_words: bool = False,
) -> PreTrainedTokenizerFast:
    """A WordPiece vocabulary from texts: common words whole, then common pieces of words.

    Equal texts give equal vocabularies. (The trainer of the tokenizers library breaks ties at random.)

    Args:
        least: how often a word must occur to be kept whole.
        longest_piece: letters of the longest piece; pieces spell rare and misspelt words.
        whole_words: Chinese words are kept whole as others are, as `relevance.words` finds them; otherwise
            each character is a token, as in BERT.
    """
    pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    normalizer = normalizers.BertNormalizer(handle_chinese_chars=not whole_words)
    if whole_words:
        texts = (" ".join(words_of(text)) for text in texts)
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
class PairTokens:
    """The tokens of P pairs: `query` [P, Lq] and `keywords` [P, Lk], padded with 0."""

    query: IntArray
    keywords: IntArray
    cls: int
    sep: int

    def take(self, rows: IntArray) -> PairTokens:
        """Some of the pairs, by their places."""
        return replace(self, query=self.query[rows], keywords=self.keywords[rows])

    def length(self) -> IntArray:
        """Tokens of each pair's text, [CLS] and [SEP] included, [P]."""
        length: IntArray = 3 + np.count_nonzero(self.query, axis=1) + np.count_nonzero(self.keywords, axis=1)
        return length

    def text(self, *, markers: bool = True, without_keywords: BoolArray | None = None) -> TextBatch:
        """The token sequences, padded to the longest of them.

        Args:
            markers: mark tokens that query and keywords share (token types 2 and 3 instead of 0 and 1).
            without_keywords: bool [P], pairs to read without the ad's text.
        """
        second = self.keywords
        if without_keywords is not None:
            second = np.where(without_keywords[:, None], PAD, second)
        return join_texts(self.query, second, markers=markers, cls=self.cls, sep=self.sep)


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

    def of(self, query: IntArray | None, ad: IntArray) -> PairTokens:
        """The tokens of P query-ad pairs; `query` is None for keyword sequences without a query."""
        first = np.full((len(ad), 1), PAD) if query is None else self.query[query]
        return PairTokens(first, self.keywords[ad], self.cls, self.sep)

    def with_queries(self, tokenizer: PreTrainedTokenizerFast, texts: Sequence[str]) -> TokenTable:
        """The same ads with other queries."""
        return replace(self, query=token_ids(tokenizer, texts, MAX_QUERY))

    def pairs(
        self,
        query: IntArray | None,
        ad: IntArray,
        *,
        markers: bool = True,
        without_keywords: BoolArray | None = None,
    ) -> TextBatch:
        """Token sequences of P query-ad pairs: `of` and `PairTokens.text`."""
        return self.of(query, ad).text(markers=markers, without_keywords=without_keywords)


class TokenStore:
    """Texts of queries and ads that are tokenised when they are first asked for.

    The most that are kept of each are `keep`, or all of one call; the least recently used leave first.
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerFast,
        query_text: Callable[[int], str],
        keywords: Callable[[int], str],
        *,
        max_keywords: int = 32,
        keep: int = 2**16,
    ) -> None:
        """`query_text` and `keywords` give the text of a query, and of an ad, by its number."""
        number = tokenizer.get_vocab()
        self._cls, self._sep = number["[CLS]"], number["[SEP]"]
        self._query = _Kept(tokenizer, query_text, MAX_QUERY, keep)
        self._keywords = _Kept(tokenizer, keywords, max_keywords, keep)

    def of(self, query: IntArray, ad: IntArray) -> PairTokens:
        """The tokens of P query-ad pairs."""
        return PairTokens(self._query.rows(query), self._keywords.rows(ad), self._cls, self._sep)

    def with_queries(self, tokenizer: PreTrainedTokenizerFast, texts: Sequence[str]) -> TokenStore:
        """The same ads, and what is kept of them, with other queries."""
        other = copy(self)
        other._query = _Kept(tokenizer, texts.__getitem__, MAX_QUERY, len(texts))
        return other


class _Kept:
    """The tokens of numbered texts, one kind of them; safe for several threads."""

    def __init__(
        self, tokenizer: PreTrainedTokenizerFast, text: Callable[[int], str], limit: int, keep: int
    ) -> None:
        self._tokenizer, self._text, self._limit, self._keep = tokenizer, text, limit, keep
        self._tokens: OrderedDict[int, IntArray] = OrderedDict()  # least recently used first
        self._lock = Lock()

    def rows(self, which: IntArray) -> IntArray:
        """The tokens of texts I[P], [P, longest], padded with 0."""
        different, place = np.unique(which, return_inverse=True)
        with self._lock:
            rows = self._of(different.tolist())
        return rows[place]

    def _of(self, numbers: list[int]) -> IntArray:
        missing = [number for number in numbers if number not in self._tokens]
        new = token_ids(self._tokenizer, [self._text(number) for number in missing], self._limit)
        for number, row in zip(missing, new, strict=True):
            self._tokens[number] = row[row != PAD]
        for number in numbers:
            self._tokens.move_to_end(number)
        found = [self._tokens[number] for number in numbers]
        while len(self._tokens) > self._keep:
            self._tokens.popitem(last=False)
        length = np.array([len(tokens) for tokens in found], dtype=np.int64)
        table = np.full((len(found), max(1, int(length.max(initial=0)))), PAD, dtype=np.int64)
        table[np.arange(table.shape[1]) < length[:, None]] = np.concatenate([*found, np.empty(0, np.int64)])
        return table


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
    if not getattr(tokenizer.backend_tokenizer.normalizer, "handle_chinese_chars", True):
        texts = [" ".join(words_of(text)) for text in texts]
    ids = tokenizer(list(texts), add_special_tokens=False)["input_ids"] if texts else []
    longest = min(limit, max((len(row) for row in ids), default=1))
    table = np.full((len(texts), max(longest, 1)), PAD, dtype=np.int64)
    for row, tokens in zip(table, ids, strict=True):
        row[: len(tokens[:longest])] = tokens[:longest]
    return table
