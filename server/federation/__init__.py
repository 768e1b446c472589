"""The processes of a federation that stay up: planned, supervised, told about."""
