"""Draw a planned figure from the logs of its runs: what is measured in colour, what the law says in black dashes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.lines import Line2D

from torch_bridge.evaluate import Comparison, EvaluationError, GroupComparison
from torch_bridge.plot import DASHES, TIME_LABEL, charge_label, colours_of, draw_lines, line_keys, spread_over
from torch_bridge.presets import FigurePlan, Panel, Run
from torch_bridge.weight_sample import read_weight_sample

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Floats = np.ndarray
NEURONS = 8
"""Neurons that a panel shows, evenly spread."""


@dataclass(frozen=True, eq=False)
class Curves:
    """What a panel shows.

    Parameters
    ----------
    kind, where, label
        Of the charges, their place in the network, and the y axis.
    time
        Training time t = Σ η(1−α), shape ``(m,)``.
    measured, predicted
        Lines, shape ``(m, lines)``; weights have no prediction.
    layers
        Name of each line, if it is a layer's.
    """

    kind: str
    where: str
    label: str
    time: Floats
    measured: Floats
    predicted: Floats | None
    layers: tuple[str, ...] = ()


def curves_of(panel: Panel, comparison: Comparison) -> Curves:
    """The lines of a panel from the run that it shows.

    Raises
    ------
    EvaluationError
        If the run has no such charges.
    """
    if panel.kind == "weights":
        return _weights(panel, comparison)
    found = [group for group in comparison.of_kind(panel.kind) if panel.kind == "translation" or _is_convolutional(group)]
    if panel.place is None:
        return _layers(panel.kind, found)
    if panel.place >= len(found):
        raise EvaluationError(
            f"place: expected below {len(found)}, the {panel.kind} groups of {comparison.path}, got {panel.place}"
        )
    group = found[panel.place]
    shown = spread_over(group.group.neurons, NEURONS)
    where = "last layer" if panel.kind == "translation" else f"conv {_layer(panel.kind, panel.place)}"
    drawn = (group.measured[:, shown], group.predicted[:, shown])
    return Curves(panel.kind, where, charge_label(group), group.time, *drawn)


def _layers(kind: str, groups: list[GroupComparison]) -> Curves:
    """Each convolution's charges, or those of each pair of them, added up: the laws are linear."""
    if not groups:
        raise EvaluationError(f"kind: expected {kind} charges of convolutions, got none in this run")
    measured, predicted = (np.stack([getattr(g, name).sum(axis=1) for g in groups], 1) for name in ("measured", "predicted"))
    names = tuple(f"conv {_layer(kind, place)}" for place in range(len(groups)))
    label = rf"$\sum\,({charge_label(groups[0]).strip('$')})$"
    return Curves(kind, "", label, groups[0].time, measured, predicted, names)


def _weights(panel: Panel, comparison: Comparison) -> Curves:
    steps, weights = read_weight_sample(comparison.path)
    group = comparison.groups[0]
    if not np.array_equal(steps, group.steps):
        raise EvaluationError(f"{comparison.path}: expected weights at the steps of the charges, got others; train it again")
    place = panel.place or 0
    return Curves(
        "weights", f"conv {place + 1}", r"weights $\theta_i$", group.time, list(weights.values())[place][:, :NEURONS], None
    )


def _is_convolutional(group: GroupComparison) -> bool:
    """Whether it is of convolutions alone: the first block holds kernels, and all are in ``features`` of the VGG-16."""
    blocks = group.group.blocks
    return len(blocks[0].view) == 4 and all(block.parameter.startswith("features.") for block in blocks)


def _layer(kind: str, place: int) -> str:
    return f"{place + 1}" if kind == "scale" else f"{place + 1}–{place + 2}"


def draw(plan: FigurePlan, curves: Mapping[Panel, Curves]) -> Figure:
    """The figure, of about three by two inches a panel, with one legend."""
    shape = len(plan.panels), max(len(row) for row in plan.panels)
    figure, axes = plt.subplots(*shape, figsize=(3.1 * shape[1] + 0.6, 2.1 * shape[0] + 0.8), layout="constrained",
                                sharey="row" if plan.share_y else False, squeeze=False)  # fmt: skip
    varies = {name for name in ("momentum", "weight_decay") if len({getattr(run, name) for run in plan.runs()}) > 1}
    for i, row in enumerate(plan.panels):
        for j, panel in enumerate(row):
            ax, shown = axes[i, j], curves[panel]
            draw_lines(ax, shown.time, shown.measured, shown.predicted, colours_of(shown.kind, shown.measured.shape[1]))
            ax.set_title(_heading(panel.run, shown.where, varies), fontsize="medium")
            if j == 0 or (not plan.share_y and curves[row[j - 1]].label != shown.label):
                ax.set_ylabel(shown.label)
            if i == shape[0] - 1 or j >= len(plan.panels[i + 1]):
                ax.set_xlabel(TIME_LABEL)
        for ax in axes[i, len(row) :]:
            ax.set_visible(False)
    _legend(figure, [curves[panel] for row in plan.panels for panel in row])
    return figure


def _heading(run: Run, where: str, varies: set[str]) -> str:
    parts = [where] if where else []
    parts += [rf"$\beta={run.momentum:g}$"] if "momentum" in varies else []
    parts += [rf"$\lambda={run.weight_decay:g}$"] if "weight_decay" in varies else []
    return ", ".join(parts)


def _legend(figure: Figure, shown: list[Curves]) -> None:
    if not shown[0].layers:
        figure.legend(handles=line_keys(shown[-1].kind), loc="outside lower center", ncols=2, fontsize="small")
        return
    layers = shown[0].layers
    keys = [
        Line2D([], [], color=colour, linewidth=2.2, label=name)
        for colour, name in zip(colours_of(shown[0].kind, len(layers)), layers, strict=True)
    ]
    keys.append(Line2D([], [], color="black", linestyle=DASHES, linewidth=1, label="law"))
    figure.legend(handles=keys, loc="outside right center", fontsize="small")
