"""A party's side of the neural model: rounds, noise, verdicts, release and challenge."""
