"""Operators F(D), D = d/dt, that act on a charge or on a drive: what a recurrence in E = e^{hD} becomes in continuous time.

A polynomial in D is a differential operator. A quotient such as D/(e^{hD} − 1) stands for its Taylor series in D (here
Σ B_k (hD)^k / (h k!), B_k the Bernoulli numbers): an operator of infinite order, exact on functions that are analytic
in a wide enough disc, of which a law of finite order keeps the first terms.
"""

from __future__ import annotations

import sympy as sp

from derive.symbols import derivative as D
from derive.symbols import shift as E


class operator_on(sp.Function):
    """F(D) acting on a function of one variable, unevaluated; ``doit()`` carries out a polynomial F.

    >>> t, x = sp.Symbol("t"), sp.Function("x")
    >>> operator_on(D**2 + 3, x(t)).doit()
    3*x(t) + Derivative(x(t), (t, 2))
    """

    nargs = 2

    @classmethod
    def eval(cls, operator, function):
        if operator == 0 or function == 0:
            return sp.S.Zero
        return None if operator.has(D, E) else operator * function

    @property
    def operator(self) -> sp.Expr:
        """F(D)."""
        return self.args[0]

    @property
    def function(self) -> sp.Expr:
        """What F(D) acts on."""
        return self.args[1]

    def doit(self, **hints):
        if not self.operator.is_polynomial(D):
            return self
        (variable,) = self.function.args
        terms = enumerate(coefficients(self.operator))
        return sp.Add(*(coefficient * self.function.diff(variable, power) for power, coefficient in terms))

    def _latex(self, printer, exp=None):
        text = rf"\left[{printer._print(self.operator)}\right] {printer._print(self.function)}"
        return text if exp is None else rf"\left({text}\right)^{{{exp}}}"


def coefficients(operator: sp.Expr) -> list[sp.Expr]:
    """Those of D⁰, D¹, … in a polynomial in D; functions in them are left as they are written.

    >>> coefficients((D - 1) ** 2)
    [1, -2, 1]
    """
    opaque, back = _opaque(operator)
    return [c.xreplace(back) for c in sp.Poly(opaque, D).all_coeffs()[::-1]]


def factored(expr: sp.Expr) -> sp.Expr:
    """``sympy.factor`` that leaves the arguments of functions as they are written, since digits may hang on that."""
    opaque, back = _opaque(expr)
    return sp.factor(opaque).xreplace(back)


def _opaque(expr: sp.Expr) -> tuple[sp.Expr, dict[sp.Basic, sp.Basic]]:
    """``expr`` with a dummy for each function value, and the way back."""
    names = {f: sp.Dummy() for f in expr.atoms(sp.Function) | expr.atoms(sp.Derivative)}
    return expr.xreplace(names), {name: f for f, name in names.items()}


def read_operators(expr: sp.Expr, function: sp.Expr) -> sp.Expr:
    """The operator F(D) with ``expr`` = F(D) function, of a linear differential expression.

    >>> t, x = sp.Symbol("t"), sp.Function("x")
    >>> read_operators(3 * x(t) - 2 * x(t).diff(t), x(t))
    3 - 2*D

    Raises
    ------
    ValueError
        If ``expr`` is not linear in the function and its derivatives.
    """
    parts = {x: x.operator for x in expr.atoms(operator_on) if x.function == function}
    parts |= {x: D**x.derivative_count for x in expr.atoms(sp.Derivative) if x.expr == function}
    parts[function] = sp.S.One
    names = {x: sp.Dummy() for x in parts}
    linear = expr.xreplace(names)
    slopes = {x: linear.diff(name) for x, name in names.items()}
    if any(slope.has(*names.values(), function) for slope in slopes.values()):
        raise ValueError(f"expr: expected an expression linear in {function} and its derivatives, got {expr}")
    return sp.Add(*(slope * parts[x] for x, slope in slopes.items()))
