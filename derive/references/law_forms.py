"""Forms in which a law may be claimed besides its equation and its solution.

With D as a symbol, (D + κ)Q = F(D)q; at stationarity, |g|²/|θ|² = 2λ/η; by initial values, Q'(0) = 0; and with the charge
inside another function, log Q(t) − log Q(0) = −λt.
"""

from __future__ import annotations

from dataclasses import replace

import sympy as sp
from sympy.core.function import AppliedUndef

from derive import symbols
from derive.comparison import Fact
from derive.notation.terms import terms_of
from derive.operator_calculus import operator_on
from derive.references.reference import Claim, ClaimError, key_of
from derive.symbols import derivative as D
from derive.symbols import time as t


def has_bare_time(claim: Claim) -> bool:
    """Whether t stands in it outside the functions of t."""
    scalars = [side for side in claim.sides if isinstance(side, sp.Expr)]
    return any(side.replace(lambda e: isinstance(e, AppliedUndef), lambda e: sp.S.One).has(t) for side in scalars)


# --- D as a symbol ---


def in_symbols(expr: sp.Expr) -> sp.Expr:
    """Rates of functions of t, and operators on them, as powers and functions of D in front of them.

    >>> q = sp.Function("q")(t)
    >>> in_symbols(operator_on(sp.exp(D), q) + q.diff(t))
    D*q(t) + q(t)*exp(D)
    """
    rates = {d: D**d.derivative_count * d.expr for d in expr.atoms(sp.Derivative)}  # type: ignore[operator]
    rates |= {x: x.operator * x.function for x in expr.atoms(operator_on)}
    return expr.xreplace(rates)


def is_symbolic(claim: Claim, equation: sp.Expr) -> bool:
    """Whether a claim is compared with D as a symbol: it has D, or the law has a drive that only D can write."""
    if D in claim.free_symbols:
        return True
    return bool(equation.atoms(operator_on)) and claim.rates > 0


def symbolic_claim(claim: Claim, equation: sp.Expr) -> tuple[Claim, list[Fact]]:
    """The claim and the law, left − right, with D as a symbol.

    Raises
    ------
    ClaimError
        If D stands beside t, on which it would act.
    """
    claim = claim.mapped(in_symbols)
    if has_bare_time(claim):
        raise ClaimError("claim: D stands for d/dt before charges and drives; write d/dt before other functions of t")
    fact = Fact("law", terms_of(in_symbols(equation)), tuple(key_of(f) for f in _charges_in(equation)))
    return claim, [fact]


def _charges_in(equation: sp.Expr) -> list[sp.Expr]:
    drives = {symbols.gradient_form, symbols.velocity_form, symbols.overlap_form}
    return sorted((f for f in equation.atoms(AppliedUndef) if f.func not in drives), key=str)


def characteristic(claim: Claim, polynomial: sp.Expr) -> tuple[Claim, list[Fact]]:
    """s² + 2γs + ω² = 0 with s for D, or s = … for one of its roots."""
    if claim.left == D and not claim.right.has(D):
        root = polynomial.subs(D, claim.right)
        return replace(claim, left=root, right=sp.S.Zero).noted("s = … was put into the characteristic polynomial"), []
    power = sp.Function("s^", real=True)

    def marked(expr: sp.Expr) -> sp.Expr:
        return sp.Add(*(c * power(k[0]) for k, c in sp.Poly(sp.expand(expr), D).terms()))

    claim = replace(claim, left=claim.right, right=sp.S.Zero) if claim.left is None else claim
    return claim.mapped(marked), [Fact("characteristic polynomial", terms_of(marked(polynomial)))]


# --- at stationarity ---


def speaks_of_a_balance(claim: Claim, charges: set[str], drives: set[str], now: sp.Expr = t) -> bool:
    """Whether charge and drive stand side by side at one time, without rates, initial values or integrals."""
    if claim.rates or claim.left is None:
        return False
    scalars = [side for side in claim.sides if isinstance(side, sp.Expr)]
    if any(side.has(sp.Integral) or side.has(sp.Sum) for side in scalars) or has_bare_time(claim):
        return False
    functions = set().union(*(side.atoms(AppliedUndef) for side in scalars))
    names = {f.func.__name__ for f in functions}
    return bool(names & charges and names & drives) and all(f.args[0] == now for f in functions)


def balanced(claim: Claim, equation: sp.Expr) -> tuple[Claim, list[Fact]]:
    """The claim, squared where it is one of norms, and the law with every rate 0."""
    steady = equation.replace(
        lambda e: isinstance(e, AppliedUndef), lambda e: e.func(symbols.step) if e.has(symbols.step) else e
    )
    steady = steady.replace(lambda e: isinstance(e, operator_on), lambda e: e.operator.subs(D, 0) * e.function)
    steady = steady.xreplace(dict.fromkeys(steady.atoms(sp.Derivative), sp.S.Zero))
    claim = _squared(claim).noted("read at stationarity: what moves in the law is 0")
    return claim, [Fact("stationary law", terms_of(steady))]


def _squared(claim: Claim) -> Claim:
    """|g|/|θ| = √(2λ/η) as the equation of the squares, if both sides are products and neither is negative."""
    sides = list(claim.sides)
    rooted = any(
        p.exp.is_Rational and p.exp.q == 2 for side in sides for p in side.atoms(sp.Pow) if p.base.atoms(AppliedUndef)
    )
    if not rooted or any(side.is_Add or side.could_extract_minus_sign() for side in sides):
        return claim
    left, right = (sp.powdenest(side**2, force=True) for side in sides)
    return replace(claim, left=left, right=right).noted("both sides squared")


# --- initial values ---


def speaks_of_the_start(claim: Claim, charges: set[str]) -> bool:
    """Whether all its functions stand at t = 0, a charge or its rate among them."""
    scalars = [side for side in claim.sides if isinstance(side, sp.Expr)]
    functions = {f for side in scalars for f in side.atoms(AppliedUndef)}
    if claim.left is None or has_bare_time(claim) or any(f.args[0] != 0 for f in functions):
        return False
    return bool(charges & {f.func.__name__ for f in functions})


def at_the_start(claim: Claim, rate: sp.Expr) -> tuple[Claim, list[Fact]]:
    """Q'(0) = …, as the solution has it."""
    name = sp.Function("Q'", real=True)(0)
    return claim, [Fact("initial rate", terms_of(name - rate), (key_of(name),), fixed=True)]


# --- the charge inside another function ---


def is_composite(claim: Claim, charges: set[str]) -> bool:
    """Whether a charge stands inside a function or a root of a sum, where it has no coefficient."""
    scalars = [side for side in claim.sides if isinstance(side, sp.Expr)]
    held = [
        e
        for side in scalars
        for e in side.atoms(sp.Function, sp.Pow, sp.Limit)
        if not isinstance(e, AppliedUndef | operator_on)
    ]
    inside = [e for e in held if not (e.is_Pow and isinstance(e.base, AppliedUndef))]
    if any(f.func.__name__ in charges for e in inside for f in e.atoms(AppliedUndef)):
        return True
    bound = {f for side in scalars for e in side.atoms(sp.Integral, sp.Sum) for f in e.atoms(AppliedUndef)}
    free = {f for side in scalars for f in side.atoms(AppliedUndef)} - bound
    return any(f.func.__name__ in charges and f.args[0] not in (0, t) for f in free)


def is_a_differentiated_solution(claim: Claim) -> bool:
    """Q'(t) = an expression in Q(0) and t, without Q(t)."""
    if not isinstance(claim.left, sp.Derivative) or not isinstance(claim.right, sp.Expr):
        return False
    inside = claim.right.atoms(AppliedUndef)
    return bool(inside) and all(f.args[0] == 0 and f.func.__name__ == "Q" for f in inside)


def put_in(claim: Claim, curve: sp.Expr) -> Claim:
    """The claim with the solution in the place of the charge, as one of numbers.

    Raises
    ------
    ClaimError
        If the solution has a drive, whose integral stands for no number.
    """
    if any(f.args[0] != 0 for f in curve.atoms(AppliedUndef)) or curve.has(sp.Integral):
        raise ClaimError("claim: a driven charge inside another function is not covered; write the claim as Q(t) = …")

    def on(expr: sp.Expr) -> sp.Expr:
        charges = {f for f in expr.atoms(AppliedUndef) if f.func.__name__ == "Q"}
        expr = expr.xreplace({d: curve.diff(t, d.derivative_count) for d in expr.atoms(sp.Derivative) if d.expr in charges})  # type: ignore[attr-defined]
        expr = expr.xreplace({f: curve.subs(t, f.args[0]) for f in charges if f.args[0] != 0})
        starts = {f: sp.Symbol(f"{f.func.__name__}_0", positive=True) for f in expr.atoms(AppliedUndef)}
        return expr.xreplace(starts)

    return claim.mapped(on, "the solution was put in for the charge")
