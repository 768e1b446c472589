"""Files of rules looked at together, and their public page."""
