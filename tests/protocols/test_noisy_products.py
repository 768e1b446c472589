"""Blind products with noise: what leaves carries it whole, what is wrong beyond it is found."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest

from shared.arrays import unpack_array
from shared.errors import BadPeer, BudgetSpent
from shared.masks import Keystream
from shared.privacy.moments import LABEL_WEIGHT
from shared.protocols import products_noise
from shared.protocols.products import Noise, OneHot, ProductJob, deal, multiply
from shared.protocols.products_noise import Design
from shared.sealed import SealedChannel
from tests.support import COORDINATOR, MemoryJournal, run_parties

N, MULTIPLIER = 3000, 2.0


def matrix(sizes, seed):
    rng = np.random.default_rng(seed)
    codes = np.column_stack([rng.integers(0, size, N) for size in sizes])
    return OneHot(codes, tuple(sizes), b"bins", "o")


MINE = {"a": matrix([4, 3, 2], 1), "b": matrix([5, 4], 2), "c": matrix([3], 3)}


def play(*, draw=None, dealer=deal, tamper=None):
    """Run three holders; `a` builds, its last group is the label."""
    job = ProductJob("r", "moments", 1, ("a", "b", "c"), "a", COORDINATOR, N, ring=32)
    designs = []

    def drawn(name, design):
        draw_now = draw or (lambda d, who: products_noise.draw(d, who, entropy(who)))
        return draw_now(design, name)

    def holder(name, channel):
        noise = Noise(MULTIPLIER, lambda design: drawn(name, design), designs.append)
        return multiply(
            channel,
            job,
            MINE[name],
            minimum=2000,
            max_rank_share=1.0,
            journal=MemoryJournal(),
            noise=noise,
        )

    roles = {name: partial(holder, name) for name in job.holders}
    roles[COORDINATOR] = lambda channel: dealer(channel, job)
    return run_parties(roles, tamper=tamper, deadline=3.0), designs[0] if designs else None


def entropy(label):
    return Keystream(bytes(range(32)), label).read


def zero(design, who):
    width = sum(design.sizes[who])
    cross = {p: np.zeros((width, sum(s)), np.int64) for p, s in design.sizes.items() if p != who}
    return products_noise.Additions(np.zeros((width, width), np.int64), cross)


def table(first, second):
    one, two = MINE[first].dense(0, N), MINE[second].dense(0, N)
    return (one.T @ two).astype(np.int64)


@pytest.fixture(autouse=True)
def no_floors(monkeypatch):
    """Bins of the builder hold no floor here; those of others are never asked."""
    monkeypatch.setattr("shared.protocols.products.check_floors", lambda *_: None)


def test_without_noise_the_tables_are_exact_but_for_good_customers_and_their_weight():
    run, design = play(draw=zero)
    opened = run.value("a")
    unit = design.unit
    weights = np.array([1] * 7 + [0, LABEL_WEIGHT]) * unit
    assert np.array_equal(opened.cross["a", "b"], table("a", "b") * weights[:, None])
    assert np.array_equal(opened.cross["b", "c"], table("b", "c") * unit)
    assert np.array_equal(np.diag(opened.own["b"]), MINE["b"].margins * unit)
    assert np.array_equal(opened.own["a"], table("a", "a") * unit)


def test_each_holder_but_the_builder_adds_the_whole_noise_for_its_own_records():
    run, design = play()
    opened = run.value("a")
    assert design.sensitivity("b") == 1 + 2 * 3 + 2 + 16 * 2  # 2 features, 2 + 1 of others
    assert design.sensitivity("c") == 0 + 1 * 4 + 1 + 16
    for holder in "bc":
        assert design.noise(holder).colluders == 2  # it counts on nobody
        needed = MULTIPLIER * np.sqrt(design.sensitivity(holder)) * design.unit
        off = opened.cross["a", holder][:7] - table("a", holder)[:7] * design.unit
        assert off.std() == pytest.approx(needed, rel=0.45)
        assert np.abs(off).max() < 6 * needed
    of_both = opened.cross["b", "c"] - table("b", "c") * design.unit
    assert of_both.std() == pytest.approx(np.sqrt(design.variance("b", "c")), rel=0.45)
    assert design.variance("b", "c") == design.variance("b") + design.variance("c")
    assert not (opened.own["a"] - table("a", "a") * design.unit).any()
    assert not opened.cross["a", "b"][7].any()  # good customers are opened nowhere


def test_whatever_leaves_a_holder_has_its_noise_and_no_margin_leaves(monkeypatch):
    sent = []
    original = SealedChannel.send_all

    def spy(self, to, tag, payload):
        sent.append((self.me, tag, payload))
        original(self, to, tag, payload)

    monkeypatch.setattr(SealedChannel, "send_all", spy)
    run, design = play()
    run.value("a")
    tags = {tag for who, tag, _ in sent if who == "b"}
    assert "products/margins" not in tags
    own = next(payload for who, tag, payload in sent if (who, tag) == ("b", "products/own"))
    seen = unpack_array(own, np.int64, (9, 9), cap=100)
    exact = table("b", "b") * design.unit
    assert (np.diag(seen) != np.diag(exact)).mean() > 0.7
    assert (seen[:5, 5:] != exact[:5, 5:]).mean() > 0.7
    assert not seen[:5, :5][~np.eye(5, dtype=bool)].any()


def test_a_holder_draws_once_and_one_that_refuses_sends_nothing_of_its_rows():
    def poor(design, who):
        if who == "c":
            raise BudgetSpent("spent")
        return zero(design, who)

    run, _ = play(draw=poor)
    assert isinstance(run.results["c"], BudgetSpent)
    assert not [f for f in run.frames if f.sender == "c" and f.tag == "products/masked"]


def crooked(channel, job):
    genuine = channel.send

    def send(to, tag, payload):
        if tag == "products/correction/b":
            payload = payload[:-2] + bytes([payload[-2] ^ 1]) + payload[-1:]  # 65,536 customers
        genuine(to, tag, payload)

    channel.send = send
    deal(channel, job)


def test_a_wrong_correction_is_found_beyond_the_noise():
    error = play(dealer=crooked)[0].results["a"]
    assert isinstance(error, BadPeer)
    assert "between b and c" in str(error)
    assert COORDINATOR in str(error)


def test_a_table_that_is_wrong_within_the_noise_is_not_found_and_one_beyond_it_is():
    run, design = play(draw=zero)
    bins = {name: np.diag(part) for name, part in run.value("a").own.items()}
    good = table("b", "c") * design.unit
    far = int(np.sqrt(design.variance("b", "c")))
    check = partial(products_noise.check, design, ("b", "c"), n_rows=N, dealer=COORDINATOR)
    for off, found in ((0, False), (10 * far, False), (200 * far, True), (-200 * far, True)):
        wrong = good.copy()
        wrong[1, 1] += off
        if found:
            with pytest.raises(BadPeer, match="not even within the noise"):
                check(wrong, bins)
        else:
            check(wrong, bins)


@pytest.mark.parametrize("lie", ["asymmetric", "within a feature", "too many", "negative"])
def test_an_own_table_that_is_none_of_these_customers_names_its_holder(lie):
    _, design = play(draw=zero)
    good = table("b", "b") * design.unit * products_noise._between(design.sizes["b"])
    products_noise.check_own(design, "b", good, N)  # the control
    wrong = good.copy()
    place = {"asymmetric": (0, 5), "within a feature": (0, 1), "too many": (6, 6)}
    wrong[place.get(lie, (2, 2))] += -1_000_000 if lie == "negative" else 1_000_000
    if lie == "within a feature":
        wrong[1, 0] = wrong[0, 1]
    with pytest.raises(BadPeer) as caught:
        products_noise.check_own(design, "b", wrong, N)
    assert caught.value.party == "b"


def test_no_record_of_a_holder_moves_what_it_hands_over_further_than_its_sensitivity():
    """Brute force: one row of holder b blank or used, all others and all their records fixed."""
    design = Design({name: one.sizes for name, one in MINE.items()}, "a", MULTIPLIER)
    between = products_noise._between(design.sizes["b"])
    upper = np.triu(np.ones_like(between)) * between
    weights = {"a": np.array([1] * 7 + [0, LABEL_WEIGHT]), "c": np.ones(3, int)}
    worst = 0
    for row in range(40):
        own = MINE["b"].dense(row, row + 1)[0]
        moved = float(((np.outer(own, own) * upper) ** 2).sum())
        for peer, weight in weights.items():
            theirs = MINE[peer].dense(row, row + 1)[0] * weight
            moved += float((np.outer(own, theirs) ** 2).sum())
        worst = max(worst, moved)
    assert worst == design.sensitivity("b")
