"""Relevance of ads to queries: corpus, scorers behind one method, offline metrics.

Importing it imports no torch.
"""
