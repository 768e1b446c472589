"""All lines together: budget, allocation, and lending with partners."""
