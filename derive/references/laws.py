"""Readings of what is said about charges in continuous time: laws, solutions, Itô laws.

A claim may speak of Q, q(t) and k(t), or of the norms and sums they stand for: |θ_A|², |g_A1|² − |g_A2|², ⟨θ_A, 1⟩.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import sympy as sp
from sympy.core.function import AppliedUndef

from derive import symbols
from derive.comparison import Fact
from derive.law import Law, law
from derive.notation import quantities as qu
from derive.notation import tree
from derive.notation.terms import minus, terms_of
from derive.notation.vocabulary import Vocabulary, training
from derive.references import law_forms as forms
from derive.references.charge_blocks import blocks_of, in_blocks, speaks_of_blocks
from derive.references.reference import Claim, ClaimError, Reference, applied, fact_of, key_of, reference
from derive.solution import Solution, Start, solve
from derive.stochastic import batch_size
from derive.symbols import time as t
from derive.symmetry import Symmetry
from derive.update_rule import UnsupportedError, UpdateRule

_DIVIDED = "the equation being divided by what stands before its highest derivative"
RATES = (symbols.rate, symbols.damping_rate, symbols.frequency)
HYPER = frozenset({symbols.lr, symbols.weight_decay, symbols.momentum, symbols.dampening})


def _vocabulary(symmetry: Symmetry, step_size: sp.Expr) -> Vocabulary:
    base = training(blocks_of(symmetry))
    names = {"gamma": symbols.damping_rate, "omega": symbols.frequency, "kappa": symbols.rate, "h": step_size}
    functions = {**base.functions, "x": "Q", "y": "Q", "f": "f", "G": "G", "Theta": "Theta"}
    matrices = {name: letter for name, letter in base.matrices.items() if name != "G"}
    notes = {**base.notes, "Theta": "Θ(t) taken as 1, for t ≥ 0",
             "homogeneous": "the index h read as: the solution without drive",
             "x": "x read as the charge Q", "y": "y read as the charge Q",
             "f": f"f read as the drive, {_DIVIDED}", "G": f"G read as the Green's function, {_DIVIDED}",
             "h": "h read as the time that a step takes, η(1−α)"}  # fmt: skip
    scalars = {**base.scalars, **names, "S": batch_size, "D": symbols.derivative}
    scalars |= {"n": symbols.step}
    scalars |= {"s": symbols.derivative}
    return replace(base, scalars=scalars, functions=functions, matrices=matrices, notes=notes)


@cache
def _solve(of: Law, start: Start) -> Solution:
    """Solved once for all claims."""
    return solve(of, start=start)


@reference.register
def _law(against: Law) -> Reference:
    return _law_reference(against, lambda general: _solve(against, "free" if general else "rest"))


@reference.register
def _solution(against: Solution) -> Reference:
    def solved(general: bool) -> Solution:
        return _solve(against.law, "free") if general else against

    return _law_reference(against.law, solved, label="the solution of the ")


def _law_reference(against: Law, solved: Callable[[bool], Solution], label: str = "the ") -> Reference:
    def facts(claim: Claim) -> tuple[Claim, list[Fact]]:
        return _law_facts(against, solved, claim)

    label += f"law of the {against.symmetry.name} charge, {against.form}, order {against.order}"
    return Reference(
        label,
        _vocabulary(against.symmetry, against.rule.step_size),
        facts,
        alternatives=lambda: _other_laws(against),
        adapted=_with_times,
    )


def _with_times(vocabulary: Vocabulary, nodes: Sequence[tree.Node]) -> Vocabulary:
    """s as a time before t where it is used as one, in Q(s) or t − s, rather than as a root in e^{st}."""
    s, now = tree.Name("s"), tree.Name("t")
    parts = [part for node in nodes for part in node.walk()]
    used = any(isinstance(p, tree.Group) and p.items == (s,) for p in parts) or any(
        isinstance(p, tree.Total) and {s, now} <= set(p.terms) for p in parts)  # fmt: skip
    vocabulary = vocabulary.with_scalars({"s": symbols.past}) if used else vocabulary
    roots: dict[str, sp.Expr] = dict.fromkeys(
        ("s_+", "s_-", "s_±"), symbols.derivative
    )  # beside a claim they may be defined
    return vocabulary.with_scalars(roots) if len(nodes) == 1 else vocabulary


def _other_laws(against: Law) -> list[tuple[str, Reference]]:
    """The same law by other choices of the derivation, where they exist."""
    found = []
    choices: tuple[tuple[str, dict[str, Any]], ...] = (
        ("it holds without the finite step: gradient flow", {"order": 0}),
        ("it keeps the ηλ² that the paper drops (λ is taken as small as η)", {"keep_weight_decay_squared": True}),
        ("it drops ηλ², as the paper does", {"keep_weight_decay_squared": False}),
        ("it is that of the modified flow", {"form": "modified flow"}),
        ("it is that of the modified loss", {"form": "modified loss"}),
    )
    for note, options in choices:
        other = _derived(against.symmetry, against.rule, tuple(options.items()))
        if other is not None and other.equation != against.equation:
            found.append((note, reference(other)))
    return found


@cache
def _derived(symmetry: Symmetry, rule: UpdateRule, options: tuple[tuple[str, Any], ...]) -> Law | None:
    """A law, derived once; None where there is none."""
    try:
        return law(symmetry, rule, **dict(options))
    except ValueError:
        return None


def _law_facts(against: Law, solved: Callable[[bool], Solution], claim: Claim) -> tuple[Claim, list[Fact]]:
    claim = invariant(against.symmetry, claim)
    in_rates = bool(claim.free_symbols & set(RATES)) and not claim.free_symbols & HYPER
    solution = _solution_for(against, solved, claim)
    if solution is None:
        return _unsolved(against, claim)
    claim = claim.mapped(lambda e: applied(e, _named_functions(against, solution, in_rates)))
    if claim.left == _homogeneous(t):
        return claim, [_homogeneous_fact(solution, in_rates, in_blocks(against.symmetry) if speaks_of_blocks(claim) else {})]
    parts = {"Q_h": lambda when: _started(solution.homogeneous_form if in_rates else solution.homogeneous).subs(t, when)}
    claim = claim.mapped(lambda e: applied(e, parts))
    if symbols.derivative in claim.free_symbols and not claim.functions:
        equation = forms.in_symbols(_equation(against, solution, in_rates))
        claim = claim if in_rates else _with_values(claim, solution)
        return forms.characteristic(claim, equation.coeff(symbols.charge(t)))
    if not claim.functions & _charges(against.symmetry):
        named = in_blocks(against.symmetry) if speaks_of_blocks(claim) else {}
        return _with_values(claim, solution).mapped(lambda e: applied(e, named)), []
    if not in_rates:
        claim = _with_values(claim, solution)
    special = _special_form(against, solution, in_rates, claim)
    if special is not None:
        return special
    claim = _without_integral_equation(claim)
    if claim.rates == 0:
        claim = _solved_for_charge(_squared(claim), against.symmetry)
    expand = in_blocks(against.symmetry) if speaks_of_blocks(claim) else {}
    claim = claim.mapped(lambda e: applied(e, expand))
    if claim.rates == 0:
        _expect_solution(claim, charges=_charges(against.symmetry))
        return claim, _solution_facts(solution, in_rates, expand)
    fact = _equation_fact(against, solution, in_rates, expand)
    if claim.rates > 1 + against.is_oscillator:
        return claim, [fact, _differentiated(fact)]
    return claim, [fact]


def _solution_for(against: Law, solved: Callable[[bool], Solution], claim: Claim) -> Solution | None:
    """The solution with which a claim is read; None for a law of third order or more."""
    try:
        return solved(_has_initial_rate(claim))
    except UnsupportedError:
        return None


def _unsolved(against: Law, claim: Claim) -> tuple[Claim, list[Fact]]:
    """A law beyond second order: its equation alone, since its fast roots are no motion of the charge."""
    if claim.rates == 0 and not forms.is_symbolic(claim, against.equation.lhs):
        raise ClaimError(f"claim: expected the equation of the law, with Q'; to order {against.order} it has no solution")
    expand = in_blocks(against.symmetry) if speaks_of_blocks(claim) else {}
    claim = claim.mapped(lambda e: applied(e, expand))
    equation = applied(against.equation.lhs - against.equation.rhs, expand)
    if forms.is_symbolic(claim, equation):
        return forms.symbolic_claim(claim, equation)
    order = max(d.derivative_count for d in equation.atoms(sp.Derivative))
    highest = [key_of(f.diff(t, k)) for k in range(order, 0, -1)
               for f in sorted(applied(symbols.charge(t), expand).atoms(AppliedUndef), key=str)]  # fmt: skip
    return claim, [fact_of("law", terms_of(equation), *highest)]


def _special_form(against: Law, solution: Solution, in_rates: bool, claim: Claim) -> tuple[Claim, list[Fact]] | None:
    """The forms of :mod:`derive.references.law_forms`; None for an equation or a solution."""
    expand = in_blocks(against.symmetry) if speaks_of_blocks(claim) else {}
    charges = _charges(against.symmetry)
    curve = _started(solution.formula if in_rates else solution.expr)
    initial_rates = {name for name in claim.functions & charges if name.endswith("'")}
    if forms.speaks_of_the_start(claim, charges) and initial_rates:
        claim, (fact,) = forms.at_the_start(claim, _initial_rate(against, solution))
        terms = terms_of(sp.Add(*(c * applied(sp.Mul(*(a**e for a, e in key)), expand) for key, c in fact.terms.items())))
        return claim.mapped(lambda e: applied(e, expand)), [Fact(fact.name, terms)]
    if (claim.rates == 0 and forms.is_composite(claim, {"Q"})) or forms.is_a_differentiated_solution(claim):
        return forms.put_in(claim, curve), []
    equation = applied(_equation(against, solution, in_rates), expand)
    claim = claim.mapped(lambda e: applied(e, expand))
    if forms.is_symbolic(claim, equation):
        return forms.symbolic_claim(claim, equation)
    drives = {f.func.__name__ for f in equation.atoms(AppliedUndef)} - charges
    return forms.balanced(claim, equation) if forms.speaks_of_a_balance(claim, charges, drives) else None


def _initial_rate(against: Law, solution: Solution) -> sp.Expr:
    """Q'(0) as an oscillator is started, or as a relaxation has it by its law."""
    if against.is_oscillator:
        return _started(solution.initial_rate)
    return ((against.drive - against.stiffness * symbols.charge(t)) / against.damping).subs(t, 0)


_homogeneous = sp.Function("Q_h", real=True)


def _charges(symmetry: Symmetry) -> set[str]:
    """Names under which the charge, or a block of it, may stand in a claim, with its initial rate."""
    spelled = applied(symbols.charge(t), in_blocks(symmetry))
    names = {"Q", *(f.func.__name__ for f in spelled.atoms(AppliedUndef))}
    return names | {f"{name}'" for name in names}


def _has_initial_rate(claim: Claim) -> bool:
    """Whether a claim starts with a rate of its own rather than stating that it is 0."""
    rates = {name for name in claim.functions if name.endswith("'") and name.split(".")[-1] not in ("theta'", "theta''")}
    rates |= {name for name in claim.functions if name.endswith(("theta'", "one'")) and name.startswith("theta.")}
    return bool(rates) and bool(claim.functions - rates)


def _started(expr: sp.Expr) -> sp.Expr:
    """Q_0 and Q'_0 as the functions at 0 that claims are read with."""
    return expr.subs({symbols.initial_charge: symbols.charge(0), symbols.initial_rate: sp.Function("Q'", real=True)(0)})


def _homogeneous_fact(solution: Solution, in_rates: bool, expand: dict) -> Fact:
    expr = _started(solution.homogeneous_form if in_rates else solution.homogeneous)
    terms = minus(terms_of(_homogeneous(t)), terms_of(applied(expr, expand)))
    return fact_of("homogeneous solution", terms, key_of(_homogeneous(t)), fixed=True)


def invariant(symmetry: Symmetry, claim: Claim) -> Claim:
    """⟨g, θ_A⟩ is 0 where one block carries the symmetry."""
    blocks = blocks_of(symmetry)
    last = "theta" if symmetry.degree == 2 else "one"
    if len(blocks) != 1:
        return claim
    name = next(
        iter(qu.pair(qu.letter("g", block=blocks[0]), qu.letter(last, block=blocks[0])).atoms(AppliedUndef))
    ).func.__name__
    if name not in claim.functions:
        return claim
    return claim.mapped(lambda e: applied(e, {name: lambda when: sp.S.Zero}), "⟨g, X⟩ taken as 0, by invariance")


def _with_values(claim: Claim, solution: Solution) -> Claim:
    """γ, ω and κ replaced by what they are in the hyper-parameters."""
    rates = {symbol: sp.powsimp(value) for symbol, value in solution.rates}
    conditions = (*claim.conditions, *(c for row in claim.excluded for c in row))
    if (claim.free_symbols | set().union(*(a.free_symbols | b.free_symbols for a, _, b in conditions))) & set(rates):
        return claim.mapped(lambda e: e.xreplace(rates))
    return claim


def _named_functions(against: Law, solution: Solution, in_rates: bool) -> dict[str, Callable[..., sp.Expr]]:
    """f, the drive, and G, Green's function, of the equation divided by its leading coefficient."""
    leading = against.mass if against.is_oscillator else against.damping
    green = (solution.green_form if in_rates else solution.green) * leading
    drive = against.drive / leading
    values: dict[str, Callable[..., sp.Expr]] = {"G": lambda when: green.subs(t, when), "Theta": lambda when: sp.S.One}
    if drive != 0:
        values["f"] = lambda when: drive.subs(t, when)
    return values


def _without_integral_equation(claim: Claim) -> Claim:
    """Q(t) = Q(0) + ∫ … Q(τ) … dτ, differentiated once."""
    integrals = set().union(*(side.atoms(sp.Integral) for side in claim.sides if isinstance(side, sp.Expr)))
    charges = {"Q"} | {
        name for name in claim.functions if name.startswith("theta.") and name.split(".")[-1] in ("theta", "one")
    }
    integrals = {i for i in integrals if any(f.func.__name__ in charges for f in i.atoms(AppliedUndef))}
    if not integrals or claim.rates:
        return claim
    if any(i.args[1][2] != t for i in integrals):  # type: ignore[index]
        raise ClaimError("claim: an integral of the charge is read from 0 to t; write Q(t) = … for other claims")
    return claim.mapped(lambda e: sp.expand(e.diff(t)), "the integral equation was differentiated in t")


def _squared(claim: Claim) -> Claim:
    """|θ(t)| = … as |θ(t)|² = (…)²."""
    left: Any = claim.left
    right = claim.right
    rooted = isinstance(left, sp.Pow) and left.exp == sp.S.Half and isinstance(left.base, AppliedUndef)
    if not rooted or not isinstance(right, sp.Expr):
        return claim
    return replace(claim, left=left.base, right=sp.powdenest(right**2)).noted("both sides squared")


def _solved_for_charge(claim: Claim, symmetry: Symmetry) -> Claim:
    """A bare expression is one for the charge; a charge without argument on the right is its initial value."""
    charges = _charges(symmetry)
    right: Any = claim.right
    if not isinstance(right, sp.Expr):
        return claim
    if claim.left is None:
        charge: Any = in_blocks(symmetry)["Q"] if speaks_of_blocks(claim) else symbols.charge
        claim = replace(claim, left=charge(t)).noted("read as what Q(t) equals")
    left: Any = claim.left
    alone = isinstance(left, sp.Expr) and left.atoms(AppliedUndef) and all(f.args[0] == t for f in left.atoms(AppliedUndef))
    inside = {f for f in right.atoms(AppliedUndef) if f.func.__name__ in charges and f.args[0] == t}
    given = {f for f in right.atoms(AppliedUndef) if f.func.__name__ in charges and f.args[0] == 0}
    if not (alone and inside) or given:
        return claim
    started = right.xreplace({f: f.func(0) for f in inside})
    return replace(claim, right=started).noted("the charge without argument on the right read as its initial value")


def _expect_solution(claim: Claim, charges: set[str]) -> None:
    """Refuse what is neither solved for the charge nor says how it starts."""
    sides = [side for side in claim.sides if isinstance(side, sp.Expr)]
    started = any(side.has(sp.Integral) or any(f.args[0] == 0 for f in side.atoms(AppliedUndef)) for side in sides)
    alone = any(_is_sum_of(side, charges) for side in sides)
    if not (started or alone):
        raise ClaimError("claim: expected an equation with a rate of the charge, or what the charge is: Q(t) = …")


def _is_sum_of(side: sp.Expr, charges: set[str]) -> bool:
    """Whether a side has charges and nothing else that moves, none of them under a root or a bar of a fraction."""
    functions = side.atoms(AppliedUndef)
    powers = [p for p in side.atoms(sp.Pow) if p.base.atoms(AppliedUndef)]
    return bool(functions) and not powers and {f.func.__name__ for f in functions} <= charges


def _solution_facts(solution: Solution, in_rates: bool, expand: dict) -> list[Fact]:
    expr = solution.formula if in_rates else solution.expr
    expr = _started(expr)
    charge = applied(symbols.charge(t), expand)
    terms = minus(terms_of(charge), terms_of(applied(expr, expand)))
    facts = [fact_of("solution", terms, *map(key_of, sorted(charge.atoms(AppliedUndef), key=str)), fixed=True)]
    if solution.law.is_oscillator and not solution.homogeneous_form.has(symbols.initial_rate):
        rate = applied(sp.Function("Q'", real=True)(0), expand)
        facts.append(Fact("initial rate", terms_of(rate)))
    return facts


def _equation(against: Law, solution: Solution, in_rates: bool) -> sp.Expr:
    """Left − right, divided by the leading coefficient if it is to be in γ, ω and κ."""
    Q = symbols.charge(t)
    equation = against.equation.lhs - against.equation.rhs
    if in_rates:
        rates = [symbol for symbol, _ in solution.rates]
        leading = against.mass if against.is_oscillator else against.damping
        left = (
            Q.diff(t, 2) + 2 * rates[0] * Q.diff(t) + rates[1] ** 2 * Q
            if against.is_oscillator
            else Q.diff(t) + rates[0] * Q
        )
        equation = left - against.drive / leading
    return equation


def _equation_fact(against: Law, solution: Solution, in_rates: bool, expand: dict) -> Fact:
    terms = terms_of(applied(_equation(against, solution, in_rates), expand))
    charge = applied(symbols.charge(t), expand)
    highest = [key_of(f.diff(t, k)) for k in (2, 1) for f in sorted(charge.atoms(AppliedUndef), key=str)]
    return fact_of("law", terms, *highest)


def _differentiated(fact: Fact) -> Fact:
    """The law once more differentiated in t."""
    expr = sp.Add(*(c * sp.Mul(*(atom**e for atom, e in key)) for key, c in fact.terms.items()))
    return Fact(f"{fact.name}, differentiated", terms_of(expr.diff(t)))
