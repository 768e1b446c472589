"""The Beta distribution of a rate, and Jeffreys' interval."""

from __future__ import annotations

from math import exp, lgamma, log, log1p
from typing import Final

_TINY: Final = 1e-300

_ROUNDS: Final = 100_000


def jeffreys_interval(bads: int, people: int, level: float = 0.95) -> tuple[float, float]:
    """Return Jeffreys' interval of a rate (Brown, Cai & DasGupta 2001); closed at 0 and 1."""
    tail = (1.0 - level) / 2.0
    a, b = bads + 0.5, people - bads + 0.5
    low = 0.0 if bads == 0 else _beta_quantile(tail, a, b)
    high = 1.0 if bads == people else _beta_quantile(1.0 - tail, a, b)
    return low, high


def beta_mass(x: float, a: float, b: float) -> float:
    """Return the mass of a Beta(a, b) up to x: the regularised incomplete beta function.

    Continued fraction by Lentz's method (Press et al., Numerical Recipes, section 6.4).

    Parameters
    ----------
    x : float
        In [0, 1].
    a, b : float
        Above 0.
    """
    if x <= 0.0:
        return 0.0
    if x >= 1.0:
        return 1.0
    front = lgamma(a + b) - lgamma(a) - lgamma(b) + a * log(x) + b * log1p(-x)
    if x < (a + 1.0) / (a + b + 2.0):
        return exp(front) * _fraction(x, a, b) / a
    return 1.0 - exp(front) * _fraction(1.0 - x, b, a) / b


def _fraction(x: float, a: float, b: float) -> float:
    c, d = 1.0, 1.0 / _off_zero(1.0 - (a + b) * x / (a + 1.0))
    value = d
    for m in range(1, _ROUNDS):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        before = value
        for term in (even, odd):
            d = 1.0 / _off_zero(1.0 + term * d)
            c = _off_zero(1.0 + term / c)
            value *= c * d
        if abs(value - before) < 1e-15 * abs(value):
            break
    return value


def _off_zero(value: float) -> float:
    return value if abs(value) > _TINY else _TINY


def _beta_quantile(mass: float, a: float, b: float) -> float:
    low, high = 0.0, 1.0
    for _ in range(60):  # 2**-60 is below the precision of the mass
        middle = (low + high) / 2.0
        if beta_mass(middle, a, b) < mass:
            low = middle
        else:
            high = middle
    return (low + high) / 2.0
