"""Linear multistep rules, momentum among them, and the slow flow that their iterates follow.

    Σ_k α_k y(s_k h) = h Σ_j β_j f(Σ_k σ_jk y(s_k h)),   shifts s = …, 1, 0, −1, …

With σ_jk a single 1 this is a linear multistep method; else a gradient is taken at a mixture of iterates (one-leg methods,
Dahlquist 1983). The slow flow is the B-series field whose smooth solution satisfies the rule: the principal of the modified
equations of the method (Hairer, Lubich, Wanner 2006, XV.3). It is one of several first-order descriptions; the iterates
approach it when the other roots of Σ α_k ζ^{s_k} are inside the unit circle.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from math import factorial
from typing import Any

import sympy as sp

from derive.bseries import BSeries, Element, SeriesError, exact_field, exact_number, solve_for_field
from derive.linear_combination import linear_combination
from derive.symbols import shift as E
from derive.tree_table import TreeTable, tree_table
from derive.update_rule import UpdateRule

Combination = Mapping[int, Any]
"""shift -> coefficient: Σ_k c_k y(s_k h)."""
Terms = tuple[tuple[int, sp.Expr], ...]


class MultistepError(SeriesError):
    """Coefficients that are no consistent multistep rule."""


@dataclass(frozen=True)
class LinearMultistep:
    """A multistep rule. Build it with :func:`multistep`, :func:`heavy_ball` or :func:`nesterov`.

    Parameters
    ----------
    positions
        (s_k, α_k): the combination of iterates on the left.
    gradients
        (β_j, ((s_k, σ_jk), …)): each evaluation of f, with its weight and where it is taken; Σ_k σ_jk = 1.
    variable
        What y is, in words: the flow is that of this variable and of no other.
    name, source
        What it is called, and where it is published.
    """

    positions: Terms
    gradients: tuple[tuple[sp.Expr, Terms], ...]
    variable: str = "y, the iterates themselves"
    name: str = ""
    source: str = ""

    def __post_init__(self) -> None:
        _expect_sum("positions: expected Σ α_k = 0", self.positions, 0)
        for _, place in self.gradients:
            _expect_sum("gradients: expected Σ_k σ_jk = 1 at each point", place, 1)
        if self.distance == 0:
            raise MultistepError(
                "positions: expected Σ α_k s_k ≠ 0, got 0: 1 is a double root and no first-order flow exists"
            )
        if self.force == 0:
            raise MultistepError("gradients: expected weights with Σ β_j ≠ 0, got 0: f would not enter at first order")

    @cached_property
    def distance(self) -> sp.Expr:
        """Σ α_k s_k, which is 1 − β for momentum."""
        return sp.factor(sum(alpha * shift for shift, alpha in self.positions))

    @cached_property
    def force(self) -> sp.Expr:
        """Σ β_j."""
        return sp.factor(sum(weight for weight, _ in self.gradients))

    @property
    def speed(self) -> sp.Expr:
        """How far along the flow of f a step h goes, in units of h: 1 for methods of integration, 1/(1−β) for momentum."""
        return sp.cancel(self.force / self.distance)

    @property
    def parasitic_roots(self) -> dict[sp.Expr, int]:
        """The roots of Σ α_k ζ^{s_k} but ζ = 1, with multiplicity: inside the unit circle, they die out.

        >>> heavy_ball(sp.Rational(9, 10)).parasitic_roots
        {9/10: 1}
        """
        zeta, lowest = sp.Symbol("zeta"), min(shift for shift, _ in self.positions)
        polynomial = sp.Poly(sum(alpha * zeta ** (shift - lowest) for shift, alpha in self.positions), zeta)
        return {root: n for root, n in sp.roots(polynomial.quo(sp.Poly(zeta - 1, zeta))).items() if root != 0}

    def slow_flow(self, order: int) -> BSeries:
        """The field f̃ = Σ h^{|τ|−1} b(τ)/σ(τ) F(τ) that :attr:`variable` follows, h the step of the rule.

        Found tree by tree: the flow has the weights Σ_k s^k q_k(τ)/k! at the shift s, so the rule is linear in b(τ).

        >>> heavy_ball(sp.Symbol("beta")).slow_flow(2).values()
        [-1/(beta - 1), (beta + 1)/(2*(beta - 1)**3)]
        """
        table = tree_table(order)
        system = _System(self, table, order)
        field = solve_for_field(table, table.count(order), system.domain, system.moments, system.right)
        return BSeries(order, 0, system.domain, tuple(field))

    def _repr_latex_(self) -> str:
        forces = linear_combination((weight, rf"f\left({_iterates(place)}\right)") for weight, place in self.gradients)
        return rf"${_iterates(self.positions)} = h \left[{forces}\right]$"


def _iterates(terms: Terms) -> str:
    return linear_combination((c, f"y_{{n{shift:+d}}}" if shift else "y_{n}") for shift, c in terms)


def _expect_sum(expected: str, terms: Terms, total: int) -> None:
    found = sp.simplify(sum(coefficient for _, coefficient in terms))
    if found != total:
        raise MultistepError(f"{expected}, got {found} from {dict(terms)}; a constant y must be a solution where f = 0")


class _System:
    """The rule as equations for b(τ): both sides in powers of the shift, in one domain."""

    def __init__(self, rule: LinearMultistep, table: TreeTable, order: int) -> None:
        points = [place for _, place in rule.gradients]
        flat = [c for terms in (rule.positions, *points) for _, c in terms] + [weight for weight, _ in rule.gradients]
        self.domain, elements = exact_field(flat)
        taken = iter(elements)
        moments = [self._moments(terms, taken, order) for terms in (rule.positions, *points)]
        self.moments, self.weights = moments[0], list(taken)
        self.points = [
            [moment / self.domain.convert(factorial(k)) for k, moment in enumerate(row, start=1)] for row in moments[1:]
        ]
        self.table = table
        self.products: list[list[Element]] = []

    def _moments(self, terms: Terms, values: Iterator[Element], order: int) -> list[Element]:
        """Σ_k c_k s_k^j for j = 1, 2, …"""
        pairs = [(shift, next(values)) for shift, _ in terms]
        zero = self.domain.zero
        return [sum((self.domain.convert(s**j) * c for s, c in pairs), zero) for j in range(1, max(order, 1) + 1)]

    def right(self, number: int, powers: list[list[Element]]) -> Element:
        """Σ_j β_j Π_{children} (the weight of the child at point j): h f of a B-series (HLW, Lemma III.1.9)."""
        left = self.table.left[number]
        if left < 0:
            products = [self.domain.one] * len(self.points)
        else:
            child = powers[self.table.right[number]]
            at_points = (sum((m * q for m, q in zip(row, child, strict=False)), self.domain.zero) for row in self.points)
            products = [x * y for x, y in zip(self.products[left], at_points, strict=True)]
        self.products.append(products)
        return sum((w * x for w, x in zip(self.weights, products, strict=True)), self.domain.zero)


def _terms(name: str, given: Combination) -> Terms:
    """shift -> coefficient, checked, the largest shift first."""
    if not isinstance(given, Mapping) or not all(isinstance(shift, int) for shift in given):
        raise MultistepError(
            f"{name}: expected a mapping of whole shifts to coefficients, such as {{1: 1, 0: -1}}, got {given!r}"
        )
    return tuple((shift, exact_number(f"{name}[{shift}]", given[shift])) for shift in sorted(given, reverse=True))


def multistep(
    positions: Combination,
    gradients: Combination | list[tuple[Any, Combination]],
    *,
    speed: Any = 1,
    variable: str = "y, the iterates themselves",
    name: str = "",
    source: str = "",
) -> LinearMultistep:
    """Σ_k α_k y(s_k h) = h Σ_k β_k f(y(s_k h)): ``positions`` maps s_k to α_k, ``gradients`` maps s_k to β_k.

    ``gradients`` may also list pairs (β_j, {s_k: σ_jk}) of evaluations at mixtures of iterates. The two-step method of
    Adams and Bashforth is of order 2, with the error constant 5/12:

    >>> half = sp.Rational(1, 2)
    >>> adams = multistep({1: 1, 0: -1}, {0: 3 * half, -1: -half})
    >>> adams.slow_flow(3)
    <B-series of a field to order 3: t: 1, [t]: 0, [[t]]: -5/12, [t,t]: -5/6>

    Raises
    ------
    MultistepError
        Unless Σ α_k = 0 and Σ β_k = speed · Σ α_k s_k.
    """
    listed = gradients if isinstance(gradients, (list, tuple)) else [(c, {s: 1}) for s, c in _terms("gradients", gradients)]
    points = tuple((exact_number("gradients", weight), _terms("gradients", place)) for weight, place in listed)
    rule = LinearMultistep(_terms("positions", positions), points, variable, name, source)
    wanted = exact_number("speed", speed)
    if sp.simplify(rule.speed - wanted) != 0:
        raise MultistepError(f"speed: expected Σ β_k = ({wanted}) Σ α_k s_k, got {rule.force} and {rule.distance}; "
                             f"if this is meant, say speed={rule.speed}")  # fmt: skip
    return rule


def heavy_ball(beta: Any) -> LinearMultistep:
    """θ_{n+1} = θ_n + β(θ_n − θ_{n−1}) + h f(θ_n), also ``torch.optim.SGD`` with momentum (Polyak 1964).

    >>> heavy_ball(sp.Symbol("beta")).slow_flow(3)["[t,t]"]
    -(beta**2 + 10*beta + 1)/(6*(beta - 1)**5)
    """
    beta = exact_number("beta", beta)
    return multistep(
        {1: 1, 0: -1 - beta, -1: beta},
        {0: 1},
        speed=1 / (1 - beta) if beta != 1 else 1,
        variable="θ, the parameters",
        name="heavy ball",
        source="Polyak 1964",
    )


def nesterov(beta: Any, *, textbook: bool = False) -> LinearMultistep:
    """Nesterov's method, by default that of ``torch.optim.SGD``.

    PyTorch stores the extrapolated point y_n = θ_n + β(θ_n − θ_{n−1}) of the textbook, where the gradient is taken:

        y_{n+1} − (1+β)y_n + βy_{n−1} = h((1+β)f(y_n) − βf(y_{n−1})).

    With ``textbook`` the flow is that of θ: θ_{n+1} = y_n + h f(y_n) (Nesterov 1983; Sutskever et al. 2013). The two
    differ from h² on, as ``variable`` says.

    >>> beta = sp.Symbol("beta")
    >>> [nesterov(beta, textbook=kind).slow_flow(3)["[t,t]"] for kind in (False, True)]
    [-(13*beta**2 - 2*beta + 1)/(6*(beta - 1)**5), -(6*beta**4 - 6*beta**3 + 7*beta**2 + 4*beta + 1)/(6*(beta - 1)**5)]
    """
    beta = exact_number("beta", beta)
    gradients: Any = [(1, {0: 1 + beta, -1: -beta})] if textbook else {0: 1 + beta, -1: -beta}
    return multistep(
        {1: 1, 0: -1 - beta, -1: beta},
        gradients,
        speed=1 / (1 - beta) if beta != 1 else 1,
        variable="θ, the point before extrapolation" if textbook else "y = θ + β(θ − θ₋₁), what torch stores as parameters",
        name="Nesterov, textbook" if textbook else "Nesterov, PyTorch",
        source="Nesterov 1983" if textbook else "torch.optim.SGD(nesterov=True)",
    )


def multistep_of(rule: UpdateRule) -> LinearMultistep:
    """The recurrence A(E)θ = −h B(E)G of an update rule, with f = −G and h its step size.

    >>> from derive.update_rule import sgd
    >>> beta = sp.Rational(1, 2)
    >>> multistep_of(sgd(momentum=beta)).slow_flow(5) == heavy_ball(beta).slow_flow(5)
    True
    """
    if rule.is_flow:
        raise MultistepError("rule: expected an update rule with steps, got a gradient flow, which is its own slow flow")
    left, right = rule.shift_polynomials
    positions, gradients = _laurent(left), _laurent(right)
    return multistep(positions, gradients, speed=1 / (1 - rule.momentum), variable="θ, the parameters as stored", name="sgd")


def _laurent(polynomial: sp.Expr) -> dict[int, sp.Expr]:
    """Exponent of E -> coefficient."""
    numerator, denominator = sp.fraction(sp.together(sp.expand(polynomial)))
    lowest = int(sp.degree(denominator, E))
    scale = sp.cancel(denominator / E**lowest)
    return {power - lowest: sp.cancel(c / scale) for (power,), c in sp.Poly(numerator, E).terms()}
