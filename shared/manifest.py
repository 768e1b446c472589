"""What the parties sign: the manifest of a release, as one sequence of bytes.

It is canonical JSON (RFC 8785): what is read must give the very same bytes again when it is
written, so nothing can be added, and nothing can be said in two ways.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Never

import rfc8785

from shared.challenger.network import Network
from shared.contract import EVERY
from shared.errors import ConfideError, ReleaseRefused, UsageError
from shared.instants import seconds_of
from shared.scorecard.card import Card

SCHEMA = 1
SCORECARD, NEURAL = "scorecard", "neural"
KINDS = (SCORECARD, NEURAL)
MAX_COUNTER = 1_000_000_000

# Where the model stands in the JSON form.
_MODEL = {SCORECARD: "card", NEURAL: "network"}
_DIGEST = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Noised:
    """What a party's privacy ledger comes to, where any of its lines has noise.

    Parameters
    ----------
    epsilon : float
        Of all its lines with noise together, at `delta`, as `shared.privacy.audit` worked it out.
    delta : float
    with_noise, without : int
        Lines of either kind, up to the release. Epsilon says nothing of what left without noise:
        the lines of the card and the feed, which leave with the release, come on top.
    """

    epsilon: float
    delta: float
    with_noise: int
    without: int

    def told(self) -> str:
        """Return a sentence that claims no more than is true."""
        return (
            f"epsilon {self.epsilon:.3g} at delta {self.delta:g} for {self.with_noise} openings "
            f"with noise; {self.without} openings before this release had none, and epsilon says "
            "nothing of them"
        )


@dataclass(frozen=True, slots=True)
class Signatory:
    """A party as the release knows it.

    Parameters
    ----------
    fingerprint : str
        Of its Ed25519 key.
    ledger_head : str
        Digest of the last line of its privacy ledger before the release.
    ledger_lines : int
        Lines up to there.
    worth : float
        Its fair share of what the card explains (`shared.scorecard.worth.Worth.shapley`); 0 of a
        network, whose parties hold the same features.
    baseline_points : int
        Mean points of its lines: stands in for it where it is missing or stale. Of a network, the
        points of the mean input.
    privacy : Noised or None
        None where no line of its ledger has noise.
    """

    fingerprint: str
    ledger_head: str
    ledger_lines: int
    worth: float
    baseline_points: int
    privacy: Noised | None = None

    def to_mapping(self) -> dict[str, Any]:
        """Return the JSON form; without noise it is as it was before there was any."""
        value = asdict(self)
        if self.privacy is None:
            del value["privacy"]
        return value


@dataclass(frozen=True, slots=True)
class Manifest:
    """All that a release says.

    Parameters
    ----------
    name : str
        `release_name` of the counter and the kind.
    counter : int
        Rises with every release of the federation, of either kind.
    created, expires : str
        Instants: ``2026-03-01T12:00:00Z``.
    parent : str
        Digest of the manifest before it; empty for the first.
    federation : str
        Name of the federation.
    agreement : str
        Digest of all that the parties agreed on (`Federation.agreement`).
    contract : str
        Digest of the data contract.
    run : str
        The run that made it.
    parties : mapping of str to Signatory
    model : Card or Network
        The scorecard, or the network without its weights.
    evaluation : mapping
        Metrics with intervals on customers that the model has not seen; under ``against`` the
        paired comparison with the champion of the day (`shared.challenger.verdict`).
    kind : {'scorecard', 'neural'}
    """

    name: str
    counter: int
    created: str
    expires: str
    parent: str
    federation: str
    agreement: str
    contract: str
    run: str
    parties: Mapping[str, Signatory]
    model: Card | Network
    evaluation: Mapping[str, Any]
    schema: int = SCHEMA
    kind: str = SCORECARD

    @property
    def card(self) -> Card:
        """The scorecard.

        Raises
        ------
        UsageError
            If the release is of a network.
        """
        if isinstance(self.model, Card):
            return self.model
        raise UsageError(f"{self.name} is a network: it has no card", hint="name a scorecard")

    def to_mapping(self) -> dict[str, Any]:
        """Return the JSON form; the model stands under ``card`` or ``network``."""
        told = {item.name: getattr(self, item.name) for item in fields(self)}
        del told["model"]
        return {
            **told,
            "parties": {name: party.to_mapping() for name, party in self.parties.items()},
            _MODEL[self.kind]: self.model.to_mapping(),
            "evaluation": dict(self.evaluation),
        }

    def to_bytes(self) -> bytes:
        """Return what is signed: canonical JSON (RFC 8785)."""
        return rfc8785.dumps(self.to_mapping())

    def digest(self) -> str:
        """Return the SHA-256 of `to_bytes` in hex: the release's identity."""
        return hashlib.sha256(self.to_bytes()).hexdigest()

    @classmethod
    def from_mapping(cls, value: Any) -> Manifest:
        """Read the JSON form.

        Raises
        ------
        ReleaseRefused
            With check `form`, if it is not exactly what `to_mapping` writes.
        """
        try:
            manifest = _manifest(value)
            problem = form_problem(manifest)
            if not problem and manifest.to_bytes() != rfc8785.dumps(value):
                problem = "it says more than a manifest says, or says it in another form"
        except ConfideError as error:
            problem = str(error)
        except KeyError as error:
            problem = f"{error.args[0]} is missing"
        except (TypeError, ValueError, ArithmeticError, AttributeError, RecursionError) as error:
            problem = str(error)
        if problem:
            refuse("form", problem)
        return manifest


def release_name(counter: int, kind: str = SCORECARD) -> str:
    """Return the name of a release: ``scorecard-0001``, ``neural-0002``."""
    return f"{kind}-{counter:04d}"


def refuse(check: str, why: str, *, hint: str = "", party: str = "") -> Never:
    """Refuse a release by the name of the check that it fails.

    Raises
    ------
    ReleaseRefused
    """
    message = f"the release fails its check {check!r}: {why}"
    raise ReleaseRefused(message, check=check, hint=hint, party=party)


def _manifest(value: Mapping[str, Any]) -> Manifest:
    texts = ("name", "created", "expires", "parent", "federation", "agreement", "contract", "run")
    return Manifest(
        **{key: _text(key, value[key]) for key in (*texts, "kind")},
        counter=_whole("counter", value["counter"]),
        schema=_whole("schema", value["schema"]),
        parties={name: _signatory(item) for name, item in value["parties"].items()},
        model=_model(value),
        evaluation=dict(value["evaluation"]),
    )


def _model(value: Mapping[str, Any]) -> Card | Network:
    if value["kind"] == NEURAL:
        return Network.from_mapping(value["network"], "network")
    return Card.from_mapping(value["card"], "card")


def _signatory(value: Mapping[str, Any]) -> Signatory:
    return Signatory(
        fingerprint=_text("fingerprint", value["fingerprint"]),
        ledger_head=_text("ledger_head", value["ledger_head"]),
        ledger_lines=_whole("ledger_lines", value["ledger_lines"]),
        worth=float(value["worth"]),
        baseline_points=_whole("baseline_points", value["baseline_points"]),
        privacy=noised_from(value["privacy"]) if "privacy" in value else None,
    )


def noised_from(value: Any) -> Noised:
    """Read what a ledger comes to.

    Raises
    ------
    KeyError, TypeError, ValueError
        If it is malformed.
    """
    noised = Noised(
        float(value["epsilon"]),
        float(value["delta"]),
        _whole("with_noise", value["with_noise"]),
        _whole("without", value["without"]),
    )
    if len(value) != len(fields(Noised)) or not (
        0 <= noised.epsilon < float("inf") and 0 < noised.delta < 1
    ):
        raise ValueError("privacy: epsilon must be finite and delta in (0, 1)")
    if noised.with_noise < 1 or noised.without < 0:
        raise ValueError("privacy: one line with noise or more")
    return noised


def form_problem(manifest: Manifest) -> str:
    """Say what is wrong with a manifest by itself, or return an empty text."""
    hexes = [manifest.agreement, manifest.contract, *([manifest.parent] if manifest.parent else [])]
    for party in manifest.parties.values():
        hexes += [party.fingerprint, party.ledger_head]
    model = {SCORECARD: Card, NEURAL: Network}.get(manifest.kind)
    if manifest.schema != SCHEMA or model is None or not isinstance(manifest.model, model):
        return f"must be a {' or a '.join(KINDS)} model of schema {SCHEMA}"
    named = release_name(manifest.counter, manifest.kind)
    if not 1 <= manifest.counter <= MAX_COUNTER or manifest.name != named:
        return "its name must be that of its counter, from 1 on"
    if not all(_DIGEST.fullmatch(text) for text in hexes):
        return "a digest must be 64 hex digits"
    if not manifest.run or not manifest.federation:
        return "it must name its run and its federation"
    try:
        seconds_of(manifest.created), seconds_of(manifest.expires)
    except ValueError as error:
        return str(error)
    return _model_problem(manifest)


def _model_problem(manifest: Manifest) -> str:
    model, what = manifest.model, _MODEL[manifest.kind]
    if model.contract != manifest.contract:
        return f"its {what} is of another contract"
    if model.calibration is None:
        return f"its {what} has no calibration"
    owners = {line.owner for line in model.lines} if isinstance(model, Card) else set()
    if not owners <= {*manifest.parties, EVERY}:
        return "a line of its card has an owner who is no party"
    for name, party in manifest.parties.items():
        if party.baseline_points != model.baseline_points(name):
            return f"the baseline of {name} is not the mean of its {what}"
    return ""


def _text(key: str, value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{key}: must be a text")
    return value


def _whole(key: str, value: Any) -> int:
    if type(value) is not int:
        raise TypeError(f"{key}: must be a whole number")
    return value
