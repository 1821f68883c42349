"""What recording costs: share of a training step, memory and bytes a step, on VGG-16 (width 1, 32x32), one thread.

    python benchmarks/recorder.py [--batch-sizes 16 128] [--steps 12] [--out recorder.json]

Steps with and without the recorder alternate in one process and medians are compared, since other work on the machine
slows both alike. The cost itself is timed inside the hook, in CPU time of the thread, beside that of the whole step.

A step reads the momentum buffer once at least (66 MB here): where the memory is as slow as the arithmetic is fast, that
alone can be more than the half percent which a slower step would hide.
"""

import argparse
import json
import os
import platform
import statistics
import tempfile
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from torch_bridge import Recorder, RunLog, find_symmetries, vgg16

SETTINGS = {"all channels, every=1": {"forcing": "all"}, "drive only, every=100": {"forcing": "drive", "every": 100}}


class Timed(Recorder):
    """A recorder that notes the CPU seconds of each of its steps."""

    def __enter__(self) -> Recorder:
        self.seconds: list[float] = []
        return super().__enter__()

    def _after_step(self, *arguments: Any) -> None:
        start = time.thread_time()
        super()._after_step(*arguments)
        self.seconds.append(time.thread_time() - start)


def trainer(batch_size: int) -> tuple[nn.Module, torch.optim.SGD, Callable[[], None]]:
    torch.manual_seed(0)
    model = vgg16(False, input_size=32)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, weight_decay=5e-4)
    x, y = torch.randn(batch_size, 3, 32, 32), torch.randint(200, (batch_size,))

    def step() -> None:
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()

    step()
    return model, optimizer, step


def seconds_of(job: Callable[[], None]) -> float:
    start = time.thread_time()
    job()
    return time.thread_time() - start


def measure(batch_size: int, steps: int, settings: dict[str, Any]) -> dict[str, float]:
    model, optimizer, step = trainer(batch_size)
    symmetries = find_symmetries(model, torch.zeros(1, 3, 32, 32))
    with tempfile.TemporaryDirectory() as folder:
        with Timed(optimizer, symmetries, Path(folder) / "run", **settings) as recorder:
            hooked, plain = [], []
            for _ in range(steps):
                hooked.append(seconds_of(step))
                recorder._handle.remove()
                plain.append(seconds_of(step))
                recorder._handle = optimizer.register_step_post_hook(recorder._after_step)
        log = RunLog.open(Path(folder) / "run")
        size = sum(file.stat().st_size for file in log.path.glob("segment-*"))
    cost, alone = statistics.median(recorder.seconds), statistics.median(plain)
    return {
        "step_seconds": round(alone, 4),
        "recorder_milliseconds": round(1e3 * cost, 2),
        "share": round(cost / alone, 5),
        "share_by_difference": round(statistics.median(hooked) / alone - 1, 5),
        "log_bytes_per_step": round(size / log.steps),
    }


def memory(settings: dict[str, Any]) -> dict[str, float]:
    """Bytes that the recorder holds between steps, and the most that one step of it has allocated at any moment."""
    model, optimizer, step = trainer(1)
    symmetries = find_symmetries(model, torch.zeros(1, 3, 32, 32))
    parameters = sum(p.numel() * p.element_size() for p in model.parameters())
    with (
        tempfile.TemporaryDirectory() as folder,
        Recorder(optimizer, symmetries, Path(folder) / "run", **settings) as recorder,
    ):
        step()
        held = recorder._pending._rows.numel() * recorder._pending._rows.element_size()
        tracemalloc.start()
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
            recorder._after_step(optimizer, (), {})
        _, in_numpy = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    changes = [e for e in profile.profiler.kineto_results.events() if e.name() == "[memory]"]
    now, most = 0, 0
    for event in sorted(changes, key=lambda event: event.start_ns()):
        now += event.nbytes()
        most = max(most, now)
    return {
        "rows_waiting_bytes": held,
        "step_peak_bytes": most + in_numpy,
        "parameter_bytes": parameters,
        "share_of_parameters": round((held + most + in_numpy) / parameters, 5),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=[16, 128])
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".json"))
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    timings = {
        f"{name}, batch {batch_size}": measure(batch_size, arguments.steps, settings)
        for name, settings in SETTINGS.items()
        for batch_size in arguments.batch_sizes
    }
    small = SETTINGS["drive only, every=100"] | {"flush_every": 1}
    result = {
        "machine": {"torch": torch.__version__, "platform": platform.platform(), "load": os.getloadavg()[0]},
        "timings": timings,
        "memory": {
            "drive only, flush_every=1": memory(small),
            "online, flush_every=1": memory(small | {"online": 1}),
            "drive only, flush_every=256": memory(SETTINGS["drive only, every=100"]),
        },
    }
    arguments.out.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
