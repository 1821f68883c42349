"""What the numbers of a recorded run are called and where they stand: shared by its writer, its files and its reader."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

PREDICTIONS: tuple[str, ...] = ("exact", "unbroken", "predicted")
"""What is kept of the laws where they are carried forward during the run; :mod:`torch_bridge.evaluate` explains them."""

HYPER = ("lr", "momentum", "dampening", "weight_decay")
"""Hyper-parameters of an update, in the order of a parameter group's four columns."""


class RunLogError(ValueError):
    """A run folder that cannot be written or read; the message names the file and the remedy."""


@dataclass(frozen=True)
class GroupColumns:
    """Where the numbers of one part of a symmetry group stand in a row: of those of its blocks that are updated alike.

    Most groups have one part. The charge of a group is the sum of its parts'; each has ``charge[1] - charge[0]`` neurons.

    Parameters
    ----------
    kind, label, blocks
        The group as in :class:`torch_bridge.symmetry_map.NeuronSymmetries` or ``MatrixSymmetries``, each block as a JSON
        object.
    hyper
        Which of the recorded parameter groups updates the blocks.
    symmetry
        Which of the recorded symmetry groups the blocks belong to.
    charge
        ``(start, stop)`` in the rows of ``charge``, ``magnitude`` and ``overlap``.
    channels
        Name of a forcing channel -> ``(start, stop)`` in the rows of ``forcing``.
    """

    kind: str
    label: str
    blocks: tuple[Mapping[str, Any], ...]
    hyper: int
    charge: tuple[int, int]
    channels: Mapping[str, tuple[int, int]]
    symmetry: int

    @staticmethod
    def from_json(value: Mapping[str, Any], index: int) -> GroupColumns:
        """Read what a manifest says of its ``index``-th entry; before schema 2 that was the symmetry group's number."""
        channels = {name: (start, stop) for name, (start, stop) in value["channels"].items()}
        start, stop = value["charge"]
        blocks = tuple(value["blocks"])
        symmetry = value.get("symmetry", index)
        return GroupColumns(value["kind"], value["label"], blocks, value["hyper"], (start, stop), channels, symmetry)

    @property
    def entries(self) -> NDArray[np.int64] | None:
        """Of a GL(k) the space (attention: head), row and column of each charge, shape ``(charges, 3)``; else None."""
        if not self.blocks or "index" not in self.blocks[0]:
            return None
        from torch_bridge import upper_triangle  # the package loads torch, which a process that writes logs has no need of

        index = self.blocks[0]["index"]
        return upper_triangle.entries(len(index), len(index[0][0]))

    def owner(self, channel: str, charge: int) -> str:
        """Whose number stands in column ``charge`` of a channel, in words."""
        entries = self.entries
        space, row, column = (0, 0, 0) if entries is None else entries[charge]
        whose = f"neuron {charge}" if entries is None else f"space {space}, entry ({row}, {column})"
        return f"{channel} of the {self.kind} symmetry {self.label!r}, {whose}"


@dataclass(frozen=True)
class Header:
    """What holds for every row of a run: the manifest without its progress.

    Parameters
    ----------
    groups
        The columns of each part of each symmetry group.
    dtype
        ``"float32"`` or ``"float64"``: how the forcing is stored.
    every
        Steps between two measured charges.
    nesterov
        Whether the update is Nesterov's.
    fresh
        Whether no momentum buffer existed at attach, so that the first step sets ``v_1 = G_0``, undamped.
    provenance, meta
        JSON scalars: where the run comes from; what the user wants to remember about it.
    measured
        How charge, magnitude and predictions are stored, likewise. The initial state and the hyper-parameters are float64.
    order
        None if rows hold the forcing. Else they hold none, and the charges that the laws predict, the continuous one being
        of this order, stand beside the measured ones.

    Raises
    ------
    RunLogError
        If a provenance or meta entry is not a finite JSON scalar.
    """

    groups: tuple[GroupColumns, ...]
    dtype: str
    every: int
    nesterov: bool
    fresh: bool
    provenance: Mapping[str, Any] = field(default_factory=dict)
    meta: Mapping[str, Any] = field(default_factory=dict)
    measured: str = "float64"
    order: int | None = None

    def __post_init__(self) -> None:
        for key, value in (*self.provenance.items(), *self.meta.items()):
            scalar = isinstance(key, str) and isinstance(value, str | int | float | bool | None)
            if not scalar or (isinstance(value, float) and not np.isfinite(value)):
                raise RunLogError(
                    f"meta: expected string keys and finite JSON scalars (str, int, float, bool, None), "
                    f"got {key!r}: {value!r}; convert it first, with str(...) or float(...)"
                )

    @property
    def dtypes(self) -> dict[str, str]:
        """Dtype of each array of a segment."""
        wide = dict.fromkeys(("charge", "magnitude", *self.predictions), self.measured)
        return {"forcing": self.dtype, "hyper": "float64", "charge_steps": "int64", **wide}

    @property
    def predictions(self) -> tuple[str, ...]:
        """Names of the predictions that stand beside the measured charges."""
        return () if self.order is None else PREDICTIONS

    @property
    def divided(self) -> tuple[tuple[int, ...], ...]:
        """Indices of the parts of each symmetry group that has several."""
        parts: dict[int, list[int]] = {}
        for index, group in enumerate(self.groups):
            parts.setdefault(group.symmetry, []).append(index)
        return tuple(tuple(held) for held in parts.values() if len(held) > 1)

    @property
    def columns(self) -> int:
        """Numbers in a row of forcing."""
        return max((stop for group in self.groups for _, stop in group.channels.values()), default=0)

    @property
    def neurons(self) -> int:
        """Numbers in a row of charge: one for each symmetry."""
        return max((group.charge[1] for group in self.groups), default=0)

    @property
    def hypers(self) -> int:
        """Numbers in a row of hyper-parameters."""
        return len(HYPER) * (1 + max((group.hyper for group in self.groups), default=-1))

    def shapes(self, rows: int, charges: int) -> dict[str, tuple[int, ...]]:
        """Shape of each array of a segment with ``rows`` steps and ``charges`` measured charges."""
        wide = dict.fromkeys(("charge", "magnitude", *self.predictions), (charges, self.neurons))
        forcing = (rows, self.columns if self.order is None else 0)
        return {"forcing": forcing, "hyper": (rows, self.hypers), "charge_steps": (charges,), **wide}

    def owner(self, array: str, column: int) -> str:
        """Whose number stands in a column of an array of a segment, in words."""
        for group in self.groups:
            spans = group.channels if array == "forcing" else {array: group.charge}
            for name, (start, stop) in spans.items():
                if start <= column < stop and array != "hyper":
                    return group.owner(name, column - start)
        return f"{array}, column {column}"

    @staticmethod
    def from_json(value: Mapping[str, Any]) -> Header:
        groups = tuple(GroupColumns.from_json(group, index) for index, group in enumerate(value["groups"]))
        plain = {name: value[name] for name in ("dtype", "every", "nesterov", "fresh", "provenance", "meta")}
        return Header(groups, **plain, measured=value.get("measured", "float64"), order=value.get("order"))


@dataclass(frozen=True, eq=False)
class Initial:
    """The state at attach, step 0; each array has shape ``(neurons,)``, all groups in a row.

    ``charge`` is ``Q_0``, ``magnitude`` the sum of the absolute values of its terms, ``overlap`` the product of the
    momentum buffer with the parameters (0 where there is no buffer).
    """

    charge: NDArray[np.float64]
    magnitude: NDArray[np.float64]
    overlap: NDArray[np.float64]


def first_nonfinite(rows: NDArray[Any]) -> tuple[int, int] | None:
    """``(row, column)`` of the first number that is not finite, reading row by row; None if there is none."""
    bad = ~np.isfinite(rows)
    if not bad.any():
        return None
    row, column = np.unravel_index(int(bad.argmax()), bad.shape)
    return int(row), int(column)


def checked(header: Header, name: str, values: NDArray[Any], shape: tuple[int, ...]) -> NDArray[Any]:
    """``values``, if it has the shape and only finite numbers.

    Raises
    ------
    RunLogError
        Otherwise.
    """
    if values.shape != shape:
        raise RunLogError(f"{name}: expected shape {shape}, got {values.shape}; pass one row for each step")
    rows = np.atleast_2d(values)
    bad = first_nonfinite(rows)
    if bad is not None:
        raise RunLogError(f"{name}: expected finite numbers, got {rows[bad]} in row {bad[0]}: "
                          f"{header.owner(name, bad[1])}; append only the rows before it")  # fmt: skip
    return values
