"""A few weights of each convolution as they move: the noise behind the smooth charges (Kunin et al. 2021, Fig. 1)."""

from __future__ import annotations

import os
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from torch_bridge.run_folder import read_arrays, write_arrays
from torch_bridge.run_log import RunLogError

FILE = "weights.npz"
"""Name of the file in the run's folder."""


class WeightSample:
    """Keeps ``count`` weights of each convolution, evenly spread over it, while in its ``with`` block.

    Put it inside a :class:`torch_bridge.Recorder`'s block with the same ``every``: the sample is then written into the run's
    folder before the run is marked complete, and its rows belong to the log's ``charge_steps``.

    Parameters
    ----------
    optimizer, model
        Whose steps are counted, and whose ``nn.Conv2d`` weights are read.
    folder
        That of the run.
    count, every
        Weights of each convolution (all, where it has fewer), and steps between two rows.
    """

    def __init__(
        self,
        optimizer: torch.optim.Optimizer,
        model: nn.Module,
        folder: str | os.PathLike[str],
        *,
        count: int,
        every: int = 1,
    ) -> None:
        for name, value in {"count": count, "every": every}.items():
            if value < 1:
                raise ValueError(f"{name}: expected at least 1, got {value}")
        layers = {f"{name}.weight": layer.weight for name, layer in model.named_modules() if isinstance(layer, nn.Conv2d)}
        self._chosen = {name: (weight, _spread(weight, count)) for name, weight in layers.items()}
        self._optimizer, self._folder, self._every = optimizer, Path(folder), every
        self._rows: list[list[Tensor]] = []
        self._kept: list[int] = []
        self._step = 0
        self._handle: RemovableHandle | None = None

    def __enter__(self) -> WeightSample:
        self._keep()
        self._handle = self._optimizer.register_step_post_hook(self._after_step)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._handle is not None:
            self._handle.remove()
        if kind is None:
            if self._kept[-1] != self._step:
                self._keep()
            columns = [torch.stack(rows).float().cpu().numpy() for rows in zip(*self._rows, strict=True)]
            steps = np.array(self._kept, np.int64)
            write_arrays(self._folder / FILE, {"steps": steps, **dict(zip(self._chosen, columns, strict=True))})

    def _after_step(self, optimizer: torch.optim.Optimizer, args: Any, kwargs: Any) -> None:
        self._step += 1
        if self._step % self._every == 0:
            self._keep()

    def _keep(self) -> None:
        with torch.no_grad():
            self._rows.append([weight.reshape(-1)[places] for weight, places in self._chosen.values()])
        self._kept.append(self._step)


def _spread(weight: Tensor, count: int) -> Tensor:
    return torch.linspace(0, weight.numel() - 1, min(count, weight.numel()), device=weight.device).round().long()


def read_weight_sample(folder: str | os.PathLike[str]) -> tuple[NDArray[np.int64], dict[str, NDArray[np.float32]]]:
    """``(steps, weights)`` of a run: shape ``(m,)``, and convolution's parameter -> shape ``(m, count)``.

    Raises
    ------
    RunLogError
        If the run kept none, or the file is damaged.
    """
    file = Path(folder) / FILE
    if not file.exists():
        raise RunLogError(f"path: expected a run with {FILE}, got {folder} without; train it with weights=8, say")
    try:
        arrays = read_arrays(file)[0]
        return arrays.pop("steps"), arrays
    except (RunLogError, KeyError) as error:
        raise RunLogError(f"{file}: damaged ({error}); restore it from a copy, or train the run again") from error
