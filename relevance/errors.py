"""What can be wrong with what a user hands over; every message names the thing and the remedy."""

from __future__ import annotations


class CheckpointError(ValueError):
    """A checkpoint is missing, damaged, or belongs to something else."""


class PluginError(ValueError):
    """A plug-in cannot be found, loaded, or used."""


class ScorerError(ValueError):
    """A scorer returned something that is not a relevance score."""
