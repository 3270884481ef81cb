"""Many simulations or trainings: sweeps, experiments and ablations on one engine."""
