"""One small network with every kind of symmetry, its training, and the exact law in plain Python."""

import numpy as np
import torch
from torch import nn

from torch_bridge.recorder import Recorder
from torch_bridge.run_log import RunLog
from torch_bridge.symmetry_map import Block, NeuronSymmetries, SymmetryMap

VARIANTS = {
    "plain": {},
    "plain without decay": {"weight_decay": 0.0},
    "momentum": {"momentum": 0.9},
    "nesterov": {"momentum": 0.9, "nesterov": True},
    "nesterov without decay": {"momentum": 0.9, "nesterov": True, "weight_decay": 0.0},
    "dampening": {"momentum": 0.9, "dampening": 0.5},
    "dampening that torch ignores": {"dampening": 0.5},
}
IMPLEMENTATIONS = {"single": {"foreach": False}, "foreach": {"foreach": True}, "fused": {"fused": True}}


def network(dtype=torch.float64) -> SymmetryMap:
    """Scale (BN), rescale (ReLU) and translation (softmax) in one small network; the map is written by hand."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(5, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 4), nn.ReLU(), nn.Linear(4, 3)).to(
        dtype
    )
    return SymmetryMap(
        (
            NeuronSymmetries("scale", "0 -> 1", (Block("0.weight", (6, 5), 0),)),
            NeuronSymmetries(
                "rescale",
                "3 -> 5",
                (Block("3.weight", (4, 6), 0), Block("3.bias", (4,), 0), Block("5.weight", (3, 4), 1, -1)),
            ),
            NeuronSymmetries("translation", "5.weight", (Block("5.weight", (3, 4), 1),)),
            NeuronSymmetries("translation", "5.bias", (Block("5.bias", (3, 1), 1),)),
            NeuronSymmetries("shift", "0.bias", (Block("0.bias", (6,), 0),)),
        ),
        model=model,
    )


def sgd(symmetries: SymmetryMap, **settings):
    return torch.optim.SGD(symmetries.model.parameters(), **({"lr": 0.1, "weight_decay": 5e-3} | settings))


def cosine(optimizer, steps: int):
    return torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)


def train(model: nn.Module, optimizer, steps: int, *, schedule=None, each=lambda step: None) -> None:
    """Train on fresh random batches; ``each(step)`` runs between backward and step."""
    generator = torch.Generator().manual_seed(1)
    dtype = next(model.parameters()).dtype
    for step in range(steps):
        inputs = torch.randn(16, 5, generator=generator, dtype=dtype)
        targets = torch.randint(3, (16,), generator=generator)
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(inputs), targets).backward()
        each(step)
        optimizer.step()
        if schedule is not None:
            schedule.step()


def discrete_law(log: RunLog, group: int, *, undamped: bool | None = None):
    """The exact recurrence of any schedule (math.md, section 3), in plain Python: ``Q`` after 0, 1, ... steps."""
    hyper = log.hyper(group)
    breaking, charge = log.channel(group, "breaking").astype(float), log.charge(group)[0]
    quadratic = log.groups[group].symmetry.degree == 2
    drive = log.channel(group, "direction").astype(float) if quadratic else 0 * breaking
    overlap = log.channel(group, "overlap").astype(float) if quadratic and log.nesterov else drive
    half = 1 if quadratic else 0.5
    product, charges = log.initial_overlap(group), [charge]
    fresh = log.fresh if undamped is None else undamped
    for n in range(log.steps):
        lr, beta, dampening, decay = (hyper[name][n] for name in hyper)
        step = 1.0 if n == 0 and fresh else 1 - dampening
        force = breaking[n] + decay * charge
        tau = beta * product + step * force
        delta = force + beta * tau if log.nesterov else tau
        charge = charge - 2 * half * lr * delta + lr**2 * drive[n]
        product = tau - lr * overlap[n]
        charges.append(charge)
    return np.array(charges)


def gap(log: RunLog, group: int, **options) -> float:
    """Largest distance of the measured charge from the law, as a part of the charge's magnitude."""
    predicted = discrete_law(log, group, **options)[log.charge_steps]
    return float(np.max(np.abs(predicted - log.charge(group)) / log.magnitude(group)))


def recorded(path, *, steps=60, schedule=False, dtype=torch.float64, settings=None, **options) -> RunLog:
    symmetries = network(dtype)
    optimizer = sgd(symmetries, **(settings or {}))
    scheduler = cosine(optimizer, steps) if schedule else None
    with Recorder(optimizer, symmetries, path, **({"every": 1} | options)):
        train(symmetries.model, optimizer, steps, schedule=scheduler)
    return RunLog.open(path)
