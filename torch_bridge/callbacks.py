"""The recorder as a callback of Lightning and of the Hugging Face Trainer: both only say when it starts and ends."""

from __future__ import annotations

import os
from typing import Any

import torch

from torch_bridge.recorder import Recorder, RecordingError
from torch_bridge.symmetry_map import SymmetryMap


def lightning_callback(symmetries: SymmetryMap, path: str | os.PathLike[str], **options: Any) -> Any:
    """A Lightning callback that records the trainer's only optimizer from the start of ``fit`` to its end.

    A checkpoint flushes the log and holds the steps recorded, and ``fit(..., ckpt_path=...)`` goes on from there. With
    several processes of equal parameters (DDP) the first one records.

    Parameters
    ----------
    symmetries
        Found in the ``LightningModule``'s own network, so that the parameters are the same objects.
    path, **options
        As for :class:`Recorder`, except ``resume``.

    Raises
    ------
    RecordingError
        If Lightning is not installed; from ``fit``, what the recorder raises.

    Examples
    --------
    >>> trainer = Trainer(callbacks=[lightning_callback(symmetries, "run")])  # doctest: +SKIP
    """
    try:
        from lightning.pytorch import Callback  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise RecordingError("lightning: expected it to be installed; pip install 'nmech[lightning]'") from error

    class RecorderCallback(Callback):
        def __init__(self) -> None:
            self.recorder: Recorder | None = None
            self.resume: int | None = None

        def on_train_start(self, trainer: Any, pl_module: Any) -> None:
            if trainer.is_global_zero:
                optimizer = _only(trainer.optimizers)
                self.recorder = Recorder(optimizer, symmetries, path, resume=self.resume, **options).__enter__()

        def on_train_end(self, trainer: Any, pl_module: Any) -> None:
            _leave(self.recorder, None)

        def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
            _leave(self.recorder, exception)

        def state_dict(self) -> dict[str, Any]:
            if self.recorder is None:
                return {}
            self.recorder.flush()
            return {"steps": self.recorder.steps}

        def load_state_dict(self, state_dict: dict[str, Any]) -> None:
            self.resume = state_dict.get("steps")

    return RecorderCallback()


def trainer_callback(symmetries: SymmetryMap, path: str | os.PathLike[str], **options: Any) -> Any:
    """A callback for the Hugging Face ``Trainer`` that records its optimizer from the start of ``train`` to its end.

    ``Trainer(..., optimizers=(torch.optim.SGD(...), schedule))``: its default is AdamW. ``resume_from_checkpoint`` goes on
    with the log if it was recorded from the first step on. After an exception, call ``close()`` to let go of the folder.

    Parameters
    ----------
    symmetries
        Found in the model that the trainer trains.
    path, **options
        As for :class:`Recorder`, except ``resume``.

    Raises
    ------
    RecordingError
        If transformers is not installed; from ``train``, what the recorder raises.

    Examples
    --------
    >>> trainer = Trainer(model, callbacks=[trainer_callback(symmetries, "run")], ...)  # doctest: +SKIP
    """
    try:
        from transformers import TrainerCallback  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise RecordingError("transformers: expected it to be installed; pip install 'nmech[transformers]'") from error

    class RecorderCallback(TrainerCallback):
        def __init__(self) -> None:
            self.recorder: Recorder | None = None

        def on_train_begin(self, args: Any, state: Any, control: Any, **given: Any) -> None:
            if state.is_world_process_zero:
                optimizer = getattr(given["optimizer"], "optimizer", given["optimizer"])  # accelerate wraps it
                resume = state.global_step or None
                self.recorder = Recorder(optimizer, symmetries, path, resume=resume, **options).__enter__()

        def on_save(self, args: Any, state: Any, control: Any, **given: Any) -> None:
            if self.recorder is not None:
                self.recorder.flush()

        def on_train_end(self, args: Any, state: Any, control: Any, **given: Any) -> None:
            _leave(self.recorder, None)

        def close(self) -> None:
            """Let go of the folder after a training that did not end: the log stays readable, and not complete."""
            _leave(self.recorder, RecordingError("the training did not end"))

    return RecorderCallback()


def _only(optimizers: list[torch.optim.Optimizer]) -> torch.optim.Optimizer:
    if len(optimizers) != 1:
        raise RecordingError(f"optimizers: expected one, got {len(optimizers)}; use a Recorder for each, in your own hooks")
    return optimizers[0]


def _leave(recorder: Recorder | None, error: BaseException | None) -> None:
    if recorder is not None:
        recorder.__exit__(None if error is None else type(error), error, None)
