"""Who meets whom in the demo's compose file: the promises about networks, for check_compose.py.

=================  =========================================================================
network            on it
=================  =========================================================================
a party's          its node and its feed, the gate, the relay, the limit service
a party's watched  its node, and Prometheus, which listens on another network
operator           the SuperLink, the gate, the relay, and who registers nodes and trains
watched            the operator's services that tell metrics, and Prometheus
database           PostgreSQL, the limit service, and who adds its client for Prometheus
watching           Prometheus and Grafana
=================  =========================================================================
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from server.engines.deployment import RELAY, SUPERLINK
from server.federation.plan import GATE

PROMETHEUS = "prometheus"
MEETING = {GATE, RELAY, "limits"}
"""Whom a party meets on its own network."""
PUBLISHED = {"limits", "grafana"}

_INNER = {
    "operator": {SUPERLINK, GATE, RELAY, "register", "train"},
    "watched": {SUPERLINK, GATE, RELAY, "limits", PROMETHEUS},
    "database": {"postgres", "limits", "watcher"},
    "watching": {PROMETHEUS, "grafana"},
}
_NAMED = {
    "operator": "the operator's network",
    "watched": "what tells metrics",
    "database": "the database",
    "watching": "who looks at the numbers",
}


def meetings(compose: Mapping[str, Any], parties: list[str]) -> Iterator[str]:
    """Yield what is wrong with the networks, and with what is published."""
    services, networks = compose["services"], compose["networks"]
    members = _members(compose)
    yield from _of_parties(services, members, parties)
    yield from _of_the_operator(members)
    for network, one in networks.items():
        if not (one or {}).get("internal") and not members[network] <= PUBLISHED:
            inside = ", ".join(sorted(members[network] - PUBLISHED))
            yield f"{inside}: network {network} leads out"
    for name, one in services.items():
        if "networks" not in one and one.get("network_mode") != "none":
            yield f"{name}: is on the default network"
        for port in one.get("ports", []):
            if name not in PUBLISHED or not port.startswith("127.0.0.1:"):
                yield f"{name}: publishes {port}"
    yield from _listens(services)


def meetings_apart(coordinator: Mapping[str, Any]) -> Iterator[str]:
    """Yield what is wrong with the networks of a coordinator on a machine of its own."""
    yield from _of_the_operator(_members(coordinator))
    yield from _inside(coordinator["services"])
    for network, one in coordinator["networks"].items():
        if network != "outside" and not (one or {}).get("internal"):
            yield f"network {network} leads out"


def _members(compose: Mapping[str, Any]) -> dict[str, set[str]]:
    return {
        network: {
            name for name, one in compose["services"].items() if network in one.get("networks", [])
        }
        for network in compose["networks"]
    }


def _of_parties(
    services: Mapping[str, Any], members: Mapping[str, set[str]], parties: list[str]
) -> Iterator[str]:
    for party in parties:
        for network in services[party]["networks"]:
            watched = network == f"{party}-watched"
            known = {PROMETHEUS} if watched else MEETING | {f"{party}-feed"}
            beyond = members[network] - known - {party}
            if beyond:
                yield f"{party}: meets {', '.join(sorted(beyond))} on network {network}"
            if SUPERLINK in members[network]:
                yield f"{SUPERLINK}: is on {party}'s network {network}"


def _of_the_operator(members: Mapping[str, set[str]]) -> Iterator[str]:
    for network, known in _INNER.items():
        beyond = members.get(network, set()) - known
        if beyond:
            yield f"{', '.join(sorted(beyond))}: meets {_NAMED[network]}"
    for network, inside in members.items():
        if SUPERLINK in inside and network not in {"operator", "watched"}:
            yield f"{SUPERLINK}: is on network {network}"


def _listens(services: Mapping[str, Any]) -> Iterator[str]:
    """What is told on one network must not be heard on another."""
    given = services.get(PROMETHEUS, {})
    place = f"{PROMETHEUS}.watching"
    if f"--web.listen-address={place}:9090" not in given.get("command", []):
        yield f"{PROMETHEUS}: must listen at {place} alone, or parties read each other's numbers"
    yield from _alias(services, PROMETHEUS, place, "watching")
    yield from _inside(services)


def _inside(services: Mapping[str, Any]) -> Iterator[str]:
    yield from _alias(services, SUPERLINK, "coordinator", "operator")
    yield from _alias(services, GATE, f"{GATE}.operator", "operator")


def _alias(services: Mapping[str, Any], name: str, alias: str, network: str) -> Iterator[str]:
    if network not in _places(services, alias):
        yield f"{name}: is not {alias} on network {network}"
    if _places(services, alias) - {network}:
        yield f"{name}: {alias} is a name on another network than {network}"


def _places(services: Mapping[str, Any], alias: str) -> set[str]:
    """Return the networks on which somebody has a name."""
    return {
        network
        for one in services.values()
        for network, options in _networks_of(one).items()
        if alias in options.get("aliases", [])
    }


def _networks_of(one: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    given = one.get("networks", {})
    if isinstance(given, list):
        return {network: {} for network in given}
    return {network: options or {} for network, options in given.items()}


def metrics_heard(
    services: Mapping[str, Any], names: Mapping[str, tuple[str, str]]
) -> Iterator[str]:
    """Yield whose metrics are told elsewhere than on a network for it.

    Parameters
    ----------
    services : mapping
    names : mapping of str to (str, str)
        Of each service the name under which it tells them, and the network.
    """
    for name, (alias, network) in names.items():
        if name in services:
            yield from _alias(services, name, alias, network)
