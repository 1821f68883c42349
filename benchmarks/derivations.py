"""How long it takes to import derive, and to derive all the equations of Kunin et al. 2021 anew, in one run on one machine.

    python benchmarks/derivations.py [--out derivations.json]

Every job is a process of its own, so that nothing is remembered from the one before; the import is given as a multiple of
``import sympy`` in the same process, the least of several. Python must be allowed to keep its bytecode.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path

from bseries import best_of, machine, reference

IMPORT = """
import time
start = time.perf_counter(); import sympy
middle = time.perf_counter(); import derive
end = time.perf_counter()
print(middle - start, end - start)
"""
PAPER = """
import time
from itertools import product
start = time.perf_counter()
import derive, sympy
symmetries = derive.translation(), derive.scale(), derive.rescale()
rules = derive.sgd(), derive.sgd(momentum=True), derive.sgd(momentum=True, dampening=True)
flows = [derive.gradient_flow(weight_decay=w, momentum=b) for w, b in product((False, True), repeat=2)]
for s in symmetries:
    s.gradient_identity, s.hessian_identity, derive.relations(s), derive.noether(s)     # 1-13, 22-26, Tables 2 and 3
    derive.theorem_1(s)                                                                # 10
    [derive.solve(derive.law(s, rule)) for rule in flows]                              # 9-15
    [derive.solve(derive.law(s, rule)).residual() for rule in rules]                   # 16-21, 27-30, 32-38
    [derive.discrete_law(s, rule) for rule in rules]                                   # 39-41
    derive.ito_law(s, derive.sgd())                                                    # 31
paper = time.perf_counter() - start
for s, rule in product(symmetries, rules):
    derive.solve(derive.law(s, rule, sympy.oo), start="first step")
print(paper, time.perf_counter() - start - paper)
"""


def run(source: str) -> list[float]:
    found = subprocess.run([sys.executable, "-c", source], check=True, capture_output=True, text=True)
    return [float(x) for x in found.stdout.split()]


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--out", type=Path, help="where to write the JSON")
    given = arguments.parse_args()
    run(IMPORT)  # the bytecode is written
    alone, with_derive = min((run(IMPORT) for _ in range(15)), key=sum)
    paper, all_orders = run(PAPER)
    found = {
        "machine": machine(),
        "reference_seconds": round(best_of(reference), 5),
        "import": {
            "sympy": round(alone, 4),
            "sympy and derive": round(with_derive, 4),
            "ratio": round(with_derive / alone, 3),
        },
        "seconds": {"all equations of the paper": round(paper, 2), "its nine laws to all orders": round(all_orders, 2)},
    }
    text = json.dumps(found, indent=2)
    if given.out:
        given.out.write_text(text + "\n", "utf-8")
    print(text)


if __name__ == "__main__":
    main()
