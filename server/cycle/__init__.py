"""The monthly cycle: a simulated world, its holders, and the limit service, month after month.

Every party does its part by its own command in a process of its own; people draw and repay by the
functions that the API calls; reviews are the nightly run. All clocks stand where the cycle is.
"""
