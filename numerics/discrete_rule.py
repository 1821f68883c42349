"""The discrete rule itself on a concrete loss or field."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import scipy.optimize
import sympy as sp

from derive import OscillatorEquation, RungeKutta, UpdateRule, discrete_manifold
from derive.symbols import step_size
from numerics.concrete_field import (
    Equation,
    Field,
    Floats,
    FlowError,
    compiled,
    flow_of,
    number,
    original,
    point,
    values_of,
)


def iterate(
    equation: Equation,
    start: Sequence[float] | Floats,
    steps: int,
    *,
    velocity: Sequence[float] | Floats | None = None,
    settled: bool = False,
    **constants: float,
) -> Floats:
    """The iterates θ_0 … θ_steps of ``equation.rule`` itself on the original field, shape ``(steps + 1, parameters)``.

    >>> from derive import modified_flow, sgd
    >>> x = sp.Symbol("x")
    >>> equation = modified_flow(sgd(weight_decay=False), loss=x**2 / 2)
    >>> iterate(equation, [1.0], 3, lr=0.5)[:, 0]
    array([1.   , 0.5  , 0.25 , 0.125])

    Parameters
    ----------
    velocity
        v_0 of a run that goes on; without it the first step is a first step, as in ``torch.optim.SGD``.
    settled
        Start on the discrete manifold instead: v_0 = v(θ_0), to the order of the equation. Momentum only.
    **constants
        As for :func:`integrate`.

    Raises
    ------
    FlowError
        As for :func:`integrate`, and for multistep rules other than ``sgd(...)``, whose first steps are not given.
    """
    if not isinstance(steps, (int, np.integer)) or isinstance(steps, bool) or steps < 0:
        raise FlowError(f"steps: expected a number of steps, 0 or more, got {steps!r}")
    values = values_of(flow_of(equation), constants)
    names = _parameters(equation)
    field, theta = compiled(original(equation), names, values), point("start", start, len(names))
    rule = equation.rule
    with np.errstate(over="ignore", invalid="ignore"):
        if isinstance(rule, UpdateRule):
            v = _first_velocity(equation, theta, velocity, settled, values)
            path = _descend(rule, field, theta, v, int(steps), values)
        elif isinstance(rule, RungeKutta) and velocity is None and not settled:
            path = _runge_kutta(rule, field, theta, int(steps), values[step_size])
        else:
            raise FlowError(
                f"equation: expected a rule sgd(...), or a Runge–Kutta method without velocity, got {rule.name!r}"
            )
    if not np.isfinite(path).all():
        raise FlowError("equation: expected iterates that stay finite, got some that overflow; take a smaller step")
    return path


def _parameters(equation: Equation) -> tuple[sp.Symbol, ...]:
    """θ, of an oscillator without its velocities."""
    return equation.positions if isinstance(equation, OscillatorEquation) else equation.variables


def _descend(
    rule: UpdateRule, field: Field, theta: Floats, velocity: Floats | None, steps: int, values: Mapping[sp.Symbol, float]
) -> Floats:
    """torch.optim.SGD: v ← βv + aG, d = v (Nesterov: G + βv), θ ← θ − ηd, with G = −f."""
    named = ("lr", "momentum", "gradient_gain", "first_gradient_gain")
    lr, beta, gain, first_gain = (number(getattr(rule, name), values) for name in named)
    path = [theta]
    for n in range(steps):
        force = field(theta)
        first = n == 0 and velocity is None
        velocity = -first_gain * force if first else beta * velocity - gain * force  # type: ignore[operator]
        theta = theta - lr * (beta * velocity - force if rule.nesterov else velocity)
        path.append(theta)
    return np.array(path)


def _runge_kutta(method: RungeKutta, field: Field, theta: Floats, steps: int, h: float) -> Floats:
    A, b = np.array(method.A, dtype=float), np.array(method.b, dtype=float)
    path = [theta]
    for _ in range(steps):
        slopes = np.tile(field(theta), (method.stages, 1))
        if method.is_explicit:
            for i in range(method.stages):
                slopes[i] = field(theta + h * A[i] @ slopes)
        else:
            slopes = _implicit_slopes(A, field, theta, h, slopes)
        theta = theta + h * b @ slopes
        path.append(theta)
    return np.array(path)


def _implicit_slopes(A: Floats, field: Field, theta: Floats, h: float, guess: Floats) -> Floats:
    def missing(flat: Floats) -> Floats:
        slopes = flat.reshape(guess.shape)
        return np.array([k - field(theta + h * row @ slopes) for k, row in zip(slopes, A, strict=True)]).ravel()

    solved, info, success, message = scipy.optimize.fsolve(missing, guess.ravel(), xtol=1e-14, full_output=True)
    if success != 1 and np.abs(info["fvec"]).max() > 1e-12 * (1 + np.abs(solved).max()):
        raise FlowError(f"equation: expected implicit stages that can be solved, got: {message}; take a smaller step")
    return solved.reshape(guess.shape)


def _first_velocity(
    equation: Equation, theta: Floats, velocity: Sequence[float] | Floats | None, settled: bool, values: Mapping
) -> Floats | None:
    if velocity is not None and settled:
        raise FlowError("settled: expected a velocity or settled=True, got both")
    if not settled:
        return None if velocity is None else point("velocity", velocity, len(theta))
    rule, order = equation.rule, equation.order
    if not isinstance(rule, UpdateRule) or rule.momentum == 0:
        return None
    if order is sp.oo:
        raise FlowError("settled: expected an equation of finite order, got oo; pass velocity")
    names = _parameters(equation)
    force = zip(names, original(equation), strict=True)
    field = {x: f + rule.weight_decay * x for x, f in force}
    return compiled(discrete_manifold(rule, int(order)).on(field=field), names, values)(theta)
