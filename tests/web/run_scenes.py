"""Runs as a coordinator writes them down: one that ended, one under way, one that was lost."""

from __future__ import annotations

import json
import os

from server.engines.run_files import RunFiles
from shared.errors import PartyLost

OVER, LIVE, LOST = "20260302T070000-aaaaaa", "20260302T075500-bbbbbb", "20260301T070000-cccccc"
PARTIES = ("bank", "bureau", "ecommerce", "payments")
START = 1772438400.0  # 2026-03-02T08:00:00Z, the clock of the tests


def reply(party, **more):
    n = PARTIES.index(party) + 1
    return {"bytes_sent": n * 10**6, "bytes_received": 10**5, "seconds": 1.0 * n,
            "peak_rss_mb": 130.0 + n, "node": n} | more  # fmt: skip


def told(folder, run, events):
    """Write a run's progress as the coordinator does."""
    home = folder / "runs" / run
    home.mkdir(parents=True)
    lines = [json.dumps({"event": e, "details": d, "at": at}) for at, e, d in events]
    path = home / "progress.jsonl"
    path.write_text("".join(f"{line}\n" for line in lines))
    os.utime(path, (events[-1][0], events[-1][0]))
    return home


def events_of(start, phases, *, ahead=""):
    found = [(start, "began", {"process": 1}), (start, "joining", {})]
    at = start + 2
    for name, more in phases:
        found.append((at, "phase", {"name": name}))
        replies = {party: reply(party, **more) for party in PARTIES}
        found.append((at + 5, "done", {"name": name, "seconds": 5.0, "replies": replies}))
        at += 5.5
    if ahead:
        found.append((at, "phase", {"name": ahead}))
    return found


def coordinator(folder):
    """A folder with a run that ended, one under way, and one that a party's loss ended."""
    phases = [
        ("align", {"n_train": 2857, "n_test": 702}),
        ("moments", {}),
        ("score", {"auc": 0.79, "ks": 0.45}),
        ("release", {"name": "scorecard-0001", "digest": "d" * 64}),
    ]
    over = told(folder, OVER, events_of(START - 3600, phases))
    (over / "outcome.json").write_text('{"ok": true, "outcome": {}}')
    told(folder, LIVE, events_of(START - 20, phases[:2], ahead="score"))
    lost = told(folder, LOST, events_of(START - 90_000, phases[:1], ahead="moments"))
    RunFiles(lost).fail(PartyLost("did not answer", party="payments", hint="start it again"))
    (folder / "runs" / "20260228T000000-dddddd").mkdir()
    (folder / "runs" / "20260228T000000-dddddd" / "progress.jsonl").write_text("[]\n")
    return folder
