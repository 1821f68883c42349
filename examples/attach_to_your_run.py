"""Attach nmech to a training loop of your own: find the symmetries, certify them, record, evaluate, report.

A small convolutional network with batch norm learns digits with momentum and a cosine schedule. The exact discrete law
must hold to rounding whatever the schedule does; the continuous law to first order in the step.

    python examples/attach_to_your_run.py [FOLDER]
"""

import sys
import tempfile
from pathlib import Path

import torch
from torch import nn

from torch_bridge import Recorder, RunLog, evaluate, find_symmetries, open_dataset
from torch_bridge.data import batches

STEPS = 120


def network() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(8, 16, 3, padding=1),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Linear(64, 10),
    )


def main(folder: Path) -> float:
    torch.manual_seed(0)
    images = open_dataset("digits", input_size=16, in_channels=1)
    model = network().double()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=5e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, STEPS)

    example = next(iter(batches(images, 32, 1, 0)))
    symmetries = find_symmetries(model, example[0].double())
    print("symmetries:", symmetries.counts())
    print(symmetries.certify(nn.functional.cross_entropy, (example[0].double(), example[1])))

    with Recorder(optimizer, symmetries, folder / "run"):
        for x, y in batches(images, 64, STEPS, 0):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x.double()), y).backward()
            optimizer.step()
            schedule.step()

    comparison = evaluate(RunLog.open(folder / "run"))
    print(comparison.table())
    print("report:", comparison.report(folder / "report.html"))
    return comparison.worst("exact")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else tempfile.mkdtemp(prefix="nmech-")))
