"""Signed releases and score feeds: on disk, in memory, and which one serves."""
