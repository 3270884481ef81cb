"""A bid policy of one's own at work: whatever it raises or returns, the error names it."""

from dataclasses import dataclass
from typing import Any

from relevance.errors import PluginError
from relevance.plug_in import Plugin
from relevance.protocol import kind_of_answer
from simulator.arrays import FloatArray
from simulator.policies.check import read_bids, unfit
from simulator.policies.policy import BidPolicy, Bids, Report, State


@dataclass(frozen=True, slots=True)
class OwnPolicy:
    """A policy that somebody else has written."""

    policy: BidPolicy
    plugin: Plugin

    def start(self, budget: FloatArray, value: FloatArray) -> tuple[State, Bids]:
        return self._asked("start", budget.size, budget, value)

    def adjust(self, state: State, report: Report, u: FloatArray) -> tuple[State, Bids]:
        return self._asked("adjust", report.budget.size, state, report, u)

    def _asked(self, name: str, n: int, *arguments: Any) -> tuple[State, Bids]:
        """A method's answer for n advertisers.

        Raises:
            PluginError: it raised something, or returned no bids.
        """
        answer = self.plugin.call(self.policy, name, *arguments)
        if not (isinstance(answer, tuple) and len(answer) == 2):
            what = kind_of_answer(answer)
            raise PluginError(f"{name}() returned {what}, not a state and bids", file=self.plugin.name)
        state, bids = answer
        wrong = self.plugin.ask("the bids cannot be read:", unfit, bids, n)
        if wrong:
            raise PluginError(f"{name}() returned bids whose {wrong}", file=self.plugin.name)
        return state, self.plugin.ask("the bids cannot be read:", read_bids, bids)
