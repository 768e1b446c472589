"""Holders of engine `simulation`: places in one table."""
