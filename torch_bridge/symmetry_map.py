"""What a network's symmetries act on: index sets into its parameters, one entry per neuron.

The types here are plain data shared by discovery, certification and recording. They say *where* a symmetry acts; what it
implies is :mod:`derive`'s business.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from math import prod
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from numpy.typing import NDArray
from torch import Tensor, nn

import derive
from torch_bridge import upper_triangle

if TYPE_CHECKING:
    from torch_bridge.certify import Certificate

GENERAL_LINEAR = "general linear"
"""The kind of :class:`MatrixSymmetries`."""


@lru_cache
def _entry_of_general_linear() -> derive.Symmetry:
    """The group of an entry of GL(k)'s charge: the law of all is the same, whatever k and entry."""
    return replace(derive.general_linear(2).symmetric[1], name=GENERAL_LINEAR)


KINDS = {
    "translation": derive.translation,
    "shift": derive.translation,
    "scale": derive.scale,
    "rescale": derive.rescale,
    GENERAL_LINEAR: _entry_of_general_linear,
}
"""Kind of symmetry -> the one-parameter group of :mod:`derive` that each of its charges belongs to.

``shift`` is a translation of a single bias that the next normalisation layer subtracts again; it is counted apart
because its gradient is exactly zero, not only summing to zero.
"""


MIXING = "mixing"
"""What :meth:`SymmetryMap.counts` calls the k(k - 1) one-parameter symmetries of a GL(k) that are no rescalings."""


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
        The axis of ``view`` that counts slices; or several, whose slices are then counted in row-major order (a grouped
        convolution's groups and inputs of a group).
    coefficient
        Entry of the diagonal generator on this block, an integer other than 0: +1 (A or A1) or -1 (A2) but for powers.
    owners
        For each slice the neuron that it belongs to, -1 for none: where a neuron owns several (a rotary embedding's two
        halves) or some belong to nobody (keys in a weight that holds queries too). Empty: slice i is neuron i's.
    """

    parameter: str
    view: tuple[int, ...]
    axis: int | tuple[int, ...]
    coefficient: int = 1
    owners: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if not isinstance(self.axis, int):  # a log has lists for tuples
            object.__setattr__(self, "axis", tuple(self.axis))
        object.__setattr__(self, "owners", tuple(self.owners))
        if not all(0 <= axis < len(self.view) for axis in self.axes):
            raise ValueError(f"axis: expected 0 <= axis < {len(self.view)} for view {self.view}, got {self.axis}")
        if not isinstance(self.coefficient, int) or self.coefficient == 0:
            raise ValueError(f"coefficient: expected an integer other than 0, got {self.coefficient}")
        if self.owners and (len(self.owners) != self._slices or set(self.owners) - {-1} != set(range(self.neurons))):
            raise ValueError(
                f"owners: expected for each of {self._slices} slices a neuron, from 0 on without gaps, or -1, got "
                f"{len(self.owners)} from {min(self.owners)} to {max(self.owners)}"
            )

    @property
    def axes(self) -> tuple[int, ...]:
        """``axis`` as a tuple."""
        return (self.axis,) if isinstance(self.axis, int) else self.axis

    @property
    def _slices(self) -> int:
        return prod(self.view[axis] for axis in self.axes)

    @property
    def neurons(self) -> int:
        return 1 + max(self.owners) if self.owners else self._slices

    def sum(self, values: Tensor) -> Tensor:
        """Sum ``values`` (shaped like the parameter) over each neuron's slices, in float64: shape ``(neurons,)``.

        >>> Block("weight", (2, 3), axis=1).sum(torch.ones(2, 3))
        tensor([2., 2., 2.], dtype=torch.float64)
        >>> Block("weight", (2, 3), axis=1, owners=(0, -1, 0)).sum(torch.ones(2, 3))
        tensor([4.], dtype=torch.float64)
        """
        others = [k for k in range(len(self.view)) if k not in self.axes]
        read = values.reshape(self.view)
        sums = read.sum(others, dtype=torch.float64) if others else read.to(torch.float64)
        return self.owned(sums.reshape(-1))

    def owned(self, sums: Tensor) -> Tensor:
        """Sums of each slice, shape ``(slices,)``, as sums of each neuron, shape ``(neurons,)``."""
        if not self.owners:
            return sums
        owners = torch.tensor(self.owners, device=sums.device)
        return sums.new_zeros(self.neurons + 1).index_add(0, owners % (self.neurons + 1), sums)[:-1]

    def spread(self, per_neuron: Tensor, *, nobody: float = 0.0) -> Tensor:
        """Broadcast one number a neuron, shape ``(neurons,)``, over ``view``: the transpose of :meth:`sum`.

        Slices that belong to no neuron get ``nobody``.
        """
        if self.owners:
            per_neuron = torch.cat([per_neuron, per_neuron.new_full((1,), nobody)])
            per_neuron = per_neuron[torch.tensor(self.owners, device=per_neuron.device)]
        return per_neuron.reshape([n if k in self.axes else 1 for k, n in enumerate(self.view)]).expand(self.view)


@dataclass(frozen=True)
class NeuronSymmetries:
    """One kind of symmetry at one place of the network: ``neurons`` one-parameter groups, acting on the same blocks.

    Parameters
    ----------
    kind
        A key of :data:`KINDS`, but for ``"general linear"``.
    label
        Where it is, as a reader would say it: ``"features.0 -> features.2"``.
    blocks
        The blocks that are moved. All count the same number of neurons.
    """

    kind: str
    label: str
    blocks: tuple[Block, ...]

    def __post_init__(self) -> None:
        known = sorted(KINDS.keys() - {GENERAL_LINEAR})
        if self.kind not in known:
            raise ValueError(f"kind: expected one of {known}, got {self.kind!r}")
        if len({block.neurons for block in self.blocks}) != 1:
            raise ValueError(f"blocks: expected blocks of one and the same number of neurons, got {self.blocks}")

    @property
    def neurons(self) -> int:
        return self.blocks[0].neurons

    @property
    def charges(self) -> int:
        """Number of charges: one a neuron."""
        return self.neurons

    @property
    def symmetry(self) -> derive.Symmetry:
        """The one-parameter group, with its generator and charge."""
        return KINDS[self.kind]()


@dataclass(frozen=True)
class MatrixBlock:
    """The slices of one parameter that a family of GL(k) mixes.

    Parameters
    ----------
    parameter, view, axis
        As for :class:`Block`, with one axis.
    coefficient
        +1 where the slices are mixed by S in GL(k), -1 where by its inverse transpose.
    index
        ``index[space][copy][i]`` is the slice of channel i. A space has several copies in one parameter where it is used
        several times (queries of one key).
    """

    parameter: str
    view: tuple[int, ...]
    axis: int
    coefficient: int
    index: tuple[tuple[tuple[int, ...], ...], ...]

    def __post_init__(self) -> None:
        flat = [i for space in self.index for copy in space for i in copy]
        if not 0 <= self.axis < len(self.view) or not set(flat) <= set(range(self.view[self.axis])):
            raise ValueError(f"index: expected slices along an axis of view {self.view}, got axis {self.axis}, {self.index}")
        if len({(len(space), len(copy)) for space in self.index for copy in space}) != 1 or len(set(flat)) != len(flat):
            raise ValueError(f"index: expected as many copies and channels in every space, no slice twice, got {self.index}")
        if self.coefficient not in (-1, 1):
            raise ValueError(f"coefficient: expected +1 or -1, got {self.coefficient}")

    def rows(self, values: Tensor) -> Tensor:
        """The slices as rows, float64, shape ``(spaces, copies, k, rest)``."""
        read = values.reshape(self.view).movedim(self.axis, 0).reshape(self.view[self.axis], -1)
        return read.to(torch.float64)[torch.tensor(self.index, device=values.device)]

    def placed(self, rows: Tensor, onto: Tensor) -> Tensor:
        """``onto``, shaped like the parameter, with its slices replaced by ``rows``: the inverse of :meth:`rows`."""
        rest = [n for k, n in enumerate(self.view) if k != self.axis]
        moved = onto.reshape(self.view).movedim(self.axis, 0).clone()
        moved[torch.tensor(self.index, device=onto.device)] = rows.reshape(*rows.shape[:-1], *rest).to(onto.dtype)
        return moved.movedim(0, self.axis).reshape(onto.shape)

    def gram(self, left: Tensor, right: Tensor) -> Tensor:
        """Products of the slices of two tensors shaped like the parameter, summed over copies: ``(spaces, k, k)``."""
        return torch.einsum("scir,scjr->sij", self.rows(left), self.rows(right))


@dataclass(frozen=True)
class MatrixSymmetries:
    """``spaces`` groups GL(k): W1 → S W1, W2 → S⁻ᵀ W2 for slices as rows, S any invertible k×k matrix.

    The charge is the whole symmetric k×k matrix Σ coefficient · W Wᵀ; an antisymmetric generator has none (Kunin et al.
    2021, App. A; Marcotte et al. 2023). Queries and keys, values and outputs of attention, LoRA's factors, linear chains.
    """

    label: str
    blocks: tuple[MatrixBlock, ...]
    kind: ClassVar[str] = GENERAL_LINEAR

    def __post_init__(self) -> None:
        if len({(len(b.index), len(b.index[0][0])) for b in self.blocks}) != 1:
            raise ValueError(f"blocks: expected blocks of as many spaces and channels, got {self.blocks}")

    @property
    def spaces(self) -> int:
        return len(self.blocks[0].index)

    @property
    def k(self) -> int:
        return len(self.blocks[0].index[0][0])

    @property
    def neurons(self) -> int:
        """Number of one-parameter symmetries, as of :class:`NeuronSymmetries`."""
        return self.spaces * self.k**2

    @property
    def charges(self) -> int:
        """Number of charges: the k(k + 1)/2 entries of each space's symmetric matrix."""
        return self.spaces * self.k * (self.k + 1) // 2

    @property
    def symmetry(self) -> derive.Symmetry:
        """The group of one entry i < j, of M = e_ie_jᵀ + e_je_iᵀ: its charge is twice the entry."""
        return KINDS[self.kind]()

    @property
    def entries(self) -> NDArray[Any]:
        """Space (attention: head), row and column of the matrix that each charge is an entry of: ``(charges, 3)``."""
        return upper_triangle.entries(self.spaces, self.k)

    def matrices(self, charges: NDArray[Any]) -> NDArray[Any]:
        """Charges as recorded, shape ``(..., charges)``, as symmetric matrices, shape ``(..., spaces, k, k)``."""
        return upper_triangle.matrices(charges, self.spaces, self.k)

    def form(self, left: Mapping[str, Tensor], right: Mapping[str, Tensor]) -> Tensor:
        """Σ coefficient · A Bᵀ over the blocks, made symmetric, of two vectors by parameter name: ``(spaces, k, k)``.

        At θ, θ it is the charge; at g, g it drives the charge's law.
        """
        grams = [b.coefficient * b.gram(left[b.parameter], right[b.parameter]) for b in self.blocks]
        total = torch.stack(grams).sum(0)
        return (total + total.mT) / 2


@dataclass(frozen=True)
class SymmetryMap:
    """Every symmetry that was found in ``model``, and why others were not claimed.

    Parameters
    ----------
    groups
        The symmetries, in the order in which the network uses them.
    blocked
        One sentence for each place where a symmetry was looked for and not claimed.
    matrices
        Where channels may not only be rescaled but mixed: each GL(k), whose k rescalings are among ``groups`` too.
    model
        The network the names refer to. It is not part of the map's identity (equality, hash).
    """

    groups: tuple[NeuronSymmetries, ...]
    blocked: tuple[str, ...] = ()
    matrices: tuple[MatrixSymmetries, ...] = ()
    model: nn.Module | None = field(default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        shapes = {name: p.shape for name, p in self.model.named_parameters()} if self.model is not None else {}
        for block in (b for group in (*self.groups, *self.matrices) for b in group.blocks):
            if self.model is not None and (
                block.parameter not in shapes or prod(block.view) != shapes[block.parameter].numel()
            ):
                raise ValueError(f"groups: {block} does not fit any parameter of the model")

    def counts(self) -> dict[str, int]:
        """Number of one-parameter symmetries of each kind; of GL(k) those that are no rescalings are ``mixing``."""
        counted = Counter[str]()
        for group in self.groups:
            counted[group.kind] += group.neurons
        for matrices in self.matrices:
            counted[MIXING] += matrices.spaces * matrices.k * (matrices.k - 1)
        return dict(counted)

    def charges(self) -> int:
        """Number of charges: one a neuron, and those off the diagonal of the matrices' symmetric ones."""
        return sum(g.neurons for g in self.groups) + sum(m.spaces * m.k * (m.k - 1) // 2 for m in self.matrices)

    def certify(self, loss_fn: Callable[..., Tensor], batch: tuple[Any, Any]) -> Certificate:
        """Measure every claim on the model itself; see :func:`torch_bridge.certify.certify`."""
        from torch_bridge.certify import certify

        return certify(self, loss_fn, batch)
