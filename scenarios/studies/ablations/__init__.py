"""Ablations: many small trainings that differ in one thing each, and what every one of them is worth.

schema    the ablation file, its arms, and the trainings that they ask for
cells     one training of one seed: its settings, its key, and the file with its metrics
measures  metrics of one model on graded pairs, by slice, and in the market
worker    what a process does: pre-train or take what is there, fine-tune, measure
run       what is missing of an ablation, run by a pool of processes
table     means over the seeds and paired differences, as Markdown
"""
