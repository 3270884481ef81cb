"""What happens over time: the event loop, bid ticks, sessions, users who come back or do not."""
