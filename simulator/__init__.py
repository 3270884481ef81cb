"""The marketplace: a query's way from its arrival to the charge of a click, in simulated time.

Read `journey.py` first: it calls the stations (one file each) in the order in which a query meets them.
"""
