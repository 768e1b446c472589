"""One module a version, oldest first by its number."""
