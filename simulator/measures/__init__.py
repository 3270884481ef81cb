"""The metrics of a run, and what better bids would have earned."""
