"""Elementary differentials of concrete fields, by their definition: what a B-series means, without its algebra."""

from collections.abc import Mapping
from itertools import product

import sympy as sp

from derive.trees import RootedTree

x, y, h = sp.symbols("x y h")
VARIABLES = (x, y)


def differential(tree: RootedTree, parts: tuple[sp.Matrix, ...]) -> sp.Matrix:
    """F([τ_1, …, τ_m]) = f^{(m)}(F(τ_1), …, F(τ_m)), f the part of the root's colour (HLW, Definition III.1.2)."""
    field = parts[tree.colour]
    below = [differential(child, parts) for child in tree.children]
    total = sp.zeros(2, 1)
    for places in product(range(2), repeat=len(below)):
        slope = field.diff(*(VARIABLES[k] for k in places)) if places else field
        total += slope * sp.prod(vector[k] for vector, k in zip(below, places, strict=True))
    return total.applyfunc(sp.expand)


def evaluated(series: Mapping[RootedTree, sp.Expr], parts: tuple[sp.Matrix, ...], *, is_map: bool) -> sp.Matrix:
    """Σ h^{|τ|} a/σ F(τ), after y for a map and divided by h for a field."""
    total = sp.Matrix(VARIABLES) if is_map else sp.zeros(2, 1)
    for tree, value in series.items():
        if value != 0:
            total += h ** (tree.order - (not is_map)) * value / tree.symmetry * differential(tree, parts)
    return total.applyfunc(sp.expand)


def at_power(vector: sp.Matrix, power: int) -> list[sp.Expr]:
    """The coefficients of h^power."""
    return [sp.expand(component).coeff(h, power) for component in vector]
