"""What a party keeps of releases: the signed manifests, and the key behind the pseudonyms."""

from __future__ import annotations

import re
from pathlib import Path

from clients.card.parts import Part
from clients.party import Party
from shared.edge.files import atomic_folder, read_text, refuse_open, write_atomic
from shared.errors import DataError, EnvironmentFault, NotFound, Refused
from shared.protocols.pseudonym import KEY_BYTES
from shared.release import (
    KINDS,
    MANIFEST_FILE,
    NEURAL,
    SCORECARD,
    SIGNATURES_FILE,
    WEIGHTS_FILE,
    Manifest,
    Release,
    read_release,
    verify_release,
)
from shared.scorecard.card import bin_labels

KEY_FILE = "pseudonym.key"
_NAME = re.compile(rf"({'|'.join(KINDS)})-[0-9]{{4,}}")


def keep_release(folder: Path, release: Release) -> Path:
    """Write a release below `folder`, whole or not at all.

    Returns
    -------
    Path
        Its own folder.
    """
    path = folder / release.manifest.name
    with atomic_folder(path) as inside:
        for name, content in release.files().items():
            write_atomic(inside / name, content)
    return path


def load_release(folder: Path, name: str = "", *, kind: str = "") -> Release:
    """Read a release below `folder`; by default the newest. Only its form is checked.

    Parameters
    ----------
    folder : Path
    name : str
    kind : str
        Only of this kind; without one, of either.

    Raises
    ------
    NotFound
        If there is none of that name, or none at all.
    ReleaseRefused
        With check `form`, if its files are damaged.
    """
    names = release_names(folder, kind)
    if not names or (name and name not in names):
        hint = "`confide train` makes one" if not names else f"there are {', '.join(names)}"
        raise NotFound(f"{folder} has no release {name}".rstrip(), hint=hint)
    path = folder / (name or names[-1])
    raws = []
    files = (MANIFEST_FILE, SIGNATURES_FILE, WEIGHTS_FILE)
    for file in (path / one for one in files[: 3 if path.name.startswith(NEURAL) else 2]):
        try:
            raws.append(file.read_bytes())
        except OSError as error:
            raise EnvironmentFault(f"cannot read {file}: {error.strerror}") from error
    return read_release(*raws)


def release_names(folder: Path, kind: str = "") -> list[str]:
    """Return the names of the releases below `folder`, of one kind or of both, oldest first."""
    try:
        found = [
            path.name
            for path in folder.iterdir()
            if _NAME.fullmatch(path.name) and path.name.startswith(kind)
        ]
    except FileNotFoundError:
        return []
    return sorted(found, key=lambda name: int(name.rpartition("-")[2]))


def release_of(folder: Path, run: str, kind: str) -> Release | None:
    """Return the newest kept release of one kind that a run made; None without one."""
    for name in reversed(release_names(folder, kind)):
        found = load_release(folder, name)
        if found.manifest.run == run:
            return found
    return None


def own_release(party: Party, name: str = "", *, expired: bool = False) -> tuple[Release, Part]:
    """Return a scorecard that this party signed, checked anew, and the party's part of it.

    Parameters
    ----------
    party : Party
    name : str
        By default the newest.
    expired : bool
        Whether one that has expired will do: to look at, not to publish by.

    Raises
    ------
    NotFound
        If the party has no such release.
    ReleaseRefused
        If it fails a check.
    DataError
        If the part that the party kept is not that of the release.
    """
    release = load_release(party.releases, name, kind=SCORECARD)
    manifest = release.manifest
    verify_release(
        release,
        party.federation,
        now=manifest.created if expired else party.store.now(),
        newest=manifest.counter - 1,
        contract=party.contract.digest(),
    )
    part = Part.from_mapping(party.store.load_value(manifest.run, "part"), "part.json")
    problem = part_problem(party, manifest, part)
    if problem:
        raise DataError("part.json", [problem], hint=f"{manifest.name} was made by other bins")
    return release, part


def part_problem(party: Party, manifest: Manifest, part: Part) -> str:
    """Say in what the card's lines of this party differ from its part, or nothing.

    There must be one line a block, in the same order, with its features, its public labels, its
    points and the reason of the contract; and no other line of this party.
    """
    lines = manifest.card.of(party.name)
    reasons = {feature.name: feature.reason for feature in party.contract.features}
    reasons |= {summary.name: summary.reason for summary in party.contract.summaries}
    if len(lines) != len(part.plans):
        return f"the card has {len(lines)} lines of {party.name}, its part has {len(part.plans)}"
    for line, plan, points in zip(lines, part.plans, part.points, strict=True):
        if line.features != plan.features or line.bins != bin_labels(plan.public()):
            return f"line {line.name} has other features or bins than its part"
        if list(line.points) != points.tolist():
            return f"line {line.name} has other points than its part"
        if line.reason != reasons.get(line.features[0]):
            return f"line {line.name} has another reason than the contract"
    return ""


def keep_key(party: Party, key: bytes) -> None:
    """Keep the pseudonym key in a file that only its owner may read."""
    write_atomic(party.store.home / KEY_FILE, key.hex().encode() + b"\n", mode=0o600)


def load_key(party: Party) -> bytes | None:
    """Return the pseudonym key, or None where the party has none yet.

    Raises
    ------
    Refused
        If others may read the file, or it holds no key.
    """
    path = party.store.home / KEY_FILE
    if not path.exists():
        return None
    refuse_open(path)
    try:
        key = bytes.fromhex(read_text(path).strip())
    except ValueError:
        key = b""
    if len(key) != KEY_BYTES:
        hint = "restore it from a backup, or remove it: another party then passes its copy on"
        raise Refused(f"{path} does not hold a key of {2 * KEY_BYTES} hex digits", hint=hint)
    return key


def need_key(party: Party) -> bytes:
    """Return the pseudonym key.

    Raises
    ------
    NotFound
        If there is none yet: the parties agree on it when they make a release.
    """
    key = load_key(party)
    if key is None:
        raise NotFound(
            f"{party.name} has no {KEY_FILE} yet", hint="the parties agree on it in `confide train`"
        )
    return key
