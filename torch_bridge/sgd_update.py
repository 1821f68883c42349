"""What ``torch.optim.SGD`` has just done to one parameter, read off after the fact.

One update is ``G = g + λθ_n``, ``v' = βv + (1-α)G`` (``v' = G`` on the first), ``d = v'`` (classical), ``G + βv'``
(Nesterov) or ``G`` (plain), ``θ_{n+1} = θ_n - ηd``. A post-step hook sees ``g``, ``θ_{n+1}`` and ``v'``; here ``θ_n``
and ``d`` are solved for. Nothing is taken from a difference of parameters or of norms, which would lose the digits.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import astuple, dataclass
from math import isfinite
from typing import Any

import torch
from torch import Tensor, nn

CHANNELS = {1: ("breaking",), 2: ("breaking", "gradient", "direction")}
"""Degree of the charge -> what is logged of every update. Nesterov's adds ``overlap`` to degree 2."""

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


class Scratch:
    """Float64 buffers, one for each role and device, that all parameters share: a step allocates nothing large."""

    def __init__(self) -> None:
        self._buffers: dict[tuple[str, torch.device], Tensor] = {}

    def empty(self, role: str, like: Tensor) -> Tensor:
        """The buffer of ``role``, shaped like ``like``. Its next use overwrites it."""
        held = self._buffers.get((role, like.device))
        if held is None or held.numel() < like.numel():
            held = torch.empty(like.numel(), dtype=torch.float64, device=like.device)
            self._buffers[role, like.device] = held
        return held[: like.numel()].view(like.shape)

    def load(self, role: str, values: Tensor) -> Tensor:
        """``values`` in float64, in the buffer of ``role``."""
        return self.empty(role, values).copy_(values)


@dataclass(frozen=True)
class Motion:
    """One update of one parameter in float64: ``g_n``, ``θ_n``, ``d_n`` and, with momentum, ``v_{n+1}``."""

    gradient: Tensor
    theta: Tensor
    direction: Tensor
    buffer: Tensor | None

    def products(self, degree: int, out: Tensor) -> Iterator[tuple[str, Tensor]]:
        """``(channel, terms)``: the sum of ``terms`` over a neuron is its channel. ``out`` is overwritten each time."""
        if degree == 1:
            yield "breaking", self.gradient
            return
        yield "breaking", torch.mul(self.gradient, self.theta, out=out)
        yield "gradient", torch.mul(self.gradient, self.gradient, out=out)
        yield "direction", torch.mul(self.direction, self.direction, out=out)
        if self.buffer is not None:
            yield "overlap", torch.mul(self.direction, self.buffer, out=out)


def solve_motion(parameter: Tensor, buffer: Tensor | None, hyper: Hyper, replaced: bool, scratch: Scratch) -> Motion:
    """Solve the update for what the hook does not see; rounding is that of float64, or of ``parameter`` as stored.

    Parameters
    ----------
    parameter, buffer
        After the step: ``θ_{n+1}`` with its ``.grad``, and ``v_{n+1}`` if there is momentum.
    replaced
        Whether ``.grad`` holds ``d_n`` in place of ``g_n``; see :func:`leaves_direction_in_grad`.

    Raises
    ------
    RecordingError
        If weight decay has erased ``θ_n``: ``ηλ`` is 1, or nearly.
    """
    lr, beta, decay = hyper.lr, hyper.momentum, hyper.weight_decay
    assert parameter.grad is not None, "the caller refuses parameters without a gradient"
    gradient, theta = scratch.load("gradient", parameter.grad), scratch.load("theta", parameter)
    velocity = None if buffer is None else scratch.load("buffer", buffer)
    if velocity is not None and not hyper.nesterov:
        return Motion(gradient, theta.add_(velocity, alpha=lr), velocity, None)
    direction = scratch.load("direction", gradient)
    if velocity is not None and replaced:
        gradient.sub_(velocity, alpha=beta)
    elif velocity is not None:
        direction.add_(velocity, alpha=beta)
    _refuse_erased(lr, decay)
    theta.add_(direction, alpha=lr).div_(1 - lr * decay)
    return Motion(gradient, theta, direction.add_(theta, alpha=decay), velocity)


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
        Unless ``optimizer`` is ``torch.optim.SGD`` itself, not maximizing, not differentiable, not under an AMP scaler.
    """
    if type(optimizer) is not torch.optim.SGD:
        raise RecordingError(
            f"optimizer: expected torch.optim.SGD itself, got {type(optimizer).__name__}; the recorded laws follow "
            "from SGD's update (momentum, dampening, Nesterov, weight decay) and hold for no other; if SGD is wrapped, "
            "pass the one inside (often wrapper.optimizer)"
        )
    for group in optimizer.param_groups:
        _check_flags(group)
    if getattr(optimizer, "found_inf", None) is not None or getattr(optimizer, "grad_scale", None) is not None:
        raise RecordingError(
            "optimizer: expected unscaled gradients, got a fused step under a GradScaler, which may have been skipped; "
            "use SGD(..., fused=False), or train without the scaler"
        )


def _check_flags(group: Mapping[str, Any]) -> None:
    for flag in ("maximize", "differentiable"):
        if group.get(flag):
            raise RecordingError(f"optimizer: expected {flag}=False, got True; minimize the negated loss, in place")
    if isinstance(group["weight_decay"], Tensor) and group["weight_decay"].requires_grad:
        raise RecordingError(
            "weight_decay: expected a number, got a tensor that requires grad: torch then writes the decay into .grad; "
            "pass float(weight_decay)"
        )
