"""Kinds of market behind one protocol: prepared once, scored once, simulated as often as asked."""
