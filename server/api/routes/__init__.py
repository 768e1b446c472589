"""The routes of the limit service, a module for each noun."""
