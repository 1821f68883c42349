"""Sums of products over each neuron's slice of a parameter: the one thing that the recorder asks of large tensors.

A tensor is read as a matrix with the neurons of one axis as rows; what a symmetry needs are the sums along its rows or
down its columns. On a CPU they are taken chunk by chunk, so that the second finds its operands in the cache, and
without a buffer for the products.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

CHUNK = 2**18
"""Numbers of a tensor that are summed along the rows, then down the columns, before the next: about a CPU's cache."""

_ROWS, _COLUMNS = "ij,ij->i", "ij,ij->j"


def matrix_sums(
    a: Tensor, b: Tensor | None, leading: int, *, rows: bool, columns: bool, precise: bool = False
) -> tuple[Tensor | None, Tensor | None]:
    """``Σ_j a_ij b_ij`` and ``Σ_i a_ij b_ij`` of two tensors read as ``(leading, -1)``, each if asked for, in float64.

    Parameters
    ----------
    a, b
        Tensors of one shape and dtype; ``None`` stands for ones.
    leading
        Number of rows: ``a.numel()`` is a multiple.
    precise
        Multiply and add in float64 even if the tensors are float32: a relative error of 1e-15 instead of 1e-7 to 1e-6.

    Examples
    --------
    >>> rows, columns = matrix_sums(torch.ones(2, 3), None, 2, rows=True, columns=True)
    >>> rows, columns
    (tensor([3., 3.], dtype=torch.float64), tensor([2., 2., 2.], dtype=torch.float64))
    """
    a = a.detach().reshape(leading, -1)
    b = None if b is None else b.detach().reshape(leading, -1)
    if a.device.type != "cpu":
        return _at_once(a, b, rows, columns, precise)
    if b is None:
        return _plain(a.numpy(), rows, columns)
    return _in_chunks(a.numpy(), b.numpy(), rows, columns, np.dtype(np.float64) if precise else None)


def _plain(a: np.ndarray, rows: bool, columns: bool) -> tuple[Tensor | None, Tensor | None]:
    """NumPy's sums widen piece by piece; torch's would copy the whole tensor to float64 first."""
    along = torch.from_numpy(a.sum(1, dtype=np.float64)) if rows else None
    return along, (torch.from_numpy(a.sum(0, dtype=np.float64)) if columns else None)


def _at_once(a: Tensor, b: Tensor | None, rows: bool, columns: bool, precise: bool) -> tuple[Tensor | None, Tensor | None]:
    product = a if b is None else a.double() * b if precise else a * b
    along = product.sum(1, dtype=torch.float64) if rows else None
    return along, (product.sum(0, dtype=torch.float64) if columns else None)


def _in_chunks(
    a: np.ndarray, b: np.ndarray, rows: bool, columns: bool, dtype: np.dtype | None
) -> tuple[Tensor | None, Tensor | None]:
    along = np.empty(len(a)) if rows else None
    down = np.zeros(a.shape[1]) if columns else None
    height = max(1, CHUNK // max(1, a.shape[1]))
    for start in range(0, len(a), height):
        chunk = slice(start, start + height)
        if along is not None:
            along[chunk] = np.einsum(_ROWS, a[chunk], b[chunk], dtype=dtype)
        if down is not None:
            down += np.einsum(_COLUMNS, a[chunk], b[chunk], dtype=dtype)
    return tuple(None if sums is None else torch.from_numpy(sums) for sums in (along, down))  # type: ignore[return-value]
