"""Rooted trees by number: an engine's view of them, so that a B-series is a row of coefficients.

Every tree but the leaf is uniquely trunk ∘ branch with the branch its last child, so a tree is a pair of smaller numbers,
and whatever is defined by the Butcher product is filled in from the smallest tree up.
"""

from __future__ import annotations

from functools import cache
from threading import Lock

from derive.trees import RootedTree, TreeError

MAX_ORDER = 18
"""1,721,159 trees have 18 vertices; nothing here is meant for more."""
_NO_LAST_CHILD = 1 << 62
"""Compares as larger than any tree: a leaf takes any branch as its last child."""

Cut = tuple[int, int, int]
"""(trunk, branch, multiplicity)."""


class TreeTable:
    """The rooted trees numbered 0, 1, 2, … by order, each as (left, right): ``left`` ∘ ``right``, ``right`` its last child.

    Children are in falling order of number, tall before bushy. The leaves of the colours come first.

    >>> table = tree_table(4)
    >>> [str(table.tree(number)) for number in table.numbers(4)]
    ['[[[t]]]', '[[t,t]]', '[[t],t]', '[t,t,t]']
    """

    def __init__(self, colours: int) -> None:
        self.colours = colours
        self.left: list[int] = [-1] * colours
        self.right: list[int] = [_NO_LAST_CHILD] * colours
        self.order: list[int] = [1] * colours
        self._starts = [0, 0, colours]  # where order n begins, at place n
        self._product: dict[tuple[int, int], int] = {}
        self._cuts: dict[int, tuple[Cut, ...]] = dict.fromkeys(range(colours), ())
        self._trees: list[RootedTree] = [RootedTree((), colour) for colour in range(colours)]
        self._growing = Lock()

    def numbers(self, order: int) -> range:
        """The numbers of the trees with that many vertices."""
        return range(self._starts[order], self._starts[order + 1])

    def count(self, order: int) -> int:
        """How many trees have at most that many vertices."""
        return self._starts[order + 1]

    def grow(self, order: int) -> None:
        """Number all trees up to ``order``."""
        if not isinstance(order, int) or not 0 <= order <= MAX_ORDER:
            raise TreeError(f"order: expected an integer from 0 to {MAX_ORDER}, got {order!r}")
        with self._growing:
            while len(self._starts) < order + 2:
                self._add_order(len(self._starts) - 1)
                self._starts.append(len(self.left))

    def _add_order(self, order: int) -> None:
        for size in range(order - 1, 0, -1):
            branches = self.numbers(size)
            for trunk in self.numbers(order - size):
                for branch in range(branches.start, min(branches.stop, self.right[trunk] + 1)):
                    self._product[trunk, branch] = len(self.left)
                    self.left.append(trunk)
                    self.right.append(branch)
                    self.order.append(order)

    def product(self, trunk: int, branch: int) -> int:
        """The Butcher product; the table must have grown to its order."""
        found = self._product.get((trunk, branch))
        if found is None:  # the branch is larger than the last child of the trunk, and goes before it
            found = self.product(self.product(self.left[trunk], branch), self.right[trunk])
            self._product[trunk, branch] = found
        return found

    def children(self, number: int) -> list[int]:
        """The subtrees at the root, the largest number first."""
        found = []
        while self.left[number] >= 0:
            found.append(self.right[number])
            number = self.left[number]
        return found[::-1]

    def cuts(self, number: int) -> tuple[Cut, ...]:
        """What is left above and below each edge, with the number of edges that give the same pair."""
        found = self._cuts.get(number)
        if found is None:
            left, right = self.left[number], self.right[number]
            counts = {(left, right): 1}
            for trunk, branch, multiplicity in self.cuts(left):
                pair = self.product(trunk, right), branch
                counts[pair] = counts.get(pair, 0) + multiplicity
            for trunk, branch, multiplicity in self.cuts(right):
                pair = self.product(left, trunk), branch
                counts[pair] = counts.get(pair, 0) + multiplicity
            found = self._cuts[number] = tuple((*pair, multiplicity) for pair, multiplicity in counts.items())
        return found

    def tree(self, number: int) -> RootedTree:
        """The tree of a number."""
        for missing in range(len(self._trees), number + 1):
            root = missing
            while self.left[root] >= 0:
                root = self.left[root]
            self._trees.append(RootedTree(tuple(self._trees[child] for child in self.children(missing)), root))
        return self._trees[number]

    def number(self, tree: RootedTree) -> int:
        """The number of a tree."""
        if tree.colours > self.colours:
            raise TreeError(f"tree: expected vertices of colour 0 only, got {tree}")
        self.grow(tree.order)
        number = tree.colour
        for child in sorted(map(self.number, tree.children), reverse=True):
            number = self._product[number, child]
        return number


@cache
def _table(colours: int) -> TreeTable:
    return TreeTable(colours)


def tree_table(order: int, colours: int = 1) -> TreeTable:
    """The table of all trees, grown to ``order`` at least."""
    if colours not in (1, 2):
        raise TreeError(f"colours: expected 1 or 2, got {colours!r}")
    table = _table(colours)
    table.grow(order)
    return table


def rooted_trees(order: int, colours: int = 1) -> tuple[RootedTree, ...]:
    """All rooted trees with ``order`` vertices: 1, 1, 2, 4, 9, 20, 48, … (OEIS A000081; HLW, table III.1.1).

    >>> [len(rooted_trees(n)) for n in range(1, 11)]
    [1, 1, 2, 4, 9, 20, 48, 115, 286, 719]
    """
    table = tree_table(order, colours)
    return tuple(table.tree(number) for number in table.numbers(order))


def edge_cuts(tree: RootedTree) -> dict[tuple[RootedTree, RootedTree], int]:
    """(trunk, branch) -> the number of edges of ``tree`` whose removal leaves them, |τ|−1 edges in all.

    >>> {(str(trunk), str(branch)): n for (trunk, branch), n in edge_cuts(RootedTree.parse("[[t],t]")).items()}
    {('[[t]]', 't'): 1, ('[t]', '[t]'): 1, ('[t,t]', 't'): 1}
    """
    table = tree_table(tree.order, tree.colours)
    return {(table.tree(trunk), table.tree(branch)): n for trunk, branch, n in table.cuts(table.number(tree))}
