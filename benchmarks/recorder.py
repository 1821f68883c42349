"""What recording costs: share of a training step, memory and bytes a step, on VGG-16 (width 1, 32x32), one thread.

    python benchmarks/recorder.py [--batch-sizes 16 128] [--steps 20] [--out recorder.json]

Steps with and without the recorder alternate in one process, since other work on the machine slows both alike. The cost
itself is timed inside the hook, in CPU time of the thread, beside that of the whole step: the mean, with its part of the
charges that are measured and of the segments that are written, and the median, the cost of the forcing alone.

No recorder can do with less than one pass over the momentum buffer (66 MB here), three with all channels. What one dot
product with itself takes after a step is in the table as ``bare_pass``: what is reachable on this machine.
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

SETTINGS = {
    "default": {},
    "all channels, every=1": {"every": 1},
    "drive only, every=100": {"forcing": "drive", "every": 100},
}


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


def bare_pass(optimizer: torch.optim.SGD) -> None:
    """Read every momentum buffer once, with the least that can be done to it."""
    for state in optimizer.state.values():
        buffer = state["momentum_buffer"].view(-1)
        torch.dot(buffer, buffer)


def measure(batch_size: int, steps: int, settings: dict[str, Any]) -> dict[str, float]:
    model, optimizer, step = trainer(batch_size)
    symmetries = find_symmetries(model, torch.zeros(1, 3, 32, 32))
    with tempfile.TemporaryDirectory() as folder:
        with Timed(optimizer, symmetries, Path(folder) / "run", **settings) as recorder:
            hooked, plain, bare = [], [], []
            for _ in range(steps):
                hooked.append(seconds_of(step))
                recorder._handle.remove()
                plain.append(seconds_of(step))
                bare.append(seconds_of(lambda: bare_pass(optimizer)))
                recorder._handle = optimizer.register_step_post_hook(recorder._after_step)
        log = RunLog.open(Path(folder) / "run")
        size = sum(file.stat().st_size for file in log.path.glob("segment-*"))
    alone, floor = statistics.median(plain), statistics.median(bare)
    mean, median = statistics.fmean(recorder.seconds), statistics.median(recorder.seconds)
    return {
        "step_seconds": round(alone, 4),
        "bare_pass_milliseconds": round(1e3 * floor, 2),
        "recorder_milliseconds": round(1e3 * mean, 2),
        "recorder_milliseconds_median": round(1e3 * median, 2),
        "bare_pass_share": round(floor / alone, 5),
        "share": round(mean / alone, 5),
        "share_median": round(median / alone, 5),
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
        waiting = recorder._pending._rows
        held = waiting.numel() * waiting.element_size()
        row = recorder._plan._row.numel() * recorder._plan._row.element_size()
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
        "row_under_way_bytes": row,
        "step_peak_bytes": most + in_numpy,
        "parameter_bytes": parameters,
        "share_of_parameters": round((held + row + most + in_numpy) / parameters, 5),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=[16, 128])
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".json"))
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    timings = {
        f"{name}, batch {batch_size}": measure(batch_size, arguments.steps, settings)
        for name, settings in SETTINGS.items()
        for batch_size in arguments.batch_sizes
    }
    drive = SETTINGS["drive only, every=100"]
    kept = {
        "default": {},
        "drive only": drive,
        "drive only, flush_every=1": drive | {"flush_every": 1},
        "online, flush_every=1": drive | {"flush_every": 1, "online": 1},
    }
    result = {
        "machine": {"torch": torch.__version__, "platform": platform.platform(), "load": os.getloadavg()[0]},
        "timings": timings,
        "memory": {name: memory(settings) for name, settings in kept.items()},
    }
    arguments.out.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
