"""The portable credit record: how a line was repaid, signed by the lender, carried by the customer.

It states months, the share paid on time and the highest use of the limit, and nothing else: no
score, no income, no reason. A month's use is measured against the highest limit of that month and
the three before it, so that a cut, which may have come from the lender's own lack of capital, never
makes a careful customer look exhausted. Canonical JSON (RFC 8785), signed Ed25519.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import date
from decimal import Decimal
from typing import Any, Final, Self

import rfc8785

from shared.errors import BadPeer, DataError
from shared.identity import Identity, Roster

PURPOSE: Final = "credit-record"
FORM: Final = 1
_LONGEST: Final = 1200
_BYTES: Final = 4096
_MALFORMED: Final = (
    ValueError,
    KeyError,
    TypeError,
    AttributeError,
    RecursionError,
    DataError,
)
_REMEMBERED: Final = 4  # months: a limit counts for the month and about 90 days after


@dataclass(frozen=True, slots=True)
class Month:
    """One month of a line.

    Parameters
    ----------
    first : date
        The month's first day.
    due : bool
        Something fell due.
    on_time : bool
        And all of it was paid by its day; True where nothing was due.
    peak_drawn_minor, limit_minor : int
        The most owed, and the highest limit, in that month.
    """

    first: date
    due: bool
    on_time: bool
    peak_drawn_minor: int
    limit_minor: int


@dataclass(frozen=True, slots=True)
class CreditRecord:
    """What the customer carries.

    Parameters
    ----------
    issuer : str
        Name of the signer in the federation file.
    subject : str
        A reference that the customer chose to be known by at the reader; no pseudonym of ours.
    product, currency : str
    first_month, last_month : str
        ``YYYY-MM``.
    months, months_due, months_on_time : int
    on_time_rate : str
        Share of the months with a due date, four decimals, rounded down; empty where none was due.
    peak_utilisation : str
        Four decimals, rounded up.
    issued, expires : str
        ``YYYY-MM-DD``; from the latter day on it is out of date.
    form : int
    """

    issuer: str
    subject: str
    product: str
    currency: str
    first_month: str
    last_month: str
    months: int
    months_due: int
    months_on_time: int
    on_time_rate: str
    peak_utilisation: str
    issued: str
    expires: str
    form: int = FORM

    def to_bytes(self) -> bytes:
        """Return canonical JSON, what is signed."""
        return rfc8785.dumps(asdict(self))

    @classmethod
    def from_mapping(cls, mapping: Mapping[str, Any]) -> Self:
        """Read what `to_bytes` wrote.

        Raises
        ------
        DataError
            A key is missing, unknown or of the wrong type, or the figures contradict each other.
        """
        expected = {item.name: item.type for item in fields(cls)}
        findings = [f"{key}: missing" for key in sorted(expected.keys() - mapping.keys())]
        findings += [f"{key}: unknown" for key in sorted(mapping.keys() - expected.keys())]
        for key in expected.keys() & mapping.keys():
            kind = int if expected[key] == "int" else str
            if type(mapping[key]) is not kind:
                findings.append(f"{key}: must be a {'whole number' if kind is int else 'text'}")
        if findings:
            raise DataError("credit record", findings)
        record = cls(**mapping)
        if record.form != FORM:
            raise DataError("credit record", [f"form: must be {FORM}"])
        return record


@dataclass(frozen=True, slots=True)
class SignedRecord:
    """A record with the signature of its issuer.

    Parameters
    ----------
    record : CreditRecord
    public_key : bytes
        Raw Ed25519 key; it counts only if it hashes to the issuer's pin.
    signature : bytes
    """

    record: CreditRecord
    public_key: bytes
    signature: bytes

    def to_bytes(self) -> bytes:
        """Return canonical JSON, the file that the customer carries."""
        return rfc8785.dumps(
            {
                "record": asdict(self.record),
                "public_key": self.public_key.hex(),
                "signature": self.signature.hex(),
            }
        )


def build_record(
    months: Sequence[Month],
    *,
    issuer: str,
    subject: str,
    product: str,
    currency: str,
    issued: date,
    expires: date,
) -> CreditRecord:
    """Sum up a line's months.

    Parameters
    ----------
    months : sequence of Month
        Following each other without a gap.
    issuer, subject, product, currency
        See `CreditRecord`.
    issued, expires : date

    Raises
    ------
    DataError
        If there are none or too many months, one is missing or doubled, or an amount is negative.
    """
    findings = []
    if not 1 <= len(months) <= _LONGEST:
        findings.append(f"months: must be 1 to {_LONGEST}")
    ordinals = [month.first.year * 12 + month.first.month for month in months]
    if ordinals and ordinals != list(range(ordinals[0], ordinals[0] + len(ordinals))):
        findings.append("months: must follow each other without a gap")
    if any(min(month.peak_drawn_minor, month.limit_minor) < 0 for month in months):
        findings.append("months: an amount must be 0 or more")
    if issued >= expires:
        findings.append("expires: must be after the day of issue")
    if findings:
        raise DataError("credit record", findings)
    due = [month for month in months if month.due]
    on_time = sum(month.on_time for month in due)
    return CreditRecord(
        issuer=issuer,
        subject=subject,
        product=product,
        currency=currency,
        first_month=f"{months[0].first:%Y-%m}",
        last_month=f"{months[-1].first:%Y-%m}",
        months=len(months),
        months_due=len(due),
        months_on_time=on_time,
        on_time_rate=_four(on_time * 10_000 // len(due)) if due else "",
        peak_utilisation=_four(_peak(months)),
        issued=issued.isoformat(),
        expires=expires.isoformat(),
    )


def sign_record(identity: Identity, record: CreditRecord) -> SignedRecord:
    """Sign a record.

    Raises
    ------
    DataError
        If the record names another issuer.
    """
    if record.issuer != identity.name:
        raise DataError("credit record", [f"issuer: must be {identity.name!r}, who signs"])
    signature = identity.sign(PURPOSE, record.to_bytes())
    return SignedRecord(record, identity.public_key, signature)


def verify_record(raw: bytes, roster: Roster, today: date) -> CreditRecord:
    """Read a record that somebody brings, and check who signed it and whether it is in date.

    Parameters
    ----------
    raw : bytes
        What `SignedRecord.to_bytes` wrote.
    roster : Roster
        Pins the issuers that the reader trusts.
    today : date

    Raises
    ------
    BadPeer
        If it is malformed, not in canonical form, by an unknown issuer, changed, or out of date.
    """
    signed = _parse(raw)
    record = signed.record
    roster.verify(record.issuer, signed.public_key, PURPOSE, record.to_bytes(), signed.signature)
    if not record.issued <= today.isoformat() < record.expires:
        raise BadPeer(f"the credit record holds from {record.issued} until {record.expires}")
    return record


def _parse(raw: bytes) -> SignedRecord:
    if len(raw) > _BYTES:
        raise BadPeer(f"the credit record is longer than {_BYTES} bytes")
    try:
        value = json.loads(raw)
        signed = SignedRecord(
            CreditRecord.from_mapping(value["record"]),
            bytes.fromhex(value["public_key"]),
            bytes.fromhex(value["signature"]),
        )
        canonical = signed.to_bytes() == raw
    except _MALFORMED as error:
        raise BadPeer("the credit record is malformed") from error
    if not canonical:
        raise BadPeer("the credit record is not in canonical form")
    return signed


def _peak(months: Sequence[Month]) -> int:
    """Return the highest use in ten-thousandths; any debt without a limit is all of it."""
    highest = 0
    for at, month in enumerate(months):
        limit = max(one.limit_minor for one in months[max(0, at - _REMEMBERED + 1) : at + 1])
        owed = month.peak_drawn_minor
        used = -(-owed * 10_000 // limit) if limit else 10_000 * (owed > 0)
        highest = max(highest, used)
    return highest


def _four(ten_thousandths: int) -> str:
    return str(Decimal(ten_thousandths).scaleb(-4))
