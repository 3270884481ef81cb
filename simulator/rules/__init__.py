"""Fusion rules written as formulas, and the check of any rule."""
