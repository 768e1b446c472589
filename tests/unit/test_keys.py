"""Keys: one command makes and pins them all; nothing that others can read is used."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from clients.keys.certificates import ca_fingerprint, issue, new_authority
from clients.keys.commands import init_keys, show_keys
from clients.keys.keyfiles import HOSTS, LIMITS
from shared.config import parse_federation
from shared.errors import DataError, Refused
from shared.identity import node_fingerprint
from tests.whole_runs import build

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("keys")
    return build(folder)


@pytest.fixture
def federation(tmp_path):
    return build(tmp_path)


def agreed(path):
    return parse_federation(path.read_text(), str(path), {})[0]


def test_every_private_key_is_for_its_owner_only(made):
    private = list(made.parent.rglob("*.key"))
    assert len(private) == 4 * 3 + 3 + 1  # identity, node and TLS; coordinator with its CA; limits
    assert {path.stat().st_mode & 0o777 for path in private} == {0o600}


def test_the_federation_file_pins_what_is_on_disk(made, capsys):
    federation = agreed(made)
    for name, member in federation.parties.items():
        assert node_fingerprint((made.parent / name / "node.pub").read_bytes()) == member.node
    assert ca_fingerprint((made.parent / "bank/ca.crt").read_bytes()) == federation.ca
    show_keys(made)
    out = capsys.readouterr().out
    assert out.count("as pinned") == 4 * 2 + 1
    assert "WRONG" not in out


def test_the_cas_key_lies_in_a_folder_of_its_own(made):
    """A folder that is given to a service holds no key but its owner's."""
    assert [path.relative_to(made.parent).as_posix() for path in made.parent.rglob("ca.key")] == [
        "ca/ca.key"
    ]
    assert [path.name for path in (made.parent / "ca").iterdir()] == ["ca.key"]


def test_node_keys_are_what_flower_reads(made):
    raw = (made.parent / "bank/node.key").read_bytes()
    key = serialization.load_ssh_private_key(raw, password=None)
    assert isinstance(key.curve, ec.SECP384R1)
    assert raw.startswith(b"-----BEGIN OPENSSH PRIVATE KEY-----")


def shake_hands(folder, host, *, at="coordinator", client_home="bank", ca="bank"):
    """Run a TLS handshake in memory, both certificates demanded; raise what either side says."""
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(folder / at / "tls.crt", folder / at / "tls.key")
    server.load_verify_locations(folder / at / "ca.crt")
    server.verify_mode = ssl.CERT_REQUIRED
    client = ssl.create_default_context(cafile=folder / ca / "ca.crt")
    client.load_cert_chain(folder / client_home / "tls.crt", folder / client_home / "tls.key")
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [
        client.wrap_bio(to_client, to_server, server_hostname=host),
        server.wrap_bio(to_server, to_client, server_side=True),
    ]
    for _ in range(10):
        for end in ends:
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue
    ends[1].getpeercert()
    return ends[0].version()


@pytest.mark.parametrize(("at", "host"), [(at, host) for at in HOSTS for host in HOSTS[at]])
def test_members_meet_over_tls_under_every_name(made, at, host):
    assert shake_hands(made.parent, host, at=at) == "TLSv1.3"


@pytest.mark.parametrize(
    ("at", "host"),
    [(LIMITS, "coordinator"), (LIMITS, "superlink"), (LIMITS, "relay"), ("coordinator", LIMITS)],
)
def test_nobody_can_take_the_place_of_another_server(made, at, host):
    with pytest.raises(ssl.SSLCertVerificationError, match=r"[Hh]ostname"):
        shake_hands(made.parent, host, at=at)


def test_a_strange_name_and_a_strange_ca_are_refused(made, federation):
    with pytest.raises(ssl.SSLCertVerificationError, match=r"[Hh]ostname"):
        shake_hands(made.parent, "elsewhere.example")
    (federation.parent / "coordinator/ca.crt").write_bytes(
        (made.parent / "coordinator/ca.crt").read_bytes()
    )
    with pytest.raises(ssl.SSLError):  # the server knows another CA than the party's
        shake_hands(federation.parent, "localhost")


def test_a_partys_certificate_cannot_serve(made):
    certificate = x509.load_pem_x509_certificate((made.parent / "bank/tls.crt").read_bytes())
    uses = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert x509.ExtendedKeyUsageOID.SERVER_AUTH not in uses
    assert x509.ExtendedKeyUsageOID.CLIENT_AUTH in uses


def test_a_second_call_keeps_what_is_there_and_makes_what_is_missing(federation):
    before = {path: path.read_bytes() for path in federation.parent.rglob("*") if path.is_file()}
    init_keys(federation)
    assert {path: path.read_bytes() for path in before} == before
    (federation.parent / "bank/node.key").unlink()
    init_keys(federation)
    changed = {path.name for path, content in before.items() if path.read_bytes() != content}
    assert changed == {"node.key", "node.pub", "federation.toml"}
    assert agreed(federation).parties["bank"].node == node_fingerprint(
        (federation.parent / "bank/node.pub").read_bytes()
    )


def test_a_new_ca_makes_every_certificate_anew_but_no_identity(federation):
    folder = federation.parent
    before, ca = (folder / "bank/tls.crt").read_bytes(), agreed(federation).ca
    identity = (folder / "bank/identity.key").read_bytes()
    (folder / "ca/ca.key").unlink()
    init_keys(federation)
    assert (folder / "bank/tls.crt").read_bytes() != before
    assert (folder / "bank/identity.key").read_bytes() == identity
    assert agreed(federation).ca != ca
    assert shake_hands(folder, "localhost") == "TLSv1.3"


def test_a_further_host_comes_into_the_coordinators_certificate(federation):
    init_keys(federation, host=["confide.example"])
    assert shake_hands(federation.parent, "confide.example") == "TLSv1.3"
    with pytest.raises(ssl.SSLCertVerificationError, match=r"[Hh]ostname"):
        shake_hands(federation.parent, "confide.example", at="limits")


def test_a_further_host_of_the_limit_service_is_its_own(federation):
    before = (federation.parent / "coordinator/tls.crt").read_bytes()
    init_keys(federation, limits_host=["limits.example"])
    assert shake_hands(federation.parent, "limits.example", at="limits") == "TLSv1.3"
    assert (federation.parent / "coordinator/tls.crt").read_bytes() == before


def test_pins_are_set_where_a_file_had_none(federation):
    text = federation.read_text()
    kept = [line for line in text.splitlines() if not line.startswith(("ca = ", "node = "))]
    federation.write_text("\n".join(kept) + "\n")
    assert agreed(federation).ca == ""
    init_keys(federation)
    assert agreed(federation).ca
    assert all(member.node for member in agreed(federation).parties.values())


@pytest.mark.parametrize("name", ["bank/identity.key", "bank/node.key", "ca/ca.key"])
def test_a_key_that_others_can_read_is_refused_by_name(federation, name):
    (federation.parent / name).chmod(0o640)
    with pytest.raises(Refused, match=name) as caught:
        init_keys(federation)
    assert "chmod 600" in caught.value.hint


def test_show_names_a_key_that_is_not_the_pinned_one(federation, capsys):
    (federation.parent / "bank/identity.key").write_text("ab" * 32)
    with pytest.raises(Refused, match="bank"):
        show_keys(federation)
    assert "WRONG" in capsys.readouterr().out


def test_what_is_no_node_key_is_named():
    with pytest.raises(DataError, match="OpenSSH"):
        node_fingerprint(b"ssh-nonsense AAAA")


def test_certificates_hold_a_little_before_now_and_a_year_at_most():
    authority = new_authority("tested", NOW)
    issued = issue(authority, "bank", (), NOW)
    certificate = x509.load_pem_x509_certificate(issued.certificate)
    assert certificate.not_valid_before_utc < NOW
    assert certificate.not_valid_after_utc - NOW <= timedelta(days=398)
    assert "PRIVATE" not in repr(issued)
