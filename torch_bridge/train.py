"""Train a model on a data set with the stock SGD and record it, in one call."""

from __future__ import annotations

import os
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import nn
from tqdm.auto import tqdm

from torch_bridge.data import ImageSet, batches
from torch_bridge.discover import find_symmetries
from torch_bridge.recorder import Recorder
from torch_bridge.run_log import RunLog
from torch_bridge.weight_sample import WeightSample


class TrainingError(ValueError):
    """A run that cannot be started or went wrong."""


@dataclass(frozen=True)
class Training:
    """How to train: the arguments of ``torch.optim.SGD`` and of the loop around it.

    Parameters
    ----------
    steps, batch_size, seed
        Number of updates, images in a batch, seed of the shuffling.
    lr, momentum, dampening, nesterov, weight_decay
        η, β, α, Nesterov, λ of ``torch.optim.SGD``.
    clip
        Scale the whole gradient down to this norm where it is longer; 0 leaves it alone. The laws hold for the gradient
        that is used, and ⟨g, X⟩ = 0 does not mind a common factor.
    cosine
        Decrease lr along a half cosine to 0 at the end instead of keeping it constant.
    every
        Steps between two measured charges.
    device
        ``"cpu"``, ``"cuda"``, …
    """

    steps: int = 300
    batch_size: int = 64
    seed: int = 0
    lr: float = 0.1
    momentum: float = 0.0
    dampening: float = 0.0
    nesterov: bool = False
    weight_decay: float = 0.0
    clip: float = 0.0
    cosine: bool = False
    every: int = 1
    device: str = "cpu"

    def __post_init__(self) -> None:
        for name in ("steps", "batch_size", "every"):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool):
                raise TrainingError(f"{name}: expected a whole number, got {value!r}")
            if value < 1:
                raise TrainingError(f"{name}: expected at least 1, got {value}")
        if not 0 <= self.clip < float("inf"):
            raise TrainingError(f"clip: expected a finite norm, or 0 for none, got {self.clip}")

    def optimizer(self, model: nn.Module) -> torch.optim.SGD:
        return torch.optim.SGD(
            model.parameters(),
            lr=self.lr,
            momentum=self.momentum,
            dampening=self.dampening,
            nesterov=self.nesterov,
            weight_decay=self.weight_decay,
        )


def train(
    model: nn.Module,
    images: ImageSet,
    training: Training,
    out: str | os.PathLike[str],
    *,
    meta: dict[str, Any] | None = None,
    online: int | None = None,
    weights: int = 0,
    progress: bool = True,
) -> RunLog:
    """Train with cross-entropy, recording every symmetry that the model is found to have into the folder ``out``.

    ``meta`` (JSON scalars) is kept with the run, beside the training's own numbers. ``online`` is the recorder's, for runs
    whose forcing would fill the disk. ``weights`` of each convolution are kept besides, if any.

    Raises
    ------
    TrainingError
        If the device is not there, or the loss stops being finite; the log up to there stays readable.
    """
    if not 1 <= training.batch_size <= len(images):
        raise TrainingError(f"batch_size: expected 1 to {len(images)}, the images there are, got {training.batch_size}")
    device = _device(training.device)
    model = model.to(device).train()
    optimizer = training.optimizer(model)
    schedule = _schedule(optimizer, training)
    example = images.images[0][0][None].repeat(2, 1, 1, 1).to(device)
    symmetries = find_symmetries(model, example)
    _require_classes(model, example, images.classes)
    kept = {**asdict(training), **(meta or {})}
    sample = WeightSample(optimizer, model, out, count=weights, every=training.every) if weights else nullcontext()
    with Recorder(optimizer, symmetries, out, every=training.every, online=online, meta=kept), sample:
        stream = batches(images, training.batch_size, training.steps, training.seed)
        for step, (x, y) in enumerate(tqdm(stream, total=training.steps, desc="training", disable=not progress)):
            optimizer.zero_grad(set_to_none=True)
            loss = nn.functional.cross_entropy(model(x.to(device)), y.to(device))
            if not torch.isfinite(loss):
                raise TrainingError(f"loss: expected a finite loss, got {loss.item()} at step {step}; lower lr or momentum")
            loss.backward()
            if training.clip:
                nn.utils.clip_grad_norm_(model.parameters(), training.clip)
            optimizer.step()
            schedule.step()
    return RunLog.open(out)


def _require_classes(model: nn.Module, example: torch.Tensor, classes: int) -> None:
    """Refuse labels that the model has no logit for, before anything is written."""
    was_training = model.training
    with torch.no_grad():
        logits = model.eval()(example).shape[-1]
    model.train(was_training)
    if logits < classes:
        raise TrainingError(f"classes: expected at least the data's {classes}, got a model with {logits} logits")


def _device(name: str) -> torch.device:
    try:
        torch.zeros(1, device=name).cpu()  # a device without data (meta) fails here
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise TrainingError(f"device: expected one that torch can use here, got {name!r} ({error})") from error
    return torch.device(name)


def _schedule(optimizer: torch.optim.SGD, training: Training) -> torch.optim.lr_scheduler.LRScheduler:
    if training.cosine:
        return torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, training.steps)
    return torch.optim.lr_scheduler.ConstantLR(optimizer, factor=1.0)
