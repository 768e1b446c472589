"""Flower's Control API over HTTP: register nodes, start a run, ask how it is.

The only place in `server` that uses what Flower does not publish; a test of the contract,
`tests/unit/test_flower_contract.py`, says when a new version breaks it. The `flwr` command does the
same, but each call costs a second of imports and exits with 0 when the run failed.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_ssh_public_key
from flwr.common.serde import user_config_to_proto
from flwr.proto import control_pb2 as api
from flwr.proto.fab_pb2 import Fab
from flwr.proto.federation_config_pb2 import SimulationConfig
from flwr.supercore.control import ControlHttpClient
from flwr.supercore.interceptors import RuntimeVersionHttpInterceptor
from flwr.supercore.primitives.asymmetric import public_key_to_bytes

from shared.edge import bundle
from shared.edge.tls import tls_context
from shared.errors import BadPeer, EnvironmentFault

_POLL_S = 0.05


@dataclass(frozen=True, slots=True)
class Status:
    """How a run is.

    Parameters
    ----------
    ended, completed : bool
    details : str
        Why it failed.
    """

    ended: bool
    completed: bool
    details: str


class Control:
    """A client of the Control API.

    Parameters
    ----------
    address : str
        Host and port of the SuperLink.
    ca : Path or None
        The certificate authority that signed its certificate; the own certificate lies beside it.
        None for a simulation's own SuperLink, which has none and listens on this machine alone.
    """

    def __init__(self, address: str, ca: Path | None) -> None:
        self._address, self._ca = address, ca
        # The gate before a SuperLink asks for the coordinator's certificate; Flower does not.
        own = ca and (ca.with_name("tls.crt"), ca.with_name("tls.key"))
        shown = tls_context(*own, ca, server=False) if own and ca else None
        self._client = ControlHttpClient(
            f"{'https' if ca else 'http'}://{address}",
            interceptors=[RuntimeVersionHttpInterceptor(component_name="flwr CLI")],
            verify=shown or False,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._client.close()

    def reachable(self) -> bool:
        """Return whether the SuperLink answers.

        Raises
        ------
        BadPeer
            If its certificate is not one of the federation's.
        """
        try:
            self._client.ListNodes(api.ListNodesRequest())
        except httpx.TransportError as error:
            if "CERTIFICATE_VERIFY_FAILED" in str(error):
                raise BadPeer(
                    f"what answers at {self._address} shows a certificate that {self._ca} did not "
                    "sign",
                    hint="is it this federation's coordinator?",
                ) from error
            return False
        except httpx.HTTPStatusError as error:
            raise self._fault(error) from error
        return True

    def wait(self, seconds: float) -> None:
        """Wait until the SuperLink answers.

        Raises
        ------
        EnvironmentFault
            If it does not within so many seconds.
        """
        end = time.monotonic() + seconds
        while not self.reachable():
            if time.monotonic() > end:
                raise EnvironmentFault(
                    f"no SuperLink answers at {self._address}", hint="start it, then train again"
                )
            time.sleep(_POLL_S)

    def register(self, keys: Mapping[str, bytes]) -> dict[str, int]:
        """Let parties' nodes in; one that is in already stays.

        Parameters
        ----------
        keys : mapping of str to bytes
            Each party's public node key, in OpenSSH's format.

        Returns
        -------
        dict of str to int
            Each party's node.
        """
        try:
            known = {
                node.public_key: node.node_id
                for node in self._client.ListNodes(api.ListNodesRequest()).nodes_info
                if node.status != "unregistered"
            }
            nodes = {}
            for party, openssh in keys.items():
                key = _key(openssh)
                if key not in known:
                    request = api.RegisterNodeRequest(public_key=key, name=party)
                    known[key] = self._client.RegisterNode(request).node_id
                nodes[party] = int(known[key])
        except httpx.HTTPError as error:
            raise self._fault(error) from error
        return nodes

    def start(self, config: Mapping[str, str | bool]) -> int:
        """Start a run of confide's bundle; return its number."""
        fab = Fab(hash_str=bundle.digest(), content=bundle.bundle())
        request = api.StartRunRequest(fab=fab, override_config=user_config_to_proto(dict(config)))
        return self._start(request)

    def simulate(self, config: Mapping[str, str], holders: int) -> int:
        """Start a run of simulated holders; return its number."""
        digest, content = bundle.digest(simulation=True), bundle.bundle(simulation=True)
        request = api.StartRunRequest(
            fab=Fab(hash_str=digest, content=content),
            override_config=user_config_to_proto(dict(config)),
            # Flower's default gives every holder two cores, and so a laptop one actor.
            override_federation_config=SimulationConfig(
                num_supernodes=holders, client_resources_num_cpus=1
            ),
        )
        return self._start(request)

    def _start(self, request: api.StartRunRequest) -> int:
        try:
            return int(self._client.StartRun(request).run_id)
        except httpx.HTTPError as error:
            raise self._fault(error) from error

    def status(self, run: int) -> Status | None:
        """Return how a run is; None while the SuperLink does not answer."""
        try:
            answer = self._client.ListRuns(api.ListRunsRequest(run_id=run))
        except httpx.HTTPError:
            return None
        status = answer.run_dict[run].status
        return Status(
            ended=status.status == "finished",
            completed=status.sub_status == "completed",
            details=str(status.details),
        )

    def log(self, run: int) -> str:
        """Return the log of a run that has ended, as far as it can be had."""
        try:
            parts = self._client.StreamLogs(api.StreamLogsRequest(run_id=run, after_timestamp=0.0))
            return "".join(part.log_output for part in parts)
        except (httpx.HTTPError, ValueError):
            return ""

    def stop(self, run: int) -> None:
        """Stop a run; one that has ended stays ended."""
        try:
            self._client.StopRun(api.StopRunRequest(run_id=run))
        except httpx.HTTPError:
            return

    def _fault(self, error: httpx.HTTPError) -> EnvironmentFault:
        said = error.response.text[:400] if isinstance(error, httpx.HTTPStatusError) else str(error)
        return EnvironmentFault(f"the SuperLink at {self._address} did not do it: {said}")


def _key(openssh: bytes) -> bytes:
    key = load_ssh_public_key(openssh.strip())
    assert isinstance(key, ec.EllipticCurvePublicKey)
    return bytes(public_key_to_bytes(key))
