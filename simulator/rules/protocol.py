"""What a fusion rule is: a score, and its inverse in the bid."""

from typing import Protocol, runtime_checkable

from simulator.arrays import AnyArray


@runtime_checkable
class FusionRule(Protocol):
    """Elementwise and pure: an ad's score depends on nothing but its own bid, pctr and rel."""

    def score(self, bid: AnyArray, pctr: AnyArray, rel: AnyArray) -> AnyArray:
        """Fused score F[..., K] of bids (currency per click), predicted click rates and relevances.

        Finite and strictly rising in the bid where the ad is eligible, -inf where it is not; an ad that is
        eligible stays so when it bids more. Of an ad that nobody clicks (pctr 0) NaN means that it is not.
        """
        ...

    def bid_for_score(self, target: AnyArray, pctr: AnyArray, rel: AnyArray) -> AnyArray:
        """Least bid F[..., K] at which an ad is eligible and scores at least `target` F[..., K], or +inf.

        `target` -inf (nobody to beat) asks for the least bid at which the ad is eligible.
        """
        ...


def is_affine(rule: object) -> bool:
    """Whether a fusion rule says of itself that its score is affine in the bid: attribute `affine`.

    Affine: a * bid + c with a > 0 where the ad is eligible, a and c depending on pctr and rel alone. A rule
    without the attribute is taken not to be; `fusion.check_rule` tests the claim of a rule that has it.
    """
    return bool(getattr(rule, "affine", False))
