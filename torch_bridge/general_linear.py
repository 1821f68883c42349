"""Channels that are mixed by linear maps only: not just their scales are free but a whole GL(k)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from torch_bridge.exponents import Exponents
from torch_bridge.families import Moves, Slices, modules
from torch_bridge.linear_relations import NONE, Solution, unknowns_in
from torch_bridge.symmetry_map import MatrixBlock, MatrixSymmetries

Space = tuple[int, ...]
"""Free unknowns, one for each of the k channels of one GL(k)."""


def matrix_families(flow: Exponents, solution: Solution, moved: Moves) -> list[MatrixSymmetries]:
    """The GL(k) with k > 1.

    Channels belong together if every linear map that acts on one of them acts on all, and nothing acts on one alone.
    """
    found: dict[Any, list[Any]] = defaultdict(list)
    for space in _spaces(flow, solution):
        blocks = _blocks(flow, solution, space)
        if blocks is not None and _is_all(space, moved, blocks):
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


def _blocks(flow: Exponents, solution: Solution, space: Space) -> list[Any] | None:
    """Where the space's channels stand: slices, coefficient, and for each copy of the space the slices of its channels."""
    rows = _rows(flow)
    places: dict[Any, dict[Any, dict[int, int]]] = defaultdict(lambda: defaultdict(dict))
    for use in flow.uses:
        for index, unknown in enumerate(use.unknowns.tolist()):
            form = solution.form(unknown) if unknown != NONE else {}
            if not form.keys() & set(space):
                continue
            ((free, c),) = form.items() if len(form) == 1 else ((None, 0),)
            if free is None or abs(c * use.coefficient) != 1 or len(use.axes) != 1:
                return None
            copies = places[Slices(use.parameter, use.view, use.axes), c * use.coefficient]
            times = sum(free in copy for (where, _), copy in copies.items() if where == rows.get(unknown))
            copies[rows.get(unknown), times][free] = index
    blocks = [
        (key, int(c), [[copy.get(f) for f in space] for copy in copies.values()]) for (key, c), copies in places.items()
    ]
    complete = all(index is not None for _, _, copies in blocks for copy in copies for index in copy)
    return blocks if complete else None


def _rows(flow: Exponents) -> dict[int, frozenset[int]]:
    """Unknown -> the rows that it is mixed in, which tell apart several copies of one space in a parameter."""
    found: dict[int, set[int]] = defaultdict(set)
    for number, row in enumerate(_acted_on(flow)):
        for unknown in row:
            found[unknown].add(number)
    return {unknown: frozenset(where) for unknown, where in found.items()}


def _is_all(space: Space, moved: Moves, blocks: list[Any]) -> bool:
    """Whether the parameters move by the space in no other way than ``blocks`` say, and do move."""
    names = {key.parameter for key, _, _ in blocks}
    return all(key.parameter in names for key, forms in moved.items() if any(f.keys() & set(space) for f in forms))
