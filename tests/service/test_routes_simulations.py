"""Rules tried on simulated people over HTTP: who may, what is refused, and figures that add up."""

from __future__ import annotations

import json
import shutil
import tempfile
import threading
from datetime import timedelta
from pathlib import Path
from typing import get_args

import pytest

from server.accounts import playing
from server.accounts.activating import APPROVAL
from server.accounts.rules import RuleText
from server.api.shapes.simulations import Economy
from server.policies import embedded
from server.replay.frontier import TIMES
from server.store import approvals
from server.store.approvals import Proposal
from server.store.people import keep_texts
from shared.errors import TooMany
from shared.world.economy import ECONOMIES
from tests import postgres
from tests.service.desk_kit import Office, empty_store, good

PATH = "/v1/simulations"
FEW = {"people": 300, "months": 3}
CELLS = ("both", "only_first", "only_second", "neither")


def changed(kind, name, *pairs):
    """A rule text with some of it replaced."""
    text, _ = embedded(name)
    for old, new in (('version = "2026.1"', 'version = "2026.2"'), *pairs):
        assert old in text
        text = text.replace(old, new)
    return kind, RuleText.of(text, f"{name}.toml")


TIGHT = changed("policy", "reference", ("most_minor = 15_000 ", "most_minor = 5_000 "))
CLUMSY = changed("line", "line_reference", ("quantum_minor = 10_000", "quantum_minor = 20_000"))
SLOW = changed("line", "line_reference")


def waiting(office, kind, rule):
    """Have a text wait for a second person, whether it could come into force or not."""
    now = office.clock.now
    told = {"kind": kind, "digest": rule.digest, "title": "other", "since": "2026-03-02"}
    asked = Proposal(rule.digest[:26], APPROVAL, rule.digest, {"files": [told]}, "officer:bob", "-")
    with office.store.write() as db:
        keep_texts(db, [(kind, rule.source, rule.text, rule.digest)], now)
        approvals.propose(db, asked, now + timedelta(days=14), now)
    return rule.digest


@pytest.fixture(scope="module")
def office():
    """A service with rules in force, and others that wait for a second person."""
    folder = Path(tempfile.mkdtemp(prefix="confide-", dir=postgres.scratch()))
    (folder / "limits.db").write_bytes(empty_store())
    made = Office(folder / "federation", f"sqlite:///{folder}/limits.db")
    made.own = {kind: one.digest for kind, one in made.desk.rules.sources.items()}
    made.tight, made.clumsy, made.slow = (waiting(made, *one) for one in (TIGHT, CLUMSY, SLOW))
    yield made
    made.close()
    shutil.rmtree(folder, ignore_errors=True)


def asked(office, who="alice", **body):
    return office.http.post(PATH, json=body, headers=office.headers(who))


def answered(office, **body):
    answer = asked(office, **(FEW | body))
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_an_officer_alone_may_ask(office):
    for who in (good(), "auditor", "ops", "lake"):
        assert asked(office, who, **FEW).status_code == 403
    assert office.http.post(PATH, json=FEW).status_code == 401


def test_the_rules_in_force_are_tried_where_none_are_named_and_nobody_is_real(office):
    told = answered(office)
    assert told["simulated"] is True
    assert "simulated" in told["notice"]
    assert {name: told[name] for name in ("people", "months", "seed", "economy")} == FEW | {
        "seed": playing.SEED,
        "economy": playing.ECONOMY,
    }
    [one] = told["rules"]
    assert (one["policy"]["digest"], one["policy"]["standing"]) == (
        office.own["policy"],
        "in_force",
    )
    assert one["line_policy"]["digest"] == office.own["line"]
    assert one["summary"]["people"] == 300
    assert [row["month"] for row in one["months"]] == [1, 2, 3]
    assert one["frontier"] is None
    assert told["swap"] is None


def test_the_same_request_has_the_same_answer_and_changes_nothing(office):
    before = office.state()
    body = FEW | {"policy_b": office.tight, "frontier": True, "economy": "downturn", "seed": 5}
    first, again = asked(office, **body), asked(office, **body)
    assert first.status_code == 200
    assert first.content == again.content
    assert asked(office, **(body | {"seed": 6})).content != first.content
    assert office.state() == before


def test_the_swap_set_adds_up_to_people_and_limits(office):
    told = answered(office, people=2000, policy_b=office.tight)
    cells = told["swap"]
    assert tuple(cells) == CELLS
    assert sum(one["people"] for one in cells.values()) == 2000
    for side, rules in zip(("first", "second"), told["rules"], strict=True):
        mine = ("both", f"only_{side}")
        assert sum(cells[name]["people"] for name in mine) == rules["summary"]["lines"]
        profit = sum(cells[name][f"profit_minor_{side}"] for name in mine)
        assert profit == pytest.approx(rules["summary"]["profit_total_minor"])
    limits = [one["summary"]["limit_minor"] for one in told["rules"]]
    assert limits[0] > limits[1]  # the second bears a third of the loss


def test_the_figures_are_those_of_the_commands(office, confide):
    told = answered(office, frontier=True, economy="downturn", seed=3)["rules"][0]
    words = (
        "--people",
        300,
        "--months",
        3,
        "--seed",
        3,
        "--economy",
        "downturn",
        "--format",
        "json",
    )
    status, out, err = confide("replay", "world", *words)
    assert status == 0, err
    assert json.loads(out)["data"]["arms"][0]["summary"] == told["summary"]
    status, out, err = confide("replay", "frontier", *words)
    assert status == 0, err
    assert json.loads(out)["data"]["points"] == told["frontier"]


def test_the_second_rules_are_the_first_in_what_is_not_named(office):
    told = answered(office, policy_a=office.tight, line_policy_b=office.slow)
    first, second = told["rules"]
    assert first["policy"] == second["policy"]
    assert first["policy"]["standing"] == "waiting"
    assert first["line_policy"]["digest"] == office.own["line"]
    assert second["line_policy"]["digest"] == office.slow
    assert first["summary"] == second["summary"]  # but for its version the text is the same
    for name in ("only_first", "only_second"):
        assert told["swap"][name]["people"] == 0


def test_each_of_the_rules_has_its_frontier(office):
    told = answered(office, policy_b=office.tight, frontier=True)
    for one in told["rules"]:
        points = {point["times"]: point for point in one["frontier"]}
        assert tuple(points) == TIMES
        assert points[1.0]["summary"] == one["summary"]
        assert any(point["efficient"] for point in points.values())


def test_anybody_may_be_without_a_line(office):
    for people in (1, 2):
        told = answered(office, people=people, months=1, policy_b=office.tight, frontier=True)
        assert sum(one["people"] for one in told["swap"].values()) == people


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"people": 0}, "people"),
        ({"people": playing.MOST_PEOPLE + 1}, "people"),
        ({"people": "many"}, "people"),
        ({"months": 0}, "months"),
        ({"months": playing.MOST_MONTHS + 1}, "months"),
        ({"seed": -1}, "seed"),
        ({"seed": playing.MOST_SEED + 1}, "seed"),
        ({"economy": "boom"}, "economy"),
        ({"policy_b": "reference"}, "policy_b"),
        ({"population": 5}, "population"),
    ],
)
def test_what_is_out_of_bounds_is_refused_by_name(office, body, field):
    answer = asked(office, **body)
    assert answer.status_code == 422
    [finding] = answer.json()["findings"]
    assert finding.startswith(f"body.{field}: ")


def test_texts_that_cannot_be_tried_are_refused_by_name(office):
    for body, status, said in (
        ({"policy_a": "5f" * 32}, 404, "first policy: there is no rule text"),
        ({"line_policy_b": "5f" * 32}, 404, "second line policy: there is no rule text"),
        ({"policy_b": office.own["line"]}, 400, "second policy: line/2026.1 is of kind line"),
        ({"line_policy_a": office.clumsy}, 400, "quantum_minor"),
    ):
        answer = asked(office, **FEW, **body)
        assert answer.status_code == status, answer.text
        assert said in answer.text


def test_one_is_played_at_a_time_and_who_comes_meanwhile_is_told_when(office, monkeypatch):
    began, go, play = threading.Event(), threading.Event(), playing.play

    def held(*args, **options):
        began.set()
        assert go.wait(20)
        return play(*args, **options)

    monkeypatch.setattr(playing, "play", held)
    answers = []
    one = threading.Thread(target=lambda: answers.append(asked(office, **FEW)))
    one.start()
    assert began.wait(20)
    meanwhile = asked(office, **FEW)
    assert meanwhile.status_code == 429
    assert meanwhile.json()["code"] == "too-many"
    assert meanwhile.headers["retry-after"] == str(playing.AGAIN_S)
    # Everybody else is answered: neither the loop nor the store waits for it.
    assert office.get("alice", "/v1/policies").status_code == 200
    go.set()
    one.join(30)
    assert [answer.status_code for answer in answers] == [200]
    assert asked(office, **FEW).status_code == 200


def test_a_turn_is_given_back_by_whoever_fails():
    with pytest.raises(ZeroDivisionError), playing.turn():
        raise ZeroDivisionError
    with playing.turn(), pytest.raises(TooMany), playing.turn(wait_s=0.01):
        pass


def test_every_economy_can_be_asked_for():
    names = get_args(get_args(Economy)[0])
    assert names == tuple(ECONOMIES)
    assert playing.ECONOMY in names
