"""What the commands `relbid fit` and `relbid backtest` do with files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from scenarios.errors import ScenarioError
from scenarios.fitting.auction_log import AuctionLog, read_log
from scenarios.fitting.backtest import Backtest, backtest
from scenarios.fitting.market import FittedMarket, fit_market
from scenarios.fitting.ranking import Ranking
from scenarios.markets.kind import Progress
from scenarios.markets.table.auctions import DAY_S, Auctions
from scenarios.replay.ways import THRESHOLDS, Entry, entries, option_of
from simulator.fusion import is_affine

_NONE = "none"


def fit_file(
    path: Path,
    *,
    advertisers: Path | None = None,
    examination: Sequence[float] | None = None,
    relevance: str | None = None,
    rule: str | None = None,
    thresholds: Sequence[float] | None = None,
    reserve: float | None = None,
    mechanism: str | None = None,
    seed: int = 1,
) -> tuple[FittedMarket, dict[str, Any]]:
    """Fit a market to a table of auctions.

    Args:
        relevance, rule, thresholds: how the log was ranked, as far as that is known; the rest is tried.

    Returns:
        The market, and the settings that it was fitted with.

    Raises:
        TableError, ScenarioError: see `read_log`, `entries` and `fit_market`.
    """
    log = read_log(path, advertisers)
    ways = _ways(log.auctions, relevance, rule, thresholds)
    if mechanism == "vcg" and rule is None:
        ways = [way for way in ways if is_affine(way.fusion)]
    fitted = fit_market(
        log, examination=examination, reserve=reserve, mechanism=mechanism, ways=ways, seed=seed
    )
    settings = {
        "advertisers": None if advertisers is None else str(advertisers),
        "examination": None if examination is None else list(examination),
        "rankings": [f"{way.scorer}, {way.rule}" for way in ways],
        "mechanism": mechanism,
        "reserve": reserve,
        "seed": seed,
    }
    return fitted, settings


def backtest_files(
    path: Path,
    *,
    other: Path | None = None,
    train_days: int | None = None,
    split: float | None = None,
    advertisers: Path | None = None,
    examination: Sequence[float] | None = None,
    relevance: str | None = None,
    rule: str | None = None,
    thresholds: Sequence[float] | None = None,
    reserve: float | None = None,
    mechanism: str | None = None,
    known_queries: bool = False,
    draws: int = 199,
    seed: int = 1,
    progress: Progress | None = None,
) -> Backtest:
    """Fit a market to the first part of a log, and predict its second part, or another log.

    Args:
        other: a second log; None: the second part of the first one.
        train_days: days of the first part; with neither that nor `split`, all days but the last.
        known_queries: see `scenarios.fitting.backtest.backtest`.
        split: seconds from the first event to the second part.
        relevance, rule, thresholds, reserve, mechanism: of the second part; None: as the first part was
            ranked.

    Raises:
        TableError, ScenarioError: see `fit_file` and `scenarios.fitting.backtest.backtest`.
    """
    first, second = _parts(path, other, train_days, split, advertisers)
    fitted = fit_market(first, examination=examination, valued=False, seed=seed)
    way = _second_way(first.auctions, fitted.ranking.way, relevance, rule, thresholds)
    auction = fitted.ranking.auction
    try:
        auction = replace(
            auction,
            mechanism=mechanism or auction.mechanism,
            reserve=auction.reserve if reserve is None else reserve,
        )
    except ValueError as error:
        raise ScenarioError(str(error), field=option_of(error)) from None
    ranked = Ranking(way, auction)
    return backtest(
        fitted,
        second,
        ranked=ranked,
        known_queries=known_queries,
        draws=draws,
        seed=seed,
        progress=progress,
    )


def _parts(
    path: Path, other: Path | None, train_days: int | None, split: float | None, advertisers: Path | None
) -> tuple[AuctionLog, AuctionLog]:
    named = {"--other": other, "--train-days": train_days, "--split": split}
    given = [name for name, value in named.items() if value is not None]
    if len(given) > 1:
        raise ScenarioError("name one way to split", field=" and ".join(given), remedy="leave the others out")
    log = read_log(path, advertisers)
    if other is not None:
        return log, read_log(other, origin_s=log.origin_s)
    if not log.timed:  # which says what is missing
        return log.split(DAY_S)
    if split is None:
        n_days = int(log.day[-1])
        if train_days is None and n_days < 1:
            raise ScenarioError(
                "the log has one day, so none is left to predict",
                file=path,
                remedy="split it within the day with --split SECONDS, or name a second log with --other",
            )
        split = DAY_S * (n_days if train_days is None else train_days)
    if not 0.0 < split <= log.time_s[-1]:
        end = float(log.time_s[-1])
        raise ScenarioError(
            "leaves no event before it or none after it",
            file=path,
            field=f"{given[0]} {named[given[0]]}",
            remedy=f"split within the {end:,.0f} s, or {end / DAY_S:.1f} days, of the log",
        )
    return log.split(split)


def _ways(
    auctions: Auctions, relevance: str | None, rule: str | None, thresholds: Sequence[float] | None
) -> list[Entry]:
    found = entries(
        auctions,
        scorers=() if relevance is None else (relevance,),
        rules=() if rule is None else (rule,),
        thresholds=THRESHOLDS if thresholds is None else thresholds,
    )
    if relevance not in (None, _NONE) or (relevance is None and rule is not None and len(found) > 1):
        found = [way for way in found if way.scorer != _NONE]
    return found


def _second_way(
    auctions: Auctions,
    first: Entry,
    relevance: str | None,
    rule: str | None,
    thresholds: Sequence[float] | None,
) -> Entry:
    """The one way that the options name; what they leave out is as in the first part.

    Raises:
        TableError: the table has no such relevance.
        ScenarioError: there is no such rule, or the options name several.
    """
    scorer = first.scorer if relevance is None else relevance
    if rule is None and thresholds is None:
        if relevance is None:
            return first
        if scorer == _NONE or first.scorer == _NONE:
            return _ways(auctions, scorer, None if scorer == _NONE else "product", None)[0]
        _ways(auctions, scorer, "product", None)  # refuses a column that is not there
        return first._replace(scorer=scorer)
    name = first.rule.split()[0] if rule is None else rule
    found = _ways(auctions, scorer, name, thresholds)
    if len(found) != 1:
        raise ScenarioError(
            f"names {len(found)} rankings, and the second part has one",
            field=f"--rule {name}",
            remedy="name one threshold with --thresholds",
        )
    return found[0]
