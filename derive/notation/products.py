"""How quantities multiply: operators act, rows meet vectors, powers stay bounded."""

from __future__ import annotations

from math import comb, prod

import sympy as sp

from derive.notation import quantities as qu
from derive.notation.quantities import Differential, Landau, Linear, MeaningError, Quantity
from derive.symbols import time as t

MAX_POWER = 60
MAX_BITS = 400


def multiply(left: Quantity, right: Quantity) -> Quantity:
    """The product of two quantities, ``left`` acting on ``right`` where it is an operator.

    >>> multiply(Differential({1: sp.S.One}), t**2)
    2*t
    """
    if isinstance(left, sp.Expr) and isinstance(right, sp.Expr):
        return left * right
    if isinstance(left, Landau) or isinstance(right, Landau):
        return _small(left, right)
    if isinstance(left, Differential):
        return _acted(left, right)
    if isinstance(left, sp.Expr):
        return _scaled(right, left)
    if isinstance(right, sp.Expr):
        return left.scaled(right)
    if isinstance(right, Differential):
        raise MeaningError("a vector stands before an operator")
    return _linear_product(left, right)


def _small(left: Quantity, right: Quantity) -> Landau:
    sizes = [value.size if isinstance(value, Landau) else value for value in (left, right)]
    return Landau(sp.Mul(*(size for size in sizes if isinstance(size, sp.Expr))))


def _scaled(value: Quantity, factor: sp.Expr) -> Quantity:
    if isinstance(value, Differential):
        return Differential({k: factor * c for k, c in value.coefficients.items()}, value.variable)
    assert isinstance(value, Linear)
    return value.scaled(factor)


def _acted(operator: Differential, value: Quantity) -> Quantity:
    if isinstance(value, Differential):
        orders: dict[int, sp.Expr] = {}
        for j, a in operator.coefficients.items():
            for k, b in value.coefficients.items():
                orders[j + k] = orders.get(j + k, sp.S.Zero) + a * b
        return Differential(orders, operator.variable)
    if isinstance(value, sp.Expr):
        return sp.Add(*(c * value.diff(operator.variable, k) for k, c in operator.coefficients.items()))
    assert isinstance(value, Linear)
    total, moved = Linear({}), value
    for k in range(max(operator.coefficients) + 1):
        total = total.plus(moved.scaled(operator.coefficients.get(k, sp.S.Zero)))
        moved = qu.rate_of(moved) if k < max(operator.coefficients) else moved
    return total


def _linear_product(left: Linear, right: Linear) -> Quantity:
    if not left.closed:
        return qu.compose(left, right)
    if right.closed:
        if right.row and not left.row:
            raise MeaningError("a column times a row, which is a matrix; an inner product is written x^T y")
        return qu.pair(left, right)
    turned = transposed(right)
    assert isinstance(turned, Linear)
    return Linear(qu.compose(turned, left).terms, row=True)


def _reverse(word: qu.Word) -> qu.Word:
    return tuple({"G": "G^T", "G^T": "G"}.get(piece, piece) for piece in reversed(word))


def transposed(value: Quantity) -> Quantity:
    """A vector as a row; a matrix with its letters in reverse."""
    if not isinstance(value, Linear):
        return value
    if value.closed:
        return Linear(value.terms, row=not value.row)
    return value.mapped(lambda word, time: (_reverse(word), time))


def raised(base: Quantity, exponent: sp.Expr) -> Quantity:
    """A power, refused where the number would be too large to hold.

    >>> raised(sp.Integer(2), sp.Integer(10))
    1024
    """
    if isinstance(base, sp.Expr):
        return _power(base, exponent)
    if isinstance(base, Linear) and base.closed:
        if exponent != 2:
            raise MeaningError("a power of a vector other than the square of its norm")
        return qu.pair(base, base)
    if not (exponent.is_Integer and 0 < int(exponent) <= 12):
        raise MeaningError(f"the power {exponent} of an operator")
    found = base
    for _ in range(int(exponent) - 1):
        found = multiply(base, found)
    return found


def _power(base: sp.Expr, exponent: sp.Expr) -> sp.Expr:
    if exponent.is_number and not exponent.is_real:
        raise MeaningError("a power that is not real; write cos and sin")
    if exponent.is_number and abs(exponent) > MAX_POWER:
        raise MeaningError(f"a power larger than {MAX_POWER}")
    if base.is_Rational and exponent.is_number and max(abs(base.p), base.q).bit_length() * abs(exponent) > MAX_BITS:
        raise MeaningError("a number too large to hold")
    if height(base) + height(exponent) > 3:
        raise MeaningError("powers of powers of powers")
    if base.is_zero and exponent.is_number and exponent.is_negative:
        raise MeaningError("division by 0")
    if base.is_Pow and base.exp == sp.S.Half and exponent == 2:
        return base.base
    return sp.Pow(base, exponent)


MAX_EXPANDED = 3000


def expanded_size(expr: sp.Expr) -> int:
    """At most how many terms it has when multiplied out, counted without doing it.

    >>> a, b = sp.symbols("a b")
    >>> expanded_size((a + b) ** 3 * (a - b))
    8
    """
    if expr.is_Add:
        return sum(expanded_size(arg) for arg in expr.args)
    if expr.is_Mul:
        return prod(expanded_size(arg) for arg in expr.args)
    if expr.is_Pow and expr.exp.is_Integer:
        inside, power = expanded_size(expr.base), abs(int(expr.exp))
        return comb(power + inside - 1, inside - 1) if power * inside < 10**5 else 10**9
    return max((expanded_size(arg) for arg in expr.args if isinstance(arg, sp.Expr)), default=1)


def height(expr: sp.Expr) -> int:
    """How deeply powers and exponentials with exponents that are no numbers are nested."""
    here = int(isinstance(expr, sp.exp) or (expr.is_Pow and not expr.exp.is_number))
    return here + max((height(arg) for arg in expr.args if isinstance(arg, sp.Expr)), default=0)


def evaluated(value: Quantity, variable: sp.Expr, at: sp.Expr) -> Quantity:
    """A quantity at a value of a variable; a rate at 0 becomes the initial rate."""
    if isinstance(value, Linear):
        return value.at(at) if variable == t else value
    if not isinstance(value, sp.Expr):
        raise MeaningError("an operator is evaluated")
    if variable == t and at == 0:
        first = [d for d in value.atoms(sp.Derivative) if d.derivative_count == 1]
        value = value.xreplace({d: sp.Function(f"{d.expr.func.__name__}'", real=True)(0) for d in first})
    return value.subs(variable, at)


def folded(values: list[Quantity]) -> Quantity:
    """Right to left, so that an operator meets the whole of what stands on its right."""
    found = values[-1]
    for value in reversed(values[:-1]):
        found = multiply(value, found)
    return found


def added(left: Quantity, right: Quantity) -> Quantity:
    """The sum of two quantities of one kind; a number beside a matrix is a multiple of the identity."""
    if isinstance(left, sp.Expr) and isinstance(right, sp.Expr):
        return left + right
    if left == 0 or right == 0:
        return right if left == 0 else left
    if isinstance(left, Linear) and isinstance(right, Linear):
        return left.plus(right)
    if isinstance(left, Differential) or isinstance(right, Differential):
        return _add_operators(left, right)
    matrix = next((v for v in (left, right) if isinstance(v, Linear) and not v.closed), None)
    number = next((v for v in (left, right) if isinstance(v, sp.Expr)), None)
    if matrix is not None and number is not None:
        return matrix.plus(Linear({(("I",), t): number}, closed=False))
    raise MeaningError("a scalar and a vector are added")


def _differential(value: Quantity) -> Differential:
    if isinstance(value, Differential):
        return value
    if isinstance(value, sp.Expr):
        return Differential({0: value})
    raise MeaningError("a vector and an operator are added")


def _add_operators(left: Quantity, right: Quantity) -> Differential:
    one, other = _differential(left), _differential(right)
    variable = one.variable if set(one.coefficients) != {0} else other.variable
    orders = {*one.coefficients, *other.coefficients}
    return Differential({k: one.coefficients.get(k, 0) + other.coefficients.get(k, 0) for k in orders}, variable)
