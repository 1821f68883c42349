r"""The letters of the paper's general relations, ∂_θψ, ∂_αψ, ∇f and Hf, for a symmetry and an otherwise unknown loss.

∇f and Hf are symbols, at θ and at ψ(θ, α). The relations of :func:`derive.relations` are read into the same symbols: a
formula is right exactly if both are the same expression. Derivatives are laid out as the paper needs them, by the variable
that is differentiated in: (∂_θψ)_{ij} = ∂ψ_j/∂θ_i, so that ∂_θψ ∇f is the gradient of f(ψ(θ)).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import sympy as sp

from derive.relations import relations
from derive.symbols import group_parameter as s
from derive.symmetry import Symmetry

NUMBERS = (22, 23, 24, 25, 26)
"""Equations of the five relations, in the order of :func:`derive.relations`."""


@dataclass(frozen=True)
class Letters:
    """What the letters of App. A stand for.

    Parameters
    ----------
    moved
        ∂_θψ at (θ, α).
    generator, turning, bending
        ∂_αψ, ∂_θ∂_αψ and ∂²_αψ at the identity.
    slope, moved_slope
        ∇f at θ and at ψ(θ, α).
    curvature, moved_curvature
        Hf at θ and at ψ(θ, α).

    Examples
    --------
    >>> from derive import rescale
    >>> letters_of(rescale()).moved
    Matrix([
    [s,   0],
    [0, 1/s]])
    """

    moved: sp.Matrix
    generator: sp.Matrix
    turning: sp.Matrix
    bending: sp.Matrix
    slope: sp.Matrix
    moved_slope: sp.Matrix
    curvature: sp.Matrix
    moved_curvature: sp.Matrix


def letters_of(symmetry: Symmetry) -> Letters:
    """The letters for a symmetry."""
    x, psi = symmetry.coordinates, sp.Matrix(symmetry.image)
    n, at = len(x), {s: symmetry.identity}
    jacobian = psi.jacobian(x)
    return Letters(
        moved=jacobian.T,
        generator=psi.diff(s).subs(at),
        turning=jacobian.T.diff(s).subs(at),
        bending=psi.diff(s, 2).subs(at),
        slope=sp.Matrix(n, 1, lambda i, _: _slope("g", x, (i,))),
        moved_slope=sp.Matrix(n, 1, lambda i, _: _slope("g'", x, (i,))),
        curvature=sp.Matrix(n, n, lambda i, j: _slope("H", x, (i, j))),
        moved_curvature=sp.Matrix(n, n, lambda i, j: _slope("H'", x, (i, j))),
    )


def derived_relation(symmetry: Symmetry, number: int) -> sp.Matrix:
    """The side of eq. ``number`` that vanishes, derived from f(ψ(θ, α)) = f(θ), in the same symbols."""
    relation = relations(symmetry)[NUMBERS.index(number)]
    rows = [_in_letters(symmetry, row) for row in relation.rows]
    n = len(symmetry.coordinates)
    return sp.Matrix(rows).reshape(len(rows) // n, n) if number == 24 else sp.Matrix(rows)


def _slope(letter: str, x: tuple[sp.Symbol, ...], places: tuple[int, ...]) -> sp.Symbol:
    """g_A, H_A1,A2: derivatives commute, so that indices stand in order."""
    labels = (x[k].name.removeprefix("theta_") for k in sorted(places))
    return sp.Symbol(f"{letter}_{','.join(labels)}", real=True)


def _in_letters(symmetry: Symmetry, row: sp.Expr) -> sp.Expr:
    """Derivatives of L as ∇f and Hf: a ``Subs`` is one at the moved point."""
    x = symmetry.coordinates

    def named(derivative: Any, variables: tuple[sp.Symbol, ...], mark: str) -> sp.Expr:
        places = tuple(variables.index(v) for v, count in derivative.variable_count for _ in range(int(count)))
        return _slope(("g", "H")[len(places) - 1] + mark, x, places)

    row = row.replace(lambda e: isinstance(e, sp.Subs), lambda e: named(e.expr, tuple(e.variables), "'"))
    return row.replace(lambda e: isinstance(e, sp.Derivative), lambda e: named(e, x, ""))
