"""A market fitted to a log of auctions, and how well it predicts the rest of the log."""
