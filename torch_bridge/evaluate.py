"""A recorded run against the laws: what was measured, what each law predicts, and the gap between them.

Four predictions stand beside every measured charge. *exact* is the discrete law with the recorded breaking term ⟨g, X⟩;
it must agree to rounding, whatever the training did, and so checks the record. *unbroken* is the same without that term:
it checks the symmetry, and its gap is how far the network is from having it (batch norm's eps, or a false claim).
Where the optimizer's parameter groups divide a symmetry, that term is taken off in equal shares, so that the parts' own
cancel. *predicted* is the continuous law of the chosen order. *conserved* is gradient flow: the charge stays what it was.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from derive import Law
from torch_bridge.predict import EvaluationError, Predictor, at_each_step, laws_of, rule_of
from torch_bridge.run_header import PREDICTIONS as CARRIED
from torch_bridge.run_log import RunLog
from torch_bridge.symmetry_map import KINDS, MatrixSymmetries, NeuronSymmetries

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Floats = np.ndarray
PREDICTIONS = {
    "exact": "exact discrete law",
    "unbroken": "exact, ⟨g, X⟩ = 0 assumed",
    "predicted": "continuous law",
    "conserved": "conserved",
}
"""Names of the predictions, as attributes of :class:`GroupComparison` and columns of the table -> headings."""
ROUNDING = {"float64": 1e-12, "float32": 5e-5}
"""Dtype of a run -> gap of the exact law that rounding explains."""


@dataclass(frozen=True, eq=False)
class GroupComparison:
    """One group of symmetries: measured charge and predictions, at the steps where the charge was measured.

    Parameters
    ----------
    group
        Kind, place and blocks of the symmetries.
    law
        The continuous law behind ``predicted``.
    steps, time
        Step counts and training time t = Σ h_n, h = η(1−α), shape ``(m,)``; of the first part, if there are several.
    weights
        Factor of each part of the charge: 1, but for blocks of another learning rate. There the charge is Σ ± |θ_i|²/η_i,
        times the first part's η, since it is this sum that gradient flow conserves.
    measured, magnitude
        Charge and the sum of the absolute values of its terms, shape ``(m, neurons)``. Of a GL(k) each column is an entry
        of its matrices: ``group.entries`` says which, ``group.matrices(measured)`` has them whole.
    exact, unbroken, predicted, conserved
        Predictions, of the same shape; see the module.
    """

    group: NeuronSymmetries | MatrixSymmetries
    law: Law
    steps: Floats
    time: Floats
    weights: tuple[float, ...]
    measured: Floats
    magnitude: Floats
    exact: Floats
    unbroken: Floats
    predicted: Floats
    conserved: Floats

    @property
    def compared(self) -> Floats:
        """Which neurons have a charge to speak of: those with a term that is not 0 throughout.

        A bias before batch norm that starts at 0 is left out too: it has no gradient, and holds rounding noise.
        """
        return (self.magnitude[0] > 0) if self.group.kind == "shift" else (self.magnitude.max(axis=0) > 0)

    def gap(self, prediction: str = "predicted") -> Floats:
        """|prediction − measured| relative to the sum of the charge's absolute terms, shape ``(m, compared neurons)``.

        The charge itself may cancel to nearly 0, so it is no scale. The sum is the largest up to that time: under
        momentum all weights of an idle neuron swing through 0 together, and rounding made before is still there.
        """
        if prediction not in PREDICTIONS:
            raise EvaluationError(f"prediction: expected one of {tuple(PREDICTIONS)}, got {prediction!r}")
        chosen = self.compared
        scale = np.maximum.accumulate(self.magnitude, axis=0)[:, chosen]
        difference = np.abs(getattr(self, prediction) - self.measured)[:, chosen]
        return np.where(difference == 0, 0.0, difference / np.where(scale > 0, scale, np.finfo(np.float64).tiny))


@dataclass(frozen=True, eq=False)
class Comparison:
    """All groups of one run against the laws of one order."""

    path: Path
    order: int
    dtype: str
    meta: Mapping[str, Any]
    groups: tuple[GroupComparison, ...]

    def worst(self, prediction: str = "predicted") -> float:
        """The largest gap of any neuron at any time; NaN if no neuron has a charge to compare."""
        worst = [float(g.gap(prediction).max()) for g in self.groups if g.compared.any()]
        return float(np.max(worst)) if worst else float("nan")

    @property
    def ok(self) -> bool:
        """Whether the exact law holds to the rounding of the run's dtype: the record is what the optimizer did."""
        return self.worst("exact") <= ROUNDING[self.dtype]

    def verdict(self) -> str:
        """:attr:`ok` in a sentence, with the figures, and what the gap without ⟨g, X⟩ says of the symmetries."""
        exact, limit = self.worst("exact"), ROUNDING[self.dtype]
        relation, says = (
            ("<=", "holds to rounding") if self.ok else (">", "is MISSED: the record is not what the optimizer did")
        )
        broken = ", ".join(f"{row['kind']} {figure(row['unbroken'][1])}" for row in self.rows())
        return f"exact law {says} (worst gap {exact:.1e} {relation} {limit:.0e}, {self.dtype}); broken by at most: {broken}"

    def of_kind(self, kind: str) -> tuple[GroupComparison, ...]:
        """The groups of one kind: translation, shift, scale, rescale or general linear."""
        return tuple(g for g in self.groups if g.group.kind == kind)

    @property
    def kinds(self) -> tuple[str, ...]:
        """Kinds that occur, in the order in which :data:`torch_bridge.symmetry_map.KINDS` lists them."""
        return tuple(kind for kind in KINDS if self.of_kind(kind))

    def rows(self) -> list[dict[str, Any]]:
        """One row a kind: charges, how many of them are compared, and (median, worst) of each one's worst gap."""
        return [_summary(kind, self.of_kind(kind)) for kind in self.kinds]

    def table(self) -> str:
        """:meth:`rows` as text: the worst gap of each prediction."""
        head = f"{'kind':<14} {'charges':>8} {'compared':>8} " + " ".join(f"{name:>10}" for name in PREDICTIONS)
        lines = [
            f"{row['kind']:<14} {row['charges']:>8} {row['compared']:>8} "
            + " ".join(f"{figure(row[name][1]):>10}" for name in PREDICTIONS)
            for row in self.rows()
        ]
        return "\n".join([head, *lines])

    def plot(self, kind: str | None = None, place: int = 0, *, ax: Axes | None = None, neurons: int = 8) -> Axes:
        """Measured and predicted charges of one group: the ``place``-th of its kind (see :meth:`of_kind`)."""
        from torch_bridge.plot import plot_group

        chosen = kind or self.kinds[0]
        if chosen not in self.kinds:
            raise EvaluationError(f"kind: expected one of {self.kinds}, got {kind!r}")
        if not 0 <= place < len(self.of_kind(chosen)):
            raise EvaluationError(
                f"place: expected at least 0 and below {len(self.of_kind(chosen))}, got {chosen!r}, {place}"
            )
        return plot_group(self.of_kind(chosen)[place], ax=ax, neurons=neurons)

    def report(self, path: str | os.PathLike[str]) -> Path:
        """Write one self-contained HTML page."""
        from torch_bridge.report import run_report

        return run_report(self, path)


def figure(gap: float) -> str:
    """A gap with two digits, or a dash where there was nothing to compare."""
    return f"{gap:.1e}" if gap == gap else "–"


def evaluate(log: RunLog, order: int = 1) -> Comparison:
    """Hold a run against the law of ``order`` (0: gradient flow with weight decay, 1: the paper's) and the exact one.

    Raises
    ------
    EvaluationError
        If the log has no step.
    derive.UnsupportedError
        If there is no law of that order.
    """
    if not isinstance(log, RunLog):
        raise EvaluationError(f"log: expected a RunLog, got {log!r}; open the folder with RunLog.open(...)")
    if log.steps == 0:
        raise EvaluationError(f"log: expected at least one recorded step, got none in {log.path}")
    predictions = log.predictions(order) if log.header.order is not None else _replayed(log, order)
    groups = tuple(_whole(log, group, held, predictions, order) for group, held in log.symmetries)
    return Comparison(log.path, order, log.header.dtype, log.manifest.get("meta", {}), groups)


def _replayed(log: RunLog, order: int) -> list[dict[str, Floats]]:
    """Of each part, its charge as each law has it at ``log.charge_steps``, from the logged forcing, chunk by chunk."""
    predictor = Predictor(log.header, log.initial, order)
    kept: list[dict[str, Floats]] = [predictor.charges]
    done = 0
    for forcing, hyper in log.chunks():
        steps = log.charge_steps
        kept.append(predictor.advance(forcing, hyper, steps[(steps > done) & (steps <= done + len(hyper))] - done))
        done += len(hyper)
    curves = {name: np.concatenate([charges[name] for charges in kept]) for name in CARRIED}
    return [{name: curves[name][:, slice(*part.charge)] for name in CARRIED} for part in log.header.groups]


def _whole(
    log: RunLog,
    group: NeuronSymmetries | MatrixSymmetries,
    held: tuple[int, ...],
    predictions: list[dict[str, Floats]],
    order: int,
) -> GroupComparison:
    """The parts' charges, weighted so that gradient flow conserves their sum, and added up."""
    rules = [rule_of(log.hyper(index), log.nesterov) for index in held]
    h = [at_each_step(rule.step_size, log.hyper(index)) for rule, index in zip(rules, held, strict=True)]
    weights = _weights([step / (1 - log.hyper(index)["momentum"]) for step, index in zip(h, held, strict=True)])
    parts = [predictions[i] | {"measured": log.charge(i), "magnitude": log.magnitude(i)} for i in held]
    for part in parts:
        part["conserved"] = np.broadcast_to(part["measured"][0], part["measured"].shape)
    curves = {name: np.sum([w * part[name] for w, part in zip(weights, parts, strict=True)], axis=0) for name in parts[0]}
    time = np.concatenate([[0.0], np.cumsum(h[0])])[log.charge_steps]
    return GroupComparison(group, laws_of(group.kind, rules[0], order)[1], log.charge_steps, time, weights, **curves)


def _weights(speeds: list[Floats]) -> tuple[float, ...]:
    """Part's factor: its charge moves in proportion to η(1−α)/(1−β) of its parameter group, at the first step with any."""
    moving = np.flatnonzero(np.all(np.stack(speeds) > 0, axis=0))
    if len(speeds) == 1 or not len(moving):
        return (1.0,) * len(speeds)
    return tuple(float(speeds[0][moving[0]] / speed[moving[0]]) for speed in speeds)


def _summary(kind: str, groups: tuple[GroupComparison, ...]) -> dict[str, Any]:
    row: dict[str, Any] = {
        "kind": kind,
        "charges": sum(g.group.charges for g in groups),
        "compared": sum(int(g.compared.sum()) for g in groups),
    }
    for name in PREDICTIONS:
        worst = np.concatenate([g.gap(name).max(axis=0) for g in groups])
        row[name] = (float(np.median(worst)), float(worst.max())) if worst.size else (float("nan"),) * 2
    return row
