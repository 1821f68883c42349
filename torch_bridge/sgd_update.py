"""What ``torch.optim.SGD`` has just done to one parameter, read off after the fact.

One update is ``G = g + λθ_n``, ``v' = βv + (1-α)G`` (``v' = G`` on the first), ``d = v'`` (classical), ``G + βv'``
(Nesterov) or ``G`` (plain), ``θ_{n+1} = θ_n - ηd``. A post-step hook sees ``g``, ``θ_{n+1}`` and ``v'``; all else is
a combination of these three. Nothing is taken from a difference of parameters or of norms, which would lose the digits.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import astuple, dataclass
from math import isfinite
from typing import Any

import torch
from torch import Tensor, nn

FORCINGS = ("all", "drive")
"""What may be logged of every update: ``"all"`` for any law, ``"drive"`` for the exact law of an unbroken symmetry."""


def channels(degree: int, momentum: bool, nesterov: bool, forcing: str = "all") -> tuple[str, ...]:
    """Names of what is logged of every update for a charge of a degree.

    >>> channels(2, momentum=True, nesterov=False), channels(2, momentum=True, nesterov=False, forcing="drive")
    (('breaking', 'gradient', 'direction'), ('direction',))
    """
    if degree == 1:
        return ("breaking",)
    overlap = ("overlap",) if nesterov else ()
    if forcing == "all":
        return ("breaking", "gradient", "direction", *overlap)
    return ("direction", *overlap) if momentum else ("gradient",)


_SMALLEST_KEPT_PART = 1e-2
"""Least ``|1 - ηλ|`` at which ``θ_n`` is recovered by dividing by it: a hundredfold loss of precision."""


class RecordingError(ValueError):
    """A run that cannot be recorded, or not any further; the message says why and what to do."""


@dataclass(frozen=True)
class Hyper:
    """Hyper-parameters of one update: ``η, β, α, λ``. Without momentum torch ignores dampening, and ``α`` is 0.

    >>> Hyper.of({"lr": 0.1, "momentum": 0, "dampening": 0.5, "weight_decay": 0, "nesterov": False}).dampening
    0.0
    """

    lr: float
    momentum: float
    dampening: float
    weight_decay: float
    nesterov: bool

    @staticmethod
    def of(group: Mapping[str, Any]) -> Hyper:
        """Read a parameter group of the optimizer.

        Raises
        ------
        RecordingError
            If a hyper-parameter is not finite.
        """
        lr, momentum, decay = (float(group[name]) for name in ("lr", "momentum", "weight_decay"))
        dampening = float(group["dampening"]) if momentum else 0.0
        for name, value in {"lr": lr, "momentum": momentum, "dampening": dampening, "weight_decay": decay}.items():
            if not isfinite(value):
                raise RecordingError(f"{name}: expected a finite number, got {value}; look at what schedules it")
        return Hyper(lr, momentum, dampening, decay, bool(group["nesterov"]))

    @property
    def row(self) -> tuple[float, ...]:
        """The four numbers in the order of :data:`torch_bridge.run_folder.HYPER`."""
        return astuple(self)[:4]


SEEN = ("gradient", "parameter", "buffer", "one")
"""What a post-step hook sees of an update: ``.grad``, ``θ_{n+1}``, ``v_{n+1}``; and the constant 1, for sums."""

PAIRS = tuple((i, k) for i in range(4) for k in range(i, 4))
"""Pairs of :data:`SEEN`, in the order in which their products are summed."""

Combination = tuple[float, float, float, float]
"""Coefficients over :data:`SEEN`."""

_ONE: Combination = (0.0, 0.0, 0.0, 1.0)


@dataclass(frozen=True)
class Motion:
    """One update, every vector of it as a combination of what a post-step hook sees; ``velocity`` is ``v_{n+1}``.

    Every logged number is thus a combination of sums of products of what is stored, and nothing is computed on tensors.
    """

    gradient: Combination
    theta: Combination
    direction: Combination
    velocity: Combination

    @staticmethod
    def of(hyper: Hyper, replaced: bool) -> Motion:
        """Solve the update for what the hook does not see.

        Parameters
        ----------
        replaced
            Whether ``.grad`` holds ``g + βv'`` in place of ``g``; see :func:`leaves_direction_in_grad`.

        Raises
        ------
        RecordingError
            If weight decay has erased ``θ_n``: ``ηλ`` is 1, or nearly.

        Examples
        --------
        With classical momentum ``θ_n = θ_{n+1} + ηv_{n+1}``:

        >>> Motion.of(Hyper(0.5, 0.9, 0.0, 0.1, False), False).theta
        (0.0, 1.0, 0.5, 0.0)
        """
        lr, beta, decay = hyper.lr, hyper.momentum, hyper.weight_decay
        seen: Combination = (1.0, 0.0, 0.0, 0.0)
        if beta and not hyper.nesterov:
            velocity: Combination = (0.0, 0.0, 1.0, 0.0)
            return Motion(seen, (0.0, 1.0, lr, 0.0), velocity, velocity)
        _refuse_erased(lr, decay)
        kept = 1 / (1 - lr * decay)
        ahead = beta if hyper.nesterov and not replaced else 0.0  # d - λθ is .grad + ahead * v'
        gradient: Combination = (1.0, 0.0, -beta if replaced else 0.0, 0.0)
        theta: Combination = (kept * lr, kept, kept * lr * ahead, 0.0)
        direction: Combination = (1 + decay * theta[0], decay * theta[1], ahead + decay * theta[2], 0.0)
        return Motion(gradient, theta, direction, (0.0, 0.0, 1.0, 0.0))

    def channels(self, degree: int, names: Iterable[str]) -> dict[str, dict[int, float]]:
        """Channel -> its coefficients over the sums of :data:`PAIRS`, without those that are 0."""
        factors = {
            "breaking": (self.gradient, self.theta if degree == 2 else _ONE),
            "gradient": (self.gradient, self.gradient),
            "direction": (self.direction, self.direction),
            "overlap": (self.direction, self.velocity),
        }
        return {name: _over_pairs(*factors[name]) for name in names}


def _over_pairs(a: Combination, b: Combination) -> dict[int, float]:
    """``⟨a, b⟩`` over the products of :data:`PAIRS`: those of two different vectors occur twice."""
    values = (a[i] * b[k] + (a[k] * b[i] if i != k else 0.0) for i, k in PAIRS)
    return {index: value for index, value in enumerate(values) if value}


def _refuse_erased(lr: float, decay: float) -> None:
    if abs(1 - lr * decay) < _SMALLEST_KEPT_PART:
        raise RecordingError(
            f"weight_decay: expected |1 - lr*weight_decay| >= {_SMALLEST_KEPT_PART}, got {lr} * {decay}; "
            "such a step forgets the parameters that it started from: lower one of the two"
        )


def leaves_direction_in_grad(group: Mapping[str, Any]) -> bool:
    """Whether ``step()`` leaves ``g + βv'`` in ``.grad``, where ``g`` was.

    Torch's foreach implementation does, with Nesterov and without weight decay: it adds in place. Which implementation
    runs depends on version, device and flags, so torch is asked: one step on one number for every kind of parameter.
    """
    if not group["nesterov"]:
        return False
    kinds = {(type(p), p.dtype, p.device) for p in group["params"] if p.grad is not None}
    probes = [_probe(*kind) for kind in kinds]
    momentum, decay = float(group["momentum"]), float(group["weight_decay"])
    foreach, fused = group.get("foreach"), group.get("fused")
    torch.optim.SGD(probes, 0.1, momentum, 0, decay, nesterov=True, foreach=foreach, fused=fused).step()
    return any(float(probe.grad) != 1.0 for probe in probes if probe.grad is not None)


def _probe(kind: type[Tensor], dtype: torch.dtype, device: torch.device) -> Tensor:
    value = torch.ones(1, dtype=dtype, device=device)
    probe = nn.Parameter(value) if issubclass(kind, nn.Parameter) else value.requires_grad_()
    probe.grad = torch.ones_like(value)
    return probe


def check_optimizer(optimizer: object) -> None:
    """Refuse every optimizer whose update is not the one above.

    Raises
    ------
    RecordingError
        Unless ``optimizer`` is ``torch.optim.SGD`` itself, not maximizing, not differentiable.
    """
    if type(optimizer) is not torch.optim.SGD:
        raise RecordingError(
            f"optimizer: expected torch.optim.SGD itself, got {type(optimizer).__name__}; the recorded laws follow "
            "from SGD's update (momentum, dampening, Nesterov, weight decay) and hold for no other; if SGD is wrapped, "
            "pass the one inside (often wrapper.optimizer); for others, torch_bridge.Budget accounts for every change"
        )
    for group in optimizer.param_groups:
        _check_flags(group)


def was_skipped(optimizer: torch.optim.Optimizer) -> bool:
    """Whether the step that has just returned changed nothing: a fused one, whose GradScaler found an infinite gradient.

    Other implementations are not called at all then.
    """
    found = getattr(optimizer, "found_inf", None)
    return found is not None and bool(torch.as_tensor(found).any())


def _check_flags(group: Mapping[str, Any]) -> None:
    for flag in ("maximize", "differentiable"):
        if group.get(flag):
            raise RecordingError(f"optimizer: expected {flag}=False, got True; minimize the negated loss, in place")
    if isinstance(group["weight_decay"], Tensor) and group["weight_decay"].requires_grad:
        raise RecordingError(
            "weight_decay: expected a number, got a tensor that requires grad: torch then writes the decay into .grad; "
            "pass float(weight_decay)"
        )
