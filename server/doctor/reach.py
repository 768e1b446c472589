"""The others: whether they answer, with which certificate, and what their clocks say."""

from __future__ import annotations

import http.client
import ssl
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Final

from server.doctor.findings import Finding, failed, or_well, well
from shared.edge.tls import tls_context
from shared.errors import ConfideError

_ANSWER_S: Final = 10.0


@dataclass(frozen=True, slots=True)
class Answer:
    """What an address has answered.

    Parameters
    ----------
    name : str
        Of the service.
    seconds : float
        Its clock, since 1970; 0 if it told none.
    local : float
        This machine's, at that moment.
    """

    name: str
    seconds: float
    local: float


def reach(
    name: str, address: str, home: Path, *, ca: str = ""
) -> tuple[Answer | None, list[Finding]]:
    """Ask a service of the federation whether it is there.

    Parameters
    ----------
    name : str
        What it is: for the finding.
    address : str
        `HOST:PORT`.
    home : Path
        Of the member that asks: with `ca.crt`, `tls.crt` and `tls.key`.
    ca : str
        The pinned authority.
    """
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit():
        said = f"{address!r}, of the {name}, is no address"
        return None, [failed("reach", said, "name HOST:PORT")]
    files = home / "tls.crt", home / "tls.key", home / "ca.crt"
    try:
        context = tls_context(*files, server=False, ca=ca)
    except ConfideError as error:
        return None, [failed("reach", error.message, error.hint or "mend the file")]
    try:
        answer = _ask(name, host.strip("[]"), int(port), context)
    except ssl.SSLCertVerificationError as error:
        said = f"the certificate of the {name} at {address} does not hold: {error.verify_message}"
        return None, [failed("reach", said, "is it this federation's, and for this host?")]
    except ssl.SSLError as error:
        said = f"the {name} at {address} refuses this certificate: {error.reason or error}"
        return None, [failed("reach", said, f"is {files[0]} of its authority, and not revoked?")]
    except (OSError, http.client.HTTPException) as error:
        why = getattr(error, "strerror", None) or type(error).__name__
        said = f"the {name} at {address} does not answer: {why}"
        return None, [failed("reach", said, "start it, or open the way to it")]
    return answer, [well("reach", f"the {name} answers at {address}")]


def _ask(name: str, host: str, port: int, context: ssl.SSLContext) -> Answer:
    made = http.client.HTTPSConnection(host, port, context=context, timeout=_ANSWER_S)
    with closing(made):
        made.request("GET", "/healthz" if name == "limit service" else "/health")
        got = made.getresponse()
        local = time.time()
        got.read(4096)
        date = got.getheader("Date")
    seconds = parsedate_to_datetime(date).timestamp() if date else 0.0
    return Answer(name, seconds, local)


def clocks(answers: list[Answer], allowed: float) -> list[Finding]:
    """Check this machine's clock against those of the others.

    Parameters
    ----------
    answers : list of Answer
    allowed : float
        Seconds that two clocks may be apart.
    """
    told = [answer for answer in answers if answer.seconds]
    found = list(_apart(told, allowed))
    if not told:
        return [well("clock", "nobody was asked: name --superlink, --relay or --limits")]
    shown = ", ".join(f"{one.name} {one.local - one.seconds:+.0f} s" for one in told)
    return or_well("clock", found, f"against the others: {shown}")


def _apart(answers: list[Answer], allowed: float) -> Iterator[Finding]:
    for answer in answers:
        apart = answer.local - answer.seconds
        if abs(apart) > allowed:
            ahead = "ahead of" if apart > 0 else "behind"
            said = f"this clock is {abs(apart):.0f} s {ahead} that of the {answer.name}"
            yield failed("clock", said, "let both follow a time server (chrony, systemd-timesyncd)")
