"""What layers demand of exponents: linear maps and convolutions, tables, normalisations, attention.

The rules of :class:`torch_bridge.exponents.Exponents`, by the names of ATen's arguments.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, fx

from torch_bridge.flow import Matrix, Use, Value, dropped, expand, lined_up
from torch_bridge.graph import Shape, shape
from torch_bridge.linear_relations import Terms, varies

if TYPE_CHECKING:
    from torch_bridge.exponents import Exponents

# Linear maps


def linear(flow: Exponents, node: fx.Node, input: fx.Node, weight: fx.Node, bias: fx.Node | None = None) -> Terms:
    """``x @ W.T + b``: what scales with its inputs is read, and channels of its own are written."""
    return flow.biased(node, product(flow, node, input, weight, transposed=True), bias, len(shape(node)) - 1)


def addmm(flow: Exponents, node: fx.Node, self: fx.Node, mat1: fx.Node, mat2: fx.Node, **scales: Any) -> Terms:
    """``x @ W + b`` (Hugging Face's Conv1D)."""
    return flow.biased(node, product(flow, node, mat1, mat2), self, 1)


def matmul(flow: Exponents, node: fx.Node, self: fx.Node, other: Any = None, mat2: Any = None, **options: Any) -> Value:
    """A product of two tensors, or of a tensor with a parameter."""
    right = other if other is not None else mat2
    if min(len(shape(self)), len(shape(right))) < 2:
        return flow.unknown(node)
    return product(flow, node, self, right)


def product(flow: Exponents, node: fx.Node, left: fx.Node, right: fx.Node, *, transposed: bool = False) -> Terms:
    """``left @ right``, or ``left @ right.T``."""
    matrix = flow.matrix(right)
    if matrix is None:
        y = tuple((c, t.mT) for c, t in flow.value(right)) if transposed else flow.value(right)
        of = shape(right)
        return contracted(flow, node, flow.value(left), y, shape(left), (*of[:-2], of[-1], of[-2]) if transposed else of)
    if (factor := flow.matrix(left)) is not None:
        return _product_of_parameters(flow, node, factor, matrix, transposed)
    out, inner = (matrix.out_axis, matrix.in_axis) if transposed else (matrix.in_axis, matrix.out_axis)
    passing = flow.read(flow.value(left), len(shape(left)) - 1, matrix.name, matrix.shape, (inner,))
    written = _rows(flow, matrix, out)
    return (*dropped(passing, [len(shape(left)) - 1], shape(node)), (1, lined_up(written, -1, shape(node))))


def _product_of_parameters(flow: Exponents, node: fx.Node, left: Matrix, right: Matrix, transposed: bool) -> Terms:
    """Two factors of a weight: the axis between them is free; the scale of all may be given to either, here to the right."""
    out, inner = (right.out_axis, right.in_axis) if transposed else (right.in_axis, right.out_axis)
    between = flow.relations.fresh(left.shape[left.in_axis])
    flow.uses.append(Use(left.name, left.shape, (left.in_axis,), 1, between))
    flow.uses.append(Use(right.name, right.shape, (inner,), -1, between))
    flow.mixed.append(between[None])
    rows, columns = _rows(flow, left, left.out_axis), _rows(flow, right, out)
    flow.relations.vanish(((1, rows[0]),))
    return ((1, lined_up(rows, -2, shape(node))), (1, lined_up(columns, -1, shape(node))))


def _rows(flow: Exponents, matrix: Matrix, axis: int) -> Tensor:
    unknowns = flow.relations.fresh(matrix.shape[axis])
    flow.uses.append(Use(matrix.name, matrix.shape, (axis,), 1, unknowns))
    flow.writers.append((matrix.name, unknowns))
    return unknowns


def contracted(flow: Exponents, node: fx.Node, x: Terms, y: Terms, of_x: Shape, of_y: Shape) -> Terms:
    """``x @ y`` of tensors: the sum of their exponents must be the same all along the axis that is summed over."""
    batch, (rows, columns), inner = shape(node)[:-2], shape(node)[-2:], of_x[-1]
    xs, ys = expand(x, (*batch, rows, inner)), expand(y, (*batch, inner, columns))
    x_in, x_on = _split(xs, -1)
    y_in, y_on = _split(ys, -2)
    flow.relations.constant(x_in, [len(batch)])
    flow.relations.constant(y_in, [len(batch) + 1])
    summed = (*((c, t[..., 0, :]) for c, t in x_in), *((c, t[..., :, 0]) for c, t in y_in))
    flow.relations.constant(summed, [len(batch)])
    _note(flow, x_in, y_in, x_on, y_on)
    common = tuple((c, t[..., 0, None, None].expand(shape(node))) for c, t in summed)
    x_out = tuple((c, t[..., :, :1].expand(shape(node))) for c, t in x_on)
    return (*x_out, *((c, t[..., :1, :].expand(shape(node))) for c, t in y_on), *common)


def _split(terms: Terms, axis: int) -> tuple[Terms, Terms]:
    """The terms that vary along ``axis``, and those that do not."""
    return tuple(t for t in terms if varies(t[1], axis)), tuple(t for t in terms if not varies(t[1], axis))


def _note(flow: Exponents, x_in: Terms, y_in: Terms, x_on: Terms, y_on: Terms) -> None:
    """What a contraction does to channels: sums over both factors' as wholes, and carries the others as they are."""
    if bool(x_in) == bool(y_in) and not (x_in and x_on) and not (y_in and y_on):
        for terms, axis in ((x_in, -1), (y_in, -2), (x_on, -2), (y_on, -1)):
            if terms:
                flow.as_a_whole(terms, axis)
    else:
        flow.one_by_one((*x_in, *y_in, *x_on, *y_on))


def convolution(
    flow: Exponents, node: fx.Node, input: fx.Node, weight: fx.Node, bias: Any = None, groups: int = 1, **at: Any
) -> Value:
    """Channels along axis 1; the pixels of one channel scale as one."""
    if len(shape(input)) != len(shape(weight)):
        return flow.unknown(node)
    x, name = flow.value(input), flow.graph.free(weight)
    flow.relations.constant(x, range(2, len(shape(node))))
    if name is None or weight in flow._values:
        return _computed_convolution(flow, node, x, weight, bias)
    out, fan_in, *kernel = shape(weight)
    view, axes = ((out, fan_in, *kernel), (1,)) if groups == 1 else ((groups, out // groups, fan_in, *kernel), (0, 2))
    passing = flow.read(x, 1, name, view, axes)
    written = flow.write(node, [name], out)
    terms = (*dropped(passing, range(1, len(shape(node))), shape(node)), (1, lined_up(written, 1, shape(node))))
    return flow.biased(node, terms, bias, 1)


def _computed_convolution(flow: Exponents, node: fx.Node, x: Terms, weight: fx.Node, bias: Any) -> Terms:
    """By weights that are frozen, shared or computed: only their output channels, and all inputs at once, may scale."""
    w = flow.value(weight)
    flow.relations.constant(flow.one_by_one(x), [1])
    flow.relations.constant(flow.one_by_one(w), range(1, len(shape(weight))))
    rows = tuple((c, lined_up(t.reshape(t.shape[0], -1)[:, 0], 1, shape(node))) for c, t in w)
    return flow.biased(node, (*dropped(x, range(1, len(shape(node))), shape(node)), *rows), bias, 1)


def embedding(
    flow: Exponents, node: fx.Node, weight: fx.Node, indices: fx.Node, padding_idx: int = -1, **options: Any
) -> Terms:
    """A row of a table for every index: all rows scale alike, feature by feature."""
    name = flow.graph.free(weight)
    if name is None or weight in flow._values or padding_idx >= 0 or any(options.values()):
        return ()
    unknowns = flow.relations.fresh(shape(weight)[1])
    flow.uses.append(Use(name, shape(weight), (1,), 1, unknowns))
    flow.writers.append((name, unknowns))
    return ((1, lined_up(unknowns, -1, shape(node))),)


# Normalisations


def batch_norm(
    flow: Exponents, node: fx.Node, input: fx.Node, weight: Any = None, bias: Any = None, **options: Any
) -> Terms:
    """Batch or instance normalisation: by the batch's statistics, or in eval mode by stored ones."""
    if not options.get("training", options.get("use_input_stats")):
        flow.stop(input, f"{flow.graph.describe(node)} uses stored statistics, being in eval mode; call model.train()")
        return affine(flow, node, weight, bias, 1)
    pixels = range(2, len(shape(node)))
    return normalised(flow, node, input, [0, *pixels] if "training" in options else list(pixels), weight, bias, 1)


def layer_norm(
    flow: Exponents,
    node: fx.Node,
    input: fx.Node,
    normalized_shape: list[int],
    weight: Any = None,
    bias: Any = None,
    **_: Any,
) -> Terms:
    """LayerNorm and RMSNorm: over the last axes."""
    last = len(shape(node)) - len(normalized_shape)
    return normalised(flow, node, input, list(range(last, len(shape(node)))), weight, bias, len(shape(node)) - 1)


def group_norm(
    flow: Exponents, node: fx.Node, input: fx.Node, num_groups: int, weight: Any = None, bias: Any = None, **_: Any
) -> Terms:
    """Over the pixels of a group of channels."""
    samples, channels, *pixels = shape(node)
    apart = (samples, num_groups, channels // num_groups, *pixels)
    grouped = tuple((c, t.reshape(apart)) for c, t in flow.one_by_one(flow.value(input)))
    flow.relations.constant(grouped, range(2, len(apart)))
    return affine(flow, node, weight, bias, 1)


def normalised(flow: Exponents, node: fx.Node, x: fx.Node, over: list[int], weight: Any, bias: Any, axis: int) -> Terms:
    """Divided by its own size over some axes, where it must scale as one; what it scaled by is gone."""
    flow.relations.constant(flow.one_by_one(flow.value(x)), over)
    return affine(flow, node, weight, bias, axis)


def affine(flow: Exponents, node: fx.Node, weight: Any, bias: Any, axis: int) -> Terms:
    """The gain and offset of a normalisation write channels, if both are free."""
    given = [n for n in (weight, bias) if n is not None]
    names = [flow.graph.free(n) for n in given]
    one_axis = all(len(shape(n)) == 1 for n in given)
    if weight is None or None in names or not one_axis or any(n in flow._values for n in given):
        return ()
    return flow.one_by_one(((1, lined_up(flow.write(node, names, shape(weight)[0]), axis, shape(node))),))


def weight_norm(flow: Exponents, node: fx.Node, v: fx.Node, g: fx.Node, dim: int = 0) -> Value:
    """g·v/|v|: the size of each of v's slices is gone."""
    if dim < 0:
        return flow.unknown(node)
    if (name := flow.graph.free(v)) and v not in flow._values:
        flow.uses.append(Use(name, shape(v), (dim,), 1, flow.relations.fresh(shape(v)[dim])))
        return flow.one_by_one(expand(flow.value(g), shape(node)))
    flow.relations.constant(flow.one_by_one(flow.value(v)), [k for k in range(len(shape(v))) if k != dim])
    return flow.one_by_one(expand(flow.value(g), shape(node)))


# Attention


def attention(flow: Exponents, node: fx.Node, query: fx.Node, key: fx.Node, value: fx.Node, attn_mask: Any = None,
              scale: Any = None, enable_gqa: bool = False, **options: Any) -> Terms:  # fmt: skip
    """softmax(QKᵀ)V: the scores may not scale, V may, feature by feature alike for all tokens."""
    q, k, v = (flow.value(n) for n in (query, key, value))
    of_k, of_v = shape(key), shape(value)
    if enable_gqa:
        (k, of_k), (v, of_v) = (_repeated(t, of, shape(query)[-3]) for t, of in ((k, of_k), (v, of_v)))
    scores: Any = _Scores((*shape(query)[:-1], of_k[-2]))
    s = contracted(flow, scores, q, tuple((c, t.mT) for c, t in k), shape(query), (*of_k[:-2], of_k[-1], of_k[-2]))
    flow.relations.vanish(s, f"its output reaches the softmax of {flow.graph.describe(node)}")
    return contracted(flow, node, (), v, scores.shape, of_v)


class _Scores:
    """Stands for the node of attention's scores, which the graph does not show."""

    def __init__(self, of: Shape) -> None:
        self.shape = of
        self.meta = {"val": torch.empty(of, device="meta")}


def _repeated(terms: Terms, of: Shape, heads: int) -> tuple[Terms, Shape]:
    times = heads // of[-3]
    return tuple((c, t.repeat_interleave(times, -3)) for c, t in terms), (*of[:-3], heads, *of[-2:])


RULES = (
    dict.fromkeys(["conv1d", "conv2d", "conv3d", "convolution"], convolution)
    | dict.fromkeys(["matmul", "mm", "bmm"], matmul)
    | dict.fromkeys(["batch_norm", "instance_norm"], batch_norm)
    | dict.fromkeys(["layer_norm", "rms_norm"], layer_norm)
    | {"linear": linear, "addmm": addmm, "embedding": embedding, "group_norm": group_norm, "_weight_norm": weight_norm}
    | {"scaled_dot_product_attention": attention}
)
"""ATen name -> rule."""
