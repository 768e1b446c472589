"""The way in and out: who gets a session, what a browser is told to hold, and what it may send."""

from __future__ import annotations

import importlib
import json
import re
from datetime import timedelta

import pytest
from fastapi.routing import APIRoute

from server.api.access import Role
from server.api.app import create_app
from server.api.throttle import Rate, Rates
from server.store import access
from server.web import forms, language, session
from server.web.entrance import place_of
from server.web.render import HEADERS
from tests.service.desk_kit import OFTEN
from tests.web.kit import HTML, Browser, Page

ROLES = ["mei", "the-officer", "the-operator", "the-regulator", "the-partner"]


def cookie_of(answer, name="confide"):
    [found] = [one for one in answer.headers.get_list("set-cookie") if one.startswith(f"{name}=")]
    return found


def test_anybody_reads_what_this_is_and_the_notice(town):
    page = town.browser().get("/")
    assert "No real lender's rules are described" in page.text
    assert "/sign-in" in page.links


def test_every_page_forbids_what_is_not_its_own(town):
    for path in ("/", "/sign-in"):
        page = town.browser().get(path)
        policy = page.headers["content-security-policy"]
        assert policy == HEADERS["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert page.headers["cache-control"] == "no-store"
        assert page.headers["referrer-policy"] == "same-origin"
        for tag, told in page.tags:
            assert "style" not in told
            assert not any(name.startswith("on") for name in told)
            assert tag != "style"
            assert tag != "script" or told.get("src", "").startswith("/static/")
            for name in ("src", "href", "action"):
                assert told.get(name, "/").startswith(("/", "#")), (tag, told)


def test_what_pages_load_is_there_for_ever_and_under_its_digest(town):
    page = town.browser().get("/")
    loaded = [
        told.get("src") or told.get("href") for tag, told in page.tags if tag in {"script", "link"}
    ]
    assert len(loaded) == 5
    for url in loaded:
        answer = town.browser().http.get(url)
        assert answer.status_code == 200
        assert "immutable" in answer.headers["cache-control"]
        assert re.fullmatch(r"/static/[a-z.]+\.[0-9a-f]{12}\.(css|js|svg)", url)
    assert town.browser().http.get("/static/confide.css").status_code == 404
    assert town.browser().http.get("/static/..%2fapp.py").status_code == 404


@pytest.mark.parametrize("name", ROLES)
def test_who_knows_the_secret_comes_in_and_out_again(town, name):
    browser = town.browser()
    answer = browser.sign_in(name, town.secrets[name])
    start = town.office.app.state.pages.site.start_of(
        Role.CUSTOMER if name == "mei" else Role(name.removeprefix("the-"))
    )
    assert answer.headers["location"] == start
    page = browser.get("/", stay="1")
    assert "/sign-out" in [one.action for one in page.forms]
    browser.send(page.form("/sign-out"))
    assert "/sign-out" not in [one.action for one in browser.get("/").forms]


def test_the_cookie_is_for_this_browser_alone(town):
    told = cookie_of(town.browser().sign_in("mei", town.secrets["mei"]))
    assert {"HttpOnly", "Path=/", "SameSite=strict"} <= set(told.split("; "))
    assert "Secure" not in told  # in clear, on this machine itself
    safe = Browser(town.office, secure=True)
    told = cookie_of(safe.sign_in("mei", town.secrets["mei"]), "__Host-confide")
    assert {"HttpOnly", "Secure", "SameSite=strict", "Path=/"} <= set(told.split("; "))
    assert "Domain" not in told
    named = Browser(town.office)
    named.http.base_url = "http://credit.example"  # behind a proxy that speaks TLS
    assert "Secure" in cookie_of(named.sign_in("mei", town.secrets["mei"]), "__Host-confide")


@pytest.mark.parametrize(
    ("name", "secret"),
    [("mei", "wrong"), ("nobody", "wrong"), ("", ""), ("x" * 200, "y"), ("mei", "\0")],
)
def test_a_wrong_secret_lets_nobody_in_and_is_told_alike(town, name, secret):
    browser = town.browser()
    form = browser.get("/sign-in").form("/sign-in")
    page = Page(browser.send(form, 401, client=name, secret=secret))
    assert "There is no such name, or the secret is wrong." in page.text
    assert "set-cookie" not in page.headers


def test_a_program_for_any_customer_is_no_person(town):
    with town.office.store.write() as db:
        secret = access.add_client(
            db, "backend", "customer", town.office.clock.now, any_subject=True
        )
    browser = town.browser()
    form = browser.get("/sign-in").form("/sign-in")
    page = Page(browser.send(form, 401, client="backend", secret=secret))
    assert "belongs to a program" in page.text


def test_guessing_is_slowed_down(town):
    app = town.office.app
    rates = Rates(OFTEN, OFTEN, OFTEN, Rate(2, 1))
    town.office.app = create_app(town.office.desk, rates=rates)
    browser = town.browser()
    town.office.app = app
    guess = {"client": "mei", "secret": "x"}
    answers = [browser.http.post("/sign-in", data=guess).status_code for _ in range(4)]
    assert answers == [401, 401, 429, 429]


@pytest.mark.parametrize(
    ("place", "kept"),
    [
        ("/me?x=1", "/me?x=1"),
        ("//evil.example", ""),
        ("/\\evil.example", ""),
        ("https://e", ""),
        ("/a\nb", ""),
        ("javascript:alert(1)", ""),
        ("", ""),
    ],
)
def test_a_sign_in_leads_to_places_of_this_site_only(town, place, kept):
    assert place_of(place) == kept


def test_who_is_not_signed_in_is_asked_to_and_led_on(town):
    browser = town.browser()
    answer = browser.http.get("/me", params={"lang": "en"})
    assert answer.status_code == 303
    place = answer.headers["location"]
    form = browser.get(place).form("/sign-in")
    led = browser.send(form, client="mei", secret=town.secrets["mei"])
    assert led.headers["location"] == "/me?lang=en"
    assert browser.get("/me").status == 200


def test_a_session_is_renewed_while_it_is_used_and_ends_after_eight_hours(town):
    town.admit("long", Role.CUSTOMER, "5" * 64)
    browser, office = town.browser("long"), town.office
    first = browser.http.cookies["confide"]
    for _ in range(47):
        office.later(minutes=10)
        browser.get("/me")
    assert browser.http.cookies["confide"] != first
    office.later(minutes=10)
    assert browser.http.get("/me").status_code == 303
    idle = town.browser("long")
    office.later(minutes=16)
    assert idle.http.get("/me").status_code == 303


def test_a_form_outlives_the_renewal_of_its_session(town):
    browser = town.browser("mei")
    form = browser.get("/me").form("/sign-out")
    for _ in range(3):
        town.office.later(minutes=7)
        browser.get("/me")
    browser.send(form)


def test_a_disabled_client_is_out_at_once(town):
    town.office.app.state.door.known_s = 0.0
    browser = town.browser("mei")
    browser.get("/me")
    with town.office.store.write() as db:
        access.disable_client(db, "mei", town.office.clock.now)
    assert browser.http.get("/me").status_code == 303


@pytest.mark.parametrize("part", [0, 1, 2, 3])
def test_a_cookie_that_was_touched_is_none(town, part):
    browser = town.browser("mei")
    parts = browser.http.cookies["confide"].split(".")
    assert len(parts) == 4
    parts[part] = ("1" if parts[part][0] != "1" else "2") + parts[part][1:]
    browser.http.cookies.clear()
    browser.http.cookies.set("confide", ".".join(parts), domain="127.0.0.1", path="/")
    assert browser.http.get("/me").status_code == 303


def test_an_access_token_is_no_session_and_a_session_no_access_token(town):
    office, browser = town.office, town.browser("mei")
    cookie = browser.http.cookies["confide"]
    token = office.headers("alice")["Authorization"].removeprefix("Bearer ")
    browser.http.cookies.clear()
    browser.http.cookies.set("confide", token, domain="127.0.0.1", path="/")
    assert browser.http.get("/me").status_code == 303
    assert (
        office.http.get("/v1/lines", headers={"Authorization": f"Bearer {cookie}"}).status_code
        == 401
    )
    assert office.http.get("/v1/lines", cookies={"confide": cookie}).status_code == 401


@pytest.mark.parametrize("given", ["", "0" * 64, "\u00e9"])
def test_a_form_without_the_sessions_mark_does_nothing(town, given):
    browser = town.browser("mei")
    form = browser.get("/me").form("/sign-out")
    browser.send(form, 403, csrf=given)
    assert browser.get("/me").status == 200


def test_a_form_of_another_session_does_nothing(town):
    other = town.browser("tom").get("/me").form("/sign-out")
    browser = town.browser("mei")
    browser.send(other, 403)
    assert browser.send(browser.get("/me").form("/sign-out")).status_code == 303


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
    ],
)
def test_a_form_that_another_site_sends_is_refused_also_at_the_entrance(town, headers):
    browser = town.browser("mei")
    page = browser.get("/me")
    browser.send(page.form("/sign-out"), 403, headers=headers)
    stranger = town.browser()
    form = stranger.get("/sign-in").form("/sign-in")
    stranger.send(form, 403, headers=headers, client="mei", secret=town.secrets["mei"])
    own = {"Origin": "http://127.0.0.1:8080", "Sec-Fetch-Site": "same-origin"}
    browser.send(page.form("/sign-out"), headers=own)


def test_every_form_route_asks_for_the_mark(town):
    """There is no way to the fields but through `posted`; the entrance alone has no session yet."""
    found = 0
    for router in town.office.app.state.pages.routers:
        for route in router.routes:
            if isinstance(route, APIRoute) and route.methods & {"POST", "PUT", "DELETE", "PATCH"}:
                calls = [one.call.__qualname__ for one in route.dependant.dependencies]
                assert route.path == "/sign-in" or any(one.startswith("posted.") for one in calls)
                found += 1
            elif isinstance(route, APIRoute):
                assert route.methods == {"GET"}
    assert found >= 2
    with pytest.raises(TypeError):
        forms.posted()
    with pytest.raises(TypeError):
        session.visitor()


@pytest.mark.parametrize("name", ROLES[1:])
def test_a_role_that_may_not_is_told_so_on_a_page(town, name):
    page = town.browser(name).get("/me", 403)
    assert "This page is not for you" in page.text
    assert page.headers["content-type"].startswith("text/html")


def test_browsers_get_pages_of_errors_and_programs_problems(town):
    browser = town.browser()
    page = browser.get("/nothing-here", 404)
    assert "There is nothing here" in page.text
    assert "urn:uuid:" in page.text
    assert page.headers["content-security-policy"] == HEADERS["Content-Security-Policy"]
    for path in ("/nothing-here", "/me"):
        answer = town.office.http.get(path)
        assert answer.headers["content-type"] == "application/problem+json"
    api = town.office.http.get("/v1/lines", headers=HTML)
    assert api.status_code == 401
    assert api.headers["content-type"] == "application/problem+json"


def test_a_defect_is_a_page_with_a_number_and_nothing_else(town, monkeypatch):
    browser = town.browser("mei")

    def broken(*_):
        raise RuntimeError("customer 4711 owes 12")

    monkeypatch.setattr("server.web.customer.limit.mine_of", broken)
    page = browser.get("/me", 500)
    assert "went wrong on our side" in page.text
    assert "4711" not in page.html
    assert page.headers["x-content-type-options"] == "nosniff"


def test_a_body_that_is_no_form_is_told_so(town):
    answer = town.browser().http.post("/sign-in", json={"client": "mei"})
    assert answer.status_code == 415
    answer = town.office.http.post(
        "/v1/lines", data={"a": "b"}, headers=town.office.headers("alice")
    )
    assert answer.status_code == 415


def test_the_pages_speak_two_languages_and_remember_which(town):
    browser = town.browser()
    assert 'lang="en"' in browser.get("/").html
    page = browser.get("/", lang="zh")
    assert 'lang="zh-Hans"' in page.html
    assert page.headers["content-language"] == "zh-Hans"
    assert "不代表任何真实机构的规则" in page.text
    assert "登录" in browser.get("/sign-in").text


@pytest.mark.parametrize(
    ("header", "wanted"),
    [
        ("zh-CN,zh;q=0.9,en;q=0.8", "zh"),
        ("de, en;q=0.5", "en"),
        ("de", "en"),
        ("", "en"),
        ("en;q=0.3, zh;q=0.7", "zh"),
        ("zh;q=x, en", "en"),
        ("," * 2000, "en"),
    ],
)
def test_a_browsers_wish_is_heard(town, header, wanted):
    page = town.browser(lang=header).get("/")
    assert page.headers["content-language"].startswith(wanted)


def test_both_languages_say_the_same_things():
    en, zh = map(language.texts_in, language.LANGUAGES)
    assert set(en.sentences) == set(zh.sentences)
    assert en.say("site.language") == "English"


def test_vendored_files_are_those_that_were_vetted():
    vendor = importlib.import_module("scripts.vendor_assets")
    note = json.loads(vendor.NOTE.read_text())
    assert vendor.wrong() == []
    assert note["licence"] == "0BSD"
    assert note["version"] == vendor.VERSION


def test_a_changed_vendored_file_is_noticed(monkeypatch, tmp_path):
    vendor = importlib.import_module("scripts.vendor_assets")
    for path in vendor.STATIC.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "htmx.min.js").write_bytes(b"alert(1)")
    monkeypatch.setattr(vendor, "STATIC", tmp_path)
    monkeypatch.setattr(vendor, "NOTE", tmp_path / "vendor.json")
    assert vendor.wrong() == ["htmx.min.js"]


def test_the_session_is_over_when_its_key_is(town):
    browser = town.browser("mei")
    browser.get("/me")
    path = town.office.desk.home / "token.key"
    old = path.read_text()
    path.write_text("11" * 32 + "\n" + old)
    browser.get("/me")  # a new key on top: both count
    path.write_text("22" * 32 + "\n")
    assert browser.http.get("/me").status_code == 303
    path.write_text(old)


def test_a_session_is_no_longer_than_it_says():
    assert timedelta(hours=8) == session.LONGEST
