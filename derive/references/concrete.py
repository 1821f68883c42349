"""Readings of equations for a concrete loss or field: x' = …, L̃ = …, their solutions, and a loss given as code."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import replace
from types import FunctionType

import sympy as sp
from sympy.core.function import AppliedUndef

from derive import symbols
from derive.comparison import Fact
from derive.concrete_equation import ConcreteEquation
from derive.concrete_loss import ConcreteLoss
from derive.linear_equation import LinearEquation
from derive.notation.quantities import Linear
from derive.notation.terms import Terms, terms_of
from derive.notation.vocabulary import HYPER_PARAMETERS, Vocabulary
from derive.oscillator_equation import OscillatorEquation
from derive.references.differential import solved, stands_for_a_solution
from derive.references.equations import MODIFIED
from derive.references.reference import Claim, ClaimError, Reference, applied, fact_of, key_of, reference
from derive.symbols import step_size as h
from derive.symbols import time as t

Expressions = tuple[sp.Expr, ...]


def unknown(x: sp.Symbol) -> sp.Expr:
    """x(t)."""
    return sp.Function(x.name, real=True)(t)


def in_time(expr: sp.Expr, variables: Sequence[sp.Symbol]) -> sp.Expr:
    """An expression in x with x(t) in its place, and the symbols of the theory by their names."""
    names = {s: HYPER_PARAMETERS[s.name] for s in expr.free_symbols if s.name in HYPER_PARAMETERS and s not in variables}
    return expr.subs({**names, **{x: unknown(x) for x in variables}}, simultaneous=True)


def _vocabulary(variables: Sequence[sp.Symbol], step: sp.Expr, exprs: Sequence[sp.Expr]) -> Vocabulary:
    own = {s.name: s for e in exprs for s in e.free_symbols if s not in variables}
    own = {name: HYPER_PARAMETERS.get(name, s) for name, s in own.items()}
    small = {"h": step} | ({"eta": symbols.lr} if step != h else {"eta": h})
    constants = {"c": sp.Symbol("c", positive=True)}
    scalars = {**constants, **HYPER_PARAMETERS, **small, "t": t, "tau": symbols.past, **own}
    names = {x.name for x in variables}
    scalars = {name: value for name, value in scalars.items() if name not in names}
    functions = {name: name for name in names} | ({"L": "L"} if "L" not in names else {})
    vectors = {"g": "g", "theta": "theta"}
    vectors = {name: letter for name, letter in vectors.items() if name not in names}
    return Vocabulary(scalars, functions, vectors, {"H": "H"} if "H" not in names else {})


def _terms(expr: sp.Expr, variables: Sequence[sp.Symbol]) -> Terms:
    """Monomials of x(t) where they are polynomials; else x is a number in the coefficients."""
    return terms_of(_flattened(expr, variables))


def _flattened(expr: sp.Expr, variables: Sequence[sp.Symbol]) -> sp.Expr:
    unknowns = {unknown(x): sp.Symbol(x.name, positive=True) for x in variables}
    marked = {d: sp.Dummy() for d in expr.atoms(sp.Derivative)}
    plain = expr.xreplace(marked).xreplace(unknowns)
    if plain.is_polynomial(*unknowns.values()):
        return expr
    return plain.xreplace({dummy: d for d, dummy in marked.items()})


def _facts_of(equations: Sequence[sp.Expr], variables: Sequence[sp.Symbol], order: int) -> list[Fact]:
    """One for each variable: expression = 0, whose pivot is the highest rate."""
    pivots = [key_of(unknown(x).diff(t, order)) for x in variables]
    return [fact_of(f"equation of {x}", terms_of(e), pivot, fixed=True)
            for x, e, pivot in zip(variables, equations, pivots, strict=True)]  # fmt: skip


def _reference(label: str, variables: Sequence[sp.Symbol], right: Expressions, step: sp.Expr,
               loss: Callable[[], sp.Expr | None] | None = None, original: sp.Expr | None = None, reason: str = "",
               ) -> Reference:  # fmt: skip
    """x' = right for each variable; L̃ = loss where one exists."""
    fields = [in_time(e, variables) for e in right]
    polynomial = all(e == _flattened(e, variables) for e in fields)

    def shaped(e: sp.Expr) -> sp.Expr:
        return e if polynomial else _flattened(e, variables)

    def facts(claim: Claim) -> tuple[Claim, list[Fact]]:
        claim = _on_original(claim, original, variables)
        if claim.left == MODIFIED or (claim.left is None and loss is not None):
            return _loss_claim(claim, None if loss is None else loss(), variables, reason)
        if stands_for_a_solution(claim, [unknown(x) for x in variables]):
            odes = {unknown(x).diff(t): e for x, e in zip(variables, fields, strict=True)}
            return solved(claim, odes, {}), []
        if claim.left is None and len(variables) == 1:
            claim = replace(claim, left=unknown(variables[0]).diff(t)).noted(f"read as what {variables[0]}' equals")
        rates = {unknown(x).diff(t): e for x, e in zip(variables, fields, strict=True)}
        if claim.rates == 1 and not _is_a_rate(claim, set(rates)):
            put = claim.mapped(lambda e: _flattened(e.xreplace(rates), variables), "x' was put in from the equation")
            return put, []
        if claim.left is None or any(isinstance(side, Linear) for side in claim.sides):
            raise ClaimError(f"claim: expected {variables[0]}' = …, an equation for one of {', '.join(map(str, variables))}")
        return claim.mapped(shaped), _facts_of(
            [shaped(unknown(x).diff(t) - e) for x, e in zip(variables, fields, strict=True)], variables, 1
        )

    vocabulary = _vocabulary(variables, step, [*right, *([] if original is None else [original])])
    return Reference(label, vocabulary, facts, small=h if step == h else symbols.lr)


def _is_a_rate(claim: Claim, rates: set[sp.Expr]) -> bool:
    """Whether it is linear in one rate, with a coefficient that is a number."""
    found = {d for side in claim.sides if isinstance(side, sp.Expr) for d in side.atoms(sp.Derivative)}
    terms = [terms_of(side) for side in claim.sides if isinstance(side, sp.Expr)]
    alone = {key for term in terms for key in term if any(atom.has(sp.Derivative) for atom, _ in key)}
    return len(found) == 1 and found <= rates and alone <= {key_of(next(iter(found)))}


def _loss_claim(claim: Claim, loss: sp.Expr | None, variables: Sequence[sp.Symbol], reason: str) -> tuple[Claim, list[Fact]]:
    if loss is None:
        raise ClaimError(f"claim: there is no modified loss to compare with: {reason or 'the object is a field'}")
    known = in_time(loss, variables)
    joint = known + (claim.right if isinstance(claim.right, sp.Expr) else 0)
    if joint == _flattened(joint, variables):
        terms = terms_of(MODIFIED - known)
        return replace(claim, left=MODIFIED), [fact_of("modified loss", terms, key_of(MODIFIED), fixed=True)]
    return replace(claim.mapped(lambda e: _flattened(e, variables)), left=_flattened(known, variables)), []


def _on_original(claim: Claim, original: sp.Expr | None, variables: Sequence[sp.Symbol]) -> Claim:
    """L, |∇L|² and gᵀHg of the given loss."""
    if original is None:
        return claim
    x = sp.Matrix(list(variables))
    g, H = sp.Matrix([original.diff(s) for s in x]), sp.hessian(original, list(x))
    values = {"L": original, "g.g": (g.T * g)[0], "g.H.g": (g.T * H * g)[0]}
    named = {name: (lambda when, e=e: in_time(e, variables)) for name, e in values.items()}
    return claim.mapped(lambda e: applied(e, named))


@reference.register
def _concrete(against: ConcreteEquation) -> Reference:
    label = f"the modified equation to order {against.order} of {', '.join(map(str, against.variables))}"
    return _reference(label, against.variables, against.field, against.step)


@reference.register
def _loss(against: ConcreteLoss) -> Reference:
    equation = against.equation
    label = f"the modified loss to order {against.order}"
    return _reference(label, equation.variables, equation.field, equation.step, lambda: against.loss, against.original,
                      against.reason)  # fmt: skip


@reference.register
def _linear(against: LinearEquation) -> Reference:
    loss = (lambda: against.loss) if against.is_gradient else None
    return _reference("the modified equation to all orders", against.variables, against.field, against.step, loss)


@reference.register
def _oscillator(against: OscillatorEquation) -> Reference:
    variables = against.positions
    velocities = {w: unknown(x).diff(t) for x, w in zip(variables, against.velocities, strict=True)}

    def facts(claim: Claim) -> tuple[Claim, list[Fact]]:
        equations = []
        for x, force in zip(variables, against.force, strict=True):
            pull = in_time(force, variables).subs(velocities)
            equations.append(in_time(against.mass, ()) * unknown(x).diff(t, 2)
                             + in_time(against.friction, ()) * unknown(x).diff(t) - pull)  # fmt: skip
        if claim.left is None:
            raise ClaimError("claim: expected an equation of motion, as in m x'' + c x' = -L'(x)")
        return claim, _facts_of(equations, variables, 2)

    vocabulary = _vocabulary(variables, against.step, [against.mass, against.friction, *against.original])
    return Reference("the oscillator that momentum is", vocabulary, facts)


@reference.register
def _code(against: FunctionType) -> Reference:
    """A loss as a Python function of numbers: called once on symbols, read as the expression that it returns."""
    names = [p.name for p in inspect.signature(against).parameters.values() if p.default is p.empty]
    try:
        value = sp.sympify(against(*(sp.Symbol(name, real=True) for name in names)), strict=True)
    except Exception as error:  # whatever the caller's code raises on symbols
        raise ClaimError(
            f"against: expected a function of numbers that also takes SymPy symbols, got {type(error).__name__}: {error}"
        ) from None
    if not isinstance(value, sp.Expr) or value.atoms(AppliedUndef):
        raise ClaimError(f"against: expected a function that returns a number, got {type(value).__name__}")
    return reference(value)
