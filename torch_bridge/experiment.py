"""The paper's experiment on a laptop: a grid of small VGG-16 runs, drawn as Figs 5 and 6 of Kunin et al. 2021."""

from __future__ import annotations

import json
import os
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from itertools import product
from multiprocessing import get_context
from pathlib import Path

import torch
from tqdm.auto import tqdm

from torch_bridge.commands import train_model
from torch_bridge.evaluate import Comparison, GroupComparison, evaluate
from torch_bridge.plot import plot_grid
from torch_bridge.report import Section, png, write_report
from torch_bridge.run_log import RunLog
from torch_bridge.train import Training, TrainingError


@dataclass(frozen=True)
class Grid:
    """Runs of VGG-16 with and without batch norm, over momenta and weight decays.

    Parameters
    ----------
    momenta, weight_decays
        β and λ. The figures show λ at the smallest β, and β at the largest λ.
    training
        What all runs share; momentum and weight decay are set from the grid. Its ``clip`` is for β = 0 and shrinks as
        1−β, so that the longest possible step, η clip/(1−β), is the same in every run.
    data, width, input_size
        As :func:`torch_bridge.data.open_dataset` and :func:`torch_bridge.vgg.vgg16` take them.
    """

    momenta: tuple[float, ...] = (0.0, 0.9, 0.99)
    weight_decays: tuple[float, ...] = (0.0, 1e-3, 5e-3)
    training: Training = field(default_factory=lambda: Training(steps=360, batch_size=32, lr=0.1, clip=20.0, every=2))
    data: str = "digits"
    width: float = 1 / 8
    input_size: int = 32

    def __post_init__(self) -> None:
        if not self.momenta or not self.weight_decays:
            raise TrainingError("momenta, weight_decays: expected at least one of each, got none")

    def runs(self) -> list[tuple[bool, Training]]:
        """(batch norm?, training) of every run."""
        return [
            (batch_norm, replace(self.training, momentum=beta, weight_decay=decay, clip=self.training.clip * (1 - beta)))
            for batch_norm, beta, decay in product((False, True), self.momenta, self.weight_decays)
        ]


DEMO = Grid()
"""18 runs that two cores train within minutes."""


def run_name(batch_norm: bool, momentum: float, weight_decay: float) -> str:
    """Folder of a run: ``vgg16-bn_momentum-0.9_decay-0.001``."""
    return f"vgg16{'-bn' if batch_norm else ''}_momentum-{momentum:g}_decay-{weight_decay:g}"


def run_grid(grid: Grid, out: str | os.PathLike[str], *, jobs: int | None = None) -> Path:
    """Train and record every run of the grid, evaluate it, and write ``out/report.html`` and ``out/errors.json``.

    Runs are independent, so ``jobs`` of them (the number of cores, unless said otherwise) train side by side, each on one
    thread.

    Raises
    ------
    TrainingError
        If ``out`` holds something already, or the loss of a run stops being finite.
    """
    root = Path(out)
    if jobs is not None and jobs < 1:
        raise TrainingError(f"jobs: expected at least 1, got {jobs}")
    if root.exists() and not (root.is_dir() and not any(root.iterdir())):
        raise TrainingError(
            f"out: expected a new or empty folder, got {root}, which holds something; remove it or name another"
        )
    tasks = [(grid, batch_norm, training, root) for batch_norm, training in grid.runs()]
    workers = min(jobs or os.cpu_count() or 1, len(tasks))
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        folders = list(tqdm(pool.map(_train_one, tasks), total=len(tasks), desc="training runs"))
    comparisons = {path.name: evaluate(RunLog.open(path)) for path in tqdm(folders, desc="evaluating runs")}
    rows = [{"run": name, **row} for name, run in comparisons.items() for row in run.rows()]
    (root / "errors.json").write_text(json.dumps(rows, indent=1), encoding="utf-8")
    return write_report(
        root / "report.html", "VGG-16 against its conservation laws", figures(grid, comparisons), list(comparisons.values())
    )


def _train_one(task: tuple[Grid, bool, Training, Path]) -> Path:
    grid, batch_norm, training, root = task
    torch.set_num_threads(1)
    path = root / run_name(batch_norm, training.momentum, training.weight_decay)
    model = {"model": "vgg16-bn" if batch_norm else "vgg16", "width": grid.width, "input_size": grid.input_size}
    train_model({**asdict(training), **model, "classes": None, "data": grid.data, "out": path}, progress=False)
    return path


def figures(grid: Grid, comparisons: dict[str, Comparison]) -> list[Section]:
    """The paper's Fig. 5 (one row a symmetry, one column a weight decay) and Fig. 6 (momentum makes an oscillator)."""
    plain, strongest = min(grid.momenta), max(grid.weight_decays)
    by_decay = [_Cell(plain, decay) for decay in grid.weight_decays]
    by_momentum = [_Cell(beta, strongest) for beta in grid.momenta]
    rows = (("translation", False, 0), ("scale", True, 1), ("rescale", False, 3))
    fig5 = [[cell.group(comparisons, *row) for cell in by_decay] for row in rows]
    fig6 = [[cell.group(comparisons, *rows[0]) for cell in by_momentum]]
    fig6_driven = [[cell.group(comparisons, *row) for cell in by_momentum] for row in rows[1:]]
    columns = (
        [rf"$\lambda={cell.weight_decay:g}$" for cell in by_decay],
        [rf"$\beta={cell.momentum:g}$" for cell in by_momentum],
    )
    return [
        Section("Plain SGD: decay, spheres, hyperbolas (as Fig. 5 of the paper)", png(plot_grid(fig5, columns[0])), _FIG5),
        Section("Momentum: a harmonic oscillator (as Fig. 6)", png(plot_grid(fig6, columns[1])), _FIG6),
        Section("Momentum: driven oscillators", png(plot_grid(fig6_driven, columns[1])), _FIG6_DRIVEN),
    ]


@dataclass(frozen=True)
class _Cell:
    momentum: float
    weight_decay: float

    def group(self, comparisons: dict[str, Comparison], kind: str, batch_norm: bool, place: int) -> GroupComparison:
        return comparisons[run_name(batch_norm, self.momentum, self.weight_decay)].of_kind(kind)[place]


_FIG5 = (
    "Top: sums over the columns of the last layer (translation, no batch norm) stay put without weight decay and decay as "
    "e^(−λt) with it, whatever the data. Middle: squared norms of the second convolution's channels (scale, batch norm) "
    "only grow without weight decay, pushed out by the finite step; weight decay pulls them back. Bottom: differences of "
    "squared norms across a ReLU (rescale, no batch norm) go either way. Where dashes run on a coloured line, the law "
    "predicts that neuron."
)
_FIG6 = (
    "The same column sums at the largest weight decay. Momentum turns the exponential into an oscillator: over-damped at "
    "β = 0.9, under-damped at β = 0.99, where each sum swings through zero. The dashes are the closed-form law, with no "
    "input but the initial value."
)
_FIG6_DRIVEN = (
    "Squared norms and their differences under momentum: oscillators driven by the recorded speed of the weights, ⟨θ′, θ′⟩. "
    "What separates dashes from colour at β = 0.99 is of higher order in the step: the exact discrete law has none of it."
)
