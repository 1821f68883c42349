"""How long the driven response over (steps, neurons) takes, beside one pass over the same array, in one run.

    python benchmarks/propagate.py [--steps 40000] [--neurons 10000] [--out benchmarks/propagate.json]

The forcing is float32. The roofline is memory: the array has to be read once, which is what ``sum`` does, and the response
at all steps has to be written, in float64 twice the bytes that were read, into memory that the system has yet to hand out.
So two figures are given: for a few kept steps (what is compared and drawn), and for all of them. Seconds depend on the
machine; every line is also given in passes, that is in multiples of the shortest ``sum``. Each is the shortest of a few.

``scipy.signal.lfilter`` is timed on some columns, over axis 0 as the array lies, and its time taken as linear in them,
which favours it. Memory is the peak beyond the input, traced where numpy allocates it.
"""

import argparse
import json
import os
import platform
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import scipy.signal

from derive import discrete_law, law, scale, sgd
from numerics import propagate

HYPER = {"lr": 0.1, "momentum": 0.9, "weight_decay": 5e-4}
DISCRETE, CONTINUOUS = (f(scale(), sgd(momentum=True)) for f in (discrete_law, law))


def best_of(job: Callable[[], object], repeats: int = 3) -> float:
    """The shortest of a few runs: on a shared machine, the one that was least disturbed."""
    return side_by_side({"job": job}, repeats)["job"]


def side_by_side(jobs: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """The shortest run of each job, taken in turns, so that what disturbs one disturbs all."""
    shortest = dict.fromkeys(jobs, float("inf"))
    for _ in range(rounds):
        for name, job in jobs.items():
            begin = time.perf_counter()
            job()
            shortest[name] = min(shortest[name], time.perf_counter() - begin)
    return shortest


def peak_memory(job: Callable[[], object]) -> int:
    tracemalloc.start()
    job()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return peak


def discrete(forcing: np.ndarray, keep, **hyper) -> np.ndarray:
    return propagate(DISCRETE, np.ones(forcing.shape[1]), {"direction": forcing}, keep=keep, **{**HYPER, **hyper})


def continuous(forcing: np.ndarray, keep, **hyper) -> np.ndarray:
    known = {**HYPER, "step_size": 0.1, **hyper}
    return propagate(CONTINUOUS, np.ones(forcing.shape[1]), {"velocity": forcing}, keep=keep, **known)


def lfilter(forcing: np.ndarray) -> np.ndarray:
    """The scalar recurrence of the same charge, Q_{n+1} − (1+β−2ηλ)Q_n + βQ_{n−1} = η²(w_n + βw_{n−1})."""
    lr, beta, decay = HYPER["lr"], HYPER["momentum"], HYPER["weight_decay"]
    return scipy.signal.lfilter([0, lr**2, beta * lr**2], [1, -(1 + beta - 2 * lr * decay), beta], forcing, axis=0)


def plain_loop(forcing: np.ndarray) -> np.ndarray:
    """Step after step, one matrix product each, the last state alone."""
    lr, beta, decay = HYPER["lr"], HYPER["momentum"], HYPER["weight_decay"]
    A = np.array([[1 - 2 * lr * decay, -2 * lr * beta], [decay, beta]])
    B, state = np.array([[lr**2], [-lr]]), np.zeros((2, forcing.shape[1]))
    for row in forcing:
        state = A @ state + B * row
    return state


def timings(forcing: np.ndarray) -> dict[str, float]:
    steps, neurons = forcing.shape
    few = np.linspace(0, steps, 101).astype(int)
    cosine = {"lr": 0.1 * (1 + np.cos(np.linspace(0, 3, steps))) / 2}
    half, narrow = forcing[: steps // 2], np.ascontiguousarray(forcing[:, : neurons // 2])
    some = np.ascontiguousarray(forcing[:, : max(1, neurons // 20)])
    quick = {
        "sum over the array": forcing.sum,
        "sum over axis 0": lambda: forcing.sum(axis=0),
        "last charge, exact discrete law": lambda: discrete(forcing, [steps]),
        "charge at 101 steps, exact discrete law": lambda: discrete(forcing, few),
        "charge at 101 steps, continuous law": lambda: continuous(forcing, few),
        "charge at 101 steps, exact discrete law, cosine schedule": lambda: discrete(forcing, few, **cosine),
        "charge at 51 steps, half the steps": lambda: discrete(half, few[few <= len(half)]),
        "charge at 101 steps, half the neurons": lambda: discrete(narrow, few),
    }
    slow = {
        "charge at all steps, exact discrete law": lambda: discrete(forcing, None),
        "writing an array of that size (numpy.ones)": lambda: np.ones((steps + 1, neurons)),
    }
    found = side_by_side(quick, 9) | side_by_side(slow, 3)
    found["plain loop over steps, last charge"] = best_of(lambda: plain_loop(forcing), 2)
    lfilter_seconds = best_of(lambda: lfilter(some), 2) * neurons / some.shape[1]
    return found | {"scipy.signal.lfilter, from 1/20 of the neurons": lfilter_seconds}


def torch_timings(forcing: np.ndarray) -> dict[str, float]:
    try:
        import torch
    except ImportError:
        return {}
    found = {}
    for device in ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]:
        tensor, few = torch.as_tensor(forcing, device=device), np.linspace(0, len(forcing), 101).astype(int)
        found[f"torch on {device}: sum"] = best_of(lambda t=tensor: float(t.sum()), 5)
        found[f"torch on {device}: charge at 101 steps"] = best_of(
            lambda t=tensor, k=few: float(propagate(DISCRETE, np.ones(t.shape[1]), {"direction": t}, keep=k, **HYPER).sum()),
            3,
        )
    return found


def machine() -> dict[str, object]:
    return {
        "python": platform.python_version(),
        "numpy": np.__version__,
        "scipy": scipy.__version__,
        "platform": platform.platform(),
        "cpus": os.cpu_count(),
        "threads": os.environ.get("OMP_NUM_THREADS", "not set"),
        "load": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
    }


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--steps", type=int, default=40_000)
    arguments.add_argument("--neurons", type=int, default=10_000)
    arguments.add_argument("--out", type=Path, help="where to write the JSON")
    given = arguments.parse_args()
    forcing = np.random.default_rng(0).random((given.steps, given.neurons), dtype=np.float32)
    few = np.linspace(0, given.steps, 101).astype(int)
    discrete(forcing[:10], [10])  # derived and compiled before it is timed
    continuous(forcing[:10], [10])
    peaks = {"charge at 101 steps": peak_memory(lambda: discrete(forcing, few))}
    seconds = timings(forcing) | torch_timings(forcing)
    unit = seconds["sum over the array"]
    found = {
        "machine": machine(),
        "forcing": {"steps": given.steps, "neurons": given.neurons, "dtype": "float32", "bytes": forcing.nbytes},
        "gigabytes_per_second_of_sum": round(forcing.nbytes / unit / 1e9, 2),
        "peak_memory_megabytes": {name: round(value / 1e6, 1) for name, value in peaks.items()},
        "timings": {name: {"seconds": round(x, 4), "passes": round(x / unit, 2)} for name, x in seconds.items()},
    }
    text = json.dumps(found, indent=2)
    if given.out:
        given.out.write_text(text + "\n", "utf-8")
    print(text)


if __name__ == "__main__":
    main()
