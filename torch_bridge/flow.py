"""Walk through a network with one symbolic quantity for every entry of every tensor; what it is, a subclass says.

The quantity is a sum of unknowns (:data:`~torch_bridge.linear_relations.Terms`). Operations that only rearrange entries are
applied to the unknowns themselves. An operation without a rule makes the quantities of all its inputs vanish, so one that
nobody thought of costs a claim and never makes one.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, fx

from torch_bridge.graph import Graph, Shape, arguments, is_tensor, is_view, looks_at_shape, mutated, operation, shape
from torch_bridge.linear_relations import Relations, Terms

Value = Any
"""Terms of a tensor, or a list of them where an operation returns several; ``()`` where nothing moves."""

RESHAPES = {"view", "_unsafe_view", "reshape", "flatten", "unflatten", "squeeze", "unsqueeze", "view_as"}
IDENTITIES = {"contiguous", "clone", "alias", "to", "_to_copy", "type_as", "lift_fresh", "lift_fresh_copy"}
PARTS = {"select", "slice", "narrow", "split", "split_with_sizes", "chunk", "unbind", "index_select", "unfold"}
COPIES = {"expand", "expand_as", "repeat", "repeat_interleave", "tile"}
ORDERS = {"transpose", "permute", "t", "numpy_T", "mT", "movedim", "swapaxes", "swapdims", "roll", "flip"}
REARRANGEMENTS = PARTS | COPIES | ORDERS
TRANSPOSITIONS = {"t", "transpose", "permute", "numpy_T", "swapaxes", "swapdims", "mT"}
MAY_ALIAS = {"dropout", "feature_dropout", "getitem", "to"}
"""Operations that may return their argument itself, which their schema does not say."""


@dataclass(frozen=True, eq=False)
class Use:
    """Entries of a parameter that move by ``coefficient`` times an unknown, one unknown for each slice.

    Slices are those of ``parameter.reshape(view)`` along ``axes``, in row-major order.
    """

    parameter: str
    view: Shape
    axes: tuple[int, ...]
    coefficient: Any
    unknowns: Tensor


@dataclass(frozen=True)
class Matrix:
    """A parameter as a matrix that one operation multiplies by: which of its axes are summed over, and which written."""

    name: str
    shape: Shape
    out_axis: int
    in_axis: int


class Flow:
    """The walk, and the rules that do not depend on the quantity."""

    RULES: ClassVar[dict[str, Callable[..., Value]]] = {}
    """ATen name -> rule, called with the flow, the node, and the operation's arguments by name."""

    def __init__(self, graph: Graph) -> None:
        self.graph, self.relations = graph, Relations()
        self.uses: list[Use] = []
        self.halted: list[str] = []
        self._values: dict[fx.Node, Value] = {}
        self._position = {node: k for k, node in enumerate(graph.nodes)}
        self._base: dict[fx.Node, fx.Node] = {}

    def run(self) -> None:
        for node in self.graph.nodes:
            if node.op == "output":
                self.leave(node, [n for n in node.all_input_nodes if is_tensor(n)])
            elif node.op == "call_function" and not looks_at_shape(node) and not self._is_lazy(node):
                self._remember_base(node)
                self._values[node] = self._spoiled(node) if self._is_overwriting(node) else self._applied(node)
        for name, places in self.graph.tied.items():
            self._tie(name, places)

    def _tie(self, name: str, places: list[str]) -> None:
        """A parameter moves as one, wherever it is read: what it may do at all of its places is said of the first."""
        whole = tuple(self.graph.model.get_parameter(name).shape)
        uses = {place: [use for use in self.uses if use.parameter == place] for place in places}
        self.uses = [use for use in self.uses if use.parameter not in places[1:]]
        why = f"{name} is used at {len(places)} places of the network, which do not let it move alike"
        if any(use.view != whole or len(use.axes) > 1 for found in uses.values() for use in found):
            for use in (use for found in uses.values() for use in found):
                self.relations.vanish(((1, use.unknowns),), why)
            return
        for place in places[1:]:
            self._equate(uses[places[0]], uses[place], why)

    def _equate(self, one: list[Use], other: list[Use], why: str) -> None:
        """Both sums over uses are the same tensor: u_i + v_j + ... along its axes."""
        signed = [*((use.coefficient, use) for use in one), *((-use.coefficient, use) for use in other)]
        for axis in {use.axes[0] for _, use in signed}:
            self.relations.constant(tuple((c, use.unknowns) for c, use in signed if use.axes[0] == axis), [0])
        self.relations.vanish(tuple((c, use.unknowns[:1]) for c, use in signed), why)

    def leave(self, node: fx.Node, outputs: list[fx.Node]) -> None:
        """What the loss demands of the network's outputs."""
        raise NotImplementedError

    def raw(self, node: fx.Node, name: str) -> Terms:
        """The quantity of a parameter that is used as a tensor like any other."""
        raise NotImplementedError

    def value(self, node: object) -> Terms:
        """The terms of a tensor, of the shape of ``node``; nothing for a number."""
        if not isinstance(node, fx.Node):
            return ()
        if node not in self._values:
            name = self.graph.free(node)
            self._values[node] = self.raw(node, name) if name else self._applied(node) if self._is_lazy(node) else ()
        return self._values[node]

    def expanded(self, node: object, to: Shape) -> Terms:
        return tuple((c, t.expand(to)) for c, t in self.value(node))

    def aligned(self, vector: object, axis: int, node: fx.Node) -> Terms:
        """The terms of a vector along one axis of what it is added to."""
        return tuple((c, lined_up(t, axis, shape(node))) for c, t in self.value(vector))

    def matrix(self, node: object) -> Matrix | None:
        """The free parameter that ``node`` is, perhaps transposed, for use as the factor ``(out, in)`` of one product."""
        if not is_tensor(node) or len(shape(node)) != 2:  # type: ignore[arg-type]
            return None
        axes, at = (0, 1), node
        while self._is_lazy(at) and len(at.users) == 1:  # type: ignore[union-attr]
            axes, at = axes[::-1], at.args[0]  # type: ignore[union-attr]
        name = self.graph.free(at)
        if name is None or at in self._values or len(shape(at)) != 2:  # type: ignore[arg-type]
            return None
        return Matrix(name, shape(at), *axes)  # type: ignore[arg-type]

    def _is_lazy(self, node: object) -> bool:
        """Whether ``node`` is a parameter transposed, which a product may read as it is."""
        if not isinstance(node, fx.Node) or node.op != "call_function" or operation(node) not in TRANSPOSITIONS:
            return False
        source = node.args[0]
        return self.graph.free(source) is not None or self._is_lazy(source)

    def _applied(self, node: fx.Node) -> Value:
        name = operation(node)
        if name in self.RULES:
            return self.RULES[name](self, node, **arguments(node))
        if name == "getitem" and node.target is operator.getitem:
            values: Any = self.value(node.args[0])
            index: Any = node.args[1]
            return values[index] if isinstance(values, list) else ()
        if name in IDENTITIES:
            return self.value(node.args[0])
        if name in RESHAPES:
            return tuple((c, t.reshape(shape(node))) for c, t in self.value(node.args[0]))
        if name in REARRANGEMENTS:
            return self._rearranged(node)
        if name in ("cat", "stack", "concat", "hstack", "vstack"):
            return self._joined(node)
        return self.unknown(node)

    def _rearranged(self, node: fx.Node) -> Value:
        if any(is_tensor(a) for a in (*node.args[1:], *node.kwargs.values())):
            return self.unknown(node)
        made = [(c, node.target(t, *node.args[1:], **node.kwargs)) for c, t in self.value(node.args[0])]  # type: ignore[operator]
        if isinstance(node.meta["val"], Tensor):
            return tuple(made)
        return [tuple((c, parts[k]) for c, parts in made) for k in range(len(node.meta["val"]))]

    def _joined(self, node: fx.Node) -> Terms:
        """Unknowns of one coefficient are joined to one tensor; an input that lacks it contributes zeros."""
        inputs: Any = node.args[0]
        found = [self.value(i) for i in inputs]
        terms = []
        for c in dict.fromkeys(c for value in found for c, _ in value):
            columns = [[t for d, t in value if d == c] for value in found]
            for k in range(max(map(len, columns))):
                parts = [
                    col[k] if k < len(col) else torch.zeros(()).long().expand(shape(i))
                    for col, i in zip(columns, inputs, strict=True)
                ]
                terms.append((c, node.target(parts, *node.args[1:], **node.kwargs)))  # type: ignore[operator]
        return tuple(terms)

    def unknown(self, node: fx.Node, why: str | None = None) -> Value:
        """Nothing is known of the operation: its inputs may not move, and its output does not."""
        for source in node.all_input_nodes:
            self.stop(source, why or f"its output reaches {self.graph.describe(node)}, {self.EXPECTED}")
            if (name := self.graph.free(source)) and self._values[source] == ():
                self.halted.append(f"{name}: no rule for {self.graph.describe(node)}, so nothing is claimed for it")
        return ()

    EXPECTED: ClassVar[str] = "for which there is no rule"

    def stop(self, node: fx.Node, why: str) -> None:
        """The quantity vanishes at ``node``."""
        if self.graph.free(node) and node not in self._values:
            self._values[node] = ()
            return
        value: Value = self.value(node)
        for terms in value if isinstance(value, list) else [value]:
            self.relations.vanish(terms, why)

    # Writing in place

    def _remember_base(self, node: fx.Node) -> None:
        """Which tensor's memory ``node`` shares, or may."""
        source = mutated(node) or (node.args[0] if is_view(node) or operation(node) in MAY_ALIAS else None)
        if isinstance(source, fx.Node):
            self._base[node] = self._base.get(source, source)

    def _is_overwriting(self, node: fx.Node) -> bool:
        """Whether ``node`` writes into memory that is read later under another name."""
        target = mutated(node)
        if target is None:
            return False
        return any(
            self._position[user] > self._position[node]
            for alias in self._aliases(target)
            for user in alias.users
            if alias is not node
        )

    def _aliases(self, node: fx.Node) -> list[fx.Node]:
        base = self._base.get(node, node)
        return [base, *(other for other, root in self._base.items() if root is base)]

    def _spoiled(self, node: fx.Node) -> Value:
        target: Any = mutated(node)
        self.unknown(node)
        for alias in self._aliases(target):
            self.stop(alias, f"its output is written into by {self.graph.describe(node)}")
        return ()


def expand(terms: Terms, to: Shape) -> Terms:
    """Terms repeated as broadcasting does."""
    return tuple((c, t.expand(to)) for c, t in terms)


def lined_up(unknowns: Tensor, axis: int, to: Shape) -> Tensor:
    """``unknowns``, shape ``(n,)``, along one axis of a tensor of shape ``to``."""
    return unknowns.reshape([-1 if k == axis % len(to) else 1 for k in range(len(to))]).expand(to)


def dropped(terms: Terms, axes: Iterable[int], to: Shape) -> Terms:
    """Terms that are constant along ``axes``, in a tensor of shape ``to`` of as many axes."""
    for axis in axes:
        terms = tuple((c, t.narrow(axis, 0, 1)) for c, t in terms)
    return expand(terms, to)


def reduced_axes(dim: Any, of: Shape) -> list[int]:
    """Axes that a reduction with the argument ``dim`` sums over."""
    dims = range(len(of)) if dim is None or dim == [] else [dim] if isinstance(dim, int) else dim
    return sorted(d % len(of) for d in dims)


def kept(node: fx.Node, terms: Terms, axes: list[int]) -> Terms:
    """What a reduction over ``axes`` leaves of terms that are constant along them."""
    for axis in reversed(axes):
        terms = tuple((c, t.select(axis, 0)) for c, t in terms)
    return tuple((c, t.reshape(shape(node))) for c, t in terms)
