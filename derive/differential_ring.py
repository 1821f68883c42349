"""Polynomial rings closed under differentiation: where Lie series of a concrete field are computed.

A loss such as log(1 + e^{−x}) becomes a polynomial in generators – x, e^{−x}, 1/(1 + e^{−x}) – whose derivatives are again
polynomials in them. No expression is expanded or simplified, and polynomials stay what they are.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from typing import Any

import sympy as sp
from sympy.polys.rings import PolyElement, PolyRing

from derive.bseries import exact_field
from derive.equality import refutes
from derive.update_rule import UnsupportedError

Vector = tuple[PolyElement, ...]

ELEMENTARY = (sp.exp, sp.log, sp.sin, sp.cos, sp.tan, sp.sinh, sp.cosh, sp.tanh, sp.asin, sp.acos, sp.atan, sp.asinh,
              sp.acosh, sp.atanh, sp.erf)  # fmt: skip
"""The functions that a loss may hold beside arithmetic and powers."""


def in_standard_form(expr: sp.Expr) -> sp.Expr:
    """An expression with a variable exponent, b^u, as e^{u log b}."""
    return expr.replace(
        lambda e: e.is_Pow and not e.exp.is_Rational and bool(e.exp.free_symbols), lambda e: sp.exp(e.exp * sp.log(e.base))
    )


def _powers(expr: sp.Pow) -> tuple[sp.Expr, int]:
    """(generator, exponent): x³ is x cubed, x^{−3} the inverse of x cubed, x^{−3/2} the inverse root cubed."""
    base, exponent = expr.base, expr.exp
    if not exponent.is_Rational:
        return expr, 1
    sign = 1 if exponent > 0 else -1
    return base ** sp.Rational(sign, exponent.q), abs(int(exponent.p))


class DifferentialRing:
    """Polynomials in the variables, in constants, and in the functions that ``expressions`` and their derivatives hold.

    >>> x = sp.Symbol("x")
    >>> field = DifferentialRing([sp.log(1 + sp.exp(-x))], (x,))
    >>> field.to_expr(field.derivative(field.from_expr(sp.log(1 + sp.exp(-x))), 0))
    -exp(-x)/(1 + exp(-x))

    Parameters
    ----------
    expressions
        What is to be written in the ring.
    variables
        The coordinates; all other symbols are constants.
    numbers
        Coefficients of the rule, for which a domain is chosen. Their symbols must not occur in ``expressions``.

    Raises
    ------
    UnsupportedError
        For a function that is not elementary, or is not smooth: ``Abs``, ``Max``, ``Piecewise``.
    """

    def __init__(self, expressions: Iterable[sp.Expr], variables: Sequence[sp.Symbol], numbers: Iterable[Any] = ()) -> None:
        self.variables = tuple(variables)
        found: dict[sp.Expr, None] = dict.fromkeys(self.variables)
        for expr in expressions:
            self._collect(in_standard_form(expr), found)
        self.domain, _ = exact_field(list(numbers))
        self.ring = PolyRing(tuple(found), self.domain)
        self._generators = dict(zip(found, self.ring.gens, strict=True))

    def _collect(self, expr: sp.Expr, found: dict[sp.Expr, None]) -> None:
        """Every generator that ``expr`` needs, with those of its derivatives."""
        if expr.is_Rational or expr in found:
            return
        if expr.is_Add or expr.is_Mul:
            for part in expr.args:
                self._collect(part, found)
            return
        generator = _powers(expr)[0] if expr.is_Pow else expr
        if generator != expr:
            self._collect(generator, found)
            return
        self._expect_known(generator)
        varies = bool(generator.free_symbols & set(self.variables)) and not generator.is_Symbol
        if varies:
            self._collect(_inner(generator), found)  # before the generator itself: slopes are found in this order
        found[generator] = None
        if varies:
            self._collect(_slope(generator), found)

    @staticmethod
    def _expect_known(generator: sp.Expr) -> None:
        known = generator.is_Symbol or generator.is_Pow or generator.is_NumberSymbol or isinstance(generator, ELEMENTARY)
        if not known or generator.is_commutative is False:
            names = ", ".join(f.__name__ for f in ELEMENTARY)
            raise UnsupportedError(f"loss, field: expected arithmetic, powers and {names} of "
                                   f"real variables, got {generator}")  # fmt: skip

    def from_expr(self, expr: sp.Expr) -> PolyElement:
        """The element of an expression made of the generators."""
        return self._read(in_standard_form(expr))

    def _read(self, expr: sp.Expr) -> PolyElement:
        if expr in self._generators:
            return self._generators[expr]
        if expr.is_Rational:
            return self.ring(self.domain.from_sympy(expr))
        if expr.is_Add:
            return sum(map(self._read, expr.args), self.ring.zero)
        if expr.is_Mul:
            return sp.prod(map(self._read, expr.args), start=self.ring.one)
        generator, exponent = _powers(expr)
        return self._read(generator) ** exponent

    def number(self, value: Any) -> Any:
        """A coefficient of the rule as an element of the domain."""
        return self.domain.from_sympy(sp.sympify(value, strict=True))

    def to_expr(self, element: PolyElement) -> sp.Expr:
        """Back to SymPy, each coefficient factored."""
        if self.domain.is_Numerical:
            return element.as_expr()
        monomials = (
            sp.factor(self.domain.to_sympy(c)) * sp.prod(g**n for g, n in zip(self.ring.symbols, powers, strict=True))
            for powers, c in element.terms()
        )
        return sp.Add(*monomials)

    @cached_property
    def _slopes(self) -> list[dict[int, PolyElement]]:
        """For each variable, generator number -> its derivative, where that is not 0."""
        table = []
        for k, variable in enumerate(self.variables):
            row = {k: self.ring.one}
            for number, generator in enumerate(self.ring.symbols):
                if not generator.is_Symbol and variable in generator.free_symbols:
                    inner = self._derivative_with(row, self._read(_inner(generator)))
                    row[number] = self._read(_slope(generator)) * inner
            table.append(row)
        return table

    def _derivative_with(self, row: dict[int, PolyElement], element: PolyElement) -> PolyElement:
        total = self.ring.zero
        for number, slope in row.items():
            if part := element.diff(self.ring.gens[number]):
                total += part if slope == 1 else part * slope
        return total

    def derivative(self, element: PolyElement, variable: int) -> PolyElement:
        """∂/∂x_i, i = ``variable``."""
        return self._derivative_with(self._slopes[variable], element)

    def gradient(self, element: PolyElement) -> Vector:
        """All first derivatives."""
        return tuple(self.derivative(element, k) for k in range(len(self.variables)))

    def along(self, field: Vector, element: PolyElement) -> PolyElement:
        """The Lie derivative Σ_i f_i ∂_i of ``element``."""
        slopes = self.gradient(element)
        return sum((f * slope for f, slope in zip(field, slopes, strict=True) if slope), self.ring.zero)

    def is_zero(self, element: PolyElement) -> bool:
        """Whether the function is 0: exactly for polynomials, else also at random points in high precision."""
        if not element:
            return True
        if all(generator.is_Symbol for generator in self.ring.symbols):
            return False
        return refutes(self.to_expr(element)) is None

    def curl(self, field: Vector) -> Iterator[tuple[int, int, PolyElement]]:
        """(i, j, ∂_i f_j − ∂_j f_i), i < j, where it is not 0."""
        for i in range(len(field)):
            for j in range(i + 1, len(field)):
                rotation = self.derivative(field[j], i) - self.derivative(field[i], j)
                if not self.is_zero(rotation):
                    yield i, j, rotation


def _inner(generator: sp.Expr) -> sp.Expr:
    """The u of f(u), 1/u and √u."""
    return generator.base if generator.is_Pow else generator.args[0]


def _slope(generator: sp.Expr) -> sp.Expr:
    """d/du of a generator as a function of its argument or base u."""
    if generator.is_Pow:
        return generator.exp * generator * generator.base**-1 if generator.exp != -1 else -(generator**2)
    return in_standard_form(generator.fdiff(1))
