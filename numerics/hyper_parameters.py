"""Names and ranges of the hyper-parameters, checked once for kernels and propagators."""

from __future__ import annotations

import numpy as np

from numerics.array_namespace import Array, namespace

RANGES = {"lr": (0.0, None), "weight_decay": (0.0, None), "momentum": (0.0, 1.0), "dampening": (0.0, 1.0)}
"""Name -> (smallest allowed, first not allowed), as ``torch.optim.SGD`` and the theory have them."""


def problem(name: str, value: Array) -> str | None:
    """What is wrong with ``value`` as the argument ``name``, in words, or None.

    >>> problem("momentum", 1.5)
    'momentum: expected at least 0.0 and below 1.0, got 1.5'
    """
    xp = namespace(value)
    array = np.asarray(value) if xp is np else value.detach()
    if not bool(xp.isfinite(array).all()):
        return f"{name}: expected finite numbers, got NaN or infinity"
    low, high = RANGES.get(name, (None, None))
    if low is not None and bool((array < low).any()):
        return f"{name}: expected {_words(low, high)}, got {float(array.min())}"
    if high is not None and bool((array >= high).any()):
        return f"{name}: expected {_words(low, high)}, got {float(array.max())}"
    return None


def _words(low: float | None, high: float | None) -> str:
    return f"at least {low}" if high is None else f"at least {low} and below {high}"
