"""Who is in that bin? What a builder can work out from the moments it opened (design 4.3).

The builder knows the rows of its own block B, one-hot with the label, shape (n, D). For a bin of
another holder with members z (0 or 1 a row) it opened ``m = B'z``, and with it ``k = sum(z)``. Two
attacks turn B and m into an estimate of z:

- *least squares*: the z of smallest norm with ``B'z = m``, which is ``B (B'B)^+ m``;
- *linear programme*: the z in [0, 1] with ``B'z = m`` that agrees most with the least-squares
  estimate. What no z can meet, since the moments are other people's, is met as nearly as can be.

An attack names the k rows of highest estimate, and its precision is the share of true members.
Part of that is no leak: bins go together, so moments of *other people* in the same bins already say
who is likely to be a member. The *gain* is the precision over that of the same attack fed with
moments of disjoint rows, scaled to the same k.

Rows that look alike to the builder are one unknown: whatever it does, it cannot tell them apart.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import sparse
from scipy.optimize import linprog

from tests.attacks.federations import RUN

_DIGITS = 9  # estimates that differ by less are equal: a tie, not knowledge
_MISS = 100.0  # price of missing a moment by one, far above what the objective can gain


@dataclass(frozen=True)
class Attacker:
    """The builder, who knows its own bin of each row and group.

    Parameters
    ----------
    codes : ndarray of int64, shape (n, groups)
        The label's among them.
    sizes : tuple of int
        Bins of each group.
    """

    codes: np.ndarray
    sizes: tuple[int, ...]

    @cached_property
    def block(self):
        """B, shape (n, D)."""
        return one_hot(self.codes, self.sizes)

    @cached_property
    def _inverse(self):
        return np.linalg.pinv(self.block.T @ self.block, hermitian=True)

    @property
    def rank(self):
        return int(np.linalg.matrix_rank(self.block.T @ self.block, hermitian=True))

    def least_squares(self, moments):
        """Estimate the members of one bin, shape (n,), or of several: moments (D, bins)."""
        return (self.block @ (self._inverse @ moments)).round(_DIGITS)

    @cached_property
    def _profiles(self):
        """Different rows one-hot, the profile of each row, rows of each profile, equalities.

        The unknowns of the programme are the members in each profile, then what each moment has
        over and what it lacks.
        """
        distinct, inverse, counts = np.unique(
            self.codes, axis=0, return_inverse=True, return_counts=True
        )
        unique = one_hot(distinct, self.sizes)
        eye = sparse.identity(unique.shape[1])
        equal = sparse.hstack([sparse.csr_matrix(unique.T), eye, -eye], format="csc")
        return unique, inverse.ravel(), counts, equal

    def linear_programme(self, moments, *, seconds=120.0):
        """Estimate the members of one bin, shape (n,).

        A programme that does not end within `seconds` is an error, not a failed attack.
        """
        unique, inverse, counts, equal = self._profiles
        wish = unique @ (self._inverse @ moments)
        slack = 2 * unique.shape[1]
        upper = np.concatenate([counts, np.full(slack, np.inf)])
        found = linprog(
            np.concatenate([-wish, np.full(slack, _MISS * np.abs(wish).max())]),
            A_eq=equal,
            b_eq=moments,
            bounds=np.column_stack([np.zeros(len(upper)), upper]),
            method="highs",
            options={"time_limit": seconds},
        )
        assert found.status == 0, f"the linear programme ended with: {found.message}"
        return (found.x[: len(counts)] / counts).round(_DIGITS)[inverse]


@dataclass(frozen=True)
class Scene:
    """A federation after its moments phase, with more people in the same bins.

    Parameters
    ----------
    names : tuple of str
        Holder, features and number of each bin of another holder than the builder.
    n : int
        Rows that the moments were computed on: the first ones.
    codes, sizes
        The builder's bins of everybody, shape (people, groups), see `Attacker`.
    victims : ndarray of float32, shape (people, bins)
        Who is in which bin: what the attack is scored with.
    opened : ndarray of float64, shape (D, bins)
        What the builder opened.
    """

    names: tuple[str, ...]
    n: int
    codes: np.ndarray
    sizes: tuple[int, ...]
    victims: np.ndarray
    opened: np.ndarray

    def draw(self, seed):
        """Return an attacker, members, its moments and scaled moments of disjoint rows.

        Draw 0 is the protocol's own: its rows, and the moments that the builder opened. Others
        draw who takes part anew, in the same bins, so that a gain can be told from the chance of
        one draw: in a bin of 100, precision has a standard error of .03 to .05.
        """
        people = len(self.codes)
        order = np.random.default_rng(seed).permutation(people) if seed else np.arange(people)
        own, other = order[: self.n], order[self.n : 2 * self.n]
        attacker = Attacker(self.codes[own], self.sizes)
        members = self.victims[own]
        moments = self.opened if seed == 0 else attacker.block.T @ members
        theirs = one_hot(self.codes[other], self.sizes).T @ self.victims[other]
        share = members.sum(axis=0) / np.maximum(self.victims[other].sum(axis=0), 1)
        return attacker, members, moments, theirs * share

    @property
    def sizes_of_bins(self):
        """Members of each bin among the rows of the protocol's run."""
        return self.victims[: self.n].sum(axis=0).astype(int)


def scene_of(federation, n_rows):
    """Read what the builder opened from its own folder, and everybody's bins from theirs."""
    builder = federation.parties[federation.builder]
    everybody = np.arange(len(builder.train.ids))
    widths = {
        name: sum(plan.n_atoms for plan in federation.plans(name))
        for name in federation.run.federation.holders
    }
    edges = np.cumsum([0, *widths.values()])
    span = {name: slice(*edges[i : i + 2]) for i, name in enumerate(widths)}
    counts = builder.store.load_array(RUN, "moments")
    bads = builder.store.load_array(RUN, "moments_bads")
    names, victims, opened = [], [], []
    for holder in federation.others:
        plans = federation.plans(holder)
        names += [
            f"{holder} {' x '.join(plan.features)} #{i}"
            for plan in plans
            for i in range(plan.n_atoms)
        ]
        bins = span[holder]
        victims.append(
            one_hot(
                federation.codes(holder, rows=everybody), tuple(plan.n_atoms for plan in plans)
            ).astype(np.float32)
        )
        goods = np.diagonal(counts)[bins] - bads[bins]
        opened.append(np.vstack([counts[span[builder.name], bins], goods, bads[bins]]))
    return Scene(
        tuple(names),
        n_rows,
        np.column_stack(
            [federation.codes(builder.name, rows=everybody), builder.train.label.astype(np.int64)]
        ),
        (*(plan.n_atoms for plan in federation.plans(builder.name)), 2),
        np.hstack(victims),
        np.hstack(opened).astype(np.float64),
    )


def one_hot(codes, sizes):
    """Return bins as a 0/1 matrix of float64, shape (n, sum of sizes)."""
    starts = np.cumsum([0, *sizes[:-1]])
    block = np.zeros((len(codes), sum(sizes)))
    np.put_along_axis(block, codes + starts, 1.0, axis=1)
    return block


def precision(estimate, members):
    """Return the share of true members among the k rows of highest estimate.

    Of rows with equal estimates at the border it takes as many at random, in expectation.
    """
    k = int(members.sum())
    border = np.partition(estimate, -k)[-k]
    above, tied = estimate > border, estimate == border
    drawn = (k - above.sum()) / tied.sum()
    return float((members[above].sum() + drawn * members[tied].sum()) / k)


def least_squares_precision(scene, draws):
    """Return the precision of least squares, and of its baseline: shape (draws, 2, bins)."""
    out = np.empty((draws, 2, len(scene.names)))
    for draw in range(draws):
        attacker, members, *fed = scene.draw(draw)
        truth = np.ascontiguousarray(members.T)
        for side, moments in enumerate(fed):
            estimates = np.ascontiguousarray(attacker.least_squares(moments).T)
            out[draw, side] = [precision(*pair) for pair in zip(estimates, truth, strict=True)]
    return out


def linear_programme_precision(scene, bins, *, enough=-1.0):
    """Return the precision of the linear programme and of its baseline: shape (2, len(bins)).

    Where the attack itself reaches no more than `enough`, so does its gain, and the baseline is
    left at 0.
    """
    attacker, members, own, other = scene.draw(0)
    out = np.zeros((2, len(bins)))
    for place, index in enumerate(bins):
        truth = members[:, index]
        out[0, place] = precision(attacker.linear_programme(own[:, index]), truth)
        if out[0, place] > enough:
            out[1, place] = precision(attacker.linear_programme(other[:, index]), truth)
    return out


def table(title, scene, bins, attack, baseline, *, rows=5):
    """Return the bins of highest gain as text."""
    gain = np.asarray(attack) - np.asarray(baseline)
    lines = [f"{title}: {len(gain)} bins, highest gain {gain.max():.3f}, mean {gain.mean():.3f}"]
    lines.append(f"  {'bin':<62}{'members':>8}{'attack':>8}{'others':>8}{'gain':>7}")
    for place in np.argsort(-gain)[:rows].tolist():
        size = scene.sizes_of_bins[bins[place]]
        numbers = f"{attack[place]:>8.3f}{baseline[place]:>8.3f}{gain[place]:>7.3f}"
        lines.append(f"  {scene.names[bins[place]]:<62}{size:>8}{numbers}")
    return "\n".join(lines) + "\n"
