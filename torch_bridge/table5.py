"""The paper's own count of a VGG-16's symmetries (Kunin et al. 2021, App. J, Table 5), held against the certified one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import nn


@dataclass(frozen=True)
class Count:
    """One kind of symmetry: how many the paper's rule counts, how many there are, and why the two differ."""

    kind: str
    paper: int
    certified: int
    reason: str

    def __str__(self) -> str:
        return f"{self.kind:<12}{self.paper:>8,}{self.certified:>11,}  {self.reason}"


def compare_with_table_5(model: nn.Sequential, counts: Mapping[str, int]) -> tuple[Count, ...]:
    """The rule of App. J applied to ``model`` (convolutions, then linear layers), beside ``counts`` found and certified.

    >>> import torch
    >>> from torch_bridge.discover import find_symmetries
    >>> from torch_bridge.vgg import vgg16
    >>> with torch.device("meta"):
    ...     model, x = vgg16(batch_norm=True), torch.empty(2, 3, 64, 64)
    >>> for count in compare_with_table_5(model, find_symmetries(model, x).counts()):
    ...     print(count.kind, count.paper, count.certified)
    scale 4227 4224
    shift 0 4224
    rescale 8323 6272
    translation 201 1025
    """
    convolutions = [m for m in model.modules() if isinstance(m, nn.Conv2d)]
    linear = [m for m in model.modules() if isinstance(m, nn.Linear)]
    channels, image = sum(c.out_channels for c in convolutions), convolutions[0].in_channels
    norms = any(isinstance(m, nn.BatchNorm2d) for m in model.modules())
    inputs, last, classes = sum(m.in_features for m in linear), linear[-1].in_features, linear[-1].out_features
    flat, maps = linear[0].in_features, convolutions[-1].out_channels
    rows = {
        "scale": (
            (channels + image) * norms,
            f"the paper's {image} more are the image's channels, which no parameter writes",
        ),
        "shift": (0, "not in the paper: a bias before batch norm is subtracted again, its gradient is exactly 0"),
        "rescale": (
            channels + image + inputs,
            f"the paper's {image} more are the image's channels; its {flat:,} inputs of the first linear layer are the "
            f"pixels of {maps:,} channels that it has counted before, each with one writer",
        ),
        "translation": (
            classes + 1,
            f"the paper counts {classes} classes and the bias; the same number added to all logits is one for each of the "
            f"{last:,} *columns* of the last weight, and the bias: adding to one class's weights changes the loss",
        ),
    }
    return tuple(Count(k, paper, counts.get(k, 0), why) for k, (paper, why) in rows.items() if paper or counts.get(k))
