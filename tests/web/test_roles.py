"""Who may open which page: held against every route that there is, those to come among them."""

from __future__ import annotations

import pytest
from fastapi import APIRouter

from server.api.access import Role
from tests.web import addresses
from tests.web.addresses import EXAMPLES, PARAMETER, WHO, gets, pages_of, unlisted

OPEN = {
    "/",
    "/sign-in",
    "/static/{name}",
    "/model-card",
    "/policy",
    "/policy/{digest}",
    "/policy/{digest}.toml",
}
"""Pages that a session opens nothing of; whoever adds one says so here."""


def test_every_page_is_looked_at(town):
    assert unlisted(town.office.app) == []
    assert set(EXAMPLES) <= set(gets(town.office.app))


def test_a_page_that_nobody_listed_is_noticed(town, monkeypatch):
    """The control."""
    router = APIRouter()
    router.add_api_route("/me/secrets/{secret}", lambda: None)
    pages = town.office.app.state.pages
    monkeypatch.setattr(addresses, "gets", lambda app: {**gets(app), "/me/secrets/{secret}": None})
    assert len(pages.routers) > 2
    assert unlisted(town.office.app) == ["/me/secrets/{secret}"]


def test_whoever_is_not_signed_in_is_asked_to_on_every_page(town):
    stranger = town.browser()
    for path, roles in gets(town.office.app).items():
        if roles is None:
            assert path in OPEN, f"{path} is open to everybody and not listed as that"
            continue
        answer = stranger.http.get(PARAMETER.sub("x", path))
        assert (answer.status_code, path) == (303, path)
        assert answer.headers["location"].startswith("/sign-in")


@pytest.mark.parametrize("role", list(WHO))
def test_no_role_opens_a_page_of_another(town, role):
    browser, tried = town.browser(WHO[role]), 0
    for path, roles in gets(town.office.app).items():
        if roles is None or role in roles:
            continue
        answer = browser.http.get(PARAMETER.sub("x", path))
        assert (answer.status_code, path) == (403, path)
        tried += 1
    assert tried or role is Role.CUSTOMER


@pytest.mark.parametrize("role", list(WHO))
def test_a_role_opens_its_own_pages(furnished, role):
    browser = furnished.browser(WHO[role])
    for path in pages_of(furnished, role):
        page = browser.get(path)
        assert [tag for tag, _ in page.tags].count("h1") == 1, path
        assert "No real lender's rules are described" in page.text
        assert "nobody can raise a limit for a fee" in page.text
        assert page.headers["cache-control"] == "no-store"
