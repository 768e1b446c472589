"""How much a customer may borrow, as arithmetic: no clock, file, socket, database or web in here.

Each package imports only those before it: `basis` (reasons, plain values), `words` (sentences),
`rules` (what was written down), `caps` (every named cap, and the decision that is their minimum),
`line` (the life of a line), `portfolio` (all lines together); beside each other on top of them
`batch` (the same review for many lines) and `answers` (what customers are told); `checks` (what is
found in files of rules) last.
"""
