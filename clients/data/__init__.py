"""Where a party's tables come from: the simulated world, real data, one table split."""
