"""The engines `local`, `flower` and `simulation`: processes, and Flower grids to them."""
