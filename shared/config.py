"""The federation file: what the parties agreed on, as frozen values."""

from __future__ import annotations

import hashlib
import re
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

import rfc8785

from shared.errors import ConfigError
from shared.identity import Roster
from shared.sections import SECTIONS, Card, Limits, Member, Neural, Privacy, Protocol, Publishing
from shared.settings import Origin, Reader, overlay, setting

_HEX = frozenset("0123456789abcdef")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_RESERVED = frozenset({"coordinator", "limits", "releases", "ca"})
"""Folders beside those of the parties, and roles: a party's folder has its name."""
_FINGERPRINT_LENGTH = 64


@dataclass(frozen=True, slots=True)
class Federation:
    """A whole federation file.

    Parameters
    ----------
    name : str
        Name of the federation.
    builder : str
        The party that opens statistics and fits the card; it holds the label.
    contract : str
        Path of the data contract, relative to the federation file.
    coordinator : Member
    parties : mapping of str to Member
    ca : str
        SHA-256 of the certificate that signs everybody's TLS certificate; empty without TLS.
    protocol : Protocol
    floors : Limits
    scorecard : Card
    neural : Neural
    privacy : Privacy
    release : Publishing
    """

    name: str
    builder: str
    contract: str
    coordinator: Member
    parties: Mapping[str, Member]
    ca: str = ""
    protocol: Protocol = field(default_factory=Protocol)
    floors: Limits = field(default_factory=Limits)
    scorecard: Card = field(default_factory=Card)
    neural: Neural = field(default_factory=Neural)
    privacy: Privacy = field(default_factory=Privacy)
    release: Publishing = field(default_factory=Publishing)

    @property
    def holders(self) -> tuple[str, ...]:
        """Names of the parties in the order of every protocol."""
        return tuple(sorted(self.parties))

    def home(self, name: str) -> str:
        """Return a member's folder, relative to the federation file, where all are on one machine.

        Parameters
        ----------
        name : str
            A party, or the coordinator.
        """
        member = self.parties.get(name, self.coordinator)
        return member.home or name

    @property
    def quorum(self) -> int:
        """Signatures that a release needs."""
        return self.release.quorum or len(self.parties)

    @property
    def roster(self) -> Roster:
        """Everybody's pinned fingerprint."""
        pins = {name: member.fingerprint for name, member in self.parties.items()}
        return Roster({**pins, "coordinator": self.coordinator.fingerprint})

    def agreement(self, contract_digest: str) -> str:
        """Return the digest of all that the parties must agree on.

        Parameters
        ----------
        contract_digest : str
            Digest of the data contract.

        Returns
        -------
        str
            SHA-256 in hex. Homes are left out: where a party keeps its files is its own affair.
        """
        agreed: Any = {
            "name": self.name,
            "builder": self.builder,
            "contract": contract_digest,
            "members": dict(self.roster.fingerprints),
            "nodes": {name: member.node for name, member in self.parties.items()},
            "ca": self.ca,
            "protocol": asdict(self.protocol),
            "floors": asdict(self.floors),
            "scorecard": asdict(self.scorecard),
            "neural": asdict(self.neural),
            "privacy": asdict(self.privacy),
            "release": asdict(self.release),
        }
        return hashlib.sha256(rfc8785.dumps(agreed)).hexdigest()

    @classmethod
    def from_mapping(cls, mapping: Mapping[str, Any], source: str) -> Federation:
        """Read a parsed federation file.

        Raises
        ------
        ConfigError
            With all findings, each with its path.
        """
        reader = Reader(source)
        known = [item.name for item in fields(cls)]
        reader.unknown("", mapping, known)
        members = reader.table("parties", mapping.get("parties", {}))
        parties = {
            name: reader.read(Member, f"parties.{name}", value) for name, value in members.items()
        }
        result = cls(
            name=reader.text("name", mapping),
            builder=reader.text("builder", mapping),
            contract=reader.text("contract", mapping),
            coordinator=reader.read(Member, "coordinator", mapping.get("coordinator", {})),
            parties=parties,
            ca=str(mapping.get("ca", "")),
            protocol=reader.read(Protocol, "protocol", mapping.get("protocol", {})),
            floors=reader.read(Limits, "floors", mapping.get("floors", {})),
            scorecard=reader.read(Card, "scorecard", mapping.get("scorecard", {})),
            neural=reader.read(Neural, "neural", mapping.get("neural", {})),
            privacy=reader.read(Privacy, "privacy", mapping.get("privacy", {})),
            release=reader.read(Publishing, "release", mapping.get("release", {})),
        )
        reader.check(2 <= len(parties) <= 10, "parties", "must be 2 to 10 tables", len(parties))
        reader.check(
            result.builder in parties, "builder", "must be one of the parties", result.builder
        )
        reader.check(
            result.release.quorum <= len(parties),
            "release.quorum",
            f"must be at most the number of parties, {len(parties)}",
            result.release.quorum,
        )
        reader.check(
            not result.ca or _is_digest(result.ca), "ca", "must be 64 hex digits", result.ca
        )
        for name in parties:
            reader.check(
                bool(_NAME.fullmatch(name)) and name.lower() not in _RESERVED,
                "parties",
                "a name must be 1 to 64 letters, digits, '-' and '_', start with a letter or "
                f"digit, and not be {', '.join(sorted(_RESERVED))}",
                name,
            )
        for name, member in {**parties, "coordinator": result.coordinator}.items():
            pin, node = member.fingerprint, member.node
            reader.check(_is_digest(pin), f"{name}.fingerprint", "must be 64 hex digits", pin)
            reader.check(
                not node or _is_digest(node), f"{name}.node", "must be 64 hex digits", node
            )
        pins = [member.fingerprint for member in (*parties.values(), result.coordinator)]
        reader.check(len(set(pins)) == len(pins), "fingerprint", "must differ between members", "")
        reader.finish()
        return result


def _is_digest(text: str) -> bool:
    return len(text) == _FINGERPRINT_LENGTH and _HEX.issuperset(text)


@dataclass(frozen=True, slots=True)
class PartyFile:
    """A party's own file, `party.toml` in its home: nobody else reads it."""

    train: str = setting("train.parquet", "Table with the customers to learn from")
    test: str = setting("test.parquet", "Table with the customers to evaluate on")
    further_moments: str = setting(
        "refuse",
        "May moments over other rows or bins follow earlier ones? They differ in small groups",
        choices=("refuse", "accept"),
    )
    privacy_epsilon: float = setting(
        10.0, "Epsilon that all noisy releases together may cost this party's customers", low=0.0
    )
    privacy_delta: float = setting(
        1e-5, "Delta of that budget; below one over the customers", low=1e-12, high=0.1
    )
    audit_days: int = setting(
        90, "Days for which it can open its updates of the neural model to an auditor", low=0
    )
    key: str = setting("identity.key", "Ed25519 private key; only its owner may read the file")
    customers: str = setting(
        "", "Table with the customers of the score feed; empty: those of train and test"
    )
    consents: str = setting(
        "", "File with the ids of those who consent to it, one a line; empty: all in the table"
    )

    @classmethod
    def from_mapping(cls, mapping: Mapping[str, Any], source: str) -> PartyFile:
        """Read a parsed party file; see `Federation.from_mapping`."""
        reader = Reader(source)
        result = reader.read(cls, "", mapping)
        reader.finish()
        return result


def parse_toml(text: str, source: str) -> dict[str, Any]:
    """Parse TOML; a mistake in its syntax names the file and the line.

    Raises
    ------
    ConfigError
    """
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(source, [f"not TOML: {error}"]) from error


def parse_federation(
    text: str,
    source: str,
    environment: Mapping[str, str],
    flags: Mapping[str, Any] | None = None,
) -> tuple[Federation, dict[str, Origin]]:
    """Read the text of a federation file, with environment and flags on top.

    Parameters
    ----------
    text, source : str
        The file's text and name.
    environment : mapping of str to str
        `CONFIDE_PROTOCOL_DEADLINE_S=30` sets `protocol.deadline_s`, and so on.
    flags : mapping of str to value, optional
        Path to value.

    Returns
    -------
    federation : Federation
    origins : dict of str to str
        Where each setting's value came from.

    Raises
    ------
    ConfigError
        With all findings.
    """
    merged, origins = overlay(parse_toml(text, source), SECTIONS, environment, flags or {})
    return Federation.from_mapping(merged, source), origins
