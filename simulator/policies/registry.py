"""Policies by name."""

import inspect
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from relevance.errors import did_you_mean
from relevance.plug_in import Plugin
from relevance.protocol import load_object
from simulator.policies.balanced import Balanced
from simulator.policies.bandit import Bandit
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
    own = Plugin(f"bid policy '{name}'") if ":" in name else None
    if own is not None:
        factory = load_object(name, "bid policy")
    elif name in POLICIES:
        factory = POLICIES[name]
    else:
        known = ", ".join(POLICIES)
        raise ValueError(
            f"unknown bid policy {name!r}{did_you_mean(name, POLICIES)} "
            f"(there are {known}, and your own as module:attr)"
        )
    try:
        known_settings = inspect.signature(factory).parameters
    except Exception:  # a stranger's object may raise anything
        raise ValueError(f"bid policy {name!r} must be a class or function that makes a policy") from None
    for setting in settings:
        if setting not in known_settings:
            has = f"it has {', '.join(known_settings)}" if known_settings else "it has none"
            near = did_you_mean(setting, known_settings)
            raise ValueError(f"bid policy {name!r} has no setting {setting!r}: {has}{near}")
    try:
        policy = factory(**settings) if own is None else own.ask("making it failed:", factory, **settings)
    except TypeError as error:  # a setting without a default, or a function that makes something else
        raise ValueError(f"bid policy {name!r} cannot be made: {error}") from None
    if not isinstance(policy, BidPolicy):
        raise ValueError(
            f"bid policy {name!r} must have the methods start(budget, value) and adjust(state, report, u)"
        )
    return policy if own is None else OwnPolicy(policy, own)
