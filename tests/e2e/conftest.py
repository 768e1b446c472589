"""The real command line in real processes, and what it leaves behind."""

from __future__ import annotations

import os
import signal

import pytest

from tests.commands import Running
from tests.containers import Demo, an_engine, images
from tests.support import ROOT

#: Seconds; a death is told at once, so nothing here waits that long but on a busy machine.
_PATIENCE = 300.0


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


@pytest.fixture
def killed(start, tmp_path):
    """Train with somebody killed at one exact step; return the run, ended, nothing left of it.

    See `tests/killing/sitecustomize.py` for the step, which `by` reaches; it may be the victim.
    """

    def run(federation, victim, at, *arguments, by):
        note = tmp_path / "killed"
        note.unlink(missing_ok=True)
        env = {
            "PYTHONPATH": os.pathsep.join([str(ROOT / "tests" / "killing"), str(ROOT)]),
            "KILL_AT": f"{by} {at}",
            "KILL": victim,
            "KILL_NOTE": str(note),
        }
        running = start("train", "-f", federation, "--format", "json", *arguments, env=env)
        running.end(_PATIENCE)
        assert note.exists(), f"the run ended before {by} came to {at}: {running.stderr}"
        assert note.read_text().split()[0] == victim
        assert running.left_behind() == []
        return running

    return run


@pytest.fixture(scope="session")
def engine():
    """Give the environment in which `docker` works, once for all tests with containers."""
    with an_engine() as environment:
        yield environment


@pytest.fixture(scope="session")
def built(engine):
    """Give that environment once the images are built, which all projects share."""
    with images(engine) as environment:
        yield environment


@pytest.fixture(scope="session")
def demo(built):
    """Start the demo, once for all tests, and wait for its training and its feeds."""
    with Demo(built) as demo:
        demo.up()
        demo.feeds_sent()
        yield demo
