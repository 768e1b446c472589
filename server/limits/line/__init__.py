"""A line's life: state, events, acts, reviews, the way back, and what can be drawn."""
