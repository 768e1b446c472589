"""The decision log: what was decided cannot be changed, dropped or reordered without being seen.

Read in this order: `merkle` (the tree), `leaf` and `header` (what of a decision stands in it),
`heads` (what the operator signs), `book` (how decisions come in), `folder` and `vault` (files; the
store's tables are in `server.store.log`), `export` and `verify` (what leaves the house, and how
anybody checks it without asking back). All but `folder` and `vault`
know no file and no clock.
"""
