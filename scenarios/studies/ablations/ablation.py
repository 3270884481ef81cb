"""What an ablation is: groups of arms, each arm some settings of a training, every one trained on all seeds.

schema: 1
name: small
seeds: 5
scenario: default              # its world is trained on, its market asks what a model is worth
common: {world.train_advertisers: 600, traffic.n_queries: 20000}
training: {word_steps: 500, model: {hidden_size: 64}}      # over the default TrainConfig, for all arms
groups:
  losses:
    reference: hierarchical
    arms:
      hierarchical: {}
      bce: {loss: bce}
  pre-training:
    reference: none
    arms:
      none: {align_steps: 0}
      pseudo-queries: {pqvm_weight: 1}
    across: {labels: [0, 5000]}      # the group once for each value
"""

from __future__ import annotations

import itertools
import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import Field, JsonValue, TypeAdapter, ValidationError, model_validator

from scenarios.config.load import FileKind, Source, read_file, shipped
from scenarios.config.problems import value_refusal
from scenarios.config.scenario import Scenario, Settings
from scenarios.config.settings import out_of_range
from scenarios.errors import ScenarioError, did_you_mean, quoted
from scenarios.models.train_settings import known_settings
from scenarios.studies.study_file import SeveralSeeds, StudyFile, listed_seeds, scenario_of

if TYPE_CHECKING:
    from relevance.hcmrm.training.train_config import TrainConfig

Split = Literal["validation", "test", "held_out"]
MOST_TRAININGS = 10_000
"""Of an ablation; at five minutes each that is a month."""

GroupName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9 _-]{0,31}$")]
ArmName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9 ,+&%./_()-]{0,47}$")]


class Group(Settings):
    """Arms that are held against one of them."""

    about: str = ""
    """A sentence for the table."""
    reference: str
    """The arm that the others are held against."""
    common: dict[str, JsonValue] = Field(default_factory=dict)
    """Settings of the training for all arms of the group."""
    arms: Annotated[dict[ArmName, dict[str, JsonValue]], Field(min_length=2)]
    """Arm -> settings of its training."""
    seeds: Annotated[int, Field(ge=2)] | None = None
    """So many of the seeds, the first ones; None: all."""
    across: dict[str, Annotated[list[JsonValue], Field(min_length=1)]] = Field(default_factory=dict)
    """Setting -> values; all arms are trained with each, or with each combination of several settings."""

    @model_validator(mode="after")
    def _has_its_reference(self) -> Self:
        if self.reference not in self.arms:
            hint = f"{did_you_mean(self.reference, self.arms)} (there are {', '.join(self.arms)})"
            raise out_of_range("reference", f"no arm is called '{self.reference}'{hint}")
        for setting, values in self.across.items():
            if any(value in values[:place] for place, value in enumerate(values)):
                raise out_of_range(f"across.{setting}", "has a value twice")
            for arm, settings in self.arms.items():
                if setting in settings and setting != "model":  # whose sizes are merged
                    raise out_of_range(f"across.{setting}", f"arm {arm} sets it, too; leave one out")
        return self


class AblationFile(StudyFile):
    """Groups of arms, seeds, and the world and the market that all share."""

    training: dict[str, JsonValue] = Field(default_factory=dict)
    """Settings of all trainings, over the defaults of TrainConfig."""
    seeds: SeveralSeeds = 5
    """How many, from 1 on, or which: of the training and of the market's day."""
    worlds: Annotated[tuple[Annotated[int, Field(ge=0, le=10**6)], ...], Field(min_length=1)] | None = None
    """Seeds of the worlds that are trained on; by default the scenario's own, with other advertisers and
    queries. The models are tested in the scenario's."""
    fold: Annotated[int, Field(ge=0, le=9)] | Literal["seed"] | None = 0
    """The fold of the catalogue that gets no labels: its products are the split `held_out`. null: none; seed:
    another one for every seed, 1 for seed 1."""
    keep: Annotated[str, Field(min_length=1, max_length=200)] | None = None
    """Folder that keeps the checkpoints, each as `ARM-SEED`; null keeps figures alone."""
    splits: Annotated[tuple[Split, ...], Field(min_length=1)] = ("test", "held_out")
    """Graded pairs that the models are evaluated on."""
    groups: Annotated[dict[GroupName, Group], Field(min_length=1)]

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.fold is None and "held_out" in self.splits:
            raise out_of_range("splits", "'held_out' needs a fold that gets no labels; set fold: 0")
        if self.fold == "seed" and max(listed_seeds(self.seeds)) > 9:
            raise out_of_range("seeds", "a seed is a fold here, and there are folds 0 to 9")
        if self.worlds is not None and len(set(self.worlds)) < len(self.worlds):
            raise out_of_range("worlds", "names a world twice")
        if len(set(self.splits)) < len(self.splits):
            raise out_of_range("splits", "names a split twice")
        trainings, most = 0, len(listed_seeds(self.seeds))
        for name, group in self.groups.items():
            if group.seeds is not None and group.seeds > most:
                raise out_of_range(f"groups.{name}.seeds", f"the file has {most} seeds; take no more of them")
            values = math.prod(len(one) for one in group.across.values())
            trainings += len(group.arms) * values * (group.seeds or most)
        if trainings > MOST_TRAININGS:
            reason = f"ask for {trainings:,} trainings, at most {MOST_TRAININGS:,}"
            raise out_of_range("groups", f"{reason}; take fewer arms, values or seeds")
        return self


ABLATION: FileKind[AblationFile] = FileKind(
    AblationFile,
    "an ablation",
    "'schema: 1', a 'name' and 'groups'",
    "relbid ablate scenarios/ablations/evidence.yaml runs a shipped one",
)


@dataclass(frozen=True, slots=True)
class Row:
    """One arm of a group at one combination of the settings in `across`."""

    group: str
    arm: str
    at: Mapping[str, JsonValue]
    """The values of the settings in `across`."""
    settings: Mapping[str, JsonValue]
    """Differences from the default TrainConfig, without the seed."""

    seeds: tuple[int, ...] = ()

    @property
    def checkpoint(self) -> str:
        """The name of its checkpoints without their seeds: `bce-pqvm` of the arm `BCE + PQVM`."""
        return re.sub(r"[^a-z0-9]+", "-", f"{self.arm} {self.at_text}".lower()).strip("-")

    @property
    def at_text(self) -> str:
        """`labels 5000, label_noise 0.2`."""
        return ", ".join(f"{name} {_plain(value)}" for name, value in self.at.items())


@dataclass(frozen=True, slots=True)
class Ablation:
    """An ablation with its scenario and its rows, all valid."""

    file: AblationFile
    scenario: Scenario
    rows: tuple[Row, ...]

    @property
    def name(self) -> str:
        return self.file.name

    def rows_of(self, group: str) -> list[Row]:
        return [row for row in self.rows if row.group == group]

    @property
    def train_worlds(self) -> tuple[int, ...]:
        """Seeds of the worlds that are trained on."""
        return self.file.worlds or (self.scenario.world.seed,)

    def fold_of(self, seed: int) -> int | None:
        """The fold that a seed's trainings have no labels of."""
        return seed if self.file.fold == "seed" else self.file.fold

    def reference_of(self, row: Row) -> Row:
        arm = self.file.groups[row.group].reference
        [found] = [r for r in self.rows if (r.group, r.arm, r.at) == (row.group, arm, row.at)]
        return found


def load_ablation(path: Path | str) -> Ablation:
    """Read an ablation file. Imports torch, which knows the settings of trainings and models.

    Raises:
        ScenarioError: the file, its scenario, or the settings of an arm are not valid.
    """
    from relevance.hcmrm.training.train_config import TrainError, check_config

    path = shipped(path)
    file, source = read_file(path, ABLATION)
    scenario = scenario_of(file, path, source, "ablation")
    if scenario.market.kind != "world":
        raise ScenarioError(f"{source.at('scenario')}: needs the embedded world, whose labels are trained on")
    check_training(file.training, source, "training")
    seeds = listed_seeds(file.seeds)
    rows: list[Row] = []
    for name, group in file.groups.items():
        check_training(group.common, source, "groups", name, "common")
        for arm, settings in group.arms.items():
            check_training(settings, source, "groups", name, "arms", arm)
        for setting, values in group.across.items():
            for value in values:
                check_training({setting: value}, source, "groups", name, "across")
        for chosen in itertools.product(*group.across.values()):
            at = dict(zip(group.across, chosen, strict=True))
            for arm, settings in group.arms.items():
                parts = {
                    ("training",): file.training,
                    ("groups", name, "common"): group.common,
                    ("groups", name, "across"): at,
                    ("groups", name, "arms", arm): settings,
                }
                whole = normal(merged(*parts.values()))
                try:
                    check_config(train_config(whole, 0))
                except TrainError as error:  # what only shows where settings are together
                    raise ScenarioError(error).at(*source.at(*_to_blame(parts))) from None
                rows.append(Row(name, arm, at, whole, seeds[: group.seeds]))
    if file.worlds is not None and scenario.world.seed in file.worlds:
        reason = f"{scenario.world.seed} is the world that the models are tested in"
        raise ScenarioError(reason, remedy="train on others").at(*source.at("worlds"))
    if file.keep is not None:
        _check_names(rows, source)
    return Ablation(file, scenario, tuple(rows))


def check_starts(ablation: Ablation) -> None:
    """Refuse trainings that start from a checkpoint which is not there.

    Raises:
        ScenarioError: names it.
    """
    for row in ablation.rows:
        if (init := row.settings.get("init")) and not (Path(str(init)) / "model.safetensors").is_file():
            reason = f"init {quoted(str(init))}: no checkpoint is there"
            raise ScenarioError(reason, file=ablation.name, field=f"groups.{row.group}.arms.{row.arm}")


def _to_blame(parts: Mapping[tuple[str, ...], Mapping[str, JsonValue]]) -> tuple[str, ...]:
    """The first block that makes no training together with those before it, although all blocks make none."""
    from relevance.hcmrm.training.train_config import TrainError, check_config

    for n, place in enumerate(parts, start=1):
        try:
            check_config(train_config(merged(*list(parts.values())[:n]), 0))
        except TrainError:
            return place
    return place


def _check_names(rows: Iterable[Row], source: Source) -> None:
    """Refuse two different trainings whose checkpoints would have one name."""
    first: dict[str, Row] = {}
    for row in rows:
        if first.setdefault(row.checkpoint, row).settings != row.settings:
            reason = f"two trainings are called {row.checkpoint!r}; their checkpoints need names of their own"
            raise ScenarioError(reason, remedy="rename an arm").at(*source.at("groups", row.group))


def train_config(settings: Mapping[str, JsonValue], seed: int) -> TrainConfig:
    """The training of some settings.

    Raises:
        ValidationError: a value is of the wrong kind.
    """
    from relevance.hcmrm.training.train_config import TrainConfig

    return TypeAdapter(TrainConfig).validate_json(json.dumps({**settings, "seed": seed}), strict=True)


def merged(*settings: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
    """Later settings over earlier ones; what they say of the model is merged likewise."""
    whole: dict[str, JsonValue] = {}
    model: dict[str, JsonValue] = {}
    for one in settings:
        whole |= one
        if isinstance(own := one.get("model"), dict):
            model |= own
    return {**whole, "model": model} if model else whole


def normal(settings: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
    """The same training by the settings that are not at their defaults, so that equal ones look equal."""
    from relevance.hcmrm.model_config import HCMRMConfig

    def plain(value: Any) -> Any:
        return json.loads(json.dumps(value))

    sizes = HCMRMConfig()
    found, default = (plain(asdict(train_config(given, 0))) for given in (settings, {}))
    model = {name: value for name, value in found["model"].items() if value != plain(getattr(sizes, name))}
    return {name: value for name, value in (found | {"model": model}).items() if value != default[name]}


def check_training(settings: Mapping[str, JsonValue], source: Source, *path: str | int) -> None:
    """Refuse settings that no training or model has, and values of the wrong kind.

    Args:
        path: where the settings stand in the file.

    Raises:
        ScenarioError: says where in the file, and what there is.
    """
    fields, sizes = known_settings()
    del fields["seed"], sizes["vocab_size"]
    remedies = {
        name: f"; it is one of the model's: write model: {{{name}: {_plain(value)}}}"
        for name, value in settings.items()
        if name in sizes
    } | {"seed": "; 'seeds' says which there are"}
    _check_settings(settings, fields, "a training", remedies, source, *path)
    if isinstance(model := settings.get("model"), dict):
        _check_settings(model, sizes, "a model", {}, source, *path, "model")


def _check_settings(
    settings: Mapping[str, JsonValue],
    known: Mapping[str, Any],
    whose: str,
    remedies: Mapping[str, str],
    source: Source,
    *path: str | int,
) -> None:
    for name, value in settings.items():
        at = source.at(*path, name)
        if name not in known:
            remedy = remedies.get(name) or did_you_mean(name, known)
            raise ScenarioError(
                f"{whose} has no setting '{name}'{remedy} (there are {', '.join(sorted(known))})"
            ).at(*at)
        try:
            # As JSON, so that a list may stand for a tuple and 1 for 1.0, but "1" for neither.
            TypeAdapter(known[name]).validate_json(json.dumps(value), strict=True)
        except ValidationError as error:
            raise value_refusal(error).at(*at) from None


def _plain(value: JsonValue) -> str:
    return value if isinstance(value, str) else json.dumps(value)
