"""The flow of a modified equation on a concrete loss or field, and its distance from the rule's own iterates.

An equation of :func:`derive.modified_flow`, :func:`derive.modified_loss` or :func:`derive.oscillator` on a concrete loss
knows its rule: :func:`integrate` follows the equation, :func:`numerics.iterate` the rule, :func:`observed_order` measures
how their distance falls with the step.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import scipy.integrate
import sympy as sp

from derive import ConcreteEquation, ConcreteLoss, LinearEquation, UpdateRule
from numerics.concrete_field import (
    Equation,
    Floats,
    FlowError,
    argument_name,
    compiled,
    flow_of,
    number,
    numbers,
    start_of,
    values_of,
)
from numerics.discrete_rule import iterate

METHODS = ("DOP853", "RK45", "RK23", "Radau", "BDF", "LSODA")
"""Those of :func:`scipy.integrate.solve_ivp`; the last three take stiff fields."""
LOOKED_AT = 50
"""At how many points of a path the curvature is compared with the range of validity."""


class OutsideValidityWarning(UserWarning):
    """The step is so large, for the curvature met, that the series of the modified equation does not converge."""


@dataclass(frozen=True)
class ObservedOrder:
    """How the distance between iterates and flow falls with the step.

    Parameters
    ----------
    expected
        p + 1 for an equation that keeps powers of h up to p: the distance after a fixed time is O(h^{p+1}).
    step_sizes, errors
        h, falling, and the largest component of the distance after the same time, each larger than rounding.
    """

    expected: int
    step_sizes: tuple[float, ...]
    errors: tuple[float, ...]

    @property
    def slopes(self) -> tuple[float, ...]:
        """d log(error)/d log(h) between neighbouring steps."""
        logs = np.diff(np.log(self.errors)) / np.diff(np.log(self.step_sizes))
        return tuple(map(float, logs))

    @property
    def slope(self) -> float:
        """The one between the two smallest steps."""
        return self.slopes[-1]


def integrate(
    equation: Equation,
    start: Sequence[float] | Floats,
    times: Sequence[float] | Floats,
    *,
    method: str = "DOP853",
    rtol: float = 1e-12,
    atol: float = 1e-14,
    **constants: float,
) -> Floats:
    """θ at ``times`` along the flow of ``equation`` from θ(0) = ``start``, shape ``(len(times), variables)``, float64.

    The original flow is the equation of order 0. An oscillator starts from (θ, θ') and returns both.

    >>> from derive import modified_flow, runge_kutta
    >>> y = sp.Symbol("y")
    >>> exact = modified_flow(runge_kutta("euler"), field={y: -y}, order=sp.oo)
    >>> integrate(exact, [1.0], [0.0, 1.0, 2.0], step_size=0.5)[:, 0]  # (1 − h)^(t/h): 1/4 and 1/16
    array([1.    , 0.25  , 0.0625])

    Parameters
    ----------
    times
        Training time Σ h, from 0 on, not falling.
    method, rtol, atol
        One of :data:`METHODS`, and its tolerances.
    **constants
        ``lr``, ``momentum``, ``dampening``, ``weight_decay``, ``step_size`` (for the symbol h), and other symbols by name.

    Raises
    ------
    FlowError
        For missing or unknown constants, numbers that are not finite, a flow that leaves the finite numbers.

    Warns
    -----
    OutsideValidityWarning
        If h times the curvature met on the way is outside ``equation.validity``.
    """
    if method not in METHODS:
        raise FlowError(f"method: expected one of {METHODS}, got {method!r}")
    at = numbers("times", times)
    if len(at) == 0 or (np.diff(at, prepend=0.0) < 0).any():
        raise FlowError(f"times: expected times from 0 on, not falling, got {times}")
    values = values_of(flow_of(equation), constants)
    first = start_of(equation, start)
    _expect_existence(equation, values)
    path = _follow(equation, first, at, values, method, rtol, atol)
    if equation.order != 0:
        _warn_outside(equation, np.vstack([first, path]), values)
    return path


def _expect_existence(equation: Equation, values: Mapping[sp.Symbol, float]) -> None:
    for condition in equation.conditions if isinstance(equation, LinearEquation) else ():
        if not condition.subs(values):
            raise FlowError(f"equation: expected {condition}, without which no flow has these iterates, got {values}"
                            "; take a smaller step")  # fmt: skip


def _follow(
    equation: Equation, start: Floats, at: Floats, values: Mapping[sp.Symbol, float], method: str, rtol: float, atol: float
) -> Floats:
    field = compiled(equation.field, equation.variables, values)
    if at[-1] == 0:
        return np.tile(start, (len(at), 1))
    with np.errstate(over="ignore", invalid="ignore"):
        done = scipy.integrate.solve_ivp(
            lambda t, theta: field(theta), (0.0, at[-1]), start, method=method, t_eval=at, rtol=rtol, atol=atol
        )
    if not done.success or not np.isfinite(done.y).all():
        raise FlowError(f"equation: expected a flow that exists until t = {at[-1]}, got: {done.message}; take a shorter "
                        "time, a smaller step, or a stiff method")  # fmt: skip
    return done.y.T


def observed_order(
    equation: ConcreteEquation | ConcreteLoss,
    start: Sequence[float] | Floats,
    duration: float,
    step_sizes: Sequence[float],
    *,
    method: str = "DOP853",
    **constants: float,
) -> ObservedOrder:
    """Distance between iterates and flow at t = ``duration``, for each step size h: momentum starts on its manifold.

    >>> from derive import modified_loss, sgd
    >>> x, y = sp.symbols("x y")
    >>> equation = modified_loss(sgd(weight_decay=False), loss=x**2/2 + y**2 + x**2*y/3)
    >>> found = observed_order(equation, [0.6, -0.3], 1.0, [1/64, 1/128])
    >>> found.expected, round(found.slope, 1)
    (2, 2.0)

    Parameters
    ----------
    duration
        A whole number of steps of every size.
    step_sizes
        At least two, falling: η(1−α) for an update rule with symbolic learning rate, h for a Runge–Kutta method.
    **constants
        All but the learning rate, or h.

    Raises
    ------
    FlowError
        If an error is 0 or no larger than rounding, so that a slope would say nothing.
    """
    sizes = numbers("step_sizes", step_sizes)
    if len(sizes) < 2 or (sizes <= 0).any() or (np.diff(sizes) >= 0).any():
        raise FlowError(f"step_sizes: expected at least two, positive and falling, got {step_sizes}")
    errors = [_distance(equation, start, duration, float(h), method, constants) for h in sizes]
    floor = 100 * np.finfo(float).eps * (1 + np.abs(start_of(equation, start)).max())
    if min(errors) <= floor:
        raise FlowError(f"step_sizes: expected errors above rounding, {floor:.1e}, got {min(errors):.1e}; take larger steps")
    return ObservedOrder(int(equation.order) + 1, tuple(map(float, sizes)), tuple(errors))


def _distance(
    equation: ConcreteEquation | ConcreteLoss,
    start: Sequence[float] | Floats,
    duration: float,
    h: float,
    method: str,
    constants: Mapping[str, float],
) -> float:
    steps = round(duration / h)
    if steps < 1 or abs(steps * h - duration) > 1e-9 * duration:
        raise FlowError(f"duration: expected a whole number of steps of {h}, got {duration}")
    given = {**constants, **_step_argument(equation, h, constants)}
    end = integrate(equation, start, [duration], method=method, rtol=3e-14, atol=1e-16, **given)[-1]
    is_momentum = isinstance(equation.rule, UpdateRule) and equation.rule.momentum != 0
    iterates = iterate(equation, start, steps, velocity=None, settled=is_momentum, **given)
    return float(np.abs(iterates[-1] - end).max())


def _step_argument(equation: Equation, h: float, constants: Mapping[str, float]) -> dict[str, float]:
    """``lr`` = h/(1−α), or ``step_size``."""
    rule = equation.rule
    if not isinstance(rule, UpdateRule):
        return {"step_size": h}
    if not isinstance(rule.lr, sp.Symbol):
        raise FlowError(f"equation: expected a rule with a symbol for lr, whose value is varied, got {rule.lr}")
    known = {s: constants[argument_name(s)] for s in rule.gradient_gain.free_symbols if argument_name(s) in constants}
    return {argument_name(rule.lr): h / float(rule.gradient_gain.subs(known))}


def _warn_outside(equation: Equation, path: Floats, values: Mapping[sp.Symbol, float]) -> None:
    """Compare h·λ with the range of validity, λ the largest modulus of an eigenvalue of f' at points of the path."""
    flow = flow_of(equation)
    if not isinstance(flow, ConcreteEquation):
        return  # exact where it exists, or made for oscillations
    size, limit = number(flow.step, values), float(sp.N(flow.validity.limit.subs(values)))
    jacobian = sp.Matrix(flow.original).jacobian(sp.Matrix(flow.variables))
    slopes = compiled(list(jacobian), flow.variables, values)
    chosen = path[np.unique(np.linspace(0, len(path) - 1, LOOKED_AT).astype(int))]
    matrices = np.array([slopes(theta).reshape(jacobian.shape) for theta in chosen])
    largest = float(np.abs(np.linalg.eigvals(matrices)).max())
    if size * largest >= limit:
        warnings.warn(
            f"h*lambda_max = {size * largest:.3g} is not below {limit:.3g}: the series of the modified equation does not "
            "converge there, and its flow need not be near the iterates",
            OutsideValidityWarning,
            stacklevel=3,
        )
