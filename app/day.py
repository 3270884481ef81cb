"""A run over time, as tables for figures and downloads. Pure."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from scenarios import FALLBACK, MICROS, Scenario, Simulation

NO_LIMIT = 1e9
"""A budget of this size or more, in currency units, is no limit: nobody can spend it."""

PACED, UNPACED = "paces its bids", "does not pace"


@dataclass(frozen=True, slots=True)
class Clock:
    """The run's time in parts: `part_s` seconds each, of which `n` make the run."""

    part_s: float
    n: int
    unit: str  # of the time axis
    unit_s: float

    def part(self, time_s: NDArray[np.float64]) -> NDArray[np.int64]:
        """The part I[...] that a time F[...] falls in; what comes after the end counts to the last."""
        return np.clip((time_s / self.part_s).astype(np.int64), 0, self.n - 1)

    @property
    def middle(self) -> NDArray[np.float64]:
        """The middle F[n] of each part, in the unit of the axis."""
        return np.asarray((np.arange(self.n) + 0.5) * self.part_s / self.unit_s)

    @property
    def end(self) -> NDArray[np.float64]:
        """The end F[n] of each part, in the unit of the axis."""
        return np.asarray((np.arange(self.n) + 1.0) * self.part_s / self.unit_s)


def clock(simulation: Simulation) -> Clock:
    """Hours for days, fewer parts for many days, more for less than a day."""
    days, horizon_s = simulation.market.days, simulation.market.horizon_s
    parts = 24 if days <= 3 else 8 if days <= 10 else 4
    whole_s = days * horizon_s
    unit, unit_s = (
        ("day", horizon_s) if days > 1 else ("hour", 3600.0) if whole_s > 7200 else ("minute", 60.0)
    )
    return Clock(horizon_s / parts, parts * days, unit, unit_s)


def over_time(simulation: Simulation) -> pl.DataFrame:
    """One row per part of the run.

    Returns:
        time (the middle of the part) and queries_per_hour; fill, the share of slots with an ad, and revenue
        per 1,000 queries; latency_p50_s, latency_p95_s and timeout_share. Null where no query came.
    """
    time = clock(simulation)
    queries = simulation.log.queries().with_columns(part=time.part(simulation.log.arrival_s))
    shown = simulation.log.impressions()
    paid = shown.with_columns(part=time.part(simulation.log.time_s)).group_by("part").agg(
        pl.col("charged_micros").sum()
    )  # fmt: skip
    table = queries.group_by("part").agg(
        pl.len().alias("n"),
        pl.col("n_shown").mean() / simulation.market.n_slots,
        pl.col("latency_s").quantile(0.5, "higher").alias("latency_p50_s"),
        pl.col("latency_s").quantile(0.95, "higher").alias("latency_p95_s"),
        (pl.col("served") >= FALLBACK).mean().alias("timeout_share"),
    )
    every = pl.DataFrame({"part": np.arange(time.n), "time": time.middle})
    return (
        every.join(table, on="part", how="left")
        .join(paid, on="part", how="left")
        .sort("part")
        .select(
            "time",
            (pl.col("n").fill_null(0) * (3600.0 / time.part_s)).alias("queries_per_hour"),
            pl.col("n_shown").alias("fill"),
            (1000.0 * pl.col("charged_micros").fill_null(0) / MICROS / pl.col("n")).alias("revenue_rpm"),
            "latency_p50_s",
            "latency_p95_s",
            "timeout_share",
        )
    )


def prices(simulation: Simulation) -> pl.DataFrame:
    """Mean price by slot (from 1) and part of the run; null where nothing was shown in a slot."""
    time = clock(simulation)
    shown = simulation.log.impressions().with_columns(
        part=time.part(simulation.log.time_s), slot=pl.col("slot") + 1
    )
    mean = shown.group_by("part", "slot").agg((pl.col("price_micros").mean() / MICROS).alias("price"))
    every = pl.DataFrame({"part": np.arange(time.n), "time": time.middle}).join(
        pl.DataFrame({"slot": np.arange(simulation.market.n_slots) + 1}), how="cross"
    )
    return every.join(mean, on=["part", "slot"], how="left").sort("slot", "part").drop("part")


def accounts(simulation: Simulation, scenario: Scenario) -> pl.DataFrame:
    """One row per advertiser who had a budget: advertiser, group, budget, spent, share, ran_out.

    A group is a bid policy by its name or, where the market has none, whether the advertiser paces.
    """
    paced = simulation.market.paced
    group = np.where(paced, PACED, UNPACED).astype(object)
    for given, follower in zip(scenario.bidders.policies, simulation.market.policies, strict=False):
        group[follower.advertisers] = given.policy.rpartition(":")[2].replace("_", " ")
    table = simulation.log.accounts().with_columns(group=pl.Series(group.tolist(), dtype=pl.String))
    return table.filter((pl.col("budget") > 0) & (pl.col("budget") < NO_LIMIT)).select(
        "advertiser",
        "group",
        "budget",
        "spent",
        (pl.col("spent") / pl.col("budget")).alias("share"),
        "ran_out",
    )


def spending(simulation: Simulation, owners: pl.DataFrame) -> pl.DataFrame:
    """Cumulative share of the budgets spent, by group: time (the end of the part, 0 first), group, share.

    Args:
        owners: as of `accounts`.
    """
    time = clock(simulation)
    paid = (
        simulation.log.impressions()
        .select("advertiser", (pl.col("charged_micros") / MICROS).alias("paid"))
        .with_columns(part=time.part(simulation.log.time_s))
        .join(owners.select("advertiser", "group"), on="advertiser")
        .group_by("group", "part")
        .agg(pl.col("paid").sum())
    )
    budgets = owners.group_by("group").agg(pl.col("budget").sum())
    every = pl.DataFrame({"part": np.arange(-1, time.n), "time": np.append(0.0, time.end)})
    return (
        every.join(budgets, how="cross")
        .join(paid, on=["group", "part"], how="left")
        .sort("group", "part")
        .select(
            "time",
            "group",
            (pl.col("paid").fill_null(0.0).cum_sum().over("group") / pl.col("budget")).alias("share"),
        )
    )
