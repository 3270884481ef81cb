"""The dashboard's figures: pure functions from tables to plotly figures.

Backgrounds and text colours are left to the page's theme, so that they follow light and dark.
"""
