"""A symmetry from the user's own action, in their own symbols: its identity is found and its group law is checked."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import sympy as sp

from derive.symbols import group_parameter as s
from derive.symmetry import Symmetry, SymmetryError, exact, is_unmoved

_NOT_SMOOTH = (sp.Abs, sp.sign, sp.Max, sp.Min, sp.Piecewise, sp.Heaviside, sp.floor, sp.ceiling, sp.re, sp.im, sp.conjugate)


def symmetry_from_action(
    coordinates: Sequence[sp.Symbol],
    image: Sequence[Any],
    parameter: sp.Symbol = s,
    identity: Any = None,
    name: str = "custom",
) -> Symmetry:
    """The one-parameter group ψ(θ, ε) with generator X = ∂_ε ψ at the identity, charge, degree and family found by the code.

    Parameters
    ----------
    coordinates
        Representative coordinates, symbols of any name that is an identifier.
    image
        ψ of each coordinate: a SymPy expression in the coordinates, the parameter, and constants.
    parameter
        ε. Declare it positive where a power of it is a symbol or a fraction.
    identity
        The ε at which nothing moves. Left out: 0 or 1, else the value at which the image is the coordinates.

    The symmetry is written in s, ``derive.symbols.group_parameter``: ε itself where the identity e is 0 or 1, else ε = es or
    ε = e + s, whichever makes ψ a group.

    Examples
    --------
    Two biases of which only the difference counts, and an activation of degree 2 (Kunin et al. 2021, App. A):

    >>> b1, b2, shift = sp.symbols("b1 b2 shift", real=True)
    >>> symmetry_from_action((b1, b2), (b1 + shift, b2 + shift), shift).charge
    b1 + b2
    >>> a = sp.Symbol("a", positive=True)
    >>> found = symmetry_from_action((b1, b2), (a * b1, b2 / a**2), a)
    >>> found.family, found.charge
    ('power rescale', b1**2 - 2*b2**2)

    Raises
    ------
    SymmetryError
        If the action has no identity or another one than given, is no group, moves nothing, is not smooth, or if its
        generator is not affine.
    """
    x = _coordinates(coordinates, parameter)
    moved = _in_group_parameter(_expressions(image, x, parameter), parameter)
    refusals: list[SymmetryError] = []
    for element in _identities(x, moved, parameter, identity):
        for substitute, neutral in _parametrizations(element):
            try:
                return Symmetry(name, x, tuple(y.subs(s, substitute) for y in moved), neutral)
            except SymmetryError as refusal:
                refusals.append(refusal)
    raise refusals[0]


def _coordinates(coordinates: Sequence[sp.Symbol], parameter: sp.Symbol) -> tuple[sp.Symbol, ...]:
    x = tuple(coordinates) if isinstance(coordinates, Sequence | sp.Tuple) else ()
    if not x or len(set(x)) != len(x) or not all(isinstance(a, sp.Symbol) for a in (*x, parameter)):
        raise SymmetryError(
            "coordinates, parameter: expected a list of different SymPy symbols and one more, "
            f"got {coordinates} and {parameter!r}"
        )
    if parameter in x or s in x:
        raise SymmetryError(f"coordinates: expected symbols other than the parameter {parameter} and {s}, got {x}")
    return x


def _expressions(image: Sequence[Any], x: tuple[sp.Symbol, ...], parameter: sp.Symbol) -> tuple[sp.Expr, ...]:
    if not isinstance(image, Sequence | sp.Tuple):
        raise SymmetryError(f"image: expected a list of one expression for each coordinate, got {image!r}")
    found = tuple(exact("image", y) for y in image)
    if len(found) != len(x):
        raise SymmetryError(f"image: expected one expression for each of the {len(x)} coordinates, got {len(found)}")
    if not any(y.has(parameter) for y in found):
        raise SymmetryError(
            f"image: expected an action that moves the parameters with {parameter}, got {found}; pass parameter="
        )
    if rough := {part for y in found for part in y.atoms(*_NOT_SMOOTH)}:
        raise SymmetryError(f"image: expected an action that can be differentiated, got {rough}")
    return found


def _in_group_parameter(image: tuple[sp.Expr, ...], parameter: sp.Symbol) -> tuple[sp.Expr, ...]:
    """ε -> s, which is positive: refused where that alone changes the expression (√ε² -> s)."""
    if parameter == s:
        return image
    if any(y.has(s) for y in image):
        raise SymmetryError(
            f"image: expected constants other than {s}, which stands for the parameter {parameter} here; rename it"
        )
    moved = tuple(y.xreplace({parameter: s}) for y in image)
    if any(y.xreplace({s: parameter}) != z for y, z in zip(moved, image, strict=True)):
        raise SymmetryError(
            f"parameter: expected {parameter} to be declared positive for {image}: Symbol(..., positive=True)"
        )
    return moved


def _identities(x: tuple[sp.Symbol, ...], image: tuple[sp.Expr, ...], parameter: sp.Symbol, given: Any) -> list[sp.Expr]:
    """Values at which nothing moves: the one given, or those found; at least one."""
    tried = list(_candidates(x, image) if given is None else [exact("identity", given)])
    found = [e for e in tried if is_unmoved(tuple(y.subs(s, e) for y in image), x)]
    if found:
        return found
    if given is None:
        raise SymmetryError(
            f"image: expected a value of {parameter} at which nothing moves, found none; pass identity= if there is one"
        )
    at = tuple(y.subs(s, tried[0]) for y in image)
    raise SymmetryError(
        f"identity: expected the value of {parameter} at which nothing moves, got {given}, at which the image is {at}; "
        "leave it out to have it found"
    )


def _candidates(x: tuple[sp.Symbol, ...], image: tuple[sp.Expr, ...]) -> Iterator[sp.Expr]:
    """0, then 1, then the roots of ψ(θ, ε) = θ."""
    yield from (sp.S.Zero, sp.S.One)
    unknown = sp.Dummy("e")
    for a, y in zip(x, image, strict=True):
        gap = sp.together((y - a).xreplace({s: unknown}))
        for coefficient in _coefficients(sp.fraction(gap)[0], x):
            yield from (
                root for root in _roots(coefficient, unknown) if root.is_real is not False and not root.free_symbols & set(x)
            )


def _coefficients(numerator: sp.Expr, x: tuple[sp.Symbol, ...]) -> Iterable[sp.Expr]:
    try:
        return sp.Poly(numerator, *x).coeffs()
    except sp.PolynomialError:
        return [numerator]


def _roots(equation: sp.Expr, unknown: sp.Symbol) -> Iterable[sp.Expr]:
    if not equation.has(unknown):
        return ()
    try:
        return sp.solve(equation, unknown)
    except NotImplementedError:
        return ()


def _parametrizations(element: sp.Expr) -> Iterator[tuple[sp.Expr, sp.Expr]]:
    """(ε in terms of s, the identity in s) under which the action may be a group: products, then sums."""
    if element != 0:
        yield element * s, sp.S.One
    yield element + s, sp.S.Zero
