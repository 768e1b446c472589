"""A container engine for tests, compose projects on it, and the demo as one.

    with an_engine() as environment, images(environment) as environment, Demo(environment) as demo:
        demo.up()
        demo.inside("bank", "id", "-u")

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
FEEDS_S = 300
IMAGES = ("limits", "coordinator", "party")
PARTIES = ("bank", "bureau", "ecommerce", "payments")
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


@contextmanager
def images(environment):
    """Build the three images, once for every project; give the environment that names them.

    IMAGE is the beginning of their names, as compose.yml takes it; `image` gives a whole one.
    """
    name = f"confide-test-{os.getpid()}"
    environment = environment | {"IMAGE": name}
    try:
        for target in IMAGES:
            base = f"BASE={environment['BASE']}"
            tag = image(environment, target)
            words = ["docker", "build", "--target", target, "--build-arg", base, "-t", tag, ROOT]
            done = subprocess.run(
                words,
                check=False,
                capture_output=True,
                text=True,
                env=environment,
                timeout=_BUILD_S,
            )
            assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
        yield environment
    finally:
        tags = [image(environment, target) for target in IMAGES]
        subprocess.run(
            ["docker", "image", "rm", "--force", *tags],
            check=False,
            capture_output=True,
            env=environment,
        )


def image(environment, target):
    """Return the name of an image that `images` has built."""
    return f"{environment['IMAGE']}-{target}:demo"


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

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        left = self.down()
        assert kind or left == []

    def stranger(self, target, *words, network):
        """Run Python in a container that has no volume, so no key, in a network of the project."""
        where = ("--network", f"{self.name}_{network}", "--read-only", "--tmpfs", "/tmp:exec")
        entry = ("--entrypoint", "python", "-e", "NO_PROXY=*")
        name = image(self.environment, target)
        return self.docker("run", "--rm", *where, *entry, name, *words, check=False, timeout=900)

    def addresses(self, service):
        """Return a service's address in each network, by the network's name in the file."""
        told = json.loads(self.docker("inspect", self.services()[service]["ID"]).stdout)
        there = told[0]["NetworkSettings"]["Networks"]
        return {name.removeprefix(f"{self.name}_"): one["IPAddress"] for name, one in there.items()}


class Demo(Project):
    """The project of compose.yml.

    Parameters
    ----------
    environment : dict
        From `images`.
    customers : int
    profile : str
    """

    def __init__(self, environment, customers=4000, profile="demo"):
        self.port = free_port()
        own = {"CUSTOMERS": str(customers), "LIMITS_PORT": str(self.port)}
        # All there are, since a core is little for what starts Python; more are refused.
        own["CPUS"] = str(min(2, os.cpu_count() or 1))
        name = f"confide-demo-{os.getpid()}"
        super().__init__(environment | own, ROOT, name, "--profile", profile)

    def feeds_sent(self):
        """Wait for the parties' feeds; they follow the training that `up --wait` waits for."""
        end = time.monotonic() + FEEDS_S
        while any(self.services()[f"{name}-feed"]["State"] != "exited" for name in PARTIES):
            assert time.monotonic() < end, self.compose("logs", "--no-color", check=False).stdout
            time.sleep(1)
