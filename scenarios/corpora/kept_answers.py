"""Answers of a judge that are kept as they come, so that a command that is killed continues after them."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from relevance.files import check_file, parsed_json
from scenarios.errors import UserError, in_words

REMEDY = "choose another --out"


class KeptAnswers:
    """Answers by who gave them, query and ad.

    A line of the file is a JSON list: who, query, ad and the answer. The first line says whose they are.
    """

    def __init__(
        self, path: Path, identity: Mapping[str, Any], is_answer: Callable[[Sequence[Any]], bool]
    ) -> None:
        """Read nothing yet.

        Args:
            is_answer: whether what stands after who, query and ad can be an answer.
        """
        self._path, self._is_answer = path, is_answer
        self._file: IO[bytes] | None = None
        self._identity = hashlib.blake2b(json.dumps(identity).encode(), digest_size=16).hexdigest()
        self._lock = threading.Lock()
        self.found: dict[tuple[Any, ...], list[Any]] = {}

    def __enter__(self) -> KeptAnswers:
        whole = b""
        if self._path.exists() or self._path.is_symlink():
            check_file(self._path, UserError, f"remove it, or {REMEDY}")
            raw = self._path.read_bytes()
            whole = raw[: raw.rfind(b"\n") + 1]  # a kill may have left half a line
        lines = whole.splitlines()
        if lines:
            try:
                identity, rows = (
                    parsed_json(lines[0].decode()),
                    [parsed_json(line.decode(), list) for line in lines[1:]],
                )
                self.found = {(who, query, ad): answer for who, query, ad, *answer in rows}
                wrong = (line for line, row in enumerate(rows, start=2) if not self._is_answer(row[3:]))
                if line := next(wrong, None):
                    raise ValueError(f"line {line} holds no answer of this judge")
            except (ValueError, TypeError) as error:
                reason = f"damaged ({in_words(error)})"
                raise UserError(reason, file=self._path, remedy=f"remove it, or {REMEDY}") from None
            if identity != self._identity:
                raise UserError(
                    "belongs to another corpus or another judge",
                    file=self._path,
                    remedy=f"remove it, or {REMEDY}",
                )
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._file = file = self._path.open("r+b" if lines else "wb")
        file.truncate(len(whole))
        file.seek(len(whole))
        if not lines:
            self._write([self._identity])
        return self

    def add(self, rows: Iterable[Sequence[Any]]) -> None:
        """Keep answers."""
        rows = list(rows)
        with self._lock:
            self._write(rows)
            self.found.update({(who, query, ad): answer for who, query, ad, *answer in rows})

    def _write(self, rows: Sequence[Any]) -> None:
        assert self._file is not None
        self._file.write("".join(json.dumps(row) + "\n" for row in rows).encode())
        self._file.flush()

    def remove(self) -> None:
        """Forget the answers: they are in the finished file."""
        self._path.unlink(missing_ok=True)

    def __exit__(self, kind: object, *_: object) -> None:
        if self._file is not None:
            self._file.close()
        if kind is not None and not self.found:  # there is nothing to continue from
            self._path.unlink(missing_ok=True)
