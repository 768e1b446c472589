"""The same review for many lines at once, as columns."""
