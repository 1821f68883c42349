"""Momentum as a first-order system: three descriptions with three constants at first order in h, and how they are related.

After the velocity has settled, (θ_n, v_n) lies on a curve v = v(θ). On it, with f = −∇L_λ and B-series in f,

* the *slow flow* is the field f̃ whose solution passes through every iterate: θ_n = φ_{nh}(θ_0);
* the *discrete manifold* is the function v(θ), v_n = v(θ_n), with v_n the velocity before step n (``momentum_buffer``);
* the *memoryless iteration* θ_{n+1} = Φ(θ_n) has the same iterates without a velocity: Φ = φ_h.

For the heavy ball their coefficients of [t], F = f'f, are −(1+β)/2, −1 and −β, each over (1−β)³. A modified loss of momentum
must therefore say whose it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import sympy as sp

from derive.bseries import BSeries, compose, field_itself, flow, in_one_domain
from derive.concrete_equation import (
    Expressions,
    Method,
    expect_method,
    expect_no_clash,
    expect_order,
    force_of,
    read_field,
    read_loss,
    ring_of,
    step_of,
)
from derive.concrete_loss import elementary_differential, field_series
from derive.differential_ring import Vector
from derive.gradient_series import GradientSplit, gradient_order, split_gradient
from derive.trees import RootedTree
from derive.update_rule import UnsupportedError, UpdateRule
from derive.validity import Validity, validity


@dataclass(frozen=True)
class ModifiedField:
    """θ' = f̃ = Σ_τ h^{|τ|−1} b(τ)/σ(τ) F(τ), for any f: what the iterates follow, to h^order.

    Parameters
    ----------
    rule, order
        The method, and the highest power of h kept: trees with up to order + 1 vertices.
    coefficients
        b, a mapping tree -> rational number or function of β.

    Examples
    --------
    >>> from derive import modified_flow, runge_kutta
    >>> midpoint = modified_flow(runge_kutta("midpoint"), order=9).coefficients
    >>> sum(midpoint.truncated(9).values())  # trees up to nine vertices; the sum is that of BSeries.jl
    19063/26880
    """

    rule: Method
    order: int
    coefficients: BSeries

    def __post_init__(self) -> None:
        _expect_series("coefficients", self.coefficients, 0, self.order)

    @property
    def is_gradient(self) -> bool:
        """Whether it is −∇ of a modified loss for every f = −∇L."""
        return gradient_order(self.coefficients) == self.coefficients.order

    @property
    def split(self) -> GradientSplit:
        """The modified loss on free trees, and the rest that no loss gives."""
        return split_gradient(self.coefficients)

    @property
    def validity(self) -> Validity:
        """How large h times a curvature may be."""
        return validity(self.rule)

    def _repr_latex_(self) -> str:
        return self.coefficients._repr_latex_()


@dataclass(frozen=True)
class DiscreteManifold:
    """v(θ) = −a Σ_τ h^{|τ|−1} c(τ)/σ(τ) F(τ), a = 1−α: the velocity before a step, once it has settled.

    Parameters
    ----------
    rule, order
        An update rule with momentum, and the highest power of h kept.
    coefficients
        c.
    """

    rule: UpdateRule
    order: int
    coefficients: BSeries

    def __post_init__(self) -> None:
        _expect_series("coefficients", self.coefficients, 0, self.order)

    def on(self, *, loss: Any = None, field: Any = None, variables: Any = None) -> Expressions:
        """v of a concrete loss or field, component by component.

        >>> from derive import discrete_manifold, sgd
        >>> x = sp.Symbol("x")
        >>> rule = sgd(momentum=sp.Rational(1, 2), weight_decay=False)
        >>> discrete_manifold(rule, 1).on(loss=x**2 / 2)
        (8*eta*x + 2*x,)
        """
        terms = _evaluated(self.rule, self.coefficients, loss, field, variables)
        return tuple(-self.rule.gradient_gain * c for c in _summed(terms, self.rule, 0))

    def _repr_latex_(self) -> str:
        return rf"$v = -{sp.latex(self.rule.gradient_gain)} \left({self.coefficients._repr_latex_().strip('$')}\right)$"


@dataclass(frozen=True)
class MemorylessIteration:
    """θ_{n+1} = θ_n + Σ_τ h^{|τ|} a(τ)/σ(τ) F(τ): the iterates of momentum on its manifold, without a velocity.

    Parameters
    ----------
    rule, order
        An update rule, and the highest power of h kept *behind the first*: trees with up to order + 1 vertices.
    coefficients
        a, the series of a map.
    """

    rule: UpdateRule
    order: int
    coefficients: BSeries

    def __post_init__(self) -> None:
        _expect_series("coefficients", self.coefficients, 1, self.order)

    def on(self, *, loss: Any = None, field: Any = None, variables: Any = None) -> Expressions:
        """θ_{n+1} as a function of θ_n on a concrete loss or field."""
        names = read_loss(loss, variables)[0] if field is None else read_field(field, variables)[0]
        terms = _evaluated(self.rule, self.coefficients, loss, field, variables)
        return tuple(x + c for x, c in zip(names, _summed(terms, self.rule, 1), strict=True))

    def _repr_latex_(self) -> str:
        return self.coefficients._repr_latex_().replace("$y", r"$\theta_{n+1} = \theta_n", 1)


def _expect_series(name: str, series: BSeries, at_empty: int, order: int) -> None:
    if series.at_empty != at_empty or series.order != order + 1:
        kind = "map" if at_empty else "field"
        raise ValueError(f"{name}: expected a {kind} over trees with up to {order + 1} vertices, got {series!r}")


def slow_flow(rule: Method, order: int = 1) -> ModifiedField:
    """The field that the iterates follow: θ_n = φ_{nh}(θ_0).

    >>> from derive import sgd
    >>> slow_flow(sgd(momentum=True)).coefficients["[t]"]
    (beta + 1)/(2*(beta - 1)**3)
    """
    expect_method(rule)
    expect_order(order)
    return ModifiedField(rule, int(order), field_series(rule, int(order)))


def memoryless_iteration(rule: UpdateRule, order: int = 1) -> MemorylessIteration:
    """The map with the iterates of ``rule`` on its manifold: the slow flow for the time h of one step.

    Its first correction of the loss is ηβ|∇L|²/(2(1−β)³) (memory as a change of the loss: Cattaneo, Shigida 2025):

    >>> from derive import sgd
    >>> memoryless_iteration(sgd(momentum=True)).coefficients["[t]"]
    beta/(beta - 1)**3
    """
    _expect_update_rule(rule)
    return MemorylessIteration(rule, int(order), flow(slow_flow(rule, order).coefficients))


def discrete_manifold(rule: UpdateRule, order: int = 1) -> DiscreteManifold:
    """v(θ) on the manifold, by running the slow flow one step back.

    Classical momentum has θ_n − θ_{n−1} = −ηv_n, so v = (φ_{−h}(θ) − θ)/η; Nesterov's d = G + βv gives
    v = ((φ_{−h}(θ) − θ)/η − G(φ_{−h}(θ)))/β.

    >>> from derive import sgd
    >>> discrete_manifold(sgd(momentum=True)).coefficients["[t]"]
    (beta - 1)**(-3)

    Raises
    ------
    UnsupportedError
        For a rule without momentum, which has no velocity that lasts.
    """
    _expect_update_rule(rule)
    if rule.momentum == 0:
        raise UnsupportedError("rule: expected momentum, got none: without it v is the last gradient")
    back = flow(slow_flow(rule, order).coefficients, -1)
    moved = BSeries(back.order, 0, back.domain, tuple(-x for x in back.elements))  # (θ − φ_{−h}(θ))/h
    if not rule.nesterov:
        return DiscreteManifold(rule, int(order), moved)
    before = compose(back, field_itself(back.order))
    domain, step, force = in_one_domain(moved, before)
    beta = domain.from_sympy(rule.momentum)
    found = tuple((x - y) / beta for x, y in zip(step, force, strict=True))
    return DiscreteManifold(rule, int(order), BSeries(back.order, 0, domain, found))


def _expect_update_rule(rule: Any) -> None:
    if not isinstance(rule, UpdateRule):
        raise UnsupportedError(f"rule: expected sgd(...), whose velocity is that of torch.optim.SGD, got {rule!r}")


def _evaluated(rule: UpdateRule, series: BSeries, loss: Any, field: Any, variables: Any) -> list[Expressions]:
    """Σ_{|τ|=n} a(τ)/σ(τ) F(τ) for n = 1, 2, …, on a concrete loss or field."""
    if (loss is None) == (field is None):
        raise UnsupportedError("loss, field: expected one of them, got both or none")
    names, components = read_field(field, variables) if loss is None else _descent(loss, variables)
    expect_no_clash(rule, components, names)
    force = force_of(rule, components, names)
    ring = ring_of(rule, force, names)
    elements, known = tuple(map(ring.from_expr, force)), dict[RootedTree, Vector]()
    total = [[ring.ring.zero] * len(names) for _ in range(series.order)]
    for tree, value in series.items():
        number = ring.number(value / tree.symmetry)
        if number:
            differential = elementary_differential(ring, tree, elements, known)
            total[tree.order - 1] = [t + part * number for t, part in zip(total[tree.order - 1], differential, strict=True)]
    return [tuple(map(ring.to_expr, row)) for row in total]


def _descent(loss: Any, variables: Any) -> tuple[tuple[sp.Symbol, ...], Expressions]:
    names, expr = read_loss(loss, variables)
    return names, tuple(-sp.diff(expr, x) for x in names)


def _summed(terms: list[Expressions], rule: UpdateRule, first: int) -> Expressions:
    """Σ_n h^{n + first} terms_n."""
    h = step_of(rule)
    return tuple(sp.Add(*(h ** (k + first) * c for k, c in enumerate(column))) for column in zip(*terms, strict=True))
