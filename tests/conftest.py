"""Shared by all tests."""

import os

from hypothesis import settings

# Models in tests are tiny: threads that wait for one another cost more than they bring.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# Without deadlines, because machines differ in speed.
settings.register_profile("relbid", deadline=None, derandomize=True)
settings.load_profile("relbid")
