"""Runge–Kutta methods as tableaux, and their B-series (Hairer, Lubich, Wanner 2006, II.1 and III.1; "HLW" below).

The stages g_i and the step Φ are

    g_i = y + h Σ_j a_ij f(t + c_j h, g_j),   Φ(y) = y + h Σ_i b_i f(t + c_i h, g_i).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import sympy as sp

from derive.bseries import BSeries, Element, SeriesError, exact_field, exact_flow, exact_number, modified_equation
from derive.substitution import modifying_integrator
from derive.tree_table import tree_table
from derive.trees import RootedTree

Row = tuple[sp.Expr, ...]


class TableauError(SeriesError):
    """Numbers that are no Runge–Kutta tableau."""


@dataclass(frozen=True)
class RungeKutta:
    """A Runge–Kutta method: the tableau (A, b, c), exact numbers or SymPy expressions. Build it with :func:`runge_kutta`.

    Parameters
    ----------
    A, b, c
        Stage coefficients (square), weights and nodes.
    name, source
        What it is called, and where it is published.
    """

    A: tuple[Row, ...]
    b: Row
    c: Row
    name: str = ""
    source: str = ""

    def __post_init__(self) -> None:
        stages = len(self.A)
        widths = [len(row) for row in self.A]
        if stages == 0 or widths != [stages] * stages:
            raise TableauError(f"A: expected a square tableau, got rows of lengths {widths}; pad short rows with 0")
        for name, row in (("b", self.b), ("c", self.c)):
            if len(row) != stages:
                raise TableauError(f"{name}: expected {stages} numbers, one for each row of A, got {len(row)}")

    @property
    def stages(self) -> int:
        """How often f is evaluated in a step."""
        return len(self.b)

    @property
    def is_explicit(self) -> bool:
        """Whether each stage needs earlier ones only."""
        return all(self.A[i][j] == 0 for i in range(self.stages) for j in range(i, self.stages))

    @cached_property
    def order(self) -> int:
        """How far it agrees with the exact flow, up to 8 (HLW, Theorem III.1.5)."""
        return self.series(8).agreement(exact_flow(8))

    @cached_property
    def has_consistent_rows(self) -> bool:
        """c_i = Σ_j a_ij, without which time-dependent fields are treated unlike others."""
        return all(sp.simplify(sum(row) - c) == 0 for row, c in zip(self.A, self.c, strict=True))

    def series(self, order: int) -> BSeries:
        """Its B-series to ``order``: the elementary weights (HLW, Theorem III.1.4).

        >>> runge_kutta("midpoint").series(3)
        <B-series of a map to order 3: t: 1, [t]: 1/2, [[t]]: 0, [t,t]: 1/4>
        """
        return elementary_weights((self,), order)

    def modified_equation(self, order: int) -> BSeries:
        """The field that the method follows: f̃ = Σ h^{|τ|−1} b(τ)/σ(τ) F(τ).

        Explicit midpoint to order 9; the sum is that of BSeries.jl:

        >>> sum(runge_kutta("midpoint").modified_equation(9).values())
        19063/26880
        """
        return modified_equation(self.series(order))

    def modifying_integrator(self, order: int) -> BSeries:
        """The field on which the method gives the exact flow of f (Chartier, Hairer, Vilmart 2007).

        >>> sum(runge_kutta("midpoint").modifying_integrator(9).values())
        5460293/241920
        """
        return modifying_integrator(self.series(order))

    def _repr_latex_(self) -> str:
        rows = [" & ".join(map(sp.latex, (c, *row))) for c, row in zip(self.c, self.A, strict=True)]
        last = " & ".join(["", *map(sp.latex, self.b)])
        body = r" \\ ".join(rows) + r" \\ \hline " + last
        return rf"$\begin{{array}}{{c|{'c' * self.stages}}} {body} \end{{array}}$"


def _list(name: str, values: Any) -> list[Any]:
    """Lists, tuples, SymPy matrices and arrays."""
    values = values.tolist() if hasattr(values, "tolist") else values
    if isinstance(values, str) or not hasattr(values, "__iter__"):
        raise TableauError(f"{name}: expected a sequence of numbers, got {values!r}")
    return list(values)


def _row(name: str, values: Any) -> Row:
    return tuple(exact_number(name, value) for value in _list(name, values))


def runge_kutta(A: Any, b: Sequence[Any] | None = None, c: Sequence[Any] | None = None, *, name: str = "") -> RungeKutta:
    """A method of the catalogue by name, or from its tableau; without ``c`` the nodes are the row sums of A.

    >>> runge_kutta("rk4").order, runge_kutta([[0, 0], [0.5, 0]], [0, 1]).order
    (4, 2)

    Raises
    ------
    TableauError
        For an unknown name, or a tableau that is not square or does not fit its weights.
    """
    if isinstance(A, str):
        if A not in CATALOGUE or b is not None or c is not None:
            raise TableauError(f"A: expected one of {sorted(CATALOGUE)} alone, or a tableau A with weights b, got {A!r}")
        return CATALOGUE[A]
    if b is None:
        raise TableauError("b: expected the weights beside the tableau A, got none; runge_kutta(A, b)")
    rows = tuple(_row("A", row) for row in _list("A", A))
    nodes = tuple(sp.Add(*row) for row in rows) if c is None else _row("c", c)
    method = RungeKutta(rows, _row("b", b), nodes, name)
    if c is not None and not method.has_consistent_rows:
        raise TableauError(f"c: expected the row sums of A, got {nodes}; leave c out, or build RungeKutta(A, b, c) itself")
    return method


def elementary_weights(parts: Sequence[RungeKutta], order: int) -> BSeries:
    """a(τ) = Σ_i b_i g_i(τ), g(τ) = Π_{children} A g(child) stage by stage (HLW, Theorem III.1.4).

    With two tableaux, the field is split in two parts and the colour of a vertex says which part, and so which tableau
    (HLW, Theorem III.2.4).
    """
    table = tree_table(order, len(parts))
    stages = parts[0].stages
    flat = [x for part in parts for row in (part.b, *part.A) for x in row]
    domain, entries = exact_field(flat)
    rows = [entries[k : k + stages] for k in range(0, len(entries), stages)]
    tableaux = [rows[k : k + stages + 1] for k in range(0, len(rows), stages + 1)]
    ones = [domain.one] * stages
    weights, grown, lifted, colour = [], [], [], []
    for number in range(table.count(order)):
        left, right = table.left[number], table.right[number]
        colour.append(number if left < 0 else colour[left])
        inner = ones if left < 0 else [x * y for x, y in zip(grown[left], lifted[right], strict=True)]
        last, *matrix = tableaux[colour[number]]
        grown.append(inner)
        lifted.append([_dot(row, inner, domain) for row in matrix])
        weights.append(_dot(last, inner, domain))
    return _in_smallest_field(BSeries(order, 1, domain, tuple(weights), len(parts)))


def _dot(row: list[Element], column: list[Element], domain: Any) -> Element:
    return sum((x * y for x, y in zip(row, column, strict=True) if x and y), domain.zero)


def _in_smallest_field(series: BSeries) -> BSeries:
    """Weights of a tableau with roots are often rational: Gauss has √3, its weights have not."""
    if not series.domain.is_Algebraic:
        return series
    domain, elements = exact_field([series.domain.to_sympy(x) for x in series.elements])
    return BSeries(series.order, series.at_empty, domain, tuple(elements), series.colours)


@dataclass(frozen=True)
class PartitionedRungeKutta:
    """Two tableaux for f = f_1 + f_2, such as the two halves of p' = −∂H/∂q, q' = ∂H/∂p (HLW, II.2 and III.2).

    Its series run over trees of two colours, 0 (``t``) for ``first``, 1 (``o``) for ``second``. Build it with
    :func:`partitioned`.
    """

    first: RungeKutta
    second: RungeKutta
    name: str = ""
    source: str = ""

    def __post_init__(self) -> None:
        if self.first.stages != self.second.stages:
            raise TableauError("second: expected as many stages as first, got "
                               f"{self.first.stages} and {self.second.stages}; pad with zero weights")  # fmt: skip

    def _repr_latex_(self) -> str:
        return rf"${self.first._repr_latex_().strip('$')} \qquad {self.second._repr_latex_().strip('$')}$"

    def series(self, order: int) -> BSeries:
        """Its P-series to ``order``.

        >>> partitioned("symplectic_euler").series(2)
        <B-series of a map to order 2: t: 1, o: 1, [t]: 1, [o]: 0, (t): 1, (o): 0>
        """
        return elementary_weights((self.first, self.second), order)

    def modified_equation(self, order: int) -> BSeries:
        """The split field that the method follows."""
        return modified_equation(self.series(order))

    @property
    def order(self) -> int:
        """How far it agrees with the exact flow, up to 6."""
        return self.series(6).agreement(exact_flow(6, colours=2))


def partitioned(name: str) -> PartitionedRungeKutta:
    """``"symplectic_euler"`` or ``"stormer_verlet"``.

    >>> partitioned("stormer_verlet").order
    2
    """
    if name not in PARTITIONED:
        raise TableauError(f"name: expected one of {sorted(PARTITIONED)}, got {name!r}")
    return PARTITIONED[name]


def quadratic_defects(series: BSeries) -> dict[tuple[RootedTree, RootedTree], sp.Expr]:
    """The pairs (u, v) with a(u∘v) + a(v∘u) ≠ a(u) a(v), and the difference; of a field, b(u∘v) + b(v∘u) ≠ 0.

    None means that every quadratic invariant yᵀCy of f is one of the map, and that it is symplectic (HLW, Theorems
    VI.7.6, IX.9.3). With two colours the invariants are pᵀCq, and the roots of u and v have different colours
    (Theorem VI.7.10).
    """
    table, values, found = series.table, series.elements, {}
    for u in range(len(values)):
        for v in range(u, len(values)):
            if table.order[u] + table.order[v] > series.order:
                break
            if series.colours == 2 and table.tree(u).colour == table.tree(v).colour:
                continue
            product = values[u] * values[v] if series.is_map else series.domain.zero
            defect = values[table.product(u, v)] + values[table.product(v, u)] - product
            if defect:
                found[table.tree(u), table.tree(v)] = series.domain.to_sympy(defect)
    return found


def conserves_quadratic_invariants(method: RungeKutta | PartitionedRungeKutta | BSeries, order: int) -> bool:
    """Whether it keeps every quadratic invariant of f, tested to ``order``.

    Implicit midpoint does. Euler loses them at once, and gradient descent with it the charges of its symmetries:

    >>> conserves_quadratic_invariants(runge_kutta("implicit_midpoint"), 8)
    True
    >>> conserves_quadratic_invariants(runge_kutta("euler"), 2)
    False
    """
    series = method.truncated(order) if isinstance(method, BSeries) else method.series(order)
    return not quadratic_defects(series)


def _method(name: str, source: str, *rows: str) -> RungeKutta:
    """The rows of A and, last, the weights, as text."""
    *A, b = (tuple(sp.Rational(number) for number in row.split()) for row in rows)
    return RungeKutta(tuple(A), b, tuple(sum(row, sp.S.Zero) for row in A), name, source)


def _gauss4() -> RungeKutta:
    """Sums are put together in SymPy's own order but not evaluated: its first evaluated sum loads sympy.tensor, at 15 ms."""
    half, quarter, lean = sp.Rational(1, 2), sp.Rational(1, 4), sp.sqrt(3) / 6
    less, more = ({n: sp.Add(n, side, evaluate=False) for n in (half, quarter)} for side in (-lean, lean))
    A = (quarter, less[quarter]), (more[quarter], quarter)
    return RungeKutta(A, (half, half), (less[half], more[half]), "gauss4", "Hammer, Hollingsworth 1955; HLW, table II.1.1")


_METHODS = (
    _method("euler", "Euler 1768; HLW, eq. I.1.5", "0", "1"),
    _method("implicit_euler", "HLW, eq. I.1.6", "1", "1"),
    _method("midpoint", "Runge 1895; HLW, eq. II.1.3", "0 0", "1/2 0", "0 1"),
    _method("heun", "Heun 1900, the explicit trapezoidal rule; HLW, eq. II.1.2", "0 0", "1 0", "1/2 1/2"),
    _method("ralston", "Ralston 1962", "0 0", "2/3 0", "1/4 3/4"),
    _method("heun3", "Heun 1900", "0 0 0", "1/3 0 0", "0 2/3 0", "1/4 0 3/4"),
    _method("kutta3", "Kutta 1901", "0 0 0", "1/2 0 0", "-1 2 0", "1/6 2/3 1/6"),
    _method("ssprk33", "Shu, Osher 1988", "0 0 0", "1 0 0", "1/4 1/4 0", "1/6 1/6 2/3"),
    _method("rk4", "Kutta 1901; HLW, table II.1.1", "0 0 0 0", "1/2 0 0 0", "0 1/2 0 0", "0 0 1 0", "1/6 1/3 1/3 1/6"),
    _method("kutta38", "Kutta 1901; HLW, table II.1.1",
            "0 0 0 0", "1/3 0 0 0", "-1/3 1 0 0", "1 -1 1 0", "1/8 3/8 3/8 1/8"),
    _method("implicit_midpoint", "Gauss with one stage; HLW, eq. I.1.7", "1/2", "1"),
    _method("trapezoidal", "HLW, eq. II.1.1", "0 0", "1/2 1/2", "1/2 1/2"),
    _gauss4(),
    _method("radau3", "Radau IIA; HLW, table II.1.3", "5/12 -1/12", "3/4 1/4", "3/4 1/4"),
    _method("lobatto_iiia4", "HLW, table II.1.4", "0 0 0", "5/24 1/3 -1/24", "1/6 2/3 1/6", "1/6 2/3 1/6"),
)  # fmt: skip
CATALOGUE = {method.name: method for method in _METHODS}
"""The methods that :func:`runge_kutta` knows by name."""

PARTITIONED = {
    "symplectic_euler": PartitionedRungeKutta(
        CATALOGUE["implicit_euler"], CATALOGUE["euler"], "symplectic_euler", "de Vogelaere 1956; HLW, eq. I.1.9"
    ),
    "stormer_verlet": PartitionedRungeKutta(
        _method("lobatto_iiib2", "HLW, table II.2.1", "1/2 0", "1/2 0", "1/2 1/2"),
        CATALOGUE["trapezoidal"],
        "stormer_verlet",
        "Verlet 1967; HLW, eq. I.1.17",
    ),
}
"""The pairs that :func:`partitioned` knows by name: the first tableau for p, the second for q."""
