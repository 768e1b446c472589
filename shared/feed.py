"""A score feed: one party's points of each consenting customer, under pseudonyms, signed.

The first line is canonical JSON: ``{"header", "public_key", "signature"}``. One line a customer
follows, sorted by pseudonym::

    ["<pseudonym>",41,[["PAY_STATUS",12],["LIMIT_USED",3]]]

that is, the party's points and the public codes of what cost the customer most, in whole points
below the card's mean. The header holds the digest of these lines, and the party signs the header
(Ed25519, purpose ``feed``). A pseudonym is an HMAC-SHA256 of the normalised id under a key that the
parties share; who reads a feed does not have it.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from typing import Any, Never

import rfc8785
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.hmac import HMAC

from shared.config import Federation
from shared.contract import normalise_id
from shared.errors import BadPeer, FeedRefused, UsageError
from shared.feed_lines import (
    LINE_BYTES,
    MAX_POINTS,
    FeedRow,
    FeedRows,
    check_lines,
    check_tails,
    line_of,
)
from shared.identity import Identity
from shared.instants import DAY, days_of, later, seconds_of, start_of
from shared.release import Manifest

__all__ = [
    "MAX_POINTS",
    "Feed",
    "FeedHeader",
    "FeedRow",
    "FeedRows",
    "open_feed",
    "open_header",
    "pack_feed",
    "pseudonym",
    "pseudonyms",
    "refuse",
]

SCHEMA = 1
_PURPOSE = "feed"
MAX_HEADER = 4096
"""Longest first line."""
HEADER_RULE = f"its first line must be its header, of at most {MAX_HEADER} bytes"

_DIGEST = re.compile(r"[0-9a-f]{64}")
_LABEL = b"confide/pseudonym/1|"


@dataclass(frozen=True, slots=True)
class FeedHeader:
    """What a feed says of itself.

    Parameters
    ----------
    federation, release : str
        Names.
    manifest : str
        Digest of the release's manifest.
    party : str
        Whose feed it is.
    as_of : str
        Day on which the party's data stood so: ``2026-03-01``.
    created, expires : str
        Instants.
    customers : int
        Lines of the body.
    body : str
        SHA-256 of all lines but the first, in hex.
    """

    federation: str
    release: str
    manifest: str
    party: str
    as_of: str
    created: str
    expires: str
    customers: int
    body: str
    schema: int = SCHEMA

    @property
    def most_bytes(self) -> int:
        """Bytes that its body has at most."""
        return self.customers * LINE_BYTES


@dataclass(frozen=True, slots=True)
class Feed:
    """A feed that passed every check."""

    header: FeedHeader
    rows: FeedRows

    def find(self, pseudonym: str) -> FeedRow | None:
        """Return a customer's row, or None."""
        return self.rows.find(pseudonym)


def pseudonym(key: bytes, customer_id: str) -> str:
    """Return the name under which a customer stands in every feed of the federation.

    Parameters
    ----------
    key : bytes
        The parties' shared key, 32 bytes.
    customer_id : str
        As the platform spells it; normalised here, as in the alignment.

    Returns
    -------
    str
        HMAC-SHA256 in hex.
    """
    return pseudonyms(key, [customer_id])[0]


def pseudonyms(key: bytes, customer_ids: Iterable[str]) -> list[str]:
    """Return `pseudonym` of many customers."""
    keyed = HMAC(key, SHA256())
    keyed.update(_LABEL)
    found = []
    for customer_id in customer_ids:
        code = keyed.copy()
        code.update(normalise_id(customer_id).encode())
        found.append(code.finalize().hex())
    return found


def refuse(check: str, why: str, *, party: str = "", hint: str = "") -> Never:
    """Refuse a feed by the name of the check that it fails.

    Raises
    ------
    FeedRefused
    """
    message = f"the feed fails its check {check!r}: {why}"
    raise FeedRefused(message, check=check, party=party, hint=hint)


def pack_feed(
    identity: Identity,
    rows: Iterable[FeedRow],
    *,
    federation: Federation,
    release: Manifest,
    as_of: str,
    created: str,
) -> bytes:
    """Write and sign a feed.

    Parameters
    ----------
    identity : Identity
        The party's.
    rows : iterable of FeedRow
        In any order.
    federation : Federation
        Its `release.feed_days` count from the as-of date.
    release : Manifest
        The release that the points belong to.
    as_of : str
        Day of the data: ``2026-03-01``.
    created : str
        The party's clock.

    Raises
    ------
    UsageError
        If a row cannot stand in a feed, or a customer stands there twice.
    """
    lines = sorted(map(line_of, rows))
    body = "".join(lines).encode()
    header = FeedHeader(
        federation=release.federation,
        release=release.name,
        manifest=release.digest(),
        party=identity.name,
        as_of=as_of,
        created=created,
        expires=later(start_of(as_of), days=federation.release.feed_days),
        customers=len(lines),
        body=hashlib.sha256(body).hexdigest(),
    )
    try:
        check_lines(body, len(lines))
    except ValueError as error:
        raise UsageError(f"the score feed cannot be written: {error}") from error
    return _signed(identity, header) + body


def _signed(identity: Identity, header: FeedHeader) -> bytes:
    signature = identity.sign(_PURPOSE, rfc8785.dumps(asdict(header)))
    return _first_line(header, identity.public_key, signature) + b"\n"


def _first_line(header: FeedHeader, key: bytes, signature: bytes) -> bytes:
    line: Any = {"header": asdict(header), "public_key": key.hex(), "signature": signature.hex()}
    return rfc8785.dumps(line)


def open_feed(
    raw: bytes,
    federation: Federation,
    *,
    now: str,
    newest: str | None = None,
    made: str | None = None,
    release: Manifest | None = None,
    party: str | None = None,
) -> Feed:
    """Check everything that makes a feed count; whatever is in doubt refuses it.

    Parameters
    ----------
    raw : bytes
        The feed.
    federation : Federation
        The reader's own: pins, life and clock skew come from here.
    now : str
        The reader's clock.
    newest : str, optional
        As-of date of this party's feed in use.
    made : str, optional
        When that feed was made: of two of one day the earlier is refused.
    release : Manifest, optional
        The release that it must belong to; without one, only its name is known.
    party : str, optional
        Whose feed it must be.

    Returns
    -------
    Feed

    Raises
    ------
    FeedRefused
        By the name of the first check that fails: `form`, `party`, `signature`, `release`,
        `clock`, `expiry`, `as-of`.
    """
    first, newline, body = raw.partition(b"\n")
    if not newline:
        refuse("form", HEADER_RULE)
    header = open_header(
        first, federation, now=now, newest=newest, made=made, release=release, party=party
    )
    if hashlib.sha256(body).hexdigest() != header.body:
        refuse("form", "its lines are not those that were signed", party=header.party)
    try:
        tails, ends = check_lines(body, header.customers)
        if release is not None:
            check_tails(tails, release.model, header.party)
    except ValueError as error:
        refuse("form", str(error), party=header.party)
    return Feed(header, FeedRows(body, ends))


def open_header(
    first: bytes,
    federation: Federation,
    *,
    now: str,
    newest: str | None = None,
    made: str | None = None,
    release: Manifest | None = None,
    party: str | None = None,
) -> FeedHeader:
    """Check all of a feed that its first line can tell, before the rest is read.

    The first line is signed and holds the digest of the rest, so who sends a feed that does not
    count has sent one line. `open_feed` checks the same and the rest.

    Parameters
    ----------
    first : bytes
        The first line, without its newline.
    federation, now, newest, made, release, party
        As of `open_feed`.

    Raises
    ------
    FeedRefused
        As `open_feed`.
    """
    if len(first) > MAX_HEADER:
        refuse("form", HEADER_RULE)
    header = _signed_header(first, federation, party)
    _check_release(header, federation, release)
    _check_dates(header, federation, now)
    _check_order(header, newest, made)
    if header.customers > federation.protocol.max_ids:
        refuse("form", f"it has {header.customers} customers; the federation allows fewer")
    return header


def _signed_header(first: bytes, federation: Federation, party: str | None) -> FeedHeader:
    """Read the first line; check whose it is, and that its party signed it."""
    try:
        value = json.loads(first)
        header = FeedHeader(**value["header"])
        key, signature = bytes.fromhex(value["public_key"]), bytes.fromhex(value["signature"])
        _check_header(header)
        # What was signed is the header's one canonical form; anything beside it would be unsigned.
        canonical = _first_line(header, key, signature)
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError):
        refuse("form", "its header is malformed")
    if canonical != first:
        refuse("form", "its header is not in canonical form (RFC 8785)")
    if header.party not in federation.parties or header.party != (party or header.party):
        refuse("party", f"{header.party!r} is not the party whose feeds are taken here")
    try:
        raw = rfc8785.dumps(asdict(header))
        federation.roster.verify(header.party, key, _PURPOSE, raw, signature)
    except BadPeer as error:
        refuse("signature", error.message, party=header.party)
    return header


def _check_header(header: FeedHeader) -> None:
    kinds = {"customers": int, "schema": int}
    for item in fields(header):
        if type(getattr(header, item.name)) is not kinds.get(item.name, str):
            raise TypeError(item.name)
    if not (_DIGEST.fullmatch(header.manifest) and _DIGEST.fullmatch(header.body)):
        raise ValueError("a digest must be 64 hex digits")
    if header.schema != SCHEMA or header.customers < 0:
        raise ValueError("schema")
    days_of(header.as_of), seconds_of(header.created), seconds_of(header.expires)


def _check_release(header: FeedHeader, federation: Federation, release: Manifest | None) -> None:
    who = header.party
    if header.federation != federation.name:
        refuse("release", f"it is of federation {header.federation!r}", party=who)
    if release is not None and (header.release, header.manifest) != (
        release.name,
        release.digest(),
    ):
        refuse("release", f"its points are of {header.release}, not of {release.name}", party=who)


def _check_dates(header: FeedHeader, federation: Federation, now: str) -> None:
    rules, who = federation.release, header.party
    latest, created = seconds_of(now) + rules.clock_skew_s, seconds_of(header.created)
    if created > latest or days_of(header.as_of) * DAY > latest:
        refuse("clock", f"it is of {header.as_of}, made {header.created}: {now} is now", party=who)
    life = seconds_of(header.expires) - days_of(header.as_of) * DAY
    if not 0 < life <= rules.feed_days * DAY:
        refuse("expiry", f"it claims more than the {rules.feed_days} days agreed", party=who)
    if now >= header.expires:
        refuse("expiry", f"it expired at {header.expires}", party=who, hint="publish a new one")


def _check_order(header: FeedHeader, newest: str | None, made: str | None) -> None:
    older = newest is not None and header.as_of < newest
    earlier = made is not None and header.as_of == newest and header.created < made
    if older or earlier:
        refuse("as-of", "the feed in use is newer", party=header.party)
