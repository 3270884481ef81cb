"""Sweeps: many points over the fields of a scenario, simulated by a pool of processes, kept and reported.

schema    the sweep file and its points
samplers  grids and space-filling designs
engine    what is missing of a sweep, run by a pool
pool      processes that may be killed at any moment
worker    what one of them does
folder    a sweep's folder: its files, progress and table of points
analysis  Pareto front, sensitivity, best points
report    all of it as one HTML page
"""
