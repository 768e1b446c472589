from __future__ import annotations

import pytest

from server.accounts import picturing
from server.api.access import Role
from server.api.app import create_app
from server.runs.folder import RunsFolder
from server.store import access
from tests.service.desk_kit import LOOSE, Office, empty_store
from tests.web import run_scenes, scenes
from tests.web.kit import Browser


class Town:
    """A service, and people with secrets for its pages."""

    def __init__(self, office):
        self.office = office
        self.secrets = {}

    def admit(self, name, role, subject=""):
        with self.office.store.write() as db:
            self.secrets[name] = access.add_client(
                db, name, str(role), self.office.clock.now, subject=subject
            )

    def browser(self, name="", **options):
        """A browser; with a name, signed in."""
        made = Browser(self.office, **options)
        if name:
            made.sign_in(name, self.secrets[name])
        return made


def founded(folder, **options):
    """A service with somebody of each role."""
    path = folder / "town.db"
    path.write_bytes(empty_store())
    town = Town(Office(folder / "federation", f"sqlite:///{path}", **options))
    town.admit("mei", Role.CUSTOMER, scenes.ME)
    town.admit("tom", Role.CUSTOMER, scenes.TOM)
    for role in (Role.OFFICER, Role.OPERATOR, Role.REGULATOR):
        town.admit(f"the-{role}", role)
    town.admit("second-officer", Role.OFFICER)
    town.admit("the-partner", Role.PARTNER, "lake")
    return town


@pytest.fixture(scope="session")
def whole_town(tmp_path_factory):
    folder = tmp_path_factory.mktemp("town")
    town = founded(folder)
    town.office.keep(folder / "town.db")
    yield town
    town.office.close()


@pytest.fixture
def town(whole_town):
    """The service as it was at first."""
    whole_town.office.back()
    return whole_town


@pytest.fixture(scope="session")
def whole_lowered(tmp_path_factory):
    folder = tmp_path_factory.mktemp("lowered")
    town = founded(folder)
    town.line = scenes.cut(town.office, scenes.ME)
    town.now = town.office.clock.now
    town.office.keep(folder / "town.db")
    yield town
    town.office.close()


@pytest.fixture
def lowered(whole_lowered):
    """The service some months on: the limit of one customer was lowered and is not restored."""
    whole_lowered.office.back()
    whole_lowered.office.clock.now = whole_lowered.now
    return whole_lowered


@pytest.fixture(scope="session")
def whole_busy(tmp_path_factory):
    folder = tmp_path_factory.mktemp("busy")
    town = founded(folder, customers=3 * scenes.PEOPLE + 3)
    town.lines = scenes.busy(town.office)
    town.now = town.office.clock.now
    town.office.keep(folder / "town.db")
    yield town
    town.office.close()


@pytest.fixture
def busy(whole_busy):
    """The service with a book of many lines, before anything was counted."""
    whole_busy.office.back()
    whole_busy.office.clock.now = whole_busy.now
    return whole_busy


@pytest.fixture(scope="session")
def home(tmp_path_factory):
    """A coordinator's folder with runs of every kind."""
    return run_scenes.coordinator(tmp_path_factory.mktemp("coordinator"))


@pytest.fixture
def furnished(lowered, home):
    """The same with something on every page: runs, an appeal, a proposal, a counted book."""
    office, app = lowered.office, lowered.office.app
    office.app = create_app(office.desk, rates=LOOSE, runs=RunsFolder(home))
    newest = office.get("alice", f"/v1/lines/{lowered.line}/decisions").json()["items"][-1]
    decision = newest["decision_id"]
    lowered.decision = decision
    lowered.case = office.done(scenes.ME, "/v1/appeals", {
        "customer_id": scenes.ME, "text": "My income has doubled.", "about": "P-INCOME",
        "decision_id": decision})["case_id"]  # fmt: skip
    officer = lowered.browser("the-officer")
    form = officer.get(f"/decisions/{decision}").form(f"/decisions/{decision}/override")
    asked = {"limit": "30,000", "reason": "too-high", "note": "Seen in the branch."}
    lowered.proposal = officer.send(form, **asked).headers["location"]
    picturing.count(office.desk)
    scenes.sealed(office)
    yield lowered
    office.app = app
