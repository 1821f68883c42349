"""The laws of all recorded charges, carried forward row by row, with a few numbers of state for each neuron.

Fed from a log this replays a run; fed from the recorder it predicts one while it goes on, and no forcing need be kept.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import sympy as sp

from derive import DiscreteLaw, Law, UnsupportedError, UpdateRule, discrete_law, law, sgd, symbols
from numerics import State, advance, start
from torch_bridge.run_header import HYPER, PREDICTIONS, Header, Initial
from torch_bridge.symmetry_map import KINDS

Floats = np.ndarray


RECORDED_AS = {"gradient": "gradient", "velocity": "direction", "overlap": "overlap"}
"""Drive of a continuous law -> the recorded form it is made of."""


class EvaluationError(ValueError):
    """A log and a law that cannot be held against each other."""


class Predictor:
    """Carries *exact*, *unbroken* and *predicted* of every part of a header from one row to the next.

    Parameters
    ----------
    header, initial
        The columns of the rows to come, and the state before the first.
    order
        Of the continuous law: 0 or 1.

    Attributes
    ----------
    charges
        Prediction -> the initial charges, shape ``(1, neurons)``.
    """

    def __init__(self, header: Header, initial: Initial, order: int) -> None:
        self._header, self._order, self._initial = header, order, initial
        self.charges = dict.fromkeys(PREDICTIONS, initial.charge[None])
        self._batches: list[_Batch] | None = None

    def advance(self, forcing: Floats, hyper: Floats, keep: Floats) -> dict[str, Floats]:
        """Go over rows; the charges of each prediction after the steps ``keep`` of them, shape ``(len(keep), neurons)``.

        Raises
        ------
        EvaluationError
            If no training time passes.
        derive.UnsupportedError
            If there is no law of the order.
        """
        dampening = hyper[:, HYPER.index("dampening") :: len(HYPER)]
        if (dampening >= 1).any():
            raise EvaluationError(f"dampening: expected below 1, got {dampening.max()}: no training time passes")
        if self._batches is None:
            self._batches = list(self._start(hyper))
        out = {name: np.empty((len(keep), self._header.neurons)) for name in PREDICTIONS}
        excess = self._excess(forcing)
        for batch in self._batches:
            for name, charges in batch.advance(forcing, _named(hyper, batch.hyper), excess, keep).items():
                out[name][:, batch.neurons] = charges
        return out

    def _start(self, hyper: Floats) -> Iterator[_Batch]:
        """Parts that share kind, hyper-parameters and channels are predicted side by side."""
        divided = {index for held in self._header.divided for index in held}
        alike: dict[tuple[Any, ...], list[int]] = {}
        for index, part in enumerate(self._header.groups):
            alike.setdefault((part.kind, part.hyper, tuple(part.channels), index in divided), []).append(index)
        for (kind, group, names, is_divided), indices in alike.items():
            parts = [self._header.groups[index] for index in indices]
            values = _named(hyper, group)
            laws = laws_of(kind, rule_of(values, self._header.nesterov), self._order)
            _refuse_missing(laws, kind, names)
            channels = {name: _columns([part.channels[name] for part in parts]) for name in names}
            neurons = _columns([part.charge for part in parts])
            initial = np.stack([self._initial.charge[neurons], self._initial.overlap[neurons]])
            begun = _begin(laws, initial, values, velocity_exists=not self._header.fresh)
            yield _Batch(*laws, group, channels, neurons, is_divided, begun)

    def _excess(self, forcing: Floats) -> Floats:
        """An equal share of the sum of the parts' ⟨g, X⟩, which invariance says is 0; shape ``(rows, neurons)``."""
        excess = np.zeros((len(forcing), self._header.neurons)) if self._header.divided else np.zeros((0, 0))
        for held in self._header.divided:
            parts = [self._header.groups[index] for index in held]
            share = np.mean([forcing[:, slice(*part.channels["breaking"])].astype(np.float64) for part in parts], axis=0)
            for part in parts:
                excess[:, slice(*part.charge)] = share
        return excess


@dataclass(eq=False)
class _Batch:
    """Parts that are predicted side by side, and where their laws stand: ``state`` is all that a step changes."""

    exact: DiscreteLaw
    continuous: Law
    hyper: int
    channels: Mapping[str, Floats]
    neurons: Floats
    divided: bool
    state: dict[str, State]

    def advance(self, forcing: Floats, hyper: Mapping[str, Floats], excess: Floats, keep: Floats) -> dict[str, Floats]:
        drives = {name: forcing[:, columns] for name, columns in self.channels.items()}
        exact = {name: drives[name] for name in self.exact.drives if name in drives}
        unbroken = {name: samples for name, samples in exact.items() if name != "breaking"}
        if self.divided:
            unbroken["breaking"] = drives["breaking"] - excess[:, self.neurons]
        balanced = {name: unbroken[name] for name in ("breaking",) if name in unbroken}
        steps = {"steps": len(forcing), "keep": keep}
        discrete = {**steps, **_chosen(hyper, self.exact)}
        h = at_each_step(self.continuous.rule.step_size, hyper)
        flowing = {"step_size": h, **steps, **_chosen(hyper, self.continuous)}
        kept = {
            "exact": advance(self.exact, self.state["exact"], exact, **discrete),
            "unbroken": advance(self.exact, self.state["unbroken"], unbroken, **discrete),
            "predicted": advance(self.continuous, self.state["predicted"], self._drive(drives, hyper) | balanced, **flowing),
        }
        self.state = {name: state for name, (_, state) in kept.items()}
        return {name: charges for name, (charges, _) in kept.items()}

    def _drive(self, drives: Mapping[str, Floats], hyper: Mapping[str, Floats]) -> dict[str, Floats]:
        """Samples of the continuous law's drive: ⟨g, g⟩_M as recorded, or ⟨θ', θ'⟩_M from the recorded ⟨d, d⟩_M."""
        found = {name: drives[RECORDED_AS[name]] for name in self.continuous.drive_forms}
        if "velocity" in found:
            speed = at_each_step(_speed(self.continuous.rule), hyper)
            found["velocity"] = found["velocity"] * speed[:, None] ** 2
        return found


def _begin(
    laws: tuple[DiscreteLaw, Law], initial: Floats, hyper: Mapping[str, Floats], *, velocity_exists: bool
) -> dict[str, State]:
    """States before the first row, from charge and momentum overlap, ``initial`` of shape ``(2, neurons)``."""
    exact, continuous = laws
    flowing = initial[:1]
    if continuous.is_oscillator:
        # Q'(0) = p⟨θ', X⟩ of the velocity that exists: 0 for a fresh run, as Kunin et al. 2021 have it
        rate = -continuous.symmetry.degree * at_each_step(_speed(continuous.rule), hyper)[0] * initial[1]
        flowing = np.stack([initial[0], rate])
    discrete = start(exact, initial[: exact.transition.shape[0]], velocity_exists=velocity_exists)
    return {"exact": discrete, "unbroken": discrete, "predicted": start(continuous, flowing)}


def _refuse_missing(laws: tuple[DiscreteLaw, Law], kind: str, names: Sequence[str]) -> None:
    exact, continuous = laws
    needed = {*exact.drives, *(RECORDED_AS[name] for name in continuous.drive_forms)} - {"breaking"}
    if not needed <= set(names):
        raise EvaluationError(f"log: expected the channels {sorted(needed)} of a {kind} symmetry, got {sorted(names)}; it "
                              "was not recorded by this rule and as this kind")  # fmt: skip


def rule_of(hyper: Mapping[str, Floats], nesterov: bool) -> UpdateRule:
    """The update rule of a run with symbols where the log has numbers, so that schedules are one law."""
    if not hyper["momentum"].any():
        return sgd()
    return sgd(momentum=True, dampening=not nesterov, nesterov=nesterov)


@lru_cache
def laws_of(kind: str, rule: UpdateRule, order: int) -> tuple[DiscreteLaw, Law]:
    """The exact law of a kind's charge and the continuous one of an order."""
    if order not in (0, 1):
        raise UnsupportedError(f"order: expected 0 (gradient flow) or 1 (the paper's laws), got {order}; the prediction "
                               "'unbroken' is the law of all orders, step by step")  # fmt: skip
    symmetry = KINDS[kind]()
    return discrete_law(symmetry, rule), law(symmetry, rule, order)


def at_each_step(expr: sp.Expr, hyper: Mapping[str, Floats]) -> Floats:
    """An expression in the hyper-parameters, evaluated at each step: shape ``(steps,)``."""
    names = symbols.argument_names(expr)
    function = _compiled(expr, names)
    return np.broadcast_to(function(*(hyper[name] for name in names)), hyper["lr"].shape)


@lru_cache
def _compiled(expr: sp.Expr, names: tuple[str, ...]) -> Any:
    by_name = {name: symbol for symbol, name in symbols.ARGUMENT_NAMES.items()}
    return sp.lambdify([by_name[name] for name in names], expr, "numpy")


def _speed(rule: UpdateRule) -> sp.Expr:
    """θ' = −(η/h) d: a step moves θ by −ηd in the time h."""
    return sp.cancel(rule.lr / rule.step_size)


def _named(hyper: Floats, group: int) -> dict[str, Floats]:
    """Hyper-parameters of a recorded parameter group by name, from rows of shape ``(rows, hypers)``."""
    return {name: hyper[:, len(HYPER) * group + k] for k, name in enumerate(HYPER)}


def _columns(spans: Sequence[tuple[int, int]]) -> Floats:
    return np.concatenate([np.arange(*span) for span in spans])


def _chosen(hyper: Mapping[str, Floats], of: Law | DiscreteLaw) -> dict[str, Any]:
    return {name: hyper[name] for name in of.hyper_parameters}
