"""A model as a graph of ATen operations, read by torch.export: modules, functions and hooks all look the same."""

from __future__ import annotations

import copy
from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, fx, nn

Shape = tuple[int, ...]

FACTORIES = {"zeros_like", "ones_like", "empty_like", "full_like", "new_zeros", "new_ones", "new_empty", "new_full"}
SHAPE_ONLY = FACTORIES | {"sym_size", "size", "dim", "numel", "_assert_tensor_metadata"}
"""Operations that look at a tensor's shape, not at its values."""


class TracingError(ValueError):
    """A network whose graph cannot be read."""


@dataclass(frozen=True)
class Graph:
    """A model's graph, with the uses of each parameter.

    Parameters
    ----------
    nodes
        Operations in the order in which they run.
    parameters
        Placeholder node -> name in ``model.named_parameters()``. A parameter that is read at several places has as many
        placeholders, each with one reader.
    model
        The model itself.
    """

    nodes: tuple[fx.Node, ...]
    parameters: dict[fx.Node, str]
    model: nn.Module

    @cached_property
    def places(self) -> dict[fx.Node, str]:
        """Placeholder -> a name of its own: the parameter's for the first, ``"name, place 2"`` for a second."""
        seen: Counter[str] = Counter()
        named = {}
        for node, name in self.parameters.items():
            seen[name] += 1
            named[node] = name if seen[name] == 1 else f"{name}, place {seen[name]}"
        return named

    @cached_property
    def tied(self) -> dict[str, list[str]]:
        """Parameter -> the names of its places, where there are several."""
        found: dict[str, list[str]] = {}
        for node, name in self.parameters.items():
            found.setdefault(name, []).append(self.places[node])
        return {name: places for name, places in found.items() if len(places) > 1}

    def shape_at(self, place: str) -> Shape:
        """Shape of the parameter that is read at a place."""
        (node,) = [node for node, name in self.places.items() if name == place]
        return tuple(self.model.get_parameter(self.parameters[node]).shape)

    @cached_property
    def trainable(self) -> frozenset[str]:
        return frozenset(name for name, p in self.model.named_parameters() if p.requires_grad)

    def obstacle(self, name: str) -> str | None:
        """Why a parameter cannot be moved by a symmetry, if so."""
        return None if name in self.trainable else f"{name} is frozen (requires_grad is False)"

    def free(self, node: object) -> str | None:
        """The place at which ``node`` reads a parameter that may be moved, if it does."""
        name = self.parameters.get(node) if isinstance(node, fx.Node) else None
        return None if name is None or self.obstacle(name) else self.places[node]  # type: ignore[index]

    def module_name(self, node: fx.Node) -> str:
        """Path of the innermost module that ran the operation: empty for the model itself."""
        stack = list((node.meta.get("nn_module_stack") or {}).values())
        return stack[-1][0] if stack else ""

    def describe(self, node: fx.Node) -> str:
        """``node`` as a reader of the model's code would call it: a module of torch by its path, else the function."""
        if node.op == "output":
            return "the output"
        module = self._module(self.module_name(node))
        if module is not None and type(module).__module__.startswith("torch.nn.modules") and not list(module.children()):
            return f"{self.module_name(node) or 'the model'} ({type(module).__name__})"
        inside = f" in {self.module_name(node)}" if self.module_name(node) else ""
        return f"the function {operation(node)}{inside}"

    def describe_owner(self, name: str) -> str:
        """The module that owns a parameter, with its type; the parameter itself if that is the model."""
        path = owner(name)
        module = self._module(path)
        return (
            name
            if module is None or not isinstance(getattr(module, "weight", None), Tensor)
            else (f"{path or 'the model'} ({type(module).__name__})")
        )

    def _module(self, path: str) -> nn.Module | None:
        try:
            return self.model.get_submodule(path)
        except AttributeError:
            return None


def owner(name: str) -> str:
    """The path of the module that owns a parameter.

    >>> owner("features.0.weight")
    'features.0'
    """
    return name.removesuffix(".original0").removesuffix(".original1").replace(".parametrizations.", ".").rpartition(".")[0]


def operation(node: fx.Node) -> str:
    """The ATen name of what ``node`` does, in place or not: ``relu``, ``add``, ``layer_norm``."""
    schema = getattr(node.target, "_schema", None)
    if schema is None:
        return getattr(node.target, "__name__", str(node.target))
    name = schema.name.rpartition("::")[2]
    return name[:-1] if name.endswith("_") and not name.endswith("__") else name


def arguments(node: fx.Node) -> dict[str, Any]:
    """The arguments of an ATen operation by name, with their defaults."""
    schema = getattr(node.target, "_schema", None)
    if schema is None:
        return dict(enumerate(node.args)) | node.kwargs  # type: ignore[return-value]
    given = {a.name: a.default_value for a in schema.arguments if a.has_default_value()}
    return given | dict(zip((a.name for a in schema.arguments), node.args, strict=False)) | node.kwargs


def mutated(node: fx.Node) -> fx.Node | None:
    """The tensor that an operation writes into, if it does."""
    schema = getattr(node.target, "_schema", None)
    if schema is None or not schema.is_mutable:
        return None
    (name, *_) = [a.name for a in schema.arguments if a.alias_info is not None and a.alias_info.is_write]
    target = arguments(node).get(name)
    return target if isinstance(target, fx.Node) else None


def is_view(node: fx.Node) -> bool:
    """Whether the result shares memory with an argument, or may."""
    schema = getattr(node.target, "_schema", None)
    return schema is not None and any(r.alias_info is not None for r in schema.returns)


def looks_at_shape(node: fx.Node) -> bool:
    """Whether an operation reads no values."""
    return node.op == "call_function" and operation(node) in SHAPE_ONLY


def shape(node: fx.Node) -> Shape:
    """Of a node whose value is one tensor."""
    return tuple(int(n) for n in node.meta["val"].shape)


def is_tensor(node: object) -> bool:
    """Whether an argument is a node whose value is one tensor."""
    return isinstance(node, fx.Node) and isinstance(node.meta.get("val"), Tensor)


def trace(model: nn.Module, example_input: Tensor | tuple[Any, ...]) -> Graph:
    """The graph of ``model`` in its present mode; neither its parameters and buffers nor the random state are touched.

    Raises
    ------
    TracingError
        If the model cannot be copied or exported, or does not accept the input.
    """
    twin = _twin(model)
    inputs = example_input if isinstance(example_input, tuple) else (example_input,)
    program = _exported(twin, inputs)
    program.graph.eliminate_dead_code()
    named = {id(p): name for name, p in twin.named_parameters()}
    targets = program.graph_signature.inputs_to_parameters
    parameters = {
        node: named[id(twin.get_parameter(targets[node.name]))]
        for node in program.graph.nodes
        if node.op == "placeholder" and node.name in targets
    }
    each = {place: name for node, name in parameters.items() for place in _one_a_reader(program.graph, node)}
    return Graph(tuple(program.graph.nodes), each, model)


def _one_a_reader(graph: fx.Graph, node: fx.Node) -> list[fx.Node]:
    """Give each argument through which an operation reads a parameter's values a placeholder of its own."""
    places: list[fx.Node] = []

    def place(argument: fx.Node) -> fx.Node:
        if argument is not node:
            return argument
        places.append(_another(graph, node) if places else node)
        return places[-1]

    for user in [user for user in node.users if not looks_at_shape(user)]:
        user.args, user.kwargs = fx.node.map_arg((user.args, user.kwargs), place)  # type: ignore[assignment]
    return places


def _another(graph: fx.Graph, node: fx.Node) -> fx.Node:
    with graph.inserting_after(node):
        again = graph.placeholder(f"{node.name}_again")
    again.meta = node.meta
    return again


def _twin(model: nn.Module) -> nn.Module:
    """A copy of the modules with the same tensors: tracing may write to a module, and writes to no real tensor."""
    kept: dict[int, Any] = {id(t): t for t in (*model.parameters(), *model.buffers())}
    try:
        return copy.deepcopy(model, kept)
    except Exception as error:
        raise TracingError(
            f"model: expected a module that copy.deepcopy copies, got {type(model).__name__}: {_first_line(error)}; "
            "replace attributes that are computed tensors, such as those of the old torch.nn.utils.weight_norm"
        ) from error


def _exported(twin: nn.Module, inputs: tuple[Any, ...]) -> torch.export.ExportedProgram:
    device = next((p.device for p in twin.parameters()), torch.device("cpu"))
    placed = tuple(torch.empty_like(x, device=device) if isinstance(x, Tensor) else x for x in inputs)
    try:
        with torch.random.fork_rng(devices=[]), torch.device(device):
            return torch.export.export(twin, placed, strict=False)
    except Exception as error:
        shapes = ", ".join(str(tuple(x.shape)) if isinstance(x, Tensor) else type(x).__name__ for x in inputs)
        raise TracingError(
            f"model, example_input: expected a network that torch.export traces on inputs of {shapes}, got "
            f"{type(twin).__name__}: {_first_line(error)}; pass a batch as in training (two samples or more for batch "
            "norm), the plain module instead of a compiled one, and move branches that depend on data out of forward"
        ) from error


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
