"""One claim against its facts: right, right up to an order, or wrong, and then where, by how much and by what convention."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import mpmath
import sympy as sp

from derive.comparison import LARGEST_PROOF, Compared, Fact, close, compare, proved, refined, vanishing_order
from derive.conventions import CONVENTIONS, norms_squared
from derive.evaluation import DIGITS, Point, Sampler, ValueMissing, value
from derive.notation.quantities import MeaningError
from derive.notation.spoken import spoken
from derive.notation.terms import Key, Terms, minus, reduced, terms_of
from derive.notation.tokens import FormulaError
from derive.references.reference import Claim, ClaimError, Reference
from derive.verdict import Counterexample, Difference, Evidence, Kind, Verdict


@dataclass(frozen=True)
class _Case:
    """What is needed to judge one claim: as it was read, in canonical form, and as terms.

    ``terms`` are those of left − right; of an identity, those of the right side alone (``one_sided``).
    """

    text: str
    original: Claim
    claim: Claim
    known: Reference
    sampler: Sampler
    terms: Terms
    one_sided: bool = False

    def sign(self, key: Key) -> int:
        """The sign with which a term stands, or would stand, on its side of the claim."""
        if self.one_sided:
            return 1
        left, right = terms_of(self.claim.left) if self.claim.left is not None else {}, terms_of(self.claim.right)
        if key in left or key in right:
            return 1 if key in left else -1
        return 1 if len(left) > len(right) else -1


def held(text: str, original: Claim, known: Reference) -> Verdict:
    """The best of the facts decides; without facts the two sides are to be equal by themselves."""
    try:
        claim, facts = known.facts(original)
        sampler = Sampler(claim.conditions, claim.excluded)
        if not facts:
            case, facts = _identity(text, original, claim, known, sampler)
        else:
            left = terms_of(claim.left) if claim.left is not None else {}
            case = _Case(text, original, claim, known, sampler, reduced(minus(left, terms_of(claim.right))))
    except MeaningError as error:
        raise ClaimError(f"claim: {error}") from None
    if not case.terms:
        return _verdict(
            case, "right", "symbolic proof", reason="true by itself: both sides are the same by how they are read"
        )
    outcomes = [outcome for fact in facts if (outcome := compare(case.terms, fact, sampler)) is not None]
    if not outcomes:
        return _verdict(case, "undecided", "undecided", reason="it could not be evaluated at enough points")
    return _concluded(case, min(outcomes, key=lambda o: (len(o.wrong) > 0, len(o.wrong) - o.agreeing)))


UNIT: Key = ((sp.Symbol("1"), sp.S.One),)


# SymPy has taken √(x²) for x before there is an expression to look at, so the text tells
_NEEDS_A_SIGN = re.compile(r"\\sqrt|√|\||\\vert|\\log|\\ln|arc|sqrt|log|abs")


def _identity(text: str, original: Claim, claim: Claim, known: Reference, sampler: Sampler) -> tuple[_Case, list[Fact]]:
    """Two sides that are to be equal by themselves: the left one is the fact, and no factor is free."""
    if claim.left is None:
        raise ClaimError("claim: expected an equation, got an expression that is compared with nothing")
    if _NEEDS_A_SIGN.search(text):
        claim = claim.noted("letters read as positive numbers")
    one, two = (terms_of(side) for side in (claim.left, claim.right))
    fact = Fact("the left side", {**one, UNIT: sp.S.One}, (UNIT,), fixed=True)
    return _Case(text, original, claim, known, sampler, {**two, UNIT: sp.S.One}, one_sided=True), [fact]


def _concluded(case: _Case, best: Compared) -> Verdict:
    if not best.wrong:
        imaginary = _imaginary_root(case)
        if imaginary is not None:
            return imaginary
        if _all_proved(case.terms, best):
            return _verdict(case, "right", "symbolic proof")
        if any(_is_a_small_number(gap) for gap in _gaps(case.terms, best)):
            return _verdict(case, "undecided", "undecided", reason="the sides differ by less than their digits show")
        return _verdict(case, "right", "numeric evidence")
    return _partly(case, best) or _wrong(case, best)


def _gaps(terms: Terms, best: Compared) -> list[sp.Expr]:
    above, below = best.scale
    keys = {*terms, *best.fact.terms}
    return [terms.get(k, sp.S.Zero) * below - best.fact.terms.get(k, sp.S.Zero) * above for k in keys]


def _all_proved(terms: Terms, best: Compared) -> bool:
    return all(map(proved, _gaps(terms, best)))


def _is_a_small_number(gap: sp.Expr) -> bool:
    """Whether a gap is a rational function that is not 0: exact arithmetic sees what forty digits do not."""
    plain = not gap.has(sp.Function, sp.Limit, sp.Integral, sp.Sum, sp.Product)
    plain = plain and gap.count_ops() < LARGEST_PROOF and all(atom.is_Symbol or atom.is_Rational for atom in gap.atoms())
    return bool(plain and gap.is_rational_function(*gap.free_symbols)) and sp.cancel(gap) != 0


def _imaginary_root(case: _Case) -> Verdict | None:
    """In a regime that the claim names, √ of a negative number is a formula for another regime."""
    if not (case.claim.conditions or case.claim.excluded):
        return None
    sides = [side for side in case.claim.sides if isinstance(side, sp.Expr)]
    roots = {p for side in sides for p in side.atoms(sp.Pow) if p.exp.is_Rational and p.exp.q == 2 and p.base.free_symbols}
    note = "regime: the formula is for another regime of damping, here its root is imaginary"
    for root in sorted(roots, key=str):
        for point in case.sampler.points(root.base.free_symbols, 3):
            try:
                if value(root.base, point).real >= 0:
                    continue
            except ValueMissing:
                continue
            difference = Difference(sp.sqrt(root.base), sp.sqrt(-root.base))
            at = _at(point, root.base, -root.base, point)
            return _verdict(
                case, "wrong", "numeric evidence", first_difference=difference, counterexample=at, convention=note
            )
    return None


# --- right as far as it goes ---


def _partly(case: _Case, best: Compared) -> Verdict | None:
    """Right up to an order: what differs is as small as the claim allows, or is a tail that it leaves out."""
    gaps = [case.terms.get(k, sp.S.Zero) - best.correct(k) for k in best.wrong]
    if case.claim.dropped:
        if not all(_is_dropped(gap, case) for gap in gaps):
            return None
        order = min(_degree(size, _small(case)) for size in case.claim.dropped) - 1
        if order < 0:
            return _verdict(case, "undecided", "undecided", reason="the remainder allows any value; name a smaller one")
        return _verdict(case, "right up to order", "numeric evidence", order=order, to_order=True)
    order = _agreement(case, gaps)
    least = 0 if case.claim.continued else 1
    longer = all(k not in case.terms or _is_truncated(case.terms[k], best.correct(k), case) for k in best.wrong)
    if order is not None and order >= least and longer:
        return _verdict(
            case, "right up to order", "numeric evidence", order=order, first_difference=_difference(case, best),
            to_order=case.claim.continued,
        )  # fmt: skip
    return None


def _small(case: _Case) -> sp.Symbol:
    """The parameter whose powers an order counts: that of the reference, or the only letter of an identity."""
    own = set().union(*(c.free_symbols for c in case.terms.values())) - {sp.Symbol("1")}
    letters = case.claim.free_symbols if case.claim.continued else own
    return letters.pop() if case.one_sided and case.known.small not in letters and len(letters) == 1 else case.known.small


def _degree(size: sp.Expr, small: sp.Symbol) -> int:
    """The power of the small parameter in O(…), or of all that is in it."""
    variables = [small] if size.has(small) else sorted(size.free_symbols, key=str)
    return int(sp.Poly(size, *variables).total_degree()) if variables and size.is_polynomial(*variables) else 0


def _is_truncated(claimed: sp.Expr, correct: sp.Expr, case: _Case) -> bool:
    """Whether a coefficient is a polynomial part of the correct one, or with ≈ agrees in more than its value at 0."""
    small = _small(case)
    kept = sp.expand(claimed)
    order = vanishing_order(claimed - correct, [small], case.sampler)
    if kept.is_polynomial(small):
        highest = sp.degree(kept, small) if kept.has(small) else 0
    elif case.claim.continued and (start := claimed.subs(small, 0)).is_finite is not False and not start.has(sp.nan):
        highest = vanishing_order(claimed - start, [small], case.sampler)
    else:
        return False
    return order is not None and highest is not None and order > highest


def _is_dropped(gap: sp.Expr, case: _Case) -> bool:
    """Whether ``gap`` is of the size of what the claim leaves out."""
    for size in case.claim.dropped:
        variables = sorted(size.free_symbols, key=str)
        allowed = vanishing_order(size, variables, case.sampler)
        found = vanishing_order(gap, variables, case.sampler)
        if allowed is not None and found is not None and found >= allowed:
            return True
    return False


def _agreement(case: _Case, gaps: Sequence[sp.Expr]) -> int | None:
    """The power of the small parameter to which all terms agree."""
    orders = [vanishing_order(gap, [_small(case)], case.sampler) for gap in gaps]
    seen = [order for order in orders if order is not None]
    if len(seen) < len(orders) or not seen or not all(abs(order) < float("inf") for order in seen):
        return None
    return int(min(seen)) - 1


# --- wrong ---


def _wrong(case: _Case, best: Compared) -> Verdict:
    gaps = [case.terms.get(k, sp.S.Zero) - best.correct(k) for k in best.wrong]
    order = _agreement(case, gaps) if all(gap.has(_small(case)) for gap in gaps) else None
    return _verdict(
        case, "wrong", "numeric evidence",
        first_difference=_difference(case, best), counterexample=_counterexample(case, best),
        convention=_convention(case, best.fact), order=order if order is not None and order >= 0 else None,
    )  # fmt: skip


def _named(case: _Case, best: Compared) -> Key:
    """The first wrong term that is not as small as what the claim leaves out."""
    gaps = ((key, case.terms.get(key, sp.S.Zero) - best.correct(key)) for key in best.wrong)
    return next((key for key, gap in gaps if not _is_dropped(gap, case)), best.wrong[0])


def _difference(case: _Case, best: Compared) -> Difference:
    key = _named(case, best)
    claimed, correct = case.terms.get(key, sp.S.Zero), best.correct(key)
    if not key or _has_functions(claimed) or _has_functions(correct):
        claimed, correct = refined(claimed, correct, best.points)
    sign = case.sign(key)
    return Difference(spoken(key, _short(sign * claimed)), spoken(key, _short(sign * correct)), spoken(key, sp.S.One))


def _has_functions(expr: sp.Expr) -> bool:
    return bool(expr.atoms(sp.Function))


def _short(expr: sp.Expr) -> sp.Expr:
    """The shortest of a few forms, where they are quickly had."""
    if expr.count_ops() > 60:
        return expr
    try:
        return min((expr, sp.factor_terms(sp.powsimp(expr)), sp.cancel(expr)), key=lambda e: e.count_ops())
    except (sp.polys.polyerrors.PolynomialError, NotImplementedError):
        return expr


def _counterexample(case: _Case, best: Compared) -> Counterexample | None:
    key = _named(case, best)
    sign = case.sign(key)
    claimed, correct = sign * case.terms.get(key, sp.S.Zero), sign * best.correct(key)
    used = claimed.free_symbols | correct.free_symbols
    for point in best.points:
        shown = {s: v for s, v in point.items() if s in used}
        try:
            if not close(value(claimed, point), value(correct, point)):
                return _at(point, claimed, correct, shown)
        except ValueMissing:
            continue
    return None


def _at(point: Point, claimed: sp.Expr, correct: sp.Expr, shown: Point) -> Counterexample:
    values = [value(expr, point) for expr in (claimed, correct)]
    values = next(v for d in (15, 30, DIGITS) if (v := [_rounded(n, d) for n in values])[0] != v[1] or d == DIGITS)
    return Counterexample({str(s): v for s, v in sorted(shown.items(), key=str)}, *values)


def _rounded(number, digits: int) -> sp.Expr:
    real, imaginary = (sp.Float(mpmath.nstr(part, digits), digits) for part in (number.real, number.imag))
    if abs(number.imag) < 1e-20 * (1 + abs(number.real)):
        return real
    return sp.I * imaginary + (real if abs(number.real) > 1e-20 * abs(number.imag) else 0)


def _convention(case: _Case, fact: Fact) -> str | None:
    """The first known convention under which the claim is right; not sought where each value takes a quadrature."""
    if any(c.has(sp.Integral, sp.Sum) for c in case.terms.values()):
        return None
    for convention in CONVENTIONS:
        terms = _nonzero(convention.claim(case.terms)) if convention.claim else case.terms
        other = replace(fact, terms=_nonzero(convention.fact(fact.terms))) if convention.fact else fact
        if (terms == case.terms and other.terms == fact.terms) or not other.terms or not terms:
            continue
        found = compare(terms, other, case.sampler)
        if found is not None and not found.wrong:
            return convention.explanation
    readings = [("‖·‖: it is right if |x| is read as |x|²", case.known, case.original.mapped(norms_squared))]
    readings += [(note, known, case.original) for note, known in case.known.alternatives()]
    for note, known, original in readings:
        if (known is not case.known or original != case.original) and _is_right(case.text, original, known):
            return note
    return None


def _is_right(text: str, claim: Claim, known: Reference) -> bool:
    """Whether a claim holds in another reading, which is not explained further."""
    try:
        claim, facts = known.facts(claim)
        terms = reduced(minus(terms_of(claim.left if claim.left is not None else sp.S.Zero), terms_of(claim.right)))
    except (MeaningError, ClaimError, FormulaError):
        return False
    sampler = Sampler(claim.conditions, claim.excluded)
    outcomes = [compare(terms, fact, sampler) for fact in facts]
    return any(outcome is not None and not outcome.wrong for outcome in outcomes)


def _nonzero(terms: Terms) -> Terms:
    return {key: c for key, c in terms.items() if c != 0}


def _verdict(case: _Case, kind: Kind, evidence: Evidence, **more: Any) -> Verdict:
    return Verdict(case.text, case.known.label, kind, evidence, assumptions=case.claim.assumptions, **more)
