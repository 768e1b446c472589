"""Which two releases a comparison is of: what a promotion is held against.

It stands in the challenger's manifest under ``evaluation.against``, signed by the parties, or in a
file of its own where the champion has changed since. Either way it holds only against the champion
that it names by digest.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final

from shared.challenger.compare import Comparison
from shared.errors import DataError

KIND: Final = "confide/comparison/1"
_DIGEST = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Verdict:
    """A comparison of two releases.

    Parameters
    ----------
    champion : str
        Digest of its manifest.
    challenger : str
        Digest of its manifest; empty in the challenger's own manifest, which cannot hold it.
    comparison : Comparison
    """

    champion: str
    challenger: str
    comparison: Comparison

    def to_mapping(self) -> dict[str, Any]:
        """Return plain values, ready for JSON."""
        return {
            "kind": KIND,
            "champion": self.champion,
            "challenger": self.challenger,
            "comparison": self.comparison.to_mapping(),
        }

    @classmethod
    def from_mapping(cls, value: Any, source: str) -> Verdict:
        """Read what `to_mapping` wrote.

        Raises
        ------
        DataError
            If it is not exactly that.
        """
        fields = {"kind", "champion", "challenger", "comparison"}
        if not isinstance(value, dict) or value.keys() != fields or value["kind"] != KIND:
            raise DataError(source, [f"is not of kind {KIND}"])
        champion, challenger = value["champion"], value["challenger"]
        if not _is_digest(champion) or (challenger != "" and not _is_digest(challenger)):
            raise DataError(source, ["champion and challenger must be digests of manifests"])
        return cls(champion, challenger, Comparison.from_mapping(value["comparison"], source))

    def told(self) -> str:
        """Return it as one clause, for the log of the registry."""
        gap = self.comparison.auc.difference
        return (
            f"AUC {gap.value:+.4f} [{gap.low:+.4f}, {gap.high:+.4f}] against "
            f"{self.champion[:12]} on {self.comparison.customers} customers"
        )

    def problem(self, champion: str, challenger: str) -> str:
        """Say why it does not let the challenger serve in place of the champion, or nothing.

        Parameters
        ----------
        champion, challenger : str
            Digests of their manifests.
        """
        if self.champion != champion:
            return "it was compared with another release than the one that serves"
        if self.challenger not in {"", challenger}:
            return "the comparison is of another release"
        if self.comparison.worse:
            return f"it ranks worse than the one that serves: {self.told()}"
        return ""


def _is_digest(text: Any) -> bool:
    return isinstance(text, str) and bool(_DIGEST.fullmatch(text))
