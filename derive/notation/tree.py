"""What a formula is made of, before anything is said of what it means: immutable nodes, each with its place in the text.

Which name is a learning rate and which a vector is decided in :mod:`derive.notation.reading`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, fields, replace


@dataclass(frozen=True)
class Node:
    """A part of a formula. ``at`` is the position of its first character; equality does not look at it."""

    at: int = field(compare=False, kw_only=True, default=0)

    @property
    def children(self) -> tuple[Node, ...]:
        """The nodes directly below."""
        found: list[Node] = []
        for slot in fields(self):
            value = getattr(self, slot.name)
            found.extend(_nodes(value))
        return tuple(found)

    def walk(self) -> Iterator[Node]:
        """This node and all below it, depth first."""
        yield self
        for child in self.children:
            yield from child.walk()


def _nodes(value: object) -> Iterator[Node]:
    if isinstance(value, Node):
        yield value
    elif isinstance(value, tuple):
        for item in value:
            yield from _nodes(item)


@dataclass(frozen=True)
class Number(Node):
    """A decimal number, as written."""

    text: str


@dataclass(frozen=True)
class Name(Node):
    r"""A letter or a word: ``theta`` for both ``\theta`` and θ."""

    text: str


@dataclass(frozen=True)
class Group(Node):
    """Round or square brackets (``bracket`` is ``(``), or LaTeX's invisible braces (``{``), around a list."""

    items: tuple[Node, ...]
    bracket: str


@dataclass(frozen=True)
class Bars(Node):
    """|x| or ‖x‖."""

    content: Node


@dataclass(frozen=True)
class Angle(Node):
    """⟨x, y⟩."""

    left: Node
    right: Node


@dataclass(frozen=True)
class Scripted(Node):
    """A base with subscript, superscript and primes, in the order the paper may put them."""

    base: Node
    sub: Node | None
    sup: Node | None
    primes: int = 0


@dataclass(frozen=True)
class Accented(Node):
    r"""``\dot x``, ``\tilde L`` and the like."""

    accent: str
    base: Node


@dataclass(frozen=True)
class Fraction(Node):
    r"""``\frac{…}{…}``, which may also be a derivative."""

    numerator: Node
    denominator: Node


@dataclass(frozen=True)
class Root(Node):
    r"""``\sqrt[index]{…}``."""

    content: Node
    index: Node | None


@dataclass(frozen=True)
class Call(Node):
    r"""A known function applied: ``\cosh^{power} argument``."""

    function: str
    argument: Node
    power: Node | None


@dataclass(frozen=True)
class Big(Node):
    """∫, Σ or ∏ with limits. What it acts on is the rest of its product."""

    kind: str
    lower: Node | None
    upper: Node | None


@dataclass(frozen=True)
class Product(Node):
    """Factors with the sign before each: ``" "`` for juxtaposition, ``*``, ``/``, ``o`` for ⊙, ``⊗`` and so on."""

    factors: tuple[Node, ...]
    signs: tuple[str, ...]


@dataclass(frozen=True)
class Total(Node):
    """Terms with ``+``, ``-`` or ``±`` before each."""

    terms: tuple[Node, ...]
    signs: tuple[str, ...]


@dataclass(frozen=True)
class Relation(Node):
    """A chain a = b = c, a < b."""

    sides: tuple[Node, ...]
    signs: tuple[str, ...]


@dataclass(frozen=True)
class Rows(Node):
    r"""``\begin{cases}`` or a matrix: rows of cells."""

    kind: str
    rows: tuple[tuple[Node, ...], ...]


@dataclass(frozen=True)
class EvaluatedAt(Node):
    r"""x with a bar and what is set: ``\psi|_{\alpha = I}``."""

    base: Node
    condition: Node


def renamed(node: Node, old: Node, new: Node) -> Node:
    """``node`` with every part that equals ``old`` replaced."""
    if node == old:
        return new

    def on(value: object) -> object:
        if isinstance(value, Node):
            return renamed(value, old, new)
        return tuple(map(on, value)) if isinstance(value, tuple) else value

    return replace(node, **{slot.name: on(getattr(node, slot.name)) for slot in fields(node) if slot.name != "at"})
