"""A party's side of phase `release`: agree on pseudonyms, check the card, sign it, make the feed.

The builder drafts the manifest (`clients.releases.drafting`). Every party holds it against what it
knows itself, its own lines of the card and the card that was scored among it, and signs only what
passes. The builder puts the signatures together and hands the complete release to everybody, who
checks it as a stranger would and keeps it whole or not at all. Whatever fails ends the phase at
every party, by name.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from clients.card.parts import Part
from clients.party import Party
from clients.releases import again, feeds
from clients.releases.drafting import agree_draft, check_head, manifest_of, others_of, state_of
from clients.releases.kept import (
    keep_key,
    keep_release,
    load_key,
    part_problem,
)
from shared.arrays import pack_value, unpack_value
from shared.errors import BadPeer
from shared.jobs import Run
from shared.protocols.pseudonym import agree_pseudonym_key
from shared.release import (
    Manifest,
    Release,
    Signature,
    check_signature,
    pack_release,
    refuse,
    sign_manifest,
    unpack_release,
    verify_release,
)
from shared.scorecard.card import Card
from shared.sealed import SealedChannel


def release(
    party: Party, channel: SealedChannel, run: Run, job: Mapping[str, Any]
) -> dict[str, Any]:
    """Make the release of a run, and this party's score feed of it.

    Returns
    -------
    dict
        Name and digest of the release, customers in the own feed; at the builder also the release.

    Raises
    ------
    ReleaseRefused
        By the name of the check that a draft, a signature or the complete release failed.
    BadPeer
        If a party's message is malformed; names it.
    """
    value = party.store.load_value(run.name, "part")
    part = Part.from_mapping(value, "part.json")
    if value.get("card") != job["card"]:
        refuse("card", "this party scored another card than the coordinator names")
    tables = feeds.tables(party)  # what is wrong with them shows before anything is signed
    key = agree_key(party, channel, run)
    if job.get("released"):  # it was completed before the run was interrupted
        whole = again.take(party, run, part, job["released"])
    else:
        mine = state_of(party)
        draft = agree_draft(party, channel, run, mine, lambda states: _draft(party, run, states))
        check_draft(draft, party, run, part, mine, str(job["card"]))
        whole = complete(party, channel, run, draft, _sign(party, run, draft))
        keep_release(party.releases, whole)
    manifest = whole.manifest
    feed = party.store.home / "feeds" / f"{manifest.name}.feed"
    if not (job.get("released") and feed.exists()):
        feeds.publish(party, manifest, part, key, tables)
    customers = sum(len(columns.ids) for columns in tables)
    result = {"name": manifest.name, "digest": manifest.digest(), "feed_customers": customers}
    if party.is_builder:
        result |= {"release": pack_release(whole)}
    return result


def agree_key(party: Party, channel: SealedChannel, run: Run) -> bytes:
    """Return the pseudonym key that all parties share, and keep it."""
    own = load_key(party)
    key = agree_pseudonym_key(channel, run.parties, run.federation.name, own)
    if own is None:
        keep_key(party, key)
    return key


def _draft(party: Party, run: Run, states: Mapping[str, Mapping[str, Any]]) -> Manifest:
    """Write the manifest; only the builder has all that it says."""
    value = party.store.load_value(run.name, "card")
    card = Card.from_mapping(value, "card.json")
    worth = party.store.load_value(run.name, "worth")
    return manifest_of(run, party.store.now(), states, card, value["evaluation"], worth)


def check_draft(
    draft: Manifest,
    party: Party,
    run: Run,
    part: Part,
    state: Mapping[str, Any],
    card: str,
) -> None:
    """Hold a draft against all that this party knows itself.

    Parameters
    ----------
    draft : Manifest
        Its form was checked when it was read.
    party : Party
    run : Run
    part : Part
        The party's own part of the card.
    state : mapping
        What the party told the builder.
    card : str
        Digest of the card that was scored.

    Raises
    ------
    ReleaseRefused
        By the name of the first check that fails: `federation`, `contract`, `ledger`, `card`,
        `counter`, `clock`, `expiry`.
    """
    check_head(draft, party, run, state, lambda: _check_card(draft, party, part, card))


def _check_card(draft: Manifest, party: Party, part: Part, card: str) -> None:
    problem = part_problem(party, draft, part)
    if problem:
        refuse("card", problem)
    scored = pack_value(replace(draft.card, calibration=None).to_mapping())
    if hashlib.sha256(scored).hexdigest() != card:
        refuse("card", "its card is not the one that was scored")


def _sign(party: Party, run: Run, draft: Manifest) -> Signature:
    """Sign, after journal and ledger say so."""
    digest = draft.digest()
    party.store.journal.sign_release(draft.counter, digest)
    lines = draft.card.of(party.name)
    party.store.record(
        run.name,
        phase="release",
        what="own lines of the card",
        unit="customers in a bin",
        recipient="whoever has the release",
        rows=draft.card.rows,
        values=sum(len(line.points) for line in lines),
        binding=digest,
    )
    return sign_manifest(party.identity, draft.to_bytes())


def complete(
    party: Party,
    channel: SealedChannel,
    run: Run,
    draft: Manifest,
    mine: Signature,
    weights: bytes = b"",
) -> Release:
    """Put the signatures together at the builder; everybody checks the complete release.

    Parameters
    ----------
    party : Party
    channel : SealedChannel
    run : Run
    draft : Manifest
    mine : Signature
    weights : bytes
        The file of weights of a network: every party has it and none sends it.

    Raises
    ------
    ReleaseRefused
        By the name of the check that a signature or the complete release failed.
    BadPeer
        If a party's message is malformed; names it.
    """
    builder, others = run.federation.builder, others_of(run, party)
    if party.is_builder:
        signatures = {name: _receive_signature(channel, name, draft, run) for name in others}
        whole = Release(draft, dict(sorted({**signatures, party.name: mine}.items())), weights)
    else:
        own = {"public_key": mine.public_key, "signature": mine.signature}
        channel.send(builder, "release/signature", pack_value(own))
        told = unpack_value(channel.receive(builder, "release/complete"))
        whole = replace(unpack_release(told), weights=weights)
        if (
            whole.manifest.to_bytes() != draft.to_bytes()
            or whole.signatures.get(party.name) != mine
        ):
            refuse("signature", "what was completed is not what this party signed", party=builder)
    verify_release(
        whole,
        run.federation,
        now=party.store.now(),
        newest=draft.counter - 1,
        contract=run.contract_digest,
    )
    if set(whole.signatures) != set(run.parties):
        refuse("signature", "not every party that took part has signed")
    if party.is_builder:
        bare = pack_release(replace(whole, weights=b""))
        channel.send_all(others, "release/complete", pack_value(bare))
    return whole


def _receive_signature(channel: SealedChannel, name: str, draft: Manifest, run: Run) -> Signature:
    value = unpack_value(channel.receive(name, "release/signature"), cap=1024)
    try:
        signature = Signature(str(value["public_key"]), str(value["signature"]))
    except (KeyError, TypeError) as error:
        raise BadPeer("its signature is malformed", party=name) from error
    check_signature(name, signature, draft.to_bytes(), run.federation)
    return signature
