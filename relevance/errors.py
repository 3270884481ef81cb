"""What can be wrong with what a user hands over; every message names the thing and the remedy."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


class CheckpointError(ValueError):
    """A checkpoint is missing, damaged, or belongs to something else."""


class PluginError(ValueError):
    """A plug-in cannot be found, loaded, or used."""


class ScorerError(ValueError):
    """A scorer failed, or returned something that is not a relevance score.

    `done`: scores [P] of the pairs that it was asked for, NaN from the first chunk on that it failed at; None
    where it was not asked for many.
    """

    done: NDArray[np.float64] | None = None
