"""What a party releases and keeps: manifests, score feeds, its part as JSON and SQL."""
