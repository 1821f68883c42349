"""From the unknowns that the equations leave free to families of neurons' symmetries, each on its parameters' slices."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from math import gcd, lcm, prod
from typing import Any

from torch_bridge.flow import Flow
from torch_bridge.graph import Graph, Shape, owner
from torch_bridge.linear_relations import Form, Solution, combined
from torch_bridge.symmetry_map import Block, NeuronSymmetries

NAMED = 3
"""Modules that a label names before it counts the rest."""


@dataclass(frozen=True)
class Slices:
    """Where in a parameter forms stand: one for each slice of ``parameter.reshape(view)`` along ``axes``."""

    parameter: str
    view: Shape
    axes: tuple[int, ...]


Moves = dict[Slices, list[Form]]
"""For each slice of each parameter, by how much it moves in terms of free unknowns."""


def moves(flow: Flow, solution: Solution) -> Moves:
    """All uses of parameters, added up; what moves a whole parameter alike is said of the parameter as a whole."""
    added: Moves = {}
    for use in flow.uses:
        forms = [{u: c * use.coefficient for u, c in solution.form(v).items()} for v in use.unknowns.tolist()]
        key = Slices(use.parameter, use.view, use.axes)
        added[key] = _sum(added[key], forms) if key in added else forms
    return _as_wholes(added)


def _sum(left: list[Form], right: list[Form]) -> list[Form]:
    return [combined((c, u) for form in pair for u, c in form.items()) for pair in zip(left, right, strict=True)]


def _as_wholes(added: Moves) -> Moves:
    tidy: Moves = {}
    for key, forms in added.items():
        if len(forms) > 1 and all(form == forms[0] for form in forms):
            key, forms = Slices(key.parameter, (1, prod(key.view)), (0,)), forms[:1]
        tidy[key] = _sum(tidy[key], forms) if key in tidy else forms
    return {key: forms for key, forms in tidy.items() if any(forms)}


Place = tuple[Slices, int]
"""A set of slices, and the integer coefficient with which an unknown moves them."""


def families(moved: Moves, *, additive: bool) -> list[NeuronSymmetries]:
    """Free unknowns that move slices of the same parameters with the same coefficients make one family."""
    reach: dict[int, dict[Place, list[int]]] = defaultdict(lambda: defaultdict(list))
    scale = _scales(moved)
    for key, forms in moved.items():
        for index, form in enumerate(forms):
            for unknown, c in form.items():
                reach[unknown][key, int(c * scale[unknown])].append(index)
    for unknown in _dependent(moved):
        reach.pop(unknown, None)
    alike: dict[Any, list[int]] = defaultdict(list)
    for unknown in sorted(reach):
        alike[frozenset(reach[unknown])].append(unknown)
    together = [part for members in alike.values() for part in _without_overlap(members, reach)]
    return [_family(members, reach, additive) for members in together]


def _scales(moved: Moves) -> dict[int, Any]:
    """By what each unknown's coefficients are multiplied to be coprime integers, the first positive."""
    found: dict[int, list[Any]] = defaultdict(list)
    for forms in moved.values():
        for form in forms:
            for unknown, c in form.items():
                found[unknown].append(c)
    return {u: _integer_scale(cs) for u, cs in found.items()}


def _integer_scale(coefficients: list[Any]) -> Any:
    denominator = lcm(*(c.denominator for c in coefficients))
    common = gcd(*(int(c * denominator) for c in coefficients))
    sign = 1 if coefficients[0] > 0 else -1
    return type(coefficients[0])(sign * denominator) / common if denominator % common else sign * denominator // common


def _without_overlap(members: list[int], reach: dict[int, dict[Place, list[int]]]) -> list[list[int]]:
    """One family, unless two of its neurons share a slice."""
    for place in reach[members[0]]:
        slices = [index for unknown in members for index in reach[unknown][place]]
        if len(slices) != len(set(slices)):
            return [[unknown] for unknown in members]
    return [members]


def _family(members: list[int], reach: dict[int, dict[Place, list[int]]], additive: bool) -> NeuronSymmetries:
    blocks = []
    for key, c in reach[members[0]]:
        owned = [(index, neuron) for neuron, unknown in enumerate(members) for index in reach[unknown][key, c]]
        blocks.append(block(key, c, dict(owned)))
    kind = _kind(blocks, additive)
    return NeuronSymmetries(kind, _label(kind, blocks), tuple(blocks))


def block(key: Slices, coefficient: int, neuron_of: dict[int, int]) -> Block:
    """The block of the given slices' neurons; where each neuron owns as many neighbours, in the view that says so."""
    slices = prod(key.view[a] for a in key.axes)
    owners = [neuron_of.get(k, -1) for k in range(slices)]
    neurons = 1 + max(owners)
    each = slices // neurons
    axes: Any = key.axes[0] if len(key.axes) == 1 else key.axes
    if owners == list(range(slices)):
        return Block(key.parameter, key.view, axes, coefficient)
    if len(key.axes) == 1 and slices == each * neurons and owners == [k // each for k in range(slices)]:
        view = (*key.view[:axes], neurons, each, *key.view[axes + 1 :])
        return Block(key.parameter, view, axes, coefficient)
    return Block(key.parameter, key.view, axes, coefficient, tuple(owners))


def _kind(blocks: list[Block], additive: bool) -> str:
    if additive:
        entries = prod(blocks[0].view) - blocks[0].owners.count(-1)
        return "shift" if len(blocks) == 1 and entries == blocks[0].neurons else "translation"
    return "scale" if all(b.coefficient > 0 for b in blocks) else "rescale"


def _label(kind: str, blocks: list[Block]) -> str:
    if kind == "rescale":
        return " -> ".join(_named(modules(b for b in blocks if (b.coefficient > 0) is up)) for up in (True, False))
    if kind == "translation" and len(blocks) == 1:
        return blocks[0].parameter + _direction(blocks[0])
    return _named(dict.fromkeys(f"{'-' if b.coefficient < 0 else ''}{b.parameter}" for b in blocks))


def _direction(block: Block) -> str:
    if len(block.view) < 2 or block.neurons == 1:
        return ""
    return " rows" if block.axis == 0 else " columns"


def modules(blocks: Iterable[Any]) -> dict[str, None]:
    """The modules that own the blocks' parameters, each once, in order."""
    return dict.fromkeys(owner(b.parameter) or b.parameter for b in blocks)


def _named(names: dict[str, None]) -> str:
    shown, more = list(names)[:NAMED], len(names) - NAMED
    return ", ".join(shown) + (f" and {more} more" if more > 0 else "")


def in_order(graph: Graph, found: Iterable[Any]) -> list[Any]:
    """Symmetries in the order in which the network first uses a parameter that they move."""
    at = {name: (k, argument) for k, node in reversed(list(enumerate(graph.nodes)))
          for argument, source in reversed(list(enumerate(node.all_input_nodes)))
          if (name := graph.parameters.get(source))}  # fmt: skip
    return sorted(found, key=lambda group: min(at[b.parameter] for b in group.blocks))


def _dependent(moved: Moves) -> set[int]:
    """Unknowns to leave out because others move the parameters in the same way.

    A matrix that moves by u_i + v_j has one direction in two guises, all u_i and all v_j; it is told by u_i + v_0 and
    v_j - v_0.
    """
    by_parameter: dict[str, list[Slices]] = defaultdict(list)
    for key in moved:
        by_parameter[key.parameter].append(key)
    if all(len(keys) == 1 for keys in by_parameter.values()):
        return set()
    coordinates: dict[int, Form] = defaultdict(dict)
    count = 0
    for keys in by_parameter.values():
        for form in _coordinates(keys, moved):
            count += 1
            for unknown, c in form.items():
                coordinates[unknown][count] = c
    independent, left_out = Solution(), set()
    for unknown in sorted(coordinates):
        if independent.reduce(coordinates[unknown]):
            independent.impose(coordinates[unknown])
        else:
            left_out.add(unknown)
    return left_out


def _coordinates(keys: list[Slices], moved: Moves) -> list[Form]:
    """Forms that determine how a parameter moves, and are determined by it."""
    wholes = [f for k in keys if prod(k.view[a] for a in k.axes) == 1 for f in moved[k]]
    axes = [moved[k] for k in keys if prod(k.view[a] for a in k.axes) > 1]
    start = [forms[0] for forms in axes[1:]] + wholes
    lead = [_total([form, *start]) for form in (axes[0] if axes else [{}])]
    return lead + [_total([form, {u: -c for u, c in forms[0].items()}]) for forms in axes[1:] for form in forms[1:]]


def _total(forms: list[Form]) -> Form:
    return combined((c, u) for form in forms for u, c in form.items())
