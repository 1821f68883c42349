"""What the command line's ``symmetries`` and ``train`` do, for the models that it knows by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import torch
from torch import nn

from torch_bridge.data import open_dataset
from torch_bridge.discover import find_symmetries
from torch_bridge.run_log import RunLog
from torch_bridge.table5 import compare_with_table_5
from torch_bridge.train import Training, train
from torch_bridge.vgg import vgg16

BATCH_NORM = {"vgg16": False, "vgg16-bn": True}
"""Model name -> whether it has batch norm."""


def build_model(
    name: str, width: float, input_size: int, classes: int | None = None, *, seed: int = 0
) -> tuple[nn.Sequential, int]:
    """The model, freshly initialised from ``seed``, and its number of classes (200, the paper's, unless given)."""
    if name not in BATCH_NORM:
        raise ValueError(f"model: expected one of {sorted(BATCH_NORM)}, got {name!r}")
    torch.manual_seed(seed)
    chosen = 200 if classes is None else classes
    return vgg16(BATCH_NORM[name], width=width, input_size=input_size, classes=chosen), chosen


def describe_symmetries(model: nn.Sequential, input_size: int, classes: int, *, certify: bool = False) -> str:
    """Groups, counts, what was not claimed and why, the paper's counts; with ``certify`` every claim measured on a batch."""
    x = torch.randn(4, 3, input_size, input_size)
    found = find_symmetries(model, x)
    counts = found.counts()
    lines = [f"{group.kind:<12} {group.neurons:>6}  {group.label}" for group in found.groups]
    lines += [f"{kind}: {count:,}" for kind, count in counts.items()] + [f"in all: {sum(counts.values()):,}"]
    lines += [f"not claimed: {reason}" for reason in found.blocked]
    lines += ["", f"{'kind':<12}{'Table 5':>8}{'found':>11}  why they differ"]
    lines += [str(count) for count in compare_with_table_5(model, counts)]
    if certify:
        lines.append(str(found.certify(nn.functional.cross_entropy, (x, torch.randint(classes, (4,))))))
        if "scale" in counts:
            lines.append("what eps breaks, by about eps/variance, a recorded run measures, and its law holds")
    return "\n".join(lines)


def train_model(options: Mapping[str, Any], *, progress: bool = True, **recording: Any) -> RunLog:
    """Train the model that ``options`` describe (``model``, ``width``, ``data``, … and the fields of ``Training``).

    ``recording`` is what :func:`torch_bridge.train` takes besides: ``online``, ``weights``.
    """
    images = open_dataset(options["data"], input_size=options["input_size"])
    classes = images.classes if options["classes"] is None else options["classes"]
    model, _ = build_model(options["model"], options["width"], options["input_size"], classes, seed=options["seed"])
    training = Training(**{field.name: options[field.name] for field in fields(Training)})
    meta = {name: options[name] for name in ("model", "width", "input_size", "data")}
    return train(model, images, training, options["out"], meta=meta, progress=progress, **recording)
