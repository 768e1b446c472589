"""The gate before Flower's SuperLink: who may ask for what."""
