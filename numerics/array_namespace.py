"""The array library of the caller's arrays, found without importing it: numpy, or torch where a tensor was passed."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

import numpy as np

Array = Any
"""A numpy array or a torch tensor."""


def namespace(*arrays: Array) -> ModuleType:
    """``torch`` if any argument is a tensor, else ``numpy``.

    torch is read from ``sys.modules``: whoever holds a tensor has imported it.

    >>> namespace(1.0, np.zeros(2)).__name__
    'numpy'
    """
    torch = sys.modules.get("torch")
    if torch is not None and any(isinstance(a, torch.Tensor) for a in arrays):
        return torch
    return np


def like(value: Array, example: Array) -> Array:
    """``value`` as an array of the library, floating dtype and device of ``example`` (float64 for integers).

    >>> like(1, np.array([2])).dtype
    dtype('float64')
    """
    xp = namespace(example)
    if xp is np:
        dtype = np.asarray(example).dtype
        return np.asarray(value, dtype=dtype if dtype.kind == "f" else np.float64)
    return xp.as_tensor(value, dtype=example.dtype if example.is_floating_point() else xp.float64, device=example.device)
