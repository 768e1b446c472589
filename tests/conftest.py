"""What all tests share: the command line inside the test's own process, and patience."""

from __future__ import annotations

import signal
import sys

import pytest
from hypothesis import HealthCheck, settings

from server import cli
from tests.depth import depth

# How fast a machine is, and what else it does, is no property of the code.
settings.register_profile(
    "patient",
    deadline=None,
    max_examples=depth(50, 100),
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("patient")

# Commands that are started from here must hear Ctrl-C, also where this was started with `&`.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def confide(monkeypatch, capsys):
    """Run the command line in this process; return the exit status, stdout and stderr."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["confide", *map(str, arguments)])
        status = cli.main()
        return status, *capsys.readouterr()

    return run
