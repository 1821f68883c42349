"""Find a network's symmetries by reading its graph: no layer names, no maps typed by hand.

The model is traced to a graph of ATen operations (:mod:`torch_bridge.graph`), through which two kinds of quantities are
followed with one rule an operation: with which power of s an entry scales (:mod:`torch_bridge.exponents`), and by how much
it moves (:mod:`torch_bridge.translations`). The equations that operations and loss impose are linear; what they leave free
is a symmetry (Kunin et al. 2021, section 3, generalised):

* **translation** -- a constant that the loss, a softmax or a normalisation does not see; **shift** -- of a single entry,
  such as a bias before batch normalisation or a key's, whose gradient is then exactly 0.
* **scale** -- of what a normalisation divides by its own size again.
* **rescale** -- of what writes a channel, undone by what reads it: across operations with f(s·x) = s·f(x) for s > 0.
* **mixing** -- of channels that are acted on by linear maps only: GL(k) of attention's queries and keys, values and outputs,
  of LoRA's factors, of linear chains (:mod:`torch_bridge.general_linear`).
"""

from __future__ import annotations

import copy
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from torch_bridge.exponents import LEAVES, Exponents
from torch_bridge.families import families, in_order, moves
from torch_bridge.general_linear import matrix_families
from torch_bridge.graph import Graph, is_tensor, shape, trace
from torch_bridge.linear_relations import NONE, Solution
from torch_bridge.symmetry_map import NeuronSymmetries, SymmetryMap
from torch_bridge.translations import Translations

Loss = Callable[[Tensor, Tensor], Tensor]
SAMPLES = 7
"""Samples in the batch of random logits on which a loss is probed."""

PLACES = 3
"""Entries along each further axis of those logits, or fewer."""


class NoClaim(Exception):
    """Why a symmetry is not claimed, as the end of a sentence: an answer, not a fault, and caught by discovery."""


def find_symmetries(
    model: nn.Module,
    example_input: Tensor | tuple[Any, ...],
    *,
    loss: Loss = torch.nn.functional.cross_entropy,
) -> SymmetryMap:
    """The symmetries of ``loss(model(x), y)`` that the model's graph proves: scales, rescalings, GL(k), translations.

    Parameters
    ----------
    model
        The network, in the mode (``train()`` or ``eval()``) in which it will be used: batch normalisation differs.
    example_input
        What ``forward`` takes, or a tuple of its arguments. Only shapes matter; nothing is computed.
    loss
        Called as ``loss(logits, targets)``. Whether it ignores a constant added to a sample's logits is measured on it,
        with random float64 logits of the network's output's shape, and class indices of that shape without the classes'
        axis (the second, or the last).

    Returns
    -------
    SymmetryMap
        The symmetries in the order in which the network uses them, and why others are not claimed. That an operation is
        not known costs claims; it never makes one.

    Raises
    ------
    TracingError
        A ValueError: if torch.export cannot trace the model, or the model cannot take the input.

    Examples
    --------
    VGG-16 as in the paper has 6,272 rescale and 1,024 + 1 translation symmetries:

    >>> from torch_bridge.vgg import vgg16
    >>> with torch.device("meta"):
    ...     find_symmetries(vgg16(batch_norm=False), torch.empty(2, 3, 64, 64)).counts()
    {'rescale': 6272, 'translation': 1025}

    A linear chain has a whole GL(2), of four generators and three charges:

    >>> chain = nn.Sequential(nn.Linear(3, 2, bias=False), nn.Linear(2, 3, bias=False))
    >>> found = find_symmetries(chain, torch.empty(5, 3), loss=torch.nn.functional.mse_loss)
    >>> found.counts(), found.charges()
    ({'rescale': 2, 'mixing': 2}, 3)
    """
    graph = trace(model, example_input)
    unseen, why = _unseen(graph, loss)
    exponents = Exponents(graph)
    exponents.run()
    translations = Translations(graph, unseen)
    translations.run()
    scales, shifts = exponents.relations.solve(), translations.relations.solve()
    moved = moves(exponents, scales)
    shifted = families(moves(translations, shifts), additive=True)
    needless = _without_gradient(graph, shifted)
    scaled = families({k: f for k, f in moved.items() if k.parameter not in needless}, additive=False)
    groups = in_order(graph, [*scaled, *shifted])
    matrices = in_order(graph, matrix_families(exponents, scales))
    reasons = [*_fixed(exponents, scales, shifted, bool(why)), *exponents.halted, *_obstacles(graph), *why]
    return SymmetryMap(tuple(_told_apart(groups)), tuple(dict.fromkeys(reasons)), tuple(_told_apart(matrices)), model)


def _without_gradient(graph: Graph, shifted: list[NeuronSymmetries]) -> set[str]:
    """Parameters whose every entry may be shifted: the loss does not see them, and no other symmetry need move them."""
    free = ((group.blocks[0].parameter, group.neurons) for group in shifted if group.kind == "shift")
    return {name for name, count in free if count == graph.model.get_parameter(name).numel()}


def _fixed(exponents: Exponents, solution: Solution, shifted: list[NeuronSymmetries], said: bool) -> Iterator[str]:
    """Why channels may not scale, for each place that writes some and none may scale nor move as one.

    Of logits it is ``said`` elsewhere, why they may not move.
    """
    moving = {block.parameter for group in shifted for block in group.blocks}
    for name, unknowns in exponents.writers:
        ids = [u for u in unknowns.tolist() if u != NONE]
        if ids and name not in moving and not any(solution.form(u) for u in ids):
            why = solution.reason(ids[0]) or "its output is tied to what may not scale"
            if not (said and why == LEAVES):
                yield f"{exponents.graph.describe_owner(name)}: {why}"


def _obstacles(graph: Graph) -> Iterator[str]:
    """Which parameters cannot be moved on their own."""
    for name in dict.fromkeys(graph.parameters.values()):
        if why := graph.obstacle(name):
            yield f"{name}: {why}"


def _told_apart(groups: list[Any]) -> Iterator[Any]:
    """No two groups of a kind with one label."""
    seen = Counter[tuple[str, str]]()
    for group in groups:
        seen[group.kind, group.label] += 1
        times = seen[group.kind, group.label]
        yield group if times == 1 else replace(group, label=f"{group.label} ({times})")


def _unseen(graph: Graph, loss: Loss) -> tuple[list[int], list[str]]:
    """The axes of the network's output along which the loss ignores a constant; and, if none, why."""
    (last,) = [node for node in graph.nodes if node.op == "output"]
    outputs = [node for node in last.all_input_nodes if is_tensor(node)]
    if len(outputs) != 1:
        return [], []
    of, reasons = shape(outputs[0]), []
    for axis in dict.fromkeys(a for a in (1, len(of) - 1) if 0 < a < len(of)):
        try:
            require_shift_invariance(loss, of[axis], axis=axis, rest=[n for k, n in enumerate(of) if k not in (0, axis)])
            return [axis], []
        except NoClaim as reason:
            reasons.append(f"{graph.describe(outputs[0])}: {reason}")
    return [], reasons[-1:]


def require_shift_invariance(
    loss: Loss, classes: int, *, axis: int = 1, rest: Sequence[int] = (), tolerance: float = 1e-10
) -> None:
    """Raise :class:`NoClaim` unless ``loss`` ignores a constant added to all of a sample's logits.

    Measured on random logits with a different constant for every sample, since a column's translation moves each sample
    by its own feature. The ``classes`` lie along ``axis`` of the logits, after the samples; ``rest`` are their other axes
    (a text's tokens). ``tolerance`` is relative and far above float64's rounding at constants of order 10.

    >>> require_shift_invariance(torch.nn.functional.cross_entropy, classes=5)
    """
    name = getattr(loss, "__name__", type(loss).__name__)
    if classes < 2:
        raise NoClaim("it gives a single logit, which no constant can be added to")
    on_cpu = copy.deepcopy(loss).to("cpu", torch.float64) if isinstance(loss, nn.Module) else loss
    for seed in range(3):
        try:
            before, after = _probe(on_cpu, classes, axis, rest, torch.Generator("cpu").manual_seed(seed))
            change, size = float((after - before).abs().max()), float(before.abs().max())
        except Exception as error:  # whatever a callable that is no classification loss raises
            raise NoClaim(f"the loss {name} cannot be measured on logits and class indices ({error})") from error
        if not change <= tolerance * size:
            raise NoClaim(f"the loss {name} changes by {change:.1e} when a constant is added to a sample's logits")


def _probe(loss: Loss, classes: int, axis: int, rest: Sequence[int], generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """The loss before and after a shift, at random logits of ``SAMPLES`` samples."""
    places = (SAMPLES, *(min(n, PLACES) for n in rest))
    logits = torch.randn(*places, classes, dtype=torch.float64, device="cpu", generator=generator).movedim(-1, axis)
    targets = torch.randint(classes, places, device="cpu", generator=generator)
    constants = 10 * torch.randn(places, dtype=torch.float64, device="cpu", generator=generator).unsqueeze(axis)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        return loss(logits, targets), loss(logits + constants, targets)
