"""The fault drill's parts: faults, targets, what is drilled, and what must be true afterwards."""
