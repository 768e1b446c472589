"""The scorecard at a party: fitting at the builder, each holder's part, who is better off alone."""
