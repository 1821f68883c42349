"""The network of the paper's experiments: VGG-16 fitted to small images (Kunin et al. 2021, App. J)."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from math import isfinite

from torch import nn

POOL = 0
"""Marks a 2x2 max-pooling in :data:`FEATURES`."""

FEATURES = (64, 64, POOL, 128, 128, POOL, 256, 256, 256, POOL, 512, 512, 512, POOL, 512, 512, 512, POOL)
"""Output channels of the thirteen 3x3 convolutions (configuration D of Simonyan & Zisserman 2015, table 1)."""

HIDDEN = (1024, 1024)
"""Units of the two hidden fully connected layers, at the size that gives App. J's 18,067,464 parameters."""

SHRINK = 2 ** FEATURES.count(POOL)
"""Ratio of the input's side to the last feature map's."""


def vgg16(
    batch_norm: bool, *, width: float = 1.0, input_size: int = 64, classes: int = 200, in_channels: int = 3
) -> nn.Sequential:
    """VGG-16: images ``(N, in_channels, input_size, input_size)`` to logits ``(N, classes)``.

    Parameters
    ----------
    batch_norm
        Put a batch normalisation between every convolution and its ReLU. The convolution keeps its bias.
    width
        Multiplies every channel and hidden-unit count, which is then rounded, and at least 1.
    input_size
        Side of the square image in pixels: a positive multiple of 32.
    classes, in_channels
        Length of the logits, channels of the image.

    Returns
    -------
    nn.Sequential
        ``features``, ``flatten`` and ``classifier``; Kaiming-normal weights, biases as torch draws them.

    Raises
    ------
    ValueError
        If a size is not one of the above.

    Examples
    --------
    Table 5 of the paper, without and with batch normalisation:

    >>> import torch
    >>> with torch.device("meta"):
    ...     [sum(p.numel() for p in vgg16(batch_norm).parameters()) for batch_norm in (False, True)]
    [18067464, 18075912]
    """
    _check_sizes(width, input_size, classes, in_channels)
    channels = [POOL if count == POOL else _scaled(count, width) for count in FEATURES]
    sizes = [channels[-2] * (input_size // SHRINK) ** 2, *(_scaled(count, width) for count in HIDDEN), classes]
    model = nn.Sequential()
    model.add_module("features", nn.Sequential(*_features(in_channels, channels, batch_norm)))
    model.add_module("flatten", nn.Flatten())
    model.add_module("classifier", nn.Sequential(*_classifier(sizes)))
    model.apply(_initialise)
    return model


def _features(in_channels: int, channels: list[int], batch_norm: bool) -> Iterator[nn.Module]:
    for count in channels:
        if count == POOL:
            yield nn.MaxPool2d(2)
            continue
        yield nn.Conv2d(in_channels, count, 3, padding=1)
        if batch_norm:
            yield nn.BatchNorm2d(count)
        yield nn.ReLU()
        in_channels = count


def _classifier(sizes: list[int]) -> Iterator[nn.Module]:
    """Linear layers of ``sizes[0] -> sizes[1] -> …`` with a ReLU between each two."""
    for k, (fan_in, fan_out) in enumerate(pairwise(sizes)):
        if k:
            yield nn.ReLU()
        yield nn.Linear(fan_in, fan_out)


def _initialise(module: nn.Module) -> None:
    """Kaiming-normal weights (He et al. 2015), as App. J says, for the ReLU that follows; biases stay as torch draws them.

    App. J is silent on biases. Zeros would make the charges of a bias alone 0 for good, and their laws empty.
    """
    if isinstance(module, nn.Conv2d | nn.Linear):
        nn.init.kaiming_normal_(module.weight, nonlinearity="relu")


def _scaled(count: int, width: float) -> int:
    return max(1, round(count * width))


def _check_sizes(width: float, input_size: int, classes: int, in_channels: int) -> None:
    if not (isfinite(width) and width > 0):
        raise ValueError(f"width: expected a finite number > 0, got {width}; 1.0 is the paper's network")
    if input_size < SHRINK or input_size % SHRINK:
        raise ValueError(
            f"input_size: expected a positive multiple of {SHRINK} (five poolings halve it), got {input_size}; "
            f"resize the images to {max(1, round(input_size / SHRINK)) * SHRINK} pixels"
        )
    for name, value in {"classes": classes, "in_channels": in_channels}.items():
        if value < 1:
            raise ValueError(f"{name}: expected an integer >= 1, got {value}; the paper has 200 classes and 3 channels")
