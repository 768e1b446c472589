"""The federation's own certificate authority: it signs the TLS certificate of every member.

Nothing here needs the public web's authorities: members trust this one CA, whose certificate the
federation file pins. Keys are EC P-256; validity is given by the caller's clock.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from shared.edge.tls import pin_of

_CA_YEARS = 5
# The longest that browsers accept of a server's certificate (CA/Browser Forum, ballot SC31).
_LEAF_DAYS = 397
# Clocks differ: a certificate of this very second must hold at a member who is a little behind.
_BEFORE = timedelta(minutes=10)


@dataclass(frozen=True, slots=True)
class Issued:
    """A certificate with its private key, both in PEM. The key is kept out of `repr`."""

    certificate: bytes
    key: bytes

    def __repr__(self) -> str:
        return f"Issued({ca_fingerprint(self.certificate)[:12]})"


def ca_fingerprint(pem: bytes) -> str:
    """Return the SHA-256 of a certificate in DER, in hex: what the federation file pins.

    Raises
    ------
    ValueError
        If it is no certificate.
    """
    return pin_of(x509.load_pem_x509_certificate(pem))


def new_authority(federation: str, now: datetime) -> Issued:
    """Make the certificate authority of a federation.

    Parameters
    ----------
    federation : str
        Its name; shown in the certificate.
    now : datetime
        In UTC.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    subject = _name(f"confide {federation}"[:64])
    until = now + timedelta(days=365 * _CA_YEARS)
    builder = _builder(subject, subject, key.public_key(), now, until)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    builder = builder.add_extension(_usage(signs_certificates=True), critical=True)
    return Issued(_signed(builder, key), _private(key))


def issue(authority: Issued, name: str, hosts: Iterable[str], now: datetime) -> Issued:
    """Make a member's key and certificate.

    Parameters
    ----------
    authority : Issued
    name : str
        The member.
    hosts : iterable of str
        Names and addresses it serves under; none for a member that only dials out.
    now : datetime
        In UTC.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    return Issued(certify(authority, key.public_key(), name, hosts, now), _private(key))


def certify(
    authority: Issued,
    public: ec.EllipticCurvePublicKey,
    name: str,
    hosts: Iterable[str],
    now: datetime,
) -> bytes:
    """Make a member's certificate for a key that the member keeps; parameters as `issue`.

    Returns
    -------
    bytes
        The certificate, PEM.
    """
    ca = x509.load_pem_x509_certificate(authority.certificate)
    ca_key = serialization.load_pem_private_key(authority.key, password=None)
    if not isinstance(ca_key, ec.EllipticCurvePrivateKey):
        raise TypeError("the CA's key must be an EC key")
    hosts = tuple(hosts)
    builder = _builder(_name(name), ca.subject, public, now, now + timedelta(_LEAF_DAYS))
    uses = [ExtendedKeyUsageOID.CLIENT_AUTH]
    if hosts:
        uses.append(ExtendedKeyUsageOID.SERVER_AUTH)
    names = x509.SubjectAlternativeName([_host(host) for host in hosts or (name,)])
    builder = builder.add_extension(names, critical=False)
    builder = builder.add_extension(x509.ExtendedKeyUsage(uses), critical=False)
    builder = builder.add_extension(
        x509.BasicConstraints(ca=False, path_length=None), critical=True
    )
    builder = builder.add_extension(_usage(signs_certificates=False), critical=True)
    issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key())
    return _signed(builder.add_extension(issuer, critical=False), ca_key)


def new_key() -> bytes:
    """Return a fresh private key for TLS, PEM."""
    return _private(ec.generate_private_key(ec.SECP256R1()))


def signing_request(key: bytes, name: str) -> bytes:
    """Ask for a certificate for a key, without showing it (PKCS #10, RFC 2986).

    Parameters
    ----------
    key : bytes
        Private key, PEM.
    name : str
        The member.

    Returns
    -------
    bytes
        PEM. It names the member and no host: who signs says under which names a member serves.
    """
    private = _loaded(key)
    request = x509.CertificateSigningRequestBuilder().subject_name(_name(name))
    return request.sign(private, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def requested_key(request: bytes, name: str) -> ec.EllipticCurvePublicKey:
    """Return the public key of a signing request, once it is certain that the member has the key.

    Raises
    ------
    ValueError
        If it is no signing request, not of this member, not signed with its own key, or of
        another kind of key than P-256.
    """
    csr = x509.load_pem_x509_csr(request)
    public = csr.public_key()
    if csr.subject != _name(name):
        raise ValueError("the signing request is for another name")
    if not isinstance(public, ec.EllipticCurvePublicKey) or public.curve.name != "secp256r1":
        raise ValueError("the signing request's key is not on the curve P-256")
    if not csr.is_signature_valid:
        raise ValueError("the signing request is not signed with its own key")
    return public


def public_half(key: bytes) -> bytes:
    """Return the public half of a private key, DER: what a certificate for it holds."""
    return (
        _loaded(key)
        .public_key()
        .public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    )


def _loaded(key: bytes) -> ec.EllipticCurvePrivateKey:
    private = serialization.load_pem_private_key(key, password=None)
    if not isinstance(private, ec.EllipticCurvePrivateKey):
        raise ValueError("the key is not an EC key")  # noqa: TRY004 - a file's content
    return private


def _private(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _host(text: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(text))
    except ValueError:
        return x509.DNSName(text)


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    public: ec.EllipticCurvePublicKey,
    now: datetime,
    until: datetime,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _BEFORE)
        .not_valid_after(until)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _signed(builder: x509.CertificateBuilder, signer: ec.EllipticCurvePrivateKey) -> bytes:
    return builder.sign(signer, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
