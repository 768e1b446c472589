"""Loaded by every Python of a drill: gives the ones that are meant a clock that can be set.

``DRILL_CLOCKS`` maps patterns of command lines to files, as JSON. A process whose command matches
begins anew with libfaketime in front, which reads the file at every look at the clock; so the clock
of one process among many can be set while it runs.
"""

import json
import os
import re
import select
import sys
import time


def _begin_anew() -> None:
    clocks = json.loads(os.environ.get("DRILL_CLOCKS", "{}"))
    words = sys.orig_argv
    command = " ".join(words)
    for pattern, file in clocks.items():
        if re.search(pattern, command):
            fake = {
                "LD_PRELOAD": os.environ["DRILL_FAKETIME"],
                "FAKETIME_TIMESTAMP_FILE": file,
                "FAKETIME_NO_CACHE": "1",
                # Deadlines run by the steady clock, which no wrong date moves.
                "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            }
            os.execve(sys.executable, words, {**os.environ, **fake})


def _sleep(seconds: float) -> None:
    # libfaketime refuses sleeps by a steady clock that it is told to leave alone.
    select.select((), (), (), seconds)


if os.environ.get("FAKETIME_TIMESTAMP_FILE"):
    time.sleep = _sleep
elif os.environ.get("DRILL_CLOCKS"):
    _begin_anew()
