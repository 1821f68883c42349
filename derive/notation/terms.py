"""A statement as a sum of terms: what stands in it (charges, drives, words) -> the coefficient in front.

Two statements are compared coefficient by coefficient, so that the term that differs has a name. Integrals and sums are
brought to one variable, and the kernel in front of a drive is the coefficient of the drive's integral.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import sympy as sp
from sympy.core.function import AppliedUndef

from derive.notation.quantities import Linear, MeaningError, Quantity
from derive.symbols import past

Key = tuple[Any, ...]
"""A monomial ((atom, exponent), …) of scalars, or (word, time) of a vector."""
Terms = dict[Key, sp.Expr]

MAX_TERMS = 300
_ACCUMULATED = (sp.Integral, sp.Sum)


def terms_of(value: Quantity) -> Terms:
    """The terms of a quantity.

    >>> from derive.symbols import time as t
    >>> Q = sp.Function("Q")
    >>> terms_of(2 * t * Q(t) + Q(t).diff(t))
    {((Derivative(Q(t), t), 1),): 1, ((Q(t), 1),): 2*t}
    """
    if isinstance(value, Linear):
        return {key: c for key, c in value.terms.items() if c != 0}
    if not isinstance(value, sp.Expr):
        raise MeaningError("an operator stands alone")
    found = {key: c for key, c in _scalar_terms(value).items() if c != 0}
    return dict(sorted(found.items(), key=lambda item: (any(isinstance(p[0], _ACCUMULATED) for p in item[0]), str(item[0]))))


def minus(left: Terms, right: Terms) -> Terms:
    """left − right."""
    found = dict(left)
    for key, c in right.items():
        found[key] = found.get(key, sp.S.Zero) - c
    return {key: c for key, c in found.items() if c != 0}


def is_opaque(expr: sp.Basic) -> bool:
    """Whether an undefined function stands in it."""
    return bool(expr.atoms(AppliedUndef))


def _scalar_terms(expr: sp.Expr) -> Terms:
    if not is_opaque(expr):
        return {(): expr}
    if expr.is_Add:
        return _added([_scalar_terms(arg) for arg in expr.args])
    if expr.is_Mul:
        found: Terms = {(): sp.S.One}
        for arg in expr.args:
            found = _multiplied(found, _scalar_terms(arg))
        return found
    if expr.is_Pow and not is_opaque(expr.exp):
        return _powered(expr)
    if isinstance(expr, sp.Integral):
        return _integral_terms(expr)
    if isinstance(expr, sp.Sum):
        return _sum_terms(expr)
    return {((expr, sp.S.One),): sp.S.One}


def _added(parts: list[Terms]) -> Terms:
    found: Terms = {}
    for part in parts:
        for key, c in part.items():
            found[key] = found.get(key, sp.S.Zero) + c
    return found


def _multiplied(left: Terms, right: Terms) -> Terms:
    found: Terms = {}
    for k, a in left.items():
        for j, b in right.items():
            key = _joined(k, j)
            found[key] = found.get(key, sp.S.Zero) + a * b
    if len(found) > MAX_TERMS:
        raise MeaningError(f"more than {MAX_TERMS} terms when multiplied out")
    return found


def _joined(left: Key, right: Key) -> Key:
    powers = dict(left)
    for atom, exponent in right:
        powers[atom] = powers.get(atom, sp.S.Zero) + exponent
    return tuple(sorted(((a, e) for a, e in powers.items() if e != 0), key=str))


def _powered(expr: sp.Expr) -> Terms:
    inside = _scalar_terms(expr.base)
    if len(inside) == 1:
        ((key, c),) = inside.items()
        return {tuple((atom, e * expr.exp) for atom, e in key): c**expr.exp}
    if expr.exp.is_Integer and 0 < int(expr.exp) <= 8:
        found: Terms = {(): sp.S.One}
        for _ in range(int(expr.exp)):
            found = _multiplied(found, inside)
        return found
    return {((expr, sp.S.One),): sp.S.One}


def _integral_terms(expr: sp.Integral) -> Terms:
    body, (variable, low, high) = expr.args[0], expr.args[1]  # type: ignore[misc]
    found: Terms = {}
    for key, c in _scalar_terms(body).items():
        if not key:
            found[()] = found.get((), sp.S.Zero) + sp.Integral(c, (variable, low, high))
            continue
        shifted, kernel, bounds = _with_plain_time(key, c, variable, (low, high))  # type: ignore[has-type]
        outside = tuple(pair for pair in shifted if not pair[0].has(past))
        inside = sp.Mul(*(atom**e for atom, e in shifted if atom.has(past)))
        if not inside.has(past):
            atom_key, kernel = outside, sp.Integral(kernel, (past, *bounds))
        else:
            atom_key = _joined(outside, ((sp.Integral(inside, (past, *bounds)), sp.S.One),))
        found[atom_key] = found.get(atom_key, sp.S.Zero) + kernel
    return found


def _with_plain_time(key: Key, c: sp.Expr, variable: sp.Symbol, bounds: tuple) -> tuple[Key, sp.Expr, tuple]:
    """The integration variable changed so that the drive stands at it: ∫ K(s) f(t−s) ds = ∫ K(t−τ) f(τ) dτ."""
    arguments = {f.args[0] for atom, _ in key for f in atom.atoms(AppliedUndef) if f.args[0].has(variable)}
    if len(arguments) != 1:
        return key, c, bounds
    (argument,) = arguments
    slope = argument.diff(variable)
    if argument == variable or slope.has(variable) or slope == 0:
        return key, c, bounds
    new = sp.Dummy("tau")
    back = sp.expand((new - argument.subs(variable, 0)) / slope)
    moved = tuple(sorted(((_moved(atom, argument, new), e) for atom, e in key), key=str))
    low, high = (sp.expand(argument.subs(variable, bound)) for bound in bounds)
    kernel = c.subs(variable, back) / abs(slope)
    if slope.is_negative:
        low, high = high, low
    return (tuple((a.subs(new, past), e) for a, e in moved), kernel.subs(new, past), (low, high))


def _moved(atom: sp.Basic, argument: sp.Expr, new: sp.Symbol) -> sp.Basic:
    return atom.replace(lambda e: isinstance(e, AppliedUndef) and e.args[0] == argument, lambda e: e.func(new))


def _sum_terms(expr: sp.Sum) -> Terms:
    body, (variable, low, high) = expr.args[0], expr.args[1]  # type: ignore[misc]
    found: Terms = {}
    for key, c in _scalar_terms(body).items():
        arguments = {f.args[0] for atom, _ in key for f in atom.atoms(AppliedUndef) if f.args[0].has(variable)}
        bounds = (low, high)  # type: ignore[has-type]
        if len(arguments) == 1:
            (argument,) = arguments
            slope = argument.diff(variable)
            if slope in (1, -1):
                back = sp.expand((variable - argument.subs(variable, 0)) / slope)
                key = tuple((_moved(atom, argument, variable), e) for atom, e in key)
                c = c.subs(variable, back)
                bounds = tuple(sp.expand(argument.subs(variable, bound)) for bound in bounds)
                bounds = bounds if slope == 1 else bounds[::-1]
        inside = sp.Mul(*(atom**e for atom, e in key if atom.has(variable)))
        outside = tuple(pair for pair in key if not pair[0].has(variable))
        if inside == 1:
            new_key, c = outside, sp.Sum(c, (variable, *bounds))
        else:
            new_key = _joined(outside, ((sp.Sum(inside, (variable, *bounds)), sp.S.One),))
        found[new_key] = found.get(new_key, sp.S.Zero) + c
    return found


def reduced(terms: Terms) -> Terms:
    """Divided by what all monomials share: Q'/√Q + λ√Q = 0 is Q' + λQ = 0."""
    if len(terms) < 2 or any(not _is_monomial(key) for key in terms):
        return terms
    atoms = {atom for key in terms for atom, _ in key}
    least = {atom: min(dict(key).get(atom, sp.S.Zero) for key in terms) for atom in atoms}
    if all(e == 0 for e in least.values()):
        return terms
    divisor = tuple((atom, -e) for atom, e in least.items())
    return {_joined(key, divisor): c for key, c in terms.items()}


def _is_monomial(key: Key) -> bool:
    return all(isinstance(pair, tuple) and len(pair) == 2 and isinstance(pair[0], sp.Basic) for pair in key)


def free_symbols(terms: Mapping[Key, sp.Expr]) -> set[sp.Symbol]:
    """The symbols of all coefficients."""
    return set().union(*(c.free_symbols for c in terms.values())) if terms else set()
