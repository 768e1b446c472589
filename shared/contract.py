"""The data contract: which party hands in which column, and what its values may be.

A contract is read from TOML once and agreed by all parties through its digest. It says nothing
about rows; `check_columns` holds a party's raw columns against it.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import MISSING, dataclass, fields
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, cast

import rfc8785

from shared.contract_columns import Columns, check_columns, normalise_id
from shared.contract_fields import EVERY, FieldReader, Scalar, nearest
from shared.errors import ConfigError, UsageError
from shared.scorecard.summary import Summary

if TYPE_CHECKING:
    from collections.abc import Mapping

DType: TypeAlias = Literal["integer", "number", "category"]
Direction: TypeAlias = Literal["", "up", "down"]


__all__ = ["EVERY", "Columns", "Contract", "Feature", "check_columns", "normalise_id"]


#: Lawful grounds, as the General Data Protection Regulation names them (Article 6 (1) a, b, c, f).
BASES = ("consent", "contract", "legal_obligation", "legitimate_interest")


@dataclass(frozen=True, slots=True)
class Feature:
    """One column of one party.

    Parameters
    ----------
    name : str
        Name of the column in the party's file.
    owner : str
        Party that holds it, or `EVERY`: every party that the contract does not name.
    dtype : {"integer", "number", "category"}
        Kind of value.
    unit : str
        Unit for people, such as ``TWD`` or ``months``.
    low, high : float or None
        Inclusive range of the values that are neither missing nor special; None is open.
    missing : tuple of float or str
        Codes that mean *missing*, besides null and NaN.
    special : tuple of float
        Codes with a meaning of their own (``-1``: no history): they are outside the range and get
        bins of their own. A category has none: its levels already are bins.
    levels : tuple of str
        Allowed levels of a category, in the order of their codes.
    direction : {"", "up", "down"}
        "up": `default_prob` may only rise with the value; "down": only fall; "": free.
    reason : str
        Public reason code, such as ``PAY_STATUS``; several features may share one. Without one,
        the name in capitals.
    description : str
        One sentence for people.
    basis : str
        On what ground its owner may use it so: one of `BASES`; "" where the contract does not say.
    """

    name: str
    owner: str
    dtype: DType = "number"
    unit: str = ""
    low: float | None = None
    high: float | None = None
    missing: tuple[Scalar, ...] = ()
    special: tuple[float, ...] = ()
    levels: tuple[str, ...] = ()
    direction: Direction = ""
    reason: str = ""
    description: str = ""
    basis: str = ""

    def __post_init__(self) -> None:
        if not self.reason:
            reason = re.sub(r"[^A-Z0-9]+", "_", self.name.upper()).strip("_")
            object.__setattr__(self, "reason", reason)


@dataclass(frozen=True, slots=True)
class Contract:
    """What all parties agreed to hand in.

    Parameters
    ----------
    name : str
        Name of the contract.
    version : int
        Counts up from 1 with every change.
    id_column : str
        Column of the customer's id; the same in every party's file.
    label_column : str
        Column of the outcome.
    label_owner : str
        Party that holds it, or `EVERY`.
    positive : int or str
        Value of the label that means default. With 0 or 1 the other value is 1 or 0.
    features : tuple of Feature
        All columns of all parties.
    summaries : tuple of Summary
        Features that a party derives, row by row, from several of its own columns.
    """

    name: str
    version: int
    id_column: str
    label_column: str
    label_owner: str
    positive: int | str
    features: tuple[Feature, ...]
    summaries: tuple[Summary, ...] = ()

    @property
    def parties(self) -> tuple[str, ...]:
        """Names of the parties, the label's owner first, then as the features come."""
        owners = (self.label_owner, *(feature.owner for feature in self.features))
        return tuple(dict.fromkeys(owner for owner in owners if owner != EVERY))

    def unit(self, party: str) -> str:
        """Return whose columns a party holds: its own, or those of all parties without own ones."""
        return party if party in self.parties else EVERY

    def of(self, owner: str) -> tuple[Feature, ...]:
        """Return the features that `owner` holds, in contract order."""
        unit = self.unit(owner)
        return tuple(feature for feature in self.features if feature.owner == unit)

    def holds_label(self, owner: str) -> bool:
        """Return whether `owner` holds the label."""
        return self.label_owner == self.unit(owner)

    def feature(self, name: str) -> Feature:
        """Return the feature called `name`.

        Raises
        ------
        ConfigError
            If there is none; the nearest name is offered.
        """
        for feature in self.features:
            if feature.name == name:
                return feature
        near = nearest(name, [feature.name for feature in self.features])
        raise ConfigError(f"contract {self.name}", [f"no feature {name!r}{near}"])

    def digest(self) -> str:
        """Return the SHA-256, in hex, of the contract's canonical JSON (RFC 8785)."""
        return hashlib.sha256(rfc8785.dumps(cast("Any", self.to_mapping()))).hexdigest()

    def to_mapping(self) -> dict[str, object]:
        """Return the contract as the mapping that `from_mapping` reads; defaults are left out."""
        lists = {"features", "summaries"}
        mapping: dict[str, object] = {
            key.name: getattr(self, key.name) for key in fields(self) if key.name not in lists
        }
        mapping["features"] = [_mapping_of(feature) for feature in self.features]
        if self.summaries:
            mapping["summaries"] = [_mapping_of(summary) for summary in self.summaries]
        return mapping

    @classmethod
    def from_mapping(cls, mapping: Mapping[str, object], source: str) -> Contract:
        """Read a contract from parsed TOML or JSON.

        Parameters
        ----------
        mapping : mapping
            Keys as in `Contract`; ``features`` is a list of tables with keys as in `Feature`.
        source : str
            Name of the file, for messages.

        Raises
        ------
        ConfigError
            With all problems, each with its path.
        """
        reader = _Reader([])
        contract = reader.contract(mapping)
        if reader.findings:
            raise ConfigError(source, reader.findings)
        return contract


def _mapping_of(item: Feature | Summary) -> dict[str, object]:
    mapping: dict[str, object] = {}
    for key in fields(item):
        value = getattr(item, key.name)
        if key.default is MISSING or key.name == "dtype" or value != key.default:
            mapping[key.name] = list(value) if isinstance(value, tuple) else value
    return mapping


@dataclass(frozen=True, slots=True)
class _Reader(FieldReader):
    """Reads a contract and gathers what is wrong with it in `findings`."""

    def contract(self, mapping: Mapping[str, object]) -> Contract:
        self.unknown("", mapping, [key.name for key in fields(Contract)])
        positive = mapping.get("positive", 1)
        if isinstance(positive, bool) or not isinstance(positive, int | str):
            self.say("positive", "must be an integer or a text", positive)
            positive = 1
        version = mapping.get("version", 1)
        if isinstance(version, bool) or not isinstance(version, int) or version < 1:
            self.say("version", "must be an integer of at least 1", version)
            version = 1
        contract = Contract(
            name=self.text("name", mapping),
            version=version,
            id_column=self.text("id_column", mapping),
            label_column=self.text("label_column", mapping),
            label_owner=self.party("label_owner", mapping),
            positive=positive,
            features=self._features(mapping.get("features")),
            summaries=self._summaries(mapping.get("summaries", [])),
        )
        self._names(contract)
        for summary in contract.summaries:
            self._sources(contract, summary)
        return contract

    def _features(self, tables: object) -> tuple[Feature, ...]:
        if not isinstance(tables, list | tuple) or not tables:
            self.say("features", "must be a list of at least one table", tables)
            return ()
        read = []
        for index, table in enumerate(tables):
            if isinstance(table, dict):
                read.append(self._feature(f"features[{index}]", table))
            else:
                self.say(f"features[{index}]", "must be a table", table)
        return tuple(read)

    def _feature(self, path: str, table: Mapping[str, object]) -> Feature:
        name = self.text(f"{path}.name", table)
        path = f"features.{name}" if name else path
        self.unknown(f"{path}.", table, [key.name for key in fields(Feature)])
        dtype = self.choice(f"{path}.dtype", table, ("number", "integer", "category"))
        category = dtype == "category"
        feature = Feature(
            name=name,
            owner=self.party(f"{path}.owner", table),
            dtype=cast("DType", dtype),
            unit=self.text(f"{path}.unit", table, default=""),
            low=None if category else self.bound(f"{path}.low", table),
            high=None if category else self.bound(f"{path}.high", table),
            missing=self.codes(f"{path}.missing", table, text=category),
            special=() if category else self.numbers(f"{path}.special", table),
            levels=self.texts(f"{path}.levels", table),
            direction=cast(
                "Direction", self.choice(f"{path}.direction", table, ("", "up", "down"))
            ),
            reason=self.reason(f"{path}.reason", table),
            description=self.text(f"{path}.description", table, default=""),
            basis=self.choice(f"{path}.basis", table, ("", *BASES)),
        )
        self._consistent(path, feature, table)
        return feature

    def _summaries(self, tables: object) -> tuple[Summary, ...]:
        if not isinstance(tables, list | tuple):
            self.say("summaries", "must be a list of tables", tables)
            return ()
        read = []
        for index, table in enumerate(tables):
            path = f"summaries[{index}]"
            if not isinstance(table, dict):
                self.say(path, "must be a table", table)
                continue
            self.unknown(f"{path}.", table, [key.name for key in fields(Summary)])
            try:
                read.append(
                    Summary(
                        name=self.text(f"{path}.name", table),
                        kind=table.get("kind", ""),
                        features=self.texts(f"{path}.features", table),
                        relation=table.get("relation", ""),
                        other=self.text(f"{path}.other", table, default=""),
                        reason=self.reason(f"{path}.reason", table),
                    )
                )
            except UsageError as error:
                self.findings.append(f"{path}: {error.message}")
        return tuple(read)

    def _sources(self, contract: Contract, summary: Summary) -> None:
        """Check that a summary takes numbers of one party, under a new name."""
        path = f"summaries.{summary.name}"
        features = {feature.name: feature for feature in contract.features}
        strange = [name for name in summary.sources if name not in features]
        if strange:
            near = nearest(strange[0], features)
            self.say(path, f"must be derived from features of the contract{near}", strange)
            return
        owners = sorted({features[name].owner for name in summary.sources})
        if len(owners) > 1:
            self.say(path, "must be derived from columns of one party", owners)
        if any(features[name].dtype == "category" for name in summary.sources):
            self.say(path, "must be derived from numbers", list(summary.sources))
        if summary.name in features:
            self.say(path, "must have a name of its own", summary.name)

    def _consistent(self, path: str, feature: Feature, table: Mapping[str, object]) -> None:
        if feature.dtype == "category":
            for key in ("low", "high", "special", "direction"):
                if table.get(key) not in (None, "", []):
                    self.say(f"{path}.{key}", "is for numbers, not for a category", table[key])
            if not feature.levels:
                self.say(f"{path}.levels", "must list the levels of the category", [])
        elif feature.levels:
            self.say(f"{path}.levels", "is for a category only", list(feature.levels))
        both = sorted({str(code) for code in feature.missing} & set(feature.levels))
        both += sorted(str(code) for code in set(feature.missing) & set(feature.special))
        if both:
            self.say(f"{path}.missing", "must differ from special codes and levels", both)
        if feature.low is not None and feature.high is not None and feature.low > feature.high:
            self.say(f"{path}.low", f"must not be above high = {feature.high:g}", feature.low)

    def _names(self, contract: Contract) -> None:
        taken = [contract.id_column, contract.label_column]
        for name in (*taken[1:], *(feature.name for feature in contract.features)):
            if name and name in taken[:1]:
                self.say(f"features.{name}", "must not be the id column", name)
        names = [contract.label_column, *(feature.name for feature in contract.features)]
        for name in sorted({name for name in names if name and names.count(name) > 1}):
            self.say(f"features.{name}", "must be named only once in the contract", name)
