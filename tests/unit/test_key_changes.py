"""Keys that are rotated or revoked count nowhere any more; what they signed stays what it was."""

from __future__ import annotations

import os
import shutil
import ssl
from datetime import UTC, datetime, timedelta

import pytest

from clients.keys.certificates import new_authority
from clients.keys.changes import revoke_party, rotate_keys, without
from clients.keys.revocation import revoke
from clients.releases.kept import load_release
from server.coordinator import load_federation
from server.releases.feeds import Feeds
from server.releases.registry import Registry
from shared.edge.clock import utc_now
from shared.edge.files import load_identity
from shared.edge.tls import tls_context
from shared.errors import (
    BadPeer,
    ConfigError,
    EnvironmentFault,
    FeedRefused,
    NotFound,
    Refused,
    ReleaseRefused,
)
from shared.proof import NONCE_BYTES, check_proof, prove
from shared.release import unpack_release, verify_release
from tests.whole_runs import build, train

NOW = datetime.now(UTC)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A federation with one release."""
    path = build(tmp_path_factory.mktemp("federation"))
    train(path, "first")
    return path


@pytest.fixture
def path(trained, tmp_path):
    shutil.copytree(trained.parent, tmp_path / "copy")
    return tmp_path / "copy" / "federation.toml"


def identity(path, name):
    return load_identity(path.parent / name / "identity.key", name, None)


def release_of(path):
    return load_release(path.parent / "bank" / "releases")


def verified(path, release):
    federation, _ = load_federation(path)
    verify_release(release, federation, now=utc_now(), newest=0)


def proves(path, who):
    """Prove to a relay of this federation file who somebody is."""
    federation, _ = load_federation(path)
    nonce, certificate = os.urandom(NONCE_BYTES), b"certificate"
    answer = prove(who, "run/align/1", os.urandom(8), nonce, certificate)
    return check_proof(answer, federation.roster, nonce, certificate).name


def handshake(path, home):
    """Let a member with the certificate of a folder connect to the coordinator, as TLS has it."""

    def context(place, *, server):
        files = place / "tls.crt", place / "tls.key", place / "ca.crt"
        return tls_context(*files, server=server)

    sin, sout, cin, cout = (ssl.MemoryBIO() for _ in range(4))
    ours = context(path.parent / "coordinator", server=True).wrap_bio(sin, sout, server_side=True)
    theirs = context(home, server=False).wrap_bio(cin, cout, server_hostname="localhost")
    done = set()
    for _ in range(8):
        for side, out, into in ((theirs, cout, sin), (ours, sout, cin)):
            try:
                side.do_handshake()
                done.add(side)
            except ssl.SSLWantReadError:
                pass
            into.write(out.read())
    assert len(done) == 2


def feed_header(path, party):
    (file,) = (path.parent / party).rglob("*.feed")
    return file.read_bytes().split(b"\n", 1)[0]


def takes_feed(path, header, party):
    """Check a feed's first line as the limit service does."""
    federation, _ = load_federation(path)
    Feeds(path.parent / "limits", federation).check_header(header, utc_now(), party=party)


def test_after_a_rotation_the_old_key_is_refused_by_relay_release_and_feed(path):
    old, release = identity(path, "bureau"), release_of(path)
    header = feed_header(path, "bureau")
    verified(path, release)  # the controls: all of it counts today
    assert proves(path, old) == "bureau"
    takes_feed(path, header, "bureau")
    changed = rotate_keys(path, "bureau", NOW)
    assert changed.certificate
    with pytest.raises(BadPeer, match="not the one pinned"):
        proves(path, old)
    with pytest.raises(ReleaseRefused, match="the key of bureau is not the one pinned") as refused:
        verified(path, release)
    assert refused.value.check == "federation"
    with pytest.raises(FeedRefused) as no_feed:
        takes_feed(path, header, "bureau")
    assert no_feed.value.check == "signature"
    assert proves(path, identity(path, "bureau")) == "bureau"
    assert proves(path, identity(path, "bank")) == "bank"  # nobody else is touched


def test_an_old_release_is_verified_against_the_file_of_its_day(path):
    release = release_of(path)
    kept = rotate_keys(path, "bureau", NOW).kept
    verified(kept, release)
    assert kept.parent == path.parent  # so `confide model show -f` finds the releases beside it


def test_after_a_rotation_a_training_makes_a_release_that_counts(path):
    rotate_keys(path, "payments", NOW)
    outcome = train(path, "second")
    federation, _ = load_federation(path)
    release = unpack_release(outcome["release"]["bank"]["release"])
    assert release.manifest.counter == 2
    Registry(path.parent / "releases").take(release, federation, utc_now())


def test_the_old_certificate_is_refused_at_the_door_and_the_new_one_is_not(path):
    old = path.parent / "old"
    shutil.copytree(path.parent / "bureau", old)
    handshake(path, old)
    rotate_keys(path, "bureau", NOW)
    with pytest.raises(ssl.SSLError, match="certificate revoked"):
        handshake(path, old)
    handshake(path, path.parent / "bureau")
    rotate_keys(path, "bureau", NOW + timedelta(seconds=5))  # the list grows
    with pytest.raises(ssl.SSLError, match="certificate revoked"):
        handshake(path, old)


def test_the_coordinators_new_certificate_names_the_hosts_of_the_old_one(path):
    rotate_keys(path, "coordinator", NOW)
    handshake(path, path.parent / "bank")
    assert proves(path, identity(path, "coordinator")) == "coordinator"


def test_a_revoked_party_cannot_take_part(path):
    gone, header = identity(path, "ecommerce"), feed_header(path, "ecommerce")
    changed = revoke_party(path, "ecommerce", NOW)
    assert changed.certificate
    federation, _ = load_federation(path)
    assert "ecommerce" not in federation.parties
    with pytest.raises(BadPeer, match="'ecommerce' is not in the federation file"):
        proves(path, gone)
    with pytest.raises(ssl.SSLError, match="certificate revoked"):
        handshake(path, path.parent / "ecommerce")
    with pytest.raises(FeedRefused):
        takes_feed(path, header, "ecommerce")
    with pytest.raises(ReleaseRefused, match="of the parties"):
        verified(path, release_of(path))
    verified(changed.kept, release_of(path))


def test_who_cannot_be_revoked_or_rotated_is_named(path):
    for mistake, error, text in (
        (lambda: revoke_party(path, "bank", NOW), Refused, "is the builder"),
        (lambda: revoke_party(path, "nobody", NOW), NotFound, "'nobody' is no party"),
        (lambda: rotate_keys(path, "nobody", NOW), NotFound, "'nobody' is no member"),
    ):
        with pytest.raises(error, match=text):
            mistake()
    assert not list(path.parent.glob("federation.until-*"))
    shutil.rmtree(path.parent / "bureau")
    with pytest.raises(EnvironmentFault, match="the keys of bureau are not in"):
        rotate_keys(path, "bureau", NOW)


def test_without_the_authoritys_key_names_change_and_certificates_are_told_to_stay(path):
    shutil.rmtree(path.parent / "ca")
    before = (path.parent / "bureau" / "tls.crt").read_bytes()
    changed = rotate_keys(path, "bureau", NOW)
    assert not changed.certificate
    assert (path.parent / "bureau" / "tls.crt").read_bytes() == before
    assert not revoke_party(path, "bureau", NOW + timedelta(seconds=5)).certificate


def test_a_section_is_taken_out_whole_and_nothing_else():
    text = "a = 1\n\n[parties.one]\n# [no section]\nx = 1\n\n[parties.one-more]\nx = 2\n"
    assert without(text, "parties.one") == "a = 1\n\n[parties.one-more]\nx = 2\n"
    assert without(text, "parties.none") == text


def test_a_list_of_another_authority_is_not_added_to():
    ours, theirs = new_authority("ours", NOW), new_authority("theirs", NOW)
    listed = revoke(theirs, b"", [theirs.certificate], NOW)
    with pytest.raises(ValueError, match="not of this authority"):
        revoke(ours, listed, [], NOW)


def test_a_list_that_is_none_is_refused_by_name(path):
    home = path.parent / "bank"
    (home / "ca.crl").write_text("nothing")
    with pytest.raises(Refused, match=r"ca\.crl does not hold a list"):
        tls_context(home / "tls.crt", home / "tls.key", home / "ca.crt", server=True)
    with pytest.raises(ConfigError):
        load_federation(home / "ca.crl")
