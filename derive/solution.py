"""Closed-form solution of a law: homogeneous part and Green's function, in one formula for every damping regime.

    Q(t) = Q_h(t) + ∫_0^t G(t − τ) f(τ) dτ,     G the response to a unit impulse of the drive as the law states it.

With z = γ² − ω² the oscillator needs e^{−γt} cosh(√z t) and e^{−γt} sinh(√z t)/√z, which are entire in z
(:mod:`derive.special_functions`): over-, under- and critical damping are not told apart.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import sympy as sp

from derive import symbols
from derive.discrete_law import discrete_law
from derive.equality import rational_normal_form, vanishes
from derive.law import Law
from derive.special_functions import damped_cosh, damped_sinhc, elementary
from derive.symbols import past as tau
from derive.symbols import time as t
from derive.update_rule import UnsupportedError

Start = Literal["rest", "first step", "free"]


class SolutionError(ValueError):
    """A formula that does not solve the law it is given for."""


@dataclass(frozen=True)
class Solution:
    """Q(t) solving ``law`` with Q(0) = Q_0 and, for an oscillator, Q'(0) = Q'_0.

    Building one checks it: the residual of the law, the initial data, and that the Green's function starts as an impulse
    (G(0) = 1/c, or G(0) = 0 and G'(0) = 1/m). A formula that fails any of them raises.

    Parameters
    ----------
    law
        The law that is solved.
    homogeneous_form, green_form
        Q_h(t) and G(t) for t ≥ 0 (G is 0 before), written in the rates.
    rates
        Pairs (symbol, value): κ of a relaxation, or γ and ω of an oscillator, in the hyper-parameters.
    initial_rate
        Q'(0) of an oscillator.

    Raises
    ------
    SolutionError
        If the formula does not solve the law, or not with these initial data.

    Examples
    --------
    Kunin et al. 2021, eq. 18: the sum of a logit's weights decays at the rate of weight decay.

    >>> from derive import law, sgd, solve, translation
    >>> solve(law(translation(), sgd())).expr
    Q_0*exp(-lambda*t)
    """

    law: Law
    homogeneous_form: sp.Expr
    green_form: sp.Expr
    rates: tuple[tuple[sp.Symbol, sp.Expr], ...]
    initial_rate: sp.Expr = sp.S.Zero

    def __post_init__(self) -> None:
        residual = self.residual()
        if residual != 0:
            raise SolutionError(f"expected a solution of {self.law.equation}, got residual {residual}")
        if not vanishes(self._operator(self.green_form)):
            raise SolutionError(f"green_form: expected a solution of {self.law.equation.lhs} = 0, got {self.green_form}")
        for name, (value, expected) in self.initial_data().items():
            if not vanishes(value - expected):
                raise SolutionError(f"{name}: expected {expected}, got {value}")

    @property
    def homogeneous(self) -> sp.Expr:
        """Q_h(t) in the hyper-parameters, the solution without drive."""
        return self.homogeneous_form.subs(dict(self.rates))

    @property
    def green(self) -> sp.Expr:
        """G(t) in the hyper-parameters, the response to a unit impulse of the drive."""
        return self.green_form.subs(dict(self.rates))

    @property
    def expr(self) -> sp.Expr:
        """Q(t), whole: homogeneous part and ∫_0^t G(t − τ) f(τ) dτ, unevaluated."""
        return self.homogeneous + _driven(self.green, self.law.drive)

    @property
    def formula(self) -> sp.Expr:
        """Q(t) in the rates κ, or γ and ω, as a reader would write it."""
        return self.homogeneous_form + _driven(self.green_form, self.law.drive)

    @property
    def elementary(self) -> sp.Expr:
        """``expr`` by exponentials, square roots and arccosh, for use without nmech: exact, but 0/0 at critical damping."""
        return elementary(self.expr)

    def residual(self) -> sp.Expr:
        """What is left when the formula is put into the law: 0.

        By Leibniz' rule the driven part leaves m(G(0)f' + G'(0)f) + cG(0)f − f and the integral of (mG'' + cG' + kG)f.

        >>> from derive import law, scale, sgd, solve
        >>> solve(law(scale(), sgd(momentum=True))).residual()
        0
        """
        drive, impulse = self.law.drive, _at_zero(self.green_form)
        mass, damping, _ = self._coefficients()
        boundary = damping * impulse * drive - drive
        if self.law.is_oscillator:
            boundary += mass * (impulse * drive.diff(t) + _at_zero(self.green_form.diff(t)) * drive)
        outside = rational_normal_form(self._operator(self.homogeneous_form) + boundary)
        inside = rational_normal_form(self._operator(self.green_form))
        return outside + _driven(inside, drive)

    def _coefficients(self) -> tuple[sp.Expr, sp.Expr, sp.Expr]:
        """(m, c, k) written in the rates, plus whatever of the law's own c and k the rates leave over: 0 if they fit."""
        m, c, k = self.law.mass, self.law.damping, self.law.stiffness
        rates = [symbol for symbol, _ in self.rates]
        if self.law.is_oscillator:
            damping, stiffness = 2 * rates[0] * m, rates[1] ** 2 * m
        else:
            damping, stiffness = c, rates[0] * c
        return m, damping + self._excess(c - damping), stiffness + self._excess(k - stiffness)

    def _excess(self, difference: sp.Expr) -> sp.Expr:
        return rational_normal_form(difference.subs(dict(self.rates)))

    def _operator(self, x: sp.Expr) -> sp.Expr:
        mass, damping, stiffness = self._coefficients()
        return mass * x.diff(t, 2) + damping * x.diff(t) + stiffness * x

    def initial_data(self) -> dict[str, tuple[sp.Expr, sp.Expr]]:
        """Name -> (value at t = 0, what it must be) for Q and G, and their rates of change for an oscillator."""
        x, green = self.homogeneous_form, self.green_form
        impulse = sp.S.Zero if self.law.is_oscillator else 1 / self.law.damping
        data = {"homogeneous(0)": (_at_zero(x), symbols.initial_charge), "green(0)": (_at_zero(green), impulse)}
        if self.law.is_oscillator:
            data["homogeneous'(0)"] = (_at_zero(x.diff(t)), self.initial_rate)
            data["green'(0)"] = (_at_zero(green.diff(t)), 1 / self.law.mass)
        return data

    def _repr_latex_(self) -> str:
        formula = sp.latex(self.formula)
        where = r",\; ".join(rf"{sp.latex(symbol)} = {sp.latex(value)}" for symbol, value in self.rates)
        return rf"$Q(t) = {formula}, \qquad {where}$"


def _driven(green: sp.Expr, drive: sp.Expr) -> sp.Expr:
    if drive == 0 or green == 0:
        return sp.S.Zero
    return sp.Integral(green.subs(t, t - tau) * drive.subs(t, tau), (tau, 0, t))


def _at_zero(expr: sp.Expr) -> sp.Expr:
    """Value at t = 0. Derivatives of the entire functions have removable quotients there, so their series are put in."""
    series = expr.replace(damped_cosh, lambda a, b: _series(a, b, 2)).replace(damped_sinhc, lambda a, b: _series(a, b, 6))
    return rational_normal_form(series).subs(t, 0)


def _series(a: sp.Expr, b: sp.Expr, factorial: int) -> sp.Expr:
    """e^{−a}(1 + (a² − b²)/factorial + …) through second order in (a, b), where they vanish at t = 0."""
    if not (a.has(t) and b.has(t)):
        return (damped_cosh if factorial == 2 else damped_sinhc)(a, b)
    return (1 - a + a**2 / 2) * (1 + (a**2 - b**2) / factorial)


def solve(law: Law, *, start: Start = "rest") -> Solution:
    """Solve a law in closed form.

    Parameters
    ----------
    start
        How an oscillator starts. ``"rest"``: Q'(0) = 0 (Kunin et al. 2021, eq. 34). ``"first step"``: with the rate for
        which the charge without drive is right after the first step of the rule, Q(h) = Q_1; at all orders the solution then
        is right at every step. ``"free"``: Q'(0) is the symbol ``initial_rate``.

    Raises
    ------
    UnsupportedError
        For a law of third or higher order in time, or an unknown start.

    Examples
    --------
    One formula holds eq. 34's three cases:

    >>> from derive import law, sgd, solve, translation
    >>> S = solve(law(translation(), sgd(lr=1, momentum=0, weight_decay=0.5), form="modified flow"))
    >>> S.homogeneous  # γ = ω = 1: critical
    Q_0*(t*exp(-t) + exp(-t))

    To all orders the decay without momentum is that of the steps, (1 − ηλ)^{t/η} (eq. 39):

    >>> solve(law(translation(), sgd(lr=1, weight_decay=0.5), sp.oo)).homogeneous
    Q_0*exp(-t*log(2))
    """
    if start not in get_args(Start):
        raise UnsupportedError(f"start: expected one of {get_args(Start)}, got {start!r}")
    if law.higher:
        raise UnsupportedError(
            f"law: expected at most Q'', got {law}: its fast roots are artefacts of the truncation; "
            "take order=sympy.oo, which has both exponents, or form='slow flow'"
        )
    return _oscillator(law, start) if law.is_oscillator else _relaxation(law)


def _relaxation(law: Law) -> Solution:
    decay = sp.exp(-symbols.rate * t)
    rates = ((symbols.rate, law.stiffness / law.damping),)
    return Solution(law, symbols.initial_charge * decay, decay / law.damping, rates)


def _oscillator(law: Law, start: Start) -> Solution:
    gamma, omega = symbols.damping_rate, symbols.frequency
    half_damping, omega_squared, _ = law.normal_form
    cosh, impulse = damped_cosh(gamma * t, omega * t), t * damped_sinhc(gamma * t, omega * t)
    at_rest = symbols.initial_charge * (cosh + gamma * impulse)
    rate = {"rest": sp.S.Zero, "free": symbols.initial_rate}.get(start)
    if rate is None:
        h = law.rule.step_size
        rate = (_first_charge(law) - at_rest.subs(t, h)) / impulse.subs(t, h)
    return Solution(
        law,
        at_rest + rate * impulse,
        impulse / law.mass,
        ((gamma, half_damping), (omega, sp.Pow(omega_squared, sp.S.Half, evaluate=False))),
        rate,
    )


def _first_charge(law: Law) -> sp.Expr:
    """Q_1 of a run without drive, by the rule's own first step from no velocity."""
    return discrete_law(law.symmetry, law.rule).first_transition[0, 0] * symbols.initial_charge
