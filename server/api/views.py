"""Answers of the service as plain values for JSON; the command line prints the same."""

from __future__ import annotations

from typing import Any

from server.accounts.scores import LimitService, Scored
from server.api import wording
from server.limits.caps.decide import Decision
from server.releases.shelf import Shelf
from shared.config import Federation
from shared.release import Manifest
from shared.scorecard.card import Card


def score_view(scored: Scored) -> dict[str, Any]:
    """Return a score; see `server.api.schemas.Score`."""
    snapshot, release, in_use = scored.snapshot, scored.release, scored.shelf.in_use
    card = release.model
    days = [
        in_use[party].header.as_of for party in snapshot.points if party not in snapshot.missing
    ]
    return {
        "score": snapshot.rating.score,
        "low": round(card.scale.low),
        "high": round(card.scale.high),
        "grade": snapshot.rating.grade,
        "default_prob": float(snapshot.rating.default_prob),
        "points": snapshot.rating.points,
        "model": {
            "name": release.name,
            "counter": release.counter,
            "digest": scored.shelf.digest,
        },
        "as_of": min(days),
        "holders": [
            {
                "party": party,
                "points": points,
                "as_of": in_use[party].header.as_of if party in in_use else None,
                "missing": snapshot.missing.get(party),
            }
            for party, points in snapshot.points.items()
        ],
        "missing": list(snapshot.missing),
        "baseline": card.baseline.kind,
        "reasons": [
            wording.score_reason(reason, baseline=card.baseline.kind) for reason in snapshot.reasons
        ],
    }


def limit_view(
    service: LimitService, scored: Scored, decision: Decision, current_minor: int | None = None
) -> dict[str, Any]:
    """Return a limit; see `server.api.schemas.Limit`."""
    policy = service.policy
    return {
        "limit_minor": decision.limit_minor,
        "limit": wording.money(decision.limit_minor, policy),
        "currency": policy.currency,
        "current_minor": current_minor,
        "provisional": decision.provisional,
        "caps": dict(decision.caps),
        "binding": list(decision.binding),
        "multiplier": decision.multiplier,
        "reasons": [
            wording.limit_reason(one, decision, policy, baseline=scored.release.model.baseline.kind)
            for one in decision.reasons
        ],
        "increases_blocked": [
            {
                "party": party,
                "why": why,
                "text": wording.blocked(party, why, line=current_minor is not None),
            }
            for party, why in decision.blocked.items()
        ],
        "policy": decision.policy,
        "jurisdiction": decision.pack,
        "decided": scored.now,
        "score": score_view(scored),
    }


def model_view(release: Manifest, digest: str) -> dict[str, Any]:
    """Return a release; see `server.api.schemas.Model`."""
    model = release.model
    return {
        "name": release.name,
        "counter": release.counter,
        "digest": digest,
        "created": release.created,
        "expires": release.expires,
        "federation": release.federation,
        "run": release.run,
        "kind": release.kind,
        "points_kept": model.points_kept if isinstance(model, Card) else None,
        "parameters": None if isinstance(model, Card) else model.parameters,
        "parties": [
            {
                "party": name,
                "fingerprint": party.fingerprint,
                "worth": party.worth,
                "baseline_points": party.baseline_points,
            }
            for name, party in sorted(release.parties.items())
        ],
        "evaluation": dict(release.evaluation),
    }


def feeds_view(shelf: Shelf, federation: Federation, now: str) -> list[dict[str, Any]]:
    """Return every party's feed; see `server.api.schemas.Feed`."""
    rows = []
    for party in federation.holders:
        feed = shelf.in_use.get(party)
        header = feed.header if feed else None
        rows.append(
            {
                "party": party,
                "release": header.release if header else None,
                "as_of": header.as_of if header else None,
                "created": header.created if header else None,
                "expires": header.expires if header else None,
                "customers": header.customers if header else 0,
                "stale": header is None or now >= header.expires,
                "refused": shelf.refused.get(party),
            }
        )
    return rows
