"""How much a customer may borrow, as arithmetic: no clock, file, socket, database or web in here.

Read in this order: `policy` and `pack` (what was written down), `snapshot` (what is known of the
customer), `caps` (every named cap), `decide` (their minimum, and why).
"""
