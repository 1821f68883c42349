"""What must hold throughout a recording, asked again at every step: the laws are those of one unchanged optimizer."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from torch_bridge.recording_plan import Plan, Tracked
from torch_bridge.sgd_update import Hyper, RecordingError, check_optimizer

_ANEW = "leave the with block and record into a new folder from here on"


class Guard:
    """Remembers optimizer and parameters as they are when it is made, and refuses what departs from that.

    Raises
    ------
    RecordingError
        If the hyper-parameters are already not covered: see :meth:`hypers`.
    """

    def __init__(self, model: nn.Module, optimizer: torch.optim.Optimizer, plan: Plan) -> None:
        self._model, self._optimizer, self._plan = model, optimizer, plan
        self._forms, self._listed = [_form(tracked) for tracked in plan.tracked], self._currently_listed()
        self._switches: list[tuple[bool, bool]] | None = None
        self._switches = _switches(self.hypers())

    @property
    def nesterov(self) -> bool:
        """Whether the recorded parameter groups use Nesterov momentum."""
        return any(hyper.nesterov for hyper in self.hypers().values())

    def hypers(self) -> dict[int, Hyper]:
        """Hyper-parameters of each recorded parameter group, as they are now.

        Raises
        ------
        RecordingError
            If they mix Nesterov with other momentum, or switch momentum on or off.
        """
        hypers = {index: Hyper.of(self._optimizer.param_groups[index]) for index in self._plan.used}
        if len({hyper.nesterov for hyper in hypers.values()}) > 1:
            raise RecordingError(
                "nesterov: expected it on or off in all recorded parameter groups, got both; leave the symmetries of "
                "some groups out of the map"
            )
        if self._switches is not None and _switches(hypers) != self._switches:
            raise RecordingError(
                "momentum: expected momentum and Nesterov to stay on or off, got a switch, after which torch starts or "
                f"keeps momentum buffers that the law does not see; {_ANEW}"
            )
        return hypers

    def refuse_changes(self) -> None:
        """Compare optimizer, parameters and gradients with what was there at first.

        Raises
        ------
        RecordingError
            If the optimizer or its parameter list, or a recorded parameter, is another, or a gradient is missing.
        """
        check_optimizer(self._optimizer)
        if _identities(self._currently_listed()) != _identities(self._listed):
            raise RecordingError(f"optimizer: expected the parameter groups it had at attach, got others; {_ANEW}")
        for tracked, before in zip(self._plan.tracked, self._forms, strict=True):
            if _form(tracked) != before or not _still_in(self._model, tracked):
                raise RecordingError(
                    f"model: expected {tracked.name!r} as at attach (the same object, {before}), got another, "
                    f"{_form(tracked)}; {_ANEW}"
                )
            _refuse_gradient(tracked)

    def _currently_listed(self) -> list[list[Tensor]]:
        return [list(group["params"]) for group in self._optimizer.param_groups]


def _form(tracked: Tracked) -> tuple[Any, ...]:
    parameter = tracked.parameter
    return parameter.shape, parameter.dtype, parameter.device


def _switches(hypers: dict[int, Hyper]) -> list[tuple[bool, bool]]:
    return [(hyper.momentum != 0, hyper.nesterov) for hyper in hypers.values()]


def _identities(groups: list[list[Tensor]]) -> list[list[int]]:
    return [[id(parameter) for parameter in group] for group in groups]


def _still_in(model: nn.Module, tracked: Tracked) -> bool:
    """As ``model.get_parameter`` finds it, which takes ten times as long."""
    *path, leaf = tracked.name.split(".")
    module: nn.Module | None = model
    for name in path:
        module = None if module is None else module._modules.get(name)
    return module is not None and module._parameters.get(leaf) is tracked.parameter


def _refuse_gradient(tracked: Tracked) -> None:
    gradient = tracked.parameter.grad
    if gradient is None or gradient.is_sparse:
        got = "none" if gradient is None else "a sparse one"
        raise RecordingError(
            f"optimizer: expected a dense gradient for {tracked.name!r}, got {got}, which the step treats apart; "
            "unfreeze it, or leave the symmetries that move it out of the map"
        )
