"""Rows between the device they are made on and the log they go to, and which of them are fit for it."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from torch_bridge.run_header import Header, first_nonfinite

_SHARE, _LEAST, _MOST = 0.01, 2**18, 256


def rows_to_wait(header: Header, parameter_bytes: int) -> int:
    """How many rows wait unless someone says otherwise: 1 % of the parameters' bytes, or 256 kB, at most 256 rows.

    Measured charges, two float64 numbers a neuron, wait among them and count. Writing 7 rows at a time costs a CPU as
    little for each row as writing 256; on an accelerator the training waits at every write.

    >>> header = Header((), "float32", every=1, nesterov=False, fresh=True)
    >>> rows_to_wait(header, 0)
    256
    """
    row = np.dtype(header.dtype).itemsize * header.columns + 2 * 8 * header.neurons / header.every
    return int(min(_MOST, max(1.0, max(_LEAST, _SHARE * parameter_bytes) / max(row, 1.0))))


class PendingRows:
    """Rows that wait on the device, and charges measured among them: ``(step, charge, magnitude)``."""

    def __init__(self, capacity: int, header: Header, device: torch.device) -> None:
        self._rows = torch.empty((capacity, header.columns), dtype=getattr(torch, header.dtype), device=device)
        self._hyper: list[list[float]] = []
        self._hypers = header.hypers
        self.charges: list[tuple[int, Tensor, Tensor]] = []

    def __len__(self) -> int:
        return len(self._hyper)

    def push(self, row: Tensor, hyper: list[float]) -> None:
        """Keep a row of forcing, shape ``(columns,)``, and of hyper-parameters. It counts only once both are in."""
        self._rows[len(self)].copy_(row)
        self._hyper.append(hyper)

    @property
    def full(self) -> bool:
        """Whether there is no room for another row."""
        return len(self) == len(self._rows)

    def last_is_finite(self) -> bool:
        """Whether the latest row and charge are finite; a CPU's."""
        latest = [self._rows[len(self) - 1], *(magnitude for _, _, magnitude in self.charges[-1:])]
        return all(bool(np.isfinite(values.numpy()).all()) for values in latest)

    def take(self) -> tuple[NDArray[Any], NDArray[np.float64], list[tuple[int, NDArray[Any], NDArray[Any]]]]:
        """Hand everything over to the host, as forcing, hyper-parameters and charges."""
        forcing = self._rows[: len(self)].cpu().numpy()
        hyper = np.array(self._hyper, np.float64).reshape(-1, self._hypers)
        charges = [(step, charge.cpu().numpy(), magnitude.cpu().numpy()) for step, charge, magnitude in self.charges]
        self._hyper, self.charges = [], []
        return forcing, hyper, charges


def rows_before_nonfinite(
    header: Header, first: int, forcing: NDArray[Any], charges: list[tuple[int, NDArray[Any], NDArray[Any]]]
) -> tuple[int, str | None]:
    """How many rows come before the first number that is not finite, and whose number that is."""
    bad = first_nonfinite(forcing)
    good, owner = (len(forcing), None) if bad is None else (bad[0], header.owner("forcing", bad[1]))
    for step, _, magnitude in charges:
        bad = first_nonfinite(magnitude[None])
        if bad is not None and step - 1 - first < good:  # the update before the measurement is the one to blame
            return max(step - 1 - first, 0), header.owner("charge", bad[1])
    return good, owner
