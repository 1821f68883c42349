"""Substitution of a field into a B-series, and modifying integrators (Chartier, Hairer, Vilmart 2010).

The substitution b ⋆ a replaces f by the field of b in the series of a: every way to cut a tree into subtrees contributes
a(what is left when each subtree shrinks to a vertex) · Π b(subtree).
"""

from __future__ import annotations

from collections import defaultdict

from derive.bseries import BSeries, Element, SeriesError, exact_flow, in_one_domain
from derive.tree_table import TreeTable

Pieces = dict[tuple[int, int], Element]
"""(the subtree that holds the root, what is left when all subtrees have shrunk) -> Π b(the other subtrees), summed."""


def _merge_roots(table: TreeTable, tree: int, other: int) -> int:
    """Both at one root."""
    for child in table.children(other):
        tree = table.product(tree, child)
    return tree


def _pieces(table: TreeTable, left: Pieces, right: Pieces, shrunk_right: dict[int, Element]) -> Pieces:
    """The ways to cut up left ∘ right: the new edge is inside the subtree at the root, or cut."""
    found: Pieces = defaultdict(int)
    for (root, skeleton), ways in left.items():
        for (other_root, other_skeleton), more in right.items():
            pair = table.product(root, other_root), _merge_roots(table, skeleton, other_skeleton)
            found[pair] += ways * more
        for branch, more in shrunk_right.items():
            found[root, table.product(skeleton, branch)] += ways * more
    return found


def _shrunk(pieces: Pieces, field: list[Element]) -> dict[int, Element]:
    """With b of the subtree at the root multiplied in: what is left -> coefficient."""
    found: dict[int, Element] = defaultdict(int)
    for (root, skeleton), ways in pieces.items():
        found[skeleton] += ways * field[root]
    return found


class _Cutting:
    """The pieces of every tree in turn, given the field on the smaller ones."""

    def __init__(self, table: TreeTable, one: Element) -> None:
        self.table, self.one = table, one
        self.pieces: list[Pieces] = []
        self.shrunk: list[dict[int, Element]] = []

    def next_pieces(self) -> Pieces:
        number = len(self.pieces)
        left, right = self.table.left[number], self.table.right[number]
        found = (
            _pieces(self.table, self.pieces[left], self.pieces[right], self.shrunk[right])
            if left >= 0
            else {(number, number): self.one}
        )
        self.pieces.append(found)
        return found

    def close(self, field: list[Element]) -> dict[int, Element]:
        self.shrunk.append(_shrunk(self.pieces[-1], field))
        return self.shrunk[-1]


def _expect_one_colour(*series: BSeries) -> None:
    if any(s.colours != 1 for s in series):
        raise SeriesError("series: expected trees of one colour, got two; substitution in split fields is not covered")


def substitute(b: BSeries, a: BSeries) -> BSeries:
    """b ⋆ a: the series ``a`` (a map or a field) with the field ``b`` put for f (Chartier et al. 2010, Theorem 3.2).

    Backward error analysis: the exact flow, run on the modified equation, is the method.

    >>> from derive.bseries import b_series, modified_equation
    >>> euler = b_series({"t": 1}, 6, is_map=True)
    >>> substitute(modified_equation(euler), exact_flow(6)) == euler
    True
    """
    if b.is_map:
        raise SeriesError("b: expected a vector field to put for f, got a map; modified_equation(map) is its field")
    _expect_one_colour(a, b)
    order = min(a.order, b.order)
    a, b = a.truncated(order), b.truncated(order)
    domain, outer, field = in_one_domain(a, b)
    cutting = _Cutting(a.table, domain.one)
    found = []
    for _ in outer:
        cutting.next_pieces()
        shrunk = cutting.close(field)
        found.append(sum((ways * outer[skeleton] for skeleton, ways in shrunk.items()), domain.zero))
    return BSeries(order, a.at_empty, domain, tuple(found))


def modifying_integrator(a: BSeries, target: BSeries | None = None) -> BSeries:
    """The field b for which the method ``a`` gives ``target``, by default the exact flow: b ⋆ a = target.

    (Chartier, Hairer, Vilmart 2007; 2010, section 4.) Explicit Euler, run on the Taylor series of the flow, is exact:

    >>> from derive.bseries import b_series
    >>> modifying_integrator(b_series({"t": 1}, 3, is_map=True))
    <B-series of a field to order 3: t: 1, [t]: 1/2, [[t]]: 1/6, [t,t]: 1/3>
    """
    target = exact_flow(a.order) if target is None else target
    if not (a.is_map and target.is_map):
        raise SeriesError("a, target: expected maps (coefficient 1 of the empty tree), got a field")
    _expect_one_colour(a, target)
    order = min(a.order, target.order)
    a, target = a.truncated(order), target.truncated(order)
    domain, outer, wanted = in_one_domain(a, target)
    if order and not outer[0]:
        raise SeriesError("a: expected a(t) ≠ 0, a method that depends on f at first order, got 0")
    cutting, field = _Cutting(a.table, domain.one), []
    for number, value in enumerate(wanted):
        pieces = cutting.next_pieces()
        rest = sum((w * field[r] * outer[s] for (r, s), w in pieces.items() if r != number), domain.zero)
        field.append((value - rest) / outer[0])
        cutting.close(field)
    return BSeries(order, 0, domain, tuple(field))
