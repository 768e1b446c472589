"""What the limit service keeps: lines and their money, decisions, approvals, keys.

`engine` opens a database and gives transactions; each noun has a module of functions that take a
transaction as their first argument and change nothing beyond it. `checks` recomputes every total.
The web and the limit's arithmetic are not known here.
"""
