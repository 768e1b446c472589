"""The command line inside the test's own process."""

from __future__ import annotations

import sys

import pytest

from server import cli


@pytest.fixture
def confide(monkeypatch, capsys):
    """Run the command line in this process; return the exit status, stdout and stderr."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["confide", *map(str, arguments)])
        status = cli.main()
        return status, *capsys.readouterr()

    return run
