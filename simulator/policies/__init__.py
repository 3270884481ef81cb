"""Bid policies: how an advertiser moves its bids from tick to tick, seeing only what a platform reports.

A policy answers with a multiplier (bid = value per click x multiplier) and with the share of the auctions to
take part in. It is pure: its memory is a state that it returns and is given back, and its random draws come
as uniforms. Every array holds one number per advertiser, and none may depend on who else follows the same
policy. `check_policy` tries all this on any policy, a user's own too.
"""

from simulator.policies.agent import Agent
from simulator.policies.balanced import Balanced, balanced_bid
from simulator.policies.bandit import Bandit
from simulator.policies.check import check_policy
from simulator.policies.constant import Fixed, Shading, Truthful
from simulator.policies.pacing import DualPacing, PidPacing, Throttling, even_spend_gap
from simulator.policies.policy import N_UNIFORMS, BidPolicy, Bids, Report, State
from simulator.policies.registry import POLICIES, make_policy
from simulator.policies.targets import TargetCpa, TargetRoas

__all__ = [
    "N_UNIFORMS",
    "POLICIES",
    "Agent",
    "Balanced",
    "Bandit",
    "BidPolicy",
    "Bids",
    "DualPacing",
    "Fixed",
    "PidPacing",
    "Report",
    "Shading",
    "State",
    "TargetCpa",
    "TargetRoas",
    "Throttling",
    "Truthful",
    "balanced_bid",
    "check_policy",
    "even_spend_gap",
    "make_policy",
]
