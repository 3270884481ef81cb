"""A fusion rule of one's own at work: whatever it raises or returns, the error names it."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from relevance.errors import PluginError
from relevance.plug_in import Plugin
from relevance.protocol import as_numbers, kind_of_answer
from simulator.arrays import AnyArray
from simulator.rules.protocol import FusionRule, is_affine


@dataclass(frozen=True, slots=True)
class OwnRule:
    """A rule that somebody else has written."""

    rule: FusionRule
    plugin: Plugin

    def __getattr__(self, name: str) -> Any:
        """A setting of the rule."""
        if name.startswith("_") or name in ("rule", "plugin"):  # of an object that is being copied
            raise AttributeError(name)
        return getattr(self.rule, name)

    @property
    def affine(self) -> bool:
        """Whether the rule says that its score is affine in the bid."""
        return bool(self.plugin.ask("affine cannot be had:", is_affine, self.rule))

    def score(self, bid: AnyArray, pctr: AnyArray, rel: AnyArray) -> AnyArray:
        return self._asked("score", bid, pctr, rel)

    def bid_for_score(self, target: AnyArray, pctr: AnyArray, rel: AnyArray) -> AnyArray:
        return self._asked("bid_for_score", target, pctr, rel)

    def _asked(self, name: str, *arguments: AnyArray) -> AnyArray:
        """A method's answer, an array as large as its arguments together.

        Raises:
            PluginError: it raised something, or returned no such numbers.
        """
        # A rule that writes into what it is given must not change the market.
        own = [one.copy() if type(one) is np.ndarray else one for one in arguments]
        answer = self.plugin.call(self.rule, name, *own)
        if any(type(one) is not np.ndarray and not np.isscalar(one) for one in arguments):
            return answer  # arrays of another library, of a rule that is written for them
        numbers, shape = as_numbers(answer), np.broadcast_shapes(*map(np.shape, arguments))
        if numbers is None:
            raise PluginError(f"{name}() returned {kind_of_answer(answer)}", file=self.plugin.name)
        if numbers.shape != shape:
            raise PluginError(f"{name}() returned shape {numbers.shape}, not {shape}", file=self.plugin.name)
        if np.isnan(numbers).any():
            raise PluginError(f"{name}() returned NaN", file=self.plugin.name)
        if name == "score" and np.isposinf(numbers).any():  # no bid is high enough: that is of the other one
            raise PluginError(f"{name}() returned +inf", file=self.plugin.name)
        # The rule may hand out one array again and again.
        return np.array(answer) if isinstance(answer, np.ndarray) else numbers
