"""The limit service over HTTP: verified releases and score feeds in, explained limits out."""
