"""Readings of equations for the parameters: update rules, modified and stochastic equations, B-series, schemes."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import sympy as sp

from derive import inner_product as ip
from derive import pde_scheme as pde
from derive import symbols
from derive.comparison import Fact
from derive.modified_equation import ModifiedEquation, flow_limit
from derive.momentum_manifold import slow_flow
from derive.notation import quantities as qu
from derive.notation.quantities import Linear
from derive.notation.terms import Terms, terms_of
from derive.notation.vocabulary import Vocabulary, training
from derive.pde_scheme import ModifiedPDE
from derive.references.reference import Claim, ClaimError, Reference, fact_of, key_of, reference
from derive.shuffling import EpochLoss, batch_count, own_curvature
from derive.stochastic import NOISE, StochasticModifiedEquation, batch_size
from derive.symbols import step as n
from derive.symbols import time as t
from derive.update_rule import UpdateRule

# --- words ---


def linear_of(vector: sp.Expr, time: sp.Expr = t) -> Linear:
    """Words of :mod:`derive.inner_product` as words of a claim."""
    terms: dict[tuple[qu.Word, sp.Expr], sp.Expr] = {}
    for word, scalar in ip.words(vector).items() if vector != 0 else ():
        terms[tuple(_piece(str(letter)) for letter in ip.word_letters(word)), time] = scalar
    return Linear({(_joined(word), when): c for (word, when), c in terms.items()})


def _piece(letter: str) -> Any:
    """``D3L[g, H*g]`` as (T, (g, Hg)); another letter as it is."""
    found = re.fullmatch(r"D(\d+)L\[(.*)\]", letter)
    if found is None:
        return letter
    inside = re.split(r", (?![^\[]*\])", found[2])
    head = "T" if found[1] == "3" else f"T{found[1]}"
    return head, tuple(sorted(_joined(tuple(map(_piece, _factors(text)))) for text in inside))


def _factors(text: str) -> list[str]:
    """``H**2*g`` as its letters."""
    powers = (re.fullmatch(r"(\w+)\*\*(\d+)", factor) for factor in re.split(r"(?<!\*)\*(?!\*)(?![^\[]*\])", text))
    plain = re.split(r"(?<!\*)\*(?!\*)(?![^\[]*\])", text)
    return [letter for p, f in zip(powers, plain, strict=True) for letter in ([p[1]] * int(p[2]) if p else [f])]


def _joined(word: tuple) -> qu.Word:
    """A tensor with what it is applied to is two pieces of a word."""
    return tuple(piece for part in word for piece in (part if isinstance(part, tuple) else (part,)))


THETA_DOT = (("theta'",), t)


def _vector_vocabulary(**more: Any) -> Vocabulary:
    base = training()
    vectors = {**base.vectors, "f": "f"} | more.pop("vectors", {})
    matrices = {**base.matrices, "T": "T"} | more.pop("matrices", {})
    functions = {"L": "L"}
    scalars = {**base.scalars, "D": symbols.derivative, **more.pop("scalars", {})}
    return replace(base, vectors=vectors, matrices=matrices, functions=functions, scalars=scalars, **more)


MODIFIED = sp.Function("L~", real=True)(t)


def losses_named(claim: Claim, field: Linear, speed: sp.Expr) -> tuple[Claim, list[Fact]] | None:
    """L̃ = L + …, or its right side alone, with θ' = −∇L̃."""
    left, right = claim.left, claim.right
    if isinstance(left, sp.Expr) and isinstance(right, sp.Expr) and left != MODIFIED:
        moved = sp.expand(left - right)
        if moved.coeff(MODIFIED) == 1 and not (moved - MODIFIED).has(MODIFIED):
            left, right = MODIFIED, MODIFIED - moved
            claim = replace(claim, left=left, right=right)
    if not isinstance(right, sp.Expr) or not (left is None or left == MODIFIED):
        return None
    scalars = _loss_of(field.scaled(-1 / speed))
    if scalars is None:
        claim = replace(claim, left=Linear({THETA_DOT: -sp.S.One}), right=qu.gradient(right))
        return claim.noted("a loss read by its gradient, θ' = −∇L̃"), [_field_fact(field.scaled(1 / speed), (sp.S.One,))]
    terms = terms_of(MODIFIED - scalars)
    return replace(claim, left=MODIFIED), [fact_of("modified loss", terms, key_of(MODIFIED), fixed=True)]


def _loss_of(gradient: Linear) -> sp.Expr | None:
    """The loss with this gradient, of L, |∇L|², |θ|², ⟨∇L, θ⟩ and the mean of |∇L_k|²; None if there is none of these."""
    c = {word: value for (word, _), value in gradient.terms.items()}
    g, theta = qu.letter("g"), qu.letter("theta")
    mixed = c.pop(("H", "theta"), sp.S.Zero)
    expr = (c.pop(("g",), sp.S.Zero) - mixed) * qu.loss + mixed * qu.pair(g, theta)
    expr += c.pop(("H", "g"), sp.S.Zero) / 2 * qu.pair(g, g) + c.pop(("theta",), sp.S.Zero) / 2 * qu.pair(theta, theta)
    expr += c.pop(("K",), sp.S.Zero) / 2 * sp.Function("mean.square", real=True)(t)
    return None if c else sp.expand(expr)


def _field_fact(field: Linear, time_coefficients: tuple[sp.Expr, ...]) -> Fact:
    rates = [(("theta" + "'" * k,), t) for k in range(1, len(time_coefficients) + 1)]
    terms: Terms = dict(zip(rates, time_coefficients, strict=True))
    for key, c in field.terms.items():
        terms[key] = terms.get(key, sp.S.Zero) - c
    return fact_of("equation of learning", {k: c for k, c in terms.items() if c != 0}, *rates)


def _without_instant(claim: Claim) -> Claim:
    """dθ = … dt as what θ' is: a bare field stands for the right side."""
    if claim.left is None and isinstance(claim.right, Linear):
        return replace(claim, left=Linear({THETA_DOT: sp.S.One})).noted("read as what θ' equals")
    return claim


@reference.register
def _modified(against: ModifiedEquation) -> Reference:
    field = linear_of(against.field)

    def facts(claim: Claim) -> tuple[Claim, list[Fact]]:
        if len(against.time_coefficients) > 1 and "H" in claim.letters and "theta''" not in claim.letters:
            slow = reference(slow_flow(against.rule, against.order))
            return slow.facts(claim.noted("without θ'' it is held against the slow flow, which eliminates θ''"))
        named = losses_named(claim, field, against.time_coefficients[0]) if len(against.time_coefficients) == 1 else None
        return named or (_without_instant(claim), [_field_fact(field, against.time_coefficients)])

    def others() -> list[tuple[str, Reference]]:
        return [] if against.order == 0 else [("it is the limit of small steps", reference(flow_limit(against.rule)))]

    vocabulary = _vector_vocabulary(scalars={"h": against.rule.step_size})
    return Reference(
        f"the equation of learning, {against.form}, order {against.order}", vocabulary, facts, alternatives=others
    )


@reference.register
def _stochastic(against: StochasticModifiedEquation) -> Reference:
    dt = sp.Symbol("dt", positive=True)
    drift, noise = linear_of(against.drift), linear_of(against.noise)

    def facts(claim: Claim) -> tuple[Claim, list[Fact]]:
        terms = {key: -c * dt for key, c in drift.terms.items()} | {THETA_DOT: dt}
        terms |= {key: -c for key, c in noise.terms.items()}
        if claim.left is None and isinstance(claim.right, Linear):
            claim = replace(claim, left=Linear({THETA_DOT: dt})).noted("read as what dθ equals")
        return claim, [fact_of("stochastic modified equation", terms, THETA_DOT)]

    vocabulary = _vector_vocabulary(scalars={"S": batch_size, "B": batch_size})
    ((word, _),) = noise.terms
    assert word == tuple(map(str, ip.word_letters(NOISE)))
    return Reference(f"the stochastic modified equation of weak order {against.order}", vocabulary, facts)


@reference.register
def _epoch(against: EpochLoss) -> Reference:
    m = against.batches

    def facts(claim: Claim) -> tuple[Claim, list[Fact]]:
        scalars = [side for side in claim.sides if isinstance(side, sp.Expr)]
        sums = {s: _mean_square(s, m) for side in scalars for s in side.atoms(sp.Sum)}
        claim = claim.mapped(lambda e: e.xreplace(sums))
        named = losses_named(claim, linear_of(against.field), sp.S.One)
        return named or (_without_instant(claim), [_field_fact(linear_of(against.field), (sp.S.One,))])

    def others() -> list[tuple[str, Reference]]:
        from derive.shuffling import epoch_loss

        other = "independent" if against.sampling == "reshuffling" else "reshuffling"
        return [(f"it is that of {other} batches", reference(epoch_loss(m, sampling=other)))]

    notes = {"batch": "the index of a loss counts batches"}
    vocabulary = _vector_vocabulary(scalars={"m": m, "M": m}, vectors={"K": str(own_curvature)}, notes=notes)
    return Reference(f"the modified loss of an epoch, {against.sampling} batches", vocabulary, facts, alternatives=others)


def _mean_square(total: sp.Sum, m: sp.Expr) -> sp.Expr:
    """Σ_k |∇L_k|² as m times the mean, whose gradient is 2K."""
    body, (_, low, high) = total.args[0], total.args[1]  # type: ignore[misc]
    count = sp.expand(high - low + 1)  # type: ignore[has-type]
    pieces = {f.func.__name__ for f in body.atoms(sp.core.function.AppliedUndef)}
    (name,) = pieces if len(pieces) == 1 else ("",)
    first, _, last = name.partition(".")
    if first != last or not first.startswith("g_"):
        raise ClaimError("claim: expected a sum of |∇L_k|² over the batches")
    if count not in (m, batch_count):
        raise ClaimError(f"claim: expected a sum over the {m} batches, got {count} terms")
    (f,) = body.atoms(sp.core.function.AppliedUndef)
    return m * body.subs(f, sp.Function("mean.square", real=True)(t))


# --- update rules ---


@reference.register
def _rule(against: UpdateRule) -> Reference:
    if against.is_flow:
        return reference(flow_limit(against))

    def facts(claim: Claim) -> tuple[Claim, list[Fact]]:
        return stepwise(claim), _rule_facts(against)

    def others() -> list[tuple[str, Reference]]:
        if against.gradient_gain == 1:
            return []
        other = "zero" if against.first_step == "torch" else "torch"
        note = "it starts with v_0 = 0, so that the first step is damped" if other == "zero" else "its first step is torch's"
        return [(note, reference(replace(against, first_step=other)))]

    base = training(discrete=True)
    scalars = {**base.scalars, "k": n, "t": n, "h": against.step_size, "mu": against.momentum}
    scalars = {name: value for name, value in scalars.items() if name != "tau"}
    vectors = {**base.vectors, "G": "G+", "b": "v"}
    matrices = {"H": "H", "I": "I"}
    vocabulary = replace(
        base, scalars=scalars, functions={"L": "L"}, vectors=vectors, matrices=matrices, velocity_is_direction=False
    )
    return Reference("the update rule", vocabulary, facts, alternatives=others)


def stepwise(claim: Claim) -> Claim:
    """Shifts carried out, and the latest step called n + 1."""

    def on(side: Any) -> Any:
        if not isinstance(side, Linear):
            return side
        found = Linear({})
        for (word, time), c in side.terms.items():
            for j, part in _powers_of_shift(c):
                found = found.plus(Linear({(word, time + j): part}))
        return found

    claim = replace(claim, left=None if claim.left is None else on(claim.left), right=on(claim.right))
    sides = [side for side in claim.sides if isinstance(side, Linear)]
    moving = [time - n for side in sides for (word, time) in side.terms if time.has(n)]
    latest = max((int(m) for m in moving if m.is_Integer), default=1)
    shift = 1 - latest

    def moved(side: Any) -> Any:
        return (
            side.mapped(lambda word, time: (word, time + shift if time.has(n) else time))
            if isinstance(side, Linear)
            else side
        )

    return replace(claim, left=moved(claim.left), right=moved(claim.right)) if shift else claim


def _powers_of_shift(c: sp.Expr) -> list[tuple[int, sp.Expr]]:
    E = symbols.shift
    if not c.has(E):
        return [(0, c)]
    collected = sp.collect(sp.expand(c), E, evaluate=False)
    return [
        (int(sp.degree(power, E)) if power.is_polynomial(E) else -int(sp.degree(1 / power, E)), part)
        for power, part in collected.items()
    ]


def _rule_facts(rule: UpdateRule) -> list[Fact]:
    """θ_{n+1} by v_{n+1}, by v_n and by neither; v_{n+1}; the first step."""
    eta, beta, gain = rule.lr, rule.momentum, rule.gradient_gain
    change = qu.letter("theta", n + 1).plus(qu.letter("theta", n).scaled(-sp.S.One))
    total = _total_gradient(rule, n)
    if beta == 0:
        return [_step_to("theta", n + 1, "step of θ", change.plus(total.scaled(eta)))]
    after, before = qu.letter("v", n + 1), qu.letter("v", n)
    updated = before.scaled(beta).plus(total.scaled(gain))
    along = [total.plus(v.scaled(beta)) if rule.nesterov else v for v in (after, updated)]
    facts = [_step_to("theta", n + 1, f"step of θ by {name}", change.plus(d.scaled(eta)))
             for name, d in zip(("v_{n+1}", "v_n"), along, strict=True)]  # fmt: skip
    facts += [_step_to("v", n + 1, "velocity", after.plus(updated.scaled(-sp.S.One))), _eliminated(rule)]
    first = qu.letter("v", sp.S.One).plus(_total_gradient(rule, sp.S.Zero).scaled(-rule.first_gradient_gain))
    facts.append(_step_to("v", sp.S.One, "first step", first))
    return facts + ([_step_to("v", sp.S.Zero, "start", qu.letter("v", sp.S.Zero))] if rule.first_step == "zero" else [])


def _total_gradient(rule: UpdateRule, when: sp.Expr) -> Linear:
    return qu.letter("g", when).plus(qu.letter("theta", when).scaled(rule.weight_decay))


def _step_to(letter: str, when: sp.Expr, name: str, zero: Linear) -> Fact:
    """A fact that says what ``letter`` is at the time ``when``."""
    return Fact(name, terms_of(zero), (((letter,), when),), fixed=True)


def _eliminated(rule: UpdateRule) -> Fact:
    """A(E)θ = −hB(E)G as a recurrence whose latest step is n + 1."""
    left, right = (sp.expand(polynomial) for polynomial in rule.shift_polynomials)
    words = qu.letter("theta", n).scaled(left + rule.step_size * right * rule.weight_decay).plus(
        qu.letter("g", n).scaled(rule.step_size * right))  # fmt: skip
    found = Linear({})
    for (word, time), c in words.terms.items():
        for j, part in _powers_of_shift(c):
            found = found.plus(Linear({(word, time + j): part}))
    return _step_to("theta", n + 1, "recurrence of θ", found)


# --- finite differences ---


@reference.register
def _scheme(against: ModifiedPDE) -> Reference:
    terms = terms_of(sp.Derivative(pde.u, pde.t) - against.equation.rhs)
    parameters = {s.name: s for c in against.coefficients for s in c.free_symbols}
    pivot = key_of(sp.Derivative(pde.u, pde.t))

    def facts(claim: Claim) -> tuple[Claim, list[Fact]]:
        step = against.scheme.time_step
        swaps = {pde.dt: step} if step != pde.dt and claim.free_symbols & {pde.dt} else {}
        kept = max((_space_order(key) for key in _claim_keys(claim)), default=1)
        reach = min(kept, against.order) if claim.dropped else against.order
        shown = {key: c for key, c in terms.items() if _space_order(key) <= max(reach, 1)}
        return claim.mapped(lambda e: e.subs(swaps)), [fact_of("modified equation", shown, pivot)]

    scalars = {"dx": pde.dx, "dt": pde.dt, "h": pde.dx, "x": pde.x, "t": pde.t, **parameters}
    scalars |= {"c": parameters["a"]} if "a" in parameters and "c" not in parameters else {}
    notes = {"c": "c read as the speed a", "h": "h read as the mesh width dx"}
    vocabulary = Vocabulary(scalars, {"u": "u"}, {}, {}, coordinates=(pde.u, pde.x, pde.t), notes=notes)
    return Reference(f"the modified equation of the {against.scheme.name} scheme", vocabulary, facts, small=pde.dx)


def _claim_keys(claim: Claim) -> list:
    return [key for side in claim.sides for key in terms_of(side)]


def _space_order(key: tuple) -> int:
    rates = [atom for atom, _ in key if isinstance(atom, sp.Derivative)]
    return max((k for d in rates for s, k in d.variable_count if s == pde.x), default=0)
