"""Where a charge's change came from, under any optimizer: an exact budget, step by step, that predicts nothing.

With ``Δ = θ_{n+1} - θ_n`` and ``s`` defined by ``Δ = -ηλθ_n - ηs``, a charge of degree 2 changes in a step by

    Q_{n+1} - Q_n  =  -2ηλ Q_n  -  2η⟨s, θ_n⟩_M  +  ⟨Δ, Δ⟩_M,

weight decay, symmetry breaking and discretization; one of degree 1 by ``-ηλQ_n - η⟨s, c⟩``. Along the gradient, ``s = g``,
the second part is 0 for an exact symmetry. AdamW divides each coordinate by a number of its own: there it is not.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import torch
from torch import Tensor

from torch_bridge.recording_plan import model_of
from torch_bridge.sgd_update import RecordingError, was_skipped
from torch_bridge.symmetry_map import NeuronSymmetries, SymmetryMap

PARTS = ("decay", "breaking", "discretization")
"""The parts of a charge's change, as attributes of :class:`GroupBudget`."""


@dataclass(frozen=True, eq=False)
class GroupBudget:
    """The budget of one group of symmetries over the steps watched; tensors of shape ``(neurons,)``, float64.

    Parameters
    ----------
    group
        Kind, place and blocks of the symmetries.
    start, end
        Charge before the first and after the last step.
    magnitude
        Sum of the absolute values of the charge's terms at the end.
    decay, breaking, discretization
        What each part has added in all; with ``start`` they add up to ``end``.
    """

    group: NeuronSymmetries
    start: Tensor
    end: Tensor
    magnitude: Tensor
    decay: Tensor
    breaking: Tensor
    discretization: Tensor

    @property
    def residual(self) -> float:
        """What the parts leave unexplained, relative to the charge's terms, at worst: rounding, or a touched parameter."""
        total = self.start + self.decay + self.breaking + self.discretization
        scale = self.magnitude.clamp_min(torch.finfo(torch.float64).tiny)
        return float(((total - self.end).abs() / scale).max())


class Budget:
    """Watches the steps of any optimizer while in its ``with`` block; holds a copy of the parameters that are moved.

    Parameters
    ----------
    optimizer
        Any. Its ``weight_decay`` counts as decay where it multiplies the parameters: in SGD, AdamW and NAdam, RAdam or Adam
        with ``decoupled_weight_decay=True``. Elsewhere what it does is part of ``breaking``.
    symmetries
        Of what to keep the budget.

    Raises
    ------
    RecordingError
        If the map is empty, or a parameter of it is not the optimizer's.

    Examples
    --------
    >>> with Budget(torch.optim.AdamW(model.parameters()), symmetries) as budget:  # doctest: +SKIP
    ...     train()
    >>> [group.breaking for group in budget.groups]  # doctest: +SKIP
    """

    def __init__(self, optimizer: torch.optim.Optimizer, symmetries: SymmetryMap) -> None:
        model = model_of(symmetries)
        names = dict.fromkeys(block.parameter for group in symmetries.groups for block in group.blocks)
        self._optimizer, self._symmetries = optimizer, symmetries
        self._parameters = {name: model.get_parameter(name) for name in names}
        owners = {id(p): index for index, group in enumerate(optimizer.param_groups) for p in group["params"]}
        missing = [name for name, p in self._parameters.items() if id(p) not in owners]
        if missing:
            raise RecordingError(f"optimizer: expected all parameters of the map, got none named {missing}; give them to it")
        self._group_of = {name: owners[id(p)] for name, p in self._parameters.items()}
        self._before: dict[str, Tensor] = {}
        self.steps = 0
        """Steps watched so far."""

    def __enter__(self) -> Budget:
        self._start = self._charges(absolute=False)
        zeros = [torch.zeros_like(charge) for charge in self._start]
        self._parts = {part: [zero.clone() for zero in zeros] for part in PARTS}
        self._handles = (
            self._optimizer.register_step_pre_hook(lambda *_: self._remember()),
            self._optimizer.register_step_post_hook(lambda *_: self._account()),
        )
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for handle in self._handles:
            handle.remove()
        self._before = {}

    @property
    def groups(self) -> tuple[GroupBudget, ...]:
        """The budget of each symmetry group, up to now."""
        now, sizes = self._charges(absolute=False), self._charges(absolute=True)
        return tuple(
            GroupBudget(group, self._start[k], now[k], sizes[k], *(self._parts[part][k].clone() for part in PARTS))
            for k, group in enumerate(self._symmetries.groups)
        )

    @torch.no_grad()
    def _remember(self) -> None:
        self._before = {name: p.detach().clone() for name, p in self._parameters.items()}

    @torch.no_grad()
    def _account(self) -> None:
        if was_skipped(self._optimizer):
            return
        for k, group in enumerate(self._symmetries.groups):
            for block in group.blocks:
                before = self._before[block.parameter].double()
                delta = self._parameters[block.parameter].double() - before
                shrink = _shrink(self._optimizer, self._optimizer.param_groups[self._group_of[block.parameter]])
                for part, terms in _terms(group.symmetry.degree, before, delta, shrink).items():
                    self._parts[part][k].add_(block.sum(terms), alpha=block.coefficient)
        self.steps += 1

    @torch.no_grad()
    def _charges(self, *, absolute: bool) -> list[Tensor]:
        charges = []
        for group in self._symmetries.groups:
            total = torch.zeros(
                group.neurons, dtype=torch.float64, device=self._parameters[group.blocks[0].parameter].device
            )
            for block in group.blocks:
                theta = self._parameters[block.parameter].double()
                terms = theta**2 if group.symmetry.degree == 2 else theta
                weight = abs(block.coefficient) if absolute else block.coefficient
                total.add_(block.sum(terms.abs() if absolute else terms), alpha=weight)
            charges.append(total)
        return charges


def _terms(degree: int, before: Tensor, delta: Tensor, shrink: float) -> dict[str, Tensor]:
    """Parts of a step's change whose sums over a neuron's slice are those of its charge; ``shrink`` is ηλ."""
    rest = delta + shrink * before
    if degree == 1:
        return {"decay": -shrink * before, "breaking": rest}
    return {"decay": -2 * shrink * before**2, "breaking": 2 * rest * before, "discretization": delta**2}


def _shrink(optimizer: torch.optim.Optimizer, group: Mapping[str, Any]) -> float:
    decoupled = isinstance(optimizer, torch.optim.AdamW | torch.optim.SGD) or group.get("decoupled_weight_decay")
    return float(group["lr"]) * float(group.get("weight_decay", 0)) if decoupled else 0.0
