"""One step of a law as matrices, x_{n+1} = A_n x_n + B_n f_n: exact for the law, whatever the damping and however stiff.

A discrete law has A and B as they stand. A continuous one is solved over the step in closed form by the entire functions
of :mod:`numerics.special`; what is left to choose is how the drive, known at one instant of each step, is integrated:

============  =====  ==================================================================================================
quadrature    order  the drive over [t_n, t_{n+1}]
============  =====  ==================================================================================================
``riemann``   1      an impulse h f_n at t_n: the paper's Riemann sum of G(t_n − t_i) f_i h (Kunin et al. 2021, App. J)
``constant``  1      f_n held: exact where the drive is piecewise constant (exponential Euler)
``linear``    2      the line through f_{n−1} and f_n, extended: Cox & Matthews 2002, ETD2; f_n held at the first step
``matched``   –      that of the law: ``constant`` at order 1, since what such a law drops is as large, ``linear`` beyond
============  =====  ==================================================================================================
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from math import factorial
from typing import Literal, get_args

import numpy as np
import sympy as sp

from derive import DiscreteLaw, Law
from derive.symbols import ARGUMENT_NAMES
from numerics.special import damped_cosh, damped_sinhc, squared_arccosh1p

Floats = np.ndarray
Quadrature = Literal["riemann", "constant", "linear", "matched"]


class PropagationError(ValueError):
    """Arrays that do not describe a run of the law."""


@dataclass(frozen=True, eq=False)
class StepMatrices:
    """A and B of every step.

    Parameters
    ----------
    transition
        A, of shape ``(..., k, k)``; ``...`` is ``(steps,)``, or ``(1,)`` if all steps are alike, with ``neurons`` behind
        it where neurons have hyper-parameters of their own.
    gain
        B, of shape ``(..., k, drives)``.
    """

    transition: Floats
    gain: Floats

    @property
    def per_neuron(self) -> bool:
        """Whether neurons differ."""
        return self.transition.ndim == 4

    @property
    def alike(self) -> bool:
        """Whether one step stands for all, see :meth:`over`."""
        return self.transition.strides[0] == 0

    def between(self, first: int, last: int) -> StepMatrices:
        """Those of some steps."""
        return StepMatrices(self.transition[first:last], self.gain[first:last])

    def over(self, steps: int) -> StepMatrices:
        """One a step, where one may stand for all; a view."""
        broadcast = (np.broadcast_to(m, (steps, *m.shape[1:])) for m in (self.transition, self.gain))
        return StepMatrices(*broadcast)

    def choose(self, columns: list[int]) -> StepMatrices:
        """With these drives alone."""
        return StepMatrices(self.transition, self.gain[..., columns])


def discrete_step(law: DiscreteLaw, table: Mapping[str, Floats], first: bool) -> StepMatrices:
    """A and B of a discrete law; ``first``: of a step that starts without velocity."""
    matrices = (law.first_transition, law.first_drive_matrix) if first else (law.transition, law.drive_matrix)
    return StepMatrices(*(_evaluated(matrix, table) for matrix in matrices))


def continuous_step(
    law: Law, table: Mapping[str, Floats], quadrature: Quadrature, previous_step_size: Floats | None
) -> StepMatrices:
    """A and B of a continuous law over steps of length ``table["step_size"]``.

    With the quadrature ``linear`` the drive of the step before is one more component of the state; it was sampled
    ``previous_step_size`` earlier than the first of these steps, None where there was none.
    """
    h = table["step_size"]
    if "lr" in table:  # where no time passes, any learning rate gives the same step of length 0
        table = {**table, "lr": np.where(h == 0, 1.0, table["lr"])}
    transition, responses, forcing = _oscillator(law, table, h) if law.is_oscillator else _relaxation(law, table, h)
    impulse, held, ramp = (response[..., None] * forcing[..., None, :] for response in responses)
    if quadrature == "riemann":
        return StepMatrices(transition, impulse)
    if quadrature == "constant":
        return StepMatrices(transition, held)
    ratio = _ratio_to_step_before(h, previous_step_size)[..., None, None]
    return _with_drive_before(transition, held + ratio * ramp, -ratio * ramp)


def resolved(quadrature: str, law: Law) -> Quadrature:
    """The quadrature by its name, ``matched`` put in terms of the others."""
    if quadrature not in get_args(Quadrature):
        raise PropagationError(f"quadrature: expected one of {get_args(Quadrature)}, got {quadrature!r}")
    if quadrature == "matched":
        return "constant" if law.order <= 1 else "linear"
    return quadrature  # pyright: ignore[reportReturnType]


def _with_drive_before(transition: Floats, gain: Floats, before: Floats) -> StepMatrices:
    """Carry the drives f_n along as the last components of the state, for the step after."""
    k, m = before.shape[-2:]
    larger = np.zeros((*transition.shape[:-2], k + m, k + m))
    larger[..., :k, :k], larger[..., :k, k:] = transition, before
    return StepMatrices(larger, np.concatenate([gain, np.broadcast_to(np.eye(m), (*gain.shape[:-2], m, m))], axis=-2))


def _ratio_to_step_before(h: Floats, previous: Floats | None) -> Floats:
    """h_n / h_{n−1}, and 0 where there is no step before: its drive is held."""
    before = np.concatenate([0 * h[:1] if previous is None else previous, h[:-1]])
    return np.divide(h, before, out=np.zeros_like(h), where=before > 0)


# Continuous laws over one step


def _relaxation(law: Law, table: Mapping[str, Floats], h: Floats) -> tuple[Floats, list[Floats], Floats]:
    """x' = −κx + f: (e^{−κh}, its responses to an impulse, a constant and a ramp, what a unit of each drive forces)."""
    rate, forcing = _value(law.stiffness / law.damping, table), _forcing(law, law.damping, table)
    decay = rate * h
    near = decay < 1
    one = np.where(decay == 0, 1.0, -np.expm1(-decay) / np.where(decay == 0, 1.0, decay))
    series = sum((-np.where(near, decay, 0)) ** j / factorial(j + 2) for j in range(18))
    two = np.where(near, series, (1 - one) / np.where(near, 1.0, decay))
    exponential = np.exp(-decay)
    return exponential[..., None, None], [h[..., None] * r[..., None] for r in (exponential, one, two)], forcing


def _oscillator(law: Law, table: Mapping[str, Floats], h: Floats) -> tuple[Floats, list[Floats], Floats]:
    """x'' + 2γx' + ω²x = f, state (x, x'), as :func:`_relaxation` has it."""
    gamma, squared, _ = law.normal_form
    gamma, squared, forcing = _value(gamma, table), _value(squared, table), _forcing(law, law.mass, table)
    # to all orders ω² is a difference of squares: without weight decay rounding may leave it just off 0
    squared = np.where(abs(squared) <= 8 * np.finfo(float).eps * gamma**2, 0.0, squared)
    if (gamma < 0).any() or (squared < 0).any():
        raise PropagationError("law: expected damping and stiffness of at least 0, got a negative one")
    transition = oscillator_propagator(gamma, squared, h)
    once, twice = response_integrals(gamma * h, squared * h**2)
    impulse = h[..., None] * transition[..., :, 1]
    held = np.stack([h**2 * once, transition[..., 0, 1]], axis=-1)
    ramp = np.stack([h**2 * twice, h * once], axis=-1)
    return transition, [impulse, held, ramp], forcing


def oscillator_propagator(gamma: Floats, omega_squared: Floats, h: Floats) -> Floats:
    """Φ(h) = e^{−γh} [[C + γS, S], [−ω²S, C − γS]], shape ``(..., 2, 2)``, C = cosh √z h, S = sinh(√z h)/√z, z = γ² − ω².

    It takes (x, x') of x'' + 2γx' + ω²x = 0 forward by the time h ≥ 0, so Φ(s + t) = Φ(s)Φ(t). Without damping and with
    ω = 1 it is a rotation:

    >>> oscillator_propagator(np.array(0.0), np.array(1.0), np.array(np.pi / 2)).round(15)
    array([[ 0.,  1.],
           [-1.,  0.]])
    """
    a, b2 = np.broadcast_arrays(gamma * h, omega_squared * h**2)
    c, s = damped_cosh(a, squared=b2), damped_sinhc(a, squared=b2)
    rows = [c + a * s, h * s], [-omega_squared * h * s, _velocity_kept(a, b2, c, s)]
    return np.stack([np.stack(np.broadcast_arrays(*row), axis=-1) for row in rows], axis=-2)


def _velocity_kept(a: Floats, b2: Floats, c: Floats, s: Floats) -> Floats:
    """C − aS, which cancels where damping is strong; there det Φ = e^{−2a} tells it from the other entries."""
    safe = (a * a > b2) & (c + a * s > 0)
    return np.where(safe, (np.exp(-2 * a) - b2 * s * s) / np.where(safe, c + a * s, 1.0), c - a * s)


def response_integrals(a: Floats, b_squared: Floats) -> tuple[Floats, Floats]:
    """(P₁, P₂) = (∫₀¹ s, ∫₀¹∫₀^τ s), s(τ) = τ S(aτ, bτ) the impulse response of x'' + 2ax' + b²x = f.

    The closed forms P₁ = (1 − C − aS)/b², P₂ = (1 − S − 2aP₁)/b² cancel where b is small. Both are entire, so a power
    series serves a short time, and a time is doubled by x(2τ) = Φ(τ)x(τ) + x(τ), where nothing cancels if over-damped.

    >>> one, two = response_integrals(np.array(0.0), np.array(0.0))  # s = τ: 1/2 and 1/6
    >>> print(one, 6 * two)
    0.5 1.0
    """
    a, b_squared = np.broadcast_arrays(np.asarray(a, float), np.asarray(b_squared, float))
    size = np.maximum(2 * a, np.sqrt(b_squared))
    halvings = np.ceil(np.log2(np.maximum(2 * size, 1.0)))
    short = 2.0**-halvings
    once, twice = _integral_series(a * short, b_squared * short**2)
    for level in range(int(halvings.max(initial=0))):
        growing = level < halvings
        doubled = _doubled(a * short, b_squared * short**2, once, twice)
        once, twice = np.where(growing, doubled[0], once), np.where(growing, doubled[1], twice)
        short = np.where(growing, 2 * short, short)
    return once, twice


def _integral_series(a: Floats, b_squared: Floats) -> tuple[Floats, Floats]:
    """Power series of P₁ and P₂ for 2a, b ≤ 1/2: s = Σ s_n/n!, s_{n+2} = −2a s_{n+1} − b² s_n, s_0 = 0, s_1 = 1."""
    before, term = np.zeros_like(a), np.ones_like(a)
    once, twice = np.zeros_like(a), np.zeros_like(a)
    for n in range(1, 17):
        once, twice = once + term / factorial(n + 1), twice + term / factorial(n + 2)
        before, term = term, -2 * a * term - b_squared * before
    return once, twice


def _doubled(a: Floats, b_squared: Floats, once: Floats, twice: Floats) -> tuple[Floats, Floats]:
    """P₁ and P₂ over twice the time, in units of that time."""
    c, s = damped_cosh(a, squared=b_squared), damped_sinhc(a, squared=b_squared)
    moved = c + a * s
    # ∫₀²s: at 1 the held drive has brought (P₁, s); ∫₀²∫s: the ramp has brought (P₂, P₁), and its height 1 is held on top
    return (once + moved * once + s * s) / 4, (moved * twice + s * once + once + twice) / 8


# SymPy -> arrays


def _forcing(law: Law, over: sp.Expr, table: Mapping[str, Floats]) -> Floats:
    """What a unit of each drive forces, shape ``(..., drives)``; ⟨g, X⟩ is the last.

    The equation of learning is projected on X, or on pX where it is of first order, and so is its gradient.
    """
    factors = list(law.drive_operators.values())
    if takes_breaking(law):
        factors.append(sp.Integer(-1 if law.is_oscillator else -law.symmetry.degree))
    row = sp.ImmutableMatrix(1, len(factors), [factor / over for factor in factors])
    return _evaluated(row, table)[..., 0, :]


def takes_breaking(law: Law) -> bool:
    """Whether ⟨g, X⟩ of a broken symmetry may drive the law: it is known how up to first order."""
    return law.order in (0, 1) and law.form != "slow flow"


def _evaluated(matrix: sp.ImmutableMatrix, table: Mapping[str, Floats]) -> Floats:
    """A SymPy matrix in the hyper-parameters: shape ``(..., *matrix.shape)``."""
    entries = [_value(entry, table) for entry in matrix]
    shape = next(iter(table.values())).shape if table else (1,)
    flat = np.stack(entries, axis=-1) if entries else np.zeros((*shape, 0))
    return flat.reshape(*flat.shape[:-1], *matrix.shape)


def _value(expr: sp.Expr, table: Mapping[str, Floats]) -> Floats:
    """An expression in the hyper-parameters, in the shape that they share."""
    names, function = _function(expr)
    shape = next(iter(table.values())).shape if table else (1,)
    return np.broadcast_to(np.asarray(function(*(table[name] for name in names)), float), shape)


@lru_cache(maxsize=512)
def _function(expr: sp.Expr) -> tuple[tuple[str, ...], Callable[..., Floats]]:
    """(names of its arguments, the function)."""
    symbols = sorted(expr.free_symbols, key=str)
    unknown = [symbol for symbol in symbols if symbol not in ARGUMENT_NAMES]
    if unknown:
        raise PropagationError(
            f"law: expected the symbols of derive.symbols, got {unknown}; put in numbers or those symbols"
        )
    return tuple(ARGUMENT_NAMES[symbol] for symbol in symbols), sp.lambdify(
        symbols, expr, [{"squared_arccosh1p": squared_arccosh1p}, "numpy"]
    )
