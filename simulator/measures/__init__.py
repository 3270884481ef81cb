"""What a run was good for, and what better bids would have earned."""
