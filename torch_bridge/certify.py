"""Measure on the user's own model that its claimed symmetries are symmetries: of the gradient, and of the loss itself.

Two experiments a group, in float64, on a copy of the model in its present mode:

* infinitesimal -- ⟨g, X⟩ = 0 for every neuron's generator X (Kunin et al. 2021, eq. 1, 3, 5, 7);
* finite -- the loss does not move when every neuron of the group is moved by its own random group element.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import isfinite
from typing import Any

import torch
from torch import Tensor, nn

from torch_bridge.symmetry_map import Block, NeuronSymmetries, SymmetryMap

TOLERANCE = 1e-10
"""A million times float64's rounding, which a deep network piles up, and far below any real violation: GELU in place of
ReLU gives 1e-1, and the eps that batch normalisation adds to a variance of order 1 gives 1e-5."""

GRADIENT_FLOOR = 1e-3
"""Fraction of the whole gradient's norm below which a neuron's gradient is compared with that fraction instead, or the
rounding in a gradient that ought to be 0 (a dead unit's, a shift's) would be read as a violation of order 1."""

ELEMENTS = {"translation": (-1.0, 1.0), "shift": (-1.0, 1.0), "scale": (0.5, 2.0), "rescale": (0.5, 2.0)}
"""Kind -> the interval of group elements to move by: of order 1, and for a multiplicative group around 1."""


class CertificationError(ValueError):
    """A model, loss or batch on which nothing can be measured."""


@dataclass(frozen=True)
class Measured:
    """How well one group's symmetries hold.

    Parameters
    ----------
    group
        The symmetries.
    worst_gradient
        The largest |⟨g, X⟩| / (|X| max(|g_A|, floor)) of its neurons, where A is what the neuron moves and the floor is
        :data:`GRADIENT_FLOOR` times the whole gradient's norm. Between 0 and 1, no unit; 0 for X = 0.
    worst_loss_change
        |L(ψ(θ, s)) − L(θ)| / |L(θ)|, the largest of the trials.
    tolerance
        What both are held against.
    """

    group: NeuronSymmetries
    worst_gradient: float
    worst_loss_change: float
    tolerance: float

    @property
    def holds(self) -> bool:
        return self.broken_by == 0.0

    @property
    def broken_by(self) -> float:
        """0 where the claim holds; else the size of the violation, relative: the larger of the two measurements."""
        worst = max(self.worst_gradient, self.worst_loss_change)
        return 0.0 if worst <= self.tolerance else worst

    def __str__(self) -> str:
        verdict = "holds" if self.holds else f"broken by {self.broken_by:.1e}"
        return (
            f"{self.group.kind:<12}{self.group.label:<36}{self.group.neurons:>8}"
            f"{self.worst_gradient:>12.1e}{self.worst_loss_change:>14.1e}  {verdict}"
        )


@dataclass(frozen=True)
class Certificate:
    """One measurement for each group of a :class:`SymmetryMap`; ``str()`` is a table."""

    rows: tuple[Measured, ...]

    @property
    def ok(self) -> bool:
        """Whether every claim holds. Of no claims, yes: the table says how many there were."""
        return not self.failures

    @property
    def failures(self) -> tuple[Measured, ...]:
        return tuple(row for row in self.rows if not row.holds)

    def __str__(self) -> str:
        head = f"{'kind':<12}{'where':<36}{'neurons':>8}{'|<g,X>|':>12}{'loss change':>14}  verdict"
        verdict = f"{len(self.rows) - len(self.failures)} of {len(self.rows)} groups hold"
        return "\n".join([head, *map(str, self.rows), verdict])


def certify(
    symmetry_map: SymmetryMap,
    loss_fn: Callable[..., Tensor],
    batch: tuple[Any, Any],
    *,
    tolerance: float = TOLERANCE,
    trials: int = 1,
    seed: int = 0,
) -> Certificate:
    """Hold every claim of ``symmetry_map`` against its model's gradient and loss on one batch.

    Parameters
    ----------
    loss_fn
        Called as ``loss_fn(model(x), y)``; returns one number.
    batch
        ``(x, y)``; x is a tensor or a tuple of the model's arguments. Floating-point tensors are taken to float64.
    tolerance
        Largest relative violation that still counts as rounding, see :data:`TOLERANCE`. The scale symmetry of a batch
        normalisation with eps > 0 does *not* meet the default, and is reported as broken by about eps/variance: that
        much is real, it acts on the norms. Pass a larger tolerance to accept it.
    trials
        Random group elements tried for each group; each costs one float64 evaluation of the network.
    seed
        Of the group elements, and of dropout's mask, the same one in all evaluations.

    Raises
    ------
    CertificationError
        A ValueError: if the loss is not one finite number, or its gradient is 0 or not finite.

    Notes
    -----
    The model, its buffers and the global random state are not touched: a float64 copy is moved, and moved back.

    Examples
    --------
    >>> from torch_bridge.discover import find_symmetries
    >>> _ = torch.manual_seed(0)
    >>> model, x, y = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2)), torch.randn(9, 3), torch.arange(9) % 2
    >>> certify(find_symmetries(model, x), torch.nn.functional.cross_entropy, (x, y)).ok
    True
    """
    if symmetry_map.model is None:
        raise CertificationError("symmetry_map: expected a map with its model, got none; use find_symmetries")
    if trials < 1:
        raise CertificationError(f"trials: expected at least 1 group element to try, got {trials}")
    experiment = _Experiment.of(symmetry_map.model, loss_fn, batch, seed)
    draw = torch.Generator("cpu").manual_seed(seed)
    with torch.random.fork_rng(devices=experiment.gpus):
        loss, gradients = experiment.loss_and_gradients()
        rows = []
        for group in symmetry_map.groups:
            violation = _worst_gradient(group, experiment.parameters, gradients)
            change = max(experiment.loss_change(group, loss, draw) for _ in range(trials))
            rows.append(Measured(group, violation, change, tolerance))
    return Certificate(tuple(rows))


@dataclass(frozen=True)
class _Experiment:
    """A float64 copy of a model with a loss and a batch: evaluated again and again under one random seed."""

    model: nn.Module
    parameters: dict[str, nn.Parameter]
    loss_fn: Callable[..., Tensor]
    inputs: tuple[Any, ...]
    target: Any
    seed: int

    @classmethod
    def of(cls, model: nn.Module, loss_fn: Callable[..., Tensor], batch: tuple[Any, Any], seed: int) -> _Experiment:
        twin = copy.deepcopy(model).double().requires_grad_(True)  # a hand-made map may name frozen parameters
        x, y = batch
        inputs = tuple(_double(value) for value in (x if isinstance(x, tuple) else (x,)))
        loss = copy.deepcopy(loss_fn).double() if isinstance(loss_fn, nn.Module) else loss_fn
        return cls(twin, dict(twin.named_parameters()), loss, inputs, _double(y), seed)

    @property
    def gpus(self) -> list[int]:
        """Devices whose random state dropout may move."""
        return sorted({p.get_device() for p in self.parameters.values() if p.is_cuda})

    def loss(self) -> Tensor:
        self._seed_random_state()
        loss = self.loss_fn(self.model(*self.inputs), self.target)
        if not isinstance(loss, Tensor) or loss.numel() != 1:
            got = tuple(loss.shape) if isinstance(loss, Tensor) else type(loss).__name__
            raise CertificationError(f"loss_fn: expected one number, got {got}; reduce over the batch")
        return loss.reshape(())

    def _seed_random_state(self) -> None:
        """As torch.manual_seed, but only where fork_rng restores the state: not on GPUs that the model does not use."""
        torch.default_generator.manual_seed(self.seed)
        for gpu in self.gpus:
            torch.cuda.default_generators[gpu].manual_seed(self.seed)

    def loss_and_gradients(self) -> tuple[float, dict[str, Tensor]]:
        """L and ∇L, by parameter name: 0 for a parameter that L does not depend on."""
        loss = self.loss()
        if not (loss.isfinite() and loss.requires_grad):
            kind = "a finite loss" if loss.requires_grad else "a loss that depends on the model's parameters"
            raise CertificationError(f"loss_fn: expected {kind}, got {loss.item()}; look at the batch and the weights")
        gradients = torch.autograd.grad(loss, list(self.parameters.values()), materialize_grads=True)
        norm = _norm(gradients)
        if not (isfinite(norm) and norm > 0):
            raise CertificationError(f"batch: expected a finite gradient other than 0, got norm {norm}; use another")
        return loss.item(), dict(zip(self.parameters, gradients, strict=True))

    def loss_change(self, group: NeuronSymmetries, loss: float, draw: torch.Generator) -> float:
        """|L(ψ(θ, s)) − L(θ)| / |L(θ)| with one random element s for each neuron."""
        low, high = ELEMENTS[group.kind]
        elements = low + (high - low) * torch.rand(group.neurons, dtype=torch.float64, device="cpu", generator=draw)
        with torch.no_grad(), self._moved(group, elements):
            moved = self.loss().item()
        return abs(moved - loss) / max(abs(loss), torch.finfo(torch.float64).tiny) if isfinite(moved) else float("inf")

    @contextmanager
    def _moved(self, group: NeuronSymmetries, elements: Tensor) -> Iterator[None]:
        """Replace θ by ψ(θ, s), and put θ back bit by bit."""
        kept = {block.parameter: self.parameters[block.parameter].clone() for block in group.blocks}
        try:
            for block in group.blocks:
                parameter = self.parameters[block.parameter]
                parameter.copy_(_image(group, block, parameter, elements.to(parameter.device)))
            yield
        finally:
            for name, value in kept.items():
                self.parameters[name].copy_(value)


def _image(group: NeuronSymmetries, block: Block, parameter: Tensor, elements: Tensor) -> Tensor:
    """ψ(θ, s) on one block, in the parameter's own shape."""
    read = parameter.reshape(block.view)
    moved = read + block.spread(elements) if _is_additive(group) else read * block.spread(elements**block.coefficient)
    return moved.reshape(parameter.shape)


def _worst_gradient(group: NeuronSymmetries, parameters: dict[str, nn.Parameter], gradients: dict[str, Tensor]) -> float:
    """The largest violation of ⟨g, X⟩ = 0, as :attr:`Measured.worst_gradient` defines it."""
    inner, g_squared, x_squared = torch.zeros(3, group.neurons, dtype=torch.float64, device="cpu")
    for block in group.blocks:
        gradient, theta = gradients[block.parameter], parameters[block.parameter].detach()
        generator = torch.ones_like(theta) if _is_additive(group) else theta * block.coefficient
        inner += block.sum(gradient * generator).cpu()
        g_squared += block.sum(gradient**2).cpu()
        x_squared += block.sum(generator**2).cpu()
    floor = GRADIENT_FLOOR * _norm(gradients.values())
    ratio = inner.abs() / (x_squared.sqrt() * g_squared.sqrt().clamp(min=floor))
    return ratio.nan_to_num(nan=0.0).max().item()  # 0/0 where X = 0: nothing is moved


def _is_additive(group: NeuronSymmetries) -> bool:
    return group.symmetry.identity == 0


def _norm(tensors: Iterable[Tensor]) -> float:
    return torch.stack([t.norm() for t in tensors]).norm().item()


def _double(value: Any) -> Any:
    return value.double() if isinstance(value, Tensor) and value.is_floating_point() else value
