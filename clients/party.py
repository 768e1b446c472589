"""A party in one run: its federation file, contract, identity, folder, and its own tables."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from clients.holdings import load_contract, load_holding
from clients.store import Store
from shared.config import Federation, PartyFile, parse_federation, parse_toml
from shared.contract import Columns, Contract
from shared.edge.clock import utc_now
from shared.edge.files import load_identity, read_text
from shared.errors import ConfigError, DataError
from shared.identity import Identity
from shared.shape import Shape


@dataclass(frozen=True)
class Party:
    """Everything a phase needs of its own party.

    Parameters
    ----------
    name : str
    federation : Federation
    contract : Contract
    settings : PartyFile
    store : Store
    """

    name: str
    federation: Federation
    contract: Contract
    settings: PartyFile
    store: Store

    @classmethod
    def load(cls, federation_path: Path, name: str, at: str = "") -> Party:
        """Read the federation file, the contract and the party's own file.

        Parameters
        ----------
        federation_path : Path
        name : str
        at : str
            The instant at which its clock stands, in a simulation; by default it goes.

        Raises
        ------
        EnvironmentFault
            If a file is not there.
        ConfigError
            If one is wrong, or names no such party.
        """
        text = read_text(federation_path)
        federation, _ = parse_federation(text, str(federation_path), os.environ)
        if name not in federation.parties:
            raise ConfigError(str(federation_path), [f"parties.{name}: there is no such party"])
        base = federation_path.parent
        home = base / federation.home(name)
        own = home / "party.toml"
        settings = PartyFile.from_mapping(parse_toml(read_text(own), str(own)), str(own))
        contract = load_contract(base / federation.contract)
        if not contract.holds_label(federation.builder):
            raise ConfigError(
                str(federation_path),
                [f"builder: must hold {contract.label_column}. Got {federation.builder!r}"],
            )
        clock = (lambda: at) if at else utc_now
        return cls(name, federation, contract, settings, Store(home, clock))

    @property
    def is_builder(self) -> bool:
        """Whether this party opens statistics and fits the card."""
        return self.name == self.federation.builder

    @cached_property
    def shape(self) -> Shape:
        """Who holds which rows and columns; see `shared.shape.Shape.of` for what is refused."""
        return Shape.of(self.contract, self.federation.holders, self.federation.builder)

    @property
    def releases(self) -> Path:
        """Folder of the releases that this party signed."""
        return self.store.home / "releases"

    @cached_property
    def identity(self) -> Identity:
        """The party's signing key.

        Raises
        ------
        Refused
            If others may read the key file, or the key is not the one the federation pins.
        """
        pin = self.federation.parties[self.name].fingerprint
        return load_identity(self.store.home / self.settings.key, self.name, pin)

    @cached_property
    def train(self) -> Columns:
        """The customers to learn from, checked against the contract."""
        return self._table(self.settings.train, train=True)

    @cached_property
    def test(self) -> Columns:
        """The customers to evaluate on, checked against the contract."""
        return self._table(self.settings.test, train=False)

    def check_split(self) -> None:
        """Refuse a customer to learn from who is also one to evaluate on.

        Raises
        ------
        DataError
            With the number of such customers.
        """
        both = len(set(self.train.ids) & set(self.test.ids))
        if both:
            raise DataError(
                self.settings.test,
                [f"{both} customers are also in {self.settings.train}"],
                hint="split the customers, for example with `confide data split`",
            )

    def _table(self, name: str, *, train: bool) -> Columns:
        # A bank may have one value, or one class, of what others have more.
        bank = self.name in self.shape.banks
        return load_holding(
            self.store.home / name,
            self.contract,
            self.name,
            "train" if train and not bank else "score",
            with_label=self.contract.holds_label(self.name),
        )
