"""What customers are told: score, limit, reasons, and what is missing."""

from __future__ import annotations

import math

from tests.service.kit import name_of, row

STALE = "2026-04-01T00:00:01Z"
EXPIRED = "2026-09-30T08:00:00Z"


def score(running, number=1):
    return running.get(f"/v1/customers/{name_of(number)}/score")


def limit(running, number=1, **query):
    return running.get(f"/v1/customers/{name_of(number)}/limit", **query)


def test_score_adds_up_what_the_holders_published(running):
    answer = score(running, 1).json()
    assert {one["party"]: one["points"] for one in answer["holders"]} == {
        "bank": 35,
        "bureau": 0,
        "ecommerce": 5,
        "payments": 9,
    }
    assert answer["points"] == 49
    assert answer["missing"] == []
    assert answer["model"]["name"] == "scorecard-0001"
    assert answer["as_of"] == "2026-03-01"
    assert (answer["score"], answer["grade"]) == (543, "E")
    assert answer["default_prob"] == round(1 / (1 + math.exp(0.045 * 49)), 6)


def test_reasons_are_the_costliest_with_a_sentence_each(running):
    reasons = score(running, 0).json()["reasons"]
    assert [(one["code"], one["points_lost"]) for one in reasons] == [
        ("S-UTILISATION", 24),
        ("S-REPAYMENT", 20),
        ("S-ENQUIRIES", 14),
        ("S-REGULARITY", 12),
    ]
    assert reasons[0]["text"] == (
        "For utilisation, as the bank knows it, you have 24 points less than average."
    )
    assert score(running, 2).json()["reasons"] == []


def test_limit_is_the_smallest_cap_and_names_it(running):
    answer = limit(running, 2).json()
    assert answer["limit_minor"] == 4_000_000
    assert answer["limit"] == "40,000.00 CNY"
    assert answer["binding"] == ["grade"]
    assert answer["caps"]["product"] == 5_000_000
    assert answer["reasons"][0]["text"] == "Your score's grade allows up to 40,000.00 CNY."
    assert answer["increases_blocked"] == []
    assert not answer["provisional"]
    assert answer["score"] == score(running, 2).json()


def test_law_and_product_are_told_as_not_about_the_customer(running):
    answer = limit(running, 2, own_minor=10_000).json()
    assert answer["reasons"][0]["code"] == "P-OWN"
    assert not answer["reasons"][0]["not_about_you"]
    assert answer["limit_minor"] == 10_000


def test_missing_holder_is_marked_and_blocks_increases(running):
    kit = running.kit
    rows = [row("bureau", 7)]
    assert running.put("bureau", kit.feed("bureau", rows, as_of="2026-03-02")).status_code == 200
    answer = limit(running, 2).json()
    assert answer["score"]["missing"] == ["bureau"]
    assert answer["provisional"]
    assert answer["increases_blocked"] == [
        {
            "party": "bureau",
            "why": "unknown customer",
            "text": "Until that changes no line is opened: "
            "the credit bureau has published no score for this customer.",
        }
    ]
    kept = limit(running, 2, current_minor=1_000_000).json()
    assert (kept["limit_minor"], kept["binding"]) == (1_000_000, ["holder"])
    assert kept["reasons"][0]["not_about_you"]
    assert "no limit is raised" in kept["increases_blocked"][0]["text"]


def test_limit_of_today_is_not_cut_by_an_outage(running):
    before = limit(running, 2, current_minor=4_000_000).json()
    rows = [row("bank", 7)]
    running.put("bank", running.kit.feed("bank", rows, as_of="2026-03-02"))
    after = limit(running, 2, current_minor=4_000_000).json()
    assert before["limit_minor"] == after["limit_minor"] == 4_000_000
    # Control: without a line the caps alone would give less.
    assert limit(running, 2).json()["limit_minor"] < 4_000_000


def test_feeds_that_are_all_stale_are_no_score(running):
    running.clock.now = STALE
    answer = score(running)
    assert answer.status_code == 503
    assert "out of date" in answer.json()["detail"]
    assert running.get("/readyz").json()["missing"] == list(running.kit.federation.holders)


def test_unknown_customer_is_not_found_and_not_named(running):
    answer = score(running, 99)
    assert (answer.status_code, answer.json()["code"]) == (404, "not-found")
    assert name_of(99) not in answer.text


def test_expired_champion_is_refused_by_name(running):
    running.clock.now = EXPIRED
    for path in (f"/v1/customers/{name_of(1)}/limit", "/v1/model"):
        answer = running.get(path)
        problem = answer.json()
        assert answer.status_code == 503
        assert (problem["code"], problem["check"]) == ("release-refused", "expiry")
    assert running.get("/readyz").status_code == 503


def test_no_champion_says_what_to_do(kit, start):
    world = start(kit)
    answer = score(world)
    assert answer.status_code == 503
    assert "confide model promote" in answer.json()["hint"]
    kit.serve()
    assert "feed publish" in score(world).json()["hint"]


def test_promotion_in_another_process_is_followed_with_its_feeds(running):
    kit = running.kit
    later = kit.release(2)
    for party, raw in kit.feeds(manifest=later.manifest).items():
        answer = running.put(party, raw)
        assert (answer.status_code, answer.json()["in_use"]) == (201, False)
    assert score(running).json()["model"]["name"] == "scorecard-0001"
    kit.serve(2)
    assert score(running).json()["model"]["name"] == "scorecard-0002"
    kit.registry.rollback(kit.federation, running.clock.now, "x")
    assert score(running).json()["model"]["name"] == "scorecard-0001"


def test_tampered_champion_is_refused_once_the_registry_changes_and_comes_back(running):
    kit = running.kit
    kit.registry.take(kit.release(2), kit.federation, running.clock.now)
    path = kit.registry.folder / "scorecard-0002" / "signatures.json"
    kit.registry.promote("scorecard-0002", kit.federation, running.clock.now, "x")
    good = path.read_bytes()
    path.write_bytes(good[:-5] + (b"0" if good[-5:-4] != b"0" else b"1") + good[-4:])
    answer = score(running)
    assert (answer.status_code, answer.json()["check"]) == (503, "signature")
    path.write_bytes(good)
    running.clock.now = "2026-03-02T08:00:01Z"
    running.put("bank", kit.feeds(manifest=kit.manifest(2))["bank"])
    assert score(running).json()["model"]["name"] == "scorecard-0002"


def test_model_tells_who_signed_and_how_good_it_is(running):
    model = running.get("/v1/model").json()
    assert model["digest"] == running.kit.manifest().digest()
    assert [one["party"] for one in model["parties"]] == list(running.kit.federation.holders)
    assert model["evaluation"] == {"auc": 0.78, "ks": 0.43}
    assert model["expires"] == "2026-08-28T12:00:00Z"


def test_feeds_are_listed_by_party(running):
    rows = running.get("/v1/feeds").json()["feeds"]
    assert [one["party"] for one in rows] == list(running.kit.federation.holders)
    assert all(one["customers"] == 3 and not one["stale"] for one in rows)
    assert {one["expires"] for one in rows} == {"2026-03-31T00:00:00Z"}
    running.clock.now = STALE
    assert all(one["stale"] for one in running.get("/v1/feeds").json()["feeds"])


def test_first_feed_is_created_and_the_next_takes_its_place(kit, start):
    kit.serve()
    world = start(kit)
    first = world.put("bank", kit.feeds()["bank"])
    assert (first.status_code, first.json()["in_use"]) == (201, True)
    assert world.put("bank", kit.feeds(as_of="2026-03-02")["bank"]).status_code == 200


def test_without_a_champion_the_process_is_up_and_not_ready(kit, start):
    world = start(kit)
    assert world.get("/healthz").json()["status"] == "ok"
    answer = world.get("/readyz")
    assert answer.status_code == 503
    assert answer.json()["findings"][0].startswith("release: no release serves")
