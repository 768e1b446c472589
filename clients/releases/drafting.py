"""The draft of a release: what the parties say of themselves, and what each holds it against.

The builder writes the draft from what every party says of its ledger and its releases. Each party
holds all of it but the model against what it knows itself; the model is held against by whoever
scored or trained it (`clients.releases.publish`, `clients.neural.challenger`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from clients.party import Party
from clients.releases.kept import load_release, release_names
from shared.arrays import pack_value, unpack_value
from shared.challenger.network import Network
from shared.errors import BadPeer
from shared.instants import seconds_of
from shared.jobs import Run
from shared.ledger import GENESIS, Line
from shared.manifest import Noised, noised_from
from shared.privacy.audit import audit
from shared.release import (
    MAX_BYTES,
    MAX_COUNTER,
    NEURAL,
    SCORECARD,
    Manifest,
    Signatory,
    check_agreement,
    check_dates,
    check_federation,
    expiry_of,
    refuse,
    release_name,
)
from shared.scorecard.card import Card
from shared.sealed import SealedChannel

_STATE = {"ledger_head": str, "ledger_lines": int, "signed": int, "counter": int, "parent": str}

# Counters never go back, so one that is far too high would end all releases after it. Failed
# attempts use some up, and a party may have missed releases. The builder takes no party's word for
# more than the first number beyond what the others say, and names who says it. No party signs
# further than the second beyond what it knows: so much more, that a liar would have to break off a
# hundred runs, under its name, before honest parties are too far apart, or a lying builder have
# ten thousand releases signed before the counters end.
_ROOM_FOR_ONE, _ROOM_FOR_ALL = 1_000, 100_000

_BEHIND = "a party that was away, or lost its journal, fetches the newest release into releases/"


def agree_draft(
    party: Party,
    channel: SealedChannel,
    run: Run,
    mine: Mapping[str, Any],
    write: Callable[[Mapping[str, Mapping[str, Any]]], Manifest],
) -> Manifest:
    """Return the builder's draft of the manifest; only its form is checked.

    Parameters
    ----------
    party : Party
    channel : SealedChannel
    run : Run
    mine : mapping
        What this party says of its ledger and releases (`state_of`).
    write : callable
        Writes the draft from what all parties say; asked at the builder only.

    Raises
    ------
    ReleaseRefused
        With check `form`, or `counter` where what the parties say makes no sense together.
    BadPeer
        If a party's message is malformed; names it.
    """
    if not party.is_builder:
        builder = run.federation.builder
        channel.send(builder, "release/state", pack_value(mine))
        return read_draft(channel.receive(builder, "release/draft"), builder)
    states = {name: receive_state(channel, name) for name in others_of(run, party)}
    check_states(party, states, mine)
    raw = write(states | {party.name: mine}).to_bytes()
    draft = read_draft(raw, party.name)
    channel.send_all(others_of(run, party), "release/draft", raw)
    return draft


def others_of(run: Run, party: Party) -> list[str]:
    """Return the other parties of a run."""
    return [name for name in run.parties if name != party.name]


def state_of(party: Party) -> dict[str, Any]:
    """Return what the builder must know of a party to draft the manifest.

    `signed` is the highest counter it signed, of a release that was completed or not, or that it
    keeps; `counter` and `parent` are those of the newest that it keeps.
    """
    lines = party.store.ledger()
    state: dict[str, Any] = {
        "ledger_head": lines[-1].digest if lines else GENESIS,
        "ledger_lines": len(lines),
        "signed": party.store.journal.last_release,
        "counter": 0,
        "parent": "",
        "privacy": _privacy(lines, party.federation.privacy.delta),
    }
    if release_names(party.releases):
        newest = load_release(party.releases).manifest
        state |= {"counter": newest.counter, "parent": newest.digest()}
        state["signed"] = max(state["signed"], newest.counter)  # also where the journal was lost
    return state


def _privacy(lines: Sequence[Line], delta: float) -> dict[str, Any] | None:
    """Return what a ledger comes to, worked out again; None where no line has noise."""
    if all(line.entry.noise is None for line in lines):
        return None
    found = audit(lines, delta)
    return asdict(Noised(found.epsilon, delta, found.with_noise, found.without))


def receive_state(channel: SealedChannel, name: str) -> dict[str, Any]:
    """Return what another party says by `state_of`, at the builder.

    Raises
    ------
    BadPeer
        If it is malformed.
    """
    value = unpack_value(channel.receive(name, "release/state"), cap=4096)
    good = isinstance(value, dict) and value.keys() == {*_STATE, "privacy"}
    if not good or any(type(value[key]) is not kind for key, kind in _STATE.items()):
        raise BadPeer("what it says of its ledger and releases is malformed", party=name)
    try:
        _ = value["privacy"] is None or noised_from(value["privacy"])
    except (KeyError, TypeError, ValueError) as error:
        raise BadPeer("what it says of its noise is malformed", party=name) from error
    if not 0 <= value["counter"] <= value["signed"] < MAX_COUNTER:
        raise BadPeer("the counters of its releases make no sense", party=name)
    return dict(value)


def check_states(
    party: Party, states: Mapping[str, Mapping[str, Any]], mine: Mapping[str, Any]
) -> None:
    """Hold what the others say of their releases against each other, at the builder.

    Parameters
    ----------
    party : Party
        The builder.
    states : mapping of str to mapping
        What every other party says.
    mine : mapping
        The builder's own.

    Raises
    ------
    ReleaseRefused
        With check `counter`, under the name of the party that says that it signed a release far
        beyond all others, or that keeps as the newest one that the builder never signed.
    """
    everybody = {**states, party.name: mine}
    for name, state in states.items():
        others = max(one["signed"] for key, one in everybody.items() if key != name)
        if state["signed"] - others > _ROOM_FOR_ONE:
            why = f"it says that it signed release {state['signed']}, and the others {others}"
            refuse("counter", why, party=name, hint=_BEHIND)
        if state["counter"] >= mine["counter"] and not _knows(party, mine, state["parent"]):
            why = f"it keeps a release {state['counter']} that {party.name} did not sign"
            refuse("counter", why, party=name, hint=_BEHIND)


def _knows(party: Party, mine: Mapping[str, Any], parent: str) -> bool:
    """Say whether a release may be the one before the next, by what a party keeps and signed.

    Every party signs every release, and may have missed the completion of some. One that keeps
    none cannot say.
    """
    if not mine["counter"] or parent == mine["parent"]:
        return True
    signed = party.store.journal.releases.items()
    return parent in {digest for counter, digest in signed if counter > mine["counter"]}


def manifest_of(
    run: Run,
    now: str,
    states: Mapping[str, Mapping[str, Any]],
    model: Card | Network,
    evaluation: Mapping[str, Any],
    worth: Mapping[str, float],
) -> Manifest:
    """Write the manifest of a model.

    Parameters
    ----------
    run : Run
    now : str
        Instant.
    states : mapping of str to mapping
        What every party says of its ledger and releases.
    model : Card or Network
    evaluation : mapping
    worth : mapping of str to float
        By party; 0 for those that it does not name.
    """
    kind = SCORECARD if isinstance(model, Card) else NEURAL
    counter = 1 + max(state["signed"] for state in states.values())
    newest = max(states.values(), key=lambda state: int(state["counter"]))
    return Manifest(
        name=release_name(counter, kind),
        kind=kind,
        counter=counter,
        created=now,
        expires=expiry_of(now, run.federation),
        parent=newest["parent"],
        federation=run.federation.name,
        agreement=run.federation.agreement(run.contract_digest),
        contract=run.contract_digest,
        run=run.name,
        parties={
            name: Signatory(
                fingerprint=run.federation.parties[name].fingerprint,
                ledger_head=state["ledger_head"],
                ledger_lines=state["ledger_lines"],
                worth=float(worth.get(name, 0.0)),
                baseline_points=model.baseline_points(name),
                privacy=noised_from(state["privacy"]) if state["privacy"] else None,
            )
            for name, state in sorted(states.items())
        },
        model=model,
        evaluation=evaluation,
    )


def read_draft(raw: bytes, builder: str) -> Manifest:
    """Read the builder's draft.

    Raises
    ------
    ReleaseRefused
        With check `form`.
    BadPeer
        If it is not in canonical form.
    """
    draft = Manifest.from_mapping(unpack_value(raw, cap=MAX_BYTES))
    if draft.to_bytes() != raw:
        raise BadPeer("its draft of the release is not in canonical form", party=builder)
    return draft


def check_head(
    draft: Manifest,
    party: Party,
    run: Run,
    state: Mapping[str, Any],
    check_model: Callable[[], None],
) -> None:
    """Hold all of a draft but its model against what this party knows, and then its model.

    Parameters
    ----------
    draft : Manifest
    party : Party
    run : Run
    state : mapping
        What the party told the builder.
    check_model : callable
        Refuses another model than this party scored or trained.

    Raises
    ------
    ReleaseRefused
        By the name of the first check that fails.
    """
    check_federation(draft, run.federation, run.contract_digest)
    check_agreement(draft, run.federation)
    if draft.run != run.name:
        refuse("federation", f"it is of run {draft.run}, and this is {run.name}")
    mine = draft.parties[party.name]
    if (mine.ledger_head, mine.ledger_lines) != (state["ledger_head"], state["ledger_lines"]):
        refuse("ledger", f"it does not state the ledger of {party.name} as it stands")
    if mine.privacy != (noised_from(state["privacy"]) if state["privacy"] else None):
        refuse("ledger", f"it says another epsilon than the ledger of {party.name} comes to")
    check_model()
    if draft.counter <= state["signed"]:
        refuse("counter", f"{party.name} signed release {state['signed']} already")
    if draft.counter - state["signed"] > _ROOM_FOR_ALL:
        why = f"it leaves out more than {_ROOM_FOR_ALL:,} counters after {state['signed']}"
        refuse("counter", why, hint=_BEHIND)
    if not _knows(party, state, draft.parent):
        refuse("counter", "its parent is not the release before it", hint=_BEHIND)
    now = party.store.now()
    if seconds_of(draft.created) < seconds_of(now) - run.federation.release.clock_skew_s:
        refuse("clock", f"it says that it was made at {draft.created}, and it is {now}")
    check_dates(draft, run.federation, now)
