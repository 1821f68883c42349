"""Digits of the kernels, against fifty digits of mpmath, for every damping, to a million units of time.

A charge that swings passes through 0, where no relative error is bounded. Two measures are used instead. *Of the envelope*:
the error over A = |C| + |aS| + |bS|, a = γt, b = ωt, the size that the oscillation has at that time. *In roundings*: the
error over ε times what a rounding of γ, ω and t alone makes, |Q| + |γ ∂Q/∂γ| + |ω ∂Q/∂ω| + |t ∂Q/∂t|, which is about
ε(a + b)A: of a phase of 10⁶ radians, known to 2⁻⁵², nobody knows more than ten digits.
"""

import mpmath
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from numerics import compile_kernel
from tests.derive.known_systems import solved

EPS = 2.0**-52
TIMES = np.concatenate([[0.0], np.logspace(-6, 6, 13)])
KERNEL = compile_kernel(solved("translation", "momentum"))
RATIOS = (0.0, 1e-8, 1e-3, 0.3, 1.0, 3.0, 1e3, *(1 + sign * 10.0**-k for k in (2, 5, 8, 12, 15) for sign in (1, -1)))
"""ω/γ: λ = 0, over-damped, critical and as close to it as 1e-15, under-damped."""
HYPER = [
    {"lr": lr, "momentum": beta, "weight_decay": (ratio * (1 - beta) / (lr * (1 + beta))) ** 2 * lr * (1 + beta) / 2}
    for lr in (1e-4, 0.1, 10.0)
    for beta in (0.0, 0.5, 0.9, 1 - 1e-6)
    for ratio in RATIOS
]


def exact(t, lr, momentum, weight_decay):
    """(Q from 1 at rest, its envelope, what rounding γ, ω and t makes of it over ε, a + b)."""
    with mpmath.workdps(50):
        t, lr, momentum, weight_decay = map(mpmath.mpf, (t, lr, momentum, weight_decay))
        a, b2 = t * (1 - momentum) / (lr * (1 + momentum)), t**2 * 2 * weight_decay / (lr * (1 + momentum))
        z, b = a * a - b2, mpmath.sqrt(b2)
        root, decay = mpmath.sqrt(mpmath.mpc(z)), mpmath.exp(-a)
        c = mpmath.re(decay * mpmath.cosh(root))
        s = mpmath.re(decay * (mpmath.sinh(root) / root if z else 1))
        slope = (c - s) / z if abs(z) > mpmath.mpf(10) ** -30 else decay / 3
        rounding = abs(c + a * s) + abs(a * b2 * slope) + abs(b2 * (s + a * slope)) + abs(b2 * s)
        return c + a * s, abs(c) + abs(a * s) + abs(b * s), rounding, a + b


def errors(dtype):
    """(error, envelope, rounding, a + b) at every point of the grid where the envelope does not underflow."""
    rows = []
    for hyper in HYPER:
        times = TIMES.astype(dtype)
        got = KERNEL(times, initial_charge=1.0, **hyper)
        assert got.dtype == dtype
        for t, value in zip(times.tolist(), got.tolist(), strict=True):
            charge, envelope, rounding, phase = exact(t, **hyper)
            rows.append([abs(mpmath.mpf(value) - charge), envelope, rounding, phase])
    table = np.array([[float(x) for x in row] for row in rows])
    return table[table[:, 1] > (1e-290 if dtype == np.float64 else 1e-36)].T


def test_the_error_in_double_precision_is_a_few_roundings_of_the_arguments_everywhere():
    error, _, rounding, _ = errors(np.float64)
    assert (error / (EPS * rounding)).max() < 4


def test_the_error_in_double_precision_is_1e_minus_13_of_the_envelope_up_to_phases_of_a_hundred():
    error, envelope, _, phase = errors(np.float64)
    near = phase < 100
    assert near.mean() > 0.4
    assert (error / envelope)[near].max() < 1e-13


def test_the_error_in_single_precision_is_1e_minus_5_of_the_envelope_everywhere():
    error, envelope, _, phase = errors(np.float32)
    assert (error / envelope).max() < 1e-6
    assert phase.max() > 1e8


def test_a_phase_in_single_precision_would_not_pass():
    hyper = {"lr": 0.1, "momentum": 1 - 1e-6, "weight_decay": 0.1}
    charge, envelope, _, _ = exact(1e4, **hyper)
    single = np.float32(1e4) * np.float32(np.sqrt(0.2 / (0.1 * (2 - 1e-6))))
    assert abs(float(np.cos(single) * np.exp(-1e4 * 1e-6 / 0.2)) - charge) / envelope > 1e-5


magnitudes = st.floats(-8, 4).map(lambda x: 10.0**x)


@given(
    st.one_of(st.just(0.0), st.floats(-6, 6).map(lambda x: 10.0**x)),
    magnitudes,
    st.one_of(st.just(0.0), st.floats(0, 1 - 1e-12)),
    st.one_of(st.just(0.0), magnitudes),
    st.sampled_from([np.float32, np.float64]),
)
def test_nothing_is_nan_nothing_overflows_and_nothing_warns(t, lr, momentum, weight_decay, dtype):
    with np.errstate(divide="raise", over="raise", invalid="raise"):
        got = KERNEL(dtype(t), initial_charge=1.0, lr=lr, momentum=momentum, weight_decay=weight_decay)
        green = KERNEL.green(dtype(t), lr=lr, momentum=momentum, weight_decay=weight_decay)
    assert abs(got) <= 1 + 1e-6
    assert np.isfinite(green)


# Derivatives


def charge_at(t, lr, momentum, weight_decay):
    gamma, squared = (1 - momentum) / (lr * (1 + momentum)), 2 * weight_decay / (lr * (1 + momentum))
    root = mpmath.sqrt(mpmath.mpc(gamma**2 - squared))
    odd = mpmath.sinh(root * t) / root if root else t
    return mpmath.re(mpmath.exp(-gamma * t) * (mpmath.cosh(root * t) + gamma * odd))


@pytest.mark.parametrize("ratio", [0.3, 1 - 1e-12, 1.0, 1 + 1e-15, 1 + 1e-5, 3.0, 30.0])
@pytest.mark.parametrize("t", [1e-3, 1.0, 20.0, 1e3])
def test_gradients_are_the_derivatives_in_fifty_digits(ratio, t):
    """By t, η, β and λ, each times its argument and relative to the largest of them and the envelope."""
    torch = pytest.importorskip("torch")
    lr, beta = 0.4, 0.25
    values = {"t": t, "lr": lr, "momentum": beta, "weight_decay": (ratio * 0.75 / 0.5) ** 2 * 0.5 / 2}
    tensors = {name: torch.tensor(value, dtype=torch.float64, requires_grad=True) for name, value in values.items()}
    k = compile_kernel(solved("translation", "momentum"), "torch")
    found = torch.autograd.grad(k(initial_charge=1.0, **tensors), tuple(tensors.values()))
    point = tuple(map(mpmath.mpf, values.values()))
    with mpmath.workdps(80):
        orders = [tuple(int(i == j) for j in range(4)) for i in range(4)]
        expected = [mpmath.diff(charge_at, point, order) * x for order, x in zip(orders, point, strict=True)]
    _, envelope, rounding, phase = map(float, exact(**values))
    got = [float(slope) * x for slope, x in zip(found, values.values(), strict=True)]
    size = max(envelope, rounding, *(abs(float(x)) for x in expected))
    assert np.allclose(got, [float(x) for x in expected], rtol=0, atol=2e-14 * max(1, phase) * size)
