"""Who of several banks was lost in a phase, and whether the others may go on without it."""

from __future__ import annotations

import contextlib
from collections.abc import Collection

from server.coordinator import Coordinator
from server.engines.local import DIED
from server.exchange import Gathered
from shared.channel import NO_ANSWER
from shared.errors import PartyLost, Refused
from shared.shape import Shape


def who_is_lost(error: PartyLost, got: Gathered, cohort: Collection[str]) -> PartyLost:
    """Return the loss behind the echoes: parties that stop because another did name each other."""
    if error.message.startswith(DIED) or error.party in got.silent:
        return error
    told = [(one["at"], one["message"]) for one in got.errors]
    if isinstance(got.failure, PartyLost):  # first, so that it decides between equals
        told.insert(0, (got.failure.party, got.failure.message))
    named = [at for at, why in told if at in cohort and why.startswith(NO_ANSWER)]
    return PartyLost(NO_ANSWER, party=max(named, key=named.count)) if named else error


def without(coordinator: Coordinator, shape: Shape, phase: str, lost: PartyLost) -> Shape:
    """Return the survivors.

    Raises
    ------
    PartyLost
        If the lost party cannot be done without.
    Refused
        If too few banks are left, or too few to sign.
    """
    if lost.party not in shape.banks or lost.party == shape.builder:
        raise lost
    told = f"{lost.party} was lost in phase {phase}"
    try:
        left = shape.without(lost.party)
    except Refused as error:
        raise Refused(f"{told}: {error.message}", hint=error.hint, party=lost.party) from lost
    if len(left.everybody) < coordinator.federation.quorum:
        raise PartyLost(
            f"{lost.message}; without it {len(left.everybody)} can sign, and the quorum is "
            f"{coordinator.federation.quorum}",
            party=lost.party,
            hint="start it and train again, or agree on a smaller release.quorum",
        ) from lost
    return left


def tell_spare(coordinator: Coordinator, shape: Shape) -> None:
    """Say which banks could be lost without the end of the run: an engine lets these die."""
    spare = []
    for bank in shape.banks:
        with contextlib.suppress(PartyLost, Refused):
            without(coordinator, shape, "", PartyLost("", party=bank))
            spare.append(bank)
    coordinator.tell("spare", parties=spare)
