"""Damped hyperbolic functions, stable in every regime, for numpy arrays and torch tensors.

With z = a² − b²,

    C(a, b) = e^{−a} cosh √z,    S(a, b) = e^{−a} sinh √z / √z,    a ≥ 0,

are the twins of :class:`derive.special_functions.damped_cosh` and ``damped_sinhc``. Three things are minded: z is taken as
(a − b)(a + b); exponents are folded before they are taken, −a + √z = −b²/(a + √z), so nothing overflows and slow decay
keeps its digits; and near z = 0 the Taylor series of the entire function is used, so values *and* derivatives pass
through critical damping. Torch tensors keep their graph.
"""

from __future__ import annotations

from math import factorial

from numerics.array_namespace import Array, like, namespace

_NEAR = 1.0
"""|z| below which the series is used: ten terms leave 1/20! ≈ 4e-19 there."""
_COSH_SERIES = tuple(1 / factorial(2 * k) for k in range(10))
_SINHC_SERIES = tuple(1 / factorial(2 * k + 1) for k in range(10))


def damped_cosh(a: Array, b: Array) -> Array:
    """e^{−a} cosh √(a² − b²), for a ≥ 0, broadcasting.

    >>> import numpy as np
    >>> damped_cosh(np.array([0.0, 1e5]), np.array([np.pi, 0.0]))  # cos π, and (1 + e^{−2a})/2
    array([-1. ,  0.5])
    """
    xp, a, b, near, root, z = _parts(a, b)
    slow, fast = -(b * b) / (a + root), -a - root
    over = (xp.exp(slow) + xp.exp(fast)) / 2
    under = xp.exp(-a) * xp.cos(root)
    close = xp.exp(-a) * _horner(_COSH_SERIES, xp.where(near, z, 0 * z))
    return xp.where(near, close, xp.where(z > 0, over, under))


def damped_sinhc(a: Array, b: Array) -> Array:
    """e^{−a} sinh √(a² − b²) / √(a² − b²), for a ≥ 0, broadcasting.

    >>> import numpy as np
    >>> damped_sinhc(np.array([1.0]), np.array([1.0])) * np.e  # critical
    array([1.])
    """
    xp, a, b, near, root, z = _parts(a, b)
    slow = -(b * b) / (a + root)
    over = -xp.exp(slow) * xp.expm1(-2 * root) / (2 * root)
    under = xp.exp(-a) * xp.sin(root) / root
    close = xp.exp(-a) * _horner(_SINHC_SERIES, xp.where(near, z, 0 * z))
    return xp.where(near, close, xp.where(z > 0, over, under))


def _parts(a: Array, b: Array):
    """(library, a, b, where |z| is small, √|z| or 1 there, z): every branch is finite wherever it is evaluated."""
    xp = namespace(a, b)
    example = a if namespace(a) is xp and hasattr(a, "dtype") else b
    a, b = like(a, example), like(b, example)
    z = (a - b) * (a + b)
    near = abs(z) < _NEAR
    return xp, a, b, near, xp.sqrt(xp.where(near, 0 * z + 1, abs(z))), z


def _horner(coefficients: tuple[float, ...], z: Array) -> Array:
    value = 0 * z + coefficients[-1]
    for c in reversed(coefficients[:-1]):
        value = value * z + c
    return value
