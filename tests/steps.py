"""Where somebody dies in each step of a training, and what must hold of every journal afterwards.

One table for real processes (`tests/e2e/test_*_faults.py`) and for threads
(`tests/protocols/test_*steps.py`): ``send TAG`` is before a message leaves, ``record PHASE`` before
a ledger has the line.
"""

from __future__ import annotations

from clients.store import Store

#: Of several banks' card, by phase: nobody has revealed anything of it yet.
BANK_STEPS = {
    "bins": "send sum/bins/1/masked",
    "cells": "send sum/cells/1/masked",
    "moments": "send sum/moments/1/masked",
    "score": "send sum/points/1/masked",
    "release": "send pseudonym/share",
}
#: The same where the others reveal: the bank's journal has noted it, and its own seed never leaves.
BANK_REVEALED = {
    "bins": "send sum/bins/1/seed",
    "cells": "send sum/cells/1/seed",
    "moments": "send sum/moments/1/seed",
    "score": "send sum/points/1/seed",
}
#: Of the neural model; in the builder's check there is no sum.
NEURAL_STEPS = {
    "edges": "send sum/neural_edges/1/masked",
    "round 1": "send sum/neural_1/1/masked",
    "check 1": "record neural_check_1",
    "round 2": "send sum/neural_2/1/masked",
    "evaluate": "send sum/neural_evaluate/1/masked",
}
NEURAL_REVEALED = {
    "round 1": "send sum/neural_1/1/seed",
    "round 2": "send sum/neural_2/1/seed",
    "evaluate": "send sum/neural_evaluate/1/seed",
}


def no_input_in_two_cohorts(path, banks):
    """Check every bank's journal; return how many inputs they have revealed in all."""
    inputs = 0
    for bank in banks:
        cohorts = {}
        for line in Store(path.parent / bank).journal._lines("reveal"):
            assert bank in line["cohort"]
            assert cohorts.setdefault(line["input"], line["cohort"]) == line["cohort"]
        inputs += len(cohorts)
    return inputs
