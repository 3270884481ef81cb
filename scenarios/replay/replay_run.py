"""Replay: auction every query event of a table again, with the simulator's ranking, under other fusion rules.

Bids and candidates stay as they were: no advertiser reacts, and ads that had left the day then stay away now.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import polars as pl

from scenarios.errors import ScenarioError, TableError, cut
from scenarios.markets.kind import Progress
from scenarios.markets.loading import load_scenario
from scenarios.markets.table.auctions import Auctions, relevance_by, table_market
from scenarios.markets.table.table_market import read_market, table_settings
from scenarios.replay.estimates import examination_by_pairs, examination_by_pctr
from scenarios.replay.pages import logged_figures, logged_pages, replayed_figures
from scenarios.replay.ways import THRESHOLDS, Entry, entries, option_of, scenario_entries
from scenarios.storage.parquet import write_parquet
from scenarios.storage.whole import whole_folder
from simulator.arrays import FloatArray
from simulator.auction import AuctionModel
from simulator.fusion import Product, is_affine
from simulator.users import UserModel

CLIP = 10.0
"""Default cap on the weight of a logged click."""
MOST_SLOTS = 100
"""As many as `UserModel.examination` takes."""
FEW = 1000
"""Fewer effective impressions, or clicks to estimate examination from, cause a warning."""

Origin = Literal[
    "given", "from ads seen in several slots", "from clicks over pCTR", "the simulator's default"
]
GIVEN: Origin = "given"
BY_PAIRS: Origin = "from ads seen in several slots"
BY_PCTR: Origin = "from clicks over pCTR"
DEFAULT: Origin = "the simulator's default"

TEXTS = ("kind", "scorer", "rule")
TOTALS = ("clicks", "revenue")
COLUMNS = (
    *TEXTS,
    *("queries", "fill", "irrelevant_share", "graded_share", "mean_price", "clicks", "revenue"),
    *("clicks_model", "revenue_model", "revenue_model_se", "revenue_in_budget"),
    *("clicks_ips", "clicks_ips_se", "revenue_ips", "revenue_ips_se"),
    *("change", "change_se"),
    *(f"{what}_{kind}" for kind in ("sn", "sn_se", "dr", "dr_se", "fitted", "fitted_se") for what in TOTALS),
    *("covered", "same_slot", "clicks_covered", "effective_impressions", "clipped"),
)

LONG = 730
"""More days than a log has, unless its times have another unit than seconds."""


@dataclass(frozen=True, slots=True)
class Replay:
    """What `replay` found; `points` has the log's own figures as its first row."""

    source: str
    points: pl.DataFrame
    examination: tuple[float, ...]
    examination_is: Origin
    days: int
    warnings: tuple[str, ...]


def replay(
    auctions: Auctions,
    ways: Iterable[Entry],
    *,
    auction: AuctionModel | None = None,
    examination: Sequence[float] | None = None,
    clip: float = CLIP,
    seed: int = 1,
    progress: Progress | None = None,
) -> Replay:
    """Auction every query event again in each of some ways; estimate what the pages would have earned.

    Args:
        examination: P(slot is looked at) by slot, as many as there are slots; None estimates it from the
            log's clicks, or without any takes the simulator's default.
        clip: largest weight of a logged click, see `scenarios.replay.estimates`.
        seed: of the draws that break ties.

    Returns:
        `points`: first the log itself (kind "log", null where the table does not say), then one row for each
        way (kind "replay") with scorer, rule, fill, irrelevant_share of the shown ads that are graded (null
        without grades), graded_share of them, covered (share of the shown ads that the log showed for the
        same event), same_slot (in the same slot), clicks, revenue and mean price by the model, clicks and
        revenue by ips, sn, dr and fitted (see `scenarios.replay.estimates`) with standard errors, change of
        revenue by ips relative to the log's with the standard error of the paired difference,
        effective_impressions, clipped share of the covered, and revenue_in_budget: by the model, no
        advertiser counted beyond its budget.

    Raises:
        TableError: a column that is needed is missing, or the log has no click to estimate examination from.
        ScenarioError: examination, clip or mechanism cannot be used with what is asked.
    """
    auction = auction or AuctionModel()
    if auction.payment != "click":
        raise ScenarioError("a replay counts clicks", field="auction.payment", remedy="set it to click")
    if not clip >= 1:
        reason = "must be at least 1, the weight of an ad that keeps its slot"
        raise ScenarioError(reason, field=f"--clip {clip:g}")
    looked_at, origin = examination_of(auctions, examination)
    ways = list(ways)
    log, pages = logged_figures(auctions, looked_at), logged_pages(auctions, looked_at)
    rows = [log]
    users = UserModel(examination=tuple(looked_at.tolist()))
    met = (auctions.candidate >= 0).astype(np.float64)
    market = table_market(auctions, met, seed=seed, rule=Product(), users=users)
    for done, way in enumerate(ways, start=1):
        try:
            ranked = replace(
                market, relevance=relevance_by(auctions, way.scorer), rule=way.fusion, auction=auction
            )
        except ValueError as error:
            if isinstance(error, TableError):
                raise
            raise ScenarioError(str(error), field=f"rule {way.rule}") from None
        rows.append(
            {"kind": "replay", "scorer": way.scorer, "rule": way.rule}
            | replayed_figures(auctions, ranked, clip, pages)
        )
        if progress is not None:
            progress("replaying", done, len(ways))
    points = pl.DataFrame(
        [{name: row.get(name) for name in COLUMNS} for row in rows],
        schema={name: pl.String if name in TEXTS else pl.Float64 for name in COLUMNS},
    )
    return Replay(
        source=str(auctions.path),
        points=points.with_columns(pl.col(pl.Float64).fill_nan(None)),
        examination=users.examination,
        examination_is=origin,
        days=auctions.days,
        warnings=tuple(_warnings(auctions, points, log, clip, origin)),
    )


def replay_file(
    path: Path,
    *,
    advertisers: Path | None = None,
    scorers: Sequence[str] = (),
    rules: Sequence[str] = (),
    thresholds: Sequence[float] | None = None,
    examination: Sequence[float] | None = None,
    reserve: float | None = None,
    mechanism: str | None = None,
    clip: float = CLIP,
    seed: int | None = None,
    progress: Progress | None = None,
) -> tuple[Replay, dict[str, Any]]:
    """Replay a table of auctions, or the one that a scenario file (.yaml) names.

    A scenario is ranked as its comparison and its sweep say, unless `scorers`, `rules` or `thresholds` are
    given. The other arguments replace its settings. Where it does not set users.examination, that is
    estimated. With VCG, only rules for which VCG is defined are tried by default.

    Returns:
        The result, and the settings that it was made with.

    Raises:
        TableError, ScenarioError: see `read_auctions`, `load_scenario`, `entries` and `replay`.
    """
    scenario = None
    auction, source = AuctionModel(reserve=0.0), path
    if path.suffix.lower() in (".yaml", ".yml"):
        scenario = load_scenario(path)
        table = table_settings(scenario, "a replay")
        auction, source = scenario.auction, Path(table.auctions)
        if advertisers is None and table.advertisers is not None:
            advertisers = Path(table.advertisers)
        if examination is None and "users" in scenario.model_fields_set:
            examination = scenario.users.examination
        seed = scenario.seed if seed is None else seed
    given: dict[str, Any] = {"reserve": reserve, "mechanism": mechanism}
    try:
        auction = replace(auction, **{name: value for name, value in given.items() if value is not None})
    except ValueError as error:
        raise ScenarioError(str(error), field=option_of(error)) from None
    if auction.payment != "click":
        reason, remedy = "a replay prices clicks", "leave it at click"
        raise ScenarioError(reason, file=path, field="auction.payment", remedy=remedy)
    auctions = read_market(source, advertisers)
    if scenario is not None and not scorers and not rules and thresholds is None:
        ways = scenario_entries(scenario)
    else:
        edges = THRESHOLDS if thresholds is None else thresholds
        ways = entries(auctions, scorers=scorers, rules=rules, thresholds=edges)
        if auction.mechanism == "vcg" and not rules:
            ways = [way for way in ways if is_affine(way.fusion)]
    seed = 1 if seed is None else seed
    result = replay(
        auctions, ways, auction=auction, examination=examination, clip=clip, seed=seed, progress=progress
    )
    settings = {
        "advertisers": None if advertisers is None else str(advertisers),
        "rankings": [f"{way.scorer}, {way.rule}" for way in ways],
        "rules": [repr(way.fusion) for way in ways],
        "auction": asdict(auction),
        "clip": clip,
        "seed": seed,
    }
    return result, settings


def write_replay(root: Path, result: Replay, settings: dict[str, Any]) -> Path:
    """Write replay.parquet and replay.json into a new folder, whole or not at all; returns the folder.

    Raises:
        StoreError: it cannot be written.
    """
    facts = {
        "table": result.source,
        "settings": settings,
        "examination": list(result.examination),
        "examination_is": result.examination_is,
        "days": result.days,
        "warnings": list(result.warnings),
    }
    text = json.dumps(facts, indent=2, ensure_ascii=False) + "\n"
    digest = hashlib.blake2b(text.encode(), digest_size=4).hexdigest()
    folder = root / f"replay-{Path(result.source).stem}-{digest}"
    with whole_folder(folder) as part:
        (part / "replay.json").write_text(text, encoding="utf-8")
        write_parquet(result.points, part / "replay.parquet")
    return folder


def examination_of(auctions: Auctions, given: Sequence[float] | None) -> tuple[FloatArray, Origin]:
    """P(slot is looked at) F[S]: as given, or estimated from the log's clicks; and which of them it is.

    Raises:
        ScenarioError: what is given are no probabilities.
        TableError: the log has no click to estimate it from, or its pCTR says that there can be none.
    """
    if given is not None:
        if not 0 < len(given) <= MOST_SLOTS or not all(0 <= p <= 1 for p in given) or not given[0] > 0:
            raise ScenarioError(
                f"needs one probability from 0 to 1 per slot, for instance 1,0.7,0.5; at most {MOST_SLOTS}",
                field=cut(f"--examination {','.join(f'{p:g}' for p in given)}"),
            )
        last = 0 if auctions.position is None else int(auctions.position.max(initial=0))
        if last > len(given):
            raise ScenarioError(
                f"needs a probability for each of the {last} slots that the log shows, has {len(given)}",
                file=auctions.path,
                field="--examination, or users.examination",
            )
        return np.asarray(given, dtype=np.float64), GIVEN
    if auctions.position is None or auctions.clicked is None:
        return np.asarray(UserModel().examination), DEFAULT
    if auctions.pair is not None:
        estimated = examination_by_pairs(auctions.position, auctions.clicked, auctions.pair)
        if estimated is not None:
            return estimated, BY_PAIRS
    estimated = examination_by_pctr(auctions.position, auctions.clicked, auctions.pctr)
    if estimated is None:
        clicked = bool(auctions.clicked.any())
        raise TableError(
            "is 0, or nearly, where the log has clicks, so that it says not how likely each slot is looked at"
            if clicked
            else "has no click to estimate from how likely each slot is looked at",
            file=auctions.path,
            field="column pctr" if clicked else "column clicked",
            remedy="give that with --examination 1,0.7,0.5",
        )
    return estimated, BY_PCTR


def unit_warnings(auctions: Auctions) -> Iterator[str]:
    """Times and prices that seem to be in another unit than the columns need."""
    if auctions.days > LONG:
        yield f"the log lasts {auctions.days:,} days: is time_s in seconds, or in milliseconds?"
    if (times := _price_over_bid(auctions)) > 10:
        yield f"prices are {times:,.0f} times the bids, in the middle: are both in the same currency unit?"


def _price_over_bid(auctions: Auctions) -> float:
    """The median of the logged prices, in bids; 0 without any."""
    if auctions.price is None:
        return 0.0
    bid = auctions.bid[auctions.candidate]
    paid = (auctions.price > 0) & (bid > 0)
    return float(np.median(auctions.price[paid] / bid[paid])) if paid.any() else 0.0


def _warnings(
    auctions: Auctions, points: pl.DataFrame, log: dict[str, Any], clip: float, origin: Origin
) -> Iterable[str]:
    """What a reader should know before trusting the figures."""
    replayed = points.filter(pl.col("kind") == "replay")
    yield from unit_warnings(auctions)
    if auctions.position is None or auctions.clicked is None:
        yield "no column position and clicked: all figures are the model's (pCTR)"
        return
    if origin == BY_PCTR or (origin == BY_PAIRS and log["clicks"] < FEW):
        yield (
            f"how likely each slot is looked at was estimated {origin} ({log['clicks']:,.0f} clicks), which "
            "is rough: give it with --examination if you know it"
        )
    clicks, expected = log["clicks"], log["clicks_model"]
    beyond_chance = abs(clicks - expected) > 2 * expected**0.5
    if beyond_chance and not 0.8 <= (ratio := clicks / max(expected, 1e-12)) <= 1.25:
        yield (
            f"the log has {ratio:.2f} times the clicks that its pCTR expects: the model column is off by as "
            "much; the others are not"
        )
    for what, name, least, remedy in (
        ("effective sample size", "effective_impressions", FEW, "replay a longer log"),
        ("clicks on covered ads", "clicks_covered", 100, "replay a longer log"),
        ("covered share", "covered", 0.5, "most of their clicks are the model's; trust all columns less"),
    ):
        low = replayed.filter(pl.col(name) < least)
        if low.height:
            yield f"{what} below {least:g} in {low.height} of {replayed.height} rows: {remedy}"
    # NaN: a way of which no ad is covered.
    if most := float(np.nan_to_num(replayed["clipped"].to_numpy()).max(initial=0.0)):
        yield f"weights above the cap of {clip:g} in up to {most:.1%} of the covered ads of a row"
    if (replayed["revenue_in_budget"] < replayed["revenue_model"] * (1 - 1e-9)).any():
        yield "some advertisers would spend beyond their budgets: see revenue_in_budget in replay.parquet"
