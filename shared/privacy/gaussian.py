"""Discrete Gaussian noise, drawn exactly: integers with probability proportional to exp(-x^2/2v).

Canonne, Kamath, Steinke, "The Discrete Gaussian for Differential Privacy" (NeurIPS 2020),
algorithms 1 to 3, for whole arrays at once. Floating-point noise has holes by which it can be told
from what it hides (Mironov, CCS 2012); here every coin is tossed for its rational probability.

A coin compares 64 random bits with its probability. Double precision settles that unless the two
are within `_MARGIN`; then exact fractions do, with more bits where 64 leave it open. So the result
is exact, and fast where exactness costs nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from os import urandom

import numpy as np
from numpy.typing import NDArray

from shared.errors import UsageError

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
Entropy = Callable[[int], bytes]

#: Largest variance: below it every product of the acceptance test fits 64 bits.
MAX_VARIANCE = 1 << 56

_WORD = 1 << 64
# Doubles are wrong by less than 2^-42 in an exponent below `_FAR`; see `_acceptance`.
_MARGIN = 2.0**-36
# A proposal of more than so many scales is weighed by exact fractions: 1 in 10^13 is.
_FAR = 30


def discrete_gaussian(size: int, variance: int, entropy: Entropy = urandom) -> Ints:
    """Draw independent integers from the discrete Gaussian.

    Parameters
    ----------
    size : int
        How many.
    variance : int
        The parameter of the distribution, 1 to `MAX_VARIANCE`; from 2 on its variance in all but
        the ninth digit.
    entropy : callable
        Takes a number of bytes, returns so many unpredictable ones.

    Returns
    -------
    ndarray of int64, shape (size,)

    Raises
    ------
    UsageError
        If size or variance is out of range.
    """
    if size < 0 or not 1 <= variance <= MAX_VARIANCE:
        raise UsageError(f"noise: variance must be in 1..2^56, size >= 0. Got {variance}, {size}")
    scale = math.isqrt(variance) + 1
    drawn = np.zeros(size, dtype=np.int64)
    open_places = np.arange(size)
    while open_places.size:  # algorithm 3: propose from a discrete Laplace, accept or try again
        proposed = _discrete_laplace(open_places.size, scale, entropy)
        accepted = _acceptance(proposed, variance, scale, entropy)
        drawn[open_places[accepted]] = proposed[accepted]
        open_places = open_places[~accepted]
    return drawn


def _acceptance(proposed: Ints, variance: int, scale: int, entropy: Entropy) -> Bools:
    """Toss coins of exp(-(|y| - v/t)^2 / 2v) = exp(-(|y| t - v)^2 / (2 v t^2))."""
    size = np.abs(proposed)
    near = size <= _FAR * scale
    # Exact in 64 bits where it is near; one rounding a factor after that.
    distance = np.where(near, np.where(near, size, 0) * scale - variance, 0).astype(np.float64)
    exponent = (distance / scale) ** 2 / (2.0 * variance)

    def exact(place: int) -> Fraction:
        return Fraction((int(size[place]) * scale - variance) ** 2, 2 * variance * scale**2)

    for place in np.flatnonzero(~near).tolist():
        exponent[place] = float(exact(place))
    return exponential_coins(exponent, exact, entropy)


def _discrete_laplace(size: int, scale: int, entropy: Entropy) -> Ints:
    """Draw integers with probability proportional to exp(-|x| / scale): algorithm 2."""
    drawn = np.zeros(size, dtype=np.int64)
    places = np.arange(size)
    while places.size:
        rest = uniform_below(places.size, scale, entropy)

        def exact(place: int, rest: Ints = rest) -> Fraction:
            return Fraction(int(rest[place]), scale)

        kept = _series(rest / scale, exact, entropy)
        rest = rest[kept]
        whole = _geometric(rest.size, entropy)
        value = rest + scale * whole
        minus = (_words(rest.size, entropy) & np.uint64(1)).astype(bool)
        good = ~(minus & (value == 0))  # otherwise zero would come twice as often
        drawn[places[kept][good]] = np.where(minus, -value, value)[good]
        again = np.ones(places.size, dtype=bool)
        again[np.flatnonzero(kept)[good]] = False
        places = places[again]
    return drawn


def _geometric(size: int, entropy: Entropy) -> Ints:
    """Count successes of coins of exp(-1) before the first failure."""
    count = np.zeros(size, dtype=np.int64)
    places = np.arange(size)
    while places.size:
        heads = _series(np.ones(places.size), lambda _: Fraction(1), entropy)
        places = places[heads]
        count[places] += 1
    return count


def exponential_coins(
    exponent: Floats, exact: Callable[[int], Fraction], entropy: Entropy
) -> Bools:
    """Toss coins that come up with probability exp(-exponent): algorithm 1.

    Parameters
    ----------
    exponent : ndarray of float64, shape (n,)
        At least 0, to double precision.
    exact : callable
        Place to its exponent as a fraction.
    entropy : callable

    Returns
    -------
    ndarray of bool, shape (n,)
    """
    whole = np.floor(exponent)
    for place in np.flatnonzero(np.abs(exponent - np.rint(exponent)) < _MARGIN).tolist():
        whole[place] = math.floor(exact(place))
    up = np.ones(exponent.size, dtype=bool)
    step = 0
    while (places := np.flatnonzero(up & (whole > step))).size:
        up[places] = _series(np.ones(places.size), lambda _: Fraction(1), entropy)
        step += 1
    places = np.flatnonzero(up)

    def rest(place: int) -> Fraction:
        return exact(int(places[place])) - int(whole[places[place]])

    up[places] = _series(np.clip(exponent[places] - whole[places], 0.0, 1.0), rest, entropy)
    return up


def _series(exponent: Floats, exact: Callable[[int], Fraction], entropy: Entropy) -> Bools:
    """Toss coins of exp(-exponent), exponent in [0, 1]: odd is the first failing of coins x/k."""
    odd = np.ones(exponent.size, dtype=bool)
    places, k = np.arange(exponent.size), 1
    while places.size:

        def over_k(place: int, places: NDArray[np.intp] = places, k: int = k) -> Fraction:
            return exact(int(places[place])) / k

        places = places[_coins(exponent[places] / k, over_k, entropy)]
        odd[places] = ~odd[places]
        k += 1
    return odd


def _coins(probability: Floats, exact: Callable[[int], Fraction], entropy: Entropy) -> Bools:
    words = _words(probability.size, entropy)
    share = words.astype(np.float64) / float(_WORD)
    up = share < probability
    for place in np.flatnonzero(np.abs(share - probability) < _MARGIN).tolist():
        up[place] = _exact_coin(int(words[place]), exact(place), entropy)
    return up


def _exact_coin(word: int, probability: Fraction, entropy: Entropy) -> bool:
    """Compare a number in [0, 1), known by its first bits, with a probability."""
    known = _WORD
    while True:
        if (word + 1) * probability.denominator <= probability.numerator * known:
            return True
        if word * probability.denominator >= probability.numerator * known:
            return False
        word = (word << 64) | int.from_bytes(entropy(8), "little")
        known <<= 64


def uniform_below(size: int, bound: int, entropy: Entropy) -> Ints:
    """Draw integers uniform in [0, bound), exactly.

    Parameters
    ----------
    size : int
    bound : int
        1 to 2^62.
    entropy : callable

    Returns
    -------
    ndarray of int64, shape (size,)
    """
    last = np.uint64((_WORD // bound) * bound - 1)
    drawn = _words(size, entropy)
    while (over := np.flatnonzero(drawn > last)).size:
        drawn[over] = _words(over.size, entropy)
    return (drawn % np.uint64(bound)).astype(np.int64)


def _words(size: int, entropy: Entropy) -> NDArray[np.uint64]:
    return np.frombuffer(entropy(8 * size), dtype="<u8").astype(np.uint64)
