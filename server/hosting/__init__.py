"""Servers for strangers: listening sockets, bounds on who connects and how slowly."""
