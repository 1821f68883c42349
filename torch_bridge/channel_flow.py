"""Where a layer's output channels go: the network as a graph, and one rule an operation for what it does to a channel.

A rule is added for what is *known* to keep channels apart and to be positively homogeneous, f(s·x) = s·f(x) for s > 0.
Everything else raises :class:`NoClaim`, so an operation that nobody thought of costs a claim and never makes one.
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from math import prod
from operator import attrgetter
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn import functional as F

from torch_bridge.symmetry_map import Block

Shape = tuple[int, ...]


class NoClaim(Exception):
    """Why a symmetry is not claimed, as the end of a sentence: an answer, not a fault, and caught by discovery."""


class TracingError(ValueError):
    """A network whose graph cannot be read."""


@dataclass(frozen=True)
class Channels:
    """Where ``n`` channels lie in a tensor: along ``axis``, each as ``merged`` neighbouring entries.

    ``merged`` is 1 until a flatten puts a channel's pixels next to each other.
    """

    axis: int
    merged: int = 1


@dataclass(frozen=True)
class Layer:
    """A linear or convolution layer in the graph.

    Parameters
    ----------
    name
        The module's path; for a functional call, the weight's name.
    weight, bias
        Names of the parameters: weight of shape ``(out, in / groups, *kernel)``, bias ``(out,)`` or None.
    shape
        The weight's shape.
    """

    name: str
    weight: str
    bias: str | None
    shape: Shape
    groups: int = 1

    @property
    def parameters(self) -> tuple[str, ...]:
        return (self.weight,) if self.bias is None else (self.weight, self.bias)

    def channel_axis(self, tensor: Shape) -> int:
        """The axis of an input or output of shape ``tensor`` that counts channels: all but the pixels' axes follow."""
        return len(tensor) - 1 - (len(self.shape) - 2)

    def read(self, channels: Channels, tensor: Shape) -> Block:
        """The entries of the weight that multiply each of ``channels`` of an input of shape ``tensor``.

        >>> Layer("fc", "fc.weight", None, (10, 12)).read(Channels(axis=1, merged=4), (8, 12))
        Block(parameter='fc.weight', view=(10, 3, 4), axis=1, coefficient=-1)
        """
        if self.channel_axis(tensor) != channels.axis:
            raise NoClaim(f"{self.name} reads it along another axis than its channels'")
        out, fan_in, *kernel = self.shape
        if self.groups == 1:
            pixels = [channels.merged] if channels.merged > 1 else []
            return Block(self.weight, (out, fan_in // channels.merged, *pixels, *kernel), 1, -1)
        if fan_in == 1 and channels.merged == 1:  # depthwise: output rows are sorted by the channel that they read
            return Block(self.weight, (self.groups, out // self.groups, *kernel), 0, -1)
        raise NoClaim(f"{self.name} reads it by a grouped convolution, whose weights no single axis sorts by channel")


def pointwise(channels: Channels, before: Shape, after: Shape) -> Channels:
    """Entry by entry, homogeneous of degree 1 (dropout: for a fixed mask)."""
    return channels


def pooled(dimensions: int) -> Callable[[Channels, Shape, Shape], Channels]:
    """A maximum or mean over windows of the last ``dimensions`` axes."""

    def rule(channels: Channels, before: Shape, after: Shape) -> Channels:
        if channels.axis >= len(before) - dimensions:
            raise NoClaim("a pooling mixes its channels")
        return channels

    return rule


def flattened(channels: Channels, before: Shape, after: Shape) -> Channels:
    """A reshape that keeps every axis before the channels' and merges all from it on; any other is not recognised.

    >>> flattened(Channels(axis=1), before=(8, 3, 2, 2), after=(8, 12))
    Channels(axis=1, merged=4)
    """
    head, tail = before[: channels.axis], before[channels.axis :]
    if before == after:
        return channels
    if after[:-1] != head:
        raise NoClaim(f"its output is reshaped from {before} to {after}, no flatten from the channels' axis on")
    return Channels(channels.axis, channels.merged * prod(tail[1:]))


HOMOGENEOUS: dict[Any, Callable[[Channels, Shape, Shape], Channels]] = (
    dict.fromkeys((nn.ReLU, nn.LeakyReLU, nn.Identity, nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d), pointwise)
    | dict.fromkeys((F.relu, F.relu_, torch.relu, torch.relu_, F.leaky_relu, F.leaky_relu_), pointwise)
    | dict.fromkeys((F.dropout, F.dropout1d, F.dropout2d, F.dropout3d, torch.dropout), pointwise)
    | dict.fromkeys(("relu", "relu_", "contiguous"), pointwise)
    | dict.fromkeys((nn.MaxPool1d, nn.AvgPool1d, nn.AdaptiveMaxPool1d, nn.AdaptiveAvgPool1d), pooled(1))
    | dict.fromkeys((nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveMaxPool2d, nn.AdaptiveAvgPool2d), pooled(2))
    | dict.fromkeys((nn.MaxPool3d, nn.AvgPool3d, nn.AdaptiveMaxPool3d, nn.AdaptiveAvgPool3d), pooled(3))
    | dict.fromkeys((F.max_pool1d, F.avg_pool1d, F.adaptive_max_pool1d, F.adaptive_avg_pool1d), pooled(1))
    | dict.fromkeys((F.max_pool2d, F.avg_pool2d, F.adaptive_max_pool2d, F.adaptive_avg_pool2d), pooled(2))
    | dict.fromkeys((F.max_pool3d, F.avg_pool3d, F.adaptive_max_pool3d, F.adaptive_avg_pool3d), pooled(3))
    | dict.fromkeys((torch.max_pool1d, torch.adaptive_avg_pool1d), pooled(1))
    | {torch.max_pool2d: pooled(2), torch.max_pool3d: pooled(3)}
    | dict.fromkeys((nn.Flatten, torch.flatten, torch.reshape, "flatten", "view", "reshape"), flattened)
)
"""Operation on one tensor (module type, function, method) -> what it does to channels. A subclass is another type."""

LAYER_MODULES = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
LAYER_FUNCTIONS = (F.linear, F.conv1d, F.conv2d, F.conv3d)
LAYER_ARGUMENTS = ("input", "weight", "bias", "stride", "padding", "dilation", "groups")
BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


@dataclass(frozen=True)
class Network:
    """A model's graph, with shapes and with the uses of each parameter.

    Parameters
    ----------
    traced
        The graph and the modules that it calls, on the meta device. ``node.meta["shape"]`` is the shape of a node's
        value where that is one tensor.
    parameters
        ``dict(model.named_parameters())`` of the traced copy: a tied parameter has its first name.
    """

    traced: fx.GraphModule
    parameters: dict[str, nn.Parameter]

    @cached_property
    def names(self) -> dict[int, str]:
        """id of a parameter -> its name."""
        return {id(parameter): name for name, parameter in self.parameters.items()}

    @cached_property
    def uses(self) -> Counter[str]:
        """Name -> number of places of the graph that read the parameter."""
        return Counter(name for node in self.nodes for name in self.owned(node))

    @property
    def nodes(self) -> list[fx.Node]:
        return list(self.traced.graph.nodes)

    def shape(self, node: fx.Node) -> Shape | None:
        return node.meta.get("shape")

    def module(self, node: fx.Node) -> nn.Module | None:
        """The module that ``node`` calls, unless a hook or a patch may change what it does."""
        if node.op != "call_module":
            return None
        module = self.traced.get_submodule(str(node.target))
        return None if _is_altered(module) else module

    def operation(self, node: fx.Node) -> Any:
        """What identifies the operation in :data:`HOMOGENEOUS`."""
        if node.op == "call_module":
            return type(self.module(node))
        return node.target if node.op in ("call_function", "call_method") else None

    def layer(self, node: fx.Node) -> Layer | None:
        """The layer at ``node``; None if it is none, or if its weights are computed rather than parameters."""
        if type(module := self.module(node)) in LAYER_MODULES:
            found = {kind: module._parameters.get(kind) for kind in ("weight", "bias")}  # type: ignore[union-attr]
            return self._layer(str(node.target), found["weight"], found["bias"], getattr(module, "groups", 1))
        if node.op == "call_function" and node.target in LAYER_FUNCTIONS:
            given = dict(zip(LAYER_ARGUMENTS, node.args, strict=False)) | node.kwargs
            weight, bias = (self.parameter(given.get(kind)) for kind in ("weight", "bias"))
            if isinstance(given.get("bias"), fx.Node) and bias is None:
                return None
            return self._layer(None, weight, bias, given.get("groups", 1))
        return None

    def _layer(self, name: str | None, weight: Any, bias: Any, groups: Any) -> Layer | None:
        if weight is None:
            return None
        bias_name = None if bias is None else self.names[id(bias)]
        weight_name = self.names[id(weight)]
        return Layer(name or weight_name, weight_name, bias_name, tuple(weight.shape), groups)

    def parameter(self, argument: Any) -> nn.Parameter | None:
        """The parameter that a node's argument is, if it is one."""
        if not isinstance(argument, fx.Node) or argument.op != "get_attr":
            return None
        value = attrgetter(str(argument.target))(self.traced)
        return value if isinstance(value, nn.Parameter) else None

    def batch_norm(self, node: fx.Node) -> nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d | None:
        module = self.module(node)
        return module if type(module) in BATCH_NORMS else None  # type: ignore[return-value]

    def owned(self, node: fx.Node) -> tuple[str, ...]:
        """Names of the parameters that ``node`` reads."""
        if node.op == "call_module":
            found = self.traced.get_submodule(str(node.target)).parameters()
        else:
            found = (p for argument in node.all_input_nodes if (p := self.parameter(argument)) is not None)
        return tuple(self.names[id(p)] for p in found)

    def describe(self, node: fx.Node) -> str:
        """``node`` as a reader of the model's code would call it."""
        if node.op == "call_module":
            return f"{node.target} ({type(self.traced.get_submodule(str(node.target))).__name__})"
        name = node.target if isinstance(node.target, str) else getattr(node.target, "__name__", str(node.target))
        owned = f" of {', '.join(self.owned(node))}" if self.owned(node) else ""
        return f"the {node.op.removeprefix('call_')} {name}{owned}"

    def require_free(self, names: tuple[str, ...]) -> None:
        """Raise :class:`NoClaim` if a parameter is frozen, or read at several places whose gradients add up."""
        for name in names:
            if self.uses[name] > 1:
                raise NoClaim(f"{name} is used at {self.uses[name]} places of the network")
            if not self.parameters[name].requires_grad:
                raise NoClaim(f"{name} is frozen (requires_grad is False)")

    def readers(self, node: fx.Node, channels: Channels) -> Iterator[tuple[Layer, Block]]:
        """The layers in which the channels of ``node`` end, and the weights there; all of them, or :class:`NoClaim`."""
        for user in node.users:
            if _reads_shape_only(user):
                continue
            layer = self.layer(user)
            if layer is not None:
                self.require_free((layer.weight,))
                yield layer, layer.read(channels, self.known_shape(node))
            else:
                yield from self.readers(user, self._carried(node, user, channels))

    def _carried(self, node: fx.Node, user: fx.Node, channels: Channels) -> Channels:
        """Where the channels of ``node`` lie in the output of ``user``."""
        if user.op == "output":
            raise NoClaim("its output leaves the network")
        rule = HOMOGENEOUS.get(self.operation(user))
        if rule is None:
            raise NoClaim(f"its output reaches {self.describe(user)}, not known to be homogeneous channel by channel")
        return rule(channels, self.known_shape(node), self.known_shape(user))

    def known_shape(self, node: fx.Node) -> Shape:
        shape = self.shape(node)
        if shape is None:
            raise NoClaim(f"{self.describe(node)} returns more than one tensor")
        return shape


def trace(model: nn.Module, example_input: Tensor | tuple[Any, ...]) -> Network:
    """The graph of ``model`` in its present mode; neither its parameters and buffers nor the random state are touched.

    Raises
    ------
    TracingError
        If the model cannot be copied, traced, or run on tensors of the input's shapes.
    """
    if _is_altered(model):
        raise TracingError(
            "model: expected neither forward hooks nor a replaced forward on the model itself, got one; remove it, "
            "since tracing cannot see what it does"
        )
    skeleton = _skeleton(model)
    traced = _symbolic(skeleton)
    _propagate_shapes(traced, example_input if isinstance(example_input, tuple) else (example_input,))
    return Network(traced, dict(skeleton.named_parameters()))


def _skeleton(model: nn.Module) -> nn.Module:
    """A copy of ``model``, its parameters on the meta device: tracing may write to a module and needs no weights."""
    memo = {id(p): nn.Parameter(torch.empty_like(p, device="meta"), p.requires_grad) for p in model.parameters()}
    try:
        return copy.deepcopy(model, memo)  # type: ignore[arg-type]  # the memo is how deepcopy is told of copies made
    except Exception as error:
        raise TracingError(
            f"model: expected a module that copy.deepcopy copies, got {type(model).__name__}: {_first_line(error)}; "
            "replace attributes that are computed tensors, such as those of the old torch.nn.utils.weight_norm"
        ) from error


def _symbolic(skeleton: nn.Module) -> fx.GraphModule:
    try:
        traced = fx.symbolic_trace(skeleton)
    except Exception as error:
        raise TracingError(
            f"model: expected a network that torch.fx traces symbolically, got {type(skeleton).__name__}: "
            f"{_first_line(error)}; move branches that depend on data out of forward, or pass the plain module "
            "instead of a compiled or wrapped one"
        ) from error
    if any(b.requires_grad for b in traced.buffers()):
        raise TracingError(
            f"model: expected parameters to be read as attributes of their module, got {type(skeleton).__name__}, "
            "which computes with them in a way that tracing records as constants; write self.name in forward"
        )
    return traced


class _ShapeRecorder(fx.Interpreter):
    def run_node(self, n: fx.Node) -> Any:
        value = super().run_node(n)
        if isinstance(value, Tensor):
            n.meta["shape"] = tuple(value.shape)
        return value


def _propagate_shapes(traced: fx.GraphModule, inputs: tuple[Any, ...]) -> None:
    """Run on the meta device, where a tensor is its shape: nothing is computed and no memory is needed."""
    traced.to("meta")
    on_meta = [torch.empty_like(x, device="meta") if isinstance(x, Tensor) else x for x in inputs]
    try:
        with torch.no_grad(), torch.device("meta"):
            _ShapeRecorder(traced).run(*on_meta)
    except Exception as error:
        shapes = ", ".join(str(tuple(x.shape)) if isinstance(x, Tensor) else type(x).__name__ for x in inputs)
        raise TracingError(
            f"example_input: expected what the model's forward accepts, got {shapes}: {_first_line(error)}; "
            "pass a batch as in training, of two samples or more if the model normalises over them"
        ) from error


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def _is_altered(module: nn.Module) -> bool:
    """Whether calling ``module`` may do something else than its class's forward."""
    return bool(module._forward_hooks or module._forward_pre_hooks or "forward" in vars(module))


def _reads_shape_only(node: fx.Node) -> bool:
    """Whether ``node`` looks at a tensor's shape, not at its values: ``x.size(0)``, ``x.shape``."""
    if node.op == "call_method":
        return node.target in ("size", "dim", "numel")
    return node.target is getattr and node.args[1] in ("shape", "ndim", "device", "dtype")
