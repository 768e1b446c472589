"""Who comes in: tokens and every check of them, roles, owners, clients and their secrets."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
from datetime import UTC, datetime, timedelta

import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from server.api.access import Caller, Role, caller, own
from server.api.throttle import Rate, Rates, Throttle
from server.api.tokens import OFFLINE, make_keys, mint, read_keys, verify
from server.cli import command_line
from server.store import access
from server.store.engine import open_store
from shared.errors import (
    ConfigError,
    Conflict,
    EnvironmentFault,
    NotFound,
    Refused,
    Unauthorised,
    UsageError,
)
from tests.service.kit import Kit, name_of

NOW = datetime(2026, 3, 2, 8, tzinfo=UTC)
OPERATOR = Caller(OFFLINE, Role.OPERATOR, "")


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    return make_keys(tmp_path_factory.mktemp("keys") / "token.key")


@pytest.fixture(scope="module")
def world(tmp_path_factory, begin):
    """A service with three clients, for requests that change nothing; making one takes a second."""
    kit = Kit(tmp_path_factory.mktemp("world"))
    made = begin(kit, rates=Rates(token=Rate(burst=1000, per_minute=1)))
    made.secrets = {
        "app": add(made, "app", any_subject=True),
        "one": add(made, "one", subject=name_of(1)),
        "desk": add(made, "desk", "officer"),
    }
    yield made
    made.desk.store.close()


@pytest.fixture(scope="module")
def _one(tmp_path_factory, begin):
    kit = Kit(tmp_path_factory.mktemp("one"))
    kit.serve()
    made = begin(kit)
    for party, raw in kit.feeds().items():
        made.service.feeds.accept(raw, made.clock.now, party=party)
    yield made
    made.desk.store.close()


@pytest.fixture
def running(_one):
    """The service of `conftest`, made once: without clients, at its first instant, unasked."""
    _one.clock.now = f"{NOW:%Y-%m-%dT%H:%M:%SZ}"
    with _one.desk.store.write() as db:
        db.execute(access.CLIENTS.delete())
    door = _one.app.state.door
    door.throttle = Throttle(Rates())
    for client in list(door._known):
        door.forget(client)
    return _one


def failed(keys, token, now=NOW):
    with pytest.raises(Unauthorised) as caught:
        verify(keys, token, now)
    return caught.value.check


def test_a_token_says_who_calls_for_a_quarter_of_an_hour(keys):
    who = Caller("app", Role.CUSTOMER, name_of(1))
    token = mint(keys, who, NOW)
    claims = verify(keys, token, NOW + timedelta(minutes=14, seconds=59))
    assert claims.caller == who
    assert claims.expires - claims.made == timedelta(minutes=15)
    assert failed(keys, token, NOW + timedelta(minutes=15)) == "expiry"


def test_a_token_of_the_future_is_refused_when_the_clock_went_back(keys):
    token = mint(keys, OPERATOR, NOW)
    verify(keys, token, NOW - timedelta(seconds=59))  # two machines are never quite together
    assert failed(keys, token, NOW - timedelta(minutes=2)) == "clock"


def test_a_token_of_another_service_is_refused_by_its_key(keys, tmp_path):
    other = make_keys(tmp_path / "token.key")
    assert failed(keys, mint(other, OPERATOR, NOW)) == "key"


def test_claims_that_were_changed_are_refused_by_the_signature(keys):
    body, _, mac = mint(keys, OPERATOR, NOW).partition(".")
    raw = base64.urlsafe_b64decode(body + "=" * (-len(body) % 4))
    forged = raw.replace(b'"operator"', b'"officer"')
    assert forged != raw
    again = base64.urlsafe_b64encode(forged).rstrip(b"=").decode()
    assert failed(keys, f"{again}.{mac}") == "signature"
    assert verify(keys, f"{body}.{mac}", NOW).caller == OPERATOR  # control


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_a_token_with_any_character_changed_is_refused(keys, data):
    token = mint(keys, OPERATOR, NOW)
    at = data.draw(st.integers(0, len(token) - 1))
    other = data.draw(st.characters(codec="utf-8").filter(lambda one: one != token[at]))
    assert failed(keys, token[:at] + other + token[at + 1 :]) in {"form", "key", "signature"}


@settings(max_examples=60, deadline=None)
@given(text=st.text(max_size=80))
def test_no_text_at_all_is_a_token(keys, text):
    assert failed(keys, text) == "form"


def test_a_new_key_signs_and_the_old_one_counts_until_it_is_taken_away(tmp_path):
    path = tmp_path / "token.key"
    old = mint(make_keys(path), OPERATOR, NOW)
    path.write_text("ab" * 32 + "\n" + path.read_text())
    both = read_keys(path)
    assert verify(both, old, NOW).caller == OPERATOR
    new = mint(both, OPERATOR, NOW)
    path.write_text("ab" * 32 + "\n")
    assert verify(read_keys(path), new, NOW).caller == OPERATOR
    assert failed(read_keys(path), old) == "key"


def test_a_file_of_keys_is_for_its_owner_alone(tmp_path):
    path = tmp_path / "token.key"
    make_keys(path)
    assert path.stat().st_mode & 0o777 == 0o600
    path.chmod(0o640)
    with pytest.raises(Refused, match="others"):
        read_keys(path)
    path.chmod(0o600)
    path.write_text("no key\n")
    with pytest.raises(ConfigError, match="64 small hex digits"):
        read_keys(path)


@pytest.mark.parametrize(
    ("role", "subject"),
    [
        (Role.CUSTOMER, ""),
        (Role.CUSTOMER, "A" * 64),
        (Role.PARTNER, ""),
        (Role.PARTNER, "a b"),
        (Role.OFFICER, "x"),
        (Role.REGULATOR, name_of(1)),
    ],
)
def test_role_and_subject_fit_each_other(keys, role, subject):
    with pytest.raises(UsageError, match="subject"):
        mint(keys, Caller("x", role, subject), NOW)


def test_a_route_without_a_role_is_a_mistake_of_ours():
    with pytest.raises(TypeError, match="lets nobody in"):
        caller()


def test_customers_and_partners_find_their_own_and_others_find_all():
    mine, its = Caller("c", Role.CUSTOMER, name_of(1)), Caller("p", Role.PARTNER, "lake")
    own(mine, name_of(1))
    own(its, partner="lake")
    for who, customer, partner in (
        (mine, name_of(2), ""),
        (mine, "", "lake"),
        (its, name_of(1), ""),
        (its, "", "hill"),
    ):
        with pytest.raises(NotFound):
            own(who, customer, partner=partner)
    for role in (Role.OFFICER, Role.REGULATOR, Role.OPERATOR):
        own(Caller("x", role, ""), name_of(2))
        own(Caller("x", role, ""), partner="hill")


# Over HTTP


def check_of(answer):
    value = answer.json()
    assert answer.status_code == value["status"] == 401
    assert value["code"] == "unauthorised"
    assert answer.headers["www-authenticate"].startswith('Bearer realm="confide"')
    return value["check"]


def limit(world, headers, number=1):
    return world.http.get(f"/v1/customers/{name_of(number)}/limit", headers=headers)


def add(world, name="app", role="customer", **options):
    with world.desk.store.write() as db:
        return access.add_client(db, name, role, world.desk.clock(), **options)


def ask(world, form, basic=None, **headers):
    if basic:
        text = base64.b64encode(":".join(basic).encode()).decode()
        headers["Authorization"] = f"Basic {text}"
    return world.http.post("/v1/token", data=form, headers=headers)


def test_every_check_of_a_token_is_named_and_nothing_is_told_without_one(running, tmp_path):
    good = running.bearer()
    assert limit(running, good).status_code == 200  # control
    assert check_of(limit(running, {})) == "missing"
    for header in ("Bearer", "Basic eDp5", f"Token {running.token()}", ""):
        assert check_of(limit(running, {"Authorization": header})) == "missing"
    assert check_of(limit(running, {"Authorization": "Bearer x.y"})) == "form"
    forged = running.token()[:-4] + "AAAA"
    answer = limit(running, {"Authorization": f"Bearer {forged}"})
    assert check_of(answer) in {"signature", "form"}
    assert 'error="invalid_token"' in answer.headers["www-authenticate"]
    other = mint(make_keys(tmp_path / "other.key"), OPERATOR, NOW)
    assert check_of(limit(running, {"Authorization": f"Bearer {other}"})) == "key"
    running.clock.now = "2026-03-02T08:15:00Z"
    assert check_of(limit(running, good)) == "expiry"


def test_a_customer_reads_the_own_limit_and_others_are_not_there(running):
    headers = running.bearer(Role.CUSTOMER, name_of(1))
    assert limit(running, headers).status_code == 200
    strange, nobody = limit(running, headers, 2), limit(running, headers, 99)
    assert strange.status_code == nobody.status_code == 404
    answers = [{**one.json(), "instance": ""} for one in (strange, nobody)]
    assert answers[0] == answers[1]
    assert limit(running, running.bearer(Role.OFFICER), 2).status_code == 200  # control


def test_a_role_that_may_not_is_told_so(running):
    answer = limit(running, running.bearer(Role.PARTNER, "lake"))
    assert (answer.status_code, answer.json()["code"]) == (403, "refused")


@pytest.mark.parametrize("way", ["basic", "body"])
def test_a_client_gets_a_token_by_its_secret_and_is_who_it_says(world, way):
    secret, form = world.secrets["desk"], {"grant_type": "client_credentials"}
    if way == "basic":
        answer = ask(world, form, ("desk", secret))
    else:
        answer = ask(world, form | {"client_id": "desk", "client_secret": secret})
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-store"
    value = answer.json()
    assert (value["token_type"], value["expires_in"]) == ("Bearer", 900)
    assert value["scope"] == "officer"
    headers = {"Authorization": f"Bearer {value['access_token']}"}
    assert limit(world, headers).status_code == 503  # let in; no release serves here


def test_the_apps_backend_speaks_for_one_customer_at_a_time(running):
    secret = add(running, any_subject=True)
    form = {"grant_type": "client_credentials", "subject": name_of(1)}
    token = ask(running, form, ("app", secret)).json()["access_token"]
    headers = {"Authorization": f"Bearer {token}"}
    assert limit(running, headers).status_code == 200
    assert limit(running, headers, 2).status_code == 404


FORM = {"grant_type": "client_credentials"}


@pytest.mark.parametrize(
    ("form", "basic", "error"),
    [
        ({}, ("app", None), "invalid_request"),
        ({"grant_type": "password"}, ("app", None), "unsupported_grant_type"),
        (FORM, None, "invalid_client"),
        (FORM, ("app", "wrong"), "invalid_client"),
        (FORM, ("nobody", "wrong"), "invalid_client"),
        (FORM | {"client_id": "app"}, None, "invalid_client"),
        (FORM | {"client_id": "app"}, ("app", None), "invalid_request"),
        (FORM | {"scope": "operator"}, ("app", None), "invalid_scope"),
        (FORM, ("app", None), "invalid_request"),  # for whom?
        (FORM | {"subject": "4711"}, ("app", None), "invalid_request"),
        (FORM | {"subject": name_of(2)}, ("one", None), "invalid_scope"),
        (FORM | {"subject": "x"}, ("desk", None), "invalid_scope"),
    ],
)
def test_errors_have_the_form_of_rfc_6749(world, form, basic, error):
    if basic:
        basic = (basic[0], basic[1] or world.secrets[basic[0]])
    answer = ask(world, form, basic)
    value = answer.json()
    assert value["error"] == error
    assert set(value) == {"error", "error_description"}
    assert answer.status_code == (401 if error == "invalid_client" else 400)
    if answer.status_code == 401:
        assert answer.headers["www-authenticate"].startswith("Basic ")


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"grant_type=client_credentials&grant_type=client_credentials", None),
        (b"grant_type", None),
        (b"\xff=\xfe", None),
        (b"grant_type=%ff%fe", None),
        (b"a=" + b"b" * 9000, None),
        (b'{"grant_type": "client_credentials"}', "application/json"),
    ],
)
def test_a_malformed_request_for_a_token_is_invalid(world, body, kind):
    kind = kind or "application/x-www-form-urlencoded"
    answer = world.http.post("/v1/token", content=body, headers={"Content-Type": kind})
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request")


@pytest.mark.parametrize(
    "header", ["Basic", "Basic ???", "Basic YQ==", "Basic /////w==", "Bearer x"]
)
def test_a_header_that_is_no_basic_authentication_is_an_invalid_client(world, header):
    answer = ask(world, FORM, Authorization=header)
    assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client")


def test_guesses_at_a_secret_come_to_an_end(kit, start):
    kit.serve()
    world = start(kit, rates=Rates(token=Rate(burst=2, per_minute=1)))
    secret = add(world, "desk", "officer")
    assert [ask(world, FORM, ("desk", "guess")).status_code for _ in range(3)] == [401, 401, 429]
    assert ask(world, FORM, ("desk", secret)).headers["retry-after"]
    assert ask(world, FORM, ("other", "x")).status_code == 401  # control: a bucket of its own


def test_a_disabled_client_gets_no_token_and_its_token_counts_no_more(running):
    secret = add(running, "desk", "officer")
    token = ask(running, FORM, ("desk", secret)).json()["access_token"]
    headers = {"Authorization": f"Bearer {token}"}
    assert limit(running, headers).status_code == 200
    with running.desk.store.write() as db:
        access.disable_client(db, "desk", running.desk.clock())
    assert check_of(limit(running, headers)) == "client"
    assert ask(running, FORM, ("desk", secret)).status_code == 401


def test_a_new_secret_ends_the_old_one_and_its_tokens(running):
    old = add(running, "desk", "officer")
    headers = {"Authorization": "Bearer " + running.token(Role.OFFICER, client="desk")}
    assert limit(running, headers).status_code == 200
    running.clock.now = "2026-03-02T08:00:01Z"
    with running.desk.store.write() as db:
        new = access.renew_client(db, "desk", running.desk.clock())
    assert check_of(limit(running, headers)) == "client"
    assert ask(running, FORM, ("desk", old)).status_code == 401
    token = ask(running, FORM, ("desk", new)).json()["access_token"]
    assert limit(running, {"Authorization": f"Bearer {token}"}).status_code == 200


def test_a_client_that_is_in_no_table_is_nobody(running):
    headers = running.bearer(Role.OFFICER, client="ghost")
    assert check_of(limit(running, headers)) == "client"


def test_a_process_believes_for_seconds_only(kit, start):
    kit.serve()
    world = start(kit, known_s=1000.0)
    add(world, "desk", "officer")
    headers = world.bearer(Role.OFFICER, client="desk")
    assert limit(world, headers).status_code == 503  # let in; no feed yet
    with world.desk.store.write() as db:
        access.disable_client(db, "desk", world.desk.clock())
    assert limit(world, headers).status_code == 503
    world.app.state.door.forget("desk")
    assert check_of(limit(world, headers)) == "client"


def test_without_its_store_the_service_lets_no_client_in(running, monkeypatch):
    add(running, "desk", "officer")
    headers = running.bearer(Role.OFFICER, client="desk")
    assert limit(running, headers).status_code == 200  # control

    def away(*_):
        raise EnvironmentFault("the database is away")

    monkeypatch.setattr("server.api.access.find_client", away)
    answer = limit(running, headers)
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "30")


def test_without_its_key_the_service_lets_nobody_in(kit, start):
    world = start(kit)
    headers = world.bearer()
    path = kit.folder / "limits" / "token.key"
    kept = path.read_text()
    path.unlink()
    assert limit(world, headers).json()["detail"].startswith("cannot read")
    assert not path.exists()
    path.write_text("a" * 64)
    path.chmod(0o600)
    assert check_of(limit(world, headers)) == "key"
    path.write_text(kept)
    assert limit(world, headers).json()["detail"] == "no release serves"  # control: let in


@pytest.mark.parametrize("way", ["silent", "gone"])
def test_a_request_for_a_token_that_does_not_come_is_not_waited_for(world, monkeypatch, way):
    monkeypatch.setattr("server.api.routes.token.READ_S", 0.05)
    sent = []

    async def receive():
        if way == "silent":
            await asyncio.sleep(30)
        return {"type": "http.disconnect"}

    async def keep(message):
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": "/v1/token", "headers": []}
    scope |= {"query_string": b"", "http_version": "1.1", "scheme": "http", "app": None}
    asyncio.run(world.app(scope, receive, keep))
    assert sent[0]["status"] == {"silent": 408, "gone": 400}[way]


def test_score_and_limit_can_be_asked_so_often_and_no_more(kit, start):
    kit.serve()
    rate = Rate(burst=2, per_minute=1)
    world = start(kit, rates=Rates(limit=rate, score=rate))
    for path in ("limit", "score"):
        address = f"/v1/customers/{name_of(1)}/{path}"
        headers = world.bearer(Role.CUSTOMER, name_of(1))
        answers = [world.http.get(address, headers=headers) for _ in range(3)]
        assert [one.status_code for one in answers] == [503, 503, 429]
        assert answers[2].json()["code"] == "too-many"
        assert 1 <= int(answers[2].headers["retry-after"]) <= 60
        other = world.bearer(Role.CUSTOMER, name_of(2))
        again = world.http.get(f"/v1/customers/{name_of(2)}/{path}", headers=other)
        assert again.status_code == 503


def test_no_log_has_a_pseudonym_a_token_or_a_secret(running, caplog, monkeypatch):
    """Control: the log does hold what a defect and a warning of ours say."""
    secret = add(running, any_subject=True)
    form = FORM | {"subject": name_of(1)}
    with caplog.at_level(logging.DEBUG):
        token = ask(running, form, ("app", secret)).json()["access_token"]
        headers = {"Authorization": f"Bearer {token}"}
        limit(running, headers)
        limit(running, headers, 2)
        limit(running, {"Authorization": f"Bearer {token}x"})
        ask(running, form, ("app", secret + "x"))

        def broken(*_):
            raise ValueError(f"{name_of(1)} {token} {secret}")

        monkeypatch.setattr("server.api.views.limit_view", broken)
        assert limit(running, headers).status_code == 500
    ours = [one for one in caplog.records if not one.name.startswith(("httpx", "httpcore"))]
    text = "\n".join(f"{one.getMessage()} {one.exc_text} {one.args}" for one in ours)
    assert "ValueError" in text
    for hidden in (
        name_of(1),
        name_of(2),
        token,
        secret,
        base64.b64encode(secret.encode()).decode(),
    ):
        assert hidden not in text


# The table and its commands


def test_what_is_kept_of_a_secret_does_not_hold_it(tmp_path):
    store = open_store(f"sqlite:///{tmp_path}/limits.db", create=True)
    with store.write() as db:
        secret = access.add_client(db, "desk", "officer", NOW)
        found = access.get_client(db, "desk")
    with pytest.raises(Conflict, match="of that id"), store.write() as db:
        access.add_client(db, "desk", "officer", NOW)
    assert len(base64.urlsafe_b64decode(secret + "=")) == 32
    assert access.is_secret_of(found, secret)
    assert not access.is_secret_of(found, secret[:-1])
    assert not access.is_secret_of(None, "")
    assert found.disabled_at is None
    store.close()
    kept = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert secret.encode() not in kept
    assert found.digest in kept  # control
    assert secret not in repr(found)
    assert found.digest.hex() not in repr(found)


@pytest.mark.parametrize(
    ("name", "role", "options"),
    [
        ("", "officer", {}),
        ("a b", "officer", {}),
        ("x" * 49, "officer", {}),
        ("app", "officer", {"any_subject": True}),
        ("app", "customer", {"any_subject": True, "subject": name_of(1)}),
    ],
)
def test_a_client_that_cannot_be_is_not_added(tmp_path, name, role, options):
    store = open_store(f"sqlite:///{tmp_path}/limits.db", create=True)
    with pytest.raises(UsageError), store.write() as db:
        access.add_client(db, name, role, NOW, **options)
    with store.read() as db:
        assert access.clients(db) == []
    store.close()


def test_clients_from_the_command_line(tmp_path):
    kit = Kit(tmp_path)

    def run(*words):
        done = CliRunner().invoke(command_line(), [*words, "--federation", str(kit.path)])
        if done.exception is not None and not isinstance(done.exception, SystemExit):
            raise done.exception
        return done

    secret = run("client", "add", "app", "--role", "customer", "--any-subject").stdout.strip()
    run("client", "add", "lake", "--role", "partner", "--subject", "lake")
    told = run("client", "list").stdout
    assert "any customer" in told
    assert secret not in told
    rows = json.loads(run("client", "list", "--format", "json").stdout)["data"]
    assert [(row["client"], row["role"], row["subject"]) for row in rows] == [
        ("app", "customer", ""),
        ("lake", "partner", "lake"),
    ]
    new = run("client", "renew", "app").stdout.strip()
    assert new != secret
    assert "lake is disabled" in run("client", "disable", "lake").stdout
    assert "disabled 2" in run("client", "list").stdout
    with pytest.raises(Conflict, match="disabled"):
        run("client", "renew", "lake")
    with pytest.raises(NotFound):
        run("client", "disable", "nobody")
    with pytest.raises(UsageError, match="pseudonym"):
        run("client", "add", "x", "--role", "customer")
    with pytest.raises(UsageError, match="offline"):
        run("client", "add", "offline", "--role", "officer")


def test_a_token_from_the_command_line_is_for_who_may_read_the_key(tmp_path):
    kit = Kit(tmp_path)
    words = ["token", "--role", "customer", "--subject", name_of(1), "-f", str(kit.path)]
    with pytest.raises(EnvironmentFault, match="confide serve"):
        raise CliRunner().invoke(command_line(), words).exception
    keys = make_keys(kit.folder / "limits" / "token.key")
    token = CliRunner().invoke(command_line(), words).stdout.strip()
    claims = verify(keys, token, datetime.now(UTC))
    assert claims.caller == Caller(OFFLINE, Role.CUSTOMER, name_of(1))
