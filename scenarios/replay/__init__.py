"""Data of one's own: tables of auctions, as markets and for replays under other fusion rules."""
