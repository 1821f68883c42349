"""Which parameter's sums go to which column of a recorded row: symmetry map and optimizer, brought together once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass

import torch
from torch import Tensor, nn

from torch_bridge.run_folder import GroupColumns
from torch_bridge.sgd_update import CHANNELS, Motion, RecordingError, Scratch
from torch_bridge.symmetry_map import Block, NeuronSymmetries, SymmetryMap


@dataclass(frozen=True)
class Use:
    """A block, the degree of its symmetries' charge, and the columns that its sums go to."""

    block: Block
    degree: int
    columns: GroupColumns

    def add(self, row: Tensor, span: tuple[int, int], terms: Tensor, *, absolute: bool = False) -> None:
        """Add the block's sums of ``terms`` to ``row[start:stop]``, with its coefficient or that one's absolute."""
        sums = self.block.sum(terms).to(row.device)
        row[slice(*span)].add_(sums, alpha=1 if absolute else self.block.coefficient)


@dataclass(frozen=True, eq=False)
class Tracked:
    """A recorded parameter, the parameter group that updates it, and every block through which a symmetry moves it."""

    name: str
    parameter: Tensor
    group: int
    uses: tuple[Use, ...]

    @property
    def moved_by(self) -> Iterator[tuple[int, list[Use]]]:
        """``(degree, uses)``: the terms of one degree are computed once for all its uses."""
        for degree in sorted({use.degree for use in self.uses}):
            yield degree, [use for use in self.uses if use.degree == degree]


@dataclass(frozen=True, eq=False)
class Plan:
    """What is recorded and where it goes.

    Attributes
    ----------
    columns
        One entry for each symmetry group of the map, in its order.
    tracked
        One entry for each parameter that a symmetry moves.
    spans
        For each symmetry group, the optimizer's parameter groups that update its blocks.
    used
        The optimizer's parameter groups that are recorded, in the order of their hyper-parameters in a row.
    """

    columns: tuple[GroupColumns, ...]
    tracked: tuple[Tracked, ...]
    spans: tuple[tuple[int, ...], ...]
    used: tuple[int, ...]

    @property
    def device(self) -> torch.device:
        return self.tracked[0].parameter.device

    @property
    def dtype(self) -> str:
        """How precisely the forcing is worth storing: as the parameters are."""
        return "float64" if any(t.parameter.dtype == torch.float64 for t in self.tracked) else "float32"

    def zeros(self) -> Tensor:
        """A row of charges: one float64 for each symmetry."""
        return torch.zeros(self.columns[-1].charge[1], dtype=torch.float64, device=self.device)

    def forcing(self, motion_of: Callable[[Tracked], Motion], scratch: Scratch) -> Tensor:
        """One row of forcing, shape ``(columns,)``, float64."""
        width = max(stop for group in self.columns for _, stop in group.channels.values())
        row = torch.zeros(width, dtype=torch.float64, device=self.device)
        for tracked in self.tracked:
            motion = motion_of(tracked)
            for degree, uses in tracked.moved_by:
                for name, terms in motion.products(degree, scratch.empty("product", tracked.parameter)):
                    for use in uses:
                        use.add(row, use.columns.channels[name], terms)
        return row

    def charges(self, scratch: Scratch) -> tuple[Tensor, Tensor]:
        """Charge and magnitude of the parameters as they are, each of shape ``(neurons,)``."""
        charge, magnitude = self.zeros(), self.zeros()
        for tracked in self.tracked:
            theta = scratch.load("theta", tracked.parameter)
            for degree, uses in tracked.moved_by:
                terms = theta if degree == 1 else torch.mul(theta, theta, out=scratch.empty("product", theta))
                size = terms.abs() if degree == 1 else terms
                for use in uses:
                    use.add(charge, use.columns.charge, terms)
                    use.add(magnitude, use.columns.charge, size, absolute=True)
        return charge, magnitude

    def overlap(self, buffers: Mapping[str, Tensor], scratch: Scratch) -> Tensor:
        """Product of the momentum buffers (parameter's name -> buffer) with the parameters, shape ``(neurons,)``."""
        row = self.zeros()
        for tracked in (t for t in self.tracked if t.name in buffers):
            velocity = scratch.load("buffer", buffers[tracked.name])
            theta = scratch.load("theta", tracked.parameter)
            for degree, uses in tracked.moved_by:
                terms = velocity if degree == 1 else velocity * theta
                for use in uses:
                    use.add(row, use.columns.charge, terms)
        return row


def plan_recording(symmetries: SymmetryMap, model: nn.Module, optimizer: torch.optim.Optimizer) -> Plan:
    """Bring a map and an optimizer together.

    Raises
    ------
    RecordingError
        If a parameter is not updated by the optimizer, or is of a type that is not covered.
    """
    names = dict.fromkeys(block.parameter for group in symmetries.groups for block in group.blocks)
    group_of = {name: _group_of(name, model.get_parameter(name), optimizer) for name in names}
    spans = [tuple(sorted({group_of[block.parameter] for block in g.blocks})) for g in symmetries.groups]
    used = tuple(sorted(set(group_of.values())))
    nesterov = any(optimizer.param_groups[index]["nesterov"] for index in used)
    hypers = [used.index(span[0]) for span in spans]
    columns = tuple(_layout(symmetries.groups, hypers, nesterov))
    tracked = (Tracked(n, model.get_parameter(n), group_of[n], _uses(n, symmetries, columns)) for n in names)
    return Plan(columns, tuple(tracked), tuple(spans), used)


def model_of(symmetries: SymmetryMap) -> nn.Module:
    """The network that a map speaks of.

    Raises
    ------
    RecordingError
        If the map is empty, or has none.
    """
    if not symmetries.groups:
        reasons = "; ".join(symmetries.blocked) or "none was found"
        raise RecordingError(f"symmetries: expected at least one, got a model without a symmetry ({reasons}); "
                             "there is nothing to record")  # fmt: skip
    if symmetries.model is None:
        raise RecordingError("symmetries: expected a map with its model, got SymmetryMap(model=None); pass model=")
    return symmetries.model


def _group_of(name: str, parameter: Tensor, optimizer: torch.optim.Optimizer) -> int:
    """Index of the optimizer's parameter group that updates a parameter."""
    if type(parameter) is not nn.Parameter or parameter.dtype not in (torch.float32, torch.float64):
        raise RecordingError(
            f"symmetries: expected {name!r} to be a plain float32 or float64 parameter, got "
            f"{type(parameter).__name__} of {parameter.dtype}: sharded ones are not covered, and half precision loses "
            "the laws in the rounding of the parameters themselves; keep float32 parameters (autocast is fine)"
        )
    for index, group in enumerate(optimizer.param_groups):
        if any(p is parameter for p in group["params"]):
            return index
    raise RecordingError(
        f"optimizer: expected all parameters of the map, got none named {name!r}; give it to the optimizer, or leave "
        "the symmetries that move it out of the map"
    )


def _layout(groups: tuple[NeuronSymmetries, ...], hypers: list[int], nesterov: bool) -> Iterator[GroupColumns]:
    """Columns one after the other: group by group, in a group channel by channel."""
    column, charge = 0, 0
    for group, hyper in zip(groups, hypers, strict=True):
        degree, n = group.symmetry.degree, group.neurons
        names = CHANNELS[degree] + (("overlap",) if nesterov and degree == 2 else ())
        channels = {name: (column + k * n, column + (k + 1) * n) for k, name in enumerate(names)}
        blocks = tuple(asdict(block) for block in group.blocks)
        yield GroupColumns(group.kind, group.label, blocks, hyper, (charge, charge + n), channels)
        column, charge = column + len(names) * n, charge + n


def _uses(name: str, symmetries: SymmetryMap, columns: tuple[GroupColumns, ...]) -> tuple[Use, ...]:
    """The blocks that lie in a parameter."""
    return tuple(
        Use(block, group.symmetry.degree, place)
        for group, place in zip(symmetries.groups, columns, strict=True)
        for block in group.blocks
        if block.parameter == name
    )
