"""Engine `simulation`: Flower's Simulation Engine, in processes that end with the command.

A SuperLink of its own, on a free port of this machine alone, starts Ray, and Ray one actor a core.
Flower leaves such a SuperLink running for the next command; here the guardian ends whatever carries
the run's marker.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from server.coordinator import Report
from server.engines.deployment import HOST, SUPERLINK, Service, deployed, free_ports, wait_for
from server.engines.flower_follow import START_S, StartAgain, follow, named
from server.engines.run_files import RunFiles, run_folder
from shared.edge.files import exclusive
from shared.errors import EnvironmentFault
from shared.simulated import Simulation

_ATTEMPTS = 3
# Ray's own messages stay on this machine, and a secure sum needs little of its shared memory.
_RAY = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_DEFAULT_OBJECT_STORE_MAX_MEMORY_BYTES": str(256 << 20),
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
    # Titles of Ray's agents would go over their environment, and the run's marker with it.
    "SPT_NOENV": "1",
}


def _to_stderr(sentence: str) -> None:
    sys.stderr.write(f"{sentence}\n")


def simulate(
    job: Simulation, home: Path, report: Report, *, warn: Callable[[str], None] = _to_stderr
) -> dict[str, Any]:
    """Train the neural model of simulated holders.

    Parameters
    ----------
    job : Simulation
        Its folder is the run's below `home`.
    home : Path
        Where logs and runs go.
    report : callable
        Told of progress.
    warn : callable
        Takes a sentence about something that was mended.

    Returns
    -------
    dict
        The outcome; see `server.engines.simulation.train_simulated`.

    Raises
    ------
    EnvironmentFault
        If Ray is not installed, or a process does not start.
    ConfideError
        The first holder's error.
    """
    check_ray()
    with exclusive(home):
        for _ in range(_ATTEMPTS):
            try:
                return _simulate(job, home, report, warn)
            except StartAgain as again:
                warn(f"{again}; everything is started again")
                why = again
    raise EnvironmentFault(f"{why}, {_ATTEMPTS} times", hint="train again")


def check_ray() -> None:
    """Refuse to start without Ray.

    Raises
    ------
    EnvironmentFault
        Says what to install.
    """
    if importlib.util.find_spec("ray") is None:
        raise EnvironmentFault(
            "engine simulation needs Ray, which is not installed",
            hint="pip install 'confide[simulation,neural]'",
        )


def _simulate(
    job: Simulation, home: Path, report: Report, warn: Callable[[str], None]
) -> dict[str, Any]:
    from server.engines.flower_control import Control  # noqa: PLC0415 - Flower takes a second to import

    def log(name: str) -> Path:
        return home / "logs" / f"{job.run}.{name}.log"

    (port,) = free_ports(1)
    command = (
        "-m", "server.superlink", "--simulation", "--insecure", "--host", HOST,
        "--port", str(port), "--disable-runtime-dependency-installation",
    )  # fmt: skip
    with deployed(_RAY, warn) as deployment, named(lambda: "start"):
        deployment.start([Service(SUPERLINK, command, home, log(SUPERLINK))])
        with Control(f"{HOST}:{port}", None) as control:
            if not wait_for(control.reachable, START_S, deployment):
                raise EnvironmentFault(
                    "the SuperLink did not start in time", hint=f"see {log(SUPERLINK)}"
                )
            number = control.simulate({"simulation": job.text()}, job.holders)
            files = RunFiles(run_folder(home, job.run))
            return follow(files, log, control, number, deployment, report, patience=START_S)
