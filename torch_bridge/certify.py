"""Measure on the user's own model that its claimed symmetries are symmetries: of the gradient, and of the loss itself.

Experiments in float64, on a copy of the model in its present mode:

* infinitesimal -- ⟨g, X⟩ = 0 for every neuron's generator X (Kunin et al. 2021, eq. 1, 3, 5, 7);
* finite -- the loss does not move when every neuron of the group is moved by its own random group element;
* eps -- both again with every normalisation's eps taken away: what then holds is broken by eps alone;
* independence -- the rank of all generators together.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from math import isfinite
from typing import Any

import torch
from torch import Tensor, nn

from torch_bridge.independence import independent_generators
from torch_bridge.symmetry_map import MatrixBlock, MatrixSymmetries, NeuronSymmetries, SymmetryMap

TOLERANCE = 1e-10
"""A million times float64's rounding, which a deep network piles up, and far below any real violation: GELU in place of
ReLU gives 1e-1, and the eps that batch normalisation adds to a variance of order 1 gives 1e-5."""

GRADIENT_FLOOR = 1e-3
"""Fraction of the whole gradient's norm below which a neuron's gradient is compared with that fraction instead, or the
rounding in a gradient that ought to be 0 (a dead unit's, a shift's) would be read as a violation of order 1."""

ELEMENTS = {"translation": (-1.0, 1.0), "shift": (-1.0, 1.0), "scale": (0.5, 2.0), "rescale": (0.5, 2.0)}
"""Kind -> the interval of group elements to move by: of order 1, and for a multiplicative group around 1."""


NEARNESS = 0.3
"""How far a random element of GL(k) is from 1: the size of the noise added to it, whose singular values are below 2."""

EPS_NAMES = ("eps", "variance_epsilon", "layer_norm_epsilon")
"""Attributes of modules that are added to a variance."""

NO_EPS = 1e-24


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
    without_eps
        The larger of the two once no normalisation has an eps; infinite where that was not measured.
    """

    group: NeuronSymmetries | MatrixSymmetries
    worst_gradient: float
    worst_loss_change: float
    tolerance: float
    without_eps: float = float("inf")

    @property
    def holds(self) -> bool:
        return self.broken_by == 0.0

    @property
    def broken_by(self) -> float:
        """0 where the claim holds; else the size of the violation, relative: the larger of the two measurements."""
        worst = max(self.worst_gradient, self.worst_loss_change)
        return 0.0 if worst <= self.tolerance else worst

    @property
    def holds_but_for_eps(self) -> bool:
        """Whether the claim holds, or would if normalisations did not add an eps to a variance."""
        return self.holds or self.without_eps <= self.tolerance

    def __str__(self) -> str:
        by_eps = ", by eps alone" if self.holds_but_for_eps and not self.holds else ""
        verdict = "holds" if self.holds else f"broken by {self.broken_by:.1e}{by_eps}"
        return (
            f"{self.group.kind:<15}{self.group.label:<36}{self.group.neurons:>8}"
            f"{self.worst_gradient:>12.1e}{self.worst_loss_change:>14.1e}  {verdict}"
        )


@dataclass(frozen=True)
class Certificate:
    """One measurement for each group of a :class:`SymmetryMap`; ``str()`` is a table."""

    rows: tuple[Measured, ...]
    independent: int
    """Rank of all generators at θ: how many of the claimed symmetries are not combinations of others."""

    @property
    def claimed(self) -> int:
        """Number of one-parameter symmetries claimed: of GL(k) all k²."""
        matrices = [row.group for row in self.rows if isinstance(row.group, MatrixSymmetries)]
        plain = sum(row.group.neurons for row in self.rows if isinstance(row.group, NeuronSymmetries))
        return plain + sum(m.neurons - m.spaces * m.k for m in matrices)

    @property
    def ok_but_for_eps(self) -> bool:
        """Whether every claim holds, or would without the eps of normalisations."""
        return all(row.holds_but_for_eps for row in self.rows)

    @property
    def ok(self) -> bool:
        """Whether every claim holds. Of no claims, yes: the table says how many there were."""
        return not self.failures

    @property
    def failures(self) -> tuple[Measured, ...]:
        return tuple(row for row in self.rows if not row.holds)

    def __str__(self) -> str:
        head = f"{'kind':<15}{'where':<36}{'neurons':>8}{'|<g,X>|':>12}{'loss change':>14}  verdict"
        verdict = f"{len(self.rows) - len(self.failures)} of {len(self.rows)} groups hold"
        counted = f"{self.independent:,} of {self.claimed:,} generators are independent"
        return "\n".join([head, *map(str, self.rows), verdict, counted])


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
    groups = (*symmetry_map.groups, *symmetry_map.matrices)
    with torch.random.fork_rng(devices=experiment.gpus):
        rows = [Measured(g, *both, tolerance) for g, both in zip(groups, _measured(experiment, groups, trials), strict=True)]
        broken = [k for k, row in enumerate(rows) if not row.holds]
        if broken and experiment.has_eps:
            again = _measured(experiment.without_eps(), [groups[k] for k in broken], trials)
            for k, both in zip(broken, again, strict=True):
                rows[k] = replace(rows[k], without_eps=max(both))
    return Certificate(tuple(rows), independent_generators(symmetry_map, experiment.parameters))


Group = NeuronSymmetries | MatrixSymmetries


def _measured(experiment: _Experiment, groups: Sequence[Group], trials: int) -> list[tuple[float, float]]:
    """For each group its largest violation of ⟨g, X⟩ = 0 and of the loss's invariance."""
    draw = torch.Generator("cpu").manual_seed(experiment.seed)
    loss, gradients = experiment.loss_and_gradients()
    measured = []
    for group in groups:
        violation = _worst_gradient(group, experiment.parameters, gradients)
        measured.append((violation, max(experiment.loss_change(group, loss, draw) for _ in range(trials))))
    return measured


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
    def has_eps(self) -> bool:
        return any(isinstance(getattr(m, name, None), float) for m in self.model.modules() for name in EPS_NAMES)

    def without_eps(self) -> _Experiment:
        """The same with no number added to a variance, but for one that keeps 0/0 from being one."""
        twin = copy.deepcopy(self.model)
        for module in twin.modules():
            for name in EPS_NAMES:
                if isinstance(getattr(module, name, None), float):
                    setattr(module, name, NO_EPS)
        return replace(self, model=twin, parameters=dict(twin.named_parameters()))

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

    def loss_change(self, group: Group, loss: float, draw: torch.Generator) -> float:
        """|L(ψ(θ, s)) − L(θ)| / |L(θ)| with one random element s for each neuron, or S for each GL(k)."""
        with torch.no_grad(), self._moved(group, _elements(group, draw)):
            moved = self.loss().item()
        return abs(moved - loss) / max(abs(loss), torch.finfo(torch.float64).tiny) if isfinite(moved) else float("inf")

    @contextmanager
    def _moved(self, group: Group, elements: Tensor) -> Iterator[None]:
        """Replace θ by ψ(θ, s), and put θ back bit by bit."""
        kept = {block.parameter: self.parameters[block.parameter].clone() for block in group.blocks}
        try:
            for block in group.blocks:
                parameter = self.parameters[block.parameter]
                parameter.copy_(_image(group, block, parameter.detach(), elements.to(parameter.device)))
            yield
        finally:
            for name, value in kept.items():
                self.parameters[name].copy_(value)


def _elements(group: Group, draw: torch.Generator) -> Tensor:
    """A random group element for each neuron, shape ``(neurons,)``, or for each space, ``(spaces, k, k)``."""
    if isinstance(group, MatrixSymmetries):
        noise = torch.randn(group.spaces, group.k, group.k, dtype=torch.float64, device="cpu", generator=draw)
        return torch.eye(group.k, dtype=torch.float64) + NEARNESS * noise / group.k**0.5
    low, high = ELEMENTS[group.kind]
    return low + (high - low) * torch.rand(group.neurons, dtype=torch.float64, device="cpu", generator=draw)


def _image(group: Group, block: Any, parameter: Tensor, elements: Tensor) -> Tensor:
    """ψ(θ, s) on one block, in the parameter's own shape."""
    if isinstance(group, MatrixSymmetries):
        mixing = elements if block.coefficient > 0 else torch.linalg.inv(elements).mT
        return block.placed(torch.einsum("sij,scjr->scir", mixing, block.rows(parameter)), parameter)
    read = parameter.reshape(block.view)
    if _is_additive(group):
        return (read + block.coefficient * block.spread(elements)).reshape(parameter.shape)
    return (read * block.spread(elements**block.coefficient, nobody=1.0)).reshape(parameter.shape)


def _worst_gradient(group: Group, parameters: dict[str, nn.Parameter], gradients: dict[str, Tensor]) -> float:
    """The largest violation of ⟨g, X⟩ = 0, as :attr:`Measured.worst_gradient` defines it."""
    inner, g_squared, x_squared = _products(group, parameters, gradients)
    floor = GRADIENT_FLOOR * _norm(gradients.values())
    ratio = inner.abs() / (x_squared.sqrt() * g_squared.sqrt().clamp(min=floor))
    return ratio.nan_to_num(nan=0.0).max().item()  # 0/0 where X = 0: nothing is moved


def _products(group: Group, parameters: dict[str, nn.Parameter], gradients: dict[str, Tensor]) -> Tensor:
    """⟨g, X⟩, |g_A|² and |X|² of each neuron, or of each entry of GL(k)'s matrices, stacked."""
    total: Any = 0
    for block in group.blocks:
        gradient, theta = gradients[block.parameter], parameters[block.parameter].detach()
        if isinstance(block, MatrixBlock):
            total = total + _matrix_products(block, gradient, theta).cpu()
        else:
            generator = (torch.ones_like(theta) if _is_additive(group) else theta) * block.coefficient
            total = total + torch.stack([block.sum(v) for v in (gradient * generator, gradient**2, generator**2)]).cpu()
    return total


def _matrix_products(block: MatrixBlock, gradient: Tensor, theta: Tensor) -> Tensor:
    """Entry (i, j) for the generator that adds row j to row i; where the coefficient is -1 it takes row i from row j."""
    g, x = (block.gram(v, v).diagonal(dim1=-2, dim2=-1) for v in (gradient, theta))
    inner = block.gram(gradient, theta)
    stacked = torch.stack([inner, g[:, :, None].expand_as(inner), x[:, None, :].expand_as(inner)])
    return stacked if block.coefficient > 0 else stacked.mT * stacked.new_tensor([-1, 1, 1]).reshape(3, 1, 1, 1)


def _is_additive(group: Group) -> bool:
    return isinstance(group, NeuronSymmetries) and group.symmetry.identity == 0


def _norm(tensors: Iterable[Tensor]) -> float:
    return torch.stack([t.norm() for t in tensors]).norm().item()


def _double(value: Any) -> Any:
    return value.double() if isinstance(value, Tensor) and value.is_floating_point() else value
