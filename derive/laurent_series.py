"""Laurent series of an expression in one small letter, exactly, over the field of rational functions of its other letters.

For sums, products, integer powers and exponentials: what recurrences become under E = e^{hD}. SymPy's own ``series``
expands every coefficient as it goes and takes minutes where this takes a hundredth of a second.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import sympy as sp
from sympy.polys.fields import FracField

from derive.formal_series import add, divide, exponential, multiply


class LaurentError(ValueError):
    """An expression that has no such series."""


@dataclass(frozen=True)
class Laurent:
    """Σ_k c_k z^{low + k} + O(z^{low + len(c)}), with c_k in a field.

    Parameters
    ----------
    low
        The power of the first coefficient, which may be 0.
    coefficients
        c_0, c_1, ….
    """

    low: int
    coefficients: tuple[Any, ...]

    @property
    def known(self) -> int:
        """The first power of which nothing is known."""
        return self.low + len(self.coefficients)

    def __getitem__(self, power: int) -> Any:
        if power >= self.known:
            raise LaurentError(f"power: expected one below {self.known}, got {power}; ask for more terms")
        return self.coefficients[power - self.low] if power >= self.low else self.coefficients[0] * 0

    def __add__(self, other: Laurent) -> Laurent:
        low, known = min(self.low, other.low), min(self.known, other.known)
        rows = [[x[power] for power in range(low, known)] for x in (self, other)]
        return Laurent(low, tuple(add(rows)))

    def __mul__(self, other: Laurent) -> Laurent:
        length = min(len(self.coefficients), len(other.coefficients))
        product = multiply(list(self.coefficients[:length]), list(other.coefficients[:length]))
        return Laurent(self.low + other.low, tuple(product))

    def inverse(self) -> Laurent:
        """1/self, which is known to as many terms as follow the first that is not 0."""
        shifted = self.stripped()
        one = [shifted.coefficients[0] ** 0, *[shifted.coefficients[0] * 0] * (len(shifted.coefficients) - 1)]
        return Laurent(-shifted.low, tuple(divide(one, list(shifted.coefficients))))

    def stripped(self) -> Laurent:
        """The same, from its first coefficient that is not 0."""
        for k, coefficient in enumerate(self.coefficients):
            if coefficient != 0:
                return Laurent(self.low + k, self.coefficients[k:])
        raise LaurentError(f"expr: expected a series that is not 0 below the power {self.known}; ask for more terms")

    def exponential(self) -> Laurent:
        """e^self, for a series without constant term and poles."""
        if any(self[power] != 0 for power in range(min(self.low, 0), 1)):
            raise LaurentError("expr: expected an exponent that is 0 at the origin, got one that is not")
        whole = exponential([self[power] for power in range(self.known)])
        return Laurent(0, tuple(whole))


def laurent_series(expr: sp.Expr, small: sp.Symbol, below: int) -> dict[int, sp.Expr]:
    """Power -> coefficient of ``expr`` in ``small``, for all powers under ``below`` whose coefficient is not 0.

    >>> h, x = sp.symbols("h x")
    >>> laurent_series(x / (sp.exp(h * x) - 1), h, 4)  # Bernoulli numbers over k!
    {-1: 1, 0: -x/2, 1: x**2/12, 3: -x**4/720}

    Raises
    ------
    LaurentError
        If ``expr`` holds other functions of ``small`` than powers and exponentials.
    """
    for guard in (2, 6, 14):
        try:
            series = _series(expr, small, _field(expr, small), below + guard)
            found = {power: series[power] for power in range(series.low, below)}
        except LaurentError:
            if guard == 14:
                raise
            continue
        return {power: sp.factor(c.as_expr()) for power, c in found.items() if c != 0}
    raise AssertionError


def _field(expr: sp.Expr, small: sp.Symbol) -> FracField:
    """Rational functions of what the coefficients hold: letters, and whatever is not built by arithmetic."""
    return FracField(sorted(_letters(expr, small), key=str) or [sp.Dummy()], sp.QQ)


def _letters(expr: sp.Expr, small: sp.Symbol) -> set[sp.Expr]:
    if expr == small or expr.is_Rational:
        return set()
    if expr.is_Add or expr.is_Mul or (expr.is_Pow and expr.exp.is_Integer) or (isinstance(expr, sp.exp) and expr.has(small)):
        return set().union(*(_letters(part, small) for part in expr.args))
    return {expr}


def _series(expr: sp.Expr, small: sp.Symbol, field: FracField, terms: int) -> Laurent:
    if not expr.has(small):
        return Laurent(0, (_element(expr, field), *[field.zero] * (terms - 1)))
    if expr == small:
        return Laurent(1, (field.one, *[field.zero] * (terms - 1)))
    parts = [_series(part, small, field, terms) for part in expr.args] if not expr.is_Pow else []
    if expr.is_Add or expr.is_Mul:
        total = parts[0]
        for part in parts[1:]:
            total = total + part if expr.is_Add else total * part
        return total
    if isinstance(expr, sp.exp):
        return parts[0].exponential()
    if expr.is_Pow and expr.exp.is_Integer:
        base = _series(expr.base, small, field, terms)
        return _power(base if expr.exp > 0 else base.inverse(), abs(int(expr.exp)))
    raise LaurentError(f"expr: expected sums, products, integer powers and exponentials of {small}, got {expr}")


def _power(base: Laurent, exponent: int) -> Laurent:
    total = base
    for _ in range(exponent - 1):
        total = total * base
    return total


def _element(expr: sp.Expr, field: FracField) -> Any:
    try:
        return field.from_expr(expr)
    except ValueError as error:
        raise LaurentError(f"expr: expected a rational function of {field.symbols}, got {expr}") from error
