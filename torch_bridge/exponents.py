"""How a network's tensors scale: exponents of s in every entry, under rescalings that leave the loss alone.

If the parameters are multiplied by powers of one s > 0, an entry of a tensor is multiplied by s to its *exponent*, or the
family is not followed. Each operation demands something of the exponents of its inputs: a sum needs equal ones, a
normalisation by the tensor's own statistics needs a common one and takes it away, a nonlinearity without degree needs 0.
The exponents that the equations leave free are the scale and rescale symmetries (Kunin et al. 2021, section 3).

Where channels are only ever mixed linearly, more than their scale is free: :attr:`Exponents.mixed` and
:attr:`Exponents.diagonal` remember which were.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from math import inf, prod
from typing import Any

import torch
from torch import Tensor, fx

from torch_bridge.flow import PARTS, Flow, Matrix, Use, Value, dropped, expand, kept, lined_up, reduced_axes
from torch_bridge.graph import Graph, Shape, arguments, is_tensor, operation, shape
from torch_bridge.linear_relations import Terms, collapsed, minus, unknowns_in, varies

LEAVES = "its output leaves the network"

EPS = 1e-4
"""Largest constant under a root mean square that is taken for a guard against division by zero."""


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
            of = tuple(self.graph.model.get_parameter(name).shape)
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
            return added(self, node, terms, self.aligned(bias, axis, node), self._constant(bias))
        self.relations.constant(terms, others)
        for c, t in terms:
            row = t.movedim(axis, 0).reshape(t.shape[axis], -1)[:, 0]
            self.uses.append(Use(name, (t.shape[axis],), (0,), c, row))
        return terms

    def _constant(self, node: Any) -> str:
        name = self.graph.parameters.get(node)
        obstacle = self.graph.obstacle(name) if name else None
        return obstacle or "a constant is added to its output"


# Layers


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
    return _normalised(flow, node, input, [0, *pixels] if "training" in options else list(pixels), weight, bias, 1)


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
    return _normalised(flow, node, input, list(range(last, len(shape(node)))), weight, bias, len(shape(node)) - 1)


def group_norm(
    flow: Exponents, node: fx.Node, input: fx.Node, num_groups: int, weight: Any = None, bias: Any = None, **_: Any
) -> Terms:
    """Over the pixels of a group of channels."""
    samples, channels, *pixels = shape(node)
    apart = (samples, num_groups, channels // num_groups, *pixels)
    grouped = tuple((c, t.reshape(apart)) for c, t in flow.one_by_one(flow.value(input)))
    flow.relations.constant(grouped, range(2, len(apart)))
    return affine(flow, node, weight, bias, 1)


def _normalised(flow: Exponents, node: fx.Node, x: fx.Node, over: list[int], weight: Any, bias: Any, axis: int) -> Terms:
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


# Entry by entry


def homogeneous(flow: Exponents, node: fx.Node, **given: Any) -> Terms:
    """f(s·x) = s·f(x) for s > 0, entry by entry (dropout: for a fixed mask); other arguments do not move."""
    source, *others = [n for n in node.all_input_nodes if is_tensor(n)]
    for other in others:
        flow.stop(other, f"its output reaches {flow.graph.describe(node)} as a parameter of the function")
    return flow.one_by_one(flow.value(source))


def negative(flow: Exponents, node: fx.Node, self: fx.Node) -> Terms:
    """-x scales as x."""
    return flow.value(self)


def clamped(flow: Exponents, node: fx.Node, self: fx.Node, min: Any = None, max: Any = None) -> Value:
    """A clamp at 0 is a ReLU; at any other bound it has no degree."""
    bounds = {min, max} - {None}
    return flow.one_by_one(flow.value(self)) if bounds == {0} else flow.unknown(node)


def power(degree: Fraction | int) -> Callable[..., Terms]:
    """x to a power, entry by entry."""

    def rule(flow: Exponents, node: fx.Node, self: fx.Node) -> Terms:
        return tuple((c * degree, t) for c, t in flow.one_by_one(flow.value(self)))

    return rule


def to_the_power(flow: Exponents, node: fx.Node, self: Any, exponent: Any) -> Value:
    """``torch.pow`` with a number as exponent."""
    if not is_tensor(self) or not isinstance(exponent, int | float):
        return flow.unknown(node)
    return power(Fraction(exponent).limit_denominator(64))(flow, node, self)


def multiplied(flow: Exponents, node: fx.Node, self: Any, other: Any, rounding_mode: Any = None) -> Value:
    """A product or quotient: exponents add, or subtract."""
    if rounding_mode is not None:
        return flow.unknown(node)
    if (axes := _own_size(self, other, operation(node))) is not None:
        return _normalised(flow, node, self, axes, None, None, 1)
    x, y = (flow.expanded(side, shape(node)) for side in (self, other))
    if all(is_tensor(side) and prod(shape(side)) > 1 for side in (self, other)):
        flow.one_by_one((*x, *y))
    return (*x, *(minus(y) if operation(node) == "div" else y))


def summed(flow: Exponents, node: fx.Node, self: Any, other: Any, alpha: Any = 1) -> Value:
    """A sum or difference of tensors, or of a tensor and a number."""
    if _is_guard(flow, node, other):
        return flow.value(self)
    x, y = (flow.expanded(side, shape(node)) for side in (self, other))
    return added(flow, node, x, y, f"its output is added to what does not scale with it, by {flow.graph.describe(node)}")


def added(flow: Exponents, node: fx.Node, x: Terms, y: Terms, why: str) -> Terms:
    """Both must have the same exponents."""
    flow.relations.vanish((*x, *minus(y)), why if not (x and y) else None)
    return x if y else ()


def _own_size(x: Any, size: Any, op: str) -> list[int] | None:
    """The axes over which ``x`` is divided by the root of its own mean square, if that is what is done: RMSNorm by hand."""
    root = {"mul": "rsqrt", "div": "sqrt"}.get(op)
    chain = [size]
    for name in (root, "add", "mean"):
        if not isinstance(chain[-1], fx.Node) or operation(chain[-1]) != name:
            return None
        chain.append(chain[-1].args[0])
    guard, squares = chain[1].args[1], chain[3]
    small = isinstance(guard, float) and 0 <= guard <= EPS
    return reduced_axes(arguments(chain[2]).get("dim"), shape(x)) if small and _square_of(squares) is x else None


def _square_of(node: Any) -> Any:
    """What ``node`` is the square of."""
    if not isinstance(node, fx.Node):
        return None
    square = operation(node) == "square" or (operation(node) == "pow" and node.args[1] == 2)
    return node.args[0] if square else None


def _is_guard(flow: Exponents, node: fx.Node, other: Any) -> bool:
    """Whether a tiny number is added to a mean of squares before its root: the eps of a norm, which is measured apart."""
    source: Any = node.args[0]
    if not (isinstance(other, float) and 0 <= other <= EPS and isinstance(source, fx.Node) and operation(source) == "mean"):
        return False
    return _square_of(source.args[0]) is not None and all(operation(user) in ("rsqrt", "sqrt") for user in node.users)


def chosen(flow: Exponents, node: fx.Node, condition: fx.Node, self: Any, other: Any) -> Terms:
    """torch.where: both sides must scale alike."""
    x, y = (flow.expanded(side, shape(node)) for side in (self, other))
    return flow.one_by_one(added(flow, node, x, y, f"its output reaches {flow.graph.describe(node)}, {flow.EXPECTED}"))


def larger(flow: Exponents, node: fx.Node, self: fx.Node, other: fx.Node) -> Terms:
    """The larger or smaller of two tensors."""
    return chosen(flow, node, node, self, other)


def masked(flow: Exponents, node: fx.Node, self: fx.Node, mask: fx.Node, value: Any) -> Value:
    """Some entries replaced by 0 or infinity, which scale as anything does."""
    return flow.one_by_one(flow.expanded(self, shape(node))) if value in (0, inf, -inf) else flow.unknown(node)


def gated(flow: Exponents, node: fx.Node, self: fx.Node, dim: int = -1) -> Terms:
    """a·σ(b): b may not move."""
    parts = tuple((c, t.chunk(2, dim)) for c, t in flow.value(self))
    flow.relations.vanish(tuple((c, t[1]) for c, t in parts), f"its output reaches the gate of {flow.graph.describe(node)}")
    return flow.one_by_one(tuple((c, t[0]) for c, t in parts))


# Windows and sums


def pooled(dimensions: int) -> Callable[..., Terms]:
    """Over windows of the last axes, or resampled along them, with zeros around: entries of a window must scale as one."""

    def rule(flow: Exponents, node: fx.Node, **given: Any) -> Terms:
        (source,) = [n for n in node.all_input_nodes if is_tensor(n)]
        of = len(shape(node))
        terms = flow.one_by_one(flow.value(source))
        flow.relations.constant(terms, range(of - dimensions, of))
        return dropped(terms, range(of - dimensions, of), shape(node))

    return rule


def padded(
    flow: Exponents, node: fx.Node, self: fx.Node, pad: list[int], mode: str = "constant", value: Any = None
) -> Value:
    """Zeros, or copies of entries, put around."""
    if mode == "constant" and value not in (None, 0):
        return flow.unknown(node)
    return pooled(len(pad) // 2)(flow, node)


def reduced(
    flow: Exponents, node: fx.Node, self: fx.Node, dim: Any = None, keepdim: bool = False, dtype: Any = None
) -> Terms:
    """A sum, mean or maximum over axes along which all scale as one."""
    axes, terms = reduced_axes(dim, shape(self)), flow.value(self)
    if any(varies(t, axis) for _, t in terms for axis in axes):
        flow.one_by_one(terms)
    flow.relations.constant(terms, axes)
    return kept(node, terms, axes)


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


def _dimensional(rule: Callable[[int], Callable[..., Terms]], names: str) -> dict[str, Callable[..., Terms]]:
    return {f"{name}{n}d": rule(n) for name in names.split() for n in (1, 2, 3)}


Exponents.RULES = (
    dict.fromkeys(["relu", "leaky_relu", "abs", "dropout", "feature_dropout", "prelu"], homogeneous)
    | dict.fromkeys(["conv1d", "conv2d", "conv3d", "convolution"], convolution)
    | dict.fromkeys(["matmul", "mm", "bmm"], matmul)
    | dict.fromkeys(["mul", "div", "multiply", "divide"], multiplied)
    | dict.fromkeys(["mean", "sum", "amax", "amin"], reduced)
    | dict.fromkeys(["batch_norm", "instance_norm"], batch_norm)
    | dict.fromkeys(["layer_norm", "rms_norm"], layer_norm)
    | dict.fromkeys(["maximum", "minimum"], larger)
    | dict.fromkeys(["add", "sub"], summed)
    | dict.fromkeys(["clamp", "clamp_min", "clamp_max"], clamped)
    | _dimensional(pooled, "max_pool avg_pool adaptive_avg_pool upsample_nearest")
    | {"neg": negative, "positive": negative, "linear": linear, "addmm": addmm, "embedding": embedding, "pad": padded}
    | {"group_norm": group_norm, "_weight_norm": weight_norm, "scaled_dot_product_attention": attention}
    | {"where": chosen, "masked_fill": masked, "glu": gated, "pow": to_the_power}
    | {"square": power(2), "sqrt": power(Fraction(1, 2)), "rsqrt": power(Fraction(-1, 2)), "reciprocal": power(-1)}
)
"""What is known of an operation; any other is taken to be of no degree."""
