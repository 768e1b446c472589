"""For measurement only: sums without masks, for every Python process that has this folder first.

`scripts/bench_rounds.py` puts it before the others in PYTHONPATH. Nothing of the product reads it,
and no setting leads here: what a secure sum costs is measured against the same round with the
vectors of the parties in plain sight of the coordinator.
"""

from __future__ import annotations

from typing import Any

from shared.arrays import pack_array, unpack_array
from shared.protocols import sum as secure


def plain_party(channel: Any, job: Any, values: Any, **_: Any) -> Any:
    """Send the own vector as it is; return the sum where it is opened here."""
    residues = secure.encode(values, job)
    channel.send(job.coordinator, f"plain/{job.label}", pack_array(residues))
    if channel.me != job.opener:
        return None
    raw = channel.receive(job.coordinator, f"plain/{job.label}/sum")
    return secure.decode(unpack_array(raw, job.dtype, (job.length,), cap=job.length), job)


def plain_coordinator(channel: Any, job: Any, **_: Any) -> Any:
    """Add the vectors."""
    total = 0
    for party in job.cohort:
        raw = channel.receive(party, f"plain/{job.label}")
        total = total + unpack_array(raw, job.dtype, (job.length,), cap=job.length)
    if job.opener == channel.me:
        return secure.decode(total, job)
    channel.send(job.opener, f"plain/{job.label}/sum", pack_array(total))
    return None


secure.sum_party, secure.sum_coordinator = plain_party, plain_coordinator
