"""A party: a data holder with its own machine, keys, data directory and ledger."""
