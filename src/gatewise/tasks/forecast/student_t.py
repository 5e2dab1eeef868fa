"""Student's t distribution in NumPy: cumulative distribution, quantiles, and the CRPS.

torch has no incomplete beta function and SciPy is no dependency, so the few formulas stand here.
Sources: DLMF 8.17 for the incomplete beta function; Jordan, Krüger & Lerch, "Evaluating
probabilistic forecasts with scoringRules", Journal of Statistical Software 90(12), 2019, for the
CRPS.
"""

from __future__ import annotations

import functools
import math

import numpy as np
import torch
from jaxtyping import Float64

_TINY = 1e-300
_TERMS = 400
"""Terms of the continued fraction at most; √max(a, b) of them are needed."""


def cdf(z: np.ndarray, df: np.ndarray) -> Float64[np.ndarray, "*N"]:
    """Return the probability that a t variable is at most z.

    Args:
        z: Standardised values, any shape.
        df: Degrees of freedom, > 0, of a shape that broadcasts.
    """
    z, df = np.broadcast_arrays(np.asarray(z, np.float64), np.asarray(df, np.float64))
    squares = z * z
    tail = 0.5 * _incomplete_beta(df / 2, np.full_like(df, 0.5), df / (df + squares))
    return np.where(z > 0, 1 - tail, tail)


def pdf(z: np.ndarray, df: np.ndarray) -> Float64[np.ndarray, "*N"]:
    """Return the density of a t variable at z."""
    z, df = np.broadcast_arrays(np.asarray(z, np.float64), np.asarray(df, np.float64))
    constant = _log_gamma((df + 1) / 2) - _log_gamma(df / 2) - 0.5 * np.log(df * math.pi)
    return np.exp(constant - (df + 1) / 2 * np.log1p(z * z / df))


def quantile(level: float, df: np.ndarray) -> Float64[np.ndarray, "*N"]:
    """Return the value below which a t variable lies with probability ``level``.

    Args:
        level: In (0, 1).
        df: Degrees of freedom, ≥ 2, any shape.

    Returns:
        Values of the shape of ``df``, right to 1e-6 relative to their size for levels between
        0.0005 and 0.9995: interpolated in 1/ν, so that millions cost no more than a few.
    """
    nodes, values = _quantile_table(min(level, 1 - level))
    upper = np.interp(1 / np.asarray(df, np.float64), nodes, values)
    return upper if level > 0.5 else -upper


def crps(z: np.ndarray, df: np.ndarray) -> Float64[np.ndarray, "*N"]:
    """Return the continuous ranked probability score of a standard t forecast at z.

    With density f and distribution function F of ν degrees of freedom::

        z (2 F(z) - 1) + 2 f(z) (ν + z²)/(ν - 1) - 2 √ν/(ν - 1) · B(½, ν - ½) / B(½, ν/2)²

    Args:
        z: (truth - location) / scale; the score of the unstandardised forecast is ``scale`` times
            the result.
        df: Degrees of freedom ν, > 1.
    """
    z, df = np.broadcast_arrays(np.asarray(z, np.float64), np.asarray(df, np.float64))
    half = np.full_like(df, 0.5)
    spread = np.exp(_log_beta(half, df - 0.5) - 2 * _log_beta(half, df / 2))
    mean = 2 * np.sqrt(df) / (df - 1) * spread
    return z * (2 * cdf(z, df) - 1) + 2 * pdf(z, df) * (df + z * z) / (df - 1) - mean


@functools.lru_cache(maxsize=64)
def _quantile_table(tail: float) -> tuple[np.ndarray, np.ndarray]:
    """Exact upper quantiles on a grid of 1/ν from 0 (nearly normal) to 1/2."""
    nodes = np.linspace(0.0, 0.5, 4097)
    df = 1 / np.maximum(nodes, 1e-7)
    # The quantile lies between 0 and a bound that is doubled until it is one; bisection cannot
    # fail, and the Newton steps after it bring full precision.
    low, high = np.zeros_like(df), np.ones_like(df)
    while (open_ended := cdf(-high, df) > tail).any():
        high = np.where(open_ended, 2 * high, high)
    for _ in range(12):
        middle = (low + high) / 2
        below = cdf(-middle, df) > tail
        low, high = np.where(below, middle, low), np.where(below, high, middle)
    z = (low + high) / 2
    for _ in range(4):
        z = z - (tail - cdf(-z, df)) / pdf(z, df)
    return nodes, z


def _incomplete_beta(a: np.ndarray, b: np.ndarray, x: np.ndarray) -> np.ndarray:
    """The regularised incomplete beta function I_x(a, b)."""
    # The continued fraction converges fast for x below the mean; above it, by symmetry.
    swap = x > (a + 1) / (a + b + 2)
    p, q, u = np.where(swap, b, a), np.where(swap, a, b), np.where(swap, 1 - x, x)
    # where: log of 0 at the ends of the range, whose value is 0
    safe = np.where(u > 0, u, 0.5)
    front = np.exp(p * np.log(safe) + q * np.log1p(-safe) - _log_beta(p, q)) / p
    value = np.where(u > 0, front * _beta_fraction(p, q, safe), 0.0)
    return np.where(swap, 1 - value, value)


def _beta_fraction(a: np.ndarray, b: np.ndarray, x: np.ndarray) -> np.ndarray:
    """The continued fraction DLMF 8.17.22, by Lentz's method."""
    c = np.ones_like(x)
    d = 1 / _away_from_zero(1 - (a + b) * x / (a + 1))
    value = d.copy()
    for m in range(1, _TERMS):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        for term in (even, odd):
            d = 1 / _away_from_zero(1 + term * d)
            c = _away_from_zero(1 + term / c)
            value = value * (c * d)
        if np.abs(c * d - 1).max(initial=0.0) < 1e-15:
            break
    return value


def _away_from_zero(x: np.ndarray) -> np.ndarray:
    return np.where(np.abs(x) < _TINY, _TINY, x)


def _log_gamma(x: np.ndarray) -> np.ndarray:
    return torch.lgamma(torch.from_numpy(np.array(x))).numpy()


def _log_beta(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return _log_gamma(a) + _log_gamma(b) - _log_gamma(a + b)
