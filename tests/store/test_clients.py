"""The programs that may ask for tokens, on both databases."""

from __future__ import annotations

from datetime import timedelta

import pytest
import sqlalchemy as sa

from server.store import access
from shared.errors import Conflict, NotFound, UsageError
from tests.store.kit import START


def test_a_client_is_added_renewed_and_disabled_for_good(store):
    with store.write() as db:
        old = access.add_client(db, "app", "customer", START, any_subject=True)
    later = START + timedelta(hours=1)
    with store.write() as db:
        new = access.renew_client(db, "app", later)
        found = access.get_client(db, "app")
    assert (found.any_subject, found.created_at, found.tokens_from) == (True, START, later)
    assert access.is_secret_of(found, new)
    assert not access.is_secret_of(found, old)
    with store.write() as db:
        assert access.disable_client(db, "app", later).disabled_at == later
        assert access.disable_client(db, "app", later + timedelta(1)).disabled_at == later
    with pytest.raises(Conflict, match="disabled"), store.write() as db:
        access.renew_client(db, "app", later)
    with pytest.raises(NotFound), store.write() as db:
        access.disable_client(db, "other", later)


def test_clients_are_listed_in_pages(store):
    with store.write() as db:
        for name in ("c", "a", "b"):
            access.add_client(db, name, "officer", START)
    with store.read() as db:
        assert [one.id for one in access.clients(db, count=2)] == ["a", "b"]
        assert [one.id for one in access.clients(db, after="b")] == ["c"]
        assert access.find_client(db, "d") is None


def test_only_the_app_may_speak_for_anybody(store):
    with pytest.raises(UsageError, match="any subject"), store.write() as db:
        access.add_client(db, "desk", "officer", START, any_subject=True)
    with store.write() as db:
        access.add_client(db, "desk", "officer", START)
    change = sa.update(access.CLIENTS).values(any_subject=True)
    with pytest.raises(sa.exc.IntegrityError), store.write() as db:
        db.execute(change)
