"""What an experiment is: arms over one scenario, replicates of it, and the designs by which it is run.

schema: 1
name: exponent
scenario: default              # or a scenario file, found from this file's folder
common: {traffic.n_queries: 20000}
baseline: A
arms:
  A: {fusion.relevance: 0.5}
  B: {fusion.relevance: 2}
worlds: 8                      # or a list; by default the scenario's own world alone
seeds: 5                       # days of each world, or a list
design: [common, query_split]
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field as defaults, replace
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, ValidationError, field_validator, model_validator
from pydantic_core import PydanticCustomError

from relevance.ranges import check_within
from scenarios.config.load import FileKind, Source, read_file, shipped
from scenarios.config.scenario import Scenario, Settings
from scenarios.config.settings import dump_model, out_of_range
from scenarios.errors import ScenarioError, did_you_mean, listed, quoted
from scenarios.studies.experiments.random_effects import LEAST_TRAININGS
from scenarios.studies.study_file import (
    MOST_SEEDS,
    Fields,
    FieldsOver,
    Seeds,
    SeveralSeeds,
    StudyFile,
    check_metrics,
    flat,
    listed_seeds,
    refuse_without_effect,
    scenario_of,
    set_over,
)
from simulator.measures.market_metrics import METRICS as MARKET_METRICS, SEAT_METRICS, TOTALS

Design = Literal["common", "independent", "query_split", "budget_split"]
"""common: each arm has the whole market, with the same random draws (common random numbers).
independent: the same, but each arm with random draws of its own.
query_split: one market; each query falls to an arm by a keyed coin.
budget_split: each query falls to an arm likewise, and each arm is a market with its part of every budget."""

SPLITS = ("query_split", "budget_split")
"""Designs whose arms have a part of the queries each."""
SHARED = (
    *("schema", "name", "seed", "market", "world", "split", "retrieval", "traffic", "compare", "sweep"),
    "days_compared",
)
"""Blocks of a scenario that all arms share."""
MOST_WORLD = 10**6
"""The largest seed of a world."""
DAYS_OF_A_WORLD = 1_000_000
"""Where there are worlds, day s of world w has the seed s + w x this, so that no two worlds share draws."""
TRAININGS = "trainings"
"""The key of an arm that names several checkpoints."""
SPLIT_FIELDS = ("scorer", "hcmrm", "fusion")
"""What arms that share one market may differ in."""
METRICS = (
    "revenue_rpm",
    "irrelevant_share",
    "irrelevant_share_weighted",
    "ctr",
    "mean_price",
    "advertiser_surplus_rpm",
    "user_utility_rpm",
    "welfare_rpm",
)

ArmName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,31}$")]


def _listed(value: Any) -> Any:
    return (value,) if isinstance(value, str) else tuple(value) if isinstance(value, list) else value


class Until(Settings):
    """More seeds until an interval is narrow enough, by Stein's rule; `seeds` are those of the pilot."""

    metric: str = "revenue_rpm"
    half_width: Annotated[float, Field(gt=0, le=1e9)]
    """Half-width of the interval; a change of 1% is 0.01."""
    of: Literal["change", "difference"] = "change"
    max_seeds: Annotated[int, Field(ge=2, le=MOST_SEEDS)] = 1000
    """Never more than these; the interval is then wider than wanted, and says so."""


class Matched(Settings):
    """Arms at equal revenue and at equal irrelevance, by one setting of each; see `matched`."""

    field: str = "fusion.relevance"
    """The setting, such as the exponent of relevance or a threshold."""
    grid: Annotated[tuple[Annotated[float, Field(ge=0, le=100)], ...], Field(min_length=2, max_length=50)]
    """Its values, rising; the first is where the setting has no effect."""
    worlds: Seeds
    """Worlds where it is chosen; the experiment must not use them."""
    seeds: SeveralSeeds = 2
    """Days of each of these."""
    revenue_cost: Annotated[float, Field(gt=0, lt=1)] = 0.03
    """Share of the revenue at the start of the grid that every arm gives up at equal revenue."""

    @field_validator("grid")
    @classmethod
    def _rises(cls, grid: tuple[float, ...]) -> tuple[float, ...]:
        if list(grid) != sorted(set(grid)):
            raise PydanticCustomError("grid", "its values must rise")
        return grid


Rule = Literal["equal_revenue", "equal_irrelevance", "equal_setting"]
"""equal_revenue: every arm gives up the same share of the revenue at the start of the grid.
equal_irrelevance: every arm has the share of irrelevant ads that the baseline then has.
equal_setting: every arm has the baseline's setting of the first rule."""


class Published(Settings):
    """A change that somebody has reported, to be held against what is found; see `summary.verdict`."""

    arm: str
    metric: str
    change: Annotated[float, Field(gt=-1, le=100)]
    """Relative, of the arm against the baseline: 1% less is -0.01."""
    rule: Rule | None = None
    """With `matched`: the rule that makes the arms equal."""

    @field_validator("change")
    @classmethod
    def _has_a_side(cls, change: float) -> float:
        if change == 0:
            raise PydanticCustomError("change", "must not be 0, which lies on no side")
        return change


class Experiment(StudyFile):
    """Arms to compare on one scenario."""

    baseline: str
    """The arm that the others are held against."""
    arms: Annotated[dict[ArmName, FieldsOver], Field(min_length=2)]
    """Arm -> fields to set over the scenario. An arm whose scorer is hcmrm may have `trainings: [a, b, c]`:
    checkpoints of the same model, trained anew each time."""
    worlds: Seeds | None = None
    """How many worlds, or their seeds; the scenario's own world by default."""
    first_world: Annotated[int, Field(ge=0, le=10**6)] = 1
    """Where `worlds` is a number: the seed of the first."""
    seeds: SeveralSeeds = 20
    """Days of each world: how many, or which. They are the scenario's seeds; with `worlds`, see
    DAYS_OF_A_WORLD."""
    first_seed: Annotated[int, Field(ge=0, lt=2**62)] = 1
    """Where `seeds` is a number: the first of them."""
    design: Annotated[tuple[Design, ...], BeforeValidator(_listed), Field(min_length=1)] = ("common",)
    """One or several; beside another one, `common` is run too, as the truth."""
    metrics: Annotated[tuple[str, ...], Field(min_length=1)] = METRICS
    until: Until | None = None
    matched: Matched | None = None
    """Not the arms as they stand, but each at a setting that makes them equal in revenue or irrelevance."""
    published: tuple[Published, ...] = ()
    """Reported changes; what is found then says of each whether it is reproduced."""
    confidence: Annotated[float, Field(ge=0.5, le=0.999)] = 0.95

    @property
    def designs(self) -> tuple[Design, ...]:
        """What is run, the truth first."""
        return tuple(dict.fromkeys(("common", *self.design)))

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.baseline not in self.arms:
            hint = f"{did_you_mean(self.baseline, self.arms)} (there are {listed(self.arms)})"
            raise out_of_range("baseline", f"no arm is called {quoted(self.baseline)}{hint}")
        if self.worlds is None or not isinstance(self.worlds, int):
            if self.first_world != 1:
                raise out_of_range("first_world", "says where a number of worlds starts; 'worlds' is none")
        elif self.first_world + self.worlds - 1 > MOST_WORLD:
            last = self.first_world + self.worlds - 1
            raise out_of_range("worlds", f"a world's seed must be from 0 to 1e6, the last is {last:,}")
        for field, worlds in (("worlds", self.worlds), ("matched", self.matched and self.matched.worlds)):
            if isinstance(worlds, tuple) and max(worlds) > MOST_WORLD:
                raise out_of_range(field, f"a world's seed must be from 0 to 1e6, got {max(worlds):,}")
        days = listed_seeds(self.seeds, self.first_seed)
        if self.worlds is not None and max(days) >= DAYS_OF_A_WORLD:
            reason = f"a day of a world must be below {DAYS_OF_A_WORLD:,}, got {max(days):,}"
            raise out_of_range("seeds" if isinstance(self.seeds, tuple) else "first_seed", reason)
        trained = any(TRAININGS in fields for fields in self.arms.values())
        if self.until is not None and (self.worlds is not None or trained):
            raise out_of_range("until", "adds days, which do not tell one world or training from another")
        if self.matched is not None:
            self._check_matched(self.matched)
        for one in self.published:
            self._check_published(one)
        most = None if self.until is None else self.until.max_seeds
        if not isinstance(self.seeds, int):
            if most is not None:
                raise out_of_range("seeds", "needs a number, not a list, since 'until' adds more of them")
            if self.first_seed != 1:
                message = "says where a number of seeds starts; the seeds are listed, so leave it out"
                raise out_of_range("first_seed", message)
        elif most is not None and most < self.seeds:
            raise out_of_range("until", f"max_seeds {most} are fewer than the {self.seeds} of the pilot")
        return self

    def _check_matched(self, matched: Matched) -> None:
        if self.until is not None or set(self.designs) != {"common"}:
            raise out_of_range("matched", "needs the design common, without 'until'")
        if self.worlds is None:
            raise out_of_range("matched", "chooses settings in other worlds; say which 'worlds' to test in")
        both = {*listed_seeds(self.worlds, self.first_world)} & {*listed_seeds(matched.worlds)}
        if both:
            reason = f"world {min(both)} is one of those that the settings are tested in; take others"
            raise out_of_range("matched", reason)
        if matched.field.partition(".")[0] in (*SHARED, ""):
            reason = f"field {quoted(matched.field)} is the same for all arms; name one that may differ"
            raise out_of_range("matched", reason)
        for arm, fields in self.arms.items():
            if matched.field in flat(fields):
                raise out_of_range("arms", f"arm {arm} sets {matched.field}, which 'matched' chooses")

    def _check_published(self, one: Published) -> None:
        if one.arm not in self.arms or one.arm == self.baseline:
            others = [arm for arm in self.arms if arm != self.baseline]
            raise out_of_range("published", f"arm must be one of {listed(others)}, got {quoted(one.arm)}")
        if one.metric not in self.metrics:
            reason = (
                f"metric must be one of 'metrics', which are {listed(self.metrics)}, got {quoted(one.metric)}"
            )
            raise out_of_range("published", reason)
        if (one.rule is None) != (self.matched is None):
            raise out_of_range("published", "names a rule with 'matched', and none without")
        if self.worlds is None:
            raise out_of_range("published", "is judged over worlds; say which 'worlds'")


EXPERIMENT: FileKind[Experiment] = FileKind(
    Experiment,
    "an experiment",
    "'schema: 1', a 'name', a 'baseline' and 'arms'",
    "relbid experiment scenarios/experiments/interference.yaml runs a built-in one",
)


@dataclass(frozen=True, slots=True)
class Plan:
    """An experiment with its scenario and those of its arms, all valid."""

    experiment: Experiment
    scenario: Scenario
    arms: Mapping[str, Scenario]
    """On the scenario's own world, with the first training."""
    trainings: Mapping[str, tuple[str, ...]] = defaults(default_factory=dict)
    """The checkpoints of the arms that have several."""

    @property
    def worlds(self) -> tuple[int | None, ...]:
        """Seeds of the worlds; None is the scenario's own market."""
        worlds = self.experiment.worlds
        return (None,) if worlds is None else listed_seeds(worlds, self.experiment.first_world)

    @property
    def n_trainings(self) -> int:
        return len(next(iter(self.trainings.values()), ("",)))

    def scenario_of(self, arm: str, world: int | None = None, training: int = 0) -> Scenario:
        """The scenario of an arm in a world, with one of its trainings."""
        scenario = in_world(self.arms[arm], world)
        if arm not in self.trainings:
            return scenario
        checkpoint = {"checkpoint": self.trainings[arm][training]}
        return scenario.model_copy(update={"hcmrm": scenario.hcmrm.model_copy(update=checkpoint)})

    def elsewhere(self, first_world: int) -> Plan:
        """The same experiment on as many other worlds.

        Raises:
            ScenarioError: it has no number of worlds, or the two have some in common.
        """
        experiment = self.experiment
        if not isinstance(experiment.worlds, int):
            raise ScenarioError(
                "a second set of worlds needs a number of worlds in the file",
                file=experiment.name,
                field="worlds",
                remedy="set worlds: 8",
            )
        if abs(first_world - experiment.first_world) < experiment.worlds:
            raise ScenarioError(
                f"worlds from {first_world} on are in the first set, too, which begins with "
                f"{experiment.first_world}",
                file=experiment.name,
                field="--confirm",
                remedy=f"begin with {experiment.first_world + experiment.worlds} or later",
            )
        return replace(self, experiment=_with(experiment, "--confirm", {"first_world": first_world}))

    @property
    def seeds(self) -> tuple[int, ...]:
        """The days of each world that are run whatever they show."""
        return listed_seeds(self.experiment.seeds, self.experiment.first_seed)

    @property
    def others(self) -> tuple[str, ...]:
        """The arms that are held against the baseline."""
        return tuple(arm for arm in self.arms if arm != self.experiment.baseline)


def load_experiment(
    path: Path | str, overrides: Sequence[str] = (), *, seeds: int | None = None, worlds: int | None = None
) -> Plan:
    """Read an experiment file.

    Args:
        path: a YAML file, see the head of this module.
        overrides: `a.b=value` strings set over the scenario of all arms; an arm's own settings win.
        seeds: replaces the number of days.
        worlds: replaces the number of worlds.

    Raises:
        ScenarioError: the file, its scenario, or an arm of it is not valid.
    """
    path = shipped(path)
    experiment, source = read_file(path, EXPERIMENT)
    if seeds is not None:
        first = experiment.first_seed if isinstance(experiment.seeds, int) else 1
        experiment = _with(experiment, "--seeds", {"seeds": seeds, "first_seed": first})
    if worlds is not None:
        experiment = _with(experiment, "--worlds", {"worlds": worlds})
    check_compared(experiment, source)
    decided = {"seed": "seeds"} | ({} if experiment.worlds is None else {"world.seed": "worlds"})
    refuse_without_effect(decided, experiment, source, overrides)
    scenario = scenario_of(experiment, path, source, "experiment", overrides)
    if experiment.worlds is not None and scenario.market.kind != "world":
        raise ScenarioError(f"{source.at('worlds')}: only the embedded world has others")
    arms: dict[str, Scenario] = {}
    trainings: dict[str, tuple[str, ...]] = {}
    for name, settings in experiment.arms.items():
        fields = flat(settings)
        if isinstance(settings.get(TRAININGS), dict):  # whose keys would stand for fields
            fields = {**fields, TRAININGS: ((TRAININGS,), settings[TRAININGS])}
        if TRAININGS in fields:
            trainings[name] = _trainings_of(name, fields, trainings, source)
            fields = {**fields, "hcmrm.checkpoint": ((TRAININGS,), trainings[name][0])}
            del fields[TRAININGS]
        _check_arm(name, fields, experiment, source)
        arms[name] = set_over(scenario, fields, source, "arms", name)
        if name in trainings and arms[name].scorer != "hcmrm":
            raise ScenarioError(
                f"{source.at('arms', name, TRAININGS)}: only hcmrm is trained; "
                f"the scorer of this arm is {quoted(arms[name].scorer)}"
            )
    if experiment.matched is not None:
        for arm in arms.values():
            for value in experiment.matched.grid:
                set_over(
                    arm, {experiment.matched.field: ((experiment.matched.field,), value)}, source, "matched"
                )
    return Plan(experiment, scenario, arms, trainings)


def in_world(scenario: Scenario, world: int | None) -> Scenario:
    """The scenario in the world of a seed; None: in its own."""
    if world is None:
        return scenario
    return scenario.model_copy(update={"world": replace(scenario.world, seed=world)})


def day_seed(world: int | None, seed: int) -> int:
    """The scenario's seed of a day in a world, see DAYS_OF_A_WORLD."""
    return seed if world is None else seed + world * DAYS_OF_A_WORLD


def other_worlds(scenario: Scenario, n: int) -> list[Scenario]:
    """The scenario in the first n other worlds, with draws that none of them shares with another."""
    check_within("n", n, 0, 100_000, whole=True)
    seeds = (seed for seed in itertools.count(1) if seed != scenario.world.seed)
    return [
        in_world(scenario, world).model_copy(update={"seed": day_seed(world, scenario.seed)})
        for world in itertools.islice(seeds, n)
    ]


def check_compared(experiment: Experiment, source: Source) -> None:
    """Refuse metrics that there are not, and those that the designs cannot compare.

    Raises:
        ScenarioError: names the first one.
    """
    named: dict[tuple[str | int, ...], str] = {
        ("metrics", place): metric for place, metric in enumerate(experiment.metrics)
    }
    if experiment.until is not None:
        named["until", "metric"] = experiment.until.metric
    check_metrics(named, source, [*MARKET_METRICS, *SEAT_METRICS])
    if any(design in SPLITS for design in experiment.designs):
        for path, metric in named.items():
            if metric in TOTALS:
                raise ScenarioError(
                    f"{source.at(*path)}: '{metric}' is a total, and the arms of a split differ in size; "
                    "take one per thousand queries (_rpm)"
                )


def dump_experiment(plan: Plan, scenario: str = "scenario.yaml") -> str:
    """The experiment as YAML that stands beside its scenario, which then holds what all arms share."""
    return dump_model(plan.experiment.model_copy(update={"scenario": scenario, "common": {}}))


def _trainings_of(
    arm: str, fields: Fields, others: Mapping[str, tuple[str, ...]], source: Source
) -> tuple[str, ...]:
    """The checkpoints of an arm."""
    where, named = source.at("arms", arm, TRAININGS), fields[TRAININGS][1]
    if "hcmrm.checkpoint" in fields:
        raise ScenarioError(f"{where}: names the checkpoints; leave hcmrm.checkpoint out")
    names = tuple(named) if isinstance(named, list) else ()
    texts = all(isinstance(name, str) for name in names)
    if not texts or len(set(names)) != len(names) or len(names) < LEAST_TRAININGS:
        raise ScenarioError(
            f"{where}: needs a list of at least {LEAST_TRAININGS} different checkpoints "
            "(the spread of two trainings is too uncertain for an interval)"
        )
    if others and len(next(iter(others.values()))) != len(names):
        raise ScenarioError(f"{where}: all arms with trainings need equally many, since they are pairs")
    return names


def _with(experiment: Experiment, named: str, fields: dict[str, int]) -> Experiment:
    """The experiment with other numbers of replicates, which the first of them says in messages."""
    try:
        return Experiment.model_validate(experiment.model_dump(by_alias=True) | fields)
    except ValidationError as error:
        value, fault = next(iter(fields.values())), error.errors()[0]
        blamed = fault.get("ctx", {}).get("field", named)
        field = "" if blamed in (*fields, named) else f"{blamed}: "
        raise ScenarioError(f"{named} {value}: {field}{fault['msg']}") from None


def _check_arm(name: str, fields: Fields, experiment: Experiment, source: Source) -> None:
    """Arms must not differ in what makes them comparable."""
    for field, (keys, _) in fields.items():
        block, where = field.partition(".")[0], source.at("arms", name, *keys)
        if block == "seed":
            raise ScenarioError(f"{where}: all arms share it; 'seeds' says which there are")
        if block in SHARED:
            raise ScenarioError(f"{where}: all arms share it; set it under 'common'")
        if "query_split" in experiment.designs and block not in SPLIT_FIELDS:
            raise ScenarioError(
                f"{where}: arms of a query_split share one market and may differ in "
                f"{', '.join(SPLIT_FIELDS)} only; take another design"
            )
