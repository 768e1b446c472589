"""A container engine for tests, and compose projects on it.

$CONFIDE_TEST_ENGINE is `docker` for the engine that already runs, or a script that starts a private
one: it is called with a new folder and a command, runs the command with DOCKER_HOST set and a base
image $CONFIDE_TEST_BASE at hand, and takes all down again. PostgreSQL's image is made of this
machine's own programs, since the script's engine may reach no registry: a stand-in for the official
one, as the base image is.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.postgres import image_context, programs
from tests.support import ROOT

_START_S, _BUILD_S = 300, 1500
POSTGRES = "confide-test-postgres:local"


@contextmanager
def an_engine():
    """Give the environment in which `docker` works, or skip with the reason."""
    given = os.environ.get("CONFIDE_TEST_ENGINE", "")
    if not given:
        pytest.skip("no container engine: set CONFIDE_TEST_ENGINE, or `make test-containers`")
    if programs() is None:
        pytest.skip("PostgreSQL is not installed, of which its image is made")
    if given == "docker":
        if (
            shutil.which("docker") is None
            or subprocess.run(["docker", "info"], check=False, capture_output=True).returncode
        ):
            pytest.skip("CONFIDE_TEST_ENGINE=docker, but `docker info` fails")
        base = os.environ.get("CONFIDE_TEST_BASE", "python:3.11-slim-bookworm")
        yield with_postgres(dict(os.environ) | {"BASE": base})
        return
    script = (ROOT / given).resolve()
    if not script.is_file():
        pytest.skip(f"no container engine: CONFIDE_TEST_ENGINE={script} is not there")
    # Short, since the engine's socket lies in it.
    work = Path(tempfile.mkdtemp(prefix="engine-"))
    try:
        with _private(script, work) as environment:
            yield with_postgres(environment)
    finally:
        shutil.rmtree(work, ignore_errors=True)


@contextmanager
def _private(script, work):
    """Hold a private engine open while the tests run."""
    log, told = work / "engine.log", work / "environment.json"
    dump = "import json, os, sys; json.dump(dict(os.environ), open(sys.argv[1], 'w'))"
    command = f'python3 -c "{dump}" {told}.part && mv {told}.part {told} && cat'
    with log.open("wb") as out:
        holder = subprocess.Popen(
            [script, work / "engine", "sh", "-c", command],
            stdin=subprocess.PIPE,
            stdout=out,
            stderr=out,
        )
    try:
        end = time.monotonic() + _START_S
        while not told.exists():
            if holder.poll() is not None or time.monotonic() > end:
                pytest.skip(f"the container engine does not start: {log.read_text()[-800:]}")
            time.sleep(0.2)
        base = os.environ.get("CONFIDE_TEST_BASE", "demo-localbase:py311")
        # The classic builder: the other one asks a registry for what is here.
        yield json.loads(told.read_text()) | {"BASE": base, "DOCKER_BUILDKIT": "0"}
    finally:
        holder.stdin.close()
        holder.wait(timeout=_START_S)


def with_postgres(environment):
    """Make PostgreSQL's image; return the environment that names it."""
    with tempfile.TemporaryDirectory() as folder:
        image_context(Path(folder))
        words = ["docker", "build", "-t", POSTGRES, "--build-arg", f"BASE={environment['BASE']}"]
        done = subprocess.run(
            [*words, folder], check=False, capture_output=True, text=True, env=environment
        )
        assert done.returncode == 0, done.stdout + done.stderr
    return environment | {"POSTGRES_IMAGE": POSTGRES}


def free_port():
    """Return a port of this machine that is free now."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


class Project:
    """A compose project in a folder.

    Parameters
    ----------
    environment : dict
    folder : Path
        Of its compose.yml.
    name : str
    options : tuple of str
        Of every `docker compose`.
    """

    def __init__(self, environment, folder, name, *options):
        self.environment, self.folder, self.name = environment, folder, name
        self.options = options

    def docker(self, *words, timeout=300, check=True):
        done = subprocess.run(
            ["docker", *map(str, words)],
            check=False,
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=timeout,
            stdin=subprocess.DEVNULL,
        )
        assert not check or done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
        return done

    def compose(self, *words, **options):
        return self.docker("compose", "--project-name", self.name, *self.options, *words, **options)

    def build(self):
        self.compose("build", timeout=_BUILD_S)

    def up(self, *services, timeout=1200):
        """Start, and wait until all are healthy; say what they said if they are not."""
        words = ("up", "-d", "--no-build", "--wait", *services)
        started = self.compose(*words, timeout=timeout, check=False)
        if started.returncode:
            logs = self.compose("logs", "--no-color", "--tail", "40", check=False).stdout
            pytest.fail(f"docker compose up: {started.stderr[-2000:]}\n{logs[-8000:]}")

    def inside(self, service, *words, check=True):
        return self.compose("exec", "-T", service, *words, check=check)

    def services(self):
        """Return every service's container, by name."""
        rows = self.compose("ps", "--all", "--format", "json").stdout.splitlines()
        return {row["Service"]: row for row in map(json.loads, rows)}

    def down(self):
        """Take everything down; return what of the project is still there."""
        self.compose("--profile", "*", "down", "--volumes", "--timeout", "10", check=False)
        label = f"label=com.docker.compose.project={self.name}"
        return [
            line
            for kind in (("ps", "-a"), ("volume", "ls"), ("network", "ls"))
            for line in self.docker(*kind, "-q", "--filter", label).stdout.split()
        ]
