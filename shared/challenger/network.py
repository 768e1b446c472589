"""A released network as people read it: what it is made of, how it is scaled, what explains it.

The weights are a file beside the manifest; here they stand by their SHA-256. How layers and inputs
are built is known to who trains: `layout` and `encoding` are kept as they were given, so that a
release of today is read by the network of tomorrow or refused by it, and never misread.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

import rfc8785

from shared.challenger.points import span
from shared.challenger.shapley import Block
from shared.errors import ConfideError, DataError
from shared.scorecard.calibration import Calibration
from shared.scorecard.reasons import Baseline
from shared.scorecard.scale import Grade, Scale

SCHEMA: Final = 1
WEIGHTS_FILE: Final = "weights.safetensors"
MAX_WEIGHTS: Final = 4 << 20
"""Longest file of weights that is read: half a million parameters."""
MAX_PARAMETERS: Final = MAX_WEIGHTS // 8

_DIGEST = re.compile(r"[0-9a-f]{64}")
_FIELDS: Final = frozenset(
    {
        "schema",
        "contract",
        "rows",
        "bad_rate",
        "layout",
        "encoding",
        "parameters",
        "width",
        "weights",
        "blocks",
        "mean_points",
        "scale",
        "calibration",
    }
)


@dataclass(frozen=True, slots=True)
class Network:
    """A network that is released.

    Every holder has all features, so any holder's points are the whole score of its customer.

    Parameters
    ----------
    contract : str
        Digest of the data contract.
    rows : int
        Customers it was trained on.
    bad_rate : float
        Share of bad customers among them.
    layout, encoding : mapping
        What the network is made of, and how features become inputs: plain JSON values.
    parameters : int
        Elements of the flat weights.
    width : int
        Inputs.
    weights : str
        SHA-256 of the file of weights, in hex.
    blocks : tuple of Block
        Inputs by reason code, and whose they are: what the reasons are shares of.
    mean_points : int
        Points of the federation's mean input: what the reasons are measured below.
    scale : Scale
    calibration : Calibration or None
        None until points and outcomes were counted.
    """

    contract: str
    rows: int
    bad_rate: float
    layout: Mapping[str, Any]
    encoding: Mapping[str, Any]
    parameters: int
    width: int
    weights: str
    blocks: tuple[Block, ...]
    mean_points: int
    scale: Scale
    calibration: Calibration | None = None

    @property
    def baseline(self) -> Baseline:
        """What reasons are measured below: the mean input, to which no block adds anything."""
        return Baseline("mean", {block.code: 0.0 for block in self.blocks})

    def baseline_points(self, owner: str) -> int:
        """Return the points of the mean input, whoever holds it."""
        del owner
        return self.mean_points

    def codes(self, owner: str) -> frozenset[str]:
        """Return the reason codes; every holder has all of them."""
        del owner
        return frozenset(block.code for block in self.blocks)

    def span(self, owner: str) -> tuple[int, int]:
        """Return the fewest and the most points; every holder gives whole scores."""
        del owner
        return span(self.scale)

    def to_mapping(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {
            "schema": SCHEMA,
            **{key: getattr(self, key) for key in ("contract", "rows", "bad_rate")},
            "layout": dict(self.layout),
            "encoding": dict(self.encoding),
            **{key: getattr(self, key) for key in ("parameters", "width", "weights")},
            "blocks": [asdict(block) for block in self.blocks],
            "mean_points": self.mean_points,
            "scale": asdict(self.scale),
            "calibration": self.calibration.to_mapping() if self.calibration else None,
        }

    @classmethod
    def from_mapping(cls, value: Any, source: str) -> Network:
        """Read the JSON form.

        Raises
        ------
        DataError
            If it is not a network of this schema, with all that is wrong with it.
        """
        try:
            network = _network(value)
            findings = _findings(network)
        except (KeyError, TypeError, ValueError, AttributeError, ConfideError) as error:
            raise DataError(source, [f"is not a network: {error}"]) from error
        if findings:
            raise DataError(source, findings)
        return network


def digest_of(raw: bytes) -> str:
    """Return the SHA-256 of a file of weights, in hex."""
    return hashlib.sha256(raw).hexdigest()


def weights_problem(network: Network, raw: bytes) -> str:
    """Say why a file of weights is not this network's, or return an empty text."""
    if not raw:
        return f"{WEIGHTS_FILE} is missing"
    if len(raw) > MAX_WEIGHTS:
        return f"{WEIGHTS_FILE} is longer than {MAX_WEIGHTS:,} bytes"
    if digest_of(raw) != network.weights:
        return f"{WEIGHTS_FILE} holds other weights than were signed"
    return ""


def _network(value: Mapping[str, Any]) -> Network:
    if value.keys() != _FIELDS or value["schema"] != SCHEMA:
        raise ValueError(f"it must have the fields of schema {SCHEMA}")
    scale = dict(value["scale"])
    grades = tuple(Grade(**grade) for grade in scale.pop("grades"))
    curve = value["calibration"]
    blocks = tuple(
        Block(str(item["holder"]), str(item["code"]), tuple(item["columns"]))
        for item in value["blocks"]
    )
    return Network(
        contract=str(value["contract"]),
        rows=_whole(value["rows"]),
        bad_rate=float(value["bad_rate"]),
        layout=_plain(value["layout"]),
        encoding=_plain(value["encoding"]),
        parameters=_whole(value["parameters"]),
        width=_whole(value["width"]),
        weights=str(value["weights"]),
        blocks=blocks,
        mean_points=_whole(value["mean_points"]),
        scale=Scale(**scale, grades=grades),
        calibration=None if curve is None else Calibration.from_mapping(curve),
    )


def _findings(network: Network) -> list[str]:
    low, high = span(network.scale)
    columns = sorted(column for block in network.blocks for column in block.columns)
    codes = [block.code for block in network.blocks]
    checks = (
        ("contract and weights: must be 64 hex digits", _digests(network)),
        ("rows: must be 1 or more", network.rows >= 1),
        ("bad_rate: must lie in [0, 1]", 0.0 <= network.bad_rate <= 1.0),
        (
            f"parameters: must be from 1 to {MAX_PARAMETERS}",
            1 <= network.parameters <= MAX_PARAMETERS,
        ),
        ("blocks: every input must stand in exactly one", columns == list(range(network.width))),
        ("blocks: no two may share a reason code", len(set(codes)) == len(codes) > 0),
        ("mean_points: must be points of the scale", low <= network.mean_points <= high),
    )
    return [finding for finding, good in checks if not good]


def _digests(network: Network) -> bool:
    return all(_DIGEST.fullmatch(text) for text in (network.contract, network.weights))


def _plain(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise TypeError("layout and encoding must be tables")
    rfc8785.dumps(value)
    return dict(value)


def _whole(value: Any) -> int:
    if type(value) is not int:
        raise TypeError("a count must be a whole number")
    return value
