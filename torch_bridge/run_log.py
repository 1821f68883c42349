"""A recorded run, read: at every moment of its writing, and after its writer was killed.

It holds numbers and their names. What they mean is :mod:`torch_bridge.recorder`'s business, what follows
from them :mod:`derive`'s. The files are described in :mod:`torch_bridge.run_folder`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from torch_bridge.run_folder import (
    read_arrays,
    read_initial,
    read_manifest,
    segment_name,
    segments,
)
from torch_bridge.run_header import HYPER, GroupColumns, Header, Initial, RunLogError, checked

if TYPE_CHECKING:
    from torch_bridge.symmetry_map import MatrixSymmetries, NeuronSymmetries

__all__ = ["RunLog", "RunLogError"]


@dataclass(frozen=True, eq=False)
class Segment:
    """One file of ``rows`` steps. The wide arrays stay on disk, column after column from the byte in ``offsets``."""

    file: Path
    rows: int
    hyper: NDArray[np.float64]
    charge_steps: NDArray[np.int64]
    offsets: Mapping[str, int]

    def columns(self, name: str, span: tuple[int, int], dtype: str) -> NDArray[Any]:
        """Columns ``start`` to ``stop`` of an array, shape ``(rows of the array, stop - start)``."""
        start, stop = span
        rows = self.rows if name == "forcing" else len(self.charge_steps)
        begin = self.offsets[name] + start * rows * np.dtype(dtype).itemsize
        return np.fromfile(self.file, dtype, (stop - start) * rows, offset=begin).reshape(stop - start, rows).T


@dataclass(frozen=True, eq=False)
class RunLog:
    """A recorded run, for reading: row ``n`` of every channel belongs to the update from ``θ_n`` to ``θ_{n+1}``.

    Attributes
    ----------
    path, manifest, header
        The folder, its ``manifest.json``, and the same as an object.
    complete
        Whether the recorder was closed in the normal way and every row of it is here.
    initial
        The state before the first row.
    """

    path: Path
    manifest: dict[str, Any]
    header: Header
    complete: bool
    initial: Initial
    _segments: tuple[Segment, ...]

    @staticmethod
    def open(path: str | os.PathLike[str], *, recover: bool = False) -> RunLog:
        """Read a run folder and check all of it: checksums, shapes, contiguity of the steps, finiteness.

        Parameters
        ----------
        path
            The folder. A run that is still being written, or was killed, opens too; it has ``complete == False``.
        recover
            Stop before the first damaged or missing segment instead of raising; ``complete`` is then False.

        Raises
        ------
        RunLogError
            If the folder holds no run, is of a later schema, or a file is damaged or missing (named in the message).
        """
        folder = Path(path)
        manifest = read_manifest(folder)
        header = Header.from_json(manifest)
        initial = read_initial(folder, header)
        found, damage = read_segments(folder, header, manifest["steps"], segments(folder))
        if damage is not None and not recover:
            raise damage
        return RunLog(folder, manifest, header, manifest["complete"] and damage is None, initial, found)

    @property
    def groups(self) -> tuple[NeuronSymmetries | MatrixSymmetries, ...]:
        """The recorded groups of blocks, in the order that ``group`` counts below.

        Each is a symmetry group, or, where the optimizer's parameter groups divide one, the part of it in one of them.
        """
        return tuple(_symmetries(columns) for columns in self.header.groups)

    @property
    def symmetries(self) -> tuple[tuple[NeuronSymmetries | MatrixSymmetries, tuple[int, ...]], ...]:
        """The recorded symmetry groups, each with the indices of its parts in :attr:`groups`; their charges add up."""
        parts: dict[int, list[int]] = {}
        for index, columns in enumerate(self.header.groups):
            parts.setdefault(columns.symmetry, []).append(index)
        groups = self.groups
        return tuple(
            (replace(groups[held[0]], blocks=tuple(b for index in held for b in groups[index].blocks)), tuple(held))
            for held in parts.values()
        )

    @property
    def steps(self) -> int:
        """Number of recorded updates."""
        return sum(segment.rows for segment in self._segments)

    @property
    def nesterov(self) -> bool:
        return self.header.nesterov

    @property
    def fresh(self) -> bool:
        """Whether the first recorded step set ``v_1 = G_0``, undamped, because no momentum buffer existed."""
        return self.header.fresh

    @property
    def charge_steps(self) -> NDArray[np.int64]:
        """Steps at which the charge was measured, 0 first: shape ``(m,)``."""
        return np.concatenate([np.zeros(1, np.int64), *(segment.charge_steps for segment in self._segments)])

    def hyper(self, group: int) -> dict[str, NDArray[np.float64]]:
        """Hyper-parameters that a symmetry group's blocks were updated with: name -> shape ``(steps,)``."""
        first = len(HYPER) * self._group(group).hyper
        rows = np.concatenate([np.empty((0, self.header.hypers)), *(segment.hyper for segment in self._segments)])
        return {name: rows[:, first + k] for k, name in enumerate(HYPER)}

    def channel(self, group: int, name: str) -> NDArray[Any]:
        """A forcing of a symmetry group, shape ``(steps, neurons)``, in the dtype that it was stored in.

        Raises
        ------
        RunLogError
            If the group has no such channel.
        """
        channels = self._group(group).channels if self.header.order is None else {}
        if name not in channels:
            raise RunLogError(f"name: expected one of {sorted(channels)} for group {group}, got {name!r}")
        start, stop = channels[name]
        parts = (segment.columns("forcing", (start, stop), self.header.dtype) for segment in self._segments)
        return np.concatenate([np.empty((0, stop - start), self.header.dtype), *parts])

    def charge(self, group: int) -> NDArray[np.float64]:
        """Charge ``Q`` measured at :attr:`charge_steps`, shape ``(m, neurons)``."""
        return self._measured(group, "charge")

    def magnitude(self, group: int) -> NDArray[np.float64]:
        """Sum of the absolute values of the charge's terms at :attr:`charge_steps`, shape ``(m, neurons)``."""
        return self._measured(group, "magnitude")

    def initial_overlap(self, group: int) -> NDArray[np.float64]:
        """``⟨v_0, θ_0⟩_M`` (degree 2) or ``⟨v_0, c⟩`` (degree 1), shape ``(neurons,)``; 0 without a buffer."""
        return self.initial.overlap[slice(*self._group(group).charge)]

    def predictions(self, order: int) -> list[dict[str, NDArray[np.float64]]]:
        """Of each group, the predictions that were carried forward during the run, at :attr:`charge_steps`.

        Raises
        ------
        RunLogError
            If none were, or of another order.
        """
        if order != self.header.order:
            raise RunLogError(f"order: expected {self.header.order}, which the laws of {self.path} were carried forward "
                              f"with, got {order}; without a logged forcing there is no other")  # fmt: skip
        return [{name: self._measured(index, name) for name in self.header.predictions} for index in range(len(self.groups))]

    def chunks(self, steps: int = 1024) -> Iterator[tuple[NDArray[Any], NDArray[np.float64]]]:
        """Read the rows in order without holding them all, ``steps`` rows a piece but the last, however the files are cut.

        Yields
        ------
        ``(forcing, hyper)`` of shape ``(rows, columns)`` and ``(rows, 4 * parameter groups)``.
        """
        forcing, hyper = self._rows([])
        held: list[Segment] = []
        for number, segment in enumerate(self._segments, start=1):
            held.append(segment)
            if len(hyper) + sum(one.rows for one in held) < steps and number < len(self._segments):
                continue
            forcing, hyper = (np.concatenate(pair) for pair in zip((forcing, hyper), self._rows(held), strict=True))
            held, last = [], number == len(self._segments)
            while len(hyper) >= steps or (last and len(hyper)):
                yield forcing[:steps], hyper[:steps]
                forcing, hyper = forcing[steps:], hyper[steps:]

    def to_xarray(self) -> Any:
        """The run as an ``xarray.DataTree``; see :func:`torch_bridge.xarray_view.as_tree`."""
        from torch_bridge.xarray_view import as_tree

        return as_tree(self)

    def to_zarr(self, path: str | os.PathLike[str]) -> None:
        """Write :meth:`to_xarray` as a zarr store, for many runs and tools that read them in parallel.

        Raises
        ------
        RunLogError
            If ``path`` exists, or xarray or zarr is not installed.
        """
        tree = self.to_xarray()
        try:
            tree.to_zarr(os.fspath(path), mode="w-")
        except FileExistsError as error:
            raise RunLogError(
                f"path: expected a new one, got {path}, which exists; a store is never written over"
            ) from error
        except (ImportError, ValueError) as error:
            raise RunLogError(f"path: cannot write {path}: {error}; pip install 'nmech[xarray]'") from error

    def _rows(self, held: list[Segment]) -> tuple[NDArray[Any], NDArray[np.float64]]:
        """Forcing and hyper-parameters of some files, one below the other."""
        shapes = self.header.shapes(0, 0)
        span = (0, shapes["forcing"][1])
        forcing = [
            np.empty(shapes["forcing"], self.header.dtype),
            *(one.columns("forcing", span, self.header.dtype) for one in held),
        ]
        return np.concatenate(forcing), np.concatenate([np.empty(shapes["hyper"]), *(one.hyper for one in held)])

    def _measured(self, group: int, name: str) -> NDArray[np.float64]:
        span = self._group(group).charge
        first = getattr(self.initial, "magnitude" if name == "magnitude" else "charge")[None, slice(*span)]
        return np.concatenate([first, *(segment.columns(name, span, self.header.measured) for segment in self._segments)])

    def _group(self, group: int) -> GroupColumns:
        if not 0 <= group < len(self.header.groups):
            raise RunLogError(f"group: expected 0 <= group < {len(self.header.groups)}, got {group}; see log.groups")
        return self.header.groups[group]


def _symmetries(columns: GroupColumns) -> NeuronSymmetries | MatrixSymmetries:
    from torch_bridge.symmetry_map import Block, MatrixBlock, MatrixSymmetries, NeuronSymmetries

    if columns.entries is not None:
        return MatrixSymmetries(columns.label, tuple(MatrixBlock(**_tuples(block)) for block in columns.blocks))
    return NeuronSymmetries(columns.kind, columns.label, tuple(Block(**_tuples(block)) for block in columns.blocks))


def _tuples(value: Any) -> Any:
    """JSON has lists for tuples."""
    if isinstance(value, Mapping):
        return {name: _tuples(one) for name, one in value.items()}
    return tuple(map(_tuples, value)) if isinstance(value, list | tuple) else value


def read_segments(
    folder: Path, header: Header, total: int | None, files: Mapping[int, Path]
) -> tuple[tuple[Segment, ...], RunLogError | None]:
    """The segments up to the first that is damaged or missing, and what is wrong with that one, if any is."""
    whole: list[Segment] = []
    steps, measured = 0, 0
    try:
        for first, file in files.items():
            if first != steps:
                raise RunLogError(f"{segment_name(steps)} is missing, or {file.name} does not belong here")
            whole.append(_read_segment(file, header, first, measured))
            steps += whole[-1].rows
            measured = max([measured, *whole[-1].charge_steps.tolist()])
        if total is not None and steps != total:
            raise RunLogError(f"{segment_name(steps)} is missing: the manifest counts {total} steps")
    except RunLogError as error:
        remedy = f"restore it from a copy, or read the {steps} steps before it with RunLog.open(..., recover=True)"
        return tuple(whole), RunLogError(f"{folder}: {error}; {remedy}")
    return tuple(whole), None


def _read_segment(file: Path, header: Header, first: int, measured: int) -> Segment:
    """Read and check a segment; ``measured`` is the last step before it with a measured charge."""
    try:
        arrays, offsets = read_arrays(file)
        rows, steps = len(arrays["hyper"]), arrays["charge_steps"]
        _check_segment(header, arrays, rows)
        if not (np.diff(steps, prepend=measured) > 0).all() or (steps > first + rows).any() or (steps < first).any():
            raise RunLogError(f"charge_steps: expected increasing steps in {first}..{first + rows}, got {steps}")
    except (RunLogError, KeyError, TypeError) as error:
        raise RunLogError(f"{file.name} is damaged ({error})") from error
    return Segment(file, rows, arrays["hyper"], steps, offsets)


def _check_segment(header: Header, arrays: Mapping[str, NDArray[Any]], rows: int) -> None:
    for name, shape in header.shapes(rows, len(arrays["charge_steps"])).items():
        dtype = header.dtypes[name]
        if arrays[name].dtype != dtype or not arrays[name].flags.f_contiguous:
            raise RunLogError(f"{name}: expected column-major {dtype}, got {arrays[name].dtype}; it is not a segment")
        checked(header, name, arrays[name], shape)
