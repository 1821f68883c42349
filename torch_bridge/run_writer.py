"""Writing a recorded run: rows appended next to the training, so that what is flushed survives the process."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from torch_bridge.run_folder import (
    claim,
    read_arrays,
    read_manifest,
    reclaim,
    release,
    segment_name,
    segments,
    write_arrays,
    write_manifest,
)
from torch_bridge.run_header import Header, Initial, RunLogError, checked
from torch_bridge.run_log import read_segments


class RunLogWriter:
    """Creates a run folder and appends rows to it; what :meth:`flush` has written survives the process.

    Parameters
    ----------
    path
        A folder that does not exist or is empty.
    header, initial
        What holds for all rows, and the state before the first.

    Raises
    ------
    RunLogError
        If the folder holds something, is being written by another process, was left by one that died, or cannot be
        created.
    """

    def __init__(self, path: str | os.PathLike[str], header: Header, initial: Initial) -> None:
        self.path = Path(path)
        self.header = header
        self.steps = 0
        """Rows on disk."""
        state = {name: checked(header, name, values, (header.neurons,)) for name, values in vars(initial).items()}
        self._closed = False
        self._rows: list[tuple[NDArray[Any], NDArray[Any]]] = []
        self._charges: list[tuple[int, dict[str, NDArray[Any]]]] = []
        claim(self.path)
        try:
            write_arrays(self.path / "initial.npz", state)
            write_manifest(self.path, header, steps=None)
        except BaseException:
            release(self.path)
            raise

    @staticmethod
    def resume(path: str | os.PathLike[str], header: Header, step: int) -> RunLogWriter:
        """Go on with a run after ``step`` updates: what was recorded later, before it was killed or closed, is dropped.

        Parameters
        ----------
        header
            That of the recorder now. The run keeps its own, which must agree in everything that gives rows a meaning.

        Raises
        ------
        RunLogError
            If the folder holds no run, one of other columns or of fewer steps, a damaged one, or is being written.
        """
        folder = Path(path)
        kept = Header.from_json(read_manifest(folder))
        _refuse_another(folder, kept, header)
        reclaim(folder)
        try:
            _cut(folder, kept, step)
        except BaseException:
            release(folder)
            raise
        writer = object.__new__(RunLogWriter)
        writer.path, writer.header, writer.steps, writer._closed = folder, kept, step, False
        writer._rows, writer._charges = [], []
        return writer

    def append(self, forcing: NDArray[Any], hyper: NDArray[Any]) -> None:
        """Buffer rows: ``forcing`` of shape ``(rows, columns)``, ``hyper`` of shape ``(rows, 4 * parameter groups)``.

        Raises
        ------
        RunLogError
            If a shape differs from the header's, a number is not finite, or the log is closed.
        """
        self._refuse_closed()
        shapes = self.header.shapes(len(forcing), 0)
        forcing = forcing.astype(self.header.dtype)
        checked(self.header, "forcing", forcing, shapes["forcing"])
        checked(self.header, "hyper", hyper, shapes["hyper"])
        if len(forcing):
            self._rows.append((forcing, hyper.astype(np.float64)))

    def append_charge(self, step: int, charge: NDArray[Any], magnitude: NDArray[Any], **predictions: NDArray[Any]) -> None:
        """Buffer what was measured after ``step`` updates: ``charge`` and ``magnitude`` of shape ``(neurons,)``.

        ``predictions`` are those that the header names, of the same shape.

        Raises
        ------
        RunLogError
            If a shape differs from the header's, a number is not finite, or the log is closed.
        """
        self._refuse_closed()
        measured = {"charge": charge, "magnitude": magnitude, **predictions}
        if measured.keys() != {"charge", "magnitude", *self.header.predictions}:
            raise RunLogError(f"predictions: expected {self.header.predictions}, got {tuple(predictions)}")
        for name, values in measured.items():
            checked(self.header, name, values[None], (1, self.header.neurons))
        self._charges.append((step, {name: x[None].astype(self.header.measured) for name, x in measured.items()}))

    def flush(self) -> None:
        """Write everything buffered as one segment. When this returns the rows are on disk.

        A charge without a row waits for the next row, or for :meth:`close`: segments are named after their first row.

        Raises
        ------
        RunLogError
            If the disk refuses; the rows stay buffered.
        """
        if not self._rows and not (self._closed and self._charges):
            return
        arrays = self._segment()
        write_arrays(self.path / segment_name(self.steps), arrays)
        self.steps += len(arrays["forcing"])
        self._rows, self._charges = [], []

    def close(self, *, complete: bool = True) -> None:
        """Write what is buffered, mark the run complete unless told otherwise, let go of the folder. Idempotent."""
        if self._closed:
            return
        self._closed = True
        try:
            self.flush()
            if complete:
                write_manifest(self.path, self.header, self.steps)
        finally:
            release(self.path)

    def _segment(self) -> dict[str, NDArray[Any]]:
        shapes = self.header.shapes(0, 0)
        arrays = {
            "forcing": [rows for rows, _ in self._rows],
            "hyper": [rows for _, rows in self._rows],
            "charge_steps": [np.array([step for step, _ in self._charges], np.int64)],
        }
        arrays |= {name: [at[name] for _, at in self._charges] for name in ("charge", "magnitude", *self.header.predictions)}
        empty = {name: np.empty(shapes[name], dtype) for name, dtype in self.header.dtypes.items()}
        return {name: np.concatenate([empty[name], *parts]) for name, parts in arrays.items()}

    def _refuse_closed(self) -> None:
        if self._closed:
            raise RunLogError(f"{self.path}: expected an open log, got a closed one; record into a new folder")


def _refuse_another(folder: Path, kept: Header, header: Header) -> None:
    for name in ("groups", "dtype", "measured", "every", "nesterov", "order"):
        old, new = (json.loads(json.dumps(asdict(one)[name])) for one in (kept, header))
        if old != new:
            raise RunLogError(
                f"{name}: expected that of the run in {folder} to go on with it, got another"
                f"{'' if name == 'groups' else f' ({old!r} there, {new!r} now)'}; set the run up as it was, or record "
                "into another folder"
            )


def _cut(folder: Path, header: Header, step: int) -> None:
    """Drop what was recorded after ``step`` updates: the last file first, so that a readable run is left at any moment."""
    files = segments(folder)
    before = {first: file for first, file in files.items() if first < step}
    whole, damage = read_segments(folder, header, None, before)
    steps = sum(segment.rows for segment in whole)
    if damage is not None:
        raise damage
    if steps < step:
        raise RunLogError(f"resume: expected a step up to {steps}, which {folder} holds, got {step}; call flush() on the "
                          "recorder before a checkpoint is saved, and resume from an earlier one")  # fmt: skip
    write_manifest(folder, header, steps=None)
    for first in sorted(files.keys() - before.keys(), reverse=True):
        files[first].unlink()
    if steps > step or (whole and (whole[-1].charge_steps > step).any()):
        last = max(before)
        arrays, _ = read_arrays(before[last])
        measured = arrays["charge_steps"] <= step
        rows = {name: arrays[name][: step - last] for name in ("forcing", "hyper")}
        charges = {name: values[measured] for name, values in arrays.items() if name not in rows}
        write_arrays(before[last], rows | charges)
