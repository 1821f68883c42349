"""Whether one equation between numbers follows from another: x² + 2γx = −ω² from (x + γ)² = γ² − ω².

Without a function of time there is no term whose coefficient could be fixed, and any two equations are proportional. So
what is known is solved for one letter, and the claim is to hold there.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import sympy as sp

from derive.comparison import Fact, close
from derive.evaluation import Sampler, ValueMissing, value
from derive.notation.terms import Terms
from derive.references.reference import Claim, ClaimError

LARGEST = 400
"""Operations in an equation that is solved."""


def follows(claim: Claim, zero: sp.Expr) -> tuple[Claim, list[Fact]]:
    """A claim under the hypothesis ``zero`` = 0: an identity once a letter is eliminated, or monomials side by side.

    Raises
    ------
    ClaimError
        If ``zero`` cannot be solved for a letter.
    """
    left: Any = claim.left
    right: Any = claim.right
    if not isinstance(left, sp.Expr) or not isinstance(right, sp.Expr):
        raise ClaimError("claim: expected an equation between numbers")
    difference = left - right
    if sp.expand(difference) == 0:
        return claim, []
    letter, roots = _solved(zero, left if left.is_Symbol else None)
    put = [difference.subs(letter, root) for root in roots]
    holds = [_vanishes(e) for e in put]
    if all(holds) or (left == letter and not right.has(letter) and any(holds)):
        kept = put[holds.index(True)]
        return replace(claim, left=sp.S.Zero, right=kept).noted(f"the equation was solved for {letter}"), []
    by_monomials = _monomials(difference, zero)
    if by_monomials is not None:
        return by_monomials[0](claim), by_monomials[1]
    failed = roots[holds.index(False)]
    return replace(claim, left=left.subs(letter, failed), right=right.subs(letter, failed)).noted(
        f"the equation was solved for {letter}"
    ), []


def _solved(zero: sp.Expr, first: sp.Expr | None) -> tuple[sp.Symbol, list[sp.Expr]]:
    """A letter in which ``zero`` has degree 1 or 2, and its roots; ``first`` if that is possible."""
    numerator = sp.numer(sp.together(zero)) if zero.count_ops() < LARGEST else zero
    letters = sorted(numerator.free_symbols, key=lambda s: (s != first, str(s)))
    degrees = {s: int(sp.degree(numerator, s)) for s in letters if numerator.is_polynomial(s)}
    wanted = [s for s in letters if degrees.get(s) in (1, 2)]
    if not wanted:
        raise ClaimError("claim: expected an equation that can be solved for a letter, to say what follows from it")
    letter = wanted[0] if wanted[0] == first else min(wanted, key=lambda s: (degrees[s], str(s)))
    coefficients = sp.Poly(numerator, letter).all_coeffs()
    if len(coefficients) == 2:
        return letter, [-coefficients[1] / coefficients[0]]
    a, b, c = coefficients
    root = sp.sqrt(b**2 - 4 * a * c)
    return letter, [(-b + root) / (2 * a), (-b - root) / (2 * a)]


def _vanishes(expr: sp.Expr) -> bool:
    seen = 0
    for point in Sampler().points(expr.free_symbols, 5):
        try:
            if not close(value(expr, point), 0):
                return False
        except ValueMissing:
            continue
        seen += 1
    return seen > 0


def _monomials(claimed: sp.Expr, known: sp.Expr):
    """Both multiplied out, monomial by monomial, so that a wrong term has a name; None where they are no polynomials."""
    letters = sorted(claimed.free_symbols | known.free_symbols, key=str)
    if not letters or not claimed.is_polynomial(*letters) or not known.is_polynomial(*letters):
        return None

    def marked(expr: sp.Expr) -> sp.Expr:
        terms = sp.Poly(expr, *letters).terms()
        return sp.Add(*(c * sp.Function(str(sp.prod(s**k for s, k in zip(letters, powers, strict=True))), real=True)()
                        for powers, c in terms))  # fmt: skip

    def of(expr: sp.Expr) -> Terms:
        return {((atom, sp.S.One),): c for atom, c in marked(expr).as_coefficients_dict().items()}

    terms = of(known)
    return (lambda claim: claim.mapped(marked)), [Fact("equation", terms, tuple(terms))]
