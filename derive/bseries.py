"""B-series: one-step maps and vector fields as coefficients of rooted trees (Hairer, Lubich, Wanner 2006, III.1 and IX.9).

With σ the symmetry and F(τ) the elementary differential of y' = f(y), coefficients a, b mean

    map      Φ(y) = y + Σ_τ h^{|τ|} a(τ)/σ(τ) F(τ)(y),
    field    f̃(y) =     Σ_τ h^{|τ|−1} b(τ)/σ(τ) F(τ)(y).

The normalization is that of HLW, and of BSeries.jl: the exact flow is a = 1/γ, the field f itself is b(t) = 1.
Arithmetic is exact, in the smallest SymPy domain that holds the coefficients: rationals, or fractions of polynomials.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from math import factorial, prod
from typing import Any

import sympy as sp
from sympy.polys.constructor import construct_domain
from sympy.polys.domains import QQ, PythonIntegerRing

from derive.tree_table import TreeTable, tree_table
from derive.trees import RootedTree

Element = Any
"""A number or a polynomial of a SymPy domain."""

_INTEGERS = PythonIntegerRing()
"""Plain integers: for numbers of this size faster than gmpy2's."""


class SeriesError(ValueError):
    """B-series that do not go together, or coefficients that make none."""


@dataclass(frozen=True, eq=False)
class BSeries(Mapping[RootedTree, sp.Expr]):
    """A B-series to ``order``: a mapping tree -> coefficient. Build it with :func:`b_series` or from a method.

    Parameters
    ----------
    order
        The largest number of vertices kept.
    at_empty
        The coefficient of the empty tree: 1 for a map, 0 for a vector field.
    domain, elements
        The coefficients as elements of a SymPy domain, by number in :func:`derive.tree_table.tree_table`.
    colours
        2 for a field split in two parts (a P-series).
    """

    order: int
    at_empty: int
    domain: Any
    elements: tuple[Element, ...]
    colours: int = 1

    @property
    def table(self) -> TreeTable:
        """The numbering of its trees."""
        return tree_table(self.order, self.colours)

    @property
    def is_map(self) -> bool:
        """Whether it is a map y -> Φ(y) rather than a vector field."""
        return self.at_empty == 1

    def __getitem__(self, tree: RootedTree | str) -> sp.Expr:
        tree = RootedTree.parse(tree) if isinstance(tree, str) else tree
        if not isinstance(tree, RootedTree) or tree.order > self.order or tree.colours > self.colours:
            raise KeyError(f"tree: expected a rooted tree of order up to {self.order}, got {tree}")
        return self._to_sympy(self.elements[self.table.number(tree)])

    def __iter__(self) -> Iterator[RootedTree]:
        return map(self.table.tree, range(len(self.elements)))

    def __len__(self) -> int:
        return len(self.elements)

    def values(self):  # type: ignore[override]  # a list: the inherited view looks every tree up again
        """The coefficients, in the order of the trees."""
        return [self._to_sympy(element) for element in self.elements]

    def items(self):  # type: ignore[override]
        """(tree, coefficient), by order."""
        return list(zip(self, self.values(), strict=True))

    def _to_sympy(self, element: Element) -> sp.Expr:
        value = self.domain.to_sympy(element)
        return value if self.domain.is_Numerical else sp.factor(value)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, BSeries):
            return NotImplemented
        if (self.order, self.at_empty, self.colours) != (other.order, other.at_empty, other.colours):
            return False
        _, left, right = in_one_domain(self, other)
        return left == right

    def __hash__(self) -> int:
        return hash((self.order, self.at_empty, self.colours))

    def __repr__(self) -> str:
        kind = "map" if self.is_map else "field"
        shown = ", ".join(f"{tree}: {value}" for tree, value in self.truncated(min(self.order, 3)).items())
        return f"<B-series of a {kind} to order {self.order}: {shown}{', …' if self.order > 3 else ''}>"

    def truncated(self, order: int) -> BSeries:
        """The same series to a lower order."""
        if not 0 <= order <= self.order:
            raise SeriesError(f"order: expected 0 to {self.order}, the order of the series, got {order!r}")
        return BSeries(order, self.at_empty, self.domain, self.elements[: self.table.count(order)], self.colours)

    def agreement(self, other: BSeries) -> int:
        """The order to which two series of one kind agree: of a method with the exact flow, its order.

        >>> flow(field_itself(5)).agreement(b_series({"t": 1, "[t]": sp.Rational(1, 2)}, 5, is_map=True))
        2
        """
        if self.at_empty != other.at_empty:
            raise SeriesError("other: expected two maps or two fields, got one of each")
        first, second = _together(self, other)
        _, left, right = in_one_domain(first, second)
        differing = (first.table.order[k] for k, pair in enumerate(zip(left, right, strict=True)) if pair[0] != pair[1])
        return next(differing, first.order + 1) - 1

    def _repr_latex_(self) -> str:
        shown, power = self.truncated(min(self.order, 4)), 1 - self.at_empty
        terms = [_term(value / tree.symmetry, tree.order - power, tree) for tree, value in shown.items() if value != 0]
        body = "y " + " ".join(terms) if self.is_map else " ".join(terms).removeprefix("+ ")
        return f"${body or 0} + O(h^{{{shown.order + 1 - power}}})$"


def _term(coefficient: sp.Expr, power: int, tree: RootedTree) -> str:
    """LaTeX of one term, its sign in front."""
    sign = "-" if coefficient.could_extract_minus_sign() else "+"
    size = coefficient if sign == "+" else -coefficient
    h = "" if power == 0 else "h " if power == 1 else f"h^{{{power}}} "
    return f"{sign} {h}{'' if size == 1 else sp.latex(size) + ' '}F({tree.latex})"


def b_series(
    coefficients: Mapping[RootedTree | str, Any] | Callable[[RootedTree], Any], order: int, *, is_map: bool, colours: int = 1
) -> BSeries:
    """A B-series from its coefficients, exact numbers or SymPy expressions; trees not named have coefficient 0.

    >>> b_series(lambda tree: sp.Rational(1, tree.density), 5, is_map=True) == exact_flow(5)
    True
    """
    table = tree_table(order, colours)
    values: list[Any] = [0] * table.count(order)
    if callable(coefficients):
        values = [coefficients(table.tree(number)) for number in range(len(values))]
    else:
        for tree, value in coefficients.items():
            number = table.number(RootedTree.parse(tree) if isinstance(tree, str) else tree)
            if number >= len(values):
                raise SeriesError(f"coefficients: expected trees of order up to {order}, got {tree}")
            values[number] = value
    domain, elements = exact_field(values)
    return BSeries(order, int(is_map), domain, tuple(elements), colours)


def exact_number(name: str, value: Any) -> sp.Expr:
    """A finite exact number or expression, as it is; floats as they are written: 0.1 is 1/10.

    >>> exact_number("x", 0.1)
    1/10
    """
    try:
        exact = sp.Rational(str(value)) if isinstance(value, (float, sp.Float)) else sp.sympify(value, strict=True)
    except (sp.SympifyError, ValueError, TypeError):
        exact = sp.nan
    if not isinstance(exact, sp.Expr) or exact.has(sp.nan, sp.oo, -sp.oo, sp.zoo, sp.Float):
        raise SeriesError(f"{name}: expected exact finite numbers or SymPy expressions, got {value!r}")
    return exact


def exact_field(values: list[Any]) -> tuple[Any, list[Element]]:
    """The smallest SymPy field that holds all ``values``, and the values in it.

    >>> exact_field([1, sp.Rational(1, 2)])[0]
    QQ
    """
    exact = [exact_number("coefficients", value) for value in values]
    domain, elements = construct_domain(exact or [sp.S.Zero], field=True, extension=True)
    return domain, list(elements)[: len(exact)]


def in_one_domain(a: BSeries, b: BSeries) -> tuple[Any, list[Element], list[Element]]:
    """The coefficients of both in a domain that holds both."""
    if a.domain == b.domain:
        return a.domain, list(a.elements), list(b.elements)
    domain = a.domain.unify(b.domain)
    first, second = ([domain.convert(x, s.domain) for x in s.elements] for s in (a, b))
    return domain, first, second


def _together(a: BSeries, b: BSeries) -> tuple[BSeries, BSeries]:
    """Both to the lower of their orders."""
    if a.colours != b.colours:
        raise SeriesError(f"series: expected trees of the same colours, got {a.colours} and {b.colours} colours")
    order = min(a.order, b.order)
    return a.truncated(order), b.truncated(order)


def _expect_map(name: str, series: BSeries) -> None:
    if not series.is_map:
        raise SeriesError(f"{name}: expected a map (coefficient 1 of the empty tree), got a field; flow(field) is its map")


def _expect_field(name: str, series: BSeries) -> None:
    if series.is_map:
        raise SeriesError(f"{name}: expected a vector field, got a map; modified_equation(map) is its field")


# Known series


def field_itself(order: int, colours: int = 1) -> BSeries:
    """The field f: coefficient 1 of the leaf, 0 of all else.

    >>> field_itself(3)
    <B-series of a field to order 3: t: 1, [t]: 0, [[t]]: 0, [t,t]: 0>
    """
    count = tree_table(order, colours).count(order)
    return BSeries(order, 0, QQ, tuple(QQ(int(number < colours)) for number in range(count)), colours)


def exact_flow(order: int, colours: int = 1) -> BSeries:
    """The flow of f for the time h: a(τ) = 1/γ(τ) (HLW, Theorem III.1.3).

    >>> exact_flow(3)
    <B-series of a map to order 3: t: 1, [t]: 1/2, [[t]]: 1/6, [t,t]: 1/3>
    """
    table = tree_table(order, colours)
    weights = [QQ(1)] * min(colours, table.count(order))
    for number in range(len(weights), table.count(order)):
        left, right = table.left[number], table.right[number]
        weights.append(weights[left] * weights[right] * QQ(table.order[left], table.order[number]))
    return BSeries(order, 1, QQ, tuple(weights), colours)


# The group of maps


def _trunk_sums(table: TreeTable, weights: list[Element], one: Element) -> list[dict[int, Element]]:
    """For each tree its trunks (ordered subtrees at the root), each with Π a(what was cut off), summed over the ways."""
    sums: list[dict[int, Element]] = [{leaf: one} for leaf in range(min(table.colours, len(weights)))]
    for number in range(len(sums), len(weights)):
        found: dict[int, Element] = {}
        cut_off = weights[table.right[number]]
        for trunk, ways in sums[table.left[number]].items():
            found[trunk] = found.get(trunk, 0) + ways * cut_off
            for branch, more in sums[table.right[number]].items():
                grown = table.product(trunk, branch)
                found[grown] = found.get(grown, 0) + ways * more
        sums.append(found)
    return sums


def compose(a: BSeries, b: BSeries) -> BSeries:
    """First the map ``a``, then ``b`` (a map, or a field to be evaluated there): B(b, B(a, y)) (HLW, Theorem III.1.10).

    Two half steps of the exact flow are a whole one:

    >>> half = flow(field_itself(6), sp.Rational(1, 2))
    >>> compose(half, half) == exact_flow(6)
    True
    """
    _expect_map("a", a)
    a, b = _together(a, b)
    domain, first, second = in_one_domain(a, b)
    sums = _trunk_sums(a.table, first, domain.one)
    after = (sum((ways * second[trunk] for trunk, ways in found.items()), domain.zero) for found in sums)
    elements = tuple(b.at_empty * before + value for before, value in zip(first, after, strict=True))
    return BSeries(a.order, b.at_empty, domain, elements, a.colours)


def inverse(a: BSeries) -> BSeries:
    """The map that undoes ``a`` (HLW, III.1.4): of explicit Euler, implicit Euler with the step −h.

    >>> inverse(exact_flow(4)) == flow(field_itself(4), -1)
    True
    """
    _expect_map("a", a)
    weights: list[Element] = []
    for number, found in enumerate(_trunk_sums(a.table, list(a.elements), a.domain.one)):
        rest = sum((ways * weights[trunk] for trunk, ways in found.items() if trunk != number), a.domain.zero)
        weights.append(-a.elements[number] - rest)
    return BSeries(a.order, 1, a.domain, tuple(weights), a.colours)


def adjoint(a: BSeries) -> BSeries:
    """The adjoint method, Φ* = (Φ with the step −h)^{-1} (HLW, II.3). The exact flow is its own.

    >>> adjoint(exact_flow(5)) == exact_flow(5)
    True
    """
    back = inverse(a)
    orders = a.table.order
    return BSeries(a.order, 1, a.domain, tuple((-1) ** orders[k] * x for k, x in enumerate(back.elements)), a.colours)


# Flow and logarithm


def append_powers(table: TreeTable, field: list[Element], powers: list[list[Element]], zero: Element) -> list[Element]:
    """q_k = k! p_k, k = 2, 3, …, of the next tree, whose own coefficient is not needed; stored, with room left for q_1.

    The flow of the field h f̃ for the time s has weights Σ_k s^k q_k(τ)/k!, with q_1 = b and, over single edge cuts,
    q_k(τ) = Σ q_{k−1}(trunk) b(branch) (Calvo, Murua, Sanz-Serna 1994; Murua 1999).
    """
    number = len(powers)
    found = [zero] * table.order[number]
    for trunk, branch, multiplicity in table.cuts(number):
        weight = multiplicity * field[branch]
        if weight:
            for k, power in enumerate(powers[trunk], start=1):
                found[k] += weight * power
    powers.append(found)
    return found


def solve_for_field(
    table: TreeTable,
    count: int,
    ring: Any,
    moments: list[Element],
    right: Callable[[int, list[list[Element]]], Element],
) -> list[Element]:
    """b with Σ_k m_k q_k(τ)/k! = right(τ), tree by tree; m_k = ``moments[k - 1]``, m_1 ≠ 0.

    ``right(number, powers)`` may use the powers of smaller trees. Divisions are exact or fail.
    """
    field: list[Element] = []
    powers: list[list[Element]] = []
    last = len(moments)
    scale = [ring.convert(factorial(last) // factorial(k)) * moment for k, moment in enumerate(moments, start=1)]
    for number in range(count):
        found = append_powers(table, field, powers, ring.zero)
        known = sum((scale[k] * q for k, q in enumerate(found[1:], start=1)), ring.zero)
        value = ring.exquo(factorial(last) * right(number, powers) - known, scale[0])
        found[0] = value
        field.append(value)
    return field


def modified_equation(a: BSeries) -> BSeries:
    """The field whose flow for the time h is the map ``a``: backward error analysis (HLW, IX.9; Calvo et al. 1994).

    The logarithm of explicit Euler, a(t) = 1 and 0 elsewhere, begins f − (h/2)f'f + h²(f'f'f/3 + f''(f,f)/12):

    >>> modified_equation(b_series({"t": 1}, 3, is_map=True))
    <B-series of a field to order 3: t: 1, [t]: -1/2, [[t]]: 1/3, [t,t]: 1/6>
    """
    _expect_map("a", a)
    ring, unit = (_INTEGERS, _step_unit(a)) if a.domain == QQ else (a.domain, 1)
    orders = a.table.order
    powers = [a.domain.convert(unit**n) for n in range(a.order + 1)]
    weights = [ring.convert(x * powers[orders[k]], a.domain) for k, x in enumerate(a.elements)]
    moments = [ring.one] * max(a.order, 1)
    field = solve_for_field(a.table, len(weights), ring, moments, lambda number, _: weights[number])
    elements = tuple(a.domain.convert(x, ring) / powers[orders[k]] for k, x in enumerate(field))
    return BSeries(a.order, 0, a.domain, elements, a.colours)


def _step_unit(a: BSeries) -> int:
    """D such that D^{|τ|} a(τ) and D^{|τ|} b(τ), b the logarithm of a, are integers: a step measured in a small unit.

    If all a(τ) are integers, b(τ) is one divided by numbers up to n = |τ|, log a = Σ_k (−1)^{k−1} (a − 1)^k/k, and the
    least common multiple of those divides Πp^n, p the primes up to n.
    """
    unit = 1
    for number, value in enumerate(a.elements):
        while (left := QQ.denom(value * unit ** a.table.order[number])) != 1:
            unit *= prod(sp.primefactors(int(left)))
    return unit * prod(sp.primerange(a.order + 1))


def flow(b: BSeries, time: Any = 1) -> BSeries:
    """The map that follows the field ``b`` for ``time`` steps h: the exponential, inverse of :func:`modified_equation`.

    >>> flow(field_itself(5)) == exact_flow(5)
    True
    """
    _expect_field("b", b)
    given, (duration,) = exact_field([time])
    domain = b.domain.unify(given)
    field = [domain.convert(x, b.domain) for x in b.elements]
    duration = domain.convert(duration, given)
    scale = [duration**k / domain.convert(factorial(k)) for k in range(1, b.order + 1)]
    powers: list[list[Element]] = []
    for value in field:
        append_powers(b.table, field, powers, domain.zero)[0] = value
    elements = tuple(sum((c * q for c, q in zip(scale, found, strict=False)), domain.zero) for found in powers)
    return BSeries(b.order, 1, domain, elements, b.colours)
