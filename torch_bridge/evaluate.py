"""A recorded run against the laws: what was measured, what each law predicts, and the gap between them.

Four predictions stand beside every measured charge. *exact* is the discrete law with the recorded breaking term ⟨g, X⟩;
it must agree to rounding, whatever the training did. *unbroken* is the same without that term: its gap is how far the
network is from having the symmetry at all (batch norm's eps). *predicted* is the continuous law of the chosen order.
*conserved* is gradient flow, under which the charge stays what it was.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from derive import DiscreteLaw, Law, UpdateRule, discrete_law, law, sgd
from numerics import propagate
from torch_bridge.run_log import RunLog
from torch_bridge.symmetry_map import KINDS, NeuronSymmetries

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Floats = np.ndarray
PREDICTIONS = ("exact", "unbroken", "predicted", "conserved")
"""Names of the predictions, as attributes of :class:`GroupComparison` and columns of the table."""


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
        Step counts and training time t = Σ h_n, h = η(1−α), shape ``(m,)``.
    measured, magnitude
        Charge and the sum of the absolute values of its terms, shape ``(m, neurons)``.
    exact, unbroken, predicted, conserved
        Predictions, shape ``(m, neurons)``; see the module.
    """

    group: NeuronSymmetries
    law: Law
    steps: Floats
    time: Floats
    measured: Floats
    magnitude: Floats
    exact: Floats
    unbroken: Floats
    predicted: Floats
    conserved: Floats

    @property
    def compared(self) -> Floats:
        """Which neurons have a charge to speak of: those with a term that is not exactly 0 at the start.

        A bias that is initialised to 0 and has no gradient holds rounding noise, which no law is about.
        """
        return self.magnitude[0] > 0

    def gap(self, prediction: str = "predicted") -> Floats:
        """|prediction − measured| relative to the sum of the charge's absolute terms, shape ``(m, compared neurons)``.

        The charge itself may cancel to nearly 0, so it is no scale. The sum is the largest up to that time: under
        momentum all weights of an idle neuron swing through 0 together, and rounding made before is still there.
        """
        if prediction not in PREDICTIONS:
            raise EvaluationError(f"prediction: expected one of {PREDICTIONS}, got {prediction!r}")
        chosen = self.compared
        scale = np.maximum.accumulate(self.magnitude, axis=0)
        return np.abs(getattr(self, prediction) - self.measured)[:, chosen] / scale[:, chosen]


@dataclass(frozen=True, eq=False)
class Comparison:
    """All groups of one run against the laws of one order."""

    path: Path
    order: int
    meta: Mapping[str, Any]
    groups: tuple[GroupComparison, ...]

    def worst(self, prediction: str = "predicted") -> float:
        """The largest gap of any neuron at any time."""
        return max((float(g.gap(prediction).max(initial=0.0)) for g in self.groups), default=0.0)

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
            + " ".join(f"{row[name][1]:>10.1e}" for name in PREDICTIONS)
            for row in self.rows()
        ]
        return "\n".join([head, *lines])

    def plot(self, kind: str | None = None, *, ax: Axes | None = None, neurons: int = 8) -> Axes:
        """Measured charges in colour and predicted ones dashed; see :func:`torch_bridge.plot.plot_group`."""
        from torch_bridge.plot import plot_group

        chosen = kind or self.kinds[0]
        if chosen not in self.kinds:
            raise EvaluationError(f"kind: expected one of {self.kinds}, got {kind!r}")
        return plot_group(self.of_kind(chosen)[0], ax=ax, neurons=neurons)

    def report(self, path: str | os.PathLike[str]) -> Path:
        """Write one self-contained HTML page."""
        from torch_bridge.report import run_report

        return run_report(self, path)


def evaluate(log: RunLog, order: int = 1) -> Comparison:
    """Hold a run against the law of ``order`` (0: gradient flow with weight decay, 1: the paper's) and the exact one.

    Raises
    ------
    EvaluationError
        If the log has no step.
    derive.UnsupportedError
        If there is no law of that order.
    """
    if log.steps == 0:
        raise EvaluationError(f"log: expected at least one recorded step, got none in {log.path}")
    batches: dict[tuple[str, int], list[int]] = {}
    for index, group in enumerate(log.groups):
        batches.setdefault((group.kind, log.header.groups[index].hyper), []).append(index)
    found = {i: c for (kind, _), indices in batches.items() for i, c in _evaluate_batch(log, kind, indices, order)}
    return Comparison(log.path, order, log.manifest.get("meta", {}), tuple(found[i] for i in sorted(found)))


def _evaluate_batch(log: RunLog, kind: str, indices: list[int], order: int) -> list[tuple[int, GroupComparison]]:
    """Groups of one kind under one set of hyper-parameters: predicted side by side, then taken apart again."""
    hyper = log.hyper(indices[0])
    rule = _rule(hyper, log.nesterov)
    exact_law, continuous = _laws(kind, rule, order)
    measured, magnitude = (np.concatenate([f(i) for i in indices], axis=1) for f in (log.charge, log.magnitude))
    forcing = {name: _columns(log, indices, name) for name in {*exact_law.drives} | _needed(continuous)}
    overlap = np.concatenate([log.initial_overlap(i) for i in indices])
    state = measured[:1] if len(exact_law.transition.tolist()) == 1 else np.stack([measured[0], overlap])
    steps = log.charge_steps
    shared = {"keep": steps, **_discrete_hyper(hyper, rule, log.fresh)}
    drives = {name: forcing[name] for name in exact_law.drives}
    symmetric = {name: values for name, values in drives.items() if name != "breaking"}
    h = hyper["lr"] * (1 - hyper["dampening"])
    curves = {
        "exact": propagate(exact_law, state, drives, steps=log.steps, **shared),
        "unbroken": propagate(exact_law, state, symmetric, steps=log.steps, **shared),
        "predicted": _continuous(continuous, measured[0], forcing, hyper, h, steps),
        "conserved": np.broadcast_to(measured[0], measured.shape),
        "measured": measured,
        "magnitude": magnitude,
    }
    time = np.concatenate([[0.0], np.cumsum(h)])[steps]
    edges = np.cumsum([log.groups[i].neurons for i in indices])[:-1]
    parts = {name: np.split(values, edges, axis=1) for name, values in curves.items()}
    return [
        (i, GroupComparison(log.groups[i], continuous, steps, time, **{name: part[k] for name, part in parts.items()}))
        for k, i in enumerate(indices)
    ]


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


def _needed(continuous: Law) -> set[str]:
    """Channels that the continuous law's drive is computed from."""
    return {None: set(), "gradient": {"gradient"}, "velocity": {"direction"}}[continuous.drive_form]


def _discrete_hyper(hyper: Mapping[str, Floats], rule: UpdateRule, fresh: bool) -> dict[str, Floats]:
    """The hyper-parameters that the discrete law has symbols for; torch's first velocity is undamped."""
    dampening = hyper["dampening"].copy()
    if fresh:
        dampening[0] = 0.0
    values = {**hyper, "dampening": dampening}
    names = {"lr", "weight_decay"} if rule.momentum == 0 else {"lr", "weight_decay", "momentum", "dampening"}
    return {name: values[name] for name in names}


def _continuous(
    continuous: Law, initial: Floats, forcing: Mapping[str, Floats], hyper: Mapping[str, Floats], h: Floats, keep: Floats
) -> Floats:
    """⟨θ', θ'⟩_M is ⟨d, d⟩_M/(1−α)², since a step moves θ by −ηd in the time h = η(1−α)."""
    drives: dict[str, Floats] = {}
    if continuous.drive_form == "gradient":
        drives["gradient"] = forcing["gradient"]
    elif continuous.drive_form == "velocity":
        drives["velocity"] = forcing["direction"] / (1 - hyper["dampening"][:, None]) ** 2
    return propagate(continuous, initial, drives, step_size=h, steps=len(h), keep=keep, **hyper)


def _summary(kind: str, groups: tuple[GroupComparison, ...]) -> dict[str, Any]:
    row: dict[str, Any] = {
        "kind": kind,
        "neurons": sum(g.group.neurons for g in groups),
        "compared": sum(int(g.compared.sum()) for g in groups),
    }
    for name in PREDICTIONS:
        worst = np.concatenate([g.gap(name).max(axis=0) for g in groups])
        row[name] = (float(np.median(worst)), float(worst.max())) if worst.size else (0.0, 0.0)
    return row
