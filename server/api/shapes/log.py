"""What the decision log gives out: JSON that proves itself, in canonical form (RFC 8785)."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$", description="In hex")]


class _Exact(BaseModel):
    model_config = ConfigDict(extra="forbid")


class SignedHead(_Exact):
    """How many leaves there were, and their root, under the operator's signature."""

    kind: Literal["confide/log-head/1"]
    log: Annotated[Digest, Field(description="Fingerprint of the log key: pin it, never take it")]
    size: Annotated[int, Field(ge=0, description="Leaves")]
    root: Digest
    time: Annotated[str, Field(pattern=r"^[0-9-]{10}T[0-9:]{8}Z$")]
    public_key: Digest
    signature: Annotated[str, Field(pattern=r"^[0-9a-f]{128}$")]


class DecisionHeader(_Exact):
    """What of a decision the leaf is the hash of."""

    id: str
    chain: str
    number: Annotated[int, Field(ge=1)]
    purpose: str
    occasion: str
    policy_ref: str
    model_ref: str
    pack_ref: str
    commitment: Annotated[Digest, Field(description="HMAC-SHA256 of the record under its salt")]
    prev_hash: Annotated[Digest, Field(description="Leaf of the decision before it in its chain")]
    decided_at: str


class Opening(_Exact):
    """Salt and record of a decision."""

    salt: Digest
    record: dict[str, Any]


class LogDecision(_Exact):
    """A decision, and the path from its leaf to a signed root."""

    kind: Literal["confide/log-decision/2"]
    index: Annotated[int, Field(ge=0)]
    leaf: Digest
    header: DecisionHeader
    opening: Annotated[Opening | None, Field(description="null once the salt was destroyed")]
    path: list[Digest]
    head: SignedHead


class LogRange(_Exact):
    """All leaves of a range: none can be left out, moved or added."""

    kind: Literal["confide/log-range/2"]
    first: Annotated[int, Field(ge=0)]
    leaves: list[Digest]
    headers: list[DecisionHeader] | None
    openings: list[Opening | None] | None
    beside: list[Digest]
    head: SignedHead


class LogConsistency(_Exact):
    """That one head extends another."""

    kind: Literal["confide/log-consistency/1"]
    old: SignedHead
    new: SignedHead
    path: list[Digest]
