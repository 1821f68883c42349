"""Symmetries whose blocks the optimizer's parameter groups divide: the exact law holds with each part's own numbers."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from tests.torch_bridge.small_network import VARIANTS, network, train  # noqa: E402
from torch_bridge.evaluate import evaluate  # noqa: E402
from torch_bridge.recorder import Recorder  # noqa: E402
from torch_bridge.run_log import RunLog  # noqa: E402
from torch_bridge.symmetry_map import Block, NeuronSymmetries, SymmetryMap  # noqa: E402

STEPS = 40
OTHERS = {
    "no weight decay": {"weight_decay": 0.0},
    "other weight decay": {"weight_decay": 0.05},
    "other learning rate": {"lr": 0.02},
    "all other": {"lr": 0.02, "weight_decay": 0.0},
}


def by_shape(symmetries, settings, other):
    """Weights under ``settings``; biases and the norm's gains, as most people do, under ``other`` as well."""
    parameters = list(symmetries.model.parameters())
    parts = [{"params": [p for p in parameters if p.ndim > 1]}, {"params": [p for p in parameters if p.ndim == 1]} | other]
    return torch.optim.SGD(parts, **({"lr": 0.1, "weight_decay": 5e-3} | settings))


def by_side(symmetries, settings, other):
    """The reading side of the rescale symmetry, the last weight, under ``other``."""
    model = symmetries.model
    rest = [p for p in model.parameters() if p is not model[5].weight]
    parts = [{"params": [model[5].weight]} | other, {"params": rest}]
    return torch.optim.SGD(parts, **({"lr": 0.1, "weight_decay": 5e-3} | settings))


def run(folder, divide, settings, other, *, steps=STEPS, each=lambda optimizer, step: None, claim=network, **options):
    symmetries = claim()
    optimizer = divide(symmetries, settings, other)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps, eta_min=0.01)
    with Recorder(optimizer, symmetries, folder, **options):
        train(symmetries.model, optimizer, steps, schedule=schedule, each=lambda step: each(optimizer, step))
    return RunLog.open(folder)


def rescale(comparison):
    (group,) = comparison.of_kind("rescale")
    return group


@pytest.mark.parametrize("other", OTHERS)
@pytest.mark.parametrize("divide", [by_shape, by_side])
@pytest.mark.parametrize("variant", ["plain", "momentum", "nesterov without decay", "dampening"])
def test_the_exact_law_holds_to_rounding_and_no_symmetry_is_broken(tmp_path, variant, divide, other):
    log = run(tmp_path / "run", divide, VARIANTS[variant], OTHERS[other])
    held = evaluate(log)
    assert held.worst("exact") <= 1e-12
    assert max(group.gap("unbroken").max() for group in held.groups if group.group.kind != "scale") <= 1e-12
    assert [(g.group.label, {*g.group.blocks}) for g in held.groups] == [(g.label, {*g.blocks}) for g in network().groups]
    assert len(log.groups) == len(held.groups) + 1


@pytest.mark.parametrize("variant", ["plain", "momentum", "nesterov"])
def test_momentum_may_differ_too(tmp_path, variant):
    other = {"plain": {"momentum": 0.9}, "momentum": {"momentum": 0.5, "dampening": 0.2}, "nesterov": {"momentum": 0.8}}
    held = evaluate(run(tmp_path / "run", by_shape, VARIANTS[variant], other[variant]))
    assert held.worst("exact") <= 1e-12
    assert rescale(held).gap("unbroken").max() <= 1e-12


def test_a_recording_may_start_in_the_middle(tmp_path):
    symmetries = network()
    optimizer = by_shape(symmetries, VARIANTS["nesterov"], OTHERS["all other"])
    train(symmetries.model, optimizer, 20)
    with Recorder(optimizer, symmetries, tmp_path / "run", every=1):
        train(symmetries.model, optimizer, 40)
    assert evaluate(RunLog.open(tmp_path / "run")).worst("exact") <= 1e-12


def test_groups_that_part_only_later_are_covered(tmp_path):
    def switch(optimizer, step):
        optimizer.param_groups[1]["weight_decay"] = 0.05 if step >= 10 else 5e-3

    held = evaluate(run(tmp_path / "run", by_shape, VARIANTS["momentum"], {}, each=switch))
    assert held.worst("exact") <= 1e-12
    assert rescale(held).weights == (1.0, 1.0)


@pytest.mark.parametrize("variant", ["plain", "momentum", "nesterov"])
def test_with_only_the_drive_recorded_divided_symmetries_keep_their_breaking(tmp_path, variant):
    log = run(tmp_path / "run", by_shape, VARIANTS[variant], OTHERS["no weight decay"], forcing="drive")
    divided = [index for _, held in log.symmetries if len(held) > 1 for index in held]
    assert [i for i, group in enumerate(log.header.groups) if group.kind == "rescale"] == divided
    assert all("breaking" in log.header.groups[index].channels for index in divided)
    assert rescale(evaluate(log)).gap("exact").max() <= 1e-12


def test_the_charge_of_two_learning_rates_is_weighted_by_their_inverse(tmp_path):
    symmetries = network()
    model = symmetries.model
    expected = (model[3].weight ** 2).sum(1) + model[3].bias ** 2 - 0.1 / 0.02 * (model[5].weight ** 2).sum(0)
    log = run(tmp_path / "run", by_side, {}, OTHERS["other learning rate"], steps=2)
    group = rescale(evaluate(log))
    assert group.weights == pytest.approx((1, 0.1 / 0.02), rel=1e-15)
    np.testing.assert_allclose(group.measured[0], expected.detach(), rtol=1e-12)


def drift(folder, lr, other_lr, steps):
    """How far plain SGD without weight decay moves the rescale charge in a fixed training time, at most."""
    symmetries = network()
    optimizer = by_side(symmetries, {"lr": lr, "weight_decay": 0.0}, {"lr": other_lr})
    x, y = torch.randn(16, 5, generator=torch.Generator().manual_seed(1), dtype=torch.float64), torch.arange(16) % 3
    with Recorder(optimizer, symmetries, folder, every=1):
        for _ in range(steps):
            optimizer.zero_grad()
            nn.functional.cross_entropy(symmetries.model(x), y).backward()
            optimizer.step()
    group = rescale(evaluate(RunLog.open(folder), order=0))
    return float(np.abs(group.conserved - group.measured).max())


def test_gradient_flow_conserves_it_so_that_it_drifts_in_proportion_to_the_step(tmp_path):
    coarse, fine = (drift(tmp_path / str(n), 2 / n, 0.4 / n, n) for n in (40, 160))
    assert coarse / fine == pytest.approx(4, rel=0.15)


@pytest.mark.parametrize("variant", ["plain", "momentum"])
def test_the_continuous_law_of_a_divided_charge_gets_better_in_proportion_to_the_step(tmp_path, variant):
    """Full batch, different weight decay; order 1 of a law without the parts' breaking would not converge at all."""
    x, y = torch.randn(16, 5, generator=torch.Generator().manual_seed(1), dtype=torch.float64), torch.arange(16) % 3

    def worst(steps):
        symmetries = network()
        settings = VARIANTS[variant] | {"lr": 4 / steps}
        optimizer = by_shape(symmetries, settings | {"weight_decay": 0.2}, {"weight_decay": 0.0})
        with Recorder(optimizer, symmetries, tmp_path / str(steps), every=1):
            for _ in range(steps):
                optimizer.zero_grad()
                nn.functional.cross_entropy(symmetries.model(x), y).backward()
                optimizer.step()
        return evaluate(RunLog.open(tmp_path / str(steps)))

    coarse, fine = (rescale(worst(steps)).gap("predicted").max() for steps in (200, 800))
    assert fine < 3e-3
    assert coarse / fine == pytest.approx(4, rel=0.3)


def test_a_false_claim_across_parameter_groups_is_caught(tmp_path):
    def claim():
        symmetries = network()
        blocks = (Block("0.weight", (6, 5), 0), Block("0.bias", (6,), 0), Block("3.weight", (4, 6), 1, -1))
        return SymmetryMap((NeuronSymmetries("rescale", "0 -> 3", blocks),), model=symmetries.model)

    held = evaluate(run(tmp_path / "run", by_shape, {}, OTHERS["no weight decay"], claim=claim))
    assert held.worst("exact") <= 1e-12
    assert held.worst("unbroken") > 1e-2


def test_a_part_whose_breaking_is_off_by_a_thousandth_is_rejected(tmp_path, monkeypatch):
    log = run(tmp_path / "run", by_shape, VARIANTS["momentum"], OTHERS["no weight decay"])
    true = RunLog.chunks
    part = next(held[1] for _, held in log.symmetries if len(held) > 1)
    factor = np.ones(log.header.columns)
    factor[slice(*log.header.groups[part].channels["breaking"])] = 1.001
    assert rescale(evaluate(log)).gap("exact").max() <= 1e-12
    monkeypatch.setattr(RunLog, "chunks", lambda self: ((forcing * factor, hyper) for forcing, hyper in true(self)))
    assert rescale(evaluate(log)).gap("exact").max() > 1e-9
