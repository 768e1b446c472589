"""What puts a second model beside the first: paired comparison, reasons, points, its release.

Nothing here knows torch or how a network is built: a model is a callable from inputs to log-odds of
default, and its weights are bytes with a digest.
"""
