"""Channels that are mixed by linear maps only: not just their scales are free but a whole GL(k)."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from torch_bridge.exponents import Exponents
from torch_bridge.families import Slices, modules
from torch_bridge.linear_relations import Number, Solution, unknowns_in
from torch_bridge.symmetry_map import MatrixBlock, MatrixSymmetries

Space = tuple[int, ...]
"""Free unknowns, one for each of the k channels of one GL(k)."""


def matrix_families(flow: Exponents, solution: Solution) -> list[MatrixSymmetries]:
    """The GL(k) with k > 1.

    Channels belong together if every linear map that acts on one of them acts on all, and nothing acts on one alone.
    """
    found: dict[Any, list[Any]] = defaultdict(list)
    places = _places(flow, solution)
    for space in _spaces(flow, solution):
        if (blocks := _blocks(places, space)) is not None:
            found[tuple((key, c, len(copies)) for key, c, copies in blocks)].append([copies for _, _, copies in blocks])
    return [_family(places, members) for places, members in found.items()]


def _family(places: Any, members: list[Any]) -> MatrixSymmetries:
    blocks = tuple(
        MatrixBlock(key.parameter, key.view, key.axes[0], c, tuple(tuple(map(tuple, member[i])) for member in members))
        for i, (key, c, _) in enumerate(places)
    )
    up, down = (modules(b for b in blocks if (b.coefficient > 0) is positive) for positive in (True, False))
    return MatrixSymmetries(f"{', '.join(up)} -> {', '.join(down)}", blocks)


def _spaces(flow: Exponents, solution: Solution) -> Iterator[Space]:
    together: dict[int, set[Any]] = defaultdict(set)
    alone = {free for unknown in unknowns_in(flow.diagonal) for free in solution.form(unknown)}
    rows = list(_acted_on(flow))
    for number, row in enumerate([*rows, *flow.parts]):
        for form in map(solution.form, row):
            if len(form) != 1 or abs(next(iter(form.values()))) != 1:
                alone |= set(form)
            for free in form:
                together[free].add(number)
    alike: dict[Any, list[int]] = defaultdict(list)
    for free in sorted(together.keys() - alone):
        alike[frozenset(together[free])].append(free)
    frees = [[free for unknown in row for free in solution.form(unknown)] for row in rows]
    for numbers, space in alike.items():
        if len(space) > 1 and all(_is_grid(frees[n], space) for n in numbers if n < len(rows)):
            yield tuple(space)


def _acted_on(flow: Exponents) -> Iterator[list[int]]:
    """Each axis that a linear map acts on, as the unknowns along it."""
    return (row for rows in flow.mixed for row in rows.unique(dim=0).tolist())


def _is_grid(row: list[int], space: list[int]) -> bool:
    """Whether a row has the space as a whole, once or several times: one after the other, or channel by channel.

    >>> [_is_grid(row, [1, 2]) for row in ([1, 2, 7, 1, 2], [1, 1, 2, 2], [1, 2, 2, 1])]
    [True, True, False]
    """
    members = set(space)
    found = [free for free in row if free in members]
    times, k = divmod(len(found), len(space))[0], len(space)
    if len(found) != times * k or {*found[:k], *found[::times]} != members:
        return False
    return found == found[:k] * times or found == [free for free in found[::times] for _ in range(times)]


@dataclass(frozen=True)
class _Place:
    """A slice that moves with a free unknown: by which coefficient, in which rows, and whether by nothing else."""

    slices: Slices
    index: int
    coefficient: Number
    rows: frozenset[int]
    lone: bool


def _places(flow: Exponents, solution: Solution) -> dict[int, list[_Place]]:
    """Free unknown -> the slices that move with it."""
    rows = _rows(flow)
    found: dict[int, list[_Place]] = defaultdict(list)
    for use in flow.uses:
        key = Slices(use.parameter, use.view, use.axes)
        for index, unknown in enumerate(use.unknowns.tolist()):
            form = solution.form(unknown)
            for free, c in form.items():
                place = _Place(key, index, c * use.coefficient, rows.get(unknown, frozenset()), len(form) == 1)
                found[free].append(place)
    return found


def _blocks(places: dict[int, list[_Place]], space: Space) -> list[Any] | None:
    """Where the space's channels stand: slices, coefficient, and for each copy of the space the slices of its channels."""
    found: dict[Any, dict[Any, dict[int, int]]] = defaultdict(lambda: defaultdict(dict))
    for free in space:
        times: Counter[Any] = Counter()
        for place in places[free]:
            if not place.lone or abs(place.coefficient) != 1 or len(place.slices.axes) != 1:
                return None
            key = place.slices, int(place.coefficient)
            found[key][place.rows, times[key, place.rows]][free] = place.index
            times[key, place.rows] += 1
    blocks = [(key, c, [[copy.get(f) for f in space] for copy in copies.values()]) for (key, c), copies in found.items()]
    complete = all(index is not None for _, _, copies in blocks for copy in copies for index in copy)
    return blocks if complete else None


def _rows(flow: Exponents) -> dict[int, frozenset[int]]:
    """Unknown -> the rows that it is mixed in, which tell apart several copies of one space in a parameter."""
    found: dict[int, set[int]] = defaultdict(set)
    for number, row in enumerate(_acted_on(flow)):
        for unknown in row:
            found[unknown].add(number)
    return {unknown: frozenset(where) for unknown, where in found.items()}
