"""`confide feed`: a party makes its feed again and sends it; the platform maps its customers."""

from __future__ import annotations

import json
import shutil
import ssl
import threading
from datetime import date, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from clients.party import Party
from clients.store import Store
from server.coordinator import load_federation
from shared.feed import open_feed, pseudonym
from shared.instants import date_of, later
from tests.whole_runs import build, change, column, edit, train

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    path = build(tmp_path_factory.mktemp("feeds"))
    train(path)
    return path


@pytest.fixture
def federation(trained, tmp_path):
    shutil.copytree(trained.parent, tmp_path, dirs_exist_ok=True)
    return tmp_path / trained.name


class Service:
    """A stand-in for the limit service: takes what is put, and answers as it is told."""

    def __init__(self, home=None, status=200, problem=None):
        service = self
        self.seen = []

        class Handler(BaseHTTPRequestHandler):
            def do_PUT(self):
                raw = self.rfile.read(int(self.headers["Content-Length"]))
                service.seen.append((self.path, raw))
                body = json.dumps(problem or {}).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        if home is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(home / "tls.crt", home / "tls.key")
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        scheme = "http" if home is None else "https"
        self.url = f"{scheme}://127.0.0.1:{self.server.server_port}"

    def __enter__(self):
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()


def opened(path, raw, **more):
    federation, _ = load_federation(path)
    return open_feed(raw, federation, now=Store(path.parent).now(), **more)


def test_a_party_publishes_fresh_data_and_the_service_takes_it(confide, federation):
    home = federation.parent / "bureau"
    table = home / "today.parquet"
    shutil.copy(home / "test.parquet", table)
    edit(table, lambda columns: {name: values[:4] for name, values in columns.items()})
    with Service() as service:
        status, out, _ = confide(
            "feed", "publish", "-f", federation, "-p", "bureau", "--table", table,
            "--to", service.url + "/",
        )  # fmt: skip
    assert status == 0
    assert "4 customers of scorecard-0001" in out
    ((where, raw),) = service.seen
    assert where == "/v1/feeds/bureau"
    assert raw == (home / "feeds/scorecard-0001.feed").read_bytes()
    feed = opened(federation, raw, party="bureau")
    names = [
        confide("feed", "pseudonym", "-f", federation, "-p", "bureau", name) for name in ids(table)
    ]
    assert {out.strip() for _, out, _ in names} == {row.pseudonym for row in feed.rows}
    entry = Store(home).ledger()[-1].entry
    assert (entry.what, entry.rows, entry.recipient) == ("score feed", 4, "the limit service")


def ids(table):
    return column(table, "ID")


def test_a_service_under_tls_is_known_by_the_federations_own_certificate(confide, federation):
    folder = federation.parent
    with Service(folder / "limits") as service:
        status, _, err = confide(
            "feed", "publish", "-f", federation, "-p", "bank", "--to", service.url
        )
        assert (status, err) == (0, "")
        assert len(service.seen) == 1
        # Another authority: the service is not believed, and gets nothing.
        other = build(folder / "other", customers=300)
        shutil.copy(other.parent / "bank/ca.crt", folder / "bank/ca.crt")
        status, _, err = confide(
            "feed", "publish", "-f", federation, "-p", "bank", "--to", service.url
        )
    assert status == 3
    assert "cannot send" in err
    assert len(service.seen) == 1


@pytest.mark.parametrize(
    ("status", "problem", "exit_status", "words"),
    [
        (403, {"detail": "the feed in use is newer", "check": "as-of"}, 4, "in use is newer"),
        (503, {"title": "Not available now", "hint": "later"}, 3, "answered 503: Not available"),
        (413, None, 3, "answered 413"),
        (403, {"detail": "a\x1b[2Jb\rc", "check": "as\x1b-of"}, 4, "a?[2Jb?c"),
        (503, {"title": "no\u202eway", "hint": "x\x07y"}, 3, "no?way"),
    ],
)
def test_what_the_service_says_is_told(confide, federation, status, problem, exit_status, words):
    with Service(status=status, problem=problem) as service:
        code, out, err = confide(
            "feed", "publish", "-f", federation, "-p", "bank", "--to", service.url
        )
    assert code == exit_status
    assert words in err
    assert all(mark.isprintable() or mark == "\n" for mark in err)
    assert "accepted" not in out


def test_as_of_dates_never_go_back(confide, federation):
    home = federation.parent / "payments"
    out = home / "x.feed"
    today = date.fromisoformat(date_of(Store(home).now()))
    yesterday, tomorrow, long_ago = (today + timedelta(days=days) for days in (-1, 1, -31))

    def publish(day):
        return confide(
            "feed", "publish", "-f", federation, "-p", "payments", "--as-of", day, "--out", out
        )

    for day, words in (
        (yesterday, "as-of dates never go back"),  # the training made one of today
        (tomorrow, "lies ahead"),
        (long_ago, "is stale"),
        ("2026-02-30", "--as-of 2026-02-30"),
    ):
        status, _, err = publish(day)
        assert (status, words in err) == (2, True)
        assert not out.exists()
    assert publish(today)[0] == 0
    assert opened(federation, out.read_bytes()).header.as_of == str(today)


def test_a_clock_that_stands_makes_the_feed_of_its_own_instant(confide, federation):
    """As in a cycle, whose clocks stand: `confide cycle`."""
    later_on = later(Store(federation.parent / "payments").now(), days=3)
    out = federation.parent / "x.feed"
    given = ("feed", "publish", "-f", federation, "-p", "payments", "--out", out)
    status, _, err = confide(*given, "--at", "yesterday")
    assert (status, "--at yesterday" in err, out.exists()) == (2, True, False)
    assert confide(*given, "--at", later_on)[0] == 0
    raw = out.read_bytes()
    assert json.loads(raw.partition(b"\n")[0])["header"]["created"] == later_on
    assert json.loads(raw.partition(b"\n")[0])["header"]["as_of"] == date_of(later_on)


def test_without_a_release_there_is_no_feed_and_no_pseudonym(confide, tmp_path):
    path = build(tmp_path, customers=300)
    for arguments in (("publish",), ("pseudonym", "C1")):
        status, _, err = confide("feed", *arguments, "-f", path, "-p", "bank")
        assert status == 2
        assert "confide train" in err


def test_an_expired_or_forged_release_publishes_nothing(confide, federation, monkeypatch):
    home = federation.parent / "bank"
    files = [
        home / "releases/scorecard-0001" / name for name in ("manifest.json", "signatures.json")
    ]
    kept = files[0].read_bytes()
    before = (home / "feeds/scorecard-0001.feed").read_bytes()
    files[0].write_bytes(kept.replace(b'"run":"first"', b'"run":"other"'))
    status, _, err = confide("feed", "publish", "-f", federation, "-p", "bank")
    assert (status, "'signature'" in err) == (4, True)
    files[0].write_bytes(kept)
    now = Store.now
    with monkeypatch.context() as patch:
        patch.setattr(Store, "now", lambda self: later(now(self), days=181))
        status, _, err = confide("feed", "publish", "-f", federation, "-p", "bank")
        assert (status, "'expiry'" in err) == (4, True)
    assert (home / "feeds/scorecard-0001.feed").read_bytes() == before
    assert confide("feed", "publish", "-f", federation, "-p", "bank")[0] == 0


def test_only_https_or_this_machine_gets_a_feed(confide, federation):
    status, _, err = confide(
        "feed", "publish", "-f", federation, "-p", "bank", "--to", "http://example.org"
    )
    assert (status, "must be HTTPS" in err) == (2, True)


def test_a_customer_in_two_tables_stops_the_feed(confide, federation):
    home = federation.parent / "bureau"

    def doubled(columns):
        return {name: [*values, values[0]] for name, values in columns.items()}

    table = home / "twice.parquet"
    shutil.copy(home / "test.parquet", table)
    edit(table, doubled)
    change(home / "party.toml", customers="twice.parquet")
    status, _, err = confide("feed", "publish", "-f", federation, "-p", "bureau")
    assert status == 1
    assert "repeated" in err
    name = ids(table)[0]
    assert name not in err


def test_the_platform_maps_its_customer_whatever_the_spelling(confide, federation):
    key = bytes.fromhex((federation.parent / "ecommerce/pseudonym.key").read_text())
    out = {
        confide("feed", "pseudonym", "-f", federation, "-p", party, name)[1]
        for party, name in (("payments", "C7"), ("ecommerce", " C7 "))
    }
    assert out == {pseudonym(key, "C7") + "\n"}
    assert Party.load(federation, "payments").name == "payments"
