"""Sums of products over each neuron's slice of a parameter: the one thing that the recorder asks of large tensors.

A tensor is read as a matrix with the neurons of one axis as rows; what a symmetry needs are the sums along its rows or
down its columns. On a CPU all products of a parameter's tensors are summed tile by tile: each tensor then comes from
memory once, which is most of the cost, and no product is ever stored.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

TILE = 2**18
"""Numbers of a tensor that are summed along the rows, then down the columns, before the next: about a CPU's cache."""

PRECISE_TILE = 2**15
"""Likewise where they are widened to float64 first, which takes a buffer of 256 kB."""

_SMALL = 2**12
"""Numbers up to which a product is made at once: a bias is soon summed, and NumPy's calls would take longer than the sum."""

_WIDTH, _HEIGHT = 8192, 256
"""Most columns and rows of a tile. Inside one, float32 is added in float32. OpenBLAS splits no shorter dot product over
threads of its own, which would then wait beside torch's."""


class Product(NamedTuple):
    """``a_ij b_ij`` of two of several tensors, by their places among these, and along what it is summed."""

    first: int
    second: int
    rows: bool
    columns: bool


Sums = tuple[Tensor | None, Tensor | None]
"""``Σ_j a_ij b_ij`` and ``Σ_i a_ij b_ij`` in float64, each if asked for."""

_Tiles = list["NDArray | None"]


def matrix_sums(
    tensors: Sequence[Tensor | None], products: Sequence[Product], leading: int, *, precise: bool = False
) -> list[Sums]:
    """Sums of products of tensors that are read as ``(leading, -1)`` matrices.

    Parameters
    ----------
    tensors
        Of one shape, dtype and device where a product needs them; ``None``, as the second of a product, stands for ones.
    leading
        Number of rows; a divisor of every ``numel()``.
    precise
        Multiply and add in float64 even if the tensors are float32: a relative error of 1e-15 instead of 1e-7 to 1e-6.

    Examples
    --------
    >>> products = [Product(0, 0, rows=True, columns=False), Product(0, 1, rows=False, columns=True)]
    >>> matrix_sums([torch.ones(2, 3), None], products, 2)
    [(tensor([3., 3.], dtype=torch.float64), None), (None, tensor([2., 2., 2.], dtype=torch.float64))]
    """
    needed = {place for product in products for place in product[:2]}
    matrices = [t.detach().reshape(leading, -1) if k in needed and t is not None else None for k, t in enumerate(tensors)]
    first = matrices[products[0].first]
    assert first is not None, "only a second factor can be ones"
    if first.device.type != "cpu" or first.numel() <= _SMALL:
        return [_at_once(matrices[p.first], matrices[p.second], p, precise) for p in products]  # type: ignore[arg-type]
    arrays: _Tiles = [None if matrix is None else matrix.numpy() for matrix in matrices]
    along = [np.zeros(first.shape[0]) if p.rows else None for p in products]
    down = [np.zeros(first.shape[1]) if p.columns else None for p in products]
    widen = _Widened() if precise and first.dtype != torch.float64 else None
    with np.errstate(over="ignore", invalid="ignore"):  # what is not finite is refused by who asked
        for i, j in _tiles(*first.shape, TILE if widen is None else PRECISE_TILE):
            tiles = [None if array is None else array[i, j] for array in arrays]
            _add_tile(products, tiles if widen is None else widen(tiles), _parts(along, i), _parts(down, j))
    return [(_tensor(rows), _tensor(columns)) for rows, columns in zip(along, down, strict=True)]


def _tensor(sums: NDArray | None) -> Tensor | None:
    return None if sums is None else torch.from_numpy(sums)


def _at_once(a: Tensor, b: Tensor | None, asked: Product, precise: bool) -> Sums:
    """On an accelerator without a wait for it."""
    product = a if b is None else a.double() * b if precise else a * b
    along = product.sum(1, dtype=torch.float64) if asked.rows else None
    return along, (product.sum(0, dtype=torch.float64) if asked.columns else None)


def _parts(sums: _Tiles, of: slice) -> _Tiles:
    return [None if values is None else values[of] for values in sums]


def _add_tile(products: Sequence[Product], tiles: _Tiles, along: _Tiles, down: _Tiles) -> None:
    for product, rows, columns in zip(products, along, down, strict=True):
        x, y = tiles[product.first], tiles[product.second]
        assert x is not None, "only a second factor can be ones"
        if rows is not None:
            rows += _along(x, y)
        if columns is not None:
            columns += _down(x, y)


@lru_cache(maxsize=256)
def _tiles(rows: int, columns: int, size: int) -> tuple[tuple[slice, slice], ...]:
    """Tiles of about ``size`` numbers; those of the same rows one after the other."""
    width = min(_WIDTH, max(1, columns))
    height = min(_HEIGHT, max(1, size // width))
    starts = ((i, j) for i in range(0, rows, height) for j in range(0, columns, width))
    return tuple((slice(i, i + height), slice(j, j + width)) for i, j in starts)


def _along(x: NDArray, y: NDArray | None) -> NDArray:
    if y is None:
        return x.sum(1, dtype=np.float64)  # widened piece by piece; torch would copy the whole first
    return np.matmul(x[:, None, :], y[:, :, None])[:, 0, 0]  # a BLAS dot product a row: three times as fast as einsum


def _down(x: NDArray, y: NDArray | None) -> NDArray:
    return x.sum(0, dtype=np.float64) if y is None else np.einsum("ij,ij->j", x, y)


class _Widened:
    """Tiles in float64, each in a buffer that the next tile takes over."""

    def __init__(self) -> None:
        self._buffers: dict[int, NDArray[np.float64]] = {}

    def __call__(self, tiles: _Tiles) -> _Tiles:
        return [None if tile is None else self._copy(place, tile) for place, tile in enumerate(tiles)]

    def _copy(self, place: int, tile: NDArray) -> NDArray[np.float64]:
        if place not in self._buffers:
            self._buffers[place] = np.empty(tile.size)  # the first tile is the largest
        wide = self._buffers[place][: tile.size].reshape(tile.shape)
        np.copyto(wide, tile)
        return wide
