"""What a network's symmetries act on: index sets into its parameters, one entry per neuron.

The types here are plain data shared by discovery, certification and recording. They say *where* a symmetry acts; what it
implies is :mod:`derive`'s business.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from math import prod
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

import derive

if TYPE_CHECKING:
    from torch_bridge.certify import Certificate

KINDS = {
    "translation": derive.translation,
    "shift": derive.translation,
    "scale": derive.scale,
    "rescale": derive.rescale,
}
"""Kind of a neuron's symmetry -> the one-parameter group of :mod:`derive` that it is an instance of.

``shift`` is a translation of a single bias that the next normalisation layer subtracts again; it is counted apart
because its gradient is exactly zero, not only summing to zero.
"""


@dataclass(frozen=True)
class Block:
    """The part of one parameter tensor that a family of ``n`` neurons' symmetries moves.

    The tensor is read as ``parameter.reshape(view)``; neuron ``i`` owns the slice ``i`` along ``axis``.

    Parameters
    ----------
    parameter
        Name in ``model.named_parameters()``.
    view
        Shape to read the tensor in: its own shape, except where a flatten makes several inputs share a channel.
    axis
        The axis of ``view`` that counts neurons.
    coefficient
        Entry of the diagonal generator on this block: +1 (A or A1) or -1 (A2).
    """

    parameter: str
    view: tuple[int, ...]
    axis: int
    coefficient: int = 1

    def __post_init__(self) -> None:
        if not 0 <= self.axis < len(self.view):
            raise ValueError(f"axis: expected 0 <= axis < {len(self.view)} for view {self.view}, got {self.axis}")
        if self.coefficient not in (-1, 1):
            raise ValueError(f"coefficient: expected +1 or -1, got {self.coefficient}")

    @property
    def neurons(self) -> int:
        return self.view[self.axis]

    def sum(self, values: Tensor) -> Tensor:
        """Sum ``values`` (shaped like the parameter) over each neuron's slice, in float64: shape ``(neurons,)``.

        >>> Block("weight", (2, 3), axis=1).sum(torch.ones(2, 3))
        tensor([2., 2., 2.], dtype=torch.float64)
        """
        others = [k for k in range(len(self.view)) if k != self.axis]
        read = values.reshape(self.view)
        return read.sum(others, dtype=torch.float64) if others else read.to(torch.float64)

    def spread(self, per_neuron: Tensor) -> Tensor:
        """Broadcast one number a neuron, shape ``(neurons,)``, over ``view``: the transpose of :meth:`sum`."""
        shape = [1] * len(self.view)
        shape[self.axis] = self.neurons
        return per_neuron.reshape(shape).expand(self.view)


@dataclass(frozen=True)
class NeuronSymmetries:
    """One kind of symmetry at one place of the network: ``neurons`` one-parameter groups, acting on the same blocks.

    Parameters
    ----------
    kind
        A key of :data:`KINDS`.
    label
        Where it is, as a reader would say it: ``"features.0 -> features.2"``.
    blocks
        The blocks that are moved. All count the same number of neurons.
    """

    kind: str
    label: str
    blocks: tuple[Block, ...]

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"kind: expected one of {sorted(KINDS)}, got {self.kind!r}")
        if len({block.neurons for block in self.blocks}) != 1:
            raise ValueError(f"blocks: expected blocks of one and the same number of neurons, got {self.blocks}")

    @property
    def neurons(self) -> int:
        return self.blocks[0].neurons

    @property
    def symmetry(self) -> derive.Symmetry:
        """The one-parameter group, with its generator and charge."""
        return KINDS[self.kind]()


@dataclass(frozen=True)
class SymmetryMap:
    """Every symmetry that was found in ``model``, and why others were not claimed.

    Parameters
    ----------
    groups
        The symmetries, in the order in which the network uses them.
    blocked
        One sentence for each place where a symmetry was looked for and not claimed.
    model
        The network the names refer to. It is not part of the map's identity (equality, hash).
    """

    groups: tuple[NeuronSymmetries, ...]
    blocked: tuple[str, ...] = ()
    model: nn.Module | None = field(default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        shapes = {name: p.shape for name, p in self.model.named_parameters()} if self.model is not None else {}
        for block in (b for group in self.groups for b in group.blocks):
            if self.model is not None and (
                block.parameter not in shapes or prod(block.view) != shapes[block.parameter].numel()
            ):
                raise ValueError(f"groups: {block} does not fit any parameter of the model")

    def counts(self) -> dict[str, int]:
        """Number of one-parameter symmetries of each kind."""
        counted = Counter[str]()
        for group in self.groups:
            counted[group.kind] += group.neurons
        return dict(counted)

    def certify(self, loss_fn: Callable[..., Tensor], batch: tuple[Any, Any]) -> Certificate:
        """Measure every claim on the model itself; see :func:`torch_bridge.certify.certify`."""
        from torch_bridge.certify import certify

        return certify(self, loss_fn, batch)
