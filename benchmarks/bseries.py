"""How fast modified equations are found, and how fast kauri finds them, in one run on one machine.

    python benchmarks/bseries.py [--order 14] [--out bseries.json]

Seconds depend on the machine, so each is also given as a multiple of one fixed job of the same kind, 10^6 products of
integers added up, timed beside it. A fresh process is used for each first call, in which trees and cuts are numbered.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import sympy as sp
from sympy.external.gmpy import GROUND_TYPES

from derive.bseries import modified_equation
from derive.multistep import heavy_ball, nesterov
from derive.runge_kutta import runge_kutta
from derive.substitution import modifying_integrator

ROOT = Path(__file__).resolve().parents[1]
FIRST_CALL = """
import time
from derive import runge_kutta
start = time.perf_counter()
runge_kutta("midpoint").modified_equation({order})
print(time.perf_counter() - start)
"""


def best_of(job: Callable[[], object], repeats: int = 3) -> float:
    """The shortest of a few runs: on a shared machine, the one that was least disturbed."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        job()
        times.append(time.perf_counter() - start)
    return min(times)


def reference() -> int:
    total, factor = 0, 30030**4
    for k in range(10**6):
        total += factor * k
    return total


def first_call(order: int) -> float:
    done = subprocess.run([sys.executable, "-c", FIRST_CALL.format(order=order)], cwd=ROOT, capture_output=True, check=True)
    return float(done.stdout)


def kauri_logarithm(order: int) -> Callable[[], object] | None:
    try:
        import kauri
    except ImportError:
        return None
    weights = kauri.midpoint.elementary_weights_map()
    return lambda: [weights.modified_equation()(tree) for n in range(1, order + 1) for tree in kauri.trees_of_order(n)]


def timings(order: int) -> dict[str, float]:
    midpoint, beta = runge_kutta("midpoint"), sp.Symbol("beta")
    found = {f"modified equation of midpoint, order {n}, first call": first_call(n) for n in (9, order)}
    series = midpoint.series(9)
    found["modified equation of midpoint, order 9, again"] = best_of(lambda: modified_equation(series))
    found["modifying integrator of midpoint, order 9"] = best_of(lambda: modifying_integrator(series))
    found["heavy ball, symbolic, order 5"] = best_of(lambda: heavy_ball(beta).slow_flow(5))
    found["Nesterov, symbolic, order 5"] = best_of(lambda: nesterov(beta).slow_flow(5))
    found["modified equation of midpoint, order 6"] = best_of(lambda: midpoint.modified_equation(6))
    if job := kauri_logarithm(6):
        found["kauri: modified equation of midpoint, order 6"] = best_of(job, repeats=1)
    return found


def machine() -> dict[str, object]:
    return {
        "python": platform.python_version(),
        "sympy": sp.__version__,
        "ground_types": GROUND_TYPES,
        "platform": platform.platform(),
        "cpus": os.cpu_count(),
        "load": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
    }


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--order", type=int, default=14)
    arguments.add_argument("--out", type=Path, help="where to write the JSON")
    given = arguments.parse_args()
    unit = best_of(reference)
    seconds = timings(given.order)
    rows = {name: {"seconds": round(value, 5), "reference_jobs": round(value / unit, 3)} for name, value in seconds.items()}
    text = json.dumps({"machine": machine(), "reference_seconds": round(unit, 5), "timings": rows}, indent=2)
    if given.out:
        given.out.write_text(text + "\n", "utf-8")
    print(text)


if __name__ == "__main__":
    main()
