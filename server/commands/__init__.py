"""The commands of the coordinator and of the limit service, one module a noun."""
