"""A checkpoint folder.

It holds weights (safetensors, never pickle), sizes, vocabulary, keyword weights, and how it was trained.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save
from tokenizers import Tokenizer
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from relevance.calibration import FITS, Calibration, calibration_from
from relevance.errors import CheckpointError, UserError, in_words, quoted
from relevance.extras import MissingExtraError
from relevance.files import check_file, read_json, read_text
from relevance.hcmrm.model import HCMRM
from relevance.hcmrm.model_config import HCMRMConfig, check_sizes
from relevance.hcmrm.text import wrap_tokenizer
from relevance.keywords import KeywordExtractor, extractor_from

WEIGHTS, SIZES, TOKENIZER, KEYWORDS, TRAINING = (
    "model.safetensors", "config.json", "tokenizer.json", "keywords.json", "training.json",
)  # fmt: skip
CALIBRATION = "calibration.json"
"""Only checkpoints that were calibrated have it (`relbid calibrate`)."""
SCHEMA = "1"
"""Version of this format. The header of the weights holds it, and a hash of the texts they belong to."""
AGAIN = "train it again or restore it from git"
SHIPPED = Path(__file__).parent / "checkpoint"
"""The checkpoint that comes with the package."""


DAMAGE = (
    *(SafetensorError, RuntimeError, ValueError, LookupError, TypeError, ArithmeticError, AttributeError),
    *(OSError, ImportError),
)
"""What reading the files of a damaged folder raises. transformers asks for a package that it does not need
where a damaged tokenizer.json looks like one of another library."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A model in evaluation mode with its tokenizer, its keyword extractor and the record of its training.

    `calibration` holds the maps from its score to P(positive), by name; it is empty if none was fitted.
    """

    model: HCMRM
    tokenizer: PreTrainedTokenizerFast
    keywords: KeywordExtractor
    training: dict[str, Any]
    calibration: Mapping[str, Calibration] = field(default_factory=dict)

    def save(self, folder: Path) -> None:
        """Write the checkpoint's files, each whole or not at all.

        Other files of the folder stay. Weights become float16.

        Raises:
            OSError: the folder cannot be written.
        """
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder, prefix=".writing-") as name:
            part = Path(name)
            half = {
                name: value.half() if value.is_floating_point() else value
                for name, value in self.model.state_dict().items()
            }
            self.model.config.save_pretrained(part)
            self.tokenizer.backend_tokenizer.save(str(part / TOKENIZER))
            words = {"extractor": self.keywords.name, **self.keywords.as_dict()}
            (part / KEYWORDS).write_text(json.dumps(words, ensure_ascii=False), encoding="utf-8")
            (part / TRAINING).write_text(json.dumps(self.training, indent=1), encoding="utf-8")
            header = {"format": "pt", "schema": SCHEMA, "texts": _texts_hash(part)}
            (part / WEIGHTS).write_bytes(_in_order(save(half, metadata=header)))
            for file in (SIZES, TOKENIZER, KEYWORDS, TRAINING, WEIGHTS):
                (part / file).replace(folder / file)
            (folder / CALIBRATION).unlink(missing_ok=True)  # it belongs to the weights that were there

    @staticmethod
    def load(folder: Path = SHIPPED) -> Checkpoint:
        """Read a checkpoint folder.

        Raises:
            CheckpointError: a file is missing, damaged or does not fit the others.
        """
        for name in (WEIGHTS, SIZES, TOKENIZER, KEYWORDS, TRAINING):
            remedy = f"train a checkpoint with 'relbid train --out {folder}'"
            check_file(folder / name, CheckpointError, remedy)
        sizes = read_json(folder / SIZES, dict, CheckpointError, AGAIN)
        training = read_json(folder / TRAINING, dict, CheckpointError, AGAIN)
        _check_record(training, folder / TRAINING)
        read_text(folder / TOKENIZER, CheckpointError, AGAIN)
        with _of(folder / SIZES):
            if (kind := sizes.get("model_type")) != HCMRMConfig.model_type:
                named = "is missing" if kind is None else f"is {quoted(str(kind))}"
                raise CheckpointError(f"'model_type' {named}, needs {quoted(HCMRMConfig.model_type)}")
            check_sizes(sizes)
            config = HCMRMConfig.from_pretrained(folder)
            if wrong := config.misfit():
                raise CheckpointError(wrong)
            model = HCMRM(config)
        with _of(folder / WEIGHTS):
            with safe_open(folder / WEIGHTS, "pt") as file:
                header = file.metadata() or {}
            _check_header(folder, header)
            weights = load_file(folder / WEIGHTS)
            if wrong := _misfit(weights, model.state_dict()):
                raise CheckpointError(f"damaged checkpoint: {wrong}")
            model.load_state_dict({name: value.float() for name, value in weights.items()}, strict=True)
        with _of(folder / KEYWORDS):
            keywords = _read_keywords(folder / KEYWORDS)
        with _of(folder / TOKENIZER):
            tokenizer = wrap_tokenizer(_read_tokenizer(folder / TOKENIZER))
        calibration = _read_calibration(folder / CALIBRATION)
        if len(tokenizer) != config.vocab_size:
            raise CheckpointError(
                f"{folder / TOKENIZER}: {len(tokenizer)} tokens, but {SIZES} says {config.vocab_size}; "
                "the files belong to different checkpoints: train it again or restore it from git"
            )
        for parameter in model.parameters():
            if not torch.isfinite(parameter).all():
                raise CheckpointError(f"{folder / WEIGHTS}: holds values that are not finite; train it again")
        return Checkpoint(model.eval(), tokenizer, keywords, training, calibration)  # type: ignore[no-untyped-call]


@contextlib.contextmanager
def _of(file: Path) -> Iterator[None]:
    """What fails in the block is the fault of this file.

    Raises:
        CheckpointError: names the file.
    """
    try:
        yield
    except UserError as error:
        named = (f"{file.parent}:", f"{file.parent}/", str(file))
        if error.file is not None or str(error).startswith(named):
            raise
        raise CheckpointError(error, file=file, remedy=AGAIN) from error
    except DAMAGE as error:
        raise CheckpointError(f"damaged checkpoint ({in_words(error)})", file=file, remedy=AGAIN) from error


def _check_record(training: Mapping[str, Any], path: Path) -> None:
    """Refuse a record whose corpora, which other readers go through, are no list of blocks."""
    corpora = training.get("corpora", [])
    blocks = isinstance(corpora, list) and all(isinstance(one, dict) for one in corpora)
    if not blocks or not all(isinstance(one.get("worlds", []), list) for one in corpora):
        wanted = "needs a list of corpora, each with keys and values, its worlds a list"
        raise CheckpointError(wanted, file=path, field="corpora", remedy=AGAIN)


def _misfit(weights: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> str:
    """What of the weights a model of these sizes cannot take, in words; empty: nothing."""
    for name, value in wanted.items():
        if name not in weights:
            return f"lacks the tensor {quoted(name)}, which the sizes in {SIZES} ask for"
        if weights[name].shape != value.shape:
            have, want = list(weights[name].shape), list(value.shape)
            return f"the tensor {quoted(name)} has the shape {have}, the sizes in {SIZES} ask for {want}"
        if weights[name].is_floating_point() != value.is_floating_point():
            return f"the tensor {quoted(name)} holds another kind of numbers than it should"
    more = next((name for name in weights if name not in wanted), None)
    return (
        "" if more is None else f"has the tensor {quoted(more)}, which no model of the sizes in {SIZES} has"
    )


def _in_order(weights: bytes) -> bytes:
    """The same safetensors file with its metadata sorted: the library writes them in a random order."""
    start = 8 + int.from_bytes(weights[:8], "little")
    header = json.loads(weights[8:start])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":")).encode()
    assert len(text) <= start - 8
    return weights[:8] + text.ljust(start - 8) + weights[start:]


def _texts_hash(folder: Path) -> str:
    """Hash of the files that decide which token ids the weights read for a text."""
    files = (folder / TOKENIZER, folder / KEYWORDS)
    return hashlib.blake2b(b"".join(file.read_bytes() for file in files), digest_size=16).hexdigest()


def _check_header(folder: Path, header: Mapping[str, str]) -> None:
    """Refuse weights of another version, or of other texts. Weights without such a header are accepted."""
    schema = header.get("schema", SCHEMA)
    if schema != SCHEMA:
        raise CheckpointError(
            f"{folder / WEIGHTS}: has the schema version {schema}, this relbid reads {SCHEMA}; "
            "take the relbid that wrote it, or train it again"
        )
    if header.get("texts", texts := _texts_hash(folder)) != texts:
        raise CheckpointError(
            f"{folder}: {TOKENIZER} or {KEYWORDS} belong to other weights than {WEIGHTS}; "
            "train it again or restore it from git"
        )


def _read_tokenizer(path: Path) -> Tokenizer:
    try:
        found = Tokenizer.from_file(str(path))
        found.encode("a word \N{SNOWMAN}")  # a vocabulary without a token for unknown words shows only now
        return found
    except Exception as error:  # the tokenizers library raises nothing more specific
        raise CheckpointError(f"damaged tokenizer ({in_words(error)})", file=path, remedy=AGAIN) from error


def _read_keywords(path: Path) -> KeywordExtractor:
    """The extractor that the checkpoint was trained with; no other gives the words that the weights know.

    Raises:
        CheckpointError: this version has no such extractor, or it needs a package that is not installed.
    """
    try:
        extractor = extractor_from(read_json(path, dict, CheckpointError, AGAIN))
        extractor("a word")
    except (CheckpointError, MissingExtraError) as error:
        if error.file is not None:
            raise
        raise CheckpointError(error, file=path) from error
    return extractor


def weights_hash(folder: Path) -> str:
    """Hash of a checkpoint's weights, which a calibration names as those that it was fitted on.

    Raises:
        OSError: they cannot be read.
    """
    return hashlib.blake2b((folder / WEIGHTS).read_bytes(), digest_size=16).hexdigest()


def _read_calibration(path: Path) -> dict[str, Calibration]:
    if not path.exists() and not path.is_symlink():
        return {}
    again = "remove it; relbid calibrate makes it anew"
    stored = read_json(path, dict, CheckpointError, again)
    if stored.get("weights") not in (None, weights_hash(path.parent)):
        raise CheckpointError("was fitted on other weights", file=path, remedy=again)
    try:
        return {name: calibration_from(name, stored[name]) for name in FITS if name in stored}
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise CheckpointError(f"is no calibration ({in_words(error)})", file=path, remedy=again) from error
