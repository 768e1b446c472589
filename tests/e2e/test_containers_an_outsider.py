"""What a container in a party's network finds and can do: it is told nothing, and let in nowhere.

The engine's own address on each network is this machine: what else listens here is no part of the
demo, so there only the demo's own ports are looked for.
"""

from __future__ import annotations

import json
import time

import pytest
import yaml

from tests.containers import PARTIES
from tests.support import ROOT

pytestmark = [pytest.mark.containers, pytest.mark.e2e, pytest.mark.timeout(3000)]
SCAN = (ROOT / "tests" / "scan.py").read_text()
OF_THE_DEMO = {5432, 8000, 8001, 8002, 8003, 8443, 9090, 9094, *range(9100, 9107)}


def found(demo, network, *hosts):
    """Scan every port of whom a stranger sees on a network; return the ports by service."""
    told = demo.stranger("party", "-c", SCAN, *hosts, network=network)
    assert told.returncode == 0, told.stderr
    names = {}
    for service in ("superlink", "gate", "relay", "limits", "postgres", *PARTIES):
        names[demo.addresses(service).get(network)] = service
    seen = json.loads(told.stdout).items()
    return {names.get(host, "the engine"): set(ports) for host, ports in seen}


def test_a_scan_of_every_port_in_a_partys_network_finds_gate_relay_and_limit_service(demo):
    seen = found(demo, "bank")
    assert not seen.pop("the engine", set()) & OF_THE_DEMO
    assert seen == {"gate": {8002}, "relay": {8001}, "limits": {8443}, "bank": set()}


def test_a_scan_of_the_operators_network_finds_what_a_partys_does_not(demo):
    """The control: the scan does find the control interface and the operator's port."""
    hosts = [demo.addresses(service)["operator"] for service in ("superlink", "gate")]
    assert found(demo, "operator", *hosts) == {"superlink": {8000}, "gate": {8002, 8003}}


REACH = """
import json, socket, sys
from concurrent.futures import ThreadPoolExecutor
def reached(place):
    host, port = place
    try: socket.create_connection((host, port), 3).close()
    except OSError: return False
    return True
places = json.loads(sys.argv[1])
print(json.dumps(list(ThreadPoolExecutor(64).map(reached, places))))
"""


def reach(demo, network, places):
    told = demo.stranger("party", "-c", REACH, json.dumps(places), network=network)
    return json.loads(told.stdout)


def test_no_address_on_another_network_is_reached_by_a_way_round(demo):
    services = ("superlink", "gate", "relay", "limits", "postgres", "bureau", "payments")
    there = {
        (address, port)
        for service in services
        for network, address in demo.addresses(service).items()
        if network != "bank"
        for port in OF_THE_DEMO
    }
    assert len(there) > 200
    assert not any(reach(demo, "bank", sorted(there)))
    relay = demo.addresses("relay")["bank"]
    assert reach(demo, "bank", [(relay, 8001)]) == [True]  # the control


def targets():
    """Return what Prometheus asks in the demo, without a token."""
    asked = yaml.safe_load((ROOT / "deploy/observability/prometheus-containers.yml").read_text())
    groups = [group for job in asked["scrape_configs"] for group in job["static_configs"]]
    return {target for group in groups for target in group["targets"]} - {"limits:8443"}


PAGES = """
import sys, urllib.request
for one in sys.argv[1:]:
    print(urllib.request.urlopen(f"http://{one}/metrics", timeout=9).read().decode())
"""


def test_metrics_are_told_where_prometheus_asks_and_the_control_interface_is_not_there(demo):
    operators = {one for one in targets() if one.split(".")[0] not in PARTIES}
    told = demo.stranger("party", "-c", PAGES, *operators, network="watched")
    assert told.returncode == 0, told.stderr
    for name in ("confide_runs_total", "confide_gate_requests_total", "confide_relay_frames_total"):
        assert f"# TYPE {name.removesuffix('_total')}" in told.stdout, name
    places = [(f"{name}.watched", port) for name in ("superlink", "gate") for port in (8000, 8003)]
    assert reach(demo, "watched", places) == [False] * 4


@pytest.mark.parametrize("party", PARTIES)
def test_a_partys_metrics_are_told_on_a_network_on_which_it_meets_prometheus_alone(demo, party):
    (own,) = (one for one in targets() if one.startswith(f"{party}."))
    told = demo.stranger("party", "-c", PAGES, own, network=f"{party}-watched")
    assert told.returncode == 0, told.stderr
    counted = 'outcome="ok",phase="release"} 1.0'
    assert f'confide_phases_total{{member="{party}",{counted}' in told.stdout
    label = f"network={demo.name}_{party}-watched"
    there = demo.docker("ps", "--quiet", "--no-trunc", "--filter", label).stdout.split()
    assert [one[:12] for one in there] == [demo.services()[party]["ID"][:12]]


KNOWS = """
import socket, sys
from concurrent.futures import ThreadPoolExecutor
def knows(name):
    try: return bool(socket.getaddrinfo(name, None))
    except OSError: return False
known = ThreadPoolExecutor(32).map(knows, sys.argv[1:])
print(*[name for name, is_known in zip(sys.argv[1:], known) if is_known])
"""


def test_a_party_knows_the_names_of_gate_relay_and_limit_service_and_of_nobody_else(demo):
    others = ["superlink", "coordinator", "gate.operator", "gate.watched", "relay.watched"]
    others += ["postgres", "prometheus", "train", "register", "bureau", "bureau.watched"]
    others += ["ecommerce", "payments-feed", "example.org"]
    # At once: the engine takes its time over each name that it does not know.
    told = demo.inside("bank", "python", "-c", KNOWS, "gate", "relay", "limits", *others)
    assert told.stdout.split() == ["gate", "relay", "limits"]
    for host, port in (("gate", 8002), ("relay", 8001), ("limits", 8443)):
        assert reaches(demo, "bank", host, port), host
    assert not reaches(demo, "bank", "gate", 8003)
    assert not reaches(demo, "bank", "1.1.1.1", 443)


def reaches(demo, service, host, port):
    code = f"import socket; socket.create_connection(('{host}', {port}), 3)"
    return demo.inside(service, "python", "-c", code, check=False).returncode == 0


def test_a_party_does_not_reach_another_by_its_address(demo):
    """A node listens on its own loopback alone, so a listener is put beside it."""
    there = demo.addresses("bureau")["bureau"]
    serve = ("python", "-m", "http.server", "8099", "--directory", "/tmp")
    demo.compose("exec", "-d", "bureau", *serve)
    end = time.monotonic() + 30
    while not reaches(demo, "bureau", there, 8099):  # the control: it does listen
        assert time.monotonic() < end
        time.sleep(0.3)
    assert reaches(demo, "relay", there, 8099)  # and who shares its network reaches it
    for party in ("bank", "ecommerce", "payments"):
        assert not reaches(demo, party, there, 8099), party


ASK = """
import http.client, json, ssl, sys
context = ssl.create_default_context(cafile="/federation/bank/ca.crt")
context.load_cert_chain("/federation/bank/tls.crt", "/federation/bank/tls.key")
for path in sys.argv[1:]:
    gate = http.client.HTTPSConnection("gate", 8002, context=context, timeout=20)
    gate.request("POST", path, b"", {"Content-Type": "application/x-protobuf"})
    got = gate.getresponse()
    body = got.read()
    said = json.loads(body).get("error", "") if got.status == 403 and body[:1] == b"{" else ""
    print(got.status, said or "-", path)
"""


def test_the_gate_passes_a_partys_fleet_paths_and_refuses_every_other(demo):
    """With the bank's own certificate, from the bank's own container."""
    control = ("start-run", "stop-run", "list-runs", "list-nodes", "register-node")
    paths = [f"/v1/control/{name}" for name in control]
    paths += ["/v1/runtime/pull-messages", "/v1/serverappio/push-messages", "/v1/", "/", "/metrics"]
    paths += ["/v1/fleet/../control/list-runs", "/v1/fleet/%2e%2e/control/list-runs"]
    paths += ["//v1/control/list-runs", "/V1/CONTROL/list-runs"]
    paths += ["/v1/fleet//../../v1/control/list-runs"]
    lines = demo.inside("bank", "python", "-c", ASK, *paths).stdout.splitlines()
    assert [line.split()[:2] for line in lines] == [["403", "not-a-fleet-path"]] * len(paths)
    # The control: what a node asks for is passed on, and Flower answers it, here for its signature.
    passed = demo.inside("bank", "python", "-c", ASK, "/v1/fleet/pull-messages").stdout.split()
    assert passed[1] != "not-a-fleet-path"
    assert int(passed[0]) in {400, 401, 403, 415, 422}


SHAKE = """
import socket, ssl, sys
context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
if len(sys.argv) > 3:
    context.load_cert_chain(sys.argv[3] + ".crt", sys.argv[3] + ".key")
with socket.create_connection((sys.argv[1], int(sys.argv[2])), 10) as plain:
    print("connected")
    with context.wrap_socket(plain) as secure:
        secure.sendall(b"GET /health HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n")
        print(secure.recv(64).split(b"\\r\\n")[0].decode())
"""
FOREIGN = (
    "from clients.keys.certificates import *; from datetime import UTC, datetime as d; "
    "made = issue(new_authority('demo', d.now(UTC)), 'bank', (), d.now(UTC)); "
    "open('/tmp/tls.crt', 'wb').write(made.certificate); "
    "open('/tmp/tls.key', 'wb').write(made.key)"
)


def ready(refused):
    """Return whether a stranger came as far as the TLS handshake: it was refused, not lost."""
    return "connected" in refused.stdout


@pytest.mark.parametrize(
    ("host", "port", "network"),
    [("relay", "8001", "bank"), ("gate", "8002", "bank"), ("gate", "8003", "operator")],
)
def test_relay_and_gate_refuse_a_container_without_a_certificate(demo, host, port, network):
    if network == "bank":
        own = ("python", "-c", SHAKE, host, port, "/federation/bank/tls")
        assert "200" in demo.inside("bank", *own).stdout  # the control
    refused = demo.stranger("party", "-c", SHAKE, host, port, network=network)
    # The connection ends without a word: uvicorn sends no alert (docs/decisions/0011-relay.md).
    assert "HTTP" not in refused.stdout
    assert ready(refused)
    shake = SHAKE.replace("sys.argv[3]", "'/tmp/tls'").replace("len(sys.argv) > 3", "True")
    refused = demo.stranger("party", "-c", f"{FOREIGN}\n{shake}", host, port, network=network)
    assert "HTTP" not in refused.stdout
    assert ready(refused)


def test_the_superlink_refuses_a_node_with_a_partys_certificate_but_not_its_node_key(demo):
    node = ("python", "-m", "clients.supernode", "--superlink=gate:8002", "--host=127.0.0.1")
    node += ("--port=9194", "--root-certificates=/federation/bank/ca.crt")
    keyless = demo.inside("bank", *node, check=False)
    assert keyless.returncode != 0
    assert "[code: 2001]" in keyless.stdout + keyless.stderr
    made = (
        "from pathlib import Path; from clients.keys.keyfiles import own_node_key; "
        "Path('/tmp/other').mkdir(); own_node_key(Path('/tmp/other'), force=False)"
    )
    demo.inside("bank", "python", "-c", made)
    key = "--auth-supernode-private-key=/tmp/other/node.key"
    unknown = demo.inside("bank", *node, key, check=False)
    assert unknown.returncode != 0
    assert "[code: 2004]" in unknown.stdout + unknown.stderr


FEED = """
import http.client, ssl, sys
context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
calls = [("PUT", "/v1/feeds/bank"), ("GET", "/v1/lines/x"), ("GET", "/metrics")]
for method, path in calls:
    body = b"x" * 100 if method == "PUT" else None
    server = http.client.HTTPSConnection("limits", 8443, context=context, timeout=20)
    server.request(method, path, body, {"Content-Type": "application/octet-stream"})
    print(server.getresponse().status)
"""


def test_the_limit_service_refuses_a_container_without_a_key_or_a_token(demo):
    """Customers' apps have no certificate: a feed counts by its signature, all else by a token."""
    told = demo.stranger("party", "-c", FEED, network="bank")
    assert told.returncode == 0, told.stderr
    feed, line, metrics = map(int, told.stdout.split())
    assert (line, metrics) == (401, 401)
    assert 400 <= feed < 500
    # And a container that lacks the CA's certificate does not take the service for what it says.
    plain = "import urllib.request; urllib.request.urlopen('https://limits:8443/healthz')"
    refused = demo.stranger("party", "-c", plain, network="bank")
    assert refused.returncode != 0
    assert "CERTIFICATE_VERIFY_FAILED" in refused.stderr
