"""Ablations: small trainings that differ in one thing each, and what each difference is worth."""
