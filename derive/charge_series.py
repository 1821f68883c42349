"""The rate of a charge along a B-series: the second route to its law, which shares nothing with the exact recurrence.

Let θ' = f̃(θ) be a B-series in f = −∇L_λ, L_λ = L + λ|θ|²/2. Invariance makes ⟨∇L_λ, X⟩ = λ⟨θ, X⟩ for every θ, and this
differentiated k times, in directions u_1 … u_k, is the k-th identity

    ∇^{k+1}L_λ[X, u_1 … u_k] + Σ_i ∇^k L_λ[Mu_i, u_1 … û_i … u_k] = λQ,  λp⟨X, u_1⟩,  2λ⟨u_1, u_2⟩_M,  0,  0, …

for k = 0, 1, 2, 3, … With it ⟨F(τ), X⟩ of every elementary differential becomes a combination of Q and of ⟨F(u), F(v)⟩_M
over pairs of smaller trees. Such combinations, with coefficients in h and the hyper-parameters, are this module's values.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import sympy as sp
from sympy.polys.fields import FracField

from derive import symbols
from derive.bseries import BSeries, flow
from derive.laurent_series import laurent_series
from derive.law import Law
from derive.law_series import recurrence
from derive.linear_combination import linear_combination
from derive.multistep import multistep_of
from derive.operator_calculus import coefficients, read_operators
from derive.symbols import Q
from derive.symbols import derivative as D
from derive.symbols import shift as E
from derive.symbols import step_size as h
from derive.symmetry import Symmetry
from derive.trees import RootedTree
from derive.update_rule import UnsupportedError, UpdateRule

Pair = tuple[RootedTree, RootedTree]
Terms = dict[Pair | None, Any]
"""Pair of trees, or None for the charge -> coefficient in a field."""
LEAF = RootedTree()


@dataclass(frozen=True)
class ChargeSeries:
    """a Q + Σ c(u, v) ⟨F(u), F(v)⟩_M, with F the elementary differentials of f = −∇L_λ.

    Parameters
    ----------
    of_charge
        a, an expression in h and the hyper-parameters.
    of_pairs
        ((u, v), c), each unordered pair of rooted trees once, none with c = 0.
    """

    of_charge: sp.Expr
    of_pairs: tuple[tuple[Pair, sp.Expr], ...]

    @property
    def is_zero(self) -> bool:
        """Whether every coefficient is 0."""
        return self.of_charge == 0 and not self.of_pairs

    def __str__(self) -> str:
        terms = [f"({self.of_charge})*Q"] if self.of_charge != 0 else []
        return " + ".join([*terms, *(f"({c})*<F({u}), F({v})>" for (u, v), c in self.of_pairs)]) or "0"

    def _repr_latex_(self) -> str:
        pairs = ((c, rf"\langle F({u.latex}), F({v.latex})\rangle_M") for (u, v), c in self.of_pairs)
        return f"${linear_combination([(self.of_charge, 'Q'), *pairs])}$"


def charge_rate(symmetry: Symmetry, along: UpdateRule | BSeries, order: int) -> ChargeSeries:
    """Q' along the slow flow of a rule, or along a field given as a B-series, with powers of the step up to ``order``.

    Explicit Euler breaks a conservation law by the square of the gradient, which is the discretisation term of Kunin et al.
    2021, eq. 21; the implicit midpoint rule conserves every quadratic charge (HLW, Theorem IV.2.1):

    >>> from derive import runge_kutta, scale, sgd
    >>> print(charge_rate(scale(), sgd(weight_decay=False), 1))
    (h)*<F(t), F(t)>
    >>> print(charge_rate(scale(), runge_kutta("implicit_midpoint").modified_equation(5), 4))
    0
    """
    return _Calculus.of(symmetry, along, order).rate.series()


def tree_residual(law: Law, order: int | None = None) -> ChargeSeries:
    """What is left of a law, in powers of h up to ``order``, when its charge moves by the B-series of its rule: 0.

    A law of finite order is checked to its own order. For a law of all orders, both sides multiplied by P(e^{hD})/Π(D − s)
    are checked, which is the recurrence that it solves.

    >>> from derive import law, scale, sgd
    >>> tree_residual(law(scale(), sgd(momentum=True), 2)).is_zero
    True

    Raises
    ------
    UnsupportedError
        For gradient flow, for a law that took λ ~ η, or without an order for a law of all orders.
    """
    if law.rule.is_flow or law.order == 0:
        raise UnsupportedError("law: expected one of order 1 or more; gradient flow has no steps to expand in")
    if law.order == sp.oo and order is None:
        raise UnsupportedError("order: expected the power of h up to which to compare, got None for a law of all orders")
    chosen = int(law.order if order is None else order)
    calculus = _Calculus.of(law.symmetry, law.rule, chosen)
    total = calculus.zero
    for function, operator in _operators(law, chosen).items():
        total = total + calculus.apply(operator, calculus.form(function))
    return total.series()


def _operators(law: Law, order: int) -> Mapping[sp.Expr, sp.Expr]:
    """Function of time -> F(D), a polynomial in D and h, with Σ F(D) function = 0."""
    exact = recurrence(law.symmetry, law.rule)
    if law.order == sp.oo:
        numbers = {symbol: value for symbol, value in exact.values if symbol != h}
        whole = {f: F.xreplace(numbers) for f, F in {Q: exact.charge, **{f: -R for f, R in exact.drives}}.items()}
        return {f: _polynomial(F.subs(E, sp.exp(h * D)) / h, order) for f, F in whole.items()}
    in_steps = {law.rule.lr: h / law.rule.gradient_gain}
    drives = {form(symbols.time): name for form, name in symbols.FORM_NAMES.items() if name in law.drive_operators}
    found = {Q: read_operators(law.equation.lhs, Q)} | {f: -law.drive_operators[name] for f, name in drives.items()}
    return {f: sp.cancel(F.subs(in_steps)) for f, F in found.items()}


def _polynomial(expr: sp.Expr, order: int) -> sp.Expr:
    return sp.Add(*(c * h**power for power, c in laurent_series(expr, h, order + 1).items()))


@dataclass(frozen=True)
class _Sum:
    """A combination of Q and pairs over a field, of which powers of h above ``order`` are not kept."""

    terms: Terms
    order: int

    @classmethod
    def collect(cls, terms: Iterable[tuple[Pair | None, Any]], order: int) -> _Sum:
        found: Terms = {}
        for key, coefficient in terms:
            if key is not None and key[0].sort_key < key[1].sort_key:
                key = (key[1], key[0])
            found[key] = found[key] + coefficient if key in found else coefficient
        short = ((key, _truncated(c, order)) for key, c in found.items())
        return cls({key: c for key, c in short if c != 0}, order)

    def __add__(self, other: _Sum) -> _Sum:
        return _Sum.collect([*self.terms.items(), *other.terms.items()], self.order)

    def times(self, factor: Any) -> _Sum:
        return _Sum.collect([(key, c * factor) for key, c in self.terms.items()], self.order)

    def series(self) -> ChargeSeries:
        pairs = {key: sp.factor(c.as_expr()) for key, c in self.terms.items() if key is not None}
        ordered = sorted(pairs, key=lambda p: (p[0].order + p[1].order, p[0].sort_key, p[1].sort_key))
        charge = self.terms.get(None)
        return ChargeSeries(
            sp.S.Zero if charge is None else sp.factor(charge.as_expr()), tuple((pair, pairs[pair]) for pair in ordered)
        )


def _truncated(element: Any, order: int) -> Any:
    """A field element without its powers of h, the first generator, above ``order``; no denominator holds h."""
    numerator = element.numer
    kept = numerator.ring.from_dict({m: c for m, c in numerator.terms() if m[0] <= order})
    return element.field.new(kept, element.denom) if kept != numerator else element


@dataclass(frozen=True)
class _Calculus:
    """Derivatives along θ' = Σ h^{|τ|−1} b(τ)/σ(τ) F(τ), of the charge and of pairs.

    Parameters
    ----------
    degree
        p of the charge.
    field
        Rational functions of h (first), λ and the other letters.
    decay
        λ in it.
    weights
        (τ, h^{|τ|−1} b(τ)/σ(τ)).
    step
        The same of Δθ/h.
    order
        Powers of h kept.
    momentum
        β, for the velocity of Nesterov's rule.
    """

    degree: int
    field: Any
    decay: Any
    weights: tuple[tuple[RootedTree, Any], ...]
    step: tuple[tuple[RootedTree, Any], ...]
    order: int
    momentum: Any

    @classmethod
    def of(cls, symmetry: Symmetry, along: UpdateRule | BSeries, order: int) -> _Calculus:
        b = along if isinstance(along, BSeries) else multistep_of(along).slow_flow(order + 1)
        decay, momentum = (along.weight_decay, along.momentum) if isinstance(along, UpdateRule) else (sp.S.Zero, sp.S.Zero)
        if b.order <= order:
            raise UnsupportedError(f"along: expected a series of order {order + 1} for h^{order}, got one of {b.order}")
        letters = set().union(decay.free_symbols, momentum.free_symbols, *(x.free_symbols for x in b.values()))
        if isinstance(along, UpdateRule):
            letters |= along.dampening.free_symbols
        field = FracField([h, *sorted(letters - {h}, key=str)], sp.QQ)
        weights, step = (tuple(_weighted(x, field, order)) for x in (b, flow(b)))
        return cls(symmetry.degree, field, field.from_expr(decay), weights, step, order, field.from_expr(momentum))

    @property
    def zero(self) -> _Sum:
        return _Sum({}, self.order)

    @cached_property
    def rate(self) -> _Sum:
        """Q' = p⟨f̃, X⟩."""
        terms = ((key, self.degree * w * c) for tree, w in self.weights for key, c in self._along_generator(tree))
        return _Sum.collect(terms, self.order)

    def _along_generator(self, tree: RootedTree) -> Iterator[tuple[Pair | None, Any]]:
        """⟨F(τ), X⟩ by the k-th identity, k the number of children of the root."""
        one, (first, *rest) = self.field.one, tree.children or (None,)
        if first is None:
            yield None, -self.decay
            return
        if self.degree == 2:
            for k, child in enumerate(tree.children):
                yield (child, RootedTree(tree.children[:k] + tree.children[k + 1 :])), -one
        if not rest:
            yield from ((key, -self.decay * self.degree * c) for key, c in self._along_generator(first))
        if len(rest) == 1 and self.degree == 2:
            yield (first, rest[0]), -2 * self.decay

    def derivative(self, x: _Sum) -> _Sum:
        """D of a combination: the rate of the charge, and the product rule on pairs."""
        found: list[tuple[Pair | None, Any]] = []
        for key, c in x.terms.items():
            if key is None:
                found += [(pair, c * rate) for pair, rate in self.rate.terms.items()]
                continue
            for one, other in (key, key[::-1]):
                found += [((grown, other), c * w) for tree, w in self.weights for grown in grafted(one, tree)]
        return _Sum.collect(found, self.order)

    def apply(self, operator: sp.Expr, x: _Sum) -> _Sum:
        """F(D) x for a polynomial F."""
        total = self.zero
        for coefficient in coefficients(operator):
            total, x = total + x.times(self.field.from_expr(coefficient)), self.derivative(x)
        return total

    def form(self, function: sp.Expr) -> _Sum:
        """The charge, or a drive, in terms of the charge and pairs."""
        if function == Q:
            return _Sum({None: self.field.one}, self.order)
        leaf = ((LEAF, self.field.one),)
        if function.func == symbols.gradient_form:  # g = −f − λθ and ⟨f, X⟩ = −λQ
            return _Sum.collect([(None, -(self.decay**2)), *_products(leaf, leaf)], self.order)
        squared = _Sum.collect(_products(self.step, self.step), self.order)
        if function.func == symbols.velocity_form:
            return squared
        mixed = _Sum.collect(_products(self.step, leaf), self.order)  # βv = d − G with d = −Δθ/h and G = −f
        return (squared + mixed.times(-self.field.one)).times(1 / self.momentum)


def _weighted(series: BSeries, field: Any, order: int) -> Iterator[tuple[RootedTree, Any]]:
    """h^{|τ|−1} c(τ)/σ(τ), for the trees of which that is kept."""
    for tree, coefficient in series.items():
        if tree.order <= order + 1:
            yield tree, field.from_expr(coefficient * h ** (tree.order - 1) / tree.symmetry)


def _products(left: Iterable[tuple[RootedTree, Any]], right: Iterable[tuple[RootedTree, Any]]) -> list[tuple[Pair, Any]]:
    return [((u, v), a * b) for u, a in left for v, b in right]


def grafted(tree: RootedTree, branch: RootedTree) -> Iterator[RootedTree]:
    """``tree`` with ``branch`` hung on each of its vertices in turn: F(τ)'F(branch) is the sum of their differentials.

    >>> [str(grown) for grown in grafted(RootedTree.parse("[t]"), RootedTree())]
    ['[t,t]', '[[t]]']
    """
    yield RootedTree((*tree.children, branch), tree.colour)
    for k, child in enumerate(tree.children):
        others = tree.children[:k] + tree.children[k + 1 :]
        yield from (RootedTree((*others, grown), tree.colour) for grown in grafted(child, branch))
