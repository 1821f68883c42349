"""Every symbol of the theory, with its assumptions, once.

============  =================  ==========================================================  ==========
symbol        argument name      meaning                                                     unit
============  =================  ==========================================================  ==========
``η``         ``lr``             learning rate                                               time / step
``λ``         ``weight_decay``   L2 constant: the loss trained on is L + λ|θ|²/2             1 / time
``β``         ``momentum``       share of the velocity kept at a step, 0 ≤ β < 1             –
``α``         ``dampening``      share of the gradient that momentum drops, 0 ≤ α < 1        –
``t``, ``τ``  ``t``              training time, t = Σ h_n, h = η(1−α); never ``lr*step``     time
``s``         –                  parameter of a one-parameter group                          –
``E``         –                  shift by one step: E x(t) = x(t + h) = e^{hD} x(t)          –
============  =================  ==========================================================  ==========

One unit of time is what gradient flow θ' = −∇L takes to move the parameters by one unit of gradient.
"""

from __future__ import annotations

from types import MappingProxyType

import sympy as sp

lr = sp.Symbol("eta", positive=True)
weight_decay = sp.Symbol("lambda", nonnegative=True)
momentum = sp.Symbol("beta", nonnegative=True)
dampening = sp.Symbol("alpha", nonnegative=True)

time = sp.Symbol("t", nonnegative=True)
past = sp.Symbol("tau", nonnegative=True)
derivative = sp.Symbol("D", commutative=True)
shift = sp.Symbol("E", nonzero=True)
group_parameter = sp.Symbol("s", positive=True)
step_size = sp.Symbol("h", positive=True)
"""h = η(1−α) while a series in it is taken, and the step of a method that has no learning rate."""

rate = sp.Symbol("kappa", nonnegative=True)
"""κ of a relaxation e^{−κt}."""
damping_rate = sp.Symbol("gamma", positive=True)
"""γ of x'' + 2γx' + ω²x = f."""
frequency = sp.Symbol("omega", nonnegative=True)
"""ω of the same; the damping ratio is γ/ω."""

step = sp.Symbol("n", integer=True, nonnegative=True)
initial_charge = sp.Symbol("Q_0", real=True)
initial_rate = sp.Symbol("Q'_0", real=True)

charge = sp.Function("Q", real=True)
Q = charge(time)
"""The charge as a function of training time."""
gradient_form = sp.Function("q", real=True)
"""q(t) = ⟨g, g⟩_M, the drive of a plain SGD charge: |g_A|² (scale), |g_A1|² − |g_A2|² (rescale)."""
velocity_form = sp.Function("k", real=True)
"""k(t) = ⟨θ', θ'⟩_M, the drive of a momentum charge: |θ_A'|² (scale), |θ_A1'|² − |θ_A2'|² (rescale)."""
overlap_form = sp.Function("o", real=True)
"""o(t) = ⟨d, v⟩_M of a step's direction and velocity, which Nesterov's laws beyond first order have besides k(t)."""

ARGUMENT_NAMES = MappingProxyType(
    {
        lr: "lr",
        weight_decay: "weight_decay",
        momentum: "momentum",
        dampening: "dampening",
        time: "t",
        initial_charge: "initial_charge",
        initial_rate: "initial_rate",
    }
)
"""Symbol -> the name under which kernels, the command line and ``torch.optim.SGD`` take its value."""


def argument_names(expr: sp.Expr) -> tuple[str, ...]:
    """Names of the hyper-parameters in an expression, in the order of :data:`ARGUMENT_NAMES`.

    >>> argument_names(momentum * lr + time)
    ('lr', 'momentum')
    """
    hyper = (lr, weight_decay, momentum, dampening)
    return tuple(ARGUMENT_NAMES[symbol] for symbol in hyper if symbol in expr.free_symbols)


FORM_NAMES = MappingProxyType({gradient_form: "gradient", velocity_form: "velocity", overlap_form: "overlap"})
"""Drive -> the name under which :func:`numerics.propagate` takes its samples."""
