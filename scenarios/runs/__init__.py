"""One scenario: its run, its comparison and sweep, its auctions one by one."""
