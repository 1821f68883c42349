"""Readings of differential equations given in SymPy: the equation itself, and a function that is claimed to solve it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import sympy as sp
from sympy.core.function import AppliedUndef

from derive.comparison import close
from derive.evaluation import Sampler, ValueMissing, value
from derive.references.reference import Claim, ClaimError, Reference, reference
from derive.symbols import time as t

Equations = Mapping[sp.Expr, sp.Expr]
"""The highest derivative of each unknown -> what it equals."""


def stands_for_a_solution(claim: Claim, unknowns: Sequence[sp.Expr]) -> bool:
    """Whether a claim says x(t) = an expression without x(t)."""
    right = claim.right
    names = {u.func.__name__ for u in unknowns}
    if claim.left not in unknowns or not isinstance(right, sp.Expr) or claim.rates:
        return False
    inside = {f for f in right.atoms(AppliedUndef) if f.func.__name__ in names}
    return all(f.args[0] == 0 for f in inside)


def solved(claim: Claim, equations: Equations, initial: Mapping[sp.Expr, sp.Expr]) -> Claim:
    """The claim that the function claimed satisfies its equation, or that it starts as it should if it does not.

    Raises
    ------
    ClaimError
        For one unknown of several that are coupled.
    """
    unknown: Any = claim.left
    right: Any = claim.right
    rate, slope = next((d, e) for d, e in equations.items() if d.expr == unknown)  # type: ignore[attr-defined]
    if any(f.args[0] == t and f != unknown for f in slope.atoms(AppliedUndef) - {rate}):
        raise ClaimError(f"claim: expected the equation of {unknown.func.__name__}, which does not move by itself")
    order = rate.derivative_count
    starts = {unknown.func(0): sp.Symbol(f"{unknown.func.__name__}_0", positive=True)}
    starts |= {
        sp.Function(f"{unknown.func.__name__}'", real=True)(0): sp.Symbol(f"{unknown.func.__name__}'_0", positive=True)
    }
    curve = right.xreplace(starts)
    known = {**{key: start for key, start in starts.items() if right.has(key)}, **dict(initial)}
    for k in range(order):
        key = unknown.func(0) if k == 0 else sp.Function(f"{unknown.func.__name__}" + "'" * k, real=True)(0)
        begin = known.get(key, sp.nan).xreplace(starts)
        if begin is not sp.nan and not _agree(curve.diff(t, k).subs(t, 0), begin):
            return replace(claim, left=begin, right=curve.diff(t, k).subs(t, 0)).noted("the start was compared")
    residual = slope.subs(unknown, curve).doit()
    note = "the function was put into the equation"
    note += "" if len(known) >= order or initial else "; where it starts was not compared"
    return replace(claim, left=residual, right=curve.diff(t, order)).noted(note)


def _agree(a: sp.Expr, b: sp.Expr) -> bool:
    seen = False
    for point in Sampler().points((a - b).free_symbols, 3):
        try:
            if not close(value(a, point), value(b, point)):
                return False
        except ValueMissing:
            continue
        seen = True
    return seen or a == b


def as_system(equation: sp.Expr) -> Equations | None:
    """A differential equation in t, left − right, solved for its highest derivative; None where that is not linear."""
    rates = sorted(equation.atoms(sp.Derivative), key=lambda d: d.derivative_count)
    if not rates or not isinstance(rates[-1].expr, AppliedUndef) or rates[-1].expr.args != (t,):
        return None
    highest = rates[-1]
    name = sp.Dummy()
    marked = equation.xreplace({highest: name})
    slope = marked.diff(name)
    if slope == 0 or slope.has(name):
        return None
    return {highest: sp.expand(-(marked.subs(name, 0)) / slope)}


def _is_start(item: sp.Equality) -> bool:
    left = item.lhs
    return isinstance(left, sp.Subs) or (isinstance(left, AppliedUndef) and all(arg.is_number for arg in left.args))


@reference.register(list)
@reference.register(tuple)
def _problem(against: Sequence) -> Reference:
    """An equation with its initial data: (x'' + 4x = 0, x(0) = 1, x'(0) = 0)."""
    if not against or not all(isinstance(item, sp.Equality) for item in against):
        raise ClaimError(f"against: expected a list of SymPy equations, got other things in a {type(against).__name__}")
    equations = [item for item in against if not _is_start(item)]
    if len(equations) != 1:
        raise ClaimError(f"against: expected one differential equation and its initial data, got {len(equations)} equations")
    from derive.references.plain import equation_reference

    return equation_reference(equations[0], [item for item in against if item is not equations[0]])
