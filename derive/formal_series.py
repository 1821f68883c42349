"""Formal power series in one variable over an exact field: lists of coefficients of z⁰, z¹, …, all of one length.

The field is one of :mod:`sympy.polys.fields` (rational functions of the symbols of a problem) or Python's fractions;
nothing is expanded as an expression.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

Series = list[Any]


def add(series: Sequence[Series]) -> Series:
    """The sum of several series.

    >>> add([[1, 2], [10, 20], [100, 200]])
    [111, 222]
    """
    return [sum(column[1:], column[0]) for column in zip(*series, strict=True)]


def multiply(a: Series, b: Series) -> Series:
    """ab.

    >>> multiply([1, 1, 0], [1, -1, 1])
    [1, 0, 0]
    """
    return [sum((a[i] * b[k - i] for i in range(1, k + 1)), a[0] * b[k]) for k in range(len(a))]


def divide(a: Series, b: Series) -> Series:
    """a/b for b(0) ≠ 0.

    >>> from fractions import Fraction as F
    >>> [int(c) for c in divide([F(1), F(0), F(0)], [F(1), F(-1), F(0)])]
    [1, 1, 1]
    """
    if b[0] == 0:
        raise ZeroDivisionError(f"b: expected a series with b(0) != 0, got {b}")
    found: Series = []
    for k in range(len(a)):
        found.append((a[k] - sum((found[i] * b[k - i] for i in range(k)), b[0] * 0)) / b[0])
    return found


def exponential(a: Series) -> Series:
    """e^a for a(0) = 0, from k e_k = Σ_i i a_i e_{k−i}.

    >>> from fractions import Fraction as F
    >>> print(*exponential([F(0), F(1), F(0), F(0)]))
    1 1 1/2 1/6
    """
    if a[0] != 0:
        raise ValueError(
            f"a: expected a series with a(0) = 0, whose exponential has coefficients in the field, got a(0) = {a[0]}"
        )
    found: Series = [a[0] + 1]
    for k in range(1, len(a)):
        found.append(sum((i * a[i] * found[k - i] for i in range(1, k + 1)), a[0]) / k)
    return found
