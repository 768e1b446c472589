"""Noise on moments: what is spent, drawn, written down and sent; fitting from it."""
