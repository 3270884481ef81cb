"""A BERT's own tokenizer."""

from __future__ import annotations

import json
from pathlib import Path

from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

from relevance.errors import CheckpointError
from relevance.hcmrm.text import SPECIAL_TOKENS


def read_tokenizer(folder: Path) -> Tokenizer:
    """The tokenizer of a BERT: `tokenizer.json`, or else `vocab.txt`.

    Raises:
        CheckpointError: neither is there, or it lacks BERT's special tokens.
    """
    whole, words = folder / "tokenizer.json", folder / "vocab.txt"
    try:
        if whole.is_file():
            path, tokenizer = whole, Tokenizer.from_file(str(whole))
        elif words.is_file():
            path, tokenizer = words, _tokenizer_of_words(folder)
        else:
            raise CheckpointError(f"{folder}: has neither tokenizer.json nor vocab.txt; give a BERT's folder")
    except CheckpointError:
        raise
    except Exception as error:  # the tokenizers library raises nothing more specific
        raise CheckpointError(f"{path}: damaged tokenizer ({error}); download it again") from error
    missing = [token for token in SPECIAL_TOKENS if tokenizer.token_to_id(token) is None]
    if missing:
        raise CheckpointError(
            f"{path}: lacks the special tokens {', '.join(missing)}; give a BERT's tokenizer"
        )
    if tokenizer.token_to_id("[PAD]") != 0:
        raise CheckpointError(f"{path}: [PAD] must be token 0, is {tokenizer.token_to_id('[PAD]')}")
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def _tokenizer_of_words(folder: Path) -> Tokenizer:
    """BERT's WordPiece from the lines of vocab.txt."""
    words = (folder / "vocab.txt").read_text(encoding="utf-8").splitlines()
    lower = True
    if (folder / "tokenizer_config.json").is_file():
        text = (folder / "tokenizer_config.json").read_text(encoding="utf-8")
        lower = bool(json.loads(text).get("do_lower_case", True))
    vocabulary = {word: number for number, word in enumerate(words)}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=lower)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return tokenizer
