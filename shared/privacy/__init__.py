"""Differential privacy at the level of a customer: accounting, noise, and what carries it.

`accounting` says what noise costs, and which noise a target asks for. `gaussian` draws it exactly,
`noise` shares it out among parties inside a secure sum. Two things carry it: the moments, once
(`moments`, `tidy`, with edges from `edges`), and gradients, step by step (`sgd`, the only module
here that imports torch). `audit` holds a ledger against what its mechanisms really cost.

One unit everywhere: one customer of one party, whose record takes part or is blank (see
`accounting.UNIT`).
"""
