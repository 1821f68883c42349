"""Generated torch kernels: the values of numpy, and gradients that pass through critical damping."""

import math

import mpmath
import numpy as np
import pytest

torch = pytest.importorskip("torch")

from numerics import KernelError, compile_kernel  # noqa: E402
from tests.derive.known_systems import RULES, SYMMETRIES, solved  # noqa: E402
from tests.numerics.test_kernel import CRITICAL, TIMES, VALUES, taken  # noqa: E402


def pair(symmetry, rule):
    return [compile_kernel(solved(symmetry, rule), backend) for backend in ("numpy", "torch")]


def tensors(values, **options):
    return {name: torch.tensor(value, dtype=torch.float64, **options) for name, value in values.items()}


TORCH_TIMES = torch.tensor(TIMES)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("symmetry", SYMMETRIES)
def test_both_backends_give_the_same_numbers(symmetry, rule):
    ours, theirs = pair(symmetry, rule)
    for part in ("homogeneous", "green"):
        functions = [k if part == "homogeneous" else k.green for k in (ours, theirs)]
        values = taken(ours.arguments(part))
        expected, got = functions[0](TIMES, **values), functions[1](TORCH_TIMES, **tensors(values)).numpy()
        assert got == pytest.approx(expected, rel=1e-13, abs=1e-300)


def test_the_formulas_differ_in_their_library_alone():
    ours, theirs = (k.source.partition("# The entire functions")[0] for k in pair("scale", "dampening"))
    assert ours.replace("import numpy as np", "import torch").replace("np.", "torch.") == theirs
    assert "def green" in theirs


def slow_formula(time, lr, momentum, weight_decay):
    """Q of a translation from 1 at rest, as a complex formula in mpmath that is differentiated by its own means."""
    gamma, squared = (1 - momentum) / (lr * (1 + momentum)), 2 * weight_decay / (lr * (1 + momentum))
    root = mpmath.sqrt(mpmath.mpc(gamma**2 - squared))
    odd = mpmath.sinh(root * time) / root if root else time
    return mpmath.re(mpmath.exp(-gamma * time) * (mpmath.cosh(root * time) + gamma * odd))


def gradients_at(time, hyper):
    arguments = tensors(hyper, requires_grad=True)
    k = compile_kernel(solved("translation", "momentum"), "torch")
    value = k(torch.tensor(time, dtype=torch.float64), initial_charge=1.0, **arguments)
    return [float(g) for g in torch.autograd.grad(value, [arguments[name] for name in ("lr", "momentum", "weight_decay")])]


NEAR = {
    "critical": {},
    "just over": {"weight_decay": 0.5 * (1 - 1e-10)},
    "just under": {"weight_decay": 0.5 * (1 + 1e-10)},
    "over": {"weight_decay": 0.1},
    "under": {"weight_decay": 8.0},
}


@pytest.mark.parametrize("change", NEAR.values(), ids=NEAR)
@pytest.mark.parametrize("time", [0.5, 3.0])
def test_gradients_are_the_derivatives_of_the_formula_in_every_regime(change, time):
    hyper = CRITICAL | change
    with mpmath.workdps(60):
        point = tuple(mpmath.mpf(hyper[name]) for name in ("lr", "momentum", "weight_decay"))
        orders = [(1, 0, 0), (0, 1, 0), (0, 0, 1)]
        expected = [float(mpmath.diff(lambda *x: slow_formula(time, *x), point, order)) for order in orders]
    assert gradients_at(time, hyper) == pytest.approx(expected, rel=1e-8)


@pytest.mark.parametrize("ratio", [0.1, 1.0, 1 + 1e-12, 30.0])
@pytest.mark.parametrize("time", [1e-6, 1.0, 1e3, 1e5])
def test_gradients_are_finite_up_to_a_hundred_thousand_damping_times(time, ratio):
    assert all(map(math.isfinite, gradients_at(time, CRITICAL | {"weight_decay": 0.5 * ratio**2})))


def test_without_weight_decay_the_gradients_are_the_derivatives_too():
    """ω = 0, where √ has none; without weight decay a charge at rest stays, whatever η and β are."""
    with mpmath.workdps(60):
        point = (mpmath.mpf(1), mpmath.mpf(0), mpmath.mpf(0))
        expected = float(mpmath.diff(lambda *x: slow_formula(2, *x), point, (0, 0, 1)))
    assert gradients_at(2.0, CRITICAL | {"weight_decay": 0.0}) == pytest.approx([0, 0, expected], rel=1e-8, abs=1e-12)


@pytest.mark.parametrize("part", ["homogeneous", "green"])
@pytest.mark.parametrize("ratio", [0.5, 1.0, 2.0])
def test_torchs_own_check_agrees(part, ratio):
    k = compile_kernel(solved("scale", "momentum"), "torch")
    names = k.arguments(part)
    values = tensors(
        taken(names, VALUES | CRITICAL | {"weight_decay": 0.25 * ratio**2, "momentum": 0.25}), requires_grad=True
    )
    times = torch.tensor([0.1, 0.7, 4.0], dtype=torch.float64, requires_grad=True)
    function = k if part == "homogeneous" else k.green
    assert torch.autograd.gradcheck(lambda t, *x: function(t, **dict(zip(names, x, strict=True))), (times, *values.values()))


def test_type_and_shape_follow_the_times():
    k = compile_kernel(solved("scale", "plain"), "torch")
    values = taken(k.arguments())
    assert k(TORCH_TIMES.float(), **values).dtype == torch.float32
    assert k(torch.tensor([1, 2]), **values).dtype == torch.float64
    assert k(TORCH_TIMES[:, None], **values | {"initial_charge": torch.ones(3)}).shape == (5, 3)
    assert k(TORCH_TIMES, **values | {"initial_charge": np.ones(5)}).dtype == torch.float64


# Refusals


def test_arrays_of_the_other_library_are_refused_with_a_remedy():
    ours, theirs = pair("scale", "plain")
    values = taken(ours.arguments())
    with pytest.raises(KernelError, match="expected numpy arrays, got torch; compile with backend='torch'"):
        ours(TORCH_TIMES, **values)
    with pytest.raises(KernelError, match="expected torch arrays, got numpy; compile with backend='numpy'"):
        theirs(TIMES, **values)
    with pytest.raises(KernelError, match="expected numpy arrays, got torch"):
        ours(TIMES, **values | {"initial_charge": torch.ones(1)})


def test_a_number_for_a_time_is_refused_or_taken_where_the_arguments_are_tensors():
    _, theirs = pair("scale", "momentum")
    values = tensors(taken(theirs.arguments()))
    with pytest.raises(KernelError, match="t: expected torch arrays"):
        theirs(1.0, **values)


def test_bad_tensors_are_refused_as_bad_arrays_are():
    _, k = pair("scale", "plain")
    values = taken(k.arguments())
    with pytest.raises(KernelError, match="t: expected times from 0 on"):
        k(-TORCH_TIMES, **values)
    with pytest.raises(KernelError, match="weight_decay: expected finite numbers"):
        k(TORCH_TIMES, **values | {"weight_decay": torch.tensor(math.nan, requires_grad=True)})
