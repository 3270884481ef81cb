"""Sweeps: many points over the fields of a scenario, on a grid, by a design, or chosen by a search."""
