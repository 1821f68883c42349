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
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import sympy as sp

from derive import DiscreteLaw, Law, UpdateRule, discrete_law, law, sgd, symbols
from numerics import propagate
from torch_bridge.run_log import RunLog
from torch_bridge.symmetry_map import KINDS, NeuronSymmetries

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


class EvaluationError(ValueError):
    """A log and a law that cannot be held against each other."""


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
        Charge and the sum of the absolute values of its terms, shape ``(m, neurons)``.
    exact, unbroken, predicted, conserved
        Predictions, shape ``(m, neurons)``; see the module.
    """

    group: NeuronSymmetries
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
        """The groups of one kind: translation, shift, scale or rescale."""
        return tuple(g for g in self.groups if g.group.kind == kind)

    @property
    def kinds(self) -> tuple[str, ...]:
        """Kinds that occur, in the order in which :data:`torch_bridge.symmetry_map.KINDS` lists them."""
        return tuple(kind for kind in KINDS if self.of_kind(kind))

    def rows(self) -> list[dict[str, Any]]:
        """One row a kind: neurons, how many of them are compared, and (median, worst) of each neuron's worst gap."""
        return [_summary(kind, self.of_kind(kind)) for kind in self.kinds]

    def table(self) -> str:
        """:meth:`rows` as text: the worst gap of each prediction."""
        head = f"{'kind':<12} {'neurons':>8} {'compared':>8} " + " ".join(f"{name:>10}" for name in PREDICTIONS)
        lines = [
            f"{row['kind']:<12} {row['neurons']:>8} {row['compared']:>8} "
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
    parts = _evaluate_parts(log, order)
    groups = tuple(_whole(log, group, [parts[index] for index in held]) for group, held in log.symmetries)
    return Comparison(log.path, order, log.header.dtype, log.manifest.get("meta", {}), groups)


@dataclass(frozen=True, eq=False)
class _Part:
    """Curves of the blocks of one symmetry that are updated alike: the law closes over them."""

    law: Law
    h: Floats
    speed: Floats
    curves: Mapping[str, Floats]


def _evaluate_parts(log: RunLog, order: int) -> dict[int, _Part]:
    """The parts that share kind, hyper-parameters and channels are predicted side by side."""
    balanced = _balanced_breaking(log)
    batches: dict[tuple[Any, ...], list[int]] = {}
    for index, part in enumerate(log.header.groups):
        batches.setdefault((part.kind, part.hyper, tuple(part.channels), index in balanced), []).append(index)
    return {
        index: part
        for (kind, *_), indices in batches.items()
        for index, part in _evaluate_batch(log, kind, indices, order, balanced)
    }


def _balanced_breaking(log: RunLog) -> dict[int, Floats]:
    """⟨g, X⟩ of each part of the divided symmetries, less an equal share of their sum, which invariance says is 0."""
    balanced: dict[int, Floats] = {}
    for _, held in log.symmetries:
        if len(held) > 1:
            breaking = [log.channel(index, "breaking").astype(np.float64) for index in held]
            share = np.mean(breaking, axis=0)
            balanced |= {index: values - share for index, values in zip(held, breaking, strict=True)}
    return balanced


def _whole(log: RunLog, group: NeuronSymmetries, parts: list[_Part]) -> GroupComparison:
    """The parts' charges, weighted so that gradient flow conserves their sum, and added up."""
    weights = _weights([part.speed for part in parts])
    pairs = list(zip(weights, parts, strict=True))
    curves = {name: np.sum([w * part.curves[name] for w, part in pairs], axis=0) for name in parts[0].curves}
    time = np.concatenate([[0.0], np.cumsum(parts[0].h)])[log.charge_steps]
    return GroupComparison(group, parts[0].law, log.charge_steps, time, weights, **curves)


def _weights(speeds: list[Floats]) -> tuple[float, ...]:
    """Part's factor: its charge moves in proportion to η(1−α)/(1−β) of its parameter group, at the first step with any."""
    moving = np.flatnonzero(np.all(np.stack(speeds) > 0, axis=0))
    if len(speeds) == 1 or not len(moving):
        return (1.0,) * len(speeds)
    return tuple(float(speeds[0][moving[0]] / speed[moving[0]]) for speed in speeds)


def _evaluate_batch(
    log: RunLog, kind: str, indices: list[int], order: int, balanced: Mapping[int, Floats]
) -> list[tuple[int, _Part]]:
    """Parts of one kind under one set of hyper-parameters: predicted side by side, then taken apart again."""
    hyper = log.hyper(indices[0])
    if (hyper["dampening"] >= 1).any():
        raise EvaluationError(f"dampening: expected below 1, got {hyper['dampening'].max()}: no training time passes")
    rule = _rule(hyper, log.nesterov)
    exact_law, continuous = _laws(kind, rule, order)
    measured, magnitude = (np.concatenate([f(i) for i in indices], axis=1) for f in (log.charge, log.magnitude))
    overlap = np.concatenate([log.initial_overlap(i) for i in indices])
    start = np.stack([measured[0], overlap])
    drives = {
        name: _columns(log, indices, name) for name in exact_law.drives if name in log.header.groups[indices[0]].channels
    }
    invariant = {name: samples for name, samples in drives.items() if name != "breaking"}
    if indices[0] in balanced:
        invariant["breaking"] = np.concatenate([balanced[i] for i in indices], axis=1)
    h = _at_each_step(rule.step_size, hyper)
    drive = _continuous_drive(log, continuous, indices, hyper) | {k: x for k, x in invariant.items() if k == "breaking"}
    curves = {
        "exact": _exact(log, exact_law, start, drives, hyper),
        "unbroken": _exact(log, exact_law, start, invariant, hyper),
        "predicted": _predicted(log, continuous, start, drive, hyper, h),
        "conserved": np.broadcast_to(measured[0], measured.shape),
        "measured": measured,
        "magnitude": magnitude,
    }
    speed = h / (1 - hyper["momentum"])
    edges = np.cumsum([log.groups[i].neurons for i in indices])[:-1]
    pieces = {name: np.split(values, edges, axis=1) for name, values in curves.items()}
    return [
        (i, _Part(continuous, h, speed, {name: piece[k] for name, piece in pieces.items()})) for k, i in enumerate(indices)
    ]


def _exact(
    log: RunLog, exact_law: DiscreteLaw, start: Floats, drives: Mapping[str, Floats], hyper: Mapping[str, Floats]
) -> Floats:
    state = start[: exact_law.transition.shape[0]]
    shared = {"steps": log.steps, "keep": log.charge_steps, "velocity_exists": not log.fresh}
    return propagate(exact_law, state, drives, **shared, **_chosen(hyper, exact_law))


def _predicted(
    log: RunLog, continuous: Law, start: Floats, drive: Mapping[str, Floats], hyper: Mapping[str, Floats], h: Floats
) -> Floats:
    state = start[:1]
    if continuous.is_oscillator:
        state = np.stack([start[0], _initial_rate(continuous, start[1], hyper)])
    shared = {"step_size": h, "steps": log.steps, "keep": log.charge_steps}
    return propagate(continuous, state, drive, **shared, **_chosen(hyper, continuous))


def _rule(hyper: Mapping[str, Floats], nesterov: bool) -> UpdateRule:
    """The update rule of the run with symbols where the log has numbers, so that schedules are one law."""
    if not hyper["momentum"].any():
        return sgd()
    return sgd(momentum=True, dampening=not nesterov, nesterov=nesterov)


@lru_cache
def _laws(kind: str, rule: UpdateRule, order: int) -> tuple[DiscreteLaw, Law]:
    symmetry = KINDS[kind]()
    return discrete_law(symmetry, rule), law(symmetry, rule, order)


def _columns(log: RunLog, indices: list[int], name: str) -> Floats:
    return np.concatenate([log.channel(i, name) for i in indices], axis=1)


def _chosen(hyper: Mapping[str, Floats], of: Law | DiscreteLaw) -> dict[str, Any]:
    return {name: hyper[name] for name in of.hyper_parameters}


def _at_each_step(expr: sp.Expr, hyper: Mapping[str, Floats]) -> Floats:
    """An expression in the hyper-parameters, evaluated at each step: shape ``(steps,)``."""
    names = symbols.argument_names(expr)
    by_name = {name: symbol for symbol, name in symbols.ARGUMENT_NAMES.items()}
    function = sp.lambdify([by_name[name] for name in names], expr, "numpy")
    return np.broadcast_to(function(*(hyper[name] for name in names)), hyper["lr"].shape)


def _speed(rule: UpdateRule) -> sp.Expr:
    """θ' = −(η/h) d: a step moves θ by −ηd in the time h."""
    return sp.cancel(rule.lr / rule.step_size)


def _initial_rate(continuous: Law, overlap: Floats, hyper: Mapping[str, Floats]) -> Floats:
    """Q'(0) = p⟨θ', X⟩ of the velocity that exists at the start: 0 for a fresh run, as Kunin et al. 2021 have it."""
    return -continuous.symmetry.degree * _at_each_step(_speed(continuous.rule), hyper)[0] * overlap


def _continuous_drive(log: RunLog, continuous: Law, indices: list[int], hyper: Mapping[str, Floats]) -> dict[str, Floats]:
    """Samples of the continuous law's drive: ⟨g, g⟩_M as recorded, or ⟨θ', θ'⟩_M from the recorded ⟨d, d⟩_M."""
    if continuous.drive_form == "gradient":
        return {"gradient": _columns(log, indices, "gradient")}
    if continuous.drive_form == "velocity":
        return {
            "velocity": _columns(log, indices, "direction") * _at_each_step(_speed(continuous.rule) ** 2, hyper)[:, None]
        }
    return {}


def _summary(kind: str, groups: tuple[GroupComparison, ...]) -> dict[str, Any]:
    row: dict[str, Any] = {
        "kind": kind,
        "neurons": sum(g.group.neurons for g in groups),
        "compared": sum(int(g.compared.sum()) for g in groups),
    }
    for name in PREDICTIONS:
        worst = np.concatenate([g.gap(name).max(axis=0) for g in groups])
        row[name] = (float(np.median(worst)), float(worst.max())) if worst.size else (float("nan"),) * 2
    return row
