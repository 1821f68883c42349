"""Which parameter's sums go to which column of a recorded row: symmetry map and optimizer, brought together once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property, lru_cache
from typing import Any

import torch
from torch import Tensor, nn

from torch_bridge.neuron_sums import Product, matrix_sums
from torch_bridge.pair_products import SIZES, VALUES, MatrixUse, PairProducts, size_and_value
from torch_bridge.run_header import GroupColumns
from torch_bridge.sgd_update import PAIRS, Motion, RecordingError, channels
from torch_bridge.symmetry_map import KINDS, Block, MatrixBlock, MatrixSymmetries, NeuronSymmetries, SymmetryMap

Seen = Sequence["Tensor | None"]
"""The tensors of one parameter that a post-step hook sees, in the order of :data:`torch_bridge.sgd_update.SEEN`."""


@dataclass(frozen=True)
class Use:
    """A block, the index of the columns that its sums go to, and the degree of its symmetries' charge."""

    block: Block
    part: int
    degree: int

    @cached_property
    def along(self) -> str:
        """Where its slices lie: ``"rows"`` or ``"columns"`` of its matrix, or ``"both"`` (a grouped convolution's)."""
        if self.block.axes == (0,):
            return "rows"
        return "both" if 0 in self.block.axes else "columns"

    @cached_property
    def _summed(self) -> list[int]:
        """Axes of ``view[1:]`` that its slices do not count."""
        return [k - 1 for k in range(1, len(self.block.view)) if k not in self.block.axes]

    def pick(self, rows: Tensor | None, columns: Tensor | None, products: Tensor | None) -> Tensor:
        """The block's sums, shape ``(neurons,)``, from those of its matrix (:func:`matrix_sums`) or from the products."""
        if self.along == "both":
            assert products is not None, "the caller asks for what its uses need"
            return self.block.sum(products)
        sums = rows if self.along == "rows" else columns
        assert sums is not None, "the caller asks for what its uses need"
        if self.along == "columns" and self._summed:
            sums = sums.reshape(self.block.view[1:]).sum(self._summed).reshape(-1)
        return self.block.owned(sums)


@dataclass(frozen=True, eq=False)
class Tracked:
    """A recorded parameter, the parameter group that updates it, and every block through which a symmetry moves it.

    ``shard`` says which of its rows this process holds, if it does not hold all.
    """

    name: str
    parameter: Tensor
    group: int
    uses: tuple[Use, ...]
    shard: tuple[int, int] | None = None

    def reads(self, needed: Sequence[frozenset[int]]) -> Iterator[_Read]:
        """What is to be read for the pairs that the columns of each part need: each tensor once, if it is one matrix."""
        for leading in sorted({use.block.view[0] for use in self.uses}):
            uses = [use for use in self.uses if use.block.view[0] == leading]
            indices = sorted({index for use in uses for index in needed[use.part]})
            if indices:
                yield _Read(leading, tuple((i, tuple(use for use in uses if i in needed[use.part])) for i in indices))


@dataclass(frozen=True)
class _Read:
    """One reading of a parameter as a matrix of ``leading`` rows.

    ``pairs`` says which pairs of its tensors are multiplied (index in :data:`PAIRS`), and who uses the sums.
    """

    leading: int
    pairs: tuple[tuple[int, tuple[Use, ...]], ...]

    @cached_property
    def products(self) -> tuple[Product, ...]:
        along = [{use.along for use in uses} for _, uses in self.pairs]
        return tuple(
            Product(*PAIRS[index], "rows" in asked, "columns" in asked)
            for (index, _), asked in zip(self.pairs, along, strict=True)
        )

    def sums(self, seen: Seen, shard: tuple[int, int] | None, precise: bool) -> Iterator[tuple[int, Use, Tensor]]:
        start, stop = shard or (0, self.leading)
        if start == stop:
            return
        if shard is not None:
            seen = [None if tensor is None else _local(tensor) for tensor in seen]
        found = matrix_sums(seen, self.products, stop - start, precise=precise)
        for (index, uses), (rows, columns) in zip(self.pairs, found, strict=True):
            if rows is not None and shard is not None:
                rows = torch.nn.functional.pad(rows, (start, self.leading - stop))
            whole = _product(seen, index, precise) if any(use.along == "both" for use in uses) else None
            for use in uses:
                yield index, use, use.pick(rows, columns, whole)


def _product(tensors: Seen, index: int, precise: bool) -> Tensor:
    first, second = (tensors[place] for place in PAIRS[index])
    assert first is not None, "only what exists is needed"
    wide = first.detach().double() if precise else first.detach()
    return wide if second is None else wide * second.detach()


@dataclass(frozen=True, eq=False)
class Plan:
    """What is recorded and where it goes.

    Attributes
    ----------
    columns
        One entry, a *part*, for each symmetry group and each of the optimizer's parameter groups that updates some of its
        blocks: blocks that are updated alike, over which a law closes.
    tracked
        One entry for each parameter that a symmetry moves.
    mixed
        Those of them whose slices a GL(k) mixes.
    used
        The optimizer's parameter groups that are recorded, in the order of their hyper-parameters in a row.
    group
        The processes that the parameters are sharded over (FSDP2), if they are.
    """

    columns: tuple[GroupColumns, ...]
    tracked: tuple[Tracked, ...]
    mixed: PairProducts
    used: tuple[int, ...]
    group: torch.distributed.ProcessGroup | None = None
    _reads: dict[tuple[frozenset[int], ...], list[tuple[Tracked, tuple[_Read, ...]]]] = field(
        default_factory=dict, init=False
    )

    @property
    def device(self) -> torch.device:
        return self.tracked[0].parameter.device

    @property
    def parameter_bytes(self) -> int:
        """What the recorded parameters take up here."""
        held = (_local(tracked.parameter) for tracked in self.tracked)
        return sum(tensor.numel() * tensor.element_size() for tensor in held)

    @property
    def dtype(self) -> str:
        """How precisely a row is worth storing: as the parameters are."""
        return "float64" if any(t.parameter.dtype == torch.float64 for t in self.tracked) else "float32"

    def forcing(self, motions: Mapping[int, Motion], seen_of: Callable[[Tracked], Seen]) -> Tensor:
        """One row of forcing, shape ``(columns,)``, float64, until the next call; ``motions`` by parameter group."""
        recipes = self._recipes(motions)
        needed = tuple(frozenset(index for terms in recipe.values() for index in terms) for recipe in recipes)
        self._row.zero_()
        for index, use, sums in self._all_sums(needed, seen_of):
            for name, terms in recipes[use.part].items():
                if index in terms:
                    self._spans[use.part][name].add_(sums, alpha=use.block.coefficient * terms[index])
        self._reduce(self._row)
        return self._row

    @cached_property
    def _row(self) -> Tensor:
        return self._zeros(max(stop for part in self.columns for _, stop in part.channels.values()))

    @cached_property
    def _spans(self) -> list[dict[str, Tensor]]:
        """Of each part, where its channels stand in the row."""
        return [{name: self._row[slice(*span)] for name, span in part.channels.items()} for part in self.columns]

    def _recipes(self, motions: Mapping[int, Motion]) -> list[dict[str, dict[int, float]]]:
        """Of each part, its channels as combinations of sums of products."""
        kinds = [(self.used[part.hyper], _degree(part), tuple(part.channels)) for part in self.columns]
        recipes = {kind: motions[kind[0]].channels(*kind[1:]) for kind in set(kinds)}
        return [recipes[kind] for kind in kinds]

    def charges(self) -> tuple[Tensor, Tensor]:
        """Charge and magnitude of the parameters as they are, each of shape ``(neurons,)``."""
        charge, magnitude = self._zeros(self.columns[-1].charge[1]), self._zeros(self.columns[-1].charge[1])
        squares, values, sizes = PAIRS.index((1, 1)), PAIRS.index((1, 3)), PAIRS.index((0, 3))
        needed = tuple(frozenset({squares} if _degree(part) == 2 else {values, sizes}) for part in self.columns)
        for index, use, sums in self._sums(needed, _size_and_value, precise=True):
            span = slice(*self.columns[use.part].charge)
            if index != sizes:
                charge[span].add_(sums, alpha=use.block.coefficient)
            if index != values:
                magnitude[span].add_(sums, alpha=abs(use.block.coefficient))
        wanted = tuple(frozenset({VALUES, SIZES}) for _ in self.columns)
        for index, use, products in self._mixed_sums(wanted, size_and_value):
            into, alpha = (charge, use.block.coefficient) if index == VALUES else (magnitude, 1)
            into[slice(*self.columns[use.part].charge)].add_(products, alpha=alpha)
        self._reduce(charge, magnitude)
        return charge, magnitude

    def overlap(self, buffers: Mapping[str, Tensor]) -> Tensor:
        """Product of the momentum buffers (parameter's name -> buffer) with the parameters, shape ``(neurons,)``."""
        overlap = self._zeros(self.columns[-1].charge[1])
        needed = tuple(frozenset({PAIRS.index((1, 2) if _degree(part) == 2 else (2, 3))}) for part in self.columns)
        if not buffers:
            return overlap
        held = {tracked.name: buffers.get(tracked.name, torch.zeros_like(tracked.parameter)) for tracked in self.tracked}

        def seen_of(tracked: Tracked) -> Seen:
            return (None, tracked.parameter, held[tracked.name], None)

        for _, use, sums in self._all_sums(needed, seen_of, precise=True):
            overlap[slice(*self.columns[use.part].charge)].add_(sums, alpha=use.block.coefficient)
        self._reduce(overlap)
        return overlap

    @property
    def rank(self) -> int | None:
        """This process's number among those that the parameters are sharded over; None if each has all of them."""
        return None if self.group is None else torch.distributed.get_rank(self.group)

    def _reduce(self, *sums: Tensor) -> None:
        """Add up, in place, what each process has summed over its rows."""
        if self.group is None:
            return
        together = torch.stack(sums)
        torch.distributed.all_reduce(together, group=self.group)
        for one, total in zip(sums, together, strict=True):
            one.copy_(total)

    def _all_sums(
        self, needed: tuple[frozenset[int], ...], seen_of: Callable[[Tracked], Seen], *, precise: bool = False
    ) -> Iterator[tuple[int, Use | MatrixUse, Tensor]]:
        yield from self._sums(needed, seen_of, precise=precise)
        yield from self._mixed_sums(needed, seen_of)

    def _mixed_sums(
        self, needed: tuple[frozenset[int], ...], seen_of: Callable[[Tracked], Seen]
    ) -> Iterator[tuple[int, MatrixUse, Tensor]]:
        return ((index, use, sums.to(self.device)) for index, use, sums in self.mixed.sums(needed, seen_of))

    def _sums(
        self, needed: tuple[frozenset[int], ...], seen_of: Callable[[Tracked], Seen], *, precise: bool = False
    ) -> Iterator[tuple[int, Use, Tensor]]:
        if needed not in self._reads:
            # The parameter that was updated last is still in a CPU's cache after the step.
            self._reads[needed] = [(tracked, tuple(tracked.reads(needed))) for tracked in reversed(self.tracked)]
        for tracked, reads in self._reads[needed]:
            seen = seen_of(tracked)
            for read in reads:
                found = read.sums(seen, tracked.shard, precise)
                yield from ((index, use, sums.to(self.device)) for index, use, sums in found)

    def _zeros(self, *shape: int) -> Tensor:
        return torch.zeros(shape, dtype=torch.float64, device=self.device)


def _degree(part: GroupColumns) -> int:
    return _degree_of(part.kind)


@lru_cache
def _degree_of(kind: str) -> int:
    return KINDS[kind]().degree


def _size_and_value(tracked: Tracked) -> Seen:
    """``|θ|`` and ``θ``; the first is made for the few parameters of a charge of degree 1 only."""
    linear = any(use.degree == 1 for use in tracked.uses)
    return (_local(tracked.parameter).abs() if linear else None, tracked.parameter, None, None)


def _local(tensor: Tensor) -> Tensor:
    """What this process holds of a tensor."""
    tensor = tensor.detach()
    return tensor.to_local() if _is_sharded(tensor) else tensor  # type: ignore[attr-defined]


def _is_sharded(tensor: Tensor) -> bool:
    return hasattr(tensor, "device_mesh")


def _processes(parameters: Mapping[str, Tensor]) -> torch.distributed.ProcessGroup | None:
    """The processes over which FSDP2 has sharded the parameters, or None."""
    meshes = {id(p.device_mesh): p.device_mesh for p in parameters.values() if _is_sharded(p)}  # type: ignore[attr-defined]
    if not meshes:
        return None
    if len(meshes) > 1 or any(mesh.ndim != 1 for mesh in meshes.values()) or not all(map(_is_sharded, parameters.values())):
        raise RecordingError(
            "symmetries: expected all parameters sharded over one and the same processes, got several ways of sharding; "
            "call fully_shard on one mesh of one dimension, or leave symmetries out of the map"
        )
    return next(iter(meshes.values())).get_group()


def _shard(name: str, parameter: Any, uses: Sequence[Use], processes: torch.distributed.ProcessGroup) -> tuple[int, int]:
    """The rows that this process holds: FSDP2 deals them out as ``torch.chunk`` does."""
    rows = parameter.shape[0] if parameter.ndim else 0
    if not parameter.placements[0].is_shard(0) or any(
        use.block.view[0] != rows or use.along == "both" or (use.along == "rows" and use.block.owners) for use in uses
    ):
        raise RecordingError(
            f"symmetries: expected {name!r} to be sharded along its first dimension, and to be read so, got "
            f"{parameter.placements}, read as {[use.block.view for use in uses]}; leave the symmetries that move it out"
        )
    count = -(-rows // torch.distributed.get_world_size(processes))
    start = min(rows, torch.distributed.get_rank(processes) * count)
    return start, min(rows, start + count)


def plan_recording(
    symmetries: SymmetryMap, model: nn.Module, optimizer: torch.optim.Optimizer, forcing: str = "all"
) -> Plan:
    """Bring a map and an optimizer together; ``forcing`` is one of :data:`torch_bridge.sgd_update.FORCINGS`.

    Raises
    ------
    RecordingError
        If a parameter is not updated by the optimizer, or is of a type that is not covered.
    """
    groups = (*symmetries.groups, *symmetries.matrices)
    names = dict.fromkeys(block.parameter for group in groups for block in group.blocks)
    group_of = {name: _group_of(name, model.get_parameter(name), optimizer) for name in names}
    used = tuple(sorted(set(group_of.values())))
    parts = [
        (index, used.index(updater), tuple(block for block in group.blocks if group_of[block.parameter] == updater))
        for index, group in enumerate(groups)
        for updater in dict.fromkeys(group_of[block.parameter] for block in group.blocks)
    ]
    settings = [optimizer.param_groups[index] for index in used]
    columns = tuple(_layout(groups, parts, settings, forcing))
    parameters = {name: model.get_parameter(name) for name in names}
    processes = _processes(parameters)
    tracked = tuple(_tracked(parameters, group_of, columns, parts, processes))
    return Plan(columns, tracked, _mixed(tracked, parts), used, processes)


Part = tuple[int, int, tuple[Any, ...]]
"""Index of a symmetry group, of the recorded parameter group that updates some of its blocks, and these blocks."""


def _tracked(
    parameters: Mapping[str, Tensor],
    group_of: Mapping[str, int],
    columns: Sequence[GroupColumns],
    parts: Sequence[Part],
    processes: torch.distributed.ProcessGroup | None,
) -> Iterator[Tracked]:
    uses = [Use(b, k, _degree(columns[k])) for k, (_, _, blocks) in enumerate(parts) for b in blocks if isinstance(b, Block)]
    for name, parameter in parameters.items():
        mine = tuple(use for use in uses if use.block.parameter == name)
        shard = None if processes is None else _shard(name, parameter, mine, processes)
        yield Tracked(name, parameter, group_of[name], mine, shard)


def _mixed(tracked: Sequence[Tracked], parts: Sequence[Part]) -> PairProducts:
    blocks = [(k, b) for k, (_, _, held) in enumerate(parts) for b in held if isinstance(b, MatrixBlock)]
    uses = (
        (one, tuple(MatrixUse.of(b, k, one.parameter.device) for k, b in blocks if b.parameter == one.name))
        for one in tracked
    )
    return PairProducts(tuple((one, mine) for one, mine in uses if mine))


def model_of(symmetries: SymmetryMap) -> nn.Module:
    """The network that a map speaks of.

    Raises
    ------
    RecordingError
        If the map is empty, or has none.
    """
    if not (symmetries.groups or symmetries.matrices):
        reasons = "; ".join(symmetries.blocked) or "none was found"
        raise RecordingError(f"symmetries: expected at least one, got a model without a symmetry ({reasons}); "
                             "there is nothing to record")  # fmt: skip
    if symmetries.model is None:
        raise RecordingError("symmetries: expected a map with its model, got SymmetryMap(model=None); pass model=")
    return symmetries.model


def _group_of(name: str, parameter: Tensor, optimizer: torch.optim.Optimizer) -> int:
    """Index of the optimizer's parameter group that updates a parameter."""
    if not (type(parameter) is nn.Parameter or _is_sharded(parameter)) or parameter.dtype not in (
        torch.float32,
        torch.float64,
    ):
        raise RecordingError(
            f"symmetries: expected {name!r} to be a plain float32 or float64 parameter, got "
            f"{type(parameter).__name__} of {parameter.dtype}: half precision loses the laws in the rounding of the "
            "parameters themselves; keep float32 parameters (autocast is fine)"
        )
    for index, group in enumerate(optimizer.param_groups):
        if any(p is parameter for p in group["params"]):
            return index
    raise RecordingError(
        f"optimizer: expected all parameters of the map, got none named {name!r}; give it to the optimizer, or leave "
        "the symmetries that move it out of the map"
    )


def _layout(
    groups: Sequence[NeuronSymmetries | MatrixSymmetries],
    parts: Sequence[Part],
    settings: Sequence[Mapping[str, Any]],
    forcing: str,
) -> Iterator[GroupColumns]:
    """Columns one after the other: part by part, in a part channel by channel.

    A part that is not the whole symmetry needs its breaking for any law: only those of all parts together cancel.
    """
    column, charge = 0, 0
    whole = Counter(symmetry for symmetry, _, _ in parts)
    nesterov = any(group["nesterov"] for group in settings)
    for symmetry, hyper, owned in parts:
        group, momentum = groups[symmetry], bool(settings[hyper]["momentum"])
        n, names = group.charges, channels(group.symmetry.degree, momentum, nesterov, forcing)
        names = names if whole[symmetry] == 1 or "breaking" in names else ("breaking", *names)
        spans = {name: (column + k * n, column + (k + 1) * n) for k, name in enumerate(names)}
        blocks = tuple(asdict(block) for block in owned)
        yield GroupColumns(group.kind, group.label, blocks, hyper, (charge, charge + n), spans, symmetry)
        column, charge = column + len(names) * n, charge + n
