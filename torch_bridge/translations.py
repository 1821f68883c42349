"""How far a network's tensors move: under translations of its parameters that leave the loss alone.

If parameters are translated, an entry of a tensor moves by an amount that is an unknown of the parameter, as long as only
sums and rearrangements are met. A linear map makes of it an *opaque* amount, of which only is known where it is the same.
What a normalisation subtracts, or a softmax does not see, is an amount that is the same all along some axes; it is gone
afterwards. Anything else may not move (Kunin et al. 2021, section 3, and for biases before a norm beyond it).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from math import prod
from typing import Any

import torch
from torch import Tensor, fx

from torch_bridge.flow import Flow, Use, Value, dropped, kept, lined_up, reduced_axes
from torch_bridge.graph import Graph, Shape, operation, shape
from torch_bridge.linear_relations import Terms, collapsed, has_opaque, minus

HIDDEN = -1e4
"""A score at or below this is not seen by a softmax, wherever else the scores may move."""


class Translations(Flow):
    """Displacements of every tensor.

    Parameters
    ----------
    unseen
        The axes of the network's only output along which a common displacement does not change the loss.
    """

    def __init__(self, graph: Graph, unseen: Iterable[int] = ()) -> None:
        super().__init__(graph)
        self.unseen = tuple(unseen)

    def leave(self, node: fx.Node, outputs: list[fx.Node]) -> None:
        if len(outputs) == 1 and self.unseen:
            self.relations.constant(self.value(outputs[0]), self.unseen)
        else:
            for output in outputs:
                self.stop(output, "its output leaves the network")

    def raw(self, node: fx.Node, name: str) -> Terms:
        of, terms = shape(node), []
        for axis in [axis for axis, n in enumerate(of) if n > 1] or [0]:
            unknowns = self._moved(name, of or (1,), axis)
            terms.append((1, lined_up(unknowns, axis, of) if of else unknowns.reshape(())))
        return tuple(terms)

    def _moved(self, name: str, view: Shape, axis: int) -> Tensor:
        """One unknown for each slice of a parameter along ``axis``."""
        unknowns = self.relations.fresh(view[axis])
        self.uses.append(Use(name, view, (axis,), 1, unknowns))
        return unknowns

    def offset(self, node: fx.Node, bias: object, axis: int) -> Terms:
        """A bias along ``axis``."""
        if bias is None:
            return ()
        name = self.graph.free(bias)
        if name is None or bias in self._values:
            return self.aligned(bias, axis, node)
        return ((1, lined_up(self._moved(name, shape(bias), 0), axis, shape(node))),)  # type: ignore[arg-type]

    def as_one(self, terms: Terms) -> Terms:
        """The same with one unknown in place of a sum, so that what is made of it vanishes with the sum, not its parts."""
        plain = tuple((c, t) for c, t in terms if not has_opaque(t))
        if len(plain) < 2:
            return terms
        small = collapsed([t for _, t in plain])
        columns, which = torch.stack([t.reshape(-1) for t in small], 1).unique(dim=0, return_inverse=True)
        sums = self.relations.fresh(len(columns))
        parts = tuple((c, columns[:, k]) for k, (c, _) in enumerate(plain))
        self.relations.vanish((*parts, (-1, sums)))
        total = sums[which].reshape(small[0].shape).expand(plain[0][1].shape)
        return ((1, total), *((c, t) for c, t in terms if has_opaque(t)))

    def columns(self, node: fx.Node, name: str, view: Shape, axis: int, out: int) -> Terms:
        """The same added to all rows of a weight: the outputs move by something of their own at each place, all alike."""
        moved = self._moved(name, view, axis)
        places = [1 if k == out % len(shape(node)) else n for k, n in enumerate(shape(node))]
        amounts = self.relations.opaque(prod(places), [moved])
        return ((1, amounts.reshape(places).expand(shape(node))),)

    def mapped(self, node: fx.Node, terms: Terms, axis: int, out: int) -> Terms:
        """A linear map along ``axis`` of a tensor: where all that goes in is the same, so is what comes out."""
        return tuple((1, self._mapped(node, t, axis, out)) for _, t in self.as_one(terms))

    def _mapped(self, node: fx.Node, moved: Tensor, axis: int, out: int) -> Tensor:
        (small,) = collapsed([moved])
        rows = small.movedim(axis, -1)
        distinct, which = rows.reshape(-1, rows.shape[-1]).unique(dim=0, return_inverse=True)
        width = shape(node)[out]
        amounts = self.relations.opaque(len(distinct) * width, [small]).reshape(len(distinct), width)[which]
        return amounts.reshape(*rows.shape[:-1], width).movedim(-1, out).expand(shape(node))

    def product(self, node: fx.Node, x: Terms, y: Terms) -> Terms:
        """``x @ y`` of tensors of which only one may move."""
        if x and y:
            self.relations.never_both([t for _, t in x], [t for _, t in y])
        batch, (rows, columns) = shape(node)[:-2], shape(node)[-2:]
        left = [self._one_sided(t.expand(*batch, *t.shape[-2:]), columns) for _, t in x]
        right = [self._one_sided(t.expand(*batch, *t.shape[-2:]).mT, rows).mT for _, t in y]
        return tuple((1, t) for t in (*left, *right))

    def _one_sided(self, moved: Tensor, width: int) -> Tensor:
        """What ``moved @ data`` moves by, shape ``(*batch, rows, width)``: data differ in each batch and column."""
        *batch, rows, inner = moved.shape
        place = torch.arange(prod(batch), device="cpu").reshape(*batch, 1, 1).expand(*batch, rows, 1)
        keys = torch.cat([place, moved], -1).reshape(-1, inner + 1)
        distinct, which = keys.unique(dim=0, return_inverse=True)
        amounts = self.relations.opaque(len(distinct) * width, [moved]).reshape(len(distinct), width)[which]
        return amounts.reshape(*batch, rows, width)


# Layers


def linear(flow: Translations, node: fx.Node, input: fx.Node, weight: fx.Node, bias: Any = None) -> Terms:
    """``x @ W.T + b``."""
    return (*_multiplied(flow, node, input, weight, transposed=True), *flow.offset(node, bias, -1))


def addmm(
    flow: Translations, node: fx.Node, self: fx.Node, mat1: fx.Node, mat2: fx.Node, beta: Any = 1, alpha: Any = 1
) -> Value:
    """``x @ W + b`` (Hugging Face's Conv1D)."""
    if beta != 1:
        return flow.unknown(node)
    return (*_multiplied(flow, node, mat1, mat2), *flow.offset(node, self, -1))


def matmul(flow: Translations, node: fx.Node, self: fx.Node, other: Any = None, mat2: Any = None, **options: Any) -> Value:
    """A product of two tensors, or of a tensor with a parameter."""
    right = other if other is not None else mat2
    if min(len(shape(self)), len(shape(right))) < 2:
        return flow.unknown(node)
    return _multiplied(flow, node, self, right)


def _multiplied(flow: Translations, node: fx.Node, left: fx.Node, right: fx.Node, *, transposed: bool = False) -> Terms:
    matrix = flow.matrix(right)
    x = flow.value(left)
    if matrix is None:
        y = flow.value(right)
        return flow.product(node, x, tuple((c, t.mT) for c, t in y) if transposed else y)
    inner = matrix.in_axis if transposed else matrix.out_axis
    moved = flow.columns(node, matrix.name, matrix.shape, inner, -1)
    if x:
        flow.relations.never_both([t for _, t in x], [t for _, t in moved])
    return (*flow.mapped(node, x, len(shape(left)) - 1, len(shape(node)) - 1), *moved)


def convolution(flow: Translations, node: fx.Node, input: fx.Node, weight: fx.Node, bias: Any = None, **at: Any) -> Value:
    """What comes in may differ from pixel to pixel, and zeros around it, so that only samples are known to be alike."""
    x, name = flow.value(input), flow.graph.free(weight)
    if len(shape(input)) != len(shape(weight)) or (name is None and flow.value(weight)):
        return flow.unknown(node)
    moved: Terms = ()
    if x:
        every = flow.relations.opaque(prod(shape(node)[1:]), [t for _, t in x]).reshape(1, *shape(node)[1:])
        flow.relations.constant(x, [0])
        moved = ((1, every.expand(shape(node))),)
    elif name is not None:
        of = shape(weight)
        moved = flow.columns(node, name, (of[0], prod(of[1:])), 1, 1) if at.get("groups", 1) == 1 else ()
    return (*moved, *flow.offset(node, bias, 1))


def embedding(
    flow: Translations, node: fx.Node, weight: fx.Node, indices: fx.Node, padding_idx: int = -1, **options: Any
) -> Terms:
    """Rows of a table, which may move as a whole, or all by one vector."""
    name = flow.graph.free(weight)
    if name is None or weight in flow._values or padding_idx >= 0 or any(options.values()):
        return ()
    rows = flow.columns(node, name, shape(weight), 0, -1)
    return (*rows, (1, lined_up(flow._moved(name, shape(weight), 1), -1, shape(node))))


# What does not see a common displacement


def batch_norm(
    flow: Translations, node: fx.Node, input: fx.Node, weight: Any = None, bias: Any = None, **options: Any
) -> Terms:
    """What is the same for all samples and pixels of a channel is subtracted."""
    if not options.get("training", options.get("use_input_stats")):
        flow.stop(input, f"{flow.graph.describe(node)} uses stored statistics, being in eval mode; call model.train()")
    else:
        pixels = list(range(2, len(shape(node))))
        flow.relations.constant(flow.value(input), [0, *pixels] if "training" in options else pixels)
    return flow.offset(node, bias, 1)


def layer_norm(
    flow: Translations,
    node: fx.Node,
    input: fx.Node,
    normalized_shape: list[int],
    weight: Any = None,
    bias: Any = None,
    **_: Any,
) -> Terms:
    """What is the same for all features is subtracted."""
    of = shape(node)
    flow.relations.constant(flow.value(input), range(len(of) - len(normalized_shape), len(of)))
    return flow.offset(node, bias, -1) if len(normalized_shape) == 1 else ()


def group_norm(
    flow: Translations, node: fx.Node, input: fx.Node, num_groups: int, weight: Any = None, bias: Any = None, **_: Any
) -> Terms:
    """What is the same for all pixels of a group of channels is subtracted."""
    samples, channels, *pixels = shape(node)
    apart = (samples, num_groups, channels // num_groups, *pixels)
    flow.relations.constant(tuple((c, t.reshape(apart)) for c, t in flow.value(input)), range(2, len(apart)))
    return flow.offset(node, bias, 1)


def softmax(flow: Translations, node: fx.Node, self: fx.Node, dim: int, *_: Any, **__: Any) -> Terms:
    """What is the same all along the axis is not seen."""
    flow.relations.constant(flow.value(self), [dim % len(shape(self))])
    return ()


def cross_entropy(flow: Translations, node: fx.Node, self: fx.Node, target: fx.Node, **_: Any) -> Terms:
    """What is the same for all classes is not seen."""
    flow.relations.constant(flow.value(self), [1 if len(shape(self)) > 1 else 0])
    return ()


def attention(
    flow: Translations, node: fx.Node, query: fx.Node, key: fx.Node, value: fx.Node, enable_gqa: bool = False, **_: Any
) -> Value:
    """softmax(QKᵀ)V: what is the same for all keys is not seen."""
    if enable_gqa:
        return flow.unknown(node)
    scores: Any = _Scores((*shape(query)[:-1], shape(key)[-2]))
    moved = flow.product(scores, flow.value(query), tuple((c, t.mT) for c, t in flow.value(key)))
    flow.relations.constant(moved, [len(scores.shape) - 1])
    return flow.product(node, (), flow.value(value))


class _Scores:
    """Stands for the node of attention's scores, which the graph does not show."""

    def __init__(self, of: Shape) -> None:
        self.shape = of
        self.meta = {"val": torch.empty(of, device="meta")}


# What carries a displacement


def summed(flow: Translations, node: fx.Node, self: Any, other: Any, alpha: Any = 1) -> Value:
    """Displacements add."""
    if alpha != 1:
        return flow.unknown(node)
    x, y = (flow.expanded(side, shape(node)) for side in (self, other))
    return (*x, *(minus(y) if operation(node) == "sub" else y))


def negative(flow: Translations, node: fx.Node, self: fx.Node) -> Terms:
    """-x moves the other way."""
    return minus(flow.value(self))


def scaled(flow: Translations, node: fx.Node, self: Any, other: Any, rounding_mode: Any = None) -> Value:
    """Times or over a number. It may differ from step to step, so that only a displacement as a whole is carried."""
    if not isinstance(other, int | float) or rounding_mode is not None:
        return flow.unknown(node)
    return tuple((1, _renamed(flow, t)) for _, t in flow.value(self))


def _renamed(flow: Translations, moved: Tensor) -> Tensor:
    """Opaque amounts that are the same where ``moved`` is."""
    (small,) = collapsed([moved])
    distinct, which = small.unique(return_inverse=True)
    return flow.relations.opaque(len(distinct), [small])[which].expand(moved.shape)


def dropout(flow: Translations, node: fx.Node, input: fx.Node, p: float, train: bool) -> Value:
    """Carries a displacement only where it does nothing."""
    return flow.unknown(node) if train and p > 0 else flow.value(input)


def masked(flow: Translations, node: fx.Node, self: fx.Node, mask: fx.Node, value: Any) -> Value:
    """Scores that a softmax no longer sees."""
    hidden = isinstance(value, int | float) and value <= HIDDEN
    if not hidden or any(operation(user) != "softmax" for user in node.users):
        return flow.unknown(node)
    return flow.expanded(self, shape(node))


def reduced(
    flow: Translations, node: fx.Node, self: fx.Node, dim: Any = None, keepdim: bool = False, dtype: Any = None
) -> Terms:
    """A mean or maximum of what moves as one."""
    axes = reduced_axes(dim, shape(self))
    flow.relations.constant(flow.value(self), axes)
    return kept(node, flow.value(self), axes)


def pooled(dimensions: int, zeros_around: bool) -> Callable[..., Value]:
    """A mean or maximum over windows of what moves as one there; a mean that counts zeros around it moves by less."""

    def rule(flow: Translations, node: fx.Node, self: fx.Node, padding: Any = 0, **given: Any) -> Value:
        if zeros_around and any(padding if isinstance(padding, list | tuple) else [padding]):
            return flow.unknown(node)
        axes = range(len(shape(node)) - dimensions, len(shape(node)))
        flow.relations.constant(flow.value(self), axes)
        return dropped(flow.value(self), axes, shape(node))

    return rule


Translations.RULES = (
    dict.fromkeys(["conv1d", "conv2d", "conv3d"], convolution)
    | dict.fromkeys(["matmul", "mm", "bmm"], matmul)
    | dict.fromkeys(["mul", "div", "multiply", "divide"], scaled)
    | dict.fromkeys(["mean", "amax", "amin"], reduced)
    | dict.fromkeys(["batch_norm", "instance_norm"], batch_norm)
    | dict.fromkeys(["softmax", "log_softmax", "_softmax", "_log_softmax"], softmax)
    | dict.fromkeys(["add", "sub"], summed)
    | {f"{name}{n}d": pooled(n, zeros) for n in (1, 2, 3) for name, zeros in
       (("max_pool", False), ("avg_pool", True), ("adaptive_avg_pool", False))}
    | {"neg": negative, "linear": linear, "addmm": addmm, "embedding": embedding, "dropout": dropout, "masked_fill": masked}
    | {"layer_norm": layer_norm, "group_norm": group_norm, "scaled_dot_product_attention": attention}
    | {"cross_entropy_loss": cross_entropy}
)  # fmt: skip
"""What is known of an operation; any other lets nothing move that reaches it."""
