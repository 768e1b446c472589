"""TLS between members: version 1.3, and certificates of the federation's CA at both ends."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.hashes import SHA256

from shared.edge.files import refuse_open
from shared.errors import EnvironmentFault, Refused

REVOKED = "ca.crl"
"""The authority's list of revoked certificates: beside its certificate, where there is one."""


def read_certificate(path: Path) -> x509.Certificate:
    """Read a certificate.

    Raises
    ------
    EnvironmentFault
        If the file cannot be read.
    Refused
        If it holds no certificate.
    """
    try:
        return x509.load_pem_x509_certificate(path.read_bytes())
    except OSError as error:
        raise EnvironmentFault(f"cannot read {path}: {error.strerror}") from error
    except ValueError as error:
        raise Refused(f"{path} does not hold a certificate") from error


def pin_of(certificate: x509.Certificate) -> str:
    """Return the SHA-256 of a certificate, in hex: what the federation file pins of the CA's."""
    return certificate.fingerprint(SHA256()).hex()


def tls_context(
    certificate: Path, key: Path, authority: Path, *, server: bool, ca: str = ""
) -> ssl.SSLContext:
    """Return a TLS 1.3 context that shows a certificate of the federation and asks for one.

    Parameters
    ----------
    certificate, key : Path
        The own certificate and its private key.
    authority : Path
        Certificate of the federation's CA.
    server : bool
        Whether this side is dialled.
    ca : str
        SHA-256 of the CA's certificate as the federation file pins it, hex; empty checks nothing.

    Raises
    ------
    EnvironmentFault
        If a file cannot be read.
    Refused
        If the key can be read by others, the CA is not the pinned one, the files do not belong
        together, or the certificate has expired: the other side would refuse it with less to say;
        or the list of revoked certificates beside the authority's is none.
    """
    refuse_open(key)
    own, issuer = read_certificate(certificate), read_certificate(authority)
    if ca and pin_of(issuer) != ca:
        raise Refused(f"{authority} is not the CA that the federation file pins")
    try:
        own.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature) as error:
        raise Refused(
            f"{certificate} is not signed by the CA in {authority}",
            hint="get a certificate of the federation's CA",
        ) from error
    if not own.not_valid_before_utc <= datetime.now(UTC) <= own.not_valid_after_utc:
        raise Refused(f"{certificate} is not valid today", hint="get a new one, or set the clock")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER if server else ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.verify_mode = ssl.CERT_REQUIRED
    _refuse_revoked(context, authority.with_name(REVOKED))
    try:
        context.load_verify_locations(authority)
        context.load_cert_chain(certificate, key)
    except ssl.SSLError as error:
        raise Refused(f"{key} is not the key of {certificate}") from error
    return context


def _refuse_revoked(context: ssl.SSLContext, listed: Path) -> None:
    """Let a context refuse what stands on the authority's list, where there is one."""
    if not listed.exists():
        return
    try:
        context.load_verify_locations(listed)
    except (ssl.SSLError, OSError) as error:
        raise Refused(
            f"{listed} does not hold a list of revoked certificates",
            hint="fetch it from the coordinator",
        ) from error
    context.verify_flags |= ssl.VERIFY_CRL_CHECK_LEAF
