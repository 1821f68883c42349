"""Rooted trees: the index set of B-series (Hairer, Lubich, Wanner 2006, section III.1; "HLW" below).

A tree stands for a composition of derivatives of a vector field f, its elementary differential F(τ): ``t`` is f, ``[t]``
is f'f, ``[t,t]`` is f''(f, f), ``[[t]]`` is f'f'f. Vertices may have one of two colours, for a field split in two parts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from math import factorial, prod

_LEAF = ("t", "o")
_OPEN, _CLOSE = ("[", "("), ("]", ")")


class TreeError(ValueError):
    """What is not a rooted tree, or not one that is asked for."""


@dataclass(frozen=True)
class RootedTree:
    """A root with subtrees in no order: [τ_1, …, τ_m].

    Equal trees compare equal, however their children were listed:

    >>> t = RootedTree()
    >>> RootedTree((t, RootedTree((t,))))
    RootedTree.parse('[[t],t]')
    >>> RootedTree.parse("[t,[t]]") == RootedTree.parse("[[t],t]")
    True

    Parameters
    ----------
    children
        The subtrees at the root.
    colour
        0, written ``t`` and ``[…]``, or 1, written ``o`` and ``(…)``.
    """

    children: tuple[RootedTree, ...] = ()
    colour: int = 0

    def __post_init__(self) -> None:
        if not all(isinstance(child, RootedTree) for child in self.children):
            raise TreeError(f"children: expected rooted trees, got {self.children!r}; RootedTree.parse reads '[[t],t]'")
        if self.colour not in (0, 1):
            raise TreeError(f"colour: expected 0 or 1, got {self.colour!r}")
        object.__setattr__(self, "children", tuple(sorted(self.children, key=lambda c: c.sort_key, reverse=True)))

    @cached_property
    def sort_key(self) -> tuple:
        """By order first, then by the children."""
        return (self.order, tuple(child.sort_key for child in self.children), -self.colour)

    @cached_property
    def order(self) -> int:
        """|τ|, the number of vertices."""
        return 1 + sum(child.order for child in self.children)

    @cached_property
    def colours(self) -> int:
        """1 if all vertices have colour 0, else 2."""
        return max([1 + self.colour, *(child.colours for child in self.children)])

    @cached_property
    def symmetry(self) -> int:
        """σ(τ), the number of automorphisms (HLW, eq. III.1.16).

        >>> [RootedTree.parse(text).symmetry for text in ("t", "[t]", "[t,t]", "[[t],[t]]")]
        [1, 1, 2, 2]
        """
        return prod(factorial(m) * child.symmetry**m for child, m in Counter(self.children).items())

    @cached_property
    def density(self) -> int:
        """γ(τ), so that 1/γ is the coefficient of the exact flow (HLW, eq. III.1.14). Tall trees have γ = |τ|!.

        >>> [RootedTree.parse(text).density for text in ("t", "[t]", "[t,t]", "[[t]]", "[[[t]]]")]
        [1, 2, 3, 6, 24]
        """
        return self.order * prod(child.density for child in self.children)

    @cached_property
    def labelings(self) -> int:
        """α(τ) = |τ|!/(σγ), the number of monotonic labelings (HLW, eq. III.1.17): [[t],t] has 3.

        >>> RootedTree.parse("[[t],t]").labelings
        3
        """
        return factorial(self.order) // (self.symmetry * self.density)

    @classmethod
    def parse(cls, text: str) -> RootedTree:
        """Read bracket notation; ``t^3`` repeats, as in the literature's [τ³].

        >>> RootedTree.parse("[[t^2], t]").order
        5
        """
        return _Reader(text).read()

    def __str__(self) -> str:
        if not self.children:
            return _LEAF[self.colour]
        return _OPEN[self.colour] + ",".join(map(str, self.children)) + _CLOSE[self.colour]

    def __repr__(self) -> str:
        return f"RootedTree.parse({str(self)!r})"

    @property
    def latex(self) -> str:
        r"""HLW's bracket notation: ``[[\bullet], \bullet^{2}]``, without dollars.

        >>> print(RootedTree.parse("[[t],t,t]").latex)
        [[\bullet], \bullet^{2}]
        """
        if not self.children:
            return (r"\bullet", r"\circ")[self.colour]
        powers = Counter(self.children).items()
        inside = ", ".join(child.latex + (f"^{{{m}}}" if m > 1 else "") for child, m in powers)
        return f"[{inside}]" + ("", r"_{\circ}")[self.colour]

    def _repr_latex_(self) -> str:
        return f"${self.latex}$"


class _Reader:
    """Recursive descent over ``tree = leaf | "[" tree ["^" digits] {"," tree ["^" digits]} "]"``."""

    def __init__(self, text: str) -> None:
        if not isinstance(text, str):
            raise TreeError(f"text: expected bracket notation such as '[[t],t]', got {text!r}")
        self.text, self.symbols, self.at = text, text.replace(" ", "") + "\0", 0

    def read(self) -> RootedTree:
        try:
            tree = self.tree()
        except RecursionError:
            raise TreeError("text: nested too deeply for a rooted tree") from None
        self.expect("\0", "the end")
        return tree

    def expect(self, symbol: str, what: str) -> None:
        if self.symbols[self.at] != symbol:
            found = self.symbols[self.at].replace("\0", "the end")
            raise TreeError(f"text: expected {what} at place {self.at + 1} of {self.text!r}, got {found}; write '[[t],t]'")
        self.at += 1

    def tree(self) -> RootedTree:
        symbol = self.symbols[self.at]
        if symbol in _LEAF:
            self.at += 1
            return RootedTree((), _LEAF.index(symbol))
        colour = _OPEN.index(symbol) if symbol in _OPEN else 0
        self.expect(_OPEN[colour], "a tree")
        children = self.repeated()
        while self.symbols[self.at] == ",":
            self.at += 1
            children += self.repeated()
        self.expect(_CLOSE[colour], f"',' or {_CLOSE[colour]!r}")
        return RootedTree(tuple(children), colour)

    def repeated(self) -> list[RootedTree]:
        tree = self.tree()
        if self.symbols[self.at] != "^":
            return [tree]
        start = self.at = self.at + 1
        while self.symbols[self.at] in "0123456789":
            self.at += 1
        power = self.symbols[start : self.at]
        if not power or not 1 <= int(power[:3]) <= 99:
            raise TreeError(f"text: expected a power from 1 to 99 after '^' in {self.text!r}, got {power!r}")
        return [tree] * int(power)


def butcher_product(trunk: RootedTree, branch: RootedTree) -> RootedTree:
    """trunk ∘ branch: the root of ``branch`` becomes a child of the root of ``trunk`` (HLW, eq. VI.7.4).

    >>> str(butcher_product(RootedTree.parse("[t]"), RootedTree.parse("t")))
    '[t,t]'
    """
    return RootedTree((*trunk.children, branch), trunk.colour)


def rootings(tree: RootedTree) -> dict[RootedTree, int]:
    """The rooted trees that are ``tree`` hung up by another vertex, and how many vertices give each.

    They share the free tree (HLW, Definition IX.9.1). The path of three vertices has its two ends and its middle:

    >>> {str(tree): n for tree, n in rootings(RootedTree.parse("[t,t]")).items()}
    {'[t,t]': 1, '[[t]]': 2}
    """
    return dict(Counter(_hung_up(tree, ())))


def _hung_up(vertex: RootedTree, above: tuple[RootedTree, ...]) -> Iterator[RootedTree]:
    """The tree with ``vertex`` and everything below it for a root, in turn; ``above`` is what hangs on its other side."""
    yield RootedTree(vertex.children + above, vertex.colour)
    for k, child in enumerate(vertex.children):
        siblings = vertex.children[:k] + vertex.children[k + 1 :]
        yield from _hung_up(child, (RootedTree(siblings + above, vertex.colour),))
