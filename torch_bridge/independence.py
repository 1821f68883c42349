"""How many of the claimed symmetries are independent: the rank of their generators, vectors as long as the network is large.

Generators are sparse. One that alone moves some entry of θ is independent of all others and can be set aside; then others
are alone somewhere. What is left over at the end, often nothing, is small enough for a dense rank.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import prod
from typing import Any

import numpy as np
import scipy.sparse as sparse
import torch
from numpy.typing import NDArray
from torch import Tensor

from torch_bridge.symmetry_map import MatrixBlock, MatrixSymmetries, NeuronSymmetries, SymmetryMap

ENTRIES = 200_000
"""Entries of one parameter that are looked at, drawn at random if there are more: the rank there bounds the rank below."""

DENSE = 6_000
"""Generators beyond which no dense rank is computed; the rest then counts as dependent."""

GAP = 1e-9
"""Singular values below this fraction of the largest are rounding."""


def independent_generators(symmetry_map: SymmetryMap, parameters: Mapping[str, Tensor]) -> int:
    """The rank of all generators at the values of ``parameters``.

    >>> from torch_bridge.symmetry_map import Block
    >>> rows, columns = (NeuronSymmetries("translation", "w", (Block("w", (2, 3), axis),)) for axis in (0, 1))
    >>> independent_generators(SymmetryMap((rows, columns)), {"w": torch.ones(2, 3)})  # all rows = all columns
    4
    """
    moved = generator_matrix(symmetry_map, parameters)
    alone, rest = _set_aside(moved)
    return alone + (_dense_rank(moved[:, rest]) if 0 < len(rest) <= DENSE else 0)


def generator_matrix(symmetry_map: SymmetryMap, parameters: Mapping[str, Tensor]) -> sparse.csc_matrix:
    """Generators as columns: rows are entries of the parameters, a sample of those of large ones."""
    names = dict.fromkeys(b.parameter for g in (*symmetry_map.groups, *symmetry_map.matrices) for b in g.blocks)
    draw = np.random.default_rng(0)
    chosen = {n: _chosen(parameters[n].numel(), draw) for n in names}
    starts = dict(zip(names, np.cumsum([0, *(len(c) for c in chosen.values())]), strict=False))
    parts, count = [], 0
    for group in (*symmetry_map.groups, *symmetry_map.matrices):
        for block in group.blocks:
            entries, columns, values = _moves(group, block, parameters[block.parameter].detach().cpu().double())
            at = np.searchsorted(chosen[block.parameter], entries)
            seen = (at < len(chosen[block.parameter])) & (
                chosen[block.parameter][at % len(chosen[block.parameter])] == entries
            )
            parts.append((starts[block.parameter] + at[seen], count + columns[seen], values[seen]))
        count += group.neurons if isinstance(group, NeuronSymmetries) else group.neurons - group.spaces * group.k
    rows, columns, values = (np.concatenate(p) for p in zip(*parts, strict=True)) if parts else (np.zeros(0, int),) * 3
    matrix = sparse.csc_matrix((values.astype(float), (rows, columns)), shape=(sum(map(len, chosen.values())), count))
    matrix.eliminate_zeros()
    return matrix


def _chosen(size: int, draw: np.random.Generator) -> NDArray[np.int64]:
    return np.arange(size) if size <= ENTRIES else np.sort(draw.choice(size, ENTRIES, replace=False))


def _moves(group: Any, block: Any, theta: Tensor) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Entries of the parameter, the group's generators that move them, and by how much."""
    entries = torch.arange(theta.numel()).reshape(theta.shape)
    if isinstance(group, MatrixSymmetries):
        return _mixing(block, theta, entries)
    owner = block.spread(torch.arange(block.neurons, dtype=torch.float64), nobody=-1.0).reshape(-1).long()
    values = torch.ones_like(theta) if group.symmetry.identity == 0 else theta
    mine = owner >= 0
    return mine.nonzero().reshape(-1).numpy(), owner[mine].numpy(), (block.coefficient * values.reshape(-1)[mine]).numpy()


def _mixing(block: MatrixBlock, theta: Tensor, entries: Tensor) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Of GL(k) the generators that add a row to another one; those that scale a row are a group of their own."""
    at, x = block.rows(entries).long(), block.rows(theta)
    spaces, copies, k, rest = x.shape
    parts = list(_pairs(k))
    found = []
    for number, (i, j) in enumerate(parts):
        to, source = (i, j) if block.coefficient > 0 else (j, i)
        column = torch.arange(spaces)[:, None, None] * len(parts) + number
        found.append((at[:, :, to], column.expand(spaces, copies, rest), block.coefficient * x[:, :, source]))
    entry, columns, values = (torch.stack(p).reshape(-1).numpy() for p in zip(*found, strict=True))
    return entry, columns, values


def _pairs(k: int) -> Iterator[tuple[int, int]]:
    return ((i, j) for i in range(k) for j in range(k) if i != j)


def _set_aside(moved: sparse.csc_matrix) -> tuple[int, NDArray[np.int64]]:
    """How many generators can be set aside one after the other, and which are left."""
    left = np.arange(moved.shape[1])
    alone = 0
    while len(left):
        by_entry = moved[:, left].tocsr()
        lonely = np.flatnonzero(np.diff(by_entry.indptr) == 1)
        gone = np.unique(by_entry.indices[by_entry.indptr[lonely]])
        if not len(gone):
            break
        alone += len(gone)
        left = np.delete(left, gone)
    return alone, left


def _dense_rank(moved: sparse.csc_matrix) -> int:
    size = np.sqrt(np.asarray(moved.multiply(moved).sum(0)).reshape(-1))
    kept = moved[:, size > 0].multiply(1 / size[size > 0]).tocsr()
    kept = kept[np.diff(kept.indptr) > 0].toarray()
    if not kept.size:
        return 0
    values = np.linalg.svd(kept if prod(kept.shape) < 10**7 else np.linalg.qr(kept, "r"), compute_uv=False)
    return int((values > GAP * values[0]).sum())
