"""The entire functions on tensors: the same values, and derivatives that pass through critical damping."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from numerics.special import damped_cosh, damped_sinhc  # noqa: E402
from tests.numerics.test_special import GRID, fifty_digits  # noqa: E402

FUNCTIONS = [damped_cosh, damped_sinhc]
THROUGH = [(1.0, 1.0), (1.0, 1.0 + 1e-9), (1.0, 1.0 - 1e-9), (1.25, 0.75), (0.75, 1.25), (3.0, 1.0), (0.5, 4.0), (0.0, 2.0)]
"""Points on both sides of critical damping, at it, and at |z| = 1 where the series ends."""


def tensor(values, **options):
    return torch.tensor(values, dtype=torch.float64, **options)


def gradients(function, a, b):
    a, b = tensor(a, requires_grad=True), tensor(b, requires_grad=True)
    return torch.autograd.grad(function(a, b).sum(), (a, b))


@pytest.mark.parametrize("function", FUNCTIONS)
def test_tensors_give_the_values_of_arrays(function):
    ours, theirs = function(*map(tensor, GRID)).numpy(), function(*GRID)
    scale = np.array([float(fifty_digits(a, b)[2 + FUNCTIONS.index(function)]) for a, b in GRID.T])
    assert np.all(np.abs(ours - theirs) <= 1e-13 * np.abs(theirs) + 4e-16 * scale)


def slopes(a, b):
    """((∂C/∂a, ∂C/∂b), (∂S/∂a, ∂S/∂b)) from fifty digits of C, S and (C − S)/z."""
    c, s, _, _ = fifty_digits(a, b)
    z = (a - b) * (a + b)
    quotient = (c - s) / z if z else c / 3
    return (a * s - c, -b * s), (a * quotient - s, -b * quotient)


@pytest.mark.parametrize("which", [0, 1])
@pytest.mark.parametrize(("a", "b"), [p for p in THROUGH if abs(p[0] - p[1]) != 1e-9])
def test_the_derivatives_are_the_known_ones_at_critical_damping_too(which, a, b):
    got = [float(slope) for slope in gradients(FUNCTIONS[which], a, b)]
    assert got == pytest.approx([float(slope) for slope in slopes(a, b)[which]], rel=1e-13, abs=1e-15)


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize(("a", "b"), THROUGH[:3])
def test_the_derivatives_are_continuous_through_critical_damping(function, a, b):
    assert [float(x) for x in gradients(function, a, b)] == pytest.approx(
        [float(x) for x in gradients(function, 1.0, 1.0)], abs=1e-8
    )


@pytest.mark.parametrize("function", FUNCTIONS)
def test_no_derivative_is_nan_or_infinite_up_to_a_hundred_thousand(function):
    assert all(torch.isfinite(slope).all() for slope in gradients(function, *GRID))


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize(("a", "b"), [p for p in THROUGH if p[0] > 0])
def test_first_and_second_derivatives_pass_torchs_own_check(function, a, b):
    arguments = tensor([a], requires_grad=True), tensor([b], requires_grad=True)
    assert torch.autograd.gradcheck(function, arguments)
    if abs(abs(a * a - b * b) - 1) > 1e-3:  # at |z| = 1 the check's own steps straddle the two branches
        assert torch.autograd.gradgradcheck(function, arguments)


def test_a_wrong_derivative_would_be_seen():
    class Wrong(torch.autograd.Function):
        @staticmethod
        def forward(ctx, a, b):
            return damped_cosh(a, b)

        @staticmethod
        def backward(ctx, slope):
            return slope, slope

    arguments = tensor([1.0], requires_grad=True), tensor([1.0], requires_grad=True)
    assert not torch.autograd.gradcheck(Wrong.apply, arguments, raise_exception=False)


def test_type_and_shape_are_those_of_the_tensors():
    a, b = torch.rand(5, 1), torch.rand(4)
    assert damped_cosh(a, b).shape == (5, 4)
    assert damped_cosh(a, b).dtype == torch.float32
    assert damped_cosh(a.double(), 0.5).dtype == torch.float64
    assert isinstance(damped_sinhc(0.5, b), torch.Tensor)


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_tensor_of_integers_is_a_tensor_of_numbers(function):
    assert float(function(torch.tensor([1]), 0.5)) == pytest.approx(float(function(1.0, 0.5)), rel=1e-6)
