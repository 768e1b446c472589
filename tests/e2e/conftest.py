"""The real command line in real processes, and what it leaves behind."""

from __future__ import annotations

import os
import signal

import pytest

from tests.commands import Running


class Local(Running):
    """A command of engine `local`, or of none."""

    def said(self, text):
        """Wait until the command has said something on stderr."""
        self.until(lambda: text in self.stderr)

    def party(self, name):
        """Return the id of a party's process, once it is there."""
        return self.until(lambda: next(iter(self.processes(f"--party={name}")), None))


@pytest.fixture
def start(tmp_path_factory):
    """Start `confide ...`; whatever a test leaves running is killed at its end."""
    started = []

    def start(*arguments, env=None):
        started.append(Local(tmp_path_factory.mktemp("output"), *arguments, env=env))
        return started[-1]

    yield start
    for running in started:
        for pid in running.processes():
            os.kill(pid, signal.SIGKILL)
        running.process.wait()


@pytest.fixture
def confide(start):
    """Run `confide ...` to its end; return the exit status, stdout and stderr."""

    def run(*arguments, env=None):
        running = start(*arguments, env=env)
        return running.end(), running.stdout, running.stderr

    return run
