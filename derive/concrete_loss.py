"""The modified loss of a concrete loss: is the modified field −∇ of anything, and of what?

Beyond the first order it is in general not. The field then splits into the descent of a modified loss and a rest, which
:mod:`derive.gradient_series` finds on the free trees; on a given loss the curl decides.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import sympy as sp

from derive.bseries import BSeries
from derive.concrete_equation import (
    ConcreteEquation,
    Expressions,
    Method,
    as_equation,
    expect_method,
    expect_no_clash,
    expect_order,
    read_loss,
    regularized_loss,
    ring_of,
    series_in,
)
from derive.differential_ring import DifferentialRing, Vector
from derive.equality import refutes
from derive.gradient_series import gradient_defects, split_gradient
from derive.lie_series import contraction
from derive.multistep import multistep_of
from derive.runge_kutta import RungeKutta
from derive.trees import RootedTree
from derive.update_rule import UpdateRule

Rotation = tuple[tuple[sp.Symbol, sp.Symbol], sp.Expr]
"""((x, y), ∂_x F_y − ∂_y F_x) of F = −θ'."""


@dataclass(frozen=True)
class ConcreteLoss:
    """What gradient descent on ``original`` descends: the modified loss, or the field and why it has none.

    Parameters
    ----------
    equation
        θ' = f_0 + h f_1 + …, of the method on −∇L_λ.
    original
        L_λ = L + λ|θ|²/2.
    rotations
        For each power of h the components of the curl of −θ' that are not 0.

    Examples
    --------
    Kunin et al. 2021, eq. 16, and the end of it: at η² no loss has this descent.

    >>> from derive import modified_loss, sgd
    >>> x, y = sp.symbols("x y")
    >>> L = x**2/2 + y**2 + x**2*y/3
    >>> plain = sgd(weight_decay=False)
    >>> first, second = (modified_loss(plain, loss=L, order=n) for n in (1, 2))
    >>> sp.factor(first.loss - L)  # η|∇L|²/4
    eta*(x**4 + 4*x**2*y**2 + 24*x**2*y + 9*x**2 + 36*y**2)/36
    >>> second.is_gradient, second.loss, sp.factor(second.curl[x, y])
    (False, None, eta**2*x*(2*x**2 - 4*y**2 + 12*y + 9)/81)
    """

    equation: ConcreteEquation
    original: sp.Expr
    rotations: tuple[tuple[Rotation, ...], ...]

    @property
    def rule(self) -> Method:
        """The method."""
        return self.equation.rule

    @property
    def order(self) -> int:
        """The highest power of h kept."""
        return self.equation.order

    @property
    def variables(self) -> tuple[sp.Symbol, ...]:
        """The parameters θ."""
        return self.equation.variables

    @property
    def field(self) -> Expressions:
        """θ'."""
        return self.equation.field

    @property
    def curl(self) -> dict[tuple[sp.Symbol, sp.Symbol], sp.Expr]:
        """(x_i, x_j) -> ∂_i F_j − ∂_j F_i of F = −θ', i < j, 0 where a loss exists."""
        found = dict.fromkeys(_pairs(self.variables), sp.S.Zero)
        for power, rotations in enumerate(self.rotations):
            for pair, value in rotations:
                found[pair] += self.equation.step**power * value
        return found

    @property
    def gradient_order(self) -> int:
        """The highest power of h up to which θ' is minus a gradient."""
        return next((power for power, found in enumerate(self.rotations) if found), self.order + 1) - 1

    @property
    def is_gradient(self) -> bool:
        """Whether θ' = −∇L̃ for some L̃, on this loss and to this order."""
        return self.gradient_order == self.order

    @cached_property
    def coefficients(self) -> BSeries:
        """b(τ), which are the same for every loss."""
        return field_series(self.rule, self.order)

    @cached_property
    def loss(self) -> sp.Expr | None:
        """L̃ with θ' = −∇L̃ and L̃ − L_λ = O(h), up to a constant; None if there is none: see :attr:`reason`."""
        if not self.is_gradient:
            return None
        rest = potential(tuple(-c for c in self.rest), self.variables)
        if rest is None:
            return None
        total = self.gradient_part + rest
        return sp.collect(sp.expand(total), self.equation.step) if total.is_polynomial(*self.variables) else total

    @property
    def reason(self) -> str:
        """Why there is no loss, or "" if there is one."""
        if self.loss is not None:
            return ""
        if self.is_gradient:
            return "the curl of θ' is 0, but no integral of the field was found in closed form"
        power = self.gradient_order + 1
        pair, value = self.rotations[power][0]
        trees = "; ".join(
            f"{' and '.join(f'b({tree}) = {b}' for tree, b in values.items())}"
            for free, values in gradient_defects(self.coefficients).items()
            if free.order == power + 1
        )
        return (
            f"θ' is no gradient: at {self.equation.step**power} the curl of -θ' in {pair} is {sp.factor(value)}; "
            f"one free tree, several coefficients: {trees}"
        )

    @cached_property
    def gradient_part(self) -> sp.Expr:
        """The modified loss that splits off: Σ over free trees φ of h^{|φ|−1} b(φ)/|Aut φ| ∇^m L(F(τ_1), …, F(τ_m)).

        b(φ) is that of the bushiest rooting, so it is L + η|∇L|²/4 + η²gᵀHg/12 + … for gradient descent.
        """
        split = split_gradient(self.coefficients)
        ring = ring_of(self.rule, [self.original], self.variables)
        scalar = ring.from_expr(self.original)
        force = tuple(-part for part in ring.gradient(scalar))
        differentials: dict[RootedTree, Vector] = {}
        total = [ring.ring.zero] * (self.order + 1)
        for free, coefficient in split.loss.items():
            number = ring.number(coefficient * (-1) ** (free.order - 1))  # f = −∇L at each vertex but the root
            if number:
                children = free.rootings[-1].children
                below = [elementary_differential(ring, tree, force, differentials) for tree in children]
                total[free.order - 1] += contraction(ring, scalar, below) * number
        return sp.Add(*(self.equation.step**k * ring.to_expr(part) for k, part in enumerate(total)))

    @cached_property
    def rest(self) -> Expressions:
        """θ' + ∇(gradient part): what no loss gives by the condition on trees; −η²H²g/6 + … for gradient descent."""
        parts = (sp.expand(c + sp.diff(self.gradient_part, x)) for c, x in zip(self.field, self.variables, strict=True))
        return tuple(sp.collect(part, self.equation.step) if part != 0 else sp.S.Zero for part in parts)

    def _repr_latex_(self) -> str:
        if self.loss is None:
            return self.equation._repr_latex_()
        return rf"$\tilde L = {sp.latex(self.loss)} + O\left({sp.latex(self.equation.step ** (self.order + 1))}\right)$"


def field_series(rule: Method, order: int) -> BSeries:
    """b(τ) of the field that ``rule`` follows, through h^order: trees with up to order + 1 vertices."""
    if isinstance(rule, RungeKutta):
        return rule.modified_equation(order + 1)
    return (multistep_of(rule) if isinstance(rule, UpdateRule) else rule).slow_flow(order + 1)


def elementary_differential(
    ring: DifferentialRing, tree: RootedTree, force: Vector, known: dict[RootedTree, Vector]
) -> Vector:
    """F(τ) (Hairer, Lubich, Wanner 2006, Definition III.1.2), those of subtrees kept in ``known``."""
    if tree not in known:
        below = [elementary_differential(ring, child, force, known) for child in tree.children]
        known[tree] = tuple(contraction(ring, component, below) for component in force)
    return known[tree]


def concrete_loss(rule: Method, loss: Any, order: int, variables: Any = None) -> ConcreteLoss:
    """The modified loss of ``rule`` on a loss: :func:`derive.modified_loss` with ``loss=``."""
    expect_method(rule)
    expect_order(order, lowest=1)
    names, plain = read_loss(loss, variables)
    expect_no_clash(rule, [plain], names)
    original = regularized_loss(rule, plain, names)
    ring = ring_of(rule, [original], names)
    force = tuple(-part for part in ring.gradient(ring.from_expr(original)))
    found = series_in(ring, rule, force, int(order))
    equation = as_equation(rule, names, tuple(map(ring.to_expr, force)), ring, found)
    return ConcreteLoss(equation, original, tuple(_rotations(ring, part, names) for part in found))


def _rotations(ring: DifferentialRing, part: Vector, names: Sequence[sp.Symbol]) -> tuple[Rotation, ...]:
    minus = tuple(-c for c in part)
    return tuple(((names[i], names[j]), ring.to_expr(value)) for i, j, value in ring.curl(minus))


def _pairs(names: Sequence[sp.Symbol]) -> list[tuple[sp.Symbol, sp.Symbol]]:
    return [(x, y) for k, x in enumerate(names) for y in names[k + 1 :]]


def potential(field: Expressions, variables: Sequence[sp.Symbol]) -> sp.Expr | None:
    """φ with ∇φ = field, integrated coordinate by coordinate and differentiated again to check; None if not found.

    Only SymPy's algorithms that end soon are tried.

    >>> x, y = sp.symbols("x y")
    >>> potential((2*x*y, x**2 + y), (x, y))
    x**2*y + y**2/2
    >>> potential((y, -x), (x, y)) is None
    True
    """
    total = sp.S.Zero
    for x, component in zip(variables, field, strict=True):
        missing = sp.expand(component - sp.diff(total, x))
        total += sp.integrate(missing, x, meijerg=False, heurisch=False) if missing != 0 else 0
    wrong = [sp.expand(sp.diff(total, x) - component) for x, component in zip(variables, field, strict=True)]
    unsolved = total.has(sp.Integral, sp.Piecewise)
    return None if unsolved or any(w != 0 and refutes(w) is not None for w in wrong) else total
