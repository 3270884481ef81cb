"""`relbid corpus`: from tables or public data to a corpus folder, and from a corpus folder to tables."""

from __future__ import annotations

import os
from pathlib import Path

from relevance.corpus import CorpusError, LabelledCorpus
from relevance.files import check_folder
from scenarios.corpora.chorus import CLONE, is_chorus, read_chorus
from scenarios.corpora.key_frames import Choice
from scenarios.corpora.labelled import read_tables, write_tables
from scenarios.corpora.public import ESCI_FILES, WANDS_FILES, read_esci, read_wands
from scenarios.errors import UserError
from scenarios.markets.kind import Progress
from scenarios.storage.tables import SUFFIXES
from scenarios.storage.whole import check_free, whole_folder

SCHEMAS = ("chorus", "esci", "wands", "own")


def import_corpus(
    source: Path,
    out: Path,
    *,
    schema: str | None = None,
    n_frames: int = 3,
    size: int = 48,
    choice: Choice = "scenes",
    locale: str = "us",
    small: bool = True,
    progress: Progress | None = None,
) -> LabelledCorpus:
    """Read `source` and write it as the new corpus folder `out`.

    Args:
        schema: a name in SCHEMAS; None: the files in the folder decide.
        n_frames, size, choice: key frames of tables, see `labelled.read_tables`.
        locale, small: which part of ESCI, see `public.read_esci`.

    Raises:
        CorpusError: the source cannot be used; names file, row and column.
        StoreError: `out` is there already, or cannot be written.
        UserError: an option has no effect on files of this kind.
    """
    check_free(out)
    check_folder(source, CorpusError, "give the folder that holds the tables")
    schema = schema or schema_of(source)
    if schema == "own" and (source / "labels.npz").exists():  # whose labels no table holds
        remedy = "name it where a corpus is wanted, or write tables of it with relbid corpus export"
        raise CorpusError("is a corpus folder already", file=source, remedy=remedy)
    of_kinds = {
        "--locale": ("esci", locale != "us"),
        "--no-small": ("esci", not small),
        "--frames": ("own", n_frames != 3),
        "--size": ("own", size != 48),
        "--key-frames": ("own", choice != "scenes"),
    }
    for option, (kind, is_set) in of_kinds.items():
        if is_set and kind != schema:
            reason = f"has no effect on files of the kind {schema}"
            raise UserError(reason, field=option, remedy="leave it out")
    with whole_folder(out) as part:
        data: LabelledCorpus
        if schema == "chorus":
            data = read_chorus(source)
        elif schema == "esci":
            data = read_esci(source, locale=locale, small=small)
        elif schema == "wands":
            data = read_wands(source)
        else:
            data = read_tables(
                source,
                n_frames=n_frames,
                size=size,
                choice=choice,
                frames_file=part / "frames.npy",
                progress=progress,
            )
        data.save(part)
    return data


def export_corpus_tables(
    data: LabelledCorpus, out: Path, *, jsonl: bool = False, progress: Progress | None = None
) -> None:
    """Write a corpus as tables with pictures in the new folder `out`.

    Raises:
        StoreError: `out` is there already, or cannot be written.
    """
    check_free(out)
    with whole_folder(out) as part:
        write_tables(data, part, jsonl=jsonl, progress=progress)


def schema_of(folder: Path) -> str:
    """Which of SCHEMAS a folder follows, by the files in it.

    Raises:
        CorpusError: it follows none.
    """
    if is_chorus(folder):
        return "chorus"
    if all(os.path.lexists(folder / name) for name in ESCI_FILES):
        return "esci"
    if all(os.path.lexists(folder / name) for name in WANDS_FILES):
        return "wands"
    if any(os.path.lexists(folder / f"ads{suffix}") for suffix in SUFFIXES):
        return "own"
    raise CorpusError(
        f"{folder}: has neither tables (ads.parquet, ads.jsonl or ads.csv) nor the files of Chorus "
        f"({', '.join(CLONE)}), ESCI ({', '.join(ESCI_FILES)}) or WANDS ({', '.join(WANDS_FILES)})"
    )
