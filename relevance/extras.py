"""Extras: packages that only some parts of relbid need, and the message where one is missing.

`pyproject.toml` lists them under `[project.optional-dependencies]`.
"""

from __future__ import annotations

from importlib.util import find_spec

from relevance.errors import UserError


class MissingExtraError(UserError, ImportError):
    """A package of an extra is not installed.

    Attributes:
        needed_by: what needs it, e.g. "the engine ray".
        package: its name as one imports it.
        extra: the extra that brings it.
    """

    def __init__(self, needed_by: str, package: str, extra: str) -> None:
        super().__init__(f"{needed_by}: {package} is not installed", remedy=f"pip install 'relbid[{extra}]'")
        self.needed_by, self.package, self.extra = needed_by, package, extra


def require(*packages: str, extra: str, needed_by: str) -> None:
    """Say how to install what is missing, before it is imported.

    Args:
        packages: top-level packages, as one imports them.
        extra: the extra of relbid that brings them.
        needed_by: what needs them, e.g. "the engine ray"; the message begins with it.

    Raises:
        MissingExtraError: one of them is not installed.
    """
    for package in packages:
        if find_spec(package) is None:
            raise MissingExtraError(needed_by, package, extra)
