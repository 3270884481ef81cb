"""A cell of an ablation: one training of one seed, and the file that holds what was measured of it.

    <results>/ablations/<name>/<key>.json     written whole or not at all
The key is a hash of the training's settings, its seed, the scenario and the corpus. The code is not part of
it: an ablation takes hours, and most changes of the code change no number. The file says of which code it is,
and with which value of every setting it was trained, so that a changed default is noticed.
"""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BeforeValidator, JsonValue, TypeAdapter, ValidationError

from relevance.files import read_text
from scenarios.config.scenario import Scenario
from scenarios.errors import StoreError
from scenarios.storage.cache import hash_of
from scenarios.studies.ablations.ablation import Ablation, train_config
from scenarios.studies.study import nullable

if TYPE_CHECKING:
    from relevance.hcmrm.training.train_config import TrainConfig

FINETUNING_ONLY = frozenset(
    (
        *("loss", "choose_by", "finetune_steps", "ads_per_step", "pairs_per_ad", "rate", "average"),
        *("positive_first", "first_mix", "mix", "keyword_dropout", "frame_dropout", "word_dropout"),
        *("word_weight", "topic_weight", "shuffle_weight", "shuffle", "rehearsal_ads"),
        *("rehearsal_hidden", "validate_every", "validation_pairs"),
    )
)
"""Settings that the stages before fine-tuning do not look at; any other one is taken to change them."""

OF_LABELS = frozenset(("labels", "label_noise", "branch_noise", "middle_labels"))
"""Settings that the word stage looks at, and no other stage before fine-tuning."""

Number = Annotated[float, BeforeValidator(lambda value: math.nan if value is None else value)]
"""In a file, what is not a number is null."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One training: settings over the default TrainConfig, and a seed, that of the market's day, too."""

    settings: Mapping[str, JsonValue]
    seed: int
    splits: tuple[str, ...]

    def key(self, scenario: str, corpus: str) -> str:
        """Names the file of its metrics.

        Args:
            scenario: see `digest_of_scenario`.
            corpus: fingerprint of the graded corpus.
        """
        return hash_of(self.settings, self.seed, self.splits, scenario, corpus, size=10)

    @property
    def id(self) -> tuple[str, int]:
        """The hash of its settings, and its seed: tells it from the other cells of an ablation."""
        return settings_hash(self.settings), self.seed

    @property
    def config(self) -> TrainConfig:
        """The whole training."""
        return train_config(self.settings, self.seed)

    @property
    def pretrained(self) -> bool:
        return self.config.align_steps > 0

    def pretraining(self) -> dict[str, JsonValue]:
        """The settings that decide its pre-training."""
        skipped = FINETUNING_ONLY if self.config.word_steps else FINETUNING_ONLY | OF_LABELS
        return {name: value for name, value in self.settings.items() if name not in skipped}

    @property
    def pretraining_config(self) -> TrainConfig:
        """The training that makes those weights: equal for all cells that start from them."""
        return train_config({**self.pretraining(), "finetune_steps": 0}, self.seed)

    def pretraining_key(self, corpus: str) -> str:
        """Names the file of the weights that it starts from."""
        return hash_of(self.pretraining(), self.seed, corpus, size=10)


@dataclass(frozen=True, slots=True)
class Measured:
    """What is known of a finished cell."""

    cell: Cell
    scenario: str
    """Digest of the scenario."""
    corpus: str
    """Fingerprint of what it was trained on."""
    code: str
    """Hash of the code of model and market."""
    defaults: Mapping[str, Any]
    """Every setting with its value at the time."""
    metrics: Mapping[str, Mapping[str, Mapping[str, Number]]]
    """Split -> slice -> metric."""
    market: Mapping[str, Number]
    cost: Mapping[str, Number]
    """Processor seconds of pre-training, fine-tuning and measuring; the first also where it was shared."""

    def to_json(self) -> str:
        """One line; what is not a number is null."""
        return json.dumps(nullable(asdict(self)), sort_keys=True) + "\n"

    @staticmethod
    def from_json(text: str) -> Measured:
        """Read what `to_json` has written.

        Raises:
            ValidationError: it is no cell.
        """
        return _measured().validate_json(text)

    @property
    def still_means(self) -> bool:
        """Whether the settings that it was given mean today what they meant then.

        A setting that has come since is taken to be off by default.
        """
        now = every_setting(self.cell)
        return all(now[name] == value for name, value in self.defaults.items() if name in now)


@functools.cache
def _measured() -> TypeAdapter[Measured]:
    return TypeAdapter(Measured)


def every_setting(cell: Cell) -> dict[str, Any]:
    """Every setting of a cell's training and model with its value."""
    from relevance.hcmrm.model_config import SIZES, HCMRMConfig

    config = asdict(cell.config)
    sizes = HCMRMConfig(**config.pop("model"))
    model = {f"model.{name}": getattr(sizes, name) for name in sorted(SIZES) if name != "vocab_size"}
    whole: dict[str, Any] = json.loads(json.dumps({**config, **model}))
    return whole


def digest_of_scenario(scenario: Scenario) -> str:
    """Hash of the fields of a scenario that are not at their defaults, but for its name and its seed."""
    bare = scenario.model_copy(update={"name": "cell", "seed": 0})
    return hash_of(bare.model_dump(mode="json", exclude_defaults=True), size=10)


def cells_of(ablation: Ablation) -> list[Cell]:
    """Every training once, all arms of the first seed first, so that early results are paired."""
    found: dict[tuple[str, int], Cell] = {}
    for seed in dict.fromkeys(seed for row in ablation.rows for seed in row.seeds):
        cells = (Cell(row.settings, seed, ablation.file.splits) for row in ablation.rows if seed in row.seeds)
        found |= {cell.id: cell for cell in cells if cell.id not in found}
    return list(found.values())


def checkpoint_names(ablation: Ablation) -> dict[tuple[str, int], str]:
    """The name of each cell's checkpoint, such as `bce-1`, by `Cell.id`."""
    return {
        (settings_hash(row.settings), seed): f"{row.checkpoint}-{seed}"
        for row in ablation.rows
        for seed in row.seeds
    }


def cells_folder(out: Path, ablation: Ablation) -> Path:
    """Where the files of an ablation's cells lie."""
    return out / "ablations" / ablation.name


def read_cell(path: Path) -> Measured | None:
    """A finished cell; None where there is none, or it is damaged, or a default has been changed since."""
    try:
        found = Measured.from_json(read_text(path, StoreError))
    except ValueError:
        return None
    return found if found.still_means else None


def read_cells(folder: Path) -> list[Measured]:
    """All finished cells of a folder, the oldest first."""
    paths = sorted(folder.glob("*.json"), key=lambda path: (path.stat().st_mtime, path.name))
    return [cell for path in paths if (cell := read_cell(path)) is not None]


def read_lines(path: Path) -> list[Measured]:
    """Cells that were gathered in one file; none where it is not there.

    Raises:
        StoreError: a line is no cell.
    """
    cells = []
    remedy = "restore the file from git, or remove it"
    if path.exists() or path.is_symlink():
        for number, line in enumerate(read_text(path, StoreError, remedy).splitlines(), start=1):
            try:
                cells.append(Measured.from_json(line))
            except ValidationError as error:
                reason = f"not a cell of an ablation ({error.errors()[0]['msg']})"
                raise StoreError(reason, file=path, line=number, remedy=remedy) from None
    return [cell for cell in cells if cell.still_means]


def of_ablation(ablation: Ablation, cells: Iterable[Measured]) -> dict[tuple[str, int], Measured]:
    """The cells that an ablation asks for, by (hash of their settings, seed); a later one wins.

    Only those of its scenario, and of the corpus that the last of them was trained on.
    """
    scenario, splits = digest_of_scenario(ablation.scenario), ablation.file.splits
    wanted = {cell.id for cell in cells_of(ablation)}
    found = [
        one
        for one in cells
        if one.scenario == scenario and one.cell.splits == splits and one.cell.id in wanted
    ]
    return {one.cell.id: one for one in found if one.corpus == found[-1].corpus}


def settings_hash(settings: Mapping[str, JsonValue]) -> str:
    """Equal for equal settings, in whatever order."""
    return hash_of(settings, size=10)
