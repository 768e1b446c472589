"""What both sides need of the world outside. Nothing else in `shared` imports it."""
