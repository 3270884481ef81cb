"""Sweeps: many points over the fields of a scenario, simulated by a pool of processes, kept and reported.

sweep_file   what a sweep file holds: axes and constraints have files of their own
schema       a sweep with its points
samplers     grids and space-filling designs
search       points chosen by what earlier ones came to; asked: what it has asked for
estimate     how long it takes
engine       what is missing of a sweep, run
worlds       what points share, prepared and scored once
pool         processes that may be killed at any moment; ray_pool: those of a cluster
worker       what one of them does
folder       a sweep's folder: its files, progress and table of points
analysis     sensitivity, best points, area below a front
report       all of it as one HTML page
"""
