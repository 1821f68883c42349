"""The modified flow of a concrete loss: m θ'' + c θ' = −∇L_λ, a field on (θ, θ') (Kunin et al. 2021, eq. 17).

Where curvature is so large that momentum oscillates, no first-order equation follows it, and this one still does.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import sympy as sp

from derive import inner_product as ip
from derive.concrete_equation import Expressions, aligned, expect_no_clash, read_loss, regularized_loss
from derive.modified_equation import modified_flow
from derive.update_rule import UnsupportedError, UpdateRule


@dataclass(frozen=True)
class OscillatorEquation:
    """θ' = w, m w' = −∇L_λ − c w − (what Nesterov adds): order 1 of the abstract modified flow, on a concrete loss.

    Parameters
    ----------
    rule
        The update rule.
    positions, velocities
        Symbols of θ and of w = θ', in units of parameter per training time.
    original
        f = −∇L_λ, the field that the rule is given.
    step, mass, friction
        h = η(1−α), m = h(1+β)/2 and c = 1 − β.
    force
        The right side: f, and with Nesterov a term in w.

    Examples
    --------
    >>> from derive import sgd
    >>> x = sp.Symbol("x")
    >>> swing = oscillator(sgd(momentum=sp.Rational(9, 10), lr=sp.Rational(1, 10), weight_decay=False), loss=x**2 / 2)
    >>> swing.mass, swing.friction, swing.field
    (19/200, 1/10, (w_x, -20*w_x/19 - 200*x/19))
    """

    rule: UpdateRule
    positions: tuple[sp.Symbol, ...]
    velocities: tuple[sp.Symbol, ...]
    original: Expressions
    step: sp.Expr
    mass: sp.Expr
    friction: sp.Expr
    force: Expressions

    def __post_init__(self) -> None:
        if not len(self.positions) == len(self.velocities) == len(self.original) == len(self.force):
            raise ValueError("velocities: expected as many as positions and components of the force")

    @property
    def order(self) -> int:
        """1, the highest power of h kept."""
        return 1

    @property
    def variables(self) -> tuple[sp.Symbol, ...]:
        """Positions, then velocities."""
        return self.positions + self.velocities

    @property
    def field(self) -> Expressions:
        """(θ', w')."""
        pulls = zip(self.force, self.velocities, strict=True)
        return self.velocities + tuple(sp.expand((f - self.friction * w) / self.mass) for f, w in pulls)

    def _repr_latex_(self) -> str:
        return aligned(self.variables, self.field)


def oscillator(rule: UpdateRule, *, loss: Any, variables: Any = None) -> OscillatorEquation:
    """The modified flow of an update rule on a concrete loss, by putting the loss into :func:`derive.modified_flow`.

    Raises
    ------
    UnsupportedError
        For what is no update rule with steps, or a loss that is not covered.
    """
    if not isinstance(rule, UpdateRule):
        raise UnsupportedError(f"rule: expected sgd(...), got {type(rule).__name__}; other methods have modified_flow(rule)")
    equation = modified_flow(rule, 1)
    names, plain = read_loss(loss, variables)
    expect_no_clash(rule, [plain], names)
    speeds = tuple(sp.Symbol(f"w_{x.name}", real=x.is_real) for x in names)
    if set(speeds) & plain.free_symbols:
        raise UnsupportedError(f"loss: expected no symbol named like the velocities {speeds}; rename it")
    slopes, w = sp.Matrix([sp.diff(plain, x) for x in names]), sp.Matrix(speeds)
    spelled = {ip.gradient: slopes, ip.theta: sp.Matrix(names), ip.theta_dot: w,
               ip.hessian * ip.theta_dot: sp.hessian(plain, names) * w}  # fmt: skip
    force = sp.zeros(len(names), 1)
    for word, scalar in ip.words(equation.field).items():
        force += scalar * spelled[word]
    regular = regularized_loss(rule, plain, names)
    friction, mass = equation.time_coefficients
    return OscillatorEquation(
        rule,
        names,
        speeds,
        tuple(-sp.diff(regular, x) for x in names),
        rule.step_size,
        mass,
        friction,
        tuple(force.applyfunc(sp.expand)),
    )
