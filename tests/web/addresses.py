"""Every page that there is, by role: gathered from the application's own routes.

A page whose address has no parameter is looked at by itself; one that has needs an example in
`EXAMPLES`, or it is told as a page that nobody looks at.
"""

from __future__ import annotations

import inspect
import re

from fastapi.routing import APIRoute

from server.accounts.rules import rule_texts
from server.api.access import Role
from tests.web.run_scenes import LIVE, LOST, OVER
from tests.web.scenes import ME

WHO = {
    Role.CUSTOMER: "mei",
    Role.OFFICER: "the-officer",
    Role.OPERATOR: "the-operator",
    Role.REGULATOR: "the-regulator",
    Role.PARTNER: "the-partner",
}
"""Who signs in for a role."""
PARAMETER = re.compile(r"{\w+(:\w+)?}")
FILES = re.compile(r".*\.(json|csv|svg|html|toml|zip)|/static/.*|.*/events")
"""What is no page: downloads, pictures, streams."""


def newest_decision(town):
    """The last decision on the customer's line."""
    path = f"/v1/lines/{town.line}/decisions"
    return town.office.get("alice", path).json()["items"][-1]["decision_id"]


def rule_text(town):
    """A rule text that is in force."""
    links = town.browser().get("/policy").links
    return next(one for one in links if re.fullmatch(r"/policy/[0-9a-f]{64}", one))


def rule_of_the_audit(town):
    """A version of the rules, as regulators come to it."""
    return rule_text(town).replace("/policy/", "/audit/rules/")


def line_policy():
    """The line policy in force: beside itself it is a second one."""
    return rule_texts()["line"].digest


EXAMPLES = {
    "/audit/rules/{digest}": lambda town: [rule_of_the_audit(town)],
    "/audit/sample": lambda _: ["/audit/sample", "/audit/sample?word=spring&check=1"],
    "/decisions/{decision_id}": lambda town: [
        f"/decisions/{town.decision}",
        f"/decisions/{town.decision}?check=1",
    ],
    "/decisions/line/{line_id}": lambda town: [f"/decisions/line/{town.line}"],
    "/decisions/of/{customer}": lambda _: [f"/decisions/of/{ME}"],
    "/federation/runs/{run}": lambda _: [f"/federation/runs/{run}" for run in (OVER, LIVE, LOST)],
    "/queue/cases/{case_id}": lambda town: [f"/queue/cases/{town.case}"],
    "/queue/proposals/{approval_id}": lambda town: [town.proposal],
    "/policy/{digest}": lambda town: [rule_text(town)],
    "/me/decisions/{decision_id}": lambda town: [
        f"/me/decisions/{newest_decision(town)}",
        f"/me/decisions/{newest_decision(town)}?check=1",
    ],
    "/": lambda _: ["/?stay=1"],
    "/rules/try": lambda _: [
        "/rules/try",
        "/rules/try?go=1&people=400&months=3&frontier=1",
        "/rules/try?go=1&people=400&months=3&second_line=" + line_policy(),
    ],
    "/sign-in": lambda _: [],  # who is signed in is led on
    "/decisions/find": lambda _: [],  # leads on to what was looked for
    "/me/what-if": lambda _: ["/me/what-if", "/me/what-if?try=1&draws=8"],
    "/me/cost": lambda _: ["/me/cost", "/me/cost?amount=1000&months=3&income=900&outgo=800"],
    "/me/loan": lambda _: ["/me/loan", "/me/loan?amount=1000000"],
}
"""Addresses to look at, by the route's own path; of a path without parameters, in its place."""


def roles_of(route):
    """The roles that a route lets in; None for a route that is for everybody."""
    for one in route.dependant.dependencies:
        roles = inspect.getclosurevars(one.call).nonlocals.get("roles")
        if roles:
            return frozenset(roles)
    return None


def gets(app):
    """Every route of the pages that answers GET: path, and roles or None."""
    return {
        route.path: roles_of(route)
        for router in app.state.pages.routers
        for route in router.routes
        if isinstance(route, APIRoute) and "GET" in route.methods
    }


def unlisted(app):
    """Pages that nobody looks at."""
    return sorted(
        path
        for path in gets(app)
        if PARAMETER.search(path) and path not in EXAMPLES and not FILES.fullmatch(path)
    )


def pages_of(town, role):
    """The addresses that a role looks at, those for everybody among them."""
    found = []
    for path, roles in gets(town.office.app).items():
        if FILES.fullmatch(path) or (roles is not None and role not in roles):
            continue
        example = EXAMPLES.get(path)
        found += [path] if example is None else example(town)
    return found
