"""Scenarios as validated data, and the runs, comparisons and sweeps made of them."""
