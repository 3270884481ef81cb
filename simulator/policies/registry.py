"""Policies by name."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from relevance.errors import did_you_mean
from relevance.plug_in import Plugin, misfit
from relevance.protocol import load_object
from simulator.policies.balanced import Balanced
from simulator.policies.bandit import Bandit
from simulator.policies.check import check_policy
from simulator.policies.constant import Fixed, Shading, Truthful
from simulator.policies.own_policy import OwnPolicy
from simulator.policies.pacing import DualPacing, PidPacing, Throttling
from simulator.policies.policy import BidPolicy
from simulator.policies.targets import TargetCpa, TargetRoas

POLICIES: Mapping[str, type[Any]] = MappingProxyType(
    {
        "fixed": Fixed,
        "truthful": Truthful,
        "shading": Shading,
        "balanced": Balanced,
        "dual_pacing": DualPacing,
        "pid_pacing": PidPacing,
        "throttling": Throttling,
        "target_cpa": TargetCpa,
        "target_roas": TargetRoas,
        "bandit": Bandit,
    }
)


def make_policy(name: str, settings: Mapping[str, float] = MappingProxyType({})) -> BidPolicy:
    """The policy of a name in POLICIES, or of your own "module:attr", called with the settings.

    Raises:
        ValueError: no such policy or setting (with the nearest one there is), or a setting out of range.
    """
    if not isinstance(name, str):
        raise ValueError(f"the name of a bid policy must be a text, got {name!r}")
    if not isinstance(settings, Mapping):
        raise ValueError(f"bid policy {name!r}: settings must be a map of names to numbers, got {settings!r}")
    plugin = Plugin(f"bid policy '{name}'")
    if own := ":" in name:
        factory = load_object(name, "bid policy")
    elif name in POLICIES:
        factory = POLICIES[name]
    else:
        known = ", ".join(POLICIES)
        raise ValueError(
            f"unknown bid policy {name!r}{did_you_mean(name, POLICIES)} "
            f"(there are {known}, and your own as module:attr)"
        )
    if not callable(factory):
        raise ValueError(f"{plugin.name} must be a class or function that makes a policy")
    if trouble := misfit(factory, settings):
        raise ValueError(f"{plugin.name} {trouble}")
    policy = plugin.ask("making it failed:", factory, **settings) if own else factory(**settings)
    if not plugin.ask("cannot be had:", isinstance, policy, BidPolicy):
        raise ValueError(
            f"{plugin.name} must have the methods start(budget, value) and adjust(state, report, u)"
        )
    return OwnPolicy(policy, plugin) if own else policy


def refuse_unfit(name: str, settings: Mapping[str, float]) -> None:
    """Try a policy that a scenario names, so that it is refused there and not in the middle of a run.

    Raises:
        ValueError: see `make_policy`; or your own is one that `check_policy` finds unfit.
    """
    policy = make_policy(name, settings)
    if ":" in name and (faults := check_policy(policy, repr(name))):
        raise ValueError(f"bid policy {name!r} cannot be used: {'; '.join(faults)}")
