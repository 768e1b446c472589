"""The simulated world: what borrowers do, month by month, given the limits that they have.

Nothing here is real. Pure functions of the seed: both sides play the same people, the holders to
write down what each of them sees (`clients.months`), the limit service to try a policy on them.
"""
