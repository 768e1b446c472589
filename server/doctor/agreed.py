"""What was agreed on: the federation file, the contract, and the keys that are pinned."""

from __future__ import annotations

from pathlib import Path

from server.coordinator import load_federation
from server.doctor.findings import Finding, failed, or_well, warned, well
from shared.config import Federation, parse_toml
from shared.contract import Contract
from shared.edge.files import load_identity, read_text
from shared.errors import ConfideError, ConfigError
from shared.identity import node_fingerprint
from shared.jobs import COORDINATOR
from shared.shape import Shape


def federation_file(path: Path) -> tuple[Federation | None, list[Finding]]:
    """Check the federation file; return what it says, too, if it can be read."""
    mend = "`confide init` makes one; mend what is named" if not path.exists() else "mend the file"
    try:
        federation, _ = load_federation(path)
    except ConfigError as error:
        return None, [failed("federation file", f"{path}: {one}", mend) for one in error.findings]
    except ConfideError as error:
        return None, [failed("federation file", error.message, mend)]
    unpinned = [name for name, member in federation.parties.items() if not member.node]
    unpinned += ["the certificate authority"] if not federation.ca else []
    found = [
        warned("federation file", f"{path} pins no node key of {name}", "`confide keys init`")
        if name in federation.parties
        else warned("federation file", f"{path} does not pin {name}", "`confide keys init`")
        for name in unpinned
    ]
    said = f"{federation.name}: {', '.join(federation.holders)}; {federation.builder} builds"
    return federation, or_well("federation file", found, said)


def contract(path: Path, federation: Federation) -> list[Finding]:
    """Check that the contract can be read, and fits the federation."""
    file = path.parent / federation.contract
    try:
        agreed = Contract.from_mapping(parse_toml(read_text(file), str(file)), str(file))
        Shape.of(agreed, federation.holders, federation.builder)
    except ConfigError as error:
        return [failed("contract", f"{file}: {one}", "mend the file") for one in error.findings]
    except ConfideError as error:
        return [failed("contract", error.message, "mend the contract or the federation file")]
    if strangers := set(agreed.parties) - set(federation.holders):
        said = f"{file} names {', '.join(sorted(strangers))}, who are no parties of {path.name}"
        return [failed("contract", said, "give their columns to others, or leave them out")]
    if not agreed.holds_label(federation.builder):
        said = f"{federation.builder} builds and does not hold {agreed.label_column}"
        return [failed("contract", said, "name the holder of the label as `builder`")]
    return [well("contract", f"{file.name} has digest {agreed.digest()[:12]}")]


def pinned_keys(path: Path, federation: Federation) -> list[Finding]:
    """Check that the keys on this machine are those that the federation file pins."""
    wrong, seen = [], []
    for name in (*federation.holders, COORDINATOR):
        home = path.parent / federation.home(name)
        member = federation.coordinator if name == COORDINATOR else federation.parties[name]
        key, node = home / "identity.key", home / "node.pub"
        if key.exists():
            try:
                load_identity(key, name, member.fingerprint)
                seen.append(name)
            except ConfideError as error:
                mend = error.hint or "`confide keys show` tells both"
                wrong.append(failed("keys", error.message, mend))
        if node.exists() and member.node:
            try:
                same = node_fingerprint(node.read_bytes()) == member.node
            except ConfideError:
                same = False
            if not same:
                said = f"{node} is not the node key that {path} pins"
                wrong.append(failed("keys", said, "`confide keys rotate` pins a new one"))
    if not seen and not wrong:
        mend = "run this where a member's folder is, or `confide keys init`"
        return [warned("keys", f"no member's key is below {path.parent}", mend)]
    return or_well("keys", wrong, f"as pinned: {', '.join(seen)}")
