"""The modified field of a method on a concrete vector field, by Lie series (Hairer, Lubich, Wanner 2006, IX.1; III.5.1).

With L the Lie derivative along the field sought, f̃ = f_0 + h f_1 + …, the flow moves y by s steps to

    y(sh) = Σ_j s^j Y_j,   Y_j = (hL)^j y / j! = Σ_m h^m Y_j^m,   j Y_j^m = Σ_k L_{f_k} Y_{j−1}^{m−1−k}.

Put into the method, the coefficient of h^m gives f_{m−1}. The work grows as a power of the order, not with the number of
trees.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sympy as sp
from sympy.polys.rings import PolyElement

from derive.differential_ring import DifferentialRing, Vector
from derive.formal_series import multiply
from derive.multistep import LinearMultistep
from derive.runge_kutta import RungeKutta

Displacement = list[Vector]
"""The coefficients of h⁰ (which is 0), h¹, … of a displacement δ."""


class LieSeries:
    """The fields f_0, f_1, … as far as :meth:`append` has been called, and the flow that they generate."""

    def __init__(self, ring: DifferentialRing) -> None:
        self.ring = ring
        self.fields: list[Vector] = []
        self._zero: Vector = (ring.ring.zero,) * len(ring.variables)
        self._powers: dict[tuple[int, int], Vector] = {(0, 0): tuple(map(ring.from_expr, ring.variables))}

    def known(self, moments: Sequence[Any]) -> Vector:
        """Σ_{j≥2} m_j Y_j^m at the power h^m of the field to be found, m_j = ``moments[j − 1]``."""
        m = len(self.fields) + 1
        total = list(self._zero)
        for j in range(2, m + 1):
            power = self._powers[j, m] = self._next_power(j, m)
            for i, part in enumerate(power):
                total[i] += part * moments[j - 1]
        return tuple(total)

    def _next_power(self, j: int, m: int) -> Vector:
        found = list(self._zero)
        for k in range(m - j + 1):
            before = self._powers.get((j - 1, m - 1 - k), self._zero)
            for i, part in enumerate(before):
                found[i] += self.ring.along(self.fields[k], part)
        return tuple(part * self.ring.number(sp.Rational(1, j)) for part in found)

    def append(self, field: Vector) -> None:
        """The next f_k: it is also Y_1^{k+1}."""
        self.fields.append(field)
        self._powers[1, len(self.fields)] = field

    def displacement(self, place: Sequence[tuple[int, Any]], order: int) -> Displacement:
        """Σ_k σ_k y(s_k h) − y to h^order, for shifts s_k and weights σ_k of sum 1."""
        rows = [self._zero]
        for m in range(1, order + 1):
            row = list(self._zero)
            for j in range(1, m + 1):
                moment = sum((weight * self.ring.number(shift**j) for shift, weight in place), self.ring.domain.zero)
                row = [x + part * moment for x, part in zip(row, self._powers[j, m], strict=True)] if moment else row
            rows.append(tuple(row))
        return rows


def displaced(ring: DifferentialRing, field: Vector, displacement: Displacement) -> list[Vector]:
    """f(y + δ) to the order of δ: Σ_α ∂^α f δ^α/α! over multi-indices α, as δ = O(h)."""
    order = len(displacement) - 1
    columns = [[row[i] for row in displacement] for i in range(len(field))]
    one = [ring.ring.one] + [ring.ring.zero] * order
    totals = [[ring.ring.zero] * (order + 1) for _ in field]
    waiting = [((0,) * len(field), 0, field, one)]
    while waiting:
        alpha, first, slopes, product = waiting.pop()
        for i, slope in enumerate(slopes):
            if slope:
                totals[i] = [t + slope * p if p else t for t, p in zip(totals[i], product, strict=True)]
        for i in range(first, len(field) if sum(alpha) < order else first):
            further = [*alpha[:i], alpha[i] + 1, *alpha[i + 1 :]]
            share = ring.number(sp.Rational(1, further[i]))
            steeper = tuple(ring.derivative(slope, i) * share for slope in slopes)
            grown = multiply(product, columns[i])
            if any(steeper) and any(grown):
                waiting.append((tuple(further), i, steeper, grown))
    return list(zip(*totals, strict=True))


def multistep_fields(rule: LinearMultistep, field: Vector, order: int, ring: DifferentialRing) -> list[Vector]:
    """f_0 … f_order of the slow flow: Σ_j m_j Y_j^m = the coefficient of h^{m−1} in Σ_j β_j f(Σ_k σ_jk y(s_k h))."""
    positions = [(shift, ring.number(alpha)) for shift, alpha in rule.positions]
    points = [(ring.number(w), [(s, ring.number(c)) for s, c in place]) for w, place in rule.gradients]
    moments = [sum((a * ring.number(s**j) for s, a in positions), ring.domain.zero) for j in range(1, order + 2)]
    series, share = LieSeries(ring), 1 / moments[0]
    for m in range(1, order + 2):
        rest = [-part for part in series.known(moments)]
        for weight, place in points:
            forces = displaced(ring, field, series.displacement(place, m - 1))[m - 1]
            rest = [x + force * weight for x, force in zip(rest, forces, strict=True)]
        series.append(tuple(part * share for part in rest))
    return series.fields


def runge_kutta_fields(method: RungeKutta, field: Vector, order: int, ring: DifferentialRing) -> list[Vector]:
    """f_0 … f_order: the logarithm of the step, h^m by h^m."""
    step = runge_kutta_step(method, field, order + 1, ring)
    series, moments = LieSeries(ring), [ring.domain.one] * (order + 1)
    for m in range(1, order + 2):
        known = series.known(moments)
        series.append(tuple(x - part for x, part in zip(step[m], known, strict=True)))
    return series.fields


def runge_kutta_step(method: RungeKutta, field: Vector, order: int, ring: DifferentialRing) -> Displacement:
    """Φ(y) − y to h^order. Implicit stages by substitution, each sweep of which is right to one more power of h."""
    rows = [[ring.number(x) for x in row] for row in (*method.A, method.b)]
    nothing = [(ring.ring.zero,) * len(field)] * order
    slopes = [nothing] * method.stages
    for _ in range(1 if method.is_explicit else order):
        for i in range(method.stages):
            slopes[i] = displaced(ring, field, _combined(rows[i], slopes, ring)[:order])
    return _combined(rows[-1], slopes, ring)


def _combined(weights: Sequence[Any], slopes: list[list[Vector]], ring: DifferentialRing) -> Displacement:
    """h Σ_j w_j k_j."""
    used = [(w, slope) for w, slope in zip(weights, slopes, strict=True) if w]
    size, width = len(slopes[0]), len(ring.variables)
    zero = ring.ring.zero
    total = [tuple(sum((slope[m][i] * w for w, slope in used), zero) for i in range(width)) for m in range(size)]
    return [(zero,) * width, *total]


def contraction(ring: DifferentialRing, scalar: PolyElement, vectors: Sequence[Vector]) -> PolyElement:
    """D^m p(v_1, …, v_m) of a function p."""
    if not vectors or not scalar:
        return scalar
    first, *rest = vectors
    parts = ((v, ring.derivative(scalar, i)) for i, v in enumerate(first) if v)
    return sum((v * contraction(ring, slope, rest) for v, slope in parts), ring.ring.zero)
