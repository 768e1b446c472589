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
from shared.groups import DEFAULT_GROUP, GROUPS
from shared.identity import Roster
from shared.settings import Origin, Reader, overlay, setting

_HEX = frozenset("0123456789abcdef")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_RESERVED = frozenset({"coordinator", "limits", "releases", "ca"})
"""Folders beside those of the parties, and roles: a party's folder has its name."""
_FINGERPRINT_LENGTH = 64


@dataclass(frozen=True, slots=True)
class Protocol:
    """How the parties talk and what they refuse."""

    alignment_group: str = setting(
        DEFAULT_GROUP, "Group in which ids are compared", choices=tuple(GROUPS)
    )
    max_ids: int = setting(5_000_000, "Largest set of ids a party may bring", low=1)
    min_common: int = setting(1000, "Fewest common customers; below, the run stops", low=100)
    sample_cap: int = setting(
        200_000, "Common customers from which on moments come from a sample", low=1000
    )
    score_openings: int = setting(
        3, "How many different cards may be opened over the same customers", low=1, high=10
    )
    two_party_scores: str = setting(
        "refuse",
        "With two holders, may the builder see the other's points of each customer?",
        choices=("refuse", "accept"),
    )
    deadline_s: int = setting(120, "Seconds to wait for a party before it counts as lost", low=1)
    workers: int = setting(1, "Processes a party uses for alignment", low=1, high=256)


@dataclass(frozen=True, slots=True)
class Limits:
    """How many people must stand behind a statistic (the floors)."""

    rows: int = setting(100, "Fewest customers in a bin and in its complement", low=2)
    share: float = setting(0.004, "The same as a share of all", low=0.0, high=0.5)
    builder_rank: float = setting(
        0.006,
        "Largest rank of the builder's columns, as a share of the customers",
        low=0.0,
        high=1.0,
    )


@dataclass(frozen=True, slots=True)
class Card:
    """How the scorecard is built."""

    thresholds: int = setting(24, "Most thresholds of one feature", low=1, high=200)
    pair_thresholds: int = setting(
        2, "Most thresholds of each feature in a pair; 0 builds no pairs", low=0, high=20
    )
    pair_levels: int = setting(
        5, "The same for a feature with few different values", low=1, high=20
    )
    sparser: bool = setting(False, "Prefer a shorter card that is nearly as good")
    pdo: float = setting(50.0, "Points to double the odds", low=1.0)
    base_score: float = setting(600.0, "Score at the base odds")
    base_odds: float = setting(20.0, "Good to bad odds at the base score", low=0.001)


@dataclass(frozen=True, slots=True)
class Neural:
    """How the neural model is trained; holders of the same features only."""

    strategy: str = setting(
        "fedavg",
        "How rounds are put together",
        choices=("fedavg", "fedprox", "fedadam"),
    )
    rounds: int = setting(12, "Rounds of federated averaging", low=1, high=1000)
    local_epochs: int = setting(2, "Passes over its customers a party makes in a round", low=1)
    batch: int = setting(256, "Customers in one step", low=1)
    hidden: int = setting(32, "Units of every hidden layer", low=2, high=1024)
    blocks: int = setting(1, "Residual blocks", low=0, high=16)
    pieces: int = setting(24, "Most pieces of the encoding of one feature", low=1, high=256)
    learning_rate: float = setting(0.002, "Length of a step", low=1e-6, high=10.0)
    decay: float = setting(0.01, "Decay of weights", low=0.0, high=10.0)
    pull: float = setting(
        0.01, "fedprox: strength of the pull back to a round's start", low=0.0, high=100.0
    )
    server_rate: float = setting(
        0.005, "fedadam: length of the coordinator's step", low=1e-6, high=10.0
    )
    clip: float = setting(
        20.0, "Largest length (L2) of a party's update; longer ones are cut", low=1e-3, high=1000.0
    )
    holdout: float = setting(
        0.1,
        "Share of a party's customers that it checks with and never trains on",
        low=0.0,
        high=0.5,
    )
    harm: float = setting(
        0.05, "A round that raises the builder's loss by more than this share is undone", low=0.0
    )
    min_parties: int = setting(
        0, "Fewest parties that a round may go on with, 3 or more; 0: every party", low=0
    )
    seed: int = setting(1, "Of the first weights and of the order of customers", low=0)


@dataclass(frozen=True, slots=True)
class Privacy:
    """Noise on what is opened; none by default."""

    moments_epsilon: float = setting(
        0.0, "Epsilon of the moments, bins and all; 0 adds no noise", low=0.0, high=100.0
    )
    training_epsilon: float = setting(
        0.0, "Epsilon of a whole training of the neural model; 0 adds no noise", low=0.0, high=100.0
    )
    delta: float = setting(
        1e-5, "Chance that epsilon does not hold; below one over the customers", low=1e-12, high=0.1
    )
    colluders: int = setting(
        0, "How many parties may pool what they know; 0: fewer than half of a sum's", low=0, high=8
    )
    clip: float = setting(
        1.0, "Largest length (L2) of one customer's gradient", low=1e-3, high=100.0
    )
    rate: float = setting(
        0.05, "Share of the customers that a step of the noisy training draws", low=1e-4, high=1.0
    )
    steps: int = setting(160, "Steps of the noisy training, all rounds together", low=1)
    step_length: float = setting(
        3.0, "Length of its first steps, in units of clip; it falls to 0", low=1e-6, high=1000.0
    )


@dataclass(frozen=True, slots=True)
class Publishing:
    """When a release or a score feed counts."""

    quorum: int = setting(
        0, "Signatures a release needs before the limit service takes it; 0: every party's", low=0
    )
    valid_days: int = setting(180, "Days a release may be served", low=1, high=730)
    feed_days: int = setting(30, "Days after which a score feed is stale", low=1, high=366)
    clock_skew_s: int = setting(
        300, "How far the clocks of two members may be apart", low=1, high=3600
    )


@dataclass(frozen=True, slots=True)
class Member:
    """A party, or the coordinator, as the federation knows it."""

    fingerprint: str = setting(doc="SHA-256 of its Ed25519 public key, hex")
    node: str = setting("", "SHA-256 of its Flower node key, hex; engine `flower` asks for it")
    home: str = setting(
        "", "Its folder, where parties run on one machine; not part of the agreement"
    )


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


SECTIONS: Mapping[str, type] = {
    "protocol": Protocol,
    "floors": Limits,
    "scorecard": Card,
    "neural": Neural,
    "privacy": Privacy,
    "release": Publishing,
}


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
