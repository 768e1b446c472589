"""The coordinator's side of the neural model."""
