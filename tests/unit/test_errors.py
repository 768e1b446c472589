"""The tree of errors: one code, one exit status, one HTTP status each; the page says so."""

from __future__ import annotations

import pickle
import re

import pytest

from shared.errors import (
    ConfideError,
    ConfigError,
    ContractChanged,
    DataError,
    PartyLost,
    ReleaseRefused,
    RunFailed,
    UsageError,
    codes,
)
from tests.support import ROOT


def documented():
    text = (ROOT / "docs" / "exit-codes.md").read_text()
    rows = re.findall(
        r"^\| `([a-z-]+)` \| `(\w+)` \| (\d+) \| (\d+) \| (.+) \|$", text, re.MULTILINE
    )
    return {code: (name, int(status), int(http), when) for code, name, status, http, when in rows}


def test_the_page_of_exit_codes_and_the_tree_say_the_same_both_ways():
    tree = {
        code: (
            kind.__name__,
            kind.exit_status,
            kind.http_status,
            kind.__doc__.strip().split("\n")[0],
        )
        for code, kind in codes().items()
    }
    assert documented() == tree


def test_every_class_has_a_code_of_its_own():
    kinds, todo = [], [ConfideError]
    while todo:
        kind = todo.pop()
        kinds.append(kind)
        todo += kind.__subclasses__()
    assert len(codes()) == len(kinds)
    for kind in kinds:
        assert re.fullmatch(r"[a-z]+(-[a-z]+)*", kind.code)
        assert kind.exit_status in {1, 2, 3, 4, 5, 130}
        assert 400 <= kind.http_status <= 503


def test_a_child_never_ends_softer_than_its_parent():
    """Who catches the parent may trust its exit status."""
    for kind in codes().values():
        parent = kind.__mro__[1]
        if issubclass(parent, ConfideError) and parent is not ConfideError:
            assert kind.exit_status == parent.exit_status


def test_the_text_has_party_message_and_hint_where_they_are():
    assert str(UsageError("wrong")) == "wrong"
    assert str(UsageError("wrong", hint="do this")) == "wrong (do this)"
    assert str(UsageError("wrong", hint="do this", party="bank")) == "bank: wrong (do this)"


def test_findings_stay_apart_and_stand_together_in_the_message():
    for kind in (ConfigError, DataError, ContractChanged):
        error = kind("a.toml", ["one: bad", "two: bad"])
        assert error.findings == ("one: bad", "two: bad")
        assert str(error) == "a.toml: one: bad; two: bad"


@pytest.mark.parametrize("code", [code for code in codes() if code != "run-failed"])
def test_what_a_party_reports_ends_with_its_own_exit_status(code):
    error = RunFailed("wrong", party="payments", reported=code)
    assert error.exit_status == codes()[code].exit_status
    assert RunFailed.exit_status == 1  # the class is as it was


def test_a_code_from_another_version_counts_as_a_defect():
    assert RunFailed("wrong", reported="from-the-future").exit_status == 5


def test_every_error_comes_through_whole_from_another_process():
    for error in (
        DataError("bank.csv", ["ID: missing", "AGE: missing"], hint="see the contract"),
        PartyLost("does not answer", party="bank", hint="see its log"),
        ReleaseRefused("the release is another one", check="digest"),
    ):
        again = pickle.loads(pickle.dumps(error))
        assert type(again) is type(error)
        assert (str(again), again.__dict__, again.args) == (str(error), error.__dict__, error.args)
