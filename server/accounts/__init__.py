"""The limit service at work: it reads the store, runs the pure domain and writes the store.

Each function takes the desk, a transaction and the present instant; none knows a web framework.
"""
