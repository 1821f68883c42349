"""What functions of entries, windows and sums demand of exponents: a degree, or a common exponent.

The rules of :class:`torch_bridge.exponents.Exponents`, by the names of ATen's arguments.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from math import inf, prod
from typing import TYPE_CHECKING, Any

from torch import fx

from torch_bridge.exponent_layers import normalised
from torch_bridge.flow import Value, dropped, kept, reduced_axes
from torch_bridge.graph import arguments, is_tensor, operation, shape
from torch_bridge.linear_relations import Terms, minus, varies

if TYPE_CHECKING:
    from torch_bridge.exponents import Exponents

EPS = 1e-4
"""Largest constant under a root mean square that is taken for a guard against division by zero."""


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
        return normalised(flow, node, self, axes, None, None, 1)
    x, y = (flow.expanded(side, shape(node)) for side in (self, other))
    if all(is_tensor(side) and prod(shape(side)) > 1 for side in (self, other)):
        flow.one_by_one((*x, *y))
    return (*x, *(minus(y) if operation(node) == "div" else y))


def summed(flow: Exponents, node: fx.Node, self: Any, other: Any, alpha: Any = 1) -> Value:
    """A sum or difference of tensors, or of a tensor and a number."""
    if _is_guard(flow, node, other):
        return flow.value(self)
    x, y = (flow.expanded(side, shape(node)) for side in (self, other))
    return flow.added(x, y, f"its output is added to what does not scale with it, by {flow.graph.describe(node)}")


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
    return flow.one_by_one(flow.added(x, y, f"its output reaches {flow.graph.describe(node)}, {flow.EXPECTED}"))


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


RULES = (
    dict.fromkeys(["relu", "leaky_relu", "abs", "dropout", "feature_dropout", "prelu"], homogeneous)
    | dict.fromkeys(["mul", "div", "multiply", "divide"], multiplied)
    | dict.fromkeys(["mean", "sum", "amax", "amin"], reduced)
    | dict.fromkeys(["maximum", "minimum"], larger)
    | dict.fromkeys(["add", "sub"], summed)
    | dict.fromkeys(["clamp", "clamp_min", "clamp_max"], clamped)
    | {f"{name}{n}d": pooled(n) for name in ("max_pool", "avg_pool", "adaptive_avg_pool", "upsample_nearest")
       for n in (1, 2, 3)}
    | {"neg": negative, "positive": negative, "pad": padded, "where": chosen, "masked_fill": masked, "glu": gated}
    | {"pow": to_the_power, "square": power(2), "sqrt": power(Fraction(1, 2)), "rsqrt": power(Fraction(-1, 2))}
    | {"reciprocal": power(-1)}
)  # fmt: skip
"""ATen name -> rule."""
