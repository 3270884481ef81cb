"""A fusion rule of one's own at work: whatever it raises or returns, the error names it."""

from dataclasses import dataclass
from math import inf
from typing import Any

import numpy as np

from relevance.errors import PluginError
from relevance.plug_in import Plugin
from relevance.protocol import as_numbers, kind_of_answer
from simulator.arrays import AnyArray
from simulator.rules.protocol import FusionRule, is_affine

WHAT = {"score": "bid", "bid_for_score": "target"}
"""The first argument of a method."""


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
        with np.errstate(all="ignore"):  # 0 / 0 is looked at below
            answer = self.plugin.call(self.rule, name, *own)
        if any(type(one) is not np.ndarray and not np.isscalar(one) for one in arguments):
            return answer  # arrays of another library, of a rule that is written for them
        numbers, shape = as_numbers(answer), np.broadcast_shapes(*map(np.shape, arguments))
        if numbers is None:
            raise PluginError(f"{name}() returned {kind_of_answer(answer)}", file=self.plugin.name)
        if numbers.shape != shape:
            raise PluginError(f"{name}() returned shape {numbers.shape}, not {shape}", file=self.plugin.name)
        unclicked = np.isnan(numbers) & (arguments[1] == 0)  # such ads fill up rows; they can buy no score
        numbers[unclicked] = -inf if name == "score" else inf
        if (wrong := np.isnan(numbers)).any():
            given = zip((WHAT[name], "pctr", "rel"), np.broadcast_arrays(*arguments), strict=True)
            where = ", ".join(f"{what} {column[wrong][0]:.4g}" for what, column in given)
            remedy = "an ad that may not be shown scores -inf, and needs a bid of +inf"
            raise PluginError(f"{name}() returned NaN for {where}", file=self.plugin.name, remedy=remedy)
        if name == "score" and np.isposinf(numbers).any():  # no bid is high enough: that is of the other one
            raise PluginError(f"{name}() returned +inf", file=self.plugin.name)
        # The rule may hand out one array again and again.
        return np.array(answer) if isinstance(answer, np.ndarray) and not unclicked.any() else numbers
