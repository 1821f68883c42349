"""How fast modified equations of concrete losses and fields are found, in one run on one machine.

    python benchmarks/modified_equations.py [--out modified_equations.json]

Seconds depend on the machine, so each is also given as a multiple of one fixed job of the same kind, 10^6 products of
integers added up, timed beside it. Every job starts from the field, so that each run builds its ring and series anew.
"""

import argparse
import json
from collections.abc import Callable
from pathlib import Path

import sympy as sp
from bseries import best_of, machine, reference

from derive import discrete_manifold, modified_flow, modified_loss, runge_kutta, sgd

x, y, z = sp.symbols("x y z", real=True)
LOTKA_VOLTERRA = {x: x * (2 - y), y: y * (x - 1)}
CURVED = x**2 / 2 + y**2 + x**2 * y / 3
LOGISTIC = sp.log(1 + sp.exp(x * y)) + x**2 / 2
LORENZ = {x: 10 * (y - x), y: x * (28 - z) - y, z: x * y - sp.Rational(8, 3) * z}
PLAIN, MOMENTUM = sgd(weight_decay=False), sgd(momentum=True, weight_decay=False)
EULER = runge_kutta("euler")

JOBS: dict[str, Callable[[], object]] = {
    "Lotka-Volterra, explicit Euler, to h^9": lambda: modified_flow(EULER, field=LOTKA_VOLTERRA, order=9),
    "Lotka-Volterra, explicit Euler, to h^10": lambda: modified_flow(EULER, field=LOTKA_VOLTERRA, order=10),
    "Lotka-Volterra, implicit midpoint, to h^6": lambda: modified_flow(
        runge_kutta("implicit_midpoint"), field=LOTKA_VOLTERRA, order=6
    ),
    "Lorenz, Runge-Kutta 4, to h^6": lambda: modified_flow(runge_kutta("rk4"), field=LORENZ, order=6),
    "curved loss, gradient descent, to h^6, with its curl": lambda: modified_loss(PLAIN, loss=CURVED, order=6).is_gradient,
    "curved loss, heavy ball, symbolic, to h^4": lambda: modified_flow(MOMENTUM, loss=CURVED, order=4),
    "logistic loss, gradient descent, to h^4": lambda: modified_flow(PLAIN, loss=LOGISTIC, order=4),
    "discrete manifold of the heavy ball, symbolic, to h^4": lambda: discrete_manifold(MOMENTUM, 4),
    "modified flow in time derivatives, symbolic, to h^6": lambda: modified_flow(MOMENTUM, order=6),
    "rotation, explicit Euler, all orders": lambda: modified_flow(EULER, field={x: -y, y: x}, order=sp.oo),
}


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--out", type=Path, help="where to write the JSON")
    given = arguments.parse_args()
    unit = best_of(reference)
    seconds = {name: best_of(job) for name, job in JOBS.items()}
    rows = {name: {"seconds": round(value, 5), "reference_jobs": round(value / unit, 3)} for name, value in seconds.items()}
    text = json.dumps({"machine": machine(), "reference_seconds": round(unit, 5), "timings": rows}, indent=2)
    if given.out:
        given.out.write_text(text + "\n", "utf-8")
    print(text)


if __name__ == "__main__":
    main()
