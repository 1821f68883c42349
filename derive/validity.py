"""How far a modified equation can be trusted: the step at which the method stops following any smooth flow.

Along an eigenvector of the Hessian with curvature λ the method multiplies by a root z of P(z, x) = A(z) + xB(z), x = hλ, or
by z = R(−x) for a Runge–Kutta method. The modified equation is s(x) = log z(x)/h on the branch with z(0) = 1. Its series in
h converges up to the nearest singular point: where two roots meet, or where z is 0 or infinite. Past a point of that kind on
the positive axis, z is complex or negative, the iterates oscillate, and no real equation of first order has them as its
solution.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import sympy as sp

from derive.multistep import LinearMultistep, multistep_of
from derive.runge_kutta import RungeKutta
from derive.symbols import step_size as h
from derive.update_rule import UnsupportedError, UpdateRule

curvature = sp.Symbol("lambda_max", positive=True)
"""The largest modulus of an eigenvalue of the Hessian, or of the Jacobian of the field."""
multiplier = sp.Symbol("z")
"""z: by what a step multiplies an eigenvector."""
stiffness = sp.Symbol("x", real=True)
"""x = hλ."""


@dataclass(frozen=True)
class Validity:
    """hλ_max < limit: where the series of the modified equation converges on the linearized problem.

    Parameters
    ----------
    step
        h.
    limit
        The distance to the nearest singular point. Of a rule with three roots or more, two that meet may both be other ones
        than z: the limit is then a lower bound.
    singular_points
        All candidates: x at which roots meet, or a root is 0 or infinite.
    characteristic
        P(z, x), of which z is a root.

    Examples
    --------
    >>> from derive import heavy_ball, runge_kutta
    >>> validity(heavy_ball(sp.Rational(81, 100))).limit  # (1 − √β)²
    1/100
    >>> validity(runge_kutta("euler")).holds(h=0.1, curvature=9)
    True
    """

    step: sp.Expr
    limit: sp.Expr
    singular_points: tuple[sp.Expr, ...]
    characteristic: sp.Expr

    @property
    def condition(self) -> sp.Expr:
        """The condition as a relation."""
        return sp.StrictLessThan(self.step * curvature, self.limit)

    def holds(self, *, curvature: Any, h: Any = None, **symbols: Any) -> bool:
        """Whether the condition holds for numbers: ``h``, or the symbols of ``step``, and those of ``limit``, by name.

        Raises
        ------
        ValueError
            If a number is missing.
        """
        given = dict(symbols)
        step = self.step if h is None else sp.sympify(h, strict=True)
        values = {x: given[x.name] for x in (step.free_symbols | self.limit.free_symbols) if x.name in given}
        margin = (self.limit - step * sp.sympify(curvature, strict=True)).subs(values)
        if not margin.is_number:
            raise ValueError(
                f"symbols: expected numbers for {sorted(map(str, margin.free_symbols))} too, got {sorted(given)}"
            )
        return bool(margin.evalf() > 0)

    def truncation(self, order: int, x: Any) -> sp.Expr:
        """Relative error of the rate log z at x = hλ when powers of h up to ``order`` are kept: numbers only.

        At half the limit of plain gradient descent the first order (Kunin et al. 2021, eq. 16) is still right to a tenth:

        >>> from derive import runge_kutta
        >>> validity(runge_kutta("euler")).truncation(1, sp.Rational(1, 2)).round(3)
        0.098
        """
        x = sp.sympify(x, strict=True)
        root = sp.series(_slow_root(self.characteristic), stiffness, 0, order + 2).removeO()
        kept = sp.series(sp.log(root), stiffness, 0, order + 2).removeO().subs(stiffness, x)
        exact = sp.log(_slow_root(self.characteristic).subs(stiffness, x))
        return sp.Abs(1 - kept / exact).evalf()

    def _repr_latex_(self) -> str:
        return f"${sp.latex(self.condition)}$"


def validity(rule: UpdateRule | RungeKutta | LinearMultistep) -> Validity:
    """Derive the range of hλ_max in which the modified equation of ``rule`` is that of its iterates.

    >>> from derive import sgd
    >>> validity(sgd()).condition
    eta*lambda_max < 1
    """
    polynomial = characteristic(rule)
    points = _singular_points(polynomial)
    step = rule.step_size if isinstance(rule, UpdateRule) else h
    return Validity(step, _nearest(points), points, polynomial)


def characteristic(rule: UpdateRule | RungeKutta | LinearMultistep) -> sp.Expr:
    """P(z, x) of y' = −λy with x = hλ: 0 for the z by which the method multiplies.

    >>> from derive import heavy_ball
    >>> sp.collect(characteristic(heavy_ball(sp.Symbol("beta"))), multiplier)
    beta + z**2 + z*(-beta + x - 1)
    """
    if isinstance(rule, RungeKutta):
        growth = sp.fraction(sp.cancel(stability_function(rule).subs(multiplier, -stiffness)))
        return sp.expand(multiplier * growth[1] - growth[0])
    rule = multistep_of(rule) if isinstance(rule, UpdateRule) else rule
    shifts = [s for s, _ in rule.positions] + [s for _, place in rule.gradients for s, _ in place]
    left = sum(alpha * multiplier ** (s - min(shifts)) for s, alpha in rule.positions)
    right = sum(w * c * multiplier ** (s - min(shifts)) for w, place in rule.gradients for s, c in place)
    polynomial = sp.Poly(left + stiffness * right, multiplier)
    lowest = min(power for (power,), c in polynomial.terms())
    return sp.expand(sum(c * multiplier ** (power - lowest) for (power,), c in polynomial.terms()))


def stability_function(method: RungeKutta) -> sp.Expr:
    """R(z) = 1 + z bᵀ(I − zA)^{-1} 1, by which a step multiplies on y' = λy, z = hλ (Hairer, Wanner 1996, IV.3).

    >>> from derive import runge_kutta
    >>> stability_function(runge_kutta("implicit_midpoint"))
    (-z - 2)/(z - 2)
    """
    A, b = sp.Matrix(method.A), sp.Matrix([method.b])
    ones = sp.ones(method.stages, 1)
    inverse = (sp.eye(method.stages) - multiplier * A).LUsolve(ones)
    return sp.cancel(1 + multiplier * (b * inverse)[0])


def slow_multiplier(rule: UpdateRule | RungeKutta | LinearMultistep) -> sp.Expr:
    """z(x) with z(0) = 1."""
    return _slow_root(characteristic(rule))


def _slow_root(polynomial: sp.Expr) -> sp.Expr:
    roots = sp.roots(sp.Poly(polynomial, multiplier))
    for root in roots:
        if _is_one_at_zero(root):
            return root
    raise UnsupportedError(f"characteristic: expected a root z(0) = 1 in closed form, got {list(roots)} of {polynomial}")


def _is_one_at_zero(root: sp.Expr) -> bool:
    """Checked at a few rational values of the symbols, momentum among them, between 0 and 1."""
    symbols = sorted(root.free_symbols - {stiffness}, key=str)
    points = [{s: sp.Rational(k + 1, 2 * k + 5) for s in symbols} for k in range(3)]
    return all(abs((root.subs(stiffness, 0).subs(point) - 1).evalf(30)) < 1e-20 for point in points)


def _singular_points(polynomial: sp.Expr) -> tuple[sp.Expr, ...]:
    """x where the discriminant in z, the constant term or the leading coefficient vanishes."""
    poly = sp.Poly(polynomial, multiplier)
    factors = [poly.LC(), poly.eval(0)] + ([poly.discriminant()] if poly.degree() > 1 else [])
    found: dict[sp.Expr, None] = {}
    for factor in factors:
        numerator = sp.Poly(sp.numer(sp.together(factor)), stiffness)
        if numerator.degree() > 0:
            found.update(dict.fromkeys(_simplified_roots(numerator)))
    return tuple(point for point in found if point != 0)


def _simplified_roots(polynomial: sp.Poly) -> list[sp.Expr]:
    if all(c.is_Rational for c in polynomial.all_coeffs()):
        return sp.Poly(polynomial, stiffness, domain="QQ").all_roots()
    return [_factored(root) for root in sp.roots(polynomial)]


def _factored(root: sp.Expr) -> sp.Expr:
    """Factored, square roots of symbols too: 1 − 2√β + β is (√β − 1)²."""
    roots = {
        power: sp.Dummy(positive=True) for power in root.atoms(sp.Pow) if power.exp == sp.S.Half and power.base.is_Symbol
    }
    lifted = root.xreplace(roots).xreplace({power.base: rho**2 for power, rho in roots.items()})
    return sp.factor(lifted).xreplace({rho: power for power, rho in roots.items()})


def _nearest(points: tuple[sp.Expr, ...]) -> sp.Expr:
    """The point of least modulus; symbols are momenta between 0 and 1, at which the order of the points is looked up."""
    if not points:
        return sp.oo
    symbols = sorted(set().union(*(point.free_symbols for point in points)), key=str)
    samples = [{s: sp.Rational(k, 7) for s in symbols} for k in (1, 3, 6)]
    firsts = {min(points, key=lambda p: abs(p.subs(sample).evalf())) for sample in samples}
    if len(firsts) != 1:
        return sp.Min(*(sp.Abs(point) for point in points))
    (nearest,) = firsts
    if nearest.has(sp.CRootOf):
        return sp.Abs(nearest, evaluate=False)
    return sp.simplify(sp.Abs(nearest)) if nearest.is_number else nearest if nearest.is_real else sp.Abs(nearest)
