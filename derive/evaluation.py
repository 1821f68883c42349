"""Values of expressions in high precision at rational points, by a walk that can be bounded.

SymPy's own ``evalf`` may raise its precision without end on a formula made to that purpose. Here every function has one
evaluation, large exponents are refused, and an integral is done once.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import mpmath
import sympy as sp

from derive import symbols
from derive.special_functions import damped_cosh, damped_sinhc, squared_arccosh1p

DIGITS = 40
LARGEST_EXPONENT = 20000
LARGEST_SUM = 400

Point = Mapping[sp.Symbol, sp.Rational]


class ValueMissing(ValueError):
    """An expression has no number here: a pole, a symbol or function without value, or a number too large."""


def value(expr: sp.Expr, point: Point, digits: int = DIGITS) -> mpmath.mpc:
    """The value of ``expr`` at ``point``, in ``digits`` decimal digits.

    >>> x = sp.Symbol("x")
    >>> print(mpmath.nstr(value(sp.sqrt(x) ** 3, {x: sp.Rational(1, 4)}), 5))
    (0.125 + 0.0j)

    Raises
    ------
    ValueMissing
        At a pole, for an undefined function, or where a number would be too large.
    """
    with mpmath.workdps(digits):
        numbers = {symbol: mpmath.mpf(v.p) / v.q for symbol, v in point.items()}
        try:
            found = mpmath.mpmathify(_value(expr, numbers))
        except (ZeroDivisionError, OverflowError, TypeError) as error:
            raise ValueMissing(f"no value of {type(expr).__name__} at this point") from error
        if not mpmath.isfinite(found):
            raise ValueMissing("no finite value at this point")
        return mpmath.mpc(found)


def _exponential(x):
    if mpmath.re(x) < -LARGEST_EXPONENT and abs(mpmath.im(x)) < LARGEST_EXPONENT:
        return mpmath.mpf(0)
    if abs(x) > LARGEST_EXPONENT:
        raise ValueMissing("an exponent too large to evaluate")
    return mpmath.exp(x)


def _power(base, exponent):
    if base == 0:
        if mpmath.re(exponent) < 0:
            raise ZeroDivisionError
        return mpmath.mpf(1 if exponent == 0 else 0)
    if exponent == int(mpmath.re(exponent)) and abs(exponent) < 1000:
        return base ** int(mpmath.re(exponent))
    return _exponential(exponent * mpmath.log(base))


def _damped(function: Callable):
    def evaluated(a, b):
        root = mpmath.sqrt(mpmath.mpc(a) ** 2 - mpmath.mpc(b) ** 2)
        if abs(root) + abs(a) > LARGEST_EXPONENT:
            raise ValueMissing("an exponent too large to evaluate")
        return mpmath.exp(-a) * function(root)

    return evaluated


def _guarded(function: Callable):
    def evaluated(x):
        if abs(x) > LARGEST_EXPONENT:
            raise ValueMissing("an argument too large to evaluate")
        return function(x)

    return evaluated


def _quotient_of_sinh(root):
    return mpmath.sinh(root) / root if root else mpmath.mpf(1)


_ELEMENTARY = "sin cos tan cot sec csc sinh cosh tanh coth sech csch asin acos atan asinh acosh atanh erf"
_FUNCTIONS = {
    sp.exp: _exponential,
    sp.log: mpmath.log,
    sp.Abs: abs,
    sp.sign: mpmath.sign,
    damped_cosh: _damped(mpmath.cosh),
    damped_sinhc: _damped(_quotient_of_sinh),
    squared_arccosh1p: lambda x: mpmath.acosh(1 + x) ** 2,
    sp.re: mpmath.re,
    sp.im: mpmath.im,
    sp.conjugate: mpmath.conj,
} | {getattr(sp, name): _guarded(getattr(mpmath, name)) for name in _ELEMENTARY.split()}


def _value(expr: sp.Expr, numbers: Mapping):
    if expr.is_Symbol:
        if expr not in numbers:
            raise ValueMissing(f"no value for {expr}")
        return numbers[expr]
    if expr.is_Rational:
        return mpmath.mpf(expr.p) / expr.q
    if expr.is_Add:
        return mpmath.fsum(_value(arg, numbers) for arg in expr.args)
    if expr.is_Mul:
        return mpmath.fprod(_value(arg, numbers) for arg in expr.args)
    if expr.is_Pow:
        return _power(_value(expr.base, numbers), _value(expr.exp, numbers))
    if isinstance(expr, sp.Integral | sp.Sum | sp.Product):
        return _accumulated(expr, numbers)
    if isinstance(expr, sp.Limit):
        return _limit(expr, numbers)
    if expr.func in _FUNCTIONS:
        return _FUNCTIONS[expr.func](*(_value(arg, numbers) for arg in expr.args))
    if expr.is_number and expr.is_finite and not expr.args:
        return expr.evalf(mpmath.mp.dps)._to_mpmath(mpmath.mp.prec)
    raise ValueMissing(f"no value of {type(expr).__name__}")


def _limit(expr: sp.Limit, numbers: Mapping):
    """The value very near the limit, where two distances, and both sides, agree on it.

    Raises
    ------
    ValueMissing
        If they do not: there is no limit, or it is approached too slowly to be seen.
    """
    body, variable, target = expr.args[:3]
    with mpmath.workdps(20 * DIGITS):
        near, nearer = (mpmath.mpf(10) ** -(k * 4 * DIGITS) for k in (1, 2))
        if target in (sp.oo, -sp.oo):
            places = [(1 if target is sp.oo else -1) / small for small in (near, nearer)]
        else:
            goal = _value(target, numbers)
            places = [goal + small for small in (near, nearer, -nearer)]
        found = [_value(body, {**numbers, variable: place}) for place in places]  # type: ignore[arg-type]
        if any(abs(other - found[1]) > mpmath.mpf(10) ** -DIGITS * max(1, abs(found[1])) for other in found):
            raise ValueMissing("no limit that can be seen")
        return found[1]


def _accumulated(expr: sp.Integral | sp.Sum | sp.Product, numbers: Mapping):
    body, (variable, *limits) = expr.args[0], expr.args[1]
    low, high = (_value(limit, numbers) for limit in limits)

    def at(x):
        return _value(body, {**numbers, variable: x})  # type: ignore[arg-type]

    if isinstance(expr, sp.Integral):
        if not mpmath.isfinite(low) or not mpmath.isfinite(high):
            raise ValueMissing("an integral without end")
        found, error = mpmath.quad(at, [low, high], maxdegree=6, error=True)
        if error > mpmath.mpf(10) ** (10 - mpmath.mp.dps) * max(abs(found), 1):
            raise ValueMissing("an integral that is not known to enough digits")
        return found
    if mpmath.re(high - low) > LARGEST_SUM or low != int(mpmath.re(low)) or high != int(mpmath.re(high)):
        raise ValueMissing("a sum with too many terms")
    steps = (at(mpmath.mpf(i)) for i in range(int(mpmath.re(low)), int(mpmath.re(high)) + 1))
    return mpmath.fprod(steps) if isinstance(expr, sp.Product) else mpmath.fsum(steps)


@dataclass(frozen=True)
class Sampler:
    """Random rational points: hyper-parameters in (0, 1), times positive with τ < t, steps with i < n, conditions kept.

    Parameters
    ----------
    conditions
        Triples (left, sign, right) that every point satisfies.
    excluded
        Conjunctions that no point satisfies: the rows above an "otherwise".
    """

    conditions: Sequence[tuple[sp.Expr, str, sp.Expr]] = ()
    excluded: Sequence[Sequence[tuple[sp.Expr, str, sp.Expr]]] = ()
    seed: int = field(default=7)

    def points(self, free: set[sp.Symbol], count: int) -> list[Point]:
        """``count`` points, or fewer if the conditions are rarely met."""
        used = set(free).union(*(a.free_symbols | b.free_symbols for a, _, b in self.conditions))
        used = used.union(*(a.free_symbols | b.free_symbols for row in self.excluded for a, _, b in row))
        found: list[Point] = []
        for _, point in zip(range(60 * count), self._draws(sorted(used, key=str)), strict=False):
            point = self._on_equalities(point)
            if point is not None and self._allowed(point):
                found.append(point)
            if len(found) == count:
                break
        return found

    def _draws(self, free: list[sp.Symbol]) -> Iterator[dict[sp.Symbol, sp.Rational]]:
        draw = random.Random(self.seed)
        while True:
            point = {s: _drawn(s, draw) for s in free}
            t, tau, n = symbols.time, symbols.past, symbols.step
            i = sp.Symbol("i", integer=True, nonnegative=True)
            if t in point and tau in point:
                point[tau] = point[t] * sp.Rational(draw.randint(1, 96), 97)
            if n in point and i in point:
                point[i] = sp.Integer(draw.randint(0, int(point[n]) - 1))
            yield point

    def _on_equalities(self, point: dict[sp.Symbol, sp.Rational]) -> Point | None:
        for left, sign, right in self.conditions:
            if sign != "=":
                continue
            difference = left - right
            unknown = _linear_symbol(difference)
            if unknown is None:
                solved = _square_solved(difference, point)
                if solved is None:
                    return None
                point = {**point, **solved}
                continue
            slope, rest = sp.Poly(difference, unknown).all_coeffs()
            root = (-rest / slope).subs(point)
            if not root.is_Rational:
                return None
            point = {**point, unknown: root}
        return point

    def _allowed(self, point: Point) -> bool:
        inequalities = [c for c in self.conditions if c[1] != "="]
        kept = all(_holds(c, point) for c in inequalities)
        return kept and not any(all(_holds(c, point) for c in row) for row in self.excluded)


def _linear_symbol(expr: sp.Expr) -> sp.Symbol | None:
    if not expr.is_polynomial():
        return None
    return next((s for s in sorted(expr.free_symbols, key=str) if sp.Poly(expr, s).degree() == 1), None)


def _square_solved(difference: sp.Expr, point: Point) -> Point | None:
    """λ from γ = ω written in hyper-parameters, which is linear in λ once squared."""
    decay = symbols.weight_decay
    terms = sp.Add.make_args(difference)
    if len(terms) != 2 or not difference.has(decay):
        return None
    squares = sp.expand(terms[0] ** 2 - terms[1] ** 2)
    try:
        roots = sp.solve(squares, decay)
    except NotImplementedError:
        return None
    values = [root.subs(point) for root in roots if not root.has(decay)]
    return next(({decay: v} for v in values if v.is_Rational and v > 0), None)


def _drawn(symbol: sp.Symbol, draw: random.Random) -> sp.Rational:
    if symbol.is_integer:
        return sp.Integer(draw.randint(3, 9))
    if symbol in (symbols.time, symbols.frequency, symbols.damping_rate):
        return sp.Rational(draw.randint(20, 260), 97)
    return sp.Rational(draw.randint(5, 92), 97)


def _holds(condition: tuple[sp.Expr, str, sp.Expr], point: Point) -> bool:
    left, sign, right = condition
    a, b = mpmath.re(value(left, point)), mpmath.re(value(right, point))
    close = abs(a - b) <= mpmath.mpf(10) ** -25 * (1 + abs(a))
    return {"<": a < b and not close, ">": a > b and not close, "<=": a <= b or close, ">=": a >= b or close,
            "=": close, "!=": not close}[sign]  # fmt: skip
