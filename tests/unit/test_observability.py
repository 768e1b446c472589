"""The dashboard and the alerts name what the code tells, and nothing that it does not."""

from __future__ import annotations

import json
import re

import pytest
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from server.api.metrics import Metrics
from server.gate.metrics import GateMetrics
from server.relay.metrics import RelayMetrics
from shared.edge import history
from shared.edge.history import Entry
from shared.edge.phase_metrics import registry_of
from tests.support import ROOT

FOLDER = ROOT / "deploy" / "observability"
#: Prometheus's own: whether a process answers.
OWN = {"up"}
_NAME = re.compile(r"\b(confide_[a-z_]+|up)\b")


def told(tmp_path):
    """Return every series that the code tells, with its labels."""
    history.note(tmp_path, Entry("bank", "r", "align", bytes_sent=1, bytes_received=1))
    history.note(tmp_path, Entry("coordinator", "r", history.RUN, "party-lost", lost="bank"))
    relay, gate, limits = RelayMetrics(), GateMetrics(), Metrics()
    for counter in (relay.frames, relay.bytes, relay.refused, relay.joined, relay.slowed):
        counter.labels("x").inc()
    gate.requests.labels("x", "200").inc()
    gate.bytes.labels("x", "sent").inc()
    gate.refuse("parties", "tls")
    limits.note("GET", "/x", 200, 0.1)
    pages = [generate_latest(one) for one in (registry_of(tmp_path), relay.registry, gate.registry)]
    series = {}
    for page in (*pages, limits.text()):
        for family in text_string_to_metric_families(page.decode()):
            for sample in family.samples:
                series.setdefault(sample.name, set()).update(sample.labels)
    return series


def expressions():
    dashboard = json.loads((FOLDER / "dashboard.json").read_text())
    found = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    found += re.findall(r"(?m)^\s+expr: (.*)$", (FOLDER / "alerts.yml").read_text())
    return found


def labels_of(expression):
    """Return the labels that an expression asks for."""
    asked = re.findall(r"([a-z_]+)\s*(?:=~|!~|!=|=)", expression)
    for group in re.findall(r"by \(([^)]*)\)", expression):
        asked += [name.strip() for name in group.split(",")]
    return set(asked)


def wrong(expression, series):
    """Return what an expression names that nobody tells."""
    names = set(_NAME.findall(expression)) - OWN
    known = set().union(*(series.get(name, set()) for name in names)) if names else set()
    missing = {name for name in names if name not in series}
    return missing | (labels_of(expression) - known if names else set())


def test_every_series_of_dashboard_and_alerts_is_told_by_the_code(tmp_path):
    series = told(tmp_path)
    assert len(expressions()) > 20
    for expression in expressions():
        assert not wrong(expression, series), expression
    # The controls: a name and a label that nobody tells are found.
    assert wrong("rate(confide_relay_nothing_total[5m])", series)
    assert wrong("sum by (customer) (confide_runs_total)", series)


def test_everything_that_is_told_is_shown_somewhere(tmp_path):
    shown = set().union(*(_NAME.findall(expression) for expression in expressions()))
    kinds = ("_created", "_bucket", "_count", "_sum")
    families = {name for name in told(tmp_path) if not name.endswith(kinds)}
    assert not families - shown
    histograms = {"confide_phase_seconds", "confide_gate_seconds", "confide_request_seconds"}
    assert all(any(name.startswith(one) for name in shown) for one in histograms)


def test_no_label_can_hold_a_person(tmp_path):
    labels = set().union(*told(tmp_path).values())
    assert labels <= {
        *("direction", "door", "le", "member", "method", "outcome", "party", "phase", "reason"),
        *("route", "sender", "status"),
    }


@pytest.mark.parametrize("file", ["dashboard.json", "prometheus.yml", "alerts.yml"])
def test_the_files_name_no_host_but_this_machine(file):
    text = (FOLDER / file).read_text()
    assert not re.findall(r"https?://(?!127\.0\.0\.1)[\w.]+", text)
