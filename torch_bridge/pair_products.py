"""Products of every slice of a parameter with every other: what the k × k charge of a GL(k) needs of large tensors.

Where :mod:`torch_bridge.neuron_sums` sums over one neuron's slice, this multiplies all slices that a GL(k) mixes: one
batched product of matrices for each pair of tensors, in float64 (GPUs may multiply float32 matrices with ten bits).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence, Set
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from torch_bridge.sgd_update import PAIRS
from torch_bridge.symmetry_map import MatrixBlock
from torch_bridge.upper_triangle import entries

if TYPE_CHECKING:
    from torch_bridge.recording_plan import Seen, Tracked

VALUES, SIZES = PAIRS.index((1, 1)), PAIRS.index((0, 0))
"""The pairs of ``(|θ|, θ)`` whose products are a charge's terms, and the absolute values of its terms."""


@dataclass(frozen=True, eq=False)
class MatrixUse:
    """A block, the index of the columns that its products go to, and which slices it is made of, as indices."""

    block: MatrixBlock
    part: int
    slices: Tensor

    @staticmethod
    def of(block: MatrixBlock, part: int, device: torch.device) -> MatrixUse:
        return MatrixUse(block, part, torch.tensor(block.index, device=device))

    def rows(self, values: Tensor) -> Tensor:
        """The slices of all copies side by side, float64, shape ``(spaces, k, copies * rest)``."""
        view, axis = self.block.view, self.block.axis
        read = values.reshape(view).movedim(axis, 0).reshape(view[axis], -1)[self.slices].to(torch.float64)
        return read.transpose(1, 2).flatten(2)


@dataclass(frozen=True, eq=False)
class PairProducts:
    """The parameters whose slices some GL(k) mixes, each with its uses."""

    uses: tuple[tuple[Tracked, tuple[MatrixUse, ...]], ...]

    def sums(
        self, needed: Sequence[Set[int]], seen_of: Callable[[Tracked], Seen]
    ) -> Iterator[tuple[int, MatrixUse, Tensor]]:
        """Index of a pair of tensors, use, and the products of its slices, shape ``(charges of the part,)``.

        Parameters
        ----------
        needed
            For each part the pairs of tensors, as indices in :data:`PAIRS`, that its columns need.
        seen_of
            The tensors of a parameter.
        """
        for tracked, uses in self.uses:
            seen = seen_of(tracked)
            for use in uses:
                for index, products in _products(use, seen, needed[use.part]):
                    yield index, use, products


def _products(use: MatrixUse, seen: Seen, pairs: Set[int]) -> Iterator[tuple[int, Tensor]]:
    """Of each pair of tensors the upper triangles of (A Bᵀ + B Aᵀ)/2, shape ``(charges,)``."""
    rows: dict[int, Tensor] = {}
    for k in sorted({k for index in pairs for k in PAIRS[index]}):
        whole = _whole(seen[k])
        if whole is None:  # another process has it
            continue
        rows[k] = use.rows(whole)
    for index in sorted(pairs) if rows else ():
        first, second = PAIRS[index]
        gram = rows[first] @ rows[second].mT
        space, row, column = entries(*gram.shape[:2]).T
        yield index, (gram[space, row, column] + gram[space, column, row]) / 2


def _whole(tensor: Any) -> Tensor | None:
    """All of a tensor; where FSDP2 has sharded it the first process gets it, the others None. All have to ask."""
    if not hasattr(tensor, "device_mesh"):
        return tensor.detach()
    whole = tensor.detach().full_tensor()
    return whole if tensor.device_mesh.get_local_rank() == 0 else None


def size_and_value(tracked: Tracked) -> Seen:
    """``|θ|`` and θ, for :data:`SIZES` and :data:`VALUES`."""
    theta = tracked.parameter.detach()
    return (theta.abs(), theta, None, None)
