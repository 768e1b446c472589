"""Watching over HTTP: who may look, spans, and figures that withhold few people."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import pytest

from tests import postgres
from tests.service.desk_kit import Office, empty_store, good, poor

VIEWS = [
    "drift",
    "swap",
    "complaints",
    "overrides",
    "restorations",
    "inclusion",
    "challenger",
    "operations",
]
ME = good(0)


@pytest.fixture(scope="module")
def office():
    """A service with a line, a declined opening and a complaint."""
    folder = Path(tempfile.mkdtemp(prefix="confide-", dir=postgres.scratch()))
    (folder / "limits.db").write_bytes(empty_store())
    made = Office(folder / "federation", f"sqlite:///{folder}/limits.db")
    made.line(ME)
    made.consent(poor(1))
    asked = {"customer_id": poor(1), "product": "revolving_consumer"}
    made.post(poor(1), "/v1/lines", asked)
    body = {"customer_id": ME, "about": "price", "text": "why"}
    made.done(ME, "/v1/complaints", body)
    yield made
    made.close()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.parametrize("view", VIEWS)
def test_those_who_watch_may_look_and_nobody_else(office, view):
    path = f"/v1/monitoring/{view}"
    for who in ("alice", "auditor", "ops"):
        answer = office.get(who, path)
        assert answer.status_code == 200, answer.text
        assert answer.json()["until"] == "2026-03-02"
    for who in (ME, "lake"):
        assert office.get(who, path).status_code == 403
    assert office.http.get(path).status_code == 401


@pytest.mark.parametrize("view", VIEWS)
def test_any_span_of_days_is_answered_and_the_span_is_told(office, view):
    path = f"/v1/monitoring/{view}"
    for since, until in (
        ("2026-03-01", "2026-03-02"),
        ("0001-01-01", "9999-12-31"),
        ("9999-12-31", "0001-01-01"),
    ):
        answer = office.get("auditor", path, since=since, until=until)
        assert answer.status_code == 200, answer.text
        assert answer.json()["since"] <= answer.json()["until"] <= "2026-03-02"
    assert office.get("auditor", path, since="yesterday").status_code == 422


def test_the_figures_are_those_of_the_store(office):
    counts = office.get("ops", "/v1/monitoring/operations").json()
    assert counts["lines"]["open"] == 1
    assert counts["decisions"]["open"] == 2
    assert counts["cases_open"]["total"] == 1
    assert office.get("ops", "/v1/monitoring/complaints").json()["total"] == 1
    swap = office.get("ops", "/v1/monitoring/swap").json()
    assert (swap["lines"], swap["higher"], swap["lower"]) == (2, 0, 0)


def test_no_answer_names_a_customer_or_tells_of_few_people(office):
    for view in VIEWS:
        answer = office.get("auditor", f"/v1/monitoring/{view}")
        assert ME not in answer.text
        assert poor(1) not in answer.text
    (month,) = office.get("auditor", "/v1/monitoring/drift").json()["months"]
    assert month["people"] is None
    assert set(month["score_counts"]) <= {0, None}
    assert set(month["grades"].values()) == {None}
    # Control: a whole is told where it speaks of nobody in particular.
    assert office.get("auditor", "/v1/monitoring/drift").json()["models"] == {"scorecard-0001": 2}
