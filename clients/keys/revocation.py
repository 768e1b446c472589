"""The list of revoked certificates (RFC 5280, 5): signed by the federation's authority.

It lies beside `ca.crt` as `ca.crl`; `shared.edge.tls` refuses what stands on it, at both ends of
every connection. It counts for as long as the authority does, so that a list that nobody renewed
does not stop a federation.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from clients.keys.certificates import Issued


def revoke(authority: Issued, before: bytes, certificates: Iterable[bytes], now: datetime) -> bytes:
    """Return a list of revoked certificates, in PEM.

    Parameters
    ----------
    authority : Issued
    before : bytes
        The list so far, in PEM; empty for none.
    certificates : iterable of bytes
        In PEM.
    now : datetime
        In UTC.

    Raises
    ------
    ValueError
        If the list so far is not of this authority, or something is no certificate.
    """
    ca = x509.load_pem_x509_certificate(authority.certificate)
    key = serialization.load_pem_private_key(authority.key, password=None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise TypeError("the CA's key must be an EC key")
    entries: dict[int, datetime] = {}
    if before:
        listed = x509.load_pem_x509_crl(before)
        if not listed.is_signature_valid(key.public_key()):
            raise ValueError("the list of revoked certificates is not of this authority")
        entries = {entry.serial_number: entry.revocation_date_utc for entry in listed}
    for pem in certificates:
        entries.setdefault(x509.load_pem_x509_certificate(pem).serial_number, now)
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(ca.subject)
        .last_update(min(now, ca.not_valid_after_utc))
        .next_update(ca.not_valid_after_utc)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key()), critical=False
        )
        .add_extension(x509.CRLNumber(int(now.timestamp())), critical=False)
    )
    for serial, since in entries.items():
        revoked = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(since)
        builder = builder.add_revoked_certificate(revoked.build())
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
