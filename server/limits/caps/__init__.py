"""A customer's caps, and the decision that is their minimum."""
