"""The manifests are what Kubernetes takes, run what the launcher runs, and keep a party apart."""

from __future__ import annotations

import copy
import importlib
import shutil
import subprocess

import pytest
import yaml

from tests.support import ROOT

check = importlib.import_module("scripts.check_compose")
planned = importlib.import_module("scripts._compose_table")
FOLDER = ROOT / "deploy" / "kubernetes"
PLACES = ("coordinator", "party")
#: The oldest version that its makers mend, and the newest that the schemas know.
VERSIONS = ("1.34", "1.37")


def documents(place):
    """Return the documents that a kustomization names."""
    listed = yaml.safe_load((FOLDER / place / "kustomization.yaml").read_text())["resources"]
    assert sorted(listed) == sorted(
        path.name for path in (FOLDER / place).glob("*.yaml") if path.stem != "kustomization"
    )
    return [
        one for name in listed for one in yaml.safe_load_all((FOLDER / place / name).read_text())
    ]


def only(place, kind, name=None):
    (one,) = [
        one
        for one in documents(place)
        if one["kind"] == kind and name in (None, one["metadata"]["name"])
    ]
    return one


def workload(place):
    return only(place, {"coordinator": "StatefulSet", "party": "Deployment"}[place])


@pytest.fixture
def validate():
    module = pytest.importorskip(
        "kubernetes_validate", reason="kubernetes-validate is not installed: no schema to ask"
    )
    return lambda one, version: module.validate(one, version, strict=True)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("place", PLACES)
def test_every_document_is_what_kubernetes_takes(validate, place, version):
    found = documents(place)
    assert len(found) >= 6
    for one in found:
        validate(one, version)


@pytest.mark.parametrize(
    ("keys", "value"),
    [
        (("spec", "replicas"), "one"),
        (("spec", "replica"), 1),
        (("spec", "template", "spec", "securityContext", "runAsNonRoot"), "yes"),
        (("spec", "template", "spec", "containers"), None),
    ],
)
def test_a_mistake_is_found(validate, keys, value):
    broken = copy.deepcopy(workload("party"))
    at = broken
    for key in keys[:-1]:
        at = at[key]
    at[keys[-1]] = value
    with pytest.raises(Exception, match=r"(?i)type|properties|required|match") as caught:
        validate(broken, VERSIONS[-1])
    assert "ValidationError" in type(caught.value).__name__


@pytest.mark.parametrize("place", PLACES)
def test_kustomize_takes_the_folder(place):
    if shutil.which("kubectl") is None:
        pytest.skip("kubectl is not installed: nothing here builds a kustomization")
    done = subprocess.run(
        ["kubectl", "kustomize", FOLDER / place], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    made = list(yaml.safe_load_all(done.stdout))
    assert len(made) == len(documents(place))
    assert {one["metadata"]["namespace"] for one in made if one["kind"] != "Namespace"} == {
        only(place, "Namespace")["metadata"]["name"]
    }


def test_the_processes_are_those_that_the_supervisor_starts():
    host = "coordinator.example"
    table = check.launched(["bank"], f"wss://{host}:{check.RELAY_PORT}")
    moved = {}
    for at, name in enumerate(table):
        moved[name] = {f"{planned.HOST}:{9100 + at}": f"0.0.0.0:{9100 + at}"}
    kept = check.BASE / "coordinator"
    moved["superlink"][str(kept / "federation/superlink.db")] = str(kept / "superlink.db")
    moved["bank"][f"{planned.HOST}:8002"] = f"{host}:8002"
    services = {
        {"node": "bank"}.get(one["name"], one["name"]): {
            "entrypoint": one["command"],
            "command": one["args"],
            "environment": {line["name"]: line["value"] for line in one.get("env", [])},
        }
        for place in PLACES
        for one in workload(place)["spec"]["template"]["spec"]["containers"]
    }
    for name in ("gate", "relay"):  # no Flower
        services[name]["environment"] |= {"FLWR_SUPEREXEC_TASK_POLL_INTERVAL": "0.2"}
    dockerfile = (ROOT / "Dockerfile").read_text()
    assert list(check._commands(services, table, moved)) == []
    assert list(check._environment(services, table, dockerfile)) == []
    services["bank"]["command"] = services["bank"]["command"][1:]
    assert list(check._commands(services, table, moved))  # the control


@pytest.mark.parametrize("place", PLACES)
def test_no_container_may_do_more_than_it_must(place):
    pod = workload(place)["spec"]["template"]["spec"]
    assert pod["securityContext"] | {"runAsGroup": 10001, "fsGroup": 10001} == {
        "runAsNonRoot": True,
        "runAsUser": 10001,
        "runAsGroup": 10001,
        "fsGroup": 10001,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    assert pod["automountServiceAccountToken"] is False
    assert not {"hostNetwork", "hostPID", "hostIPC"} & set(pod)
    assert only(place, "Namespace")["metadata"]["labels"] == {
        "pod-security.kubernetes.io/enforce": "restricted"
    }
    for one in [*pod["initContainers"], *pod["containers"]]:
        assert one["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }, one["name"]
        assert (
            {"cpu", "memory"}
            == set(one["resources"]["limits"])
            == set(one["resources"]["requests"])
        )
    for one in pod["containers"]:
        assert {"startupProbe", "livenessProbe"} <= set(one)
    assert {kind for volume in pod["volumes"] for kind in volume} == {
        "name", "persistentVolumeClaim", "configMap", "secret", "emptyDir",
    }  # fmt: skip


@pytest.mark.parametrize("place", PLACES)
def test_secrets_are_named_and_never_written_down(place):
    assert not {"Secret", "ConfigMap"} & {one["kind"] for one in documents(place)}
    pod = workload(place)["spec"]["template"]["spec"]
    (secret,) = [one["secret"] for one in pod["volumes"] if "secret" in one]
    assert secret == {"secretName": f"confide-{place}-keys"}
    # Keys reach a container through memory alone, as files that only their owner may read.
    (keys,) = [one["emptyDir"] for one in pod["volumes"] if one["name"] == "keys"]
    assert keys["medium"] == "Memory"
    assert "chmod 600" in pod["initContainers"][0]["args"][0]
    for one in pod["containers"]:
        mounts = {mount["name"] for mount in one["volumeMounts"]}
        assert "secret" not in mounts
        for mount in one["volumeMounts"]:
            if mount["mountPath"].endswith(".key"):
                assert mount["name"] == "keys"
                assert mount["readOnly"]


def policies(place):
    return [one for one in documents(place) if one["kind"] == "NetworkPolicy"]


@pytest.mark.parametrize("place", PLACES)
def test_nobody_meets_anybody_but_for_what_is_said(place):
    nobody = only(place, "NetworkPolicy", "nobody")["spec"]
    assert nobody == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    assert len(policies(place)) == 2


MONITORING = [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}]


def ports(rule):
    """Return the ports that a rule lets through."""
    return {
        port
        for one in rule["ports"]
        for port in range(one["port"], one.get("endPort", one["port"]) + 1)
    }


def told(place):
    """Return where the containers of a pod tell metrics, and where they listen beside that."""
    words = [word for one in containers(place) for word in one["args"]]
    at = {word.partition("=")[2] for word in words if word.startswith("--metrics=")}
    return {int(one.removeprefix("0.0.0.0:")) for one in at}


def containers(place):
    return workload(place)["spec"]["template"]["spec"]["containers"]


def test_a_party_dials_the_coordinators_address_and_asks_for_names_and_only_metrics_are_dialled():
    spec = only("party", "NetworkPolicy", "party")["spec"]
    (watched,) = spec["ingress"]
    assert watched["from"] == MONITORING
    assert ports(watched) == told("party") == {9103}
    labels = workload("party")["spec"]["template"]["metadata"]["labels"]
    assert spec["podSelector"] == {"matchLabels": labels}
    outside, names = spec["egress"]
    assert outside["to"] == [{"ipBlock": {"cidr": "198.51.100.10/32"}}]
    assert ports(outside) == {8001, 8002, 8443}
    assert names["to"][0]["podSelector"] == {"matchLabels": {"k8s-app": "kube-dns"}}
    assert ports(names) == {53}
    assert not [one for one in documents("party") if one["kind"] in {"Service", "Ingress"}]


def test_the_coordinator_is_dialled_by_the_parties_addresses_and_dials_nobody():
    spec = only("coordinator", "NetworkPolicy", "coordinator")["spec"]
    assert spec["egress"] == []
    inside, watched = spec["ingress"]
    service = only("coordinator", "Service")["spec"]
    assert [one["ipBlock"]["cidr"] for one in inside["from"]] == service["loadBalancerSourceRanges"]
    assert ports(inside) == ports(service) == {8001, 8002}
    assert watched["from"] == MONITORING
    assert ports(watched) == told("coordinator") == {9100, 9101, 9102}


def test_the_superlink_and_the_operators_port_listen_in_their_own_pod_alone():
    args = {one["name"]: one["args"] for one in containers("coordinator")}
    assert {"--host=127.0.0.1", "--port=8000"} <= set(args["superlink"])
    assert "--operator-host=127.0.0.1" in args["gate"]
    named = {port["containerPort"] for one in containers("coordinator") for port in one["ports"]}
    assert not named & {8000, 8003}
