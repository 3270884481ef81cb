"""A market that is a table of auctions of one's own."""
