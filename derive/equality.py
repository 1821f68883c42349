"""Is an expression identically zero?

``simplify`` and ``.equals`` fail on most of the true identities of this field (square roots of damping minus
stiffness, entire functions, integrals with a kernel). Here the expression is written as a rational function of its
function values, roots and symbols, the algebraic relations of the roots are used, and what is left is decided
by its numerator. :func:`refutes` looks for a counterexample at random rationals in high precision, independently.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

import mpmath
import sympy as sp


def rational_normal_form(expr: sp.Expr) -> sp.Expr:
    """``expr`` as one reduced fraction in its symbols, function values and radicals, modulo ρ^q = base of each radical.

    The arithmetic is that of a field of rational functions: nothing is expanded, so large damping formulas stay small.

    >>> x = sp.Symbol("x", positive=True)
    >>> rational_normal_form(sp.sqrt(x + 1) / (x + 1) - 1 / sp.sqrt(x + 1))
    0
    """
    if not expr.is_commutative:
        return sp.expand(expr)  # a vector in words: expansion is its normal form
    applied = expr.atoms(sp.core.function.Application)
    expr = expr.xreplace({value: value.func(*map(sp.cancel, value.args)) for value in applied})
    values = {value: sp.Dummy() for value in _non_algebraic(expr)}
    opaque = expr.xreplace(values)
    roots = {power: sp.Dummy() for power in opaque.atoms(sp.Pow) if power.exp.is_Rational and not power.exp.is_Integer}
    radicals = {(power.base, power.exp.q): rho for power, rho in roots.items()}
    opaque = opaque.xreplace({p: radicals[p.base, p.exp.q] ** p.exp.p for p in roots})
    reduced = _reduce(opaque, radicals)
    back = {dummy: value for value, dummy in values.items()} | {
        rho: b ** sp.Rational(1, q) for (b, q), rho in radicals.items()
    }
    return reduced.xreplace(back)


def _non_algebraic(expr: sp.Expr) -> set[sp.Expr]:
    """The largest parts of ``expr`` that are not built by arithmetic: function values, derivatives, inner products."""
    if expr.is_Symbol or expr.is_Rational:
        return set()
    if expr.is_Add or expr.is_Mul or (expr.is_Pow and expr.exp.is_Rational):
        return set().union(*map(_non_algebraic, expr.args))
    return {expr}


def _reduce(expr: sp.Expr, radicals: dict[tuple[sp.Expr, int], sp.Dummy]) -> sp.Expr:
    """The field element of ``expr``; its numerator is reduced by each relation ρ^q = base."""
    generators = sorted(expr.free_symbols.union(*(base.free_symbols for base, _ in radicals)), key=str)
    if not generators:
        return sp.nsimplify(expr)
    element = sp.polys.fields.FracField(generators, sp.QQ).from_expr(expr)
    numerator = element.numer.as_expr()
    for (base, q), rho in radicals.items():
        numerator = sp.rem(numerator, rho**q - base, rho)
    return numerator / element.denom.as_expr()


def vanishes(expr: sp.Expr) -> bool:
    """Whether ``expr`` is shown to be identically 0 by its rational normal form. ``False`` means *not shown*.

    >>> x = sp.Symbol("x")
    >>> vanishes((x + 1) ** 2 - x**2 - 2 * x - 1), vanishes(sp.sin(x) - x)
    (True, False)
    """
    return rational_normal_form(expr) == 0


def random_rationals(symbols: list[sp.Symbol], seed: int) -> Iterator[dict[sp.Symbol, sp.Rational]]:
    """Endless random rational values in (0, 1) for ``symbols``, reproducible from ``seed``."""
    draw = random.Random(seed)
    while True:
        yield {s: sp.Rational(draw.randint(1, 96), 97) for s in symbols}


def refutes(expr: sp.Expr, *, points: int = 5, seed: int = 0, digits: int = 40) -> dict[sp.Symbol, sp.Rational] | None:
    """A random rational point at which ``expr`` (free of undefined functions) is not 0, or None if none was met.

    Evaluation is in ``digits`` decimal digits; a value counts as 0 below ``10**(-digits/2)``.

    >>> x = sp.Symbol("x")
    >>> refutes(sp.sin(x) ** 2 + sp.cos(x) ** 2 - 1) is None, refutes(sp.sin(x) - x) is None
    (True, False)
    """
    symbols = sorted(expr.free_symbols, key=str)
    for _, point in zip(range(points), random_rationals(symbols, seed), strict=False):
        value = expr.subs(point).evalf(digits)
        if not value.is_number:
            raise ValueError(f"expr: expected numbers after substituting {symbols}, got {value}; define its functions")
        if abs(value) > mpmath.mpf(10) ** (-digits // 2):
            return point
    return None
