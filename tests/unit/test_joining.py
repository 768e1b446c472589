"""Each party on a machine of its own: keys made there, certified elsewhere, and nothing taken on
trust."""

from __future__ import annotations

import json
import shutil
import ssl
from datetime import UTC, datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from clients.data.datasets import embedded_contract
from clients.keys import joining
from clients.keys import requests as key_requests
from clients.keys.certificates import Issued, certify, new_authority, new_key, signing_request
from clients.keys.commands import init_keys
from clients.keys.setup import init_federation
from shared.config import parse_federation
from shared.errors import ConfigError, EnvironmentFault, Refused, UsageError
from tests.unit.test_keys import shake_hands

NOW = datetime.now(UTC)
PARTIES = ("bank", "bureau", "ecommerce", "payments")


@pytest.fixture(scope="module")
def begun(tmp_path_factory):
    """Return the coordinator's folder, with a federation that has no party's keys yet."""
    folder = tmp_path_factory.mktemp("apart")
    contract = folder / "contract.toml"
    contract.write_bytes(embedded_contract("world")[1])
    init_federation(folder / "office", contract, name="tested", apart=True)
    return folder / "office"


@pytest.fixture
def office(begun, tmp_path):
    shutil.copytree(begun, tmp_path / "office")
    return tmp_path / "office"


def file_of(folder):
    return folder / "federation.toml"


def asked(tmp_path, name):
    return key_requests.ask(name, tmp_path / name / name)


def signed(office, raw, **more):
    return joining.sign(file_of(office), raw, key_requests.digest(raw), "a request", **more)


def joined(office, tmp_path):
    """Let every party in; return each one's folder, with its own copy of the federation file."""
    answers = {name: signed(office, asked(tmp_path, name))[1] for name in PARTIES}
    for name, answer in answers.items():
        shutil.copy(file_of(office), file_of(tmp_path / name))
        assert joining.install(file_of(tmp_path / name), answer, "an answer") == name
    return {name: tmp_path / name for name in PARTIES}


def test_a_federation_is_joined_without_a_private_key_on_its_way(office, tmp_path):
    with pytest.raises(ConfigError, match="fingerprint"):
        parse_federation(file_of(office).read_text(), "", {})
    places = joined(office, tmp_path)
    federation, _ = parse_federation(file_of(office).read_text(), "", {})
    assert set(federation.parties) == set(PARTIES)
    # What the coordinator has of a party is a public key, and what a party has is its own alone.
    for name, place in places.items():
        assert [one.name for one in (office / name).iterdir()] == ["node.pub"]
        private = {one.relative_to(place).as_posix() for one in place.rglob("*.key")}
        assert private == {f"{name}/{key}.key" for key in ("identity", "node", "tls")}
        assert not list(place.rglob("*.next"))
        assert {one.stat().st_mode & 0o777 for one in place.rglob("*.key")} == {0o600}
    shutil.copytree(places["bank"] / "bank", office / "bank", dirs_exist_ok=True)
    assert shake_hands(office, "relay") == "TLSv1.3"
    with pytest.raises(ssl.SSLCertVerificationError):  # a party's certificate serves nothing
        shake_hands(office, "bank", at="bank")


def test_parties_that_are_still_to_come_are_named(office, tmp_path):
    assert joining.waiting(file_of(office)) == sorted(PARTIES)
    signed(office, asked(tmp_path, "bank"))
    assert joining.waiting(file_of(office)) == ["bureau", "ecommerce", "payments"]


@pytest.mark.parametrize("told", ["0" * 64, "0" * 24])
def test_another_digest_than_the_one_read_out_signs_nothing(office, tmp_path, told):
    before = file_of(office).read_bytes()
    with pytest.raises(Refused, match="digest"):
        joining.sign(file_of(office), asked(tmp_path, "bank"), told, "a request")
    assert file_of(office).read_bytes() == before


def test_the_beginning_of_a_digest_will_do_and_a_short_one_not(office, tmp_path):
    raw = asked(tmp_path, "bank")
    digits = key_requests.digest(raw)
    spoken = " ".join(digits[at : at + 4].upper() for at in range(0, 24, 4))
    assert joining.sign(file_of(office), raw, spoken, "a request")[0] == "bank"
    with pytest.raises(UsageError, match="24"):
        joining.sign(file_of(office), raw, digits[:23], "a request")


def other(tmp_path, what):
    """Return a field of the same party's request, made with other keys."""
    return json.loads(key_requests.ask("bank", tmp_path / "other"))[what]


@pytest.mark.parametrize("what", ["csr", "identity", "node", "signature", "proof"])
def test_a_key_that_belongs_to_somebody_else_is_refused(office, tmp_path, what):
    fields = json.loads(asked(tmp_path, "bank"))
    raw = json.dumps(fields | {what: other(tmp_path, what)}).encode()
    with pytest.raises(Refused, match="a request"):
        signed(office, raw)
    signed(office, json.dumps(fields).encode())  # the control: as it was, it is taken


@pytest.mark.parametrize(
    "raw",
    [b"", b"[]", b"{}", b'{"form": 1}', b"\xff", b"[" * 5000, b'{"csr": null, "form": "x"}'],
)
def test_what_is_no_request_is_refused(office, raw):
    with pytest.raises(Refused, match="a request"):
        signed(office, raw)


def test_a_request_for_another_kind_of_key_is_refused(office, tmp_path):
    weak = ec.generate_private_key(ec.SECP224R1()).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    fields = {"form": key_requests.FORM, "member": "limits", "identity": "", "node": ""}
    fields |= {"csr": signing_request(weak, "limits").decode(), "signature": "", "proof": ""}
    with pytest.raises(Refused, match="P-256"):
        signed(office, json.dumps(fields).encode())


def test_a_stranger_and_the_coordinators_own_name_are_refused(office, tmp_path):
    with pytest.raises(ConfigError, match="elsewhere"):
        signed(office, asked(tmp_path, "elsewhere"))
    with pytest.raises(UsageError, match="apart"):
        asked(tmp_path, "coordinator")


def test_other_keys_of_a_party_need_a_word(office, tmp_path):
    signed(office, asked(tmp_path, "bank"))
    before = file_of(office).read_bytes()
    again = key_requests.ask("bank", tmp_path / "elsewhere")
    with pytest.raises(Refused, match="pins another"):
        signed(office, again)
    assert file_of(office).read_bytes() == before
    signed(office, again, replace=True)
    assert file_of(office).read_bytes() != before


def test_a_renewal_keeps_who_one_is_and_the_old_pair_until_the_new_one_is_there(office, tmp_path):
    place = joined(office, tmp_path)["bank"]
    old = {one.name: one.read_bytes() for one in (place / "bank").iterdir()}
    raw = asked(tmp_path, "bank")
    assert {name: (place / "bank" / name).read_bytes() for name in old} == old
    joining.install(file_of(place), signed(office, raw)[1], "an answer")
    new = {one.name: one.read_bytes() for one in (place / "bank").iterdir()}
    assert {name for name in old if new[name] != old[name]} == {"tls.key", "tls.crt"}
    assert file_of(office).read_bytes() == file_of(place).read_bytes()


def test_an_answer_of_another_ca_or_for_another_key_is_refused(office, tmp_path):
    places = joined(office, tmp_path)
    federation, home = file_of(places["bank"]), places["bank"] / "bank"
    raw = asked(tmp_path, "bank")
    before = (home / "tls.crt").read_bytes()
    foreign = new_authority("tested", NOW)
    key = x509.load_pem_x509_csr(json.loads(raw)["csr"].encode()).public_key()
    answer = certify(foreign, key, "bank", (), NOW) + foreign.certificate
    with pytest.raises(Refused, match="of the CA"):
        joining.install(federation, answer, "an answer")
    own = Issued((office / "coordinator/ca.crt").read_bytes(), (office / "ca/ca.key").read_bytes())
    stranger = serialization.load_pem_private_key(new_key(), password=None).public_key()
    for_another = certify(own, stranger, "bank", (), NOW) + own.certificate
    with pytest.raises(Refused, match=r"is not for .*tls\.key\.next"):
        joining.install(federation, for_another, "an answer")
    with pytest.raises(Refused, match="is not a certificate"):
        joining.install(federation, before, "an answer")
    assert (home / "tls.crt").read_bytes() == before
    joining.install(federation, signed(office, raw)[1], "an answer")  # the control


def test_an_answer_that_nobody_waits_for_is_refused(office, tmp_path):
    raw = asked(tmp_path, "bank")
    answer = signed(office, raw)[1]
    for name in PARTIES[1:]:
        signed(office, asked(tmp_path, name))
    place = tmp_path / "bank"
    shutil.copy(file_of(office), file_of(place))
    joining.install(file_of(place), answer, "an answer")
    with pytest.raises(EnvironmentFault, match="next"):
        joining.install(file_of(place), answer, "an answer")


def test_the_limit_service_on_a_machine_of_its_own_serves_under_the_name_it_is_given(
    office, tmp_path
):
    joined(office, tmp_path)
    place = tmp_path / "limits"
    answer = signed(office, asked(tmp_path, "limits"), hosts=["limits.bank.example"])[1]
    shutil.copy(file_of(office), file_of(place))
    assert joining.install(file_of(place), answer, "an answer") == "limits"
    shutil.copytree(tmp_path / "bank/bank", place / "bank")
    shake = {"at": "limits", "client_home": "bank", "ca": "bank"}
    assert shake_hands(place, "limits.bank.example", **shake) == "TLSv1.3"
    with pytest.raises(ssl.SSLCertVerificationError):
        shake_hands(place, "relay", **shake)
    with pytest.raises(UsageError, match="dials out"):
        signed(office, asked(tmp_path, "bank"), hosts=["bank.example"])


def test_making_everybodys_keys_leaves_those_of_others_alone(office, tmp_path):
    joined(office, tmp_path)
    before = file_of(office).read_bytes()
    with pytest.raises(Refused, match=r"bank.*of their own"):
        init_keys(file_of(office))
    assert file_of(office).read_bytes() == before


def test_the_commands_say_what_comes_next(office, tmp_path, confide, monkeypatch):
    monkeypatch.chdir(tmp_path)
    status, out, _ = confide("keys", "request", "bank")
    digits = out.splitlines()[1]
    assert status == 0
    assert "PRIVATE" not in (tmp_path / "bank.request").read_text()
    arguments = ("keys", "sign", "bank.request", "--digest", digits, "-f", file_of(office))
    status, out, _ = confide(*arguments)
    assert status == 0
    assert "still to come: bureau, ecommerce, payments" in out
    for name in PARTIES[1:]:
        signed(office, asked(tmp_path, name))
    shutil.copy(file_of(office), tmp_path)
    status, out, err = confide("keys", "install", "bank.crt")
    assert (status, err) == (0, "")
    assert "bank can dial out" in out
    status, out, _ = confide("keys", "show")
    assert status == 0
    assert out.count("as pinned") == 2
