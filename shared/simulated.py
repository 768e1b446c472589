"""A simulation as coordinator and simulated holders know it.

Every key of a simulation lies on one machine, made from one secret of the run: it studies an
algorithm and protects nobody. Apart from that the secure sum is the one of a federation.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any

from shared.errors import ConfigError
from shared.identity import Identity, Roster, fingerprint_of
from shared.jobs import COORDINATOR
from shared.masks import derive_key
from shared.protocols.sum_job import MIN_COHORT
from shared.sealed import Session
from shared.sections import Neural
from shared.staged import Member

#: Most holders of one secure sum: each masks its update with every other's key.
MAX_COHORT = 32
#: Fewest customers of a simulated holder.
LEAST_CUSTOMERS = 8
MAX_HOLDERS = 10_000

DESCRIBE, BEGIN, GO_ON = "query.describe", "train.begin", "train.go_on"


@dataclass(frozen=True, slots=True)
class Simulation:
    """What is simulated.

    Parameters
    ----------
    run : str
        Identifier of the run.
    folder : str
        Absolute path of the run's folder.
    table, contract : str
        Absolute path of the table, and path or name of its contract.
    holders : int
        How many holders share the table's customers.
    fraction : float
        Share of the holders that is drawn for a round, in (0, 1].
    concentration : float
        Of the symmetric Dirichlet distribution that the holders' shares of the customers are
        drawn from: small values give few large and many small holders.
    secret : str
        256 bits, hex: everybody's keys follow from it.
    neural : Neural
        How the model is trained; its seed also deals out customers and draws holders.
    """

    run: str
    folder: str
    table: str
    contract: str
    holders: int
    fraction: float
    concentration: float
    secret: str
    neural: Neural

    def __post_init__(self) -> None:
        low, high = MIN_COHORT, MAX_HOLDERS
        findings = [
            f"{name}: must be {rule}. Got {value}"
            for name, rule, value, right in (
                ("holders", f"{low} to {high}", self.holders, low <= self.holders <= high),
                ("fraction", "above 0, at most 1", self.fraction, 0.0 < self.fraction <= 1.0),
                ("concentration", "above 0", self.concentration, self.concentration > 0.0),
            )
            if not right
        ]
        if findings:
            raise ConfigError("the simulation", findings)

    @property
    def sampled(self) -> int:
        """Holders that are drawn for a round: the fraction, and three at least."""
        return max(MIN_COHORT, round(self.fraction * self.holders))

    def text(self) -> str:
        """Return it as JSON."""
        return json.dumps(asdict(self))

    @classmethod
    def from_text(cls, text: str) -> Simulation:
        """Read what `text` wrote."""
        value: dict[str, Any] = json.loads(text)
        return cls(**value | {"neural": Neural(**value["neural"])})

    def identity(self, name: str) -> Identity:
        """Return the key of a holder, or of the coordinator."""
        return _person(self.secret, name)[0]

    def member(self, name: str, cohort: Iterable[str], phase: str) -> Member:
        """Return a member of a cohort, or its coordinator, in one phase."""
        keys = {one: _person(self.secret, one)[1] for one in (*cohort, COORDINATOR)}
        roster = Roster({one: fingerprint_of(key) for one, key in keys.items()}, COORDINATOR)
        session = Session(self.run, phase, 1, "simulation")
        return Member(self.identity(name), roster, keys, session)


@lru_cache(maxsize=MAX_HOLDERS)
def _person(secret: str, name: str) -> tuple[Identity, bytes]:
    """Return somebody's key and its public half."""
    info = b"simulated/" + name.encode()
    identity = Identity(name, derive_key(bytes.fromhex(secret), salt=b"", info=info))
    return identity, identity.public_key


def holder_of(place: int) -> str:
    """Return the name of a simulated holder.

    Parameters
    ----------
    place : int
        From 0.
    """
    return f"h{place:05d}"


def draw(job: Simulation, phase: str) -> list[int]:
    """Return the places of the holders that are drawn for a phase, in the order of the draw.

    A hash of seed, phase and place orders them, so a simulation can be repeated.
    """

    def order(place: int) -> bytes:
        return hashlib.sha256(f"draw\0{job.neural.seed}\0{phase}\0{place}".encode()).digest()

    return sorted(range(job.holders), key=order)[: job.sampled]


def deal(drawn: Iterable[str]) -> list[tuple[str, ...]]:
    """Deal the holders of a round out to cohorts of at most 32 and of nearly equal size.

    Parameters
    ----------
    drawn : iterable of str
        At least 3; in the order in which they were drawn.

    Returns
    -------
    list of tuple of str
        Each sorted. No cohort has fewer than 3: two of 33 have 16 and 17.
    """
    names = list(drawn)
    count = -(-len(names) // MAX_COHORT)
    return [tuple(sorted(names[start::count])) for start in range(count)]
