"""Optuna, an optional package: kept quiet, and seeded."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator

import numpy as np


@contextlib.contextmanager
def quiet_optuna() -> Iterator[None]:
    """Keep Optuna from reporting each trial, and from warning that parts of it are new."""
    from optuna import logging
    from optuna.exceptions import ExperimentalWarning

    before = logging.get_verbosity()
    logging.set_verbosity(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            yield
    finally:
        logging.set_verbosity(before)


def sampler_seed(*numbers: int) -> int:
    """A seed below 2^32, as samplers take it, from seeds of any size."""
    return int(np.random.SeedSequence(numbers).generate_state(1)[0])
