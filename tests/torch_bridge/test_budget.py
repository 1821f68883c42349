"""Under any optimizer the parts of a budget add up to the change of every charge, and are what they are called."""

import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from tests.torch_bridge.small_network import network, sgd, train  # noqa: E402
from torch_bridge.budget import Budget  # noqa: E402
from torch_bridge.recorder import Recorder, RecordingError  # noqa: E402
from torch_bridge.symmetry_map import SymmetryMap  # noqa: E402

OPTIMIZERS = {
    "AdamW": lambda p: torch.optim.AdamW(p, lr=0.01, weight_decay=0.1),
    "AdamW, amsgrad": lambda p: torch.optim.AdamW(p, lr=0.01, weight_decay=0.1, amsgrad=True),
    "Adam": lambda p: torch.optim.Adam(p, lr=0.01, weight_decay=0.1),
    "RMSprop": lambda p: torch.optim.RMSprop(p, lr=0.01, momentum=0.5),
    "Rprop": lambda p: torch.optim.Rprop(p, lr=0.01),
    "SGD": lambda p: torch.optim.SGD(p, lr=0.1, weight_decay=0.1),
    "momentum": lambda p: torch.optim.SGD(p, lr=0.1, weight_decay=0.1, momentum=0.9),
}


def kept(make, steps=30, dtype=torch.float64):
    symmetries = network(dtype)
    optimizer = make(symmetries.model.parameters())
    with Budget(optimizer, symmetries) as budget:
        train(symmetries.model, optimizer, steps)
    return budget


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_the_parts_add_up_to_the_change_of_every_charge(name):
    budget = kept(OPTIMIZERS[name])
    assert budget.steps == 30
    for group in budget.groups:
        assert group.residual <= 1e-12
        assert float((group.end - group.start).abs().max()) > 1e-9 or group.group.kind == "shift"


def test_in_float32_they_add_up_to_float64s_rounding_of_what_is_stored():
    assert max(group.residual for group in kept(OPTIMIZERS["AdamW"], dtype=torch.float32).groups) <= 1e-12


def test_plain_sgd_breaks_no_exact_symmetry_and_adamw_does():
    """s = g, so that ⟨s, X⟩ is 0 to rounding for rescale and translation."""
    for index in (1, 2, 3):
        assert float(kept(OPTIMIZERS["SGD"]).groups[index].breaking.abs().max()) < 1e-13
    assert float(kept(OPTIMIZERS["AdamW"]).groups[1].breaking.abs().max()) > 1e-3


def test_the_decay_of_one_step_is_what_adamw_multiplies_by():
    symmetries = network()
    optimizer = torch.optim.AdamW(symmetries.model.parameters(), lr=0.01, weight_decay=0.3)
    with Budget(optimizer, symmetries) as budget:
        train(symmetries.model, optimizer, 1)
    scale, rescale, translation, *_ = budget.groups
    torch.testing.assert_close(scale.decay, -2 * 0.01 * 0.3 * scale.start, rtol=1e-14, atol=0)
    torch.testing.assert_close(rescale.decay, -2 * 0.01 * 0.3 * rescale.start, rtol=1e-12, atol=1e-16)
    torch.testing.assert_close(translation.decay, -0.01 * 0.3 * translation.start, rtol=1e-12, atol=1e-16)
    assert bool((scale.discretization > 0).all())
    assert float(translation.discretization.abs().max()) == 0


def test_parameters_that_are_touched_between_steps_show_as_a_residual():
    symmetries = network()
    optimizer = sgd(symmetries)
    with Budget(optimizer, symmetries) as budget:
        train(symmetries.model, optimizer, 3)
        with torch.no_grad():
            symmetries.model[3].weight.mul_(1.001)
        train(symmetries.model, optimizer, 3)
    assert budget.groups[1].residual > 1e-4


def test_a_recorder_refuses_adamw_and_names_the_budget(tmp_path):
    symmetries = network()
    with pytest.raises(RecordingError, match=r"torch_bridge\.Budget accounts for every change"):
        Recorder(torch.optim.AdamW(symmetries.model.parameters()), symmetries, tmp_path / "run")


def test_a_parameter_that_the_optimizer_does_not_update_and_an_empty_map_are_refused():
    symmetries = network()
    with pytest.raises(RecordingError, match=r"got none named \['5.bias'\]"):
        Budget(torch.optim.AdamW(list(symmetries.model.parameters())[:-1]), symmetries)
    with pytest.raises(RecordingError, match="expected at least one"):
        Budget(torch.optim.AdamW(symmetries.model.parameters()), SymmetryMap((), model=nn.Linear(1, 1)))
