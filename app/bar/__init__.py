"""The bar on top of every page: two formulas, what is said of mine, and what a newcomer is shown first."""
