"""Experiments: arms over one scenario, replicated over seeds, with intervals."""
