"""Counts that the paper states (Kunin et al. 2021, Tables 4 and 5, App. J, section 7), measured on its own network.

The network is traced without data; only what is claimed to be broken is measured, on a small copy in float64.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache, partial
from itertools import pairwise
from types import MappingProxyType

import torch
from torch import nn

from torch_bridge.certify import certify
from torch_bridge.discover import find_symmetries
from torch_bridge.presets import PAPER
from torch_bridge.symmetry_map import Block, NeuronSymmetries, SymmetryMap
from torch_bridge.vgg import vgg16

NORM = {False: "without batch norm", True: "with batch norm"}


@cache
def _network(batch_norm: bool) -> nn.Sequential:
    """The paper's VGG-16, without storage."""
    with torch.device("meta"):
        return vgg16(batch_norm)


@cache
def _counts(batch_norm: bool) -> Mapping[str, int]:
    with torch.device("meta"):
        return find_symmetries(_network(batch_norm), torch.empty(2, 3, 64, 64)).counts()


def _count(kind: str, batch_norm: bool) -> int:
    return _counts(batch_norm).get(kind, 0)


def _parameters(batch_norm: bool) -> int:
    return sum(p.numel() for p in _network(batch_norm).parameters())


def hidden_units(parameters: int = 18_067_464) -> int:
    """Units of each hidden layer, if both are as large, of the network with this number of parameters: Table 5's.

    >>> hidden_units()
    1024

    Raises
    ------
    ValueError
        If no number of units gives it.
    """
    linear = [m for m in _network(False).modules() if isinstance(m, nn.Linear)]
    rest = parameters - _parameters(False) + sum(p.numel() for m in linear for p in m.parameters())
    inputs, outputs = linear[0].in_features, linear[-1].out_features
    for units in range(1, rest // inputs + 1):
        if (inputs + 1) * units + (units + 1) * units + (units + 1) * outputs == rest:
            return units
    raise ValueError(f"parameters: expected the number of a VGG-16, got {parameters:,}")


def runs_outside_table_4() -> int:
    """Runs of the paper's figures that are not in its Table 4.

    >>> runs_outside_table_4()
    3
    """
    listed = {run for sweep in PAPER.table for run in sweep.runs()}
    return len({run for figure in PAPER.figures for run in figure.runs()} - listed)


def convolution_pairs(model: nn.Sequential) -> SymmetryMap:
    """App. J's rescale pairs: each convolution's weights and bias, and the next one's inputs."""
    named = [(name, m) for name, m in model.named_modules() if isinstance(m, nn.Conv2d)]
    return SymmetryMap(tuple(_pair(one, two) for one, two in pairwise(named)), model=model)


def _pair(before: tuple[str, nn.Conv2d], after: tuple[str, nn.Conv2d]) -> NeuronSymmetries:
    (one, writer), (two, reader) = before, after
    assert writer.bias is not None
    blocks = (
        Block(f"{one}.weight", tuple(writer.weight.shape), 0, 1),
        Block(f"{one}.bias", tuple(writer.bias.shape), 0, 1),
        Block(f"{two}.weight", tuple(reader.weight.shape), 1, -1),
    )
    return NeuronSymmetries("rescale", f"{one} and {two}", blocks)


def broken_pairs(batch_norm: bool) -> int:
    """How many of :func:`convolution_pairs` are no symmetries of a small VGG-16, by more than batch norm's eps.

    >>> broken_pairs(False), broken_pairs(True)
    (0, 12)
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = vgg16(batch_norm, width=1 / 16, input_size=32, classes=5)
        x, y = torch.randn(8, 3, 32, 32), torch.arange(8) % 5
    measured = certify(convolution_pairs(model), nn.functional.cross_entropy, (x, y), seed=0)
    return sum(not row.holds_but_for_eps for row in measured.rows)


MEASUREMENTS: Mapping[str, Callable[[], int]] = MappingProxyType(
    {f"{kind}, {words}": partial(_count, kind, norm)
     for kind in ("scale", "rescale", "translation", "shift") for norm, words in NORM.items()}
    | {f"all, {words}": partial(lambda norm: sum(_counts(norm).values()), norm) for norm, words in NORM.items()}
    | {f"parameters, {words}": partial(_parameters, norm) for norm, words in NORM.items()}
    | {"hidden units": hidden_units, "runs outside Table 4": runs_outside_table_4,
       "broken pairs with batch norm": partial(broken_pairs, True)}
)  # fmt: skip
"""Name of a count in :mod:`derive.paper.experiments` -> what measures it."""
