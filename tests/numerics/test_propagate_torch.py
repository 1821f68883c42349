"""The recurrence on tensors: the values of numpy, on whatever device there is, with gradients."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from numerics import PropagationError, advance, propagate, start  # noqa: E402
from tests.numerics.test_streaming import CONTINUOUS, DISCRETE, KEPT, KNOWN, NEURONS, STEPS, cosine, forcing  # noqa: E402

DEVICES = [
    "cpu",
    "cpu, with gradients",
    pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")),
]
CASES = {"discrete": (DISCRETE, "direction", {}), "continuous": (CONTINUOUS, "velocity", {"step_size": 0.1})}


def on(device, values, dtype=torch.float64):
    """A tensor; one that a gradient is asked of goes the way of a GPU's."""
    place, _, gradients = device.partition(", ")
    return torch.tensor(values, device=place).to(dtype).requires_grad_(bool(gradients) and dtype.is_floating_point)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("keep", KEPT.values(), ids=KEPT)
@pytest.mark.parametrize("case", CASES)
def test_tensors_give_the_values_of_arrays(device, keep, case):
    law, form, more = CASES[case]
    known = KNOWN | {"lr": cosine() + 0.01}
    ours = propagate(law, np.ones(NEURONS), {form: forcing()}, keep=keep, **known, **more)
    samples = on(device, forcing())
    theirs = propagate(law, np.ones(NEURONS), {form: samples}, keep=keep, **known, **more)
    assert theirs.device == samples.device
    assert theirs.dtype == torch.float64
    assert np.allclose(theirs.detach().cpu().numpy(), ours, rtol=1e-12)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.int32])
@pytest.mark.parametrize("keep", [None, [STEPS]], ids=["all", "few"])
def test_types_of_tensors_are_numbers_too(device, dtype, keep):
    samples = on(device, 4 * forcing(), dtype)
    got = propagate(DISCRETE, np.ones(NEURONS), {"direction": samples}, keep=keep, **KNOWN)
    exact = propagate(DISCRETE, np.ones(NEURONS), {"direction": samples.detach().cpu().double().numpy()}, keep=keep, **KNOWN)
    assert np.allclose(got.detach().cpu().numpy(), exact, rtol=1e-6)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("keep", [None, [1, 4096, 4097, 9000]], ids=["all", "few"])
def test_a_run_longer_than_a_span_has_no_seams(device, keep):
    samples = forcing(9000, 2)
    ours, theirs = (
        propagate(DISCRETE, np.ones(2), {"direction": x}, keep=keep, **KNOWN) for x in (samples, on(device, samples))
    )
    assert np.allclose(theirs.detach().cpu().numpy(), ours, rtol=1e-12)


def test_pieces_make_the_whole():
    samples = torch.tensor(forcing())
    state = start(DISCRETE, torch.ones(NEURONS))
    for piece in samples.split([100, 1, 599]):
        _, state = advance(DISCRETE, state, {"direction": piece}, keep=[], **KNOWN)
    whole = propagate(DISCRETE, torch.ones(NEURONS), {"direction": samples}, **KNOWN)
    assert torch.allclose(state.charge, whole[-1], rtol=1e-13)


@pytest.mark.parametrize("keep", [None, [3, 20]], ids=["all", "few"])
def test_gradients_reach_the_drive_and_the_start(keep):
    def charge(initial, samples):
        return propagate(DISCRETE, initial, {"direction": samples}, keep=keep, **KNOWN)

    arguments = (
        torch.rand(2, dtype=torch.float64, requires_grad=True),
        torch.rand(20, 2, dtype=torch.float64, requires_grad=True),
    )
    assert torch.autograd.gradcheck(charge, arguments)


@pytest.mark.parametrize("keep", [None, [STEPS]], ids=["all", "few"])
@pytest.mark.parametrize("place", [0, 350, STEPS - 1])
@pytest.mark.parametrize("device", DEVICES)
def test_one_bad_sample_is_found(keep, place, device):
    spoilt = forcing()
    spoilt[place, 2] = np.nan
    samples = on(device, spoilt)
    with pytest.raises(PropagationError, match="direction: expected finite numbers"):
        propagate(DISCRETE, np.ones(NEURONS), {"direction": samples}, keep=keep, **KNOWN)


def test_what_tensors_cannot_do_is_refused():
    samples = torch.tensor(forcing())
    own = KNOWN | {"lr": np.linspace(0.1, 0.2, NEURONS)[None]}
    with pytest.raises(PropagationError, match="drives: expected tensors"):
        propagate(DISCRETE, torch.ones(NEURONS), {"direction": forcing()}, **KNOWN)
    with pytest.raises(PropagationError, match="expected the same for all neurons with tensors"):
        propagate(DISCRETE, np.ones(NEURONS), {"direction": samples.clone().requires_grad_()}, **own)
    with pytest.raises(PropagationError, match="drives: expected arrays of one library"):
        propagate(DISCRETE, np.ones(NEURONS), {"direction": samples, "breaking": forcing()}, **KNOWN)
    with pytest.raises(PropagationError, match="direction: expected real numbers"):
        propagate(DISCRETE, np.ones(NEURONS), {"direction": samples.to(torch.complex128)}, **KNOWN)
    with pytest.raises(PropagationError, match="lr: expected numbers, got a tensor"):
        propagate(DISCRETE, np.ones(NEURONS), {"direction": samples}, **KNOWN | {"lr": torch.tensor(0.1)})
