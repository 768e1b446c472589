"""The coordinator, the command line, and the limit service."""
