"""A release with everything a release may tell, a challenger in shadow, and months of decisions."""

from __future__ import annotations

import json

import numpy as np

from clients.card.builder import evaluation
from server.accounts.attributes import FILE
from server.accounts.nightly import review_due
from server.api.access import Role
from shared.challenger.compare import Pairs, compare
from shared.challenger.verdict import Verdict
from shared.feed import FeedRow
from tests import networks
from tests.service.desk_kit import good, poor
from tests.service.kit import NOW, name_of
from tests.web import scenes

SEEN = 2400
LINES = 30
FLOOR = 20


def whole_evaluation(seed=1):
    """What a builder tells of a card that is worth something."""
    rng = np.random.default_rng(seed)
    points = np.rint(rng.normal(40, 35, SEEN)).astype(np.int64)
    prob = 1 / (1 + np.exp(0.6 + 0.035 * points))
    label = (rng.random(SEEN) < prob).astype(np.int64)
    told = evaluation(label, points, prob)
    names = ("auc", "auc_interval", "ks", "ks_interval")
    alone = {}
    for at, holder in enumerate(("bank", "bureau", "ecommerce", "payments")):
        blurred = np.rint(points + rng.normal(0, 30 + 25 * at, SEEN)).astype(np.int64)
        found = evaluation(label, blurred, prob)
        alone[holder] = {name: found[name] for name in names} | {"bins": 9}
    return json.loads(json.dumps(told | {"alone": alone}))


def verdict_against(champion, *, better=True):
    """A comparison of two releases; the challenger ranks better, or worse."""
    rng = np.random.default_rng(1)
    label = (rng.random(2000) < 0.3).astype(np.int64)
    truth = label + rng.normal(size=2000)
    gains = (1.0, 1.6) if better else (1.6, 1.0)
    prob = [1 / (1 + np.exp(-gain * truth - rng.normal(size=2000))) for gain in gains]
    found = compare(Pairs.of_rows(label, *prob), np.random.default_rng(0), replicates=20)
    return Verdict(champion, "", found).to_mapping()


def serve_whole(town, counter=2):
    """Let a release with all its figures serve."""
    town.office.kit.serve(counter, evaluation=whole_evaluation())
    town.office.scores.refresh()
    feeds(town.office)
    return town.office.scores.registry.book().champion


def challenge(town, counter=3, *, better=True):
    """Take a network of several banks, compared with the release that serves."""
    kit, champion = town.office.kit, town.office.scores.registry.book().champion
    told = {"auc": 0.8, "against": verdict_against(champion.digest, better=better)}
    draft = networks.manifest(kit, counter, evaluation=told)
    kit.registry.take(networks.signed(kit, draft), kit.federation, NOW)
    town.office.scores.refresh()
    for party in ("bank", "bureau"):
        rows = [
            FeedRow(name_of(number), challengers(number), (("ENQUIRIES", 7),))
            for number in range(3 * LINES)
        ]
        now = town.office.clock.text()
        raw = kit.feed(party, rows, draft, as_of=now[:10], created=now)
        town.office.scores.feeds.accept(raw, now, party=party)
    town.office.scores.follow()
    return draft


def challengers(number):
    """Points of a network that likes some whom the card does not, and the other way round."""
    return (20, 290, (300, 300, 300, 90)[number // 3 % 4])[number % 3]


def feeds(office):
    """Let the holders publish for the release that serves."""
    now, release = office.clock.text(), office.scores.registry.book().champion.name
    manifest = office.scores.registry.verified(release, office.kit.federation, now).manifest
    when = {"as_of": now[:10], "created": now}
    for party, raw in office.kit.feeds(3 * LINES, manifest, **when).items():
        office.scores.feeds.accept(raw, now, party=party)


def people(town):
    """Give many people a line, decline others, and review all of them a month later."""
    office = town.office
    object.__setattr__(office.desk.rules.monitoring, "floor", FLOOR)
    for number in range(LINES):
        office.line(good(number))
    for number in range(12):
        for who in (poor(number), middling(number)):
            office.consent(who)
            office.bureau(who)
            asked = {"customer_id": who, "product": "revolving_consumer"}
            office.done(who, "/v1/lines", asked, status=200)
    office.later(days=31)
    feeds(office)
    review_due(office.desk)
    groups = office.desk.home / FILE
    rows = [f"{name_of(number)},{'ab'[number % 2]}\n" for number in range(3 * LINES)]
    groups.write_text("reference,a\n" + "".join(rows))
    groups.chmod(0o600)
    return town


def middling(number=0):
    """A customer with the middle points on every line."""
    return name_of(1 + 3 * number)


__all__ = ["Role", "challenge", "people", "scenes", "serve_whole", "verdict_against"]
