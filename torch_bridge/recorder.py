"""Record a training run neuron by neuron: the few numbers from which every charge can be predicted and checked.

For a group of symmetries with form ``⟨a, b⟩_M = Σ_blocks coefficient · Σ a·b`` (degree 2), or covector
``⟨a, c⟩ = Σ_blocks coefficient · Σ a`` (degree 1), each neuron's numbers for the update from ``θ_n`` to ``θ_{n+1}`` are

=============  ========================  ===============  ===========================================================
channel        degree 2                  degree 1         meaning
=============  ========================  ===============  ===========================================================
``breaking``   ``⟨g_n, θ_n⟩_M``          ``⟨g_n, c⟩``     ``⟨g, X⟩``: 0 where the symmetry is exact
``gradient``   ``⟨g_n, g_n⟩_M``                           drive of the continuous laws without momentum
``direction``  ``⟨d_n, d_n⟩_M``                           ``d_n = (θ_n - θ_{n+1})/η_n``; drive of the discrete law
``overlap``    ``⟨d_n, v_{n+1}⟩_M``                       with Nesterov only; else ``d = v``, or there is no ``v``
=============  ========================  ===============  ===========================================================

and, every few steps (10 by default), the charge ``⟨θ, θ⟩_M`` or ``⟨θ, c⟩`` itself. All sums are accumulated in float64.

Where channels are mixed by GL(k) the charge is a symmetric k × k matrix, Σ_blocks coefficient · W Wᵀ with the channels'
slices as rows, and so is every number above: ⟨a, b⟩_M is Σ coefficient · (A Bᵀ + B Aᵀ)/2. Of each matrix (of attention:
each head) the upper triangle is recorded, k(k+1)/2 columns a channel. Its diagonal is among the rescalings too.
"""

from __future__ import annotations

import os
import platform
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.hooks import RemovableHandle

from torch_bridge.pending_rows import PendingRows, rows_before_nonfinite, rows_to_wait
from torch_bridge.predict import Predictor
from torch_bridge.recording_guard import Guard
from torch_bridge.recording_plan import Seen, Tracked, model_of, plan_recording
from torch_bridge.run_header import Header, Initial, first_nonfinite
from torch_bridge.run_log import RunLog
from torch_bridge.run_writer import RunLogWriter
from torch_bridge.sgd_update import (
    FORCINGS,
    Hyper,
    Motion,
    RecordingError,
    check_optimizer,
    leaves_direction_in_grad,
    was_skipped,
)
from torch_bridge.symmetry_map import SymmetryMap

__all__ = ["Recorder", "RecordingError"]

_SAME = {"float64": 1e-12, "float32": 1e-6}
"""Dtype of a run -> how far a charge may differ, relative to its terms, where the parameters are the same."""


class Recorder:
    """Records the steps of a stock ``torch.optim.SGD`` while in its ``with`` block, without disturbing the run.

    Leaving the block normally marks the log complete. Any other way out (an exception, a killed process) leaves a log
    that is readable up to its last flush, with ``complete == False``; exceptions pass through, after a flush.

    Between two steps nothing but the optimizer may change the parameters or the momentum (no clipping of weights, no
    loading of a checkpoint): the discrete law would then be missed from there on.

    Parameters
    ----------
    optimizer
        A ``torch.optim.SGD`` itself: with or without momentum, dampening, Nesterov, weight decay; foreach or fused; any
        schedule of its hyper-parameters, except that momentum and Nesterov are not switched on or off.
    symmetries
        What to record. ``dataclasses.replace(symmetries, matrices=())`` leaves all of GL(k) but its rescalings out: of a
        head of 64 features that is 64 charges in place of 2,144, of many heads the better part of the log and of the
        memory for ``flush_every`` rows. Where the optimizer's parameter groups divide a symmetry (no weight decay on
        biases, say), each part is recorded apart, with its own hyper-parameters: its law closes with its own
        ``breaking``.
    path
        A new or empty folder. Where FSDP2 has sharded the parameters all processes record, each into its own ``rank0``,
        ``rank1``, ... in there, and each the whole run; under DDP let one process record.
    every
        Steps between two measured charges; it is also measured at attach, at every :meth:`flush` and at the end. The laws do
        not need it, they predict it from the forcing, which is recorded at every step; measured seldom it is as good a
        check, since a gap once open stays. It costs about as much as all of the forcing of a step.
    flush_every
        Steps between two writes: how much a killed process loses. The rows wait on the parameters' device. By default as
        many as fit into 1 % of the parameters' bytes or into 256 kB, at most 256.
    forcing
        ``"all"`` channels above, from which any law can be replayed; or ``"drive"``, the ones that drive the exact law
        where ⟨g, X⟩ = 0: ``direction`` with momentum (and Nesterov's ``overlap``), ``gradient`` without. Then one
        tensor a parameter is read instead of three, and batch norm's eps, or a false claim, shows as a gap.
    online
        Order of the continuous law (0 or 1) if the laws are to be carried forward during the run, every ``flush_every``
        steps, and their predictions kept in place of the forcing: the log then grows only with measured charges.
        :func:`torch_bridge.evaluate` finds the same as from the forcing, for this order only. Such a run cannot be resumed.
    resume
        Go on with the run in ``path`` after this many steps, with parameters and momentum as they were then. Whoever saves
        a checkpoint calls :meth:`flush` first and saves :attr:`steps` with it. What was recorded later is dropped.
    meta
        JSON scalars to keep with the run; a resumed run keeps what it has.

    Raises
    ------
    RecordingError
        If something is asked for that is not covered. During the run: if the parameters, the optimizer or a
        hyper-parameter change in a way that is not covered, a gradient is missing, or a number is not finite (on a CPU
        at that very step, elsewhere at the next flush). The steps before are then written, and the hook is removed.
    RunLogError
        If the folder is taken or cannot be written.

    Examples
    --------
    >>> with Recorder(optimizer, find_symmetries(model, example), "run"):  # doctest: +SKIP
    ...     train()
    """

    def __init__(
        self,
        optimizer: torch.optim.Optimizer,
        symmetries: SymmetryMap,
        path: str | os.PathLike[str],
        *,
        every: int = 10,
        flush_every: int | None = None,
        forcing: str = "all",
        online: int | None = None,
        resume: int | None = None,
        meta: Mapping[str, Any] | None = None,
    ) -> None:
        check_optimizer(optimizer)
        for name, value in (("every", every), ("flush_every", 1 if flush_every is None else flush_every)):
            if not isinstance(value, int) or value < 1:
                raise RecordingError(f"{name}: expected an integer number of steps >= 1, got {value!r}")
        if resume is not None and (not isinstance(resume, int) or resume < 0):
            raise RecordingError(f"resume: expected the number of steps in the checkpoint, or None, got {resume!r}")
        if forcing not in FORCINGS:
            raise RecordingError(f"forcing: expected one of {FORCINGS}, got {forcing!r}")
        self._optimizer, self._model, self._path = optimizer, model_of(symmetries), Path(path)
        if online is not None and (online not in (0, 1) or resume is not None):
            raise RecordingError(f"online: expected 0, 1 or None, and no resume, got {online!r}, {resume!r}: where laws "
                                 "stand is not kept; log the forcing instead")  # fmt: skip
        self._online = online
        self._predictor: Predictor | None = None
        self._every, self._flush_every, self._resume, self._meta = every, flush_every, resume, dict(meta or {})
        self._plan = plan_recording(symmetries, self._model, optimizer, forcing)
        if self._plan.rank is not None:
            self._path /= f"rank{self._plan.rank}"
        self._replaced: dict[tuple[Any, ...], bool] = {}
        self._handle: RemovableHandle | None = None

    def __enter__(self) -> Recorder:
        self._guard = Guard(self._model, self._optimizer, self._plan)
        buffers = self._buffers(self._guard.hypers())
        header = Header(
            groups=self._plan.columns,
            dtype=self._plan.dtype,
            every=self._every,
            nesterov=self._guard.nesterov,
            fresh=not buffers,
            provenance=_provenance(self._optimizer),
            meta=self._meta,
            measured=self._plan.dtype,
            order=self._online,
        )
        if self._resume is None:
            initial = self._initial(header, buffers)
            self._predictor = None if self._online is None else Predictor(header, initial, self._online)
            self._writer = RunLogWriter(self._path, header, initial)
        else:
            self._writer = RunLogWriter.resume(self._path, header, self._resume)
            self._check_restored()
        capacity = self._flush_every or rows_to_wait(header, self._plan.parameter_bytes)
        self._pending = PendingRows(capacity, header, self._plan.device)
        self._handle = self._optimizer.register_step_post_hook(self._after_step)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if error is None:
            self._stop(complete=True)
            return
        try:
            self._stop(complete=False)
        except ValueError as trouble:  # the user's own exception is the one to propagate
            warnings.warn(f"the log of this run ends early: {trouble}", RuntimeWarning, stacklevel=2)

    def flush(self) -> None:
        """Write the rows that wait on the device, and the charge as it is now, by which a resumed run is recognized.

        Where FSDP2 has sharded the parameters every process has to call it, as it has to call a step.

        Raises
        ------
        RecordingError
            If one is not finite: the rows before it are written, it and the later ones are not.
        """
        if self._handle is not None:
            self._measure_once()
            self._write_pending()

    @property
    def steps(self) -> int:
        """Steps recorded so far, those of the runs that this one goes on from included."""
        return self._writer.steps + len(self._pending)

    def _after_step(self, optimizer: torch.optim.Optimizer, args: Any, kwargs: Any) -> None:
        try:
            with torch.no_grad():
                with _naming(f"step {self.steps}"):
                    taken = None if self._was_skipped() else self._take()
                if taken is not None:
                    self._keep(*taken)
        except BaseException:
            self._stop(complete=False)
            raise

    def _take(self) -> tuple[Tensor, list[float]]:
        """The row of the step that has just returned: its forcing and its hyper-parameters."""
        self._guard.refuse_changes()
        hypers = self._guard.hypers()
        motions = {index: Motion.of(hyper, self._replaced_in(index)) for index, hyper in hypers.items()}
        row = self._plan.forcing(motions, self._seen)
        return row, [number for index in self._plan.used for number in hypers[index].row]

    def _keep(self, row: Tensor, hyper: list[float]) -> None:
        self._pending.push(row, hyper)
        if self.steps % self._every == 0:
            self._measure_once()
        # Asking an accelerator for its numbers would make it wait at every step.
        unfit = self._plan.device.type == "cpu" and not self._pending.last_is_finite()
        if unfit or self._pending.full:
            self._write_pending()

    def _was_skipped(self) -> bool:
        if not was_skipped(self._optimizer):
            return False
        if self.steps == 0 and self._writer.header.fresh and any(h.momentum for h in self._guard.hypers().values()):
            raise RecordingError(
                "optimizer: expected the first step to be taken, got one that the GradScaler skipped; with fused=True torch "
                "(2.13) then leaves momentum buffers that it never set, and trains on with them: lower the scaler's "
                "init_scale, or use fused=False"
            )
        return True

    def _check_restored(self) -> None:
        """Refuse parameters and buffers that are not those of the step to go on from, as far as the log can tell."""
        try:
            log = RunLog.open(self._path)
            step, hypers = log.steps, self._guard.hypers()
            self._measured_at = int(log.charge_steps[-1])
            missing = sum(bool(hyper.momentum) for hyper in hypers.values()) and not self._buffers(hypers)
            if step and missing:
                raise RecordingError(f"resume: expected the momentum of step {step}, got an optimizer without; load its "
                                     "state_dict from the checkpoint before recording")  # fmt: skip
            if self._measured_at == step:
                self._compare_charges(log)
        except BaseException:
            self._writer.close(complete=False)
            raise

    def _compare_charges(self, log: RunLog) -> None:
        charge, _ = (values.cpu().numpy() for values in self._plan.charges())
        there = np.concatenate([log.charge(group)[-1] for group in range(len(log.groups))])
        scale = np.concatenate([log.magnitude(group)[-1] for group in range(len(log.groups))])
        if (np.abs(charge - there) > _SAME[self._plan.dtype] * scale).any():
            raise RecordingError(f"resume: expected the parameters of step {log.steps}, got others: their charges differ "
                                 "from the recorded ones; load the checkpoint of that step before recording")  # fmt: skip

    def _measure_once(self) -> None:
        if self._measured_at < self.steps:
            with torch.no_grad():
                self._pending.charges.append((self.steps, *self._plan.charges()))
            self._measured_at = self.steps

    def _write_pending(self) -> None:
        first = self._writer.steps
        forcing, hyper, charges = self._pending.take()
        good, owner = rows_before_nonfinite(self._writer.header, first, forcing, charges)
        # the last charge can follow rows already written
        charges = [(s, q, m) for s, q, m in charges if s <= first + good and np.isfinite(m).all()]
        predictions = self._advance(forcing[:good], hyper[:good], np.array([step - first for step, _, _ in charges], int))
        self._writer.append(forcing[:good] if self._predictor is None else forcing[:good, :0], hyper[:good])
        for index, (step, charge, magnitude) in enumerate(charges):
            now = {name: values[index] for name, values in predictions.items()}
            self._writer.append_charge(step, charge, magnitude, **now)
        self._writer.flush()
        if owner is not None:
            raise RecordingError(
                f"step {first + good}: expected finite numbers, got {owner}; the log holds the steps before. "
                "The run diverges there: lower the learning rate, or look at that batch"
            )

    def _advance(self, forcing: NDArray[Any], hyper: NDArray[Any], keep: NDArray[Any]) -> dict[str, NDArray[Any]]:
        if self._predictor is None:
            return {}
        return self._predictor.advance(forcing, hyper, keep)

    def _stop(self, *, complete: bool) -> None:
        handle, self._handle = self._handle, None
        if handle is None:
            return
        handle.remove()
        try:
            if complete:
                self._measure_once()
            self._write_pending()
        except BaseException:
            self._writer.close(complete=False)
            raise
        self._writer.close(complete=complete)

    def _replaced_in(self, index: int) -> bool:
        """See :func:`leaves_direction_in_grad`; torch is asked once for each implementation."""
        group = self._optimizer.param_groups[index]
        flags = (index, group.get("foreach"), group.get("fused"), group["nesterov"], group["weight_decay"] != 0)
        if flags not in self._replaced:
            self._replaced[flags] = leaves_direction_in_grad(group)
        return self._replaced[flags]

    def _seen(self, tracked: Tracked) -> Seen:
        buffer = self._optimizer.state.get(tracked.parameter, {}).get("momentum_buffer")
        return (tracked.parameter.grad, tracked.parameter, buffer, None)

    def _buffers(self, hypers: Mapping[int, Hyper]) -> dict[str, Tensor]:
        """Momentum buffers at attach: parameter's name -> v_0."""
        moving = [tracked for tracked in self._plan.tracked if hypers[tracked.group].momentum]
        found = {t.name: self._optimizer.state.get(t.parameter, {}).get("momentum_buffer") for t in moving}
        buffers = {name: buffer for name, buffer in found.items() if buffer is not None}
        if buffers and len(buffers) < len(found) and any(hyper.dampening for hyper in hypers.values()):
            raise RecordingError(
                f"optimizer: expected a momentum buffer for all recorded parameters or for none, got none for "
                f"{sorted(found.keys() - buffers.keys())}: their first step is undamped, that of the others is not; "
                "record from the start, or use dampening=0"
            )
        return buffers

    def _initial(self, header: Header, buffers: Mapping[str, Tensor]) -> Initial:
        with torch.no_grad():
            state = (*self._plan.charges(), self._plan.overlap(buffers))
        self._measured_at = 0
        charge, magnitude, overlap = (values.cpu().numpy() for values in state)
        bad = first_nonfinite(np.stack([magnitude, overlap]))
        if bad is not None:
            owner = header.owner("charge", bad[1])
            raise RecordingError(f"step 0: expected finite parameters and momentum, got {owner}; look at what set them")
        return Initial(charge, magnitude, overlap)


@contextmanager
def _naming(place: str) -> Iterator[None]:
    """Put the place in front of the message of a refusal."""
    try:
        yield
    except RecordingError as error:
        raise RecordingError(f"{place}: {error}") from error


def _provenance(optimizer: torch.optim.Optimizer) -> dict[str, str]:
    try:
        version = metadata.version("nmech")
    except metadata.PackageNotFoundError:
        version = "not installed"
    kind = type(optimizer)
    return {
        "nmech": version,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "optimizer": f"{kind.__module__}.{kind.__qualname__}",
    }
