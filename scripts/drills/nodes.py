"""A party's node in a network of its own, kept alive as the party's own system would."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

from drills.processes import ROOT

_LOOK_S = 1.0
_FIRST_WAIT_S, _LONGEST_WAIT_S = 5.0, 40.0


class Node:
    """`python -m clients.supernode`, started again when it ends.

    Parameters
    ----------
    party : str
    place : Path
        Folder of the federation.
    space : str
        Its network namespace, in which `coordinator` is a name.
    gate, relay : int
        Ports of the coordinator's.
    environment : dict
    """

    def __init__(
        self,
        party: str,
        place: Path,
        space: str,
        gate: int,
        relay: int,
        environment: dict[str, str],
    ) -> None:
        home = place / party
        config = {
            "federation": str(place / "federation.toml"),
            "party": party,
            "relay": f"wss://coordinator:{relay}",
        }
        self._command = [
            *("ip", "netns", "exec", space, sys.executable, "-m", "clients.supernode"),
            *("--superlink", f"coordinator:{gate}", "--root-certificates", str(home / "ca.crt")),
            *("--auth-supernode-private-key", str(home / "node.key")),
            *("--host", "127.0.0.1", "--port", "9094", "--node-config"),
            " ".join(f"{name}='{value}'" for name, value in config.items()),
        ]
        # On a disk of its own, which may be full when it is started.
        self._log = place.parent / f"node.{party}.log"
        scratch = place.parent / f"tmp.{party}"
        scratch.mkdir(exist_ok=True)
        self._environment = environment | {
            "PATH": f"{Path(sys.executable).parent}:{environment.get('PATH', '')}",
            "FLWR_HOME": str(home / "flower"),
            "FLWR_TELEMETRY_ENABLED": "0",
            "FLWR_DISABLE_UPDATE_CHECK": "1",
            "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION": "1",
            "FLWR_SUPEREXEC_TASK_POLL_INTERVAL": "0.2",
            "NO_PROXY": "*",
            "no_proxy": "*",
            "TMPDIR": str(scratch),
        }
        self._stop = threading.Event()
        self._popen: subprocess.Popen[bytes] | None = None
        self._thread = threading.Thread(target=self._keep, daemon=True)

    def start(self) -> None:
        """Start it, and keep it."""
        self._launch()
        self._thread.start()

    def close(self) -> None:
        """End it for good."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(10)
        if self._popen is not None:
            self._popen.kill()
            self._popen.wait()

    def _launch(self) -> None:
        with self._log.open("ab") as log:
            self._popen = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=ROOT,
                env=self._environment,
                start_new_session=True,
            )

    def _keep(self) -> None:
        wait = _FIRST_WAIT_S
        while not self._stop.wait(_LOOK_S):
            if self._popen is not None and self._popen.poll() is not None:
                if self._stop.wait(wait):
                    return
                wait = min(2 * wait, _LONGEST_WAIT_S)
                self._launch()
