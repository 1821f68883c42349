"""Damped hyperbolic functions, stable in every regime, for numpy arrays and torch tensors.

With z = a² − b²,

    C(a, b) = e^{−a} cosh √z,    S(a, b) = e^{−a} sinh √z / √z,    a ≥ 0,

are the twins of :class:`derive.special_functions.damped_cosh` and ``damped_sinhc``. Three things are minded: z is taken as
(a − b)(a + b); exponents are folded before they are taken, −a + √z = −b²/(a + √z), so nothing overflows and slow decay
keeps its digits; and near z = 0 the Taylor series of the entire function is used, so values *and* derivatives pass
through critical damping. Torch tensors keep their graph. The rates of laws of all orders need arccosh(1 + x)² besides.
"""

from __future__ import annotations

from math import comb, factorial

from numerics.array_namespace import Array, like, namespace

_NEAR = 1.0
"""|z| below which the series is used: ten terms leave 1/20! ≈ 4e-19 there."""
_COSH_SERIES = tuple(1 / factorial(2 * k) for k in range(10))
_SINHC_SERIES = tuple(1 / factorial(2 * k + 1) for k in range(10))
_ARC_NEAR = 0.25
"""|x| below which the series of arccosh(1 + x)² is used: eighteen terms leave 1e-18 of it there."""
_ARC_SERIES = (0.0, *(-2 * (-2) ** k / (k * k * comb(2 * k, k)) for k in range(1, 19)))


def damped_cosh(a: Array, b: Array | None = None, *, squared: Array | None = None) -> Array:
    """e^{−a} cosh √(a² − b²), for a ≥ 0, broadcasting. Give ``b``, or b² as ``squared`` where gradients pass b = 0.

    >>> import numpy as np
    >>> damped_cosh(np.array([0.0, 1e5]), np.array([np.pi, 0.0]))  # cos π, and (1 + e^{−2a})/2
    array([-1. ,  0.5])
    """
    xp, a, b2, near, root, z = _parts(a, b, squared)
    slow, fast = -b2 / (a + root), -a - root
    over = (xp.exp(slow) + xp.exp(fast)) / 2
    under = xp.exp(-a) * xp.cos(root)
    close = xp.exp(-a) * _horner(_COSH_SERIES, xp.where(near, z, 0 * z))
    return xp.where(near, close, xp.where(z > 0, over, under))


def damped_sinhc(a: Array, b: Array | None = None, *, squared: Array | None = None) -> Array:
    """e^{−a} sinh √(a² − b²) / √(a² − b²), for a ≥ 0, broadcasting. Give ``b``, or b² as ``squared``.

    >>> import numpy as np
    >>> damped_sinhc(np.array([1.0]), np.array([1.0])) * np.e  # critical
    array([1.])
    """
    xp, a, b2, near, root, z = _parts(a, b, squared)
    slow = -b2 / (a + root)
    over = -xp.exp(slow) * xp.expm1(-2 * root) / (2 * root)
    under = xp.exp(-a) * xp.sin(root) / root
    close = xp.exp(-a) * _horner(_SINHC_SERIES, xp.where(near, z, 0 * z))
    return xp.where(near, close, xp.where(z > 0, over, under))


def squared_arccosh1p(x: Array) -> Array:
    """arccosh(1 + x)² for x > −2, which is −arccos(1 + x)² below 0: twin of the function in :mod:`derive`.

    >>> import numpy as np
    >>> squared_arccosh1p(np.array([-1.0, 0.0])) / np.pi**2
    array([-0.25,  0.  ])
    """
    xp = namespace(x)
    x = like(x, x) if hasattr(x, "dtype") else like(x, 0.0)
    if not bool(xp.all((x > -2) & (x < float("inf")))):
        raise ValueError("x: expected a finite number above -2: steps that alternate in sign have no flow")
    near = abs(x) < _ARC_NEAR
    above, below = xp.where(near | (x < 0), 0 * x + 1, x), xp.where(near | (x > 0), 0 * x - 1, x)
    over, under = 4 * xp.arcsinh(xp.sqrt(above / 2)) ** 2, -4 * xp.arcsin(xp.sqrt(-below / 2)) ** 2
    return xp.where(near, _horner(_ARC_SERIES, xp.where(near, x, 0 * x)), xp.where(x > 0, over, under))


def _parts(a: Array, b: Array | None, squared: Array | None):
    """(library, a, b², where |z| is small, √|z| or 1 there, z): every branch is finite wherever it is evaluated."""
    if (b is None) == (squared is None):
        raise ValueError("b, squared: expected one of them, got both or none")
    other = squared if b is None else b
    xp = namespace(a, other)
    example = a if namespace(a) is xp and hasattr(a, "dtype") else other
    a, other = like(a, example), like(other, example)
    z, b2 = _difference_of_squares(a, other) if b is None else ((a - other) * (a + other), other * other)
    near = abs(z) < _NEAR
    return xp, a, b2, near, xp.sqrt(xp.where(near, 0 * z + 1, abs(z))), z


def _difference_of_squares(a: Array, b2: Array) -> tuple[Array, Array]:
    """(a² − b², b²): the value is (a − b)(a + b), which does not cancel, the gradient that of a² − b², finite at b = 0."""
    xp = namespace(a, b2)
    fixed_a, fixed_b2 = (a.detach(), b2.detach()) if xp.__name__ == "torch" else (a, b2)
    below = xp.where(fixed_b2 < 0, fixed_b2, 0 * fixed_b2)  # b² < 0, where a difference quotient at 0 steps to
    root = xp.sqrt(fixed_b2 - below)
    exact = (fixed_a - root) * (fixed_a + root) - below
    return (exact + ((a * a - b2) - (fixed_a * fixed_a - fixed_b2)) if xp.__name__ == "torch" else exact), b2


def _horner(coefficients: tuple[float, ...], z: Array) -> Array:
    value = 0 * z + coefficients[-1]
    for c in reversed(coefficients[:-1]):
        value = value * z + c
    return value
