"""A scorecard's release that was completed before its run was interrupted: taken, not signed anew.

Where the release was completed, even if only one party kept it, everybody takes that one when the
run goes on: a run has one release. The coordinator passes it on; each party takes only what it
signed itself.
"""

from __future__ import annotations

from typing import Any

from clients.card.parts import Part
from clients.party import Party
from clients.releases.kept import keep_release, part_problem, release_names, release_of
from shared.jobs import Run
from shared.release import (
    SCORECARD,
    Release,
    pack_release,
    refuse,
    unpack_release,
    verify_release,
)


def known(party: Party, run: Run) -> dict[str, Any] | None:
    """Return the release of this run that the party keeps, packed, if any."""
    found = release_of(party.releases, run.name, SCORECARD)
    return pack_release(found) if found else None


def take(party: Party, run: Run, part: Part, told: Any) -> Release:
    """Return a completed release of this run; it is kept here from now on.

    Parameters
    ----------
    party : Party
    run : Run
    part : Part
        The party's own part of the card.
    told : mapping
        The release, packed, as another party may have kept it.

    Raises
    ------
    ReleaseRefused
        By the name of the check that fails; `signature` if this party never signed it.
    """
    whole = unpack_release(told)
    manifest = whole.manifest
    signed = party.store.journal.releases.get(manifest.counter)
    if manifest.run != run.name or signed != manifest.digest():
        refuse("signature", f"{party.name} did not sign {manifest.name}", party=party.name)
    verify_release(
        whole,
        run.federation,
        now=party.store.now(),
        newest=manifest.counter - 1,
        contract=run.contract_digest,
    )
    problem = part_problem(party, manifest, part)
    if problem:
        refuse("card", problem)
    if manifest.name not in release_names(party.releases):
        keep_release(party.releases, whole)
    return whole
