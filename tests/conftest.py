"""Shared by all tests: hypothesis profile without deadlines, because machines differ in speed."""

from hypothesis import settings

settings.register_profile("relbid", deadline=None, derandomize=True)
settings.load_profile("relbid")
