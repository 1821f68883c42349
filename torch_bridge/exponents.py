"""How a network's tensors scale: exponents of s in every entry, under rescalings that leave the loss alone.

If the parameters are multiplied by powers of one s > 0, an entry of a tensor is multiplied by s to its *exponent*, or the
family is not followed. Each operation demands something of the exponents of its inputs: a sum needs equal ones, a
normalisation by the tensor's own statistics needs a common one and takes it away, a nonlinearity without degree needs 0.
The exponents that the equations leave free are the scale and rescale symmetries (Kunin et al. 2021, section 3).

Where channels are only ever mixed linearly, more than their scale is free: :attr:`Exponents.mixed` and
:attr:`Exponents.diagonal` remember which were.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, fx

from torch_bridge import exponent_functions, exponent_layers
from torch_bridge.flow import PARTS, Flow, Use, Value, lined_up
from torch_bridge.graph import Graph, Shape, operation, shape
from torch_bridge.linear_relations import Terms, collapsed, minus, unknowns_in, varies

LEAVES = "its output leaves the network"


class Exponents(Flow):
    """Exponents of every tensor.

    Attributes
    ----------
    mixed
        Rows of unknowns, each a whole axis that a linear map acts on.
    parts
        Unknowns of tensors that were taken out of larger ones.
    diagonal
        Unknowns of channels that something acts on one by one.
    writers
        ``(parameter, unknowns of the channels that it writes)``, to say of those that turn out fixed why.
    """

    EXPECTED = "not known to be homogeneous channel by channel"

    def __init__(self, graph: Graph) -> None:
        super().__init__(graph)
        self.mixed: list[Tensor] = []
        self.parts: list[frozenset[int]] = []
        self.diagonal: list[Tensor] = []
        self.writers: list[tuple[str, Tensor]] = []

    def leave(self, node: fx.Node, outputs: list[fx.Node]) -> None:
        for output in outputs:
            self.stop(output, LEAVES)

    def raw(self, node: fx.Node, name: str) -> Terms:
        """An unknown for each index of each axis; but on the last fixed to 0 at its first index, lest two be the same."""
        of, terms = shape(node), []
        wide = [axis for axis, n in enumerate(of) if n > 1] or [0]
        for axis in wide:
            n = of[axis] if of else 1
            unknowns = self.relations.fresh(n)
            unknowns[0] = unknowns[0] if axis == wide[-1] else 0
            self.uses.append(Use(name, of or (1,), (axis,), 1, unknowns))
            self.writers.append((name, unknowns))
            terms.append((1, lined_up(unknowns, axis, of) if of else unknowns.reshape(())))
        return tuple(terms)

    def _rearranged(self, node: fx.Node) -> Value:
        value = super()._rearranged(node)
        if operation(node) in PARTS:
            found = value if isinstance(value, list) else [value]
            self.parts.extend(unknowns_in(t for _, t in terms) for terms in found if terms)
        return value

    def _tie(self, name: str, places: list[str]) -> None:
        """What is tied is not claimed to be mixed."""
        self.diagonal.extend(use.unknowns for use in self.uses if use.parameter in places)
        super()._tie(name, places)

    def one_by_one(self, terms: Terms) -> Terms:
        """Something acts on every channel by itself."""
        self.diagonal.extend(collapsed([t])[0] for _, t in terms)
        return terms

    def as_a_whole(self, terms: Terms, axis: int) -> None:
        """A linear map acts along ``axis``."""
        if len(terms) == 1 and abs(terms[0][0]) == 1 and varies(terms[0][1], axis):
            self.mixed.append(collapsed([terms[0][1].movedim(axis, -1)])[0].reshape(-1, terms[0][1].shape[axis]))
        else:
            self.one_by_one(terms)

    def write(self, node: fx.Node, names: list[str | None], count: int, view: Shape | None = None) -> Tensor:
        """New channels, written by the first axis of all the parameters ``names``."""
        unknowns = self.relations.fresh(count)
        for name in filter(None, names):
            of = self.graph.shape_at(name)
            self.uses.append(Use(name, of, (0,), 1, unknowns))
        self.writers.append((next(filter(None, names)), unknowns))
        return unknowns

    def read(self, x: Terms, axis: int, weight: str, view: Shape, axes: tuple[int, ...]) -> Terms:
        """A layer reads channels along ``axis`` of ``x`` by slices of its weight; what is the same for all passes on."""
        passing = tuple(term for term in x if not varies(term[1], axis))
        channels = tuple(term for term in x if varies(term[1], axis))
        others = [k for k in range(x[0][1].dim()) if k != axis] if x else []
        self.relations.constant(channels, others)
        for c, t in channels:
            row = t.movedim(axis, 0).reshape(t.shape[axis], -1)[:, 0]
            self.uses.append(Use(weight, view, axes, -c, row))
        if passing or len(axes) > 1:
            self.one_by_one(x)
        else:
            self.as_a_whole(channels, axis)
        return passing

    def biased(self, node: fx.Node, terms: Terms, bias: object, axis: int) -> Terms:
        """Add a bias along ``axis``: it scales as what it is added to, which must then be the same everywhere."""
        if bias is None:
            return terms
        others = [k for k in range(len(shape(node))) if k != axis]
        name = self.graph.free(bias)
        if name is None or bias in self._values:
            return self.added(terms, self.aligned(bias, axis, node), self._constant(bias))
        self.relations.constant(terms, others)
        for c, t in terms:
            row = t.movedim(axis, 0).reshape(t.shape[axis], -1)[:, 0]
            self.uses.append(Use(name, (t.shape[axis],), (0,), c, row))
        return terms

    def added(self, x: Terms, y: Terms, why: str) -> Terms:
        """The sum of two tensors, which must have the same exponents."""
        self.relations.vanish((*x, *minus(y)), why if not (x and y) else None)
        return x if y else ()

    def _constant(self, node: Any) -> str:
        name = self.graph.parameters.get(node)
        obstacle = self.graph.obstacle(name) if name else None
        return obstacle or "a constant is added to its output"


Exponents.RULES = exponent_layers.RULES | exponent_functions.RULES
"""What is known of an operation; any other is taken to be of no degree."""
