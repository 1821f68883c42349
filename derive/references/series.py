"""Readings of B-series: of a field, of a map, of a method that has one, and of what momentum's slow manifold says."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import sympy as sp

from derive import symbols
from derive.bseries import BSeries, b_series
from derive.charge_series import ChargeSeries
from derive.comparison import Fact
from derive.momentum_manifold import DiscreteManifold, MemorylessIteration, ModifiedField
from derive.multistep import LinearMultistep
from derive.notation import quantities as qu
from derive.notation.letters import expanded
from derive.notation.quantities import Linear, MeaningError
from derive.notation.terms import terms_of
from derive.notation.vocabulary import Vocabulary
from derive.references.equations import THETA_DOT, losses_named, stepwise
from derive.references.reference import Claim, ClaimError, Reference, key_of, reference
from derive.runge_kutta import RungeKutta
from derive.symbols import step as n
from derive.symbols import step_size as h
from derive.symbols import time as t
from derive.trees import RootedTree
from derive.update_rule import UpdateRule

READ_TO = 5
"""Vertices of the trees to which a method is expanded that a claim is held against."""
COEFFICIENT = "coefficient "
"""Before the name of a tree: what b(τ) is read as."""


def _theta(when: sp.Expr) -> tuple[qu.Word, sp.Expr]:
    return ("theta",), when


# --- elementary differentials ---


def differential(tree: RootedTree, descent: bool, decay: sp.Expr, when: sp.Expr) -> Linear:
    """F(τ) of f, or of f = −∇L_λ without its signs: f'f, f''(f, f), (H + λ)(g + λθ), T[g + λθ, …]."""
    children = [differential(child, descent, decay, when) for child in tree.children]
    if not children:
        leaf = qu.letter("g" if descent else "f", when)
        return leaf.plus(qu.letter("theta", when).scaled(decay)) if descent and decay != 0 else leaf
    if len(children) == 1:
        slope = qu.letter("H" if descent else "f'", when, closed=False)
        curved = slope.plus(Linear({(("I",), when): decay}, closed=False)) if descent and decay != 0 else slope
        return qu.compose(curved, children[0])
    many = len(children)
    head = ("T" if many == 2 else f"T{many + 1}") if descent else "f" + "'" * many
    found = Linear({})
    for words, c in expanded(list(children)):
        found = found.plus(Linear({((head, tuple(sorted(words))), when): c}))
    return found


def field_of(series: BSeries, descent: bool, step: sp.Expr, decay: sp.Expr = sp.S.Zero, when: sp.Expr = t) -> Linear:
    """Σ h^{|τ|−1} b(τ)/σ(τ) F(τ), or the same with h^{|τ|} for a map."""
    found = Linear({})
    for tree, c in series.items():
        sign = (-1) ** tree.order if descent else 1
        weight = step ** (tree.order - (0 if series.is_map else 1)) * sign * c / tree.symmetry
        found = found.plus(differential(tree, descent, decay, when).scaled(weight)) if weight != 0 else found
    return found


def _speaks_of_f(claim: Claim) -> bool:
    return "f" in {letter.rstrip("'") for letter in claim.letters}


# --- coefficients, tree by tree ---


def _of_tree(claim: Claim, series: BSeries) -> Claim | None:
    """b(τ) = …, the coefficient of one tree; None for a claim about something else."""
    marked = {s for side in claim.sides if isinstance(side, sp.Expr) for s in side.free_symbols
              if s.name.startswith(COEFFICIENT)}  # fmt: skip
    if not marked:
        return None
    values = {}
    for symbol in marked:
        tree = RootedTree.parse(symbol.name.removeprefix(COEFFICIENT))
        if tree.order > series.order:
            raise ClaimError(f"claim: expected a tree with at most {series.order} vertices, got {tree}")
        values[symbol] = series[tree]
    if claim.left is None:
        raise ClaimError("claim: expected what the coefficient of a tree equals, as in b([t]) = -1/2")
    return claim.mapped(lambda e: e.subs(values), "b(τ) read as the coefficient in h^{|τ|−1} b(τ)/σ(τ) F(τ)")


# --- fields ---


def _field_facts(claim: Claim, series: BSeries, step: sp.Expr, decay: sp.Expr) -> tuple[Claim, list[Fact]]:
    of_tree = _of_tree(claim, series)
    if of_tree is not None:
        return of_tree, []
    field = field_of(series, not _speaks_of_f(claim), step, decay)
    named = losses_named(claim, field, sp.S.One) if not _speaks_of_f(claim) else None
    if named is not None:
        return named
    claim = _whole(claim)
    if claim.left is None and isinstance(claim.right, Linear):
        claim = replace(claim, left=Linear({THETA_DOT: sp.S.One}))
    terms = {THETA_DOT: sp.S.One} | {key: -c for key, c in field.terms.items()}
    return claim, [Fact("B-series", terms, (THETA_DOT,), fixed=True)]


def _whole(claim: Claim) -> Claim:
    """Nothing that still waits for what it is applied to."""
    if any(isinstance(side, Linear) and not side.closed for side in claim.sides):
        raise MeaningError("a derivative of f waits for what it is applied to")
    return claim


def _names(series: BSeries, step: sp.Expr) -> dict[str, sp.Expr]:
    """The parameters in the coefficients, and h and η for the step of a method that has no learning rate."""
    own = {s.name: s for c in series.values() for s in c.free_symbols}
    return {"h": step, "eta": step if step == h else symbols.lr, **own}


def _field_vocabulary(series: BSeries, step: sp.Expr, decay: sp.Expr) -> Vocabulary:
    scalars = {**_names(series, step), "t": t, "tau": symbols.past, "D": symbols.derivative}
    scalars |= {"lambda": decay} if decay != 0 else {}
    scalars |= {"alpha": symbols.dampening} if step.has(symbols.dampening) else {}
    vectors = {"f": "f", "g": "g", "theta": "theta", "y": "theta", "x": "theta", "w": "theta"}
    notes = {letter: f"{letter} read as the unknown θ" for letter in "xyw"}
    return Vocabulary(scalars, {"L": "L"}, vectors, {"H": "H", "T": "T", "I": "I"}, notes=notes, trees=frozenset("abc"))


def _other_series(against: BSeries, step: sp.Expr) -> list[tuple[str, Reference]]:
    """Momentum's slow flow has a twin with other constants: the memoryless iteration θ − η/(1−β) g."""
    from derive.runge_kutta import runge_kutta

    speed = against["t"]
    if against.is_map or speed == 1:
        return []
    euler = runge_kutta("euler").modified_equation(against.order)
    memoryless = b_series({tree: c * speed**tree.order for tree, c in euler.items()}, against.order, is_map=False)
    note = "it is that of the memoryless iteration θ − η/(1−β) g, not the slow flow of momentum"
    return [(note, _field_reference("the memoryless iteration", memoryless, step))]


def _field_reference(label: str, series: BSeries, step: sp.Expr, decay: sp.Expr = sp.S.Zero) -> Reference:
    small = h if step == h else symbols.lr
    return Reference(label, _field_vocabulary(series, step, decay),
                     lambda claim: _field_facts(claim, series, step, decay), small=small)  # fmt: skip


@reference.register
def _series(against: BSeries) -> Reference:
    if against.is_map:
        return _map_reference(f"the B-series of a map to order {against.order}", against, h)
    known = _field_reference(f"the B-series of a field to order {against.order}", against, h)
    return replace(known, alternatives=lambda: _other_series(against, h))


def _step_and_decay(rule: Any) -> tuple[sp.Expr, sp.Expr]:
    return (rule.step_size, rule.weight_decay) if isinstance(rule, UpdateRule) else (h, sp.S.Zero)


@reference.register
def _modified_field(against: ModifiedField) -> Reference:
    step, decay = _step_and_decay(against.rule)
    known = _field_reference(f"the slow flow to order {against.order}", against.coefficients, step, decay)

    def others() -> list[tuple[str, Reference]]:
        found = _other_series(against.coefficients, step) if decay == 0 else []
        return found + _other_descriptions(against, step, decay)

    return replace(known, alternatives=others)


def _other_descriptions(against: ModifiedField, step: sp.Expr, decay: sp.Expr) -> list[tuple[str, Reference]]:
    """The velocity on the manifold, and the iteration without velocity: other constants at the same order."""
    from derive.momentum_manifold import discrete_manifold, memoryless_iteration

    rule = against.rule
    if not isinstance(rule, UpdateRule) or rule.momentum == 0:
        return []
    manifold = discrete_manifold(rule, against.order).coefficients
    iteration = memoryless_iteration(rule, against.order).coefficients
    per_step = b_series(dict(iteration.items()), iteration.order, is_map=False)
    return [("it has the constants of the discrete manifold v(θ), not of the slow flow",
             _field_reference("the discrete manifold", manifold, step, decay)),
            ("it has the constants of the memoryless iteration, divided by the step, not of the slow flow",
             _field_reference("the memoryless iteration", per_step, step, decay))]  # fmt: skip


# --- maps ---


def _map_reference(label: str, series: BSeries, step: sp.Expr, decay: sp.Expr = sp.S.Zero) -> Reference:
    def facts(claim: Claim) -> tuple[Claim, list[Fact]]:
        of_tree = _of_tree(claim, series)
        if of_tree is not None:
            return of_tree, []
        claim = stepwise(_numbered(_whole(claim)))
        if claim.left is None and isinstance(claim.right, Linear):
            claim = replace(claim, left=Linear({_theta(n + 1): sp.S.One})).noted("read as what the next iterate equals")
        moved = field_of(series, not _speaks_of_f(claim), step, decay, n)
        zero = Linear({_theta(n + 1): sp.S.One, _theta(n): -sp.S.One}).plus(moved.scaled(-sp.S.One))
        return claim, [Fact("step", terms_of(zero), (_theta(n + 1),), fixed=True)]

    base = _field_vocabulary(series, step, decay)
    scalars = {name: value for name, value in base.scalars.items() if name not in ("t", "tau", "D")}
    scalars |= {"n": n, "k": n, "t": n, "E": symbols.shift}
    vocabulary = replace(base, scalars=scalars, steps=("n", "k", "t"), functions={"L": "L"})
    return Reference(label, vocabulary, facts, small=h if step == h else symbols.lr)


def _numbered(claim: Claim) -> Claim:
    """y_1 = y_0 + … as y_{n+1} = y_n + …."""
    times = {when for side in claim.sides if isinstance(side, Linear) for _, when in side.terms}
    if not times or any(not when.is_number for when in times):
        return claim

    def on(side: Any) -> Any:
        return side.mapped(lambda word, when: (word, when + n)) if isinstance(side, Linear) else side

    return replace(claim, left=None if claim.left is None else on(claim.left), right=on(claim.right))


@reference.register
def _iteration(against: MemorylessIteration) -> Reference:
    step, decay = _step_and_decay(against.rule)
    return _map_reference(f"the memoryless iteration to order {against.order}", against.coefficients, step, decay)


@reference.register
def _manifold(against: DiscreteManifold) -> Reference:
    step, decay = _step_and_decay(against.rule)
    velocity = (("v",), t)

    def facts(claim: Claim) -> tuple[Claim, list[Fact]]:
        field = field_of(against.coefficients, not _speaks_of_f(claim), step, decay).scaled(-against.rule.gradient_gain)
        claim = _whole(claim)
        if claim.left is None and isinstance(claim.right, Linear):
            claim = replace(claim, left=Linear({velocity: sp.S.One})).noted("read as what v(θ) equals")
        terms = {velocity: sp.S.One} | {key: -c for key, c in field.terms.items()}
        return claim, [Fact("velocity on the manifold", terms, (velocity,), fixed=True)]

    vocabulary = _field_vocabulary(against.coefficients, step, decay)
    vocabulary = replace(vocabulary, vectors={**vocabulary.vectors, "v": "v"})
    return Reference(f"the discrete manifold to order {against.order}", vocabulary, facts)


# --- methods ---


@reference.register
def _runge_kutta(against: RungeKutta) -> Reference:
    return _method(
        f"the Runge–Kutta method {against.name}".strip(), against.series(READ_TO), against.modified_equation(READ_TO)
    )


@reference.register
def _multistep(against: LinearMultistep) -> Reference:
    field = against.slow_flow(READ_TO - 1)
    known = _field_reference(f"the slow flow of {against.name or 'the multistep rule'}", field, h)
    return replace(known, alternatives=lambda: _other_series(field, h))


def _method(label: str, moved: BSeries, field: BSeries) -> Reference:
    """A one-step method: y_{n+1} = … is held against its map, y' = … against its modified equation."""
    step, flow = _map_reference(f"{label}, as a B-series", moved, h), _field_reference(f"the flow of {label}", field, h)

    def facts(claim: Claim) -> tuple[Claim, list[Fact]]:
        times = {when for side in claim.sides if isinstance(side, Linear) for _, when in side.terms}
        rates = "theta'" in claim.letters or "L~" in claim.functions
        if rates or not any(when.has(n) for when in times):
            return flow.facts(_timeless(claim))
        return step.facts(claim)

    return Reference(f"{label} and its modified equation", step.vocabulary, facts, small=h)


def _timeless(claim: Claim) -> Claim:
    """What was read at the step n as what holds at the time t."""

    def on(side: Any) -> Any:
        if isinstance(side, Linear):
            return side.mapped(lambda word, when: (word, t))
        return side.subs(n, t) if isinstance(side, sp.Expr) else side

    return replace(claim, left=None if claim.left is None else on(claim.left), right=on(claim.right))


# --- charges ---


@reference.register
def _charge(against: ChargeSeries) -> Reference:
    """Q' = a Q + Σ c ⟨F(u), F(v)⟩, in ∇L and its derivatives, for one block."""

    def facts(claim: Claim) -> tuple[Claim, list[Fact]]:
        Q = symbols.charge(t)
        pairs = ((c, *(_signed(tree) for tree in trees)) for trees, c in against.of_pairs)
        right = against.of_charge * Q + sp.Add(*(c * qu.pair(u, v) for c, u, v in pairs))
        own = {s: symbols.lr for s in right.free_symbols if s == h} if symbols.lr in claim.free_symbols else {}
        if claim.left is None:
            claim = replace(claim, left=Q.diff(t)).noted("read as what dQ/dt equals")
        return claim, [Fact("rate of the charge", terms_of(Q.diff(t) - right.subs(own)), (key_of(Q.diff(t)),))]

    def _signed(tree: RootedTree) -> Linear:
        return differential(tree, True, sp.S.Zero, t).scaled(sp.Integer((-1) ** tree.order))

    names = {s.name: s for s in against.of_charge.free_symbols.union(*(c.free_symbols for _, c in against.of_pairs))}
    scalars = {"eta": symbols.lr, "h": h, "t": t, **names}
    notes = {"g": "⟨·,·⟩ and |·|² read as those of the charge, g as ∇L_λ"}
    vocabulary = Vocabulary(scalars, {"Q": "Q", "L": "L"}, {"g": "g"}, {"H": "H", "T": "T"}, notes=notes)
    return Reference("the rate of a charge along the slow flow", vocabulary, facts, small=h)
