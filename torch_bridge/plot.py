"""Figures: measured charges in colour, what the law predicts as black dashes on top, neuron by neuron."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import matplotlib.pyplot as plt
import numpy as np
from matplotlib import colormaps
from matplotlib.lines import Line2D

from torch_bridge.evaluate import PREDICTIONS
from torch_bridge.symmetry_map import MatrixSymmetries

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from torch_bridge.evaluate import Comparison, GroupComparison

TIME_LABEL = r"training time $t=\sum\eta(1-\alpha)$"
DASHES = (0, (4, 3))
"""Line style of a prediction."""
_COLOURS = {"translation": "viridis", "shift": "viridis", "scale": "plasma", "rescale": "cool", "weights": "Greys",
            "general linear": "cividis"}  # fmt: skip


def charge_label(comparison: GroupComparison) -> str:
    r"""The charge as an axis label: ``$|\theta_{A}|^2$``."""
    if isinstance(comparison.group, MatrixSymmetries):
        return r"entries of $W_1W_1^\top - W_2^\top W_2$"
    return f"${comparison.group.symmetry.form_latex(chr(92) + 'theta')}$"


def plot_group(comparison: GroupComparison, *, ax: Axes | None = None, neurons: int = 8) -> Axes:
    """Draw the charges of ``neurons`` neurons of a group, evenly spread over it.

    What to see: each dashed line runs on the coloured one below it. Time is training time, unit 1 as
    :mod:`derive.symbols` defines it; the charge has the parameters' unit to the power of its degree.
    """
    if neurons < 1:
        raise ValueError(f"neurons: expected at least 1, got {neurons}")
    ax = ax or plt.subplots(layout="constrained")[1]
    ax.legend(handles=_draw(ax, comparison, neurons), loc="best", fontsize="small")
    return ax


def _draw(ax: Axes, comparison: GroupComparison, neurons: int) -> list[Line2D]:
    """The lines, labels and title of :func:`plot_group`; returns what a legend is made of."""
    kind, chosen = comparison.group.kind, spread_over(comparison.group.charges, neurons)
    colours = colours_of(kind, len(chosen))
    draw_lines(ax, comparison.time, comparison.measured[:, chosen], comparison.predicted[:, chosen], colours)
    ax.set(xlabel=TIME_LABEL, ylabel=charge_label(comparison), title=comparison.group.label)
    return line_keys(kind)


def spread_over(neurons: int, count: int) -> np.ndarray:
    """Up to ``count`` of the neurons, from the first to the last."""
    return np.unique(np.linspace(0, neurons - 1, count).round().astype(int))


def colours_of(kind: str, count: int) -> np.ndarray:
    """So many colours of a kind's colour map, shape ``(count, 4)``."""
    return colormaps[_COLOURS[kind]](np.linspace(0.3, 0.95, count))


def draw_lines(ax: Axes, time: np.ndarray, measured: np.ndarray, predicted: np.ndarray | None, colours: np.ndarray) -> None:
    """Measured lines, shape ``(m, lines)``, in colour, and on top of each its prediction in dashes."""
    for line, colour in enumerate(colours):
        ax.plot(time, measured[:, line], color=colour, linewidth=2.6 if predicted is not None else 1)
        if predicted is not None:
            ax.plot(time, predicted[:, line], color="black", linestyle=DASHES, linewidth=1)


def line_keys(kind: str) -> list[Line2D]:
    """What a legend of neurons is made of."""
    return [
        Line2D([], [], color=colours_of(kind, 3)[1], linewidth=2.2, label="measured, a colour a neuron"),
        Line2D([], [], color="black", linestyle=DASHES, linewidth=1, label="predicted by the law"),
    ]


def plot_grid(cells: Sequence[Sequence[GroupComparison]], columns: Sequence[str], *, neurons: int = 8) -> Figure:
    """A grid of :func:`plot_group`: one row a symmetry, one column a hyper-parameter; each row shares its y axis."""
    shape, handles = (len(cells), len(cells[0])), []
    figure, axes = plt.subplots(*shape, figsize=(3.4 * shape[1], 2.6 * shape[0] + 0.3), layout="constrained",
                                sharey="row", sharex="col", squeeze=False)  # fmt: skip
    for i, row in enumerate(cells):
        for j, comparison in enumerate(row):
            ax = axes[i, j]
            handles = _draw(ax, comparison, neurons)
            ax.set_title(f"{columns[j]}\n{comparison.group.label}" if i == 0 else comparison.group.label, fontsize="medium")
            ax.label_outer()
    figure.legend(handles=handles, loc="outside lower center", ncols=2, fontsize="small")
    return figure


def plot_gaps(comparison: Comparison) -> Figure:
    """Worst gap over the neurons of each kind as it grows in training, one panel a kind, one line a prediction.

    What to see: the exact law should stay at rounding, the continuous law between it and a charge that is conserved.
    """
    kinds = comparison.kinds
    figure, axes = plt.subplots(
        1, len(kinds), figsize=(3.4 * len(kinds), 3), layout="constrained", sharey=True, squeeze=False
    )
    for ax, kind in zip(axes[0], kinds, strict=True):
        for name, label in PREDICTIONS.items():
            worst = np.max([g.gap(name).max(axis=1, initial=0.0) for g in comparison.of_kind(kind)], axis=0)
            ax.semilogy(comparison.groups[0].steps, np.where(worst > 0, worst, np.nan), label=label)
        ax.set(title=kind, xlabel="step")
    axes[0, 0].set_ylabel("worst gap / sum of the charge's terms")
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), fontsize="small")
    return figure
