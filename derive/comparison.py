"""Two statements held against each other term by term: numbers first, at random rational points, then a bounded proof."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import mpmath
import sympy as sp

from derive.equality import vanishes
from derive.evaluation import DIGITS, Point, Sampler, ValueMissing, value
from derive.notation.terms import Key, Terms, free_symbols

POINTS = 6
LARGEST_PROOF = 220
"""Operations in an expression that a proof is tried on."""
TINY = mpmath.mpf(10) ** -26


@dataclass(frozen=True)
class Fact:
    """A true statement, Σ terms = 0.

    Parameters
    ----------
    name
        What it is called in a verdict.
    terms
        Its terms; their overall factor has no meaning.
    pivots
        Terms by which the factor of a claim is fixed, the first one that the claim has.
    fixed
        Whether only the pivots fix the factor: a solution is solved for its charge. Otherwise the factor is the one on which
        most terms agree.
    """

    name: str
    terms: Terms
    pivots: tuple[Key, ...] = ()
    fixed: bool = False


@dataclass(frozen=True)
class Compared:
    """Outcome of one comparison; ``scale`` is what the fact is multiplied with to meet the claim."""

    fact: Fact
    scale: tuple[sp.Expr, sp.Expr]
    wrong: tuple[Key, ...]
    agreeing: int
    points: tuple[Point, ...]

    def correct(self, key: Key) -> sp.Expr:
        """The coefficient that the claim should have, in its own scale."""
        above, below = self.scale
        return self.fact.terms.get(key, sp.S.Zero) * above / below


def compare(claimed: Terms, fact: Fact, sampler: Sampler) -> Compared | None:
    """Which coefficients of a claim are not those of a fact; None if too few points could be evaluated."""
    free = free_symbols(claimed) | free_symbols(fact.terms)
    columns = _columns(claimed, fact, sampler.points(free, POINTS + 3))
    if columns is None:
        return None
    with mpmath.workdps(DIGITS):
        return _best(claimed, fact, *columns)


def _best(claimed: Terms, fact: Fact, points: Sequence[Point], left: dict[Key, list], right: dict[Key, list]) -> Compared:
    """The comparison under the factor on which most terms agree."""
    best: Compared | None = None
    for key in _pivots(claimed, fact):
        ratios = [_quotient(a, b) for a, b in zip(left[key], right[key], strict=True)]
        if any(r is None for r in ratios):
            continue
        keys = {*claimed, *fact.terms}
        scaled = {k: [r * b for r, b in zip(ratios, right[k], strict=True)] for k in keys}
        wrong = tuple(k for k in _ordered(keys, fact) if not _all_equal(left[k], scaled[k]))
        found = Compared(fact, (claimed[key], fact.terms[key]), wrong, len(keys) - len(wrong), tuple(points))
        if best is None or (len(found.wrong), -found.agreeing) < (len(best.wrong), -best.agreeing):
            best = found
    if best is None:  # nothing in common: every term of the claim is wrong
        own = tuple(sorted(claimed, key=str))
        return Compared(fact, (sp.S.One, sp.S.One), own + tuple(k for k in fact.terms if k not in claimed), 0, tuple(points))
    return best


def _pivots(claimed: Terms, fact: Fact) -> list[Key]:
    first = [key for key in fact.pivots if key in claimed and key in fact.terms]
    rest = [key for key in fact.terms if key in claimed and key not in first]
    return first[:1] if fact.fixed and first else first + rest


def _ordered(keys: set[Key], fact: Fact) -> list[Key]:
    own = [key for key in fact.terms if key in keys]
    return own + sorted(keys - set(own), key=str)


def _columns(claimed: Terms, fact: Fact, points: Sequence[Point]):
    keys = {*claimed, *fact.terms}
    free = free_symbols(claimed) | free_symbols(fact.terms)
    kept: list[Point] = []
    left: dict[Key, list] = {key: [] for key in keys}
    right: dict[Key, list] = {key: [] for key in keys}
    for point in points:
        try:
            row = {
                key: (value(claimed.get(key, sp.S.Zero), point), value(fact.terms.get(key, sp.S.Zero), point))
                for key in keys
            }
        except ValueMissing:
            continue
        kept.append(point)
        for key, (a, b) in row.items():
            left[key].append(a)
            right[key].append(b)
        if len(kept) == POINTS:
            break
    return (kept, left, right) if len(kept) >= 3 or (kept and not free) else None


def _quotient(a, b):
    return None if abs(b) == 0 or abs(a) == 0 else a / b


def _all_equal(left: Sequence, right: Sequence) -> bool:
    return all(close(a, b) for a, b in zip(left, right, strict=True))


def close(a, b) -> bool:
    """Whether two numbers of forty digits are equal as far as rounding lets one say."""
    with mpmath.workdps(DIGITS):
        return abs(a - b) <= TINY * max(abs(a), abs(b), mpmath.mpf(10) ** -8)


# --- how far it agrees ---


def vanishing_order(expr: sp.Expr, small: Sequence[sp.Symbol], sampler: Sampler) -> float | None:
    """The power k with expr = O(ε^k) when all of ``small`` shrink as ε; infinite for 0, None if not seen.

    >>> eta = sp.Symbol("eta", positive=True)
    >>> vanishing_order(sp.exp(eta) - 1 - eta, [eta], Sampler())
    2
    """
    if expr == 0:
        return float("inf")
    found = []
    for point in sampler.points(expr.free_symbols, 3):
        try:
            slope = _slope(expr, small, point)
        except ValueMissing:
            continue
        found.append(slope)
    if not found:
        return None
    return min(found)


def _slope(expr: sp.Expr, small: Sequence[sp.Symbol], point: Point) -> float:
    with mpmath.workdps(3 * DIGITS):
        sizes = []
        for power in (8, 10):
            shrunk = {s: v / sp.Integer(10) ** power if s in small else v for s, v in point.items()}
            sizes.append(abs(value(expr, shrunk, digits=3 * DIGITS)))
    if sizes[0] < mpmath.mpf(10) ** -60 and sizes[1] < mpmath.mpf(10) ** -60:
        return float("inf")
    if 0 in sizes:
        raise ValueMissing("a value that is exactly 0")
    slope = float(mpmath.log10(sizes[0] / sizes[1]) / 2)
    if abs(slope - round(slope)) > 0.02:
        raise ValueMissing("no clear power")
    return round(slope)


# --- proofs ---


def proved(expr: sp.Expr) -> bool:
    """Whether ``expr`` is shown to be 0, tried only on what is small enough to be quick.

    >>> x = sp.Symbol("x")
    >>> proved(sp.cosh(x) ** 2 - sp.sinh(x) ** 2 - 1), proved(sp.sin(x) - x)
    (True, False)
    """
    if expr == 0:
        return True
    if expr.count_ops() > LARGEST_PROOF:
        return False
    try:
        plain = sp.expand(expr.rewrite(sp.exp), power_base=False)
        if plain == 0:
            return True
        if plain.count_ops() > 3 * LARGEST_PROOF or len(plain.atoms(sp.Pow)) > 25:
            return False
        return vanishes(plain)
    except (ValueError, TypeError, NotImplementedError, sp.polys.polyerrors.PolynomialError, ZeroDivisionError):
        return False


# --- naming ---


def refined(claimed: sp.Expr, correct: sp.Expr, points: Sequence[Point]) -> tuple[sp.Expr, sp.Expr]:
    """What is left of two coefficients when equal summands are taken off both."""
    left, right = list(_summands(claimed)), list(_summands(correct))
    if len(left) + len(right) <= 2:
        return claimed, correct
    kept = []
    for term in left:
        match = next((other for other in right if _agree(term, other, points)), None)
        if match is None:
            kept.append(term)
        else:
            right.remove(match)
    if not kept and not right:
        return claimed, correct
    return sp.Add(*kept), sp.Add(*right)


def _summands(expr: sp.Expr) -> tuple[sp.Expr, ...]:
    if expr == 0:
        return ()
    opened = sp.expand_mul(expr) if expr.count_ops() < LARGEST_PROOF else expr
    return sp.Add.make_args(opened)


def _agree(a: sp.Expr, b: sp.Expr, points: Sequence[Point]) -> bool:
    try:
        return all(close(value(a, p), value(b, p)) for p in points)
    except ValueMissing:
        return False
