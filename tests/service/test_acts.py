"""One request, one effect, one answer: whatever is repeated, refused, killed or asked at once."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from datetime import timedelta

import pytest
from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict

from server.api import acts
from server.api.access import Role
from server.api.acts import HEADER, REPLAYED, Outcome, act, check_version, if_match, read
from server.api.routes.base import Officer
from server.store import funds, idempotency
from server.store.access import add_client, find_client
from shared.errors import Conflict, EnvironmentFault, NotFound
from tests.service.kit import Kit


class Asked(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    cap_minor: int


class Toy:
    """A service with a few routes over one row, whose version counts the effects."""

    def __init__(self, world):
        self.world = world
        self.before = lambda: None
        router = APIRouter()
        desk = world.desk

        def change(db, now, name, cap):
            self.before()
            return funds.set_fund(db, name, kind="partner", cap_minor=cap, is_open=True, at=now)

        @router.post("/v1/toy/{name}")
        def post(name: str, asked: Asked, who: Officer, request: Request):
            def work(db, now):
                fund = change(db, now, name, asked.cap_minor)
                if asked.cap_minor == 13:
                    raise Conflict("no", check="available")
                return Outcome(
                    {"cap": fund.cap_minor, "为": "是"}, fund.version, None, f"/v1/toy/{name}"
                )

            return act(request, who, desk, work)

        @router.post("/v1/toy/{name}/checked")
        def checked(name: str, asked: Asked, who: Officer, request: Request):
            def work(db, now):
                check_version(request, funds.get_fund(db, name).version)
                fund = change(db, now, name, asked.cap_minor)
                return Outcome({"cap": fund.cap_minor}, fund.version)

            return act(request, who, desk, work, status=200)

        @router.post("/v1/toy/{name}/bare")
        def bare(name: str, who: Officer, request: Request):
            def work(db, now):
                return Outcome({"version": change(db, now, name, 5).version})

            return act(request, who, desk, work)

        @router.get("/v1/toy/{name}")
        def get(name: str, who: Officer, request: Request):
            def work(db, _):
                fund = funds.get_fund(db, name)
                return Outcome({"cap": fund.cap_minor}, fund.version)

            return read(desk, work, request=request)

        @router.get("/v1/wanted")
        def wanted(request: Request):
            return {"wanted": if_match(request)}

        world.app.include_router(router)

    def post(self, key="k1", body=None, path="/v1/toy/a", who=None, **headers):
        headers |= who or self.world.bearer(Role.OFFICER)
        if key is not None:
            headers[HEADER] = key
        json = {"json": {"cap_minor": 100} if body is None else body}
        return self.world.http.post(path, headers=headers, **(json if body != "" else {}))

    def get(self, **headers):
        return self.world.http.get("/v1/toy/a", headers=headers | self.world.bearer(Role.OFFICER))

    def version(self, name="a"):
        """How often the row was changed; 0 if it is not there."""
        try:
            with self.world.desk.store.read() as db:
                return funds.get_fund(db, name).version
        except NotFound:
            return 0


@pytest.fixture(scope="module")
def base(tmp_path_factory, begin):
    return Toy(begin(Kit(tmp_path_factory.mktemp("acts"))))


@pytest.fixture
def toy(base):
    """The same service, with nothing in its store and nothing in the way."""
    store = base.world.desk.store
    with store.write() as db:
        for table in (idempotency.KEYS, funds.FUNDS):
            db.execute(table.delete())
    base.before = lambda: None
    base.world.clock.now = "2026-03-02T08:00:00Z"
    return base


def problem(answer, status, code):
    value = answer.json()
    assert (answer.status_code, value["code"]) == (status, code), value
    return value


def test_the_same_request_with_the_same_key_has_one_effect_and_one_answer(toy):
    first = toy.post()
    assert first.status_code == 201
    assert (first.headers["etag"], first.headers["location"]) == ('"1"', "/v1/toy/a")
    assert REPLAYED not in first.headers
    for _ in range(2):
        again = toy.post()
        assert (again.status_code, again.content) == (201, first.content)
        assert (again.headers["etag"], again.headers["location"]) == ('"1"', "/v1/toy/a")
        assert again.headers[REPLAYED] == "true"
    assert toy.version() == 1
    assert toy.post("k2").status_code == 201  # control: another key is another request
    assert toy.version() == 2


def test_without_a_key_nothing_is_done(toy):
    assert "Idempotency-Key is missing" in problem(toy.post(None), 400, "usage")["detail"]
    for key in ("", "x" * 129, "tab\t"):
        problem(toy.post(key), 400, "usage")
    assert toy.version() == 0


def test_a_key_that_comes_back_with_something_else_is_refused(toy):
    toy.post()
    problem(toy.post(body={"cap_minor": 101}), 422, "key-reused")
    problem(toy.post(path="/v1/toy/b"), 422, "key-reused")
    problem(toy.post(path="/v1/toy/a?x=1"), 422, "key-reused")
    assert toy.version("b") == 0
    toy.post("k3", body="", path="/v1/toy/a/bare")
    problem(toy.post("k3", path="/v1/toy/a/bare"), 422, "key-reused")  # a body that no route reads


def test_keys_are_apart_by_route_and_by_caller(toy):
    toy.post()
    assert toy.post(path="/v1/toy/a/checked").status_code == 200
    with toy.world.desk.store.write() as db:
        if find_client(db, "second") is None:
            add_client(db, "second", "officer", toy.world.desk.clock())
    other = toy.world.bearer(Role.OFFICER, client="second")
    assert REPLAYED not in toy.post(who=other).headers
    assert toy.version() == 3


def test_a_refusal_changes_nothing_and_is_not_kept(toy):
    body = {"cap_minor": 13}
    assert problem(toy.post(body=body), 409, "conflict")["check"] == "available"
    assert toy.version() == 0
    # The same key may be used at once, even for a better request.
    assert toy.post().status_code == 201
    assert toy.version() == 1


def test_a_defect_leaves_nothing_and_the_request_can_come_again(toy):
    def broken():
        raise RuntimeError("x")

    toy.before = broken
    problem(toy.post(), 500, "internal")
    toy.before = lambda: None
    assert toy.post().status_code == 201
    assert toy.version() == 1


def test_a_request_that_is_being_answered_is_not_begun_twice(toy, monkeypatch):
    inside, go, answers = threading.Event(), threading.Event(), []
    kind, held = type(toy.world.desk.store), threading.Lock()
    original = kind.write

    def write(store):
        # Between claim and effect: on SQLite a second claim would wait for a transaction under way.
        if held.acquire(blocking=False):
            inside.set()
            assert go.wait(20)
        return original(store)

    monkeypatch.setattr(kind, "write", write)
    first = threading.Thread(target=lambda: answers.append(toy.post()))
    first.start()
    assert inside.wait(20)
    second = toy.post()
    go.set()
    first.join(20)
    assert problem(second, 409, "conflict")["check"] == "in-flight"
    assert second.headers["retry-after"] == "1"
    assert answers[0].status_code == 201
    assert toy.post().content == answers[0].content
    assert toy.version() == 1


def test_many_at_once_have_one_effect(toy):
    answers = []

    def ask():
        answers.append(toy.post())

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for one in threads:
        one.start()
    for one in threads:
        one.join(60)
    assert toy.version() == 1
    good = [one for one in answers if one.status_code == 201]
    assert len({one.content for one in good}) == 1
    assert {one.status_code for one in answers} <= {201, 409}


def test_a_request_whose_worker_died_can_come_again_after_its_lease(toy, monkeypatch):
    """The worker dies after the claim: nothing gives it up."""
    monkeypatch.setattr(acts, "_give_up", lambda *_: None)

    def die():
        raise RuntimeError

    toy.before = die
    problem(toy.post(), 500, "internal")
    toy.before = lambda: None
    assert toy.version() == 0
    problem(toy.post(), 409, "conflict")
    later = toy.world.desk.clock() + idempotency.LEASE + timedelta(seconds=1)
    toy.world.clock.now = f"{later:%Y-%m-%dT%H:%M:%SZ}"
    assert toy.post().status_code == 201
    assert toy.version() == 1


def test_an_answer_that_was_kept_stays_when_its_commit_was_not_heard(toy, monkeypatch):
    kind = type(toy.world.desk.store)
    original = kind.write

    @contextmanager
    def deaf(store):
        with original(store) as db:
            yield db
        raise EnvironmentFault("the database is away")

    monkeypatch.setattr(kind, "write", deaf)
    problem(toy.post(), 503, "environment")
    monkeypatch.setattr(kind, "write", original)
    again = toy.post()
    assert (again.status_code, again.headers[REPLAYED]) == (201, "true")
    assert toy.version() == 1


def test_a_condition_on_the_version_is_held(toy):
    toy.post()
    path = "/v1/toy/a/checked"
    stale = toy.post("k2", path=path, **{"If-Match": '"7"'})
    assert problem(stale, 412, "conflict")["check"] == "version"
    for tag in ('"x"', "W/1", 'W/"1"', '"-1"', '""', '"1', '"0x1"'):
        assert toy.post("k2", path=path, **{"If-Match": tag}).status_code == 412, tag
    assert toy.version() == 1
    assert toy.post("k2", path=path, **{"If-Match": '"1"'}).headers["etag"] == '"2"'
    assert toy.post("k3", path=path, **{"If-Match": "*"}).status_code == 200
    assert toy.post("k4", path=path).status_code == 200
    problem(toy.post("k5", path=path, **{"If-Match": '"1", "4"'}), 400, "usage")
    assert toy.version() == 4


def test_a_condition_that_nobody_looks_at_is_refused(toy):
    problem(toy.post(**{"If-Match": '"1"'}), 400, "usage")
    assert toy.version() == 0


def test_what_has_not_changed_is_not_sent_again(toy):
    toy.post()
    whole = toy.get()
    assert (whole.status_code, whole.json(), whole.headers["etag"]) == (200, {"cap": 100}, '"1"')
    for tag in ('"1"', 'W/"1"', '"9", "1"', "*"):
        same = toy.get(**{"If-None-Match": tag})
        assert (same.status_code, same.content, same.headers["etag"]) == (304, b"", '"1"')
    for tag in ('"2"', "1", ""):
        assert toy.get(**{"If-None-Match": tag}).status_code == 200


def test_the_role_comes_before_the_key_and_the_body(toy):
    answer = toy.post(None, who=toy.world.bearer(Role.REGULATOR))
    problem(answer, 403, "refused")
    problem(toy.post(None, body={"wrong": 1}, who={"Authorization": "x"}), 401, "unauthorised")
    assert toy.version() == 0
