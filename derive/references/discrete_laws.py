"""Readings of what is said about charges step by step: recurrences, unrolled laws, first steps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import sympy as sp
from sympy.core.function import AppliedUndef

from derive import symbols
from derive.comparison import Fact
from derive.discrete_law import DRIVES, C_n, DiscreteLaw, Q_n, discrete_law
from derive.notation import tree
from derive.notation.terms import Terms, minus, terms_of
from derive.notation.vocabulary import Vocabulary, training
from derive.references.charge_blocks import blocks_of, in_blocks, speaks_of_blocks
from derive.references.law_forms import balanced, speaks_of_a_balance
from derive.references.reference import Claim, Reference, applied, key_of, reference
from derive.symbols import step as n


@reference.register
def _discrete(against: DiscreteLaw) -> Reference:
    def facts(claim: Claim) -> tuple[Claim, list[Fact]]:
        return _discrete_facts(against, claim)

    def others() -> list[tuple[str, Reference]]:
        start = "zero" if against.rule.first_step == "torch" else "torch"
        other = discrete_law(against.symmetry, replace(against.rule, first_step=start))
        note = (
            "it starts with v_0 = 0, so that the first step is damped"
            if start == "zero"
            else "its first step is torch's, undamped"
        )
        return [(note, reference(other))] if other.first_drive_matrix != against.first_drive_matrix else []

    base = training(blocks_of(against.symmetry), discrete=True)
    functions = {**base.functions, "b": "b", "w": "w", "o": "o"}
    vectors = {name: letter for name, letter in base.vectors.items() if name != "w"}
    scalars = {name: value for name, value in base.scalars.items() if name not in ("t", "tau")}
    scalars |= {"z": symbols.shift, "z_+": symbols.shift, "z_-": symbols.shift, "z_±": symbols.shift}
    scalars |= {"k": n, "t": n, "h": against.rule.step_size, "r": 1 - against.rule.lr * against.rule.weight_decay}
    vocabulary = replace(
        base, functions=functions, vectors=vectors, scalars=scalars, velocity_is_direction=not against.rule.nesterov
    )
    label = f"the discrete law of the {against.symmetry.name} charge"
    return Reference(label, vocabulary, facts, alternatives=others, adapted=_with_weights)


def _with_weights(vocabulary: Vocabulary, nodes: Sequence[tree.Node]) -> Vocabulary:
    """w in a norm or an inner product is the weights, not the drive |d_n|²."""
    normed = [part for node in nodes for part in node.walk() if isinstance(part, tree.Bars | tree.Angle)]
    if not any(leaf == tree.Name("w") for part in normed for leaf in part.walk()):
        return vocabulary
    functions = {name: value for name, value in vocabulary.functions.items() if name != "w"}
    notes = {**vocabulary.notes, "w": "w read as the parameters θ"}
    return replace(vocabulary, functions=functions, vectors={**vocabulary.vectors, "w": "theta"}, notes=notes)


def _discrete_facts(against: DiscreteLaw, claim: Claim) -> tuple[Claim, list[Fact]]:
    if not claim.functions and symbols.shift in claim.free_symbols:
        return _characteristic(against, claim)
    if not claim.functions:
        return claim, []
    names = claim.functions
    claim = claim.mapped(_shifted).mapped(_steps_named(against))
    expand = in_blocks(against.symmetry) if speaks_of_blocks(claim) else {}
    if not against.rule.nesterov:
        expand = {**expand, "w": expand["v"]} if expand else {}
    breaking = any(_is_breaking(name) for name in names) or "b" in names
    found = [] if against.transition.shape != (1, 1) else [_unrolled(against, breaking)]
    found += _recurrences(against, breaking)
    found += _first_steps(against, claim, breaking)
    blocks = [expand] if expand else []
    balance = _balance(against, claim, *blocks)
    if balance is not None:
        return balance
    if claim.left is None:
        claim = replace(claim, left=sp.Function("Q", real=True)(n)).noted("read as what Q_n equals")
    claim = _aligned(claim.mapped(lambda e: applied(e, expand)))
    return claim, [Fact(f.name, _terms_in(f.terms, expand), f.pivots and _keys_in(f.pivots, expand), f.fixed) for f in found]


LARGEST_STEP = 8


def _first_steps(against: DiscreteLaw, claim: Claim, breaking: bool) -> list[Fact]:
    """Q_2, Q_3, … by Q_0 and the drives, where a claim names its steps by numbers."""
    functions = {f for side in claim.sides if isinstance(side, sp.Expr) for f in side.atoms(AppliedUndef)}
    if not functions or any(not f.args[0].is_Integer for f in functions):
        return []
    last = min(max(int(f.args[0]) for f in functions), LARGEST_STEP)
    unbroken = {} if breaking else {DRIVES["breaking"]: sp.S.Zero}
    size = against.transition.shape[0]
    state, facts = sp.Matrix([_function("Q")(0), sp.S.Zero][:size]), []
    for k in range(last):
        first = (against.first_transition, against.first_drive_matrix)
        A, B = first if k == 0 else (against.transition, against.drive_matrix)
        drives = sp.Matrix([_at_step(DRIVES[name].subs(unbroken), sp.Integer(k)) for name in against.drives])
        state = (sp.Matrix(A) * state + sp.Matrix(B) * drives).expand()
        charge = _function("Q")(k + 1)
        facts.append(Fact(f"step {k + 1}", terms_of(charge - state[0]), (key_of(charge),), fixed=True))
    return facts


def _balance(against: DiscreteLaw, claim: Claim, expand: dict | None = None) -> tuple[Claim, list[Fact]] | None:
    """Charge and drive at one step, as in |g|²/|θ|² = 2λ/η − λ²: the recurrence with Q_{n+1} = Q_n."""
    right = sp.Add(*(P * DRIVES[name] for name, P in against.drive_polynomials.items() if name != "breaking"))
    steady = _at_step(sp.expand(against.characteristic_polynomial * Q_n - right).subs(symbols.shift, 1), n)
    steady = applied(steady, expand or {})
    charges = {f.func.__name__ for f in applied(_at_step(Q_n, n), expand or {}).atoms(AppliedUndef)}
    drives = {f.func.__name__ for f in steady.atoms(AppliedUndef)} - charges
    claim = claim.mapped(lambda e: applied(e, expand or {}))
    return balanced(claim, steady) if speaks_of_a_balance(claim, charges, drives, n) else None


def _characteristic(against: DiscreteLaw, claim: Claim) -> tuple[Claim, list[Fact]]:
    """z² − (1 + β − ηλ)z + β = 0, or the polynomial alone, with z for the shift; z = … for one of its roots."""
    E = symbols.shift
    polynomial = against.characteristic_polynomial
    if claim.left is None:
        return replace(claim, left=polynomial).noted("read as the characteristic polynomial"), []
    if claim.left == E and not (isinstance(claim.right, sp.Expr) and claim.right.has(E)):
        root = polynomial.subs(E, claim.right)
        return replace(claim, left=root, right=sp.S.Zero).noted("z = … was put into the characteristic polynomial"), []
    power = sp.Function("z^", real=True)

    def marked(expr: sp.Expr) -> sp.Expr:
        return sp.Add(*(c * power(k[0]) for k, c in sp.Poly(sp.expand(expr), E).terms()))

    fact = Fact("characteristic polynomial", terms_of(marked(polynomial)))
    return claim.mapped(marked), [fact]


def _is_breaking(name: str) -> bool:
    pieces = name.split(".")
    return len(pieces) == 3 and "g" in pieces and bool({"theta", "one"} & set(pieces))


def _steps_named(against: DiscreteLaw) -> Callable[[sp.Expr], sp.Expr]:
    """u_n = |Δθ_n|² as η² w_n."""
    return lambda e: applied(e, {"u": lambda when: against.rule.lr**2 * sp.Function("w", real=True)(when)})


def _function(name: str) -> Callable[..., Any]:
    return sp.Function(name, real=True)


def _shifted(expr: sp.Expr) -> sp.Expr:
    """The shift operator carried out: E x_n = x_{n+1}."""
    E = symbols.shift
    if not expr.has(E):
        return expr
    total = sp.S.Zero
    for term in sp.Add.make_args(sp.expand(expr)):
        power = sp.degree(sp.numer(sp.together(term)), E) - sp.degree(sp.denom(sp.together(term)), E)
        rest = sp.expand(term / E**power)
        total += rest.replace(lambda e: isinstance(e, AppliedUndef), lambda e, k=power: e.func(e.args[0] + k))
    return total


_STATE = {Q_n: "Q", C_n: "C"}
_DRIVES = {DRIVES["breaking"]: "b", DRIVES["gradient"]: "q", DRIVES["direction"]: "w", DRIVES["overlap"]: "o"}


def _at_step(expr: sp.Expr, when: sp.Expr) -> sp.Expr:
    return expr.xreplace({symbol: _function(name)(when) for symbol, name in {**_STATE, **_DRIVES}.items()})


def _recurrences(against: DiscreteLaw, breaking: bool) -> list[Fact]:
    """The scalar recurrence, the rows of the state, and those of a first step without velocity."""
    unbroken = {} if breaking else {DRIVES["breaking"]: sp.S.Zero}
    right = sp.Add(*(P * DRIVES[name] for name, P in against.drive_polynomials.items()))
    scalar = _shifted(_at_step(sp.expand(against.characteristic_polynomial * Q_n - right.subs(unbroken)), n))
    size = against.transition.shape[0]
    state = sp.Matrix([Q_n, C_n][:size])
    drives = sp.Matrix([DRIVES[name] for name in against.drives])
    facts = [_step_fact("recurrence", scalar)]
    for A, B, when, name in (
        (against.transition, against.drive_matrix, n, "step"),
        (against.first_transition, against.first_drive_matrix, sp.S.Zero, "first step"),
    ):
        known = {**unbroken, C_n: sp.S.Zero} if name == "first step" and size == 2 else unbroken
        after = (sp.Matrix(A) * state + sp.Matrix(B) * drives).subs(known)
        for symbol, value in zip(state, after, strict=True):
            facts.append(_step_fact(name, _function(_STATE[symbol])(when + 1) - _at_step(sp.expand(value), when)))
    return facts


def _step_fact(name: str, expr: sp.Expr) -> Fact:
    terms = terms_of(expr)
    latest = max(
        (key for key in terms), key=lambda key: max((_offset(f) for a, _ in key for f in a.atoms(AppliedUndef)), default=-99)
    )
    return Fact(name, terms, (latest,), fixed=True)


def _offset(f: AppliedUndef) -> int:
    difference = f.args[0] - n
    return int(difference) if difference.is_Integer else -99


def _unrolled(against: DiscreteLaw, breaking: bool) -> Fact:
    i = sp.Symbol("i", integer=True, nonnegative=True)
    expr = against.unrolled().subs(symbols.initial_charge, _function("Q")(0))
    expr = expr.replace(lambda e: isinstance(e, sp.Indexed), lambda e: _function("q")(e.indices[0]))
    if breaking:
        r, p = 1 - against.rule.lr * against.rule.weight_decay, against.symmetry.degree
        gain = dict(zip(against.drives, against.drive_matrix[0, :], strict=True))["breaking"]
        expr += sp.Sum(gain * r ** (p * (n - 1 - i)) * _function("b")(i), (i, 0, n - 1))
    terms = minus(terms_of(_function("Q")(n)), terms_of(expr))
    return Fact("unrolled law", terms, (key_of(_function("Q")(n)),), fixed=True)


def _terms_in(terms: Terms, expand: dict) -> Terms:
    if not expand:
        return terms
    return terms_of(sp.Add(*(c * applied(sp.Mul(*(a**e for a, e in key)), expand) for key, c in terms.items())))


def _keys_in(keys: tuple, expand: dict) -> tuple:
    return tuple(key for old in keys for key in _terms_in({old: sp.S.One}, expand))


def _aligned(claim: Claim) -> Claim:
    """A claim is the same a step later: an unrolled law is brought to Q_n, a recurrence to the step of the fact."""
    functions = set().union(*(side.atoms(AppliedUndef) for side in claim.sides if isinstance(side, sp.Expr)))
    charges = [f for f in functions if f.func.__name__ in ("Q", "C") or f.func.__name__.startswith("theta.")]
    offsets = [_offset(f) for f in charges if f.args[0].has(n)]
    if not offsets:
        return claim
    started = any(f.args[0] == 0 for f in charges)
    spread = max(offsets) - min(offsets)
    target = 0 if started else max(1, spread)
    shift = target - max(offsets)
    return claim.mapped(lambda e: e.subs(n, n + shift)) if shift else claim
