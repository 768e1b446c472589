"""The sections of the federation file: every setting, its default, its range, what it is for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from shared.groups import DEFAULT_GROUP, GROUPS
from shared.settings import setting


@dataclass(frozen=True, slots=True)
class Protocol:
    """How the parties talk and what they refuse."""

    alignment_group: str = setting(
        DEFAULT_GROUP, "Group in which ids are compared", choices=tuple(GROUPS)
    )
    max_ids: int = setting(5_000_000, "Largest set of ids a party may bring", low=1)
    min_common: int = setting(1000, "Fewest common customers; below, the run stops", low=100)
    sample_cap: int = setting(
        200_000, "Common customers from which on moments come from a sample", low=1000
    )
    score_openings: int = setting(
        3, "How many different cards may be opened over the same customers", low=1, high=10
    )
    two_party_scores: str = setting(
        "refuse",
        "With two holders, may the builder see the other's points of each customer?",
        choices=("refuse", "accept"),
    )
    deadline_s: int = setting(120, "Seconds to wait for a party before it counts as lost", low=1)
    workers: int = setting(1, "Processes a party uses for alignment", low=1, high=256)


@dataclass(frozen=True, slots=True)
class Limits:
    """How many people must stand behind a statistic (the floors)."""

    rows: int = setting(100, "Fewest customers in a bin and in its complement", low=2)
    share: float = setting(0.004, "The same as a share of all", low=0.0, high=0.5)
    builder_rank: float = setting(
        0.006,
        "Largest rank of the builder's columns, as a share of the customers",
        low=0.0,
        high=1.0,
    )


@dataclass(frozen=True, slots=True)
class Card:
    """How the scorecard is built."""

    thresholds: int = setting(24, "Most thresholds of one feature", low=1, high=200)
    pair_thresholds: int = setting(
        2, "Most thresholds of each feature in a pair; 0 builds no pairs", low=0, high=20
    )
    pair_levels: int = setting(
        5, "The same for a feature with few different values", low=1, high=20
    )
    sparser: bool = setting(False, "Prefer a shorter card that is nearly as good")
    pdo: float = setting(50.0, "Points to double the odds", low=1.0)
    base_score: float = setting(600.0, "Score at the base odds")
    base_odds: float = setting(20.0, "Good to bad odds at the base score", low=0.001)


@dataclass(frozen=True, slots=True)
class Neural:
    """How the neural model is trained; holders of the same features only."""

    strategy: str = setting(
        "fedavg",
        "How rounds are put together",
        choices=("fedavg", "fedprox", "fedadam"),
    )
    rounds: int = setting(12, "Rounds of federated averaging", low=1, high=1000)
    local_epochs: int = setting(2, "Passes over its customers a party makes in a round", low=1)
    batch: int = setting(256, "Customers in one step", low=1)
    hidden: int = setting(32, "Units of every hidden layer", low=2, high=1024)
    blocks: int = setting(1, "Residual blocks", low=0, high=16)
    pieces: int = setting(24, "Most pieces of the encoding of one feature", low=1, high=256)
    learning_rate: float = setting(0.002, "Length of a step", low=1e-6, high=10.0)
    decay: float = setting(0.01, "Decay of weights", low=0.0, high=10.0)
    pull: float = setting(
        0.01, "fedprox: strength of the pull back to a round's start", low=0.0, high=100.0
    )
    server_rate: float = setting(
        0.005, "fedadam: length of the coordinator's step", low=1e-6, high=10.0
    )
    clip: float = setting(
        20.0, "Largest length (L2) of a party's update; longer ones are cut", low=1e-3, high=1000.0
    )
    holdout: float = setting(
        0.1,
        "Share of a party's customers that it checks with and never trains on",
        low=0.0,
        high=0.5,
    )
    harm: float = setting(
        0.05, "A round that raises the builder's loss by more than this share is undone", low=0.0
    )
    min_parties: int = setting(
        0, "Fewest parties that a round may go on with, 3 or more; 0: every party", low=0
    )
    seed: int = setting(1, "Of the first weights and of the order of customers", low=0)


@dataclass(frozen=True, slots=True)
class Privacy:
    """Noise on what is opened; none by default."""

    moments_epsilon: float = setting(
        0.0, "Epsilon of the moments, bins and all; 0 adds no noise", low=0.0, high=100.0
    )
    training_epsilon: float = setting(
        0.0, "Epsilon of a whole training of the neural model; 0 adds no noise", low=0.0, high=100.0
    )
    delta: float = setting(
        1e-5, "Chance that epsilon does not hold; below one over the customers", low=1e-12, high=0.1
    )
    colluders: int = setting(
        0, "How many parties may pool what they know; 0: fewer than half of a sum's", low=0, high=8
    )
    clip: float = setting(
        1.0, "Largest length (L2) of one customer's gradient", low=1e-3, high=100.0
    )
    rate: float = setting(
        0.05, "Share of the customers that a step of the noisy training draws", low=1e-4, high=1.0
    )
    steps: int = setting(160, "Steps of the noisy training, all rounds together", low=1)
    step_length: float = setting(
        3.0, "Length of its first steps, in units of clip; it falls to 0", low=1e-6, high=1000.0
    )


@dataclass(frozen=True, slots=True)
class Publishing:
    """When a release or a score feed counts."""

    quorum: int = setting(
        0, "Signatures a release needs before the limit service takes it; 0: every party's", low=0
    )
    valid_days: int = setting(180, "Days a release may be served", low=1, high=730)
    feed_days: int = setting(30, "Days after which a score feed is stale", low=1, high=366)
    clock_skew_s: int = setting(
        300, "How far the clocks of two members may be apart", low=1, high=3600
    )


@dataclass(frozen=True, slots=True)
class Member:
    """A party, or the coordinator, as the federation knows it."""

    fingerprint: str = setting(doc="SHA-256 of its Ed25519 public key, hex")
    node: str = setting("", "SHA-256 of its Flower node key, hex; engine `flower` asks for it")
    home: str = setting(
        "", "Its folder, where parties run on one machine; not part of the agreement"
    )


SECTIONS: Mapping[str, type] = {
    "protocol": Protocol,
    "floors": Limits,
    "scorecard": Card,
    "neural": Neural,
    "privacy": Privacy,
    "release": Publishing,
}
