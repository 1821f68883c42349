"""Find a network's symmetries by reading its graph: no layer names, no maps typed by hand.

What is claimed, and why it is a symmetry of the loss (Kunin et al. 2021, section 3):

* **translation** -- the logits come from a linear layer and the loss ignores a constant added to all of a sample's
  logits: then each *column* of that layer's weight, and its bias, may be translated.
* **scale** -- a layer's output goes straight into a batch normalisation by the batch's own statistics, which divides by
  the channel's standard deviation again; **shift** -- it subtracts the channel's mean, and with it the layer's bias.
* **rescale** -- a channel is written by one layer, carried by operations with f(s·x) = s·f(x) for s > 0, and read only
  by layers: multiplying its writer by s and its readers by 1/s changes nothing. A batch normalisation's gain and offset
  write a channel too; the layer before it then does not.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, fx, nn

from torch_bridge.channel_flow import Channels, Layer, Network, NoClaim, trace
from torch_bridge.symmetry_map import Block, NeuronSymmetries, SymmetryMap

Loss = Callable[[Tensor, Tensor], Tensor]
Answer = NeuronSymmetries | str
"""A claim, or the sentence that says why there is none."""

SAMPLES = 7
"""Samples in the batch of random logits on which a loss is probed."""


def find_symmetries(
    model: nn.Module,
    example_input: Tensor | tuple[Any, ...],
    *,
    loss: Loss = torch.nn.functional.cross_entropy,
) -> SymmetryMap:
    """Every translation, scale, shift and rescale symmetry of ``loss(model(x), y)`` that the model's graph proves.

    Parameters
    ----------
    model
        The network, in the mode (``train()`` or ``eval()``) in which it will be used: batch normalisation differs.
    example_input
        What ``forward`` takes, or a tuple of its arguments. Only shapes matter; nothing is computed.
    loss
        Called as ``loss(logits, targets)``. Whether it ignores a constant added to a sample's logits is measured on it,
        with float64 logits of shape ``(samples, classes)`` and class indices of shape ``(samples,)``.

    Returns
    -------
    SymmetryMap
        The symmetries in the order in which the network uses them, and why others are not claimed. That an operation is
        not known costs claims; it never makes one.

    Raises
    ------
    TracingError
        A ValueError: if ``torch.fx`` cannot trace the model, or the model cannot take the input.

    Examples
    --------
    VGG-16 as in the paper has 6,272 rescale and 1,024 + 1 translation symmetries:

    >>> from torch_bridge.vgg import vgg16
    >>> with torch.device("meta"):
    ...     find_symmetries(vgg16(batch_norm=False), torch.empty(2, 3, 64, 64)).counts()
    {'rescale': 6272, 'translation': 1025}
    """
    network = trace(model, example_input)
    answers = [answer for node in network.nodes for answer in _answers(network, node, loss)]
    groups = tuple(answer for answer in answers if isinstance(answer, NeuronSymmetries))
    blocked = tuple(answer for answer in answers if isinstance(answer, str))
    return SymmetryMap(groups, blocked, model)


def _answers(network: Network, node: fx.Node, loss: Loss) -> list[Answer]:
    try:
        return list(_claims(network, node, loss))
    except NoClaim as reason:
        return [f"{network.describe(node)}: {reason}"]


def _claims(network: Network, node: fx.Node, loss: Loss) -> Iterator[Answer]:
    """What can be said about the channels that ``node`` writes."""
    layer, norm = network.layer(node), network.batch_norm(node)
    if layer is not None:
        yield from _layer_claims(network, node, layer, loss)
    elif norm is not None and norm.affine:
        yield _rescale(network, node, str(node.target), network.owned(node), Channels(axis=1))
    elif norm is None and network.owned(node):
        raise NoClaim(f"no rule for this operation, so nothing is claimed for {', '.join(network.owned(node))}")


def _layer_claims(network: Network, node: fx.Node, layer: Layer, loss: Loss) -> Iterator[Answer]:
    users = list(node.users)
    only = users[0] if len(users) == 1 else None
    if only is not None and network.batch_norm(only) is not None:
        yield from _before_batch_norm(network, node, layer, only)
    elif only is not None and only.op == "output":
        yield from _before_loss(network, node, layer, loss)
    else:
        channels = Channels(layer.channel_axis(network.known_shape(node)))
        yield _rescale(network, node, layer.name, layer.parameters, channels)


def _rescale(network: Network, node: fx.Node, name: str, writers: tuple[str, ...], channels: Channels) -> Answer:
    """Parameters ``writers`` write the channels of ``node``, one slice along axis 0 each."""
    network.require_free(writers)
    read = list(network.readers(node, channels))
    if not read:
        raise NoClaim("nothing reads its output")
    written = [Block(parameter, tuple(network.parameters[parameter].shape), axis=0) for parameter in writers]
    label = f"{name} -> {', '.join(layer.name for layer, _ in read)}"
    return NeuronSymmetries("rescale", label, (*written, *(block for _, block in read)))


def _before_batch_norm(network: Network, node: fx.Node, layer: Layer, norm: fx.Node) -> Iterator[Answer]:
    """Scale of the weight and shift of the bias, both undone by the normalisation by the batch's statistics."""
    module = network.batch_norm(norm)
    if module is not None and not module.training and module.running_mean is not None:
        raise NoClaim(f"{network.describe(norm)} uses stored statistics, being in eval mode; call model.train()")
    if layer.channel_axis(network.known_shape(node)) != 1:
        raise NoClaim(f"{network.describe(norm)} normalises along another axis than its channels'")
    yield _alone(network, "scale", layer.weight, Block(layer.weight, layer.shape, axis=0))
    if layer.bias is not None:
        yield _alone(network, "shift", layer.bias, Block(layer.bias, layer.shape[:1], axis=0))


def _before_loss(network: Network, node: fx.Node, layer: Layer, loss: Loss) -> Iterator[Answer]:
    """Translation of each column of the last weight, and of the bias."""
    (output,) = node.users
    shape = network.known_shape(node)
    if output.args != (node,):
        raise NoClaim("the network returns more than one tensor of logits")
    if len(layer.shape) != 2 or len(shape) != 2:
        raise NoClaim(f"its output leaves the network, with shape {shape}: not (samples, classes) of a linear layer")
    if layer.shape[0] < 2:
        raise NoClaim("it gives a single logit, which no constant can be added to")
    require_shift_invariance(loss, classes=layer.shape[0])
    yield _alone(network, "translation", f"{layer.weight} columns", Block(layer.weight, layer.shape, axis=1))
    if layer.bias is not None:
        yield _alone(network, "translation", layer.bias, Block(layer.bias, (1, *layer.shape[:1]), axis=0))


def _alone(network: Network, kind: str, label: str, block: Block) -> Answer:
    """Symmetries that move one parameter only; where it is not free, the others of its layer may still be claimed."""
    try:
        network.require_free((block.parameter,))
    except NoClaim as reason:
        return f"{label}: {reason}"
    return NeuronSymmetries(kind, label, (block,))


def require_shift_invariance(loss: Loss, classes: int, *, tolerance: float = 1e-10) -> None:
    """Raise :class:`NoClaim` unless ``loss`` ignores a constant added to all of a sample's logits.

    Measured on random logits with a different constant for every sample, since a column's translation moves each sample
    by its own feature. ``tolerance`` is relative and far above float64's rounding at constants of order 10.

    >>> require_shift_invariance(torch.nn.functional.cross_entropy, classes=5)
    """
    name = getattr(loss, "__name__", type(loss).__name__)
    on_cpu = copy.deepcopy(loss).to("cpu", torch.float64) if isinstance(loss, nn.Module) else loss
    for seed in range(3):
        try:
            before, after = _probe(on_cpu, classes, torch.Generator("cpu").manual_seed(seed))
            change, size = float((after - before).abs().max()), float(before.abs().max())
        except Exception as error:  # whatever a callable that is no classification loss raises
            raise NoClaim(f"the loss {name} cannot be measured on logits and class indices ({error})") from error
        if not change <= tolerance * size:
            raise NoClaim(f"the loss {name} changes by {change:.1e} when a constant is added to a sample's logits")


def _probe(loss: Loss, classes: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """The loss before and after a shift, at random logits of shape ``(SAMPLES, classes)``."""
    logits = torch.randn(SAMPLES, classes, dtype=torch.float64, device="cpu", generator=generator)
    targets = torch.randint(classes, (SAMPLES,), device="cpu", generator=generator)
    constants = 10 * torch.randn(SAMPLES, 1, dtype=torch.float64, device="cpu", generator=generator)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        return loss(logits, targets), loss(logits + constants, targets)
