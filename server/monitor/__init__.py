"""Monitoring on counts alone: whether the model still ranks, fits, and treats people alike."""
