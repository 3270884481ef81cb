"""Corpora of one's own: ads, queries and grades from tables, pictures and videos, and pairs to score."""
