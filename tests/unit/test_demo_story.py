"""The demo's story of one customer: what is shown of the answers, and what it does not believe."""

from __future__ import annotations

import io
from datetime import UTC, datetime

import httpx
import pytest
from rich.console import Console

from server import demo_screen
from server.api.tokens import Role, make_keys, verify
from server.commands.demo_story import Counter, live
from shared.errors import EnvironmentFault

CUSTOMER = "c0af" * 16


def reason(code, family, text):
    return {"code": code, "family": family, "text": text, "not_about_you": family == "outside"}


def told(*, outside=()):
    """Give what is told of a customer who was declined."""
    return {
        "customer": "C7",
        "pseudonym": CUSTOMER,
        "limit": {
            "limit": "0.00 CNY",
            "policy": "reference/2026.1",
            "score": {"score": 400, "high": 950, "default_prob": 0.4, "model": {"name": "card"}},
        },
        "line": {
            "opened": {"line_id": None, "limit_minor": 0, "decision": {"binding": ["grade"]}},
            "why_so_much": {
                "reasons": [reason("P-GRADE", "policy", "Your grade allows nothing.")],
                "not_about_you": [reason("M01", "outside", one) for one in outside],
            },
        },
    }


def shown(monkeypatch, found):
    out = io.StringIO()
    console = Console(file=out, highlight=False, soft_wrap=True)
    monkeypatch.setattr(demo_screen, "_OUT", console)
    demo_screen.customer(found, 2)
    return out.getvalue()


def test_a_declined_customer_is_told_why_and_nothing_of_a_line(monkeypatch):
    text = shown(monkeypatch, told())
    assert "It is bound by grade" in text
    assert "Your grade allows nothing." in text
    assert "repa" not in text
    assert "leaf" not in text


def test_reasons_that_are_not_about_the_customer_stand_apart(monkeypatch):
    text = shown(monkeypatch, told(outside=["A downturn lowers all limits."]))
    about, _, outside = text.partition("Not about you:")
    assert "Your grade" in about
    assert "downturn" not in about
    assert "A downturn lowers all limits." in outside
    assert "Not about you" not in shown(monkeypatch, told())  # the control


@pytest.fixture
def keys(tmp_path):
    return make_keys(tmp_path / "token.key")


def counter(keys, answer):
    client = httpx.Client(base_url="http://service", transport=httpx.MockTransport(answer))
    return Counter(client, keys, CUSTOMER)


def test_each_step_has_a_token_of_its_own_role_and_a_key_of_its_own(keys):
    asked = []

    def answer(request):
        token = request.headers["Authorization"].removeprefix("Bearer ")
        caller = verify(keys, token, datetime.now(UTC)).caller
        asked.append((caller.role, caller.subject, request.headers.get("Idempotency-Key")))
        return httpx.Response(200, json={})

    at = counter(keys, answer)
    at.done(Role.CUSTOMER, "/a")
    at.done(Role.OFFICER, "/b")
    at.told(Role.CUSTOMER, "/c")
    assert [one[:2] for one in asked] == [
        ("customer", CUSTOMER),
        ("officer", ""),
        ("customer", CUSTOMER),
    ]
    assert asked[2][2] is None
    assert len({asked[0][2], asked[1][2], None}) == 3


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (httpx.Response(409, json={"title": "In conflict", "detail": "increases pause"}), "pause"),
        (httpx.Response(502, text="no JSON"), "status 502"),
        (httpx.Response(400, json=["no problem"]), "status 400"),
    ],
)
def test_a_refused_step_ends_the_story_by_what_the_service_says(keys, answer, words):
    limit = {"score": {"holders": [{"party": "bank"}]}}
    with pytest.raises(EnvironmentFault, match=words) as caught:
        live(counter(keys, lambda _: answer), limit, "0" * 64)
    assert CUSTOMER not in str(caught.value)
