"""Protocols as straight-line code over a `Channel`; each module reads like the paper it cites."""
