"""Where confide changes what Flower does not publish: waits, and which bundles are taken.

Every change is one replaced name in one of Flower's modules, made before that module runs. A test
of the contract (`tests/unit/test_flower_contract.py`) says when a new version of Flower breaks one;
a node or a SuperLink does not start then.
"""

from __future__ import annotations

import functools
import hashlib
import importlib
import ssl
import time
from collections.abc import Callable, Sequence
from typing import Any

from shared.edge.bundle import digest
from shared.errors import Refused

NODE = "flwr.supernode.start_client_internal"
CLIENT_APP = "flwr.supernode.runtime.run_clientapp"
GRID = "flwr.superlink.grid.http_grid"
CONTROL = "flwr.superlink.servicer.control.control_handlers"
ERRORS = "flwr.supercore.error"
FLEET = "flwr.supernode.fleet_http_connection"

POLL_S = 0.2
_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.05, 0.5


class _Clock:
    """The module `time`, with a sleep of at most `POLL_S`."""

    def __getattr__(self, name: str) -> Any:
        return getattr(time, name)

    @staticmethod
    def sleep(seconds: float) -> None:
        time.sleep(min(seconds, POLL_S))


class _Noting:
    """A node's state that notes which messages it has done with."""

    def __init__(self, state: Any, done: set[str]) -> None:
        self._state, self._done = state, done

    def __getattr__(self, name: str) -> Any:
        return getattr(self._state, name)

    def delete_messages(self, *, message_ids: Sequence[str]) -> None:
        self._done.update(message_ids)
        self._state.delete_messages(message_ids=message_ids)


def check_bundle(content: bytes) -> None:
    """Refuse every bundle but confide's own.

    Raises
    ------
    Refused
    """
    if not _is_ours(content):
        raise Refused(
            "the coordinator sent another app than confide's; nothing of it was run",
            hint="all members must have the same version of confide",
        )


def _is_ours(content: bytes, *, simulation: bool = False) -> bool:
    return hashlib.sha256(content).hexdigest() == digest(simulation=simulation)


def prepare_node(context: ssl.SSLContext | None = None) -> None:
    """Make a node take no bundle but confide's, ask for work every 0.2 s, and answer it.

    Parameters
    ----------
    context : ssl.SSLContext, optional
        With which it dials: it shows the party's certificate to whoever asks for one, as the gate
        before a SuperLink does. Flower's node has none to show.
    """
    if context is not None:
        _show_certificate(context)
    app = _replaceable(CLIENT_APP, "pull_and_inflate_object_from_tree")
    names = ("time", "pull_objects", "get_fused_config_from_fab")
    node = _replaceable(NODE, *names, "_pull_and_store_message", "_push_messages")
    read = node.get_fused_config_from_fab

    def checked(content: bytes, run: Any) -> Any:
        # The first thing that a node does with a bundle, before it starts a process for it.
        check_bundle(content)
        return read(content, run)

    node.get_fused_config_from_fab = checked
    node.time = _Clock()
    _hurry(app, "pull_and_inflate_object_from_tree")
    _hurry(node, "pull_objects")
    answer_what_was_asked(node)


def answer_what_was_asked(node: Any) -> None:
    """Make a node send replies until that to the message it has just pulled is among them.

    Flower's node sends what replies there are once for each message that it pulls. Where a run
    ends while the parts of a message are on their way, its reply comes all the same, and nobody
    sends it: from then on the node answers each message with the reply to the one before, too late
    for its run, and is "not there" until somebody starts it anew.

    Parameters
    ----------
    node : module
        Flower's `start_client_internal`.
    """
    pull, push = node._pull_and_store_message, node._push_messages  # noqa: SLF001
    pulled = [""]

    @functools.wraps(pull)
    def noted(*, receive: Callable[[], Any], **others: Any) -> Any:
        def received() -> Any:
            found = receive()
            pulled[0] = "" if found is None else found[0].metadata.message_id
            return found

        return pull(receive=received, **others)

    @functools.wraps(push)
    def answered(*, state: Any, **others: Any) -> None:
        done: set[str] = set()
        while pulled[0] not in done:
            push(state=_Noting(state, done), **others)

    node._pull_and_store_message, node._push_messages = noted, answered  # noqa: SLF001


def _show_certificate(context: ssl.SSLContext) -> None:
    fleet = _replaceable(FLEET, "FleetHttpClient")
    theirs: Any = fleet.FleetHttpClient

    class Shown(theirs):  # type: ignore[misc]
        """Flower's client of a SuperLink, with a certificate of its own."""

        @classmethod
        def from_server_address(
            cls, server_address: str, insecure: bool, root_certificates: Any, **options: Any
        ) -> Any:
            if insecure:
                return theirs.from_server_address(server_address, insecure, None, **options)
            del root_certificates  # the context knows the authority
            return cls(f"https://{server_address}", verify=context, **options)

    fleet.FleetHttpClient = Shown


def prepare_coordinator(*, simulation: bool = False) -> None:
    """Make a SuperLink take no bundle but confide's, and its app look for replies at once.

    Flower's control interface has no authentication: without this, whoever reaches it has any
    program run at the coordinator, with the coordinator's keys.

    Parameters
    ----------
    simulation : bool
        Whether the bundle is that of simulated holders.
    """
    _hurry(_replaceable(GRID, "pull_objects"), "pull_objects")
    control = _replaceable(CONTROL, "get_fab_config")
    refusal = _replaceable(ERRORS, "FlowerError", "ApiErrorCode")
    read = control.get_fab_config

    def checked(content: bytes) -> Any:
        # Flower reads every bundle here - sent with the request, kept, or from its hub - before it
        # keeps it or makes a run of it.
        if not _is_ours(content, simulation=simulation):
            why = "another app than confide's; nothing of it was run"
            raise refusal.FlowerError(
                refusal.ApiErrorCode.INVALID_APP_SPEC, why, public_details=why
            )
        return read(content)

    control.get_fab_config = checked


def _hurry(module: Any, name: str) -> None:
    # A message may be seen before its parts are there; Flower asks again after 1, 2, 4 ... s.
    soon = {"initial_backoff": _FIRST_WAIT_S, "backoff_cap": _LONGEST_WAIT_S}
    setattr(module, name, functools.partial(getattr(module, name), **soon))


def _replaceable(module: str, *names: str) -> Any:
    found = importlib.import_module(module)
    for name in names:
        if not hasattr(found, name):
            raise ImportError(f"this version of Flower has no {name} in {module}")
    return found
