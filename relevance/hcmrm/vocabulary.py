"""A BERT's own tokenizer."""

from __future__ import annotations

from pathlib import Path

from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

from relevance.errors import CheckpointError, in_words
from relevance.files import read_json, read_text
from relevance.hcmrm.text import SPECIAL_TOKENS


def read_tokenizer(folder: Path) -> Tokenizer:
    """The tokenizer of a BERT: `tokenizer.json`, or else `vocab.txt`.

    Raises:
        CheckpointError: neither is there, or it lacks BERT's special tokens.
    """
    path = next((folder / name for name in ("tokenizer.json", "vocab.txt") if (folder / name).exists()), None)
    if path is None:
        raise CheckpointError(f"{folder}: has neither tokenizer.json nor vocab.txt; give a BERT's folder")
    text = read_text(path, CheckpointError, "download it again")
    try:
        tokenizer = Tokenizer.from_str(text) if path.suffix == ".json" else _tokenizer_of_words(folder, text)
    except CheckpointError:
        raise
    except Exception as error:  # the tokenizers library raises nothing more specific
        raise CheckpointError(f"{path}: damaged tokenizer ({in_words(error)}); download it again") from error
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


def _tokenizer_of_words(folder: Path, text: str) -> Tokenizer:
    """BERT's WordPiece from the lines of vocab.txt."""
    words, lower, config = text.splitlines(), True, folder / "tokenizer_config.json"
    if config.exists():
        lower = bool(read_json(config, dict, CheckpointError, "download it again").get("do_lower_case", True))
    vocabulary = {word: number for number, word in enumerate(words)}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=lower)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return tokenizer
