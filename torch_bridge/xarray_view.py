"""A recorded run as labelled arrays, for analysis of one run in memory or of many on disk."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from torch_bridge.run_header import RunLogError

if TYPE_CHECKING:
    from torch_bridge.run_log import RunLog


def as_tree(log: RunLog) -> Any:
    """An ``xarray.DataTree``: the run's meta data at the root, and one node for each of ``log.groups``, ``g0``, ``g1``, ...

    Dimensions: ``step`` (rows: the update from step n to n + 1), ``charge_step`` (steps at which charges were measured)
    and ``neuron``; of a GL(k) it counts the entries of its matrices, with coordinates ``space``, ``row``, ``column``.
    Variables: the group's channels and hyper-parameters, ``charge``, ``magnitude`` and the predictions that were carried
    forward, if any.

    Raises
    ------
    RunLogError
        If xarray is not installed.
    """
    try:
        import xarray  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise RunLogError("xarray: expected it to be installed for labelled arrays; pip install 'nmech[xarray]'") from error
    about = {"schema": log.manifest["schema"], "complete": int(log.complete), "dtype": log.header.dtype}
    named = {**log.header.provenance, **log.header.meta}
    root = xarray.Dataset(attrs={**about, **{key: "" if value is None else value for key, value in named.items()}})
    nodes = {f"g{index}": _group(xarray, log, index) for index in range(len(log.groups))}
    return xarray.DataTree.from_dict({"/": root, **nodes}, name=log.path.name)


def _group(xarray: Any, log: RunLog, index: int) -> Any:
    columns = log.header.groups[index]
    channels = columns.channels if log.header.order is None else ()
    forcing = {name: (("step", "neuron"), log.channel(index, name)) for name in channels}
    hyper = {name: (("step",), values) for name, values in log.hyper(index).items()}
    measured = {"charge": log.charge(index), "magnitude": log.magnitude(index)}
    if log.header.order is not None:
        measured |= log.predictions(log.header.order)[index]
    neurons = {"neuron": np.arange(columns.charge[1] - columns.charge[0])}
    if columns.entries is not None:
        places = zip(("space", "row", "column"), columns.entries.T, strict=True)
        neurons |= {name: ("neuron", place) for name, place in places}
    return xarray.Dataset(
        forcing | hyper | {name: (("charge_step", "neuron"), values) for name, values in measured.items()},
        coords={"step": np.arange(log.steps), "charge_step": log.charge_steps, **neurons},
        attrs={
            "kind": columns.kind,
            "label": columns.label,
            "parameters": ", ".join(str(block["parameter"]) for block in columns.blocks),
        },
    )
