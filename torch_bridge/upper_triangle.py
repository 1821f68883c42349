"""Symmetric k × k matrices, several of them in one row of numbers: each by its upper triangle, row by row."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def entries(spaces: int, k: int) -> NDArray[np.int64]:
    """Space, row and column that each of ``spaces * k * (k + 1) / 2`` numbers stands for, row ≤ column.

    >>> entries(2, 2).tolist()
    [[0, 0, 0], [0, 0, 1], [0, 1, 1], [1, 0, 0], [1, 0, 1], [1, 1, 1]]
    """
    row, column = np.triu_indices(k)
    return np.stack([np.repeat(np.arange(spaces), len(row)), np.tile(row, spaces), np.tile(column, spaces)], axis=1)


def matrices(values: NDArray[np.floating], spaces: int, k: int) -> NDArray[np.floating]:
    """The symmetric matrices, shape ``(..., spaces, k, k)``, of numbers of shape ``(..., spaces * k * (k + 1) / 2)``.

    Raises
    ------
    ValueError
        If they are not so many.

    Examples
    --------
    >>> matrices(np.array([1.0, 2.0, 3.0]), 1, 2).tolist()
    [[[1.0, 2.0], [2.0, 3.0]]]
    """
    where, given = entries(spaces, k), np.shape(values)[-1:]
    if given != (len(where),):
        raise ValueError(f"values: expected {len(where)} numbers along the last axis, for {spaces} matrices of {k} x {k}, "
                         f"got shape {np.shape(values)}; pass all columns of the group")  # fmt: skip
    whole = np.empty((*values.shape[:-1], spaces, k, k), values.dtype)
    space, row, column = where.T
    whole[..., space, row, column] = values
    whole[..., space, column, row] = values
    return whole
